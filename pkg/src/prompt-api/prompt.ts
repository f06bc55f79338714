// Prompts: their conversion, and their validation to messages of this package.

import { dictionary, enumeration, isSequence, required } from "./idl.js";
import { exception } from "./errors.js";
import { argumentsOf, LanguageModelToolCall, LanguageModelToolError, LanguageModelToolSuccess, responseOf } from "./tools.js";
import type { LanguageModelMessageRole, LanguageModelMessageType } from "./types.js";
import type { InputMessage } from "../types.js";

const ROLES: readonly LanguageModelMessageRole[] = ["system", "user", "assistant"];
export const TYPES: readonly LanguageModelMessageType[] = ["text", "image", "audio", "tool-call", "tool-response"];

interface Content {
  type: LanguageModelMessageType;
  value: unknown;
}

/** A message in its long form. */
export interface Converted {
  role: LanguageModelMessageRole;
  content: Content[];
  prefix: boolean;
}

/** Anything that is no sequence is a text. An empty sequence stays empty. */
export function converted(input: unknown): Converted[] {
  if (!isSequence(input)) return [{ role: "user", content: [{ type: "text", value: String(input) }], prefix: false }];
  return [...input].map((item) => {
    const message = dictionary(item, "a message");
    const content = required(message, "content", "a message");
    return {
      role: enumeration(required(message, "role", "a message"), ROLES, "role"),
      content: isSequence(content) ? [...content].map(contentOf) : [{ type: "text", value: String(content) }],
      prefix: Boolean(message["prefix"]),
    };
  });
}

function contentOf(item: unknown): Content {
  const content = dictionary(item, "a content");
  return { type: enumeration(required(content, "type", "a content"), TYPES, "type"), value: required(content, "value", "a content") };
}

/** What a session accepts. */
export interface Accepted {
  /** The types that were expected at its creation. */
  types: ReadonlySet<LanguageModelMessageType>;
  /** Whether a system message may begin the prompt. */
  system: boolean;
}

/** The messages of a prompt. An empty one is an empty turn of the user. */
export function validated(given: readonly Converted[], { types, system }: Accepted): InputMessage[] {
  const prompt = given.length > 0 ? given : converted("");
  return prompt.flatMap(({ role, content, prefix }, i) => {
    if (prefix && (role !== "assistant" || i !== prompt.length - 1)) throw exception("SyntaxError", "only the last message may be a prefix, and only an assistant's");
    if (role === "system" && (i > 0 || !system)) throw new TypeError("only the first message of a session may be a system message");
    for (const { type, value } of content) check(type, value, role, types);
    return messagesOf(role, content, prefix);
  });
}

function check(type: LanguageModelMessageType, value: unknown, role: LanguageModelMessageRole, types: Accepted["types"]): void {
  const speaker = { text: role, image: "user", audio: "user", "tool-call": "assistant", "tool-response": "user" }[type];
  if (speaker !== role) {
    const message = `"${type}" in a message of role "${role}"`;
    throw type.startsWith("tool-") ? new TypeError(message) : exception("NotSupportedError", message);
  }
  if (!types.has(type)) throw exception("NotSupportedError", `"${type}" is not among the expected inputs`);
  const ofType = {
    text: () => typeof value !== "object" && typeof value !== "symbol",
    image: () => false,
    audio: () => false,
    "tool-call": () => value instanceof LanguageModelToolCall,
    "tool-response": () => value instanceof LanguageModelToolSuccess || value instanceof LanguageModelToolError,
  }[type];
  if (!ofType()) throw new TypeError(`the value of a content of type "${type}" is of another type`);
}

/** A message as ours: results of calls become messages of their own before its text. */
function messagesOf(role: LanguageModelMessageRole, content: readonly Content[], prefix: boolean): InputMessage[] {
  const text = content.filter(({ type }) => type === "text").map(({ value }) => String(value)).join("");
  const results = content.filter(({ type }) => type === "tool-response").map(({ value }): InputMessage => {
    const response = value as LanguageModelToolSuccess | LanguageModelToolError;
    return { role: "tool", toolCallId: response.callID, name: response.name, content: responseOf(response) };
  });
  const toolCalls = content.filter(({ type }) => type === "tool-call").map(({ value }) => {
    const call = value as LanguageModelToolCall;
    return { toolCallId: call.callID, toolName: call.name, input: argumentsOf(call) };
  });
  if (results.length > 0 && text === "") return results;
  return [...results, { role, content: text, ...(toolCalls.length > 0 && { toolCalls }), ...(prefix && { prefix }) }];
}
