// The items of the responses API, and the messages that they stand for.

import type { Message, ToolCall } from "../types.js";
import { badValue, unsupportedValue } from "./errors.js";
import { isObject, missing, Params, type Json } from "./params.js";

export type Item = Json & { id: string; type: string };

/** The messages of input items. Those of one answer (thoughts, text, calls) become one message. */
export function messagesOf(items: readonly Json[]): Message[] {
  const messages: Message[] = [];
  /** The answer that the next item of an assistant may belong to. */
  let open: { reasoning?: string; content?: string; toolCalls: ToolCall[] } | undefined;
  const close = () => {
    if (open === undefined) return;
    const { reasoning, content = "", toolCalls } = open;
    messages.push({ role: "assistant", content, ...(reasoning !== undefined && { reasoning }), ...(toolCalls.length > 0 && { toolCalls }) });
    open = undefined;
  };
  for (const [i, item] of items.entries()) {
    const fields = new Params(item, `input[${i}].`);
    const type = fields.string("type") ?? "message";
    fields.withoutEffect("id", "status");
    if (type === "reasoning") {
      if (open?.content !== undefined || (open?.toolCalls.length ?? 0) > 0) close();
      const summary = texts(fields, "summary");
      const content = fields.has("content") ? texts(fields, "content") : summary;
      fields.withoutEffect("encrypted_content");
      open = { toolCalls: [], reasoning: (open?.reasoning ?? "") + content };
    } else if (type === "function_call") {
      const call = { toolCallId: required(fields, "call_id"), toolName: required(fields, "name"), input: required(fields, "arguments") };
      fields.withoutEffect("parsed_arguments");
      open ??= { toolCalls: [] };
      open.toolCalls.push(call);
    } else if (type === "function_call_output") {
      close();
      messages.push({ role: "tool", toolCallId: required(fields, "call_id"), content: texts(fields, "output") });
    } else if (type === "message") {
      const role = fields.word("role", "user", "assistant", "system", "developer") ?? missing(fields.path("role"));
      const content = texts(fields, "content");
      fields.withoutEffect("phase");
      if (role === "assistant") {
        if (open?.content !== undefined || (open?.toolCalls.length ?? 0) > 0) close();
        open = { toolCalls: [], ...open, content };
      } else {
        close();
        messages.push({ role, content });
      }
    } else {
      throw unsupportedValue(fields.path("type"), `items of type ${JSON.stringify(type)} are not supported`);
    }
    fields.finish();
  }
  close();
  return messages;
}

const required = (fields: Params, name: string): string => fields.string(name) ?? missing(fields.path(name));

/** A text, or a list of parts that are texts. */
function texts(fields: Params, name: string): string {
  const value = fields.take(name) ?? missing(fields.path(name));
  if (typeof value === "string") return value;
  if (!Array.isArray(value)) throw badValue(fields.path(name), "expected a text or a list of parts");
  return value.map((part, i) => {
    const path = `${fields.path(name)}[${i}]`;
    if (!isObject(part) || typeof part.type !== "string") throw badValue(path, "expected a part with a type");
    if (!/^(input|output|reasoning|summary)_text$/.test(part.type) || typeof part.text !== "string") throw unsupportedValue(path, `parts of type ${JSON.stringify(part.type)} are not supported, only texts`);
    return part.text;
  }).join("\n");
}

/** The items of a request's input, with ids. */
export function inputItems(input: unknown, newId: (prefix: string) => string): Item[] {
  if (typeof input === "string") return [{ id: newId("msg_"), type: "message", role: "user", status: "completed", content: [{ type: "input_text", text: input }] }];
  if (!Array.isArray(input) || !input.every(isObject)) throw badValue("input", "expected a text or a list of items");
  return input.map((item) => ({ ...item, type: typeof item.type === "string" ? item.type : "message", id: typeof item.id === "string" ? item.id : newId("item_") }));
}
