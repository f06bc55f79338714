// Translates prompts to messages.

import type {
  LanguageModelV4FilePart, LanguageModelV4Message, LanguageModelV4Prompt, LanguageModelV4ToolResultOutput, LanguageModelV4ToolResultPart, SharedV4ProviderOptions,
} from "@ai-sdk/provider";
import { invalid, unsupported } from "../errors.js";
import type { InputMessage, TextPart, ToolCall } from "../types.js";

export function messagesOf(prompt: LanguageModelV4Prompt): InputMessage[] {
  return prompt.flatMap((message, i) => messageOf(message, `prompt[${i}]`));
}

function messageOf(message: LanguageModelV4Message, where: string): InputMessage[] {
  const options = optionsOf(message.providerOptions, where, { system: [], user: ["name"], assistant: ["name", "prefix"], tool: [] }[message.role]);
  const parts = typeof message.content === "string" ? [] : message.content;
  for (const [i, part] of parts.entries()) optionsOf("providerOptions" in part ? part.providerOptions : undefined, `${where}.content[${i}]`, []);
  switch (message.role) {
    case "system":
      return [{ role: "system", content: message.content }];
    case "user":
      return [{ role: "user", ...options, content: message.content.map((part, i) => (part.type === "text" ? text(part.text) : fileOf(part, `${where}.content[${i}]`))) }];
    case "assistant":
      return [{ ...options, ...assistantOf(message.content, where) }];
    case "tool":
      return message.content.map((part, i) => {
        const place = `${where}.content[${i}]`;
        if (part.type !== "tool-result") throw unsupported(place, "tools of this package need no approval by a provider");
        return resultOf(part, place);
      });
  }
}

/** The options of this package on a message or a part. */
function optionsOf(given: SharedV4ProviderOptions | undefined, where: string, names: readonly string[]): Partial<InputMessage> {
  const options = given?.["minke"] ?? {};
  for (const name of Object.keys(options)) if (!names.includes(name)) throw invalid(`${where}.providerOptions.minke.${name}`, "unknown option");
  return options;
}

function assistantOf(parts: Extract<LanguageModelV4Message, { role: "assistant" }>["content"], where: string): InputMessage {
  const content: string[] = [];
  const reasoning: string[] = [];
  const toolCalls: ToolCall[] = [];
  for (const [i, part] of parts.entries()) {
    if (part.type === "text") content.push(part.text);
    else if (part.type === "reasoning") reasoning.push(part.text);
    else if (part.type === "tool-call" && !part.providerExecuted) toolCalls.push({ toolCallId: part.toolCallId, toolName: part.toolName, input: JSON.stringify(part.input ?? {}) });
    else throw unsupported(`${where}.content[${i}]`, `a part of type "${part.type}"${part.type === "tool-call" ? " that a provider ran" : ""} cannot be shown to the model`);
  }
  return {
    role: "assistant",
    content: content.join(""),
    ...(reasoning.length > 0 && { reasoning: reasoning.join("") }),
    ...(toolCalls.length > 0 && { toolCalls }),
  };
}

function resultOf({ toolCallId, toolName, output }: LanguageModelV4ToolResultPart, where: string): InputMessage {
  return { role: "tool", toolCallId, name: toolName, content: outputOf(output, where) };
}

function outputOf(output: LanguageModelV4ToolResultOutput, where: string): string | TextPart[] {
  optionsOf("providerOptions" in output ? output.providerOptions : undefined, `${where}.output`, []);
  switch (output.type) {
    case "text":
    case "error-text":
      return output.value;
    case "json":
    case "error-json":
      return JSON.stringify(output.value);
    case "execution-denied":
      return output.reason ?? "The user has not allowed this call.";
    case "content":
      return output.value.map((part, i) => {
        const place = `${where}.output.value[${i}]`;
        if (part.type === "text") return text(part.text);
        if (part.type === "file") return fileOf({ ...part, type: "file" }, place);
        throw unsupported(place, `a part of type "${part.type}" cannot be shown to the model`);
      });
  }
}

const text = (text: string): TextPart => ({ type: "text", text });

/** The text of a text file. */
function fileOf({ data, mediaType }: LanguageModelV4FilePart, where: string): TextPart {
  if (!/^text\//.test(mediaType)) throw unsupported(where, `a file of type ${mediaType}: the model reads text only`);
  switch (data.type) {
    case "text":
      return text(data.text);
    case "data": {
      const bytes = typeof data.data === "string" ? Uint8Array.from(atob(data.data), (c) => c.charCodeAt(0)) : data.data;
      return text(new TextDecoder().decode(bytes));
    }
    default:
      throw unsupported(where, `a file by ${data.type}: its contents are needed`);
  }
}
