// Tools and their calls.

import { plainSchema } from "../schema.js";
import { dictionary, required, sequence } from "./idl.js";
import { exception } from "./errors.js";
import type { Tool, ToolCall } from "../types.js";

/** A call that the page answers, by a message with a "tool-response", because the tool has no `execute`. */
export class LanguageModelToolCall {
  readonly callID: string;
  readonly name: string;
  readonly arguments: object;

  constructor(init: { callID: string; name: string; arguments?: object }) {
    this.callID = String(init.callID);
    this.name = String(init.name);
    this.arguments = init.arguments ?? {};
  }
}

/** A part of a result: text, or a value that JSON can represent. */
export interface LanguageModelToolResultContent {
  type: "text" | "object" | "image" | "audio";
  value: unknown;
}

export class LanguageModelToolSuccess {
  readonly callID: string;
  readonly name: string;
  readonly result: readonly LanguageModelToolResultContent[];

  constructor(init: { callID: string; name: string; result: readonly LanguageModelToolResultContent[] }) {
    this.callID = String(init.callID);
    this.name = String(init.name);
    this.result = [...init.result];
  }
}

export class LanguageModelToolError {
  readonly callID: string;
  readonly name: string;
  readonly errorMessage: string;

  constructor(init: { callID: string; name: string; errorMessage: string }) {
    this.callID = String(init.callID);
    this.name = String(init.name);
    this.errorMessage = String(init.errorMessage);
  }
}

/** The tools of a session, all with `execute` or all without. */
export interface Tools {
  byName: Record<string, Tool>;
  execute: boolean;
}

export function toolsOf(given: unknown): Tools | undefined {
  const byName: Record<string, Tool> = {};
  let executed = 0;
  const list = sequence(given, "tools");
  for (const item of list) {
    const tool = dictionary(item, "a tool");
    const name = String(required(tool, "name", "a tool"));
    if (name === "") throw new TypeError("a tool's name is empty");
    if (Object.hasOwn(byName, name)) throw new TypeError(`two tools have the name "${name}"`);
    const description = String(required(tool, "description", `tool "${name}"`));
    if (description === "") throw new TypeError(`tool "${name}": the description is empty`);
    const inputSchema = schemaOf(required(tool, "inputSchema", `tool "${name}"`), name);
    const { execute } = tool;
    if (execute !== undefined && typeof execute !== "function") throw new TypeError(`tool "${name}": execute is not a function`);
    if (execute !== undefined) executed++;
    byName[name] = { description, inputSchema, ...(execute !== undefined && { execute: async (input: unknown) => String(await execute(input)) }) };
  }
  if (executed !== 0 && executed !== list.length) throw new TypeError("either all tools have execute, or none");
  return list.length === 0 ? undefined : { byName, execute: executed > 0 };
}

/** A copy of a tool's schema. What reading it throws is thrown on. */
function schemaOf(given: unknown, name: string): object {
  const fail = (message: string): never => {
    throw new TypeError(`tool "${name}": inputSchema${message}`);
  };
  if (typeof given !== "object" || given === null) return fail(" is not an object");
  const { type, properties, required } = given as { type?: unknown; properties?: unknown; required?: unknown };
  if (type !== "object") fail('.type is not "object"');
  if (properties !== undefined && (typeof properties !== "object" || properties === null || Array.isArray(properties))) fail(".properties is not an object");
  if (required !== undefined && !Array.isArray(required)) fail(".required is not a list");
  return plainSchema(given);
}

/** A call of the model, whose input is JSON text of an object. */
export const callOf = ({ toolCallId, toolName, input }: ToolCall): LanguageModelToolCall =>
  new LanguageModelToolCall({ callID: toolCallId, name: toolName, arguments: JSON.parse(input) as object });

/** The text of a result that the page gives. */
export function responseOf(response: LanguageModelToolSuccess | LanguageModelToolError): string {
  if (response instanceof LanguageModelToolError) return response.errorMessage;
  return response.result.map(textOf).join("\n");
}

function textOf({ type, value }: LanguageModelToolResultContent): string {
  if (type === "image" || type === "audio") throw exception("NotSupportedError", `a result of type "${type}": the model reads text only`);
  if (type !== "text" && type !== "object") throw new TypeError(`a result of type "${String(type)}"`);
  return typeof value === "string" ? value : jsonOf(value, "a result");
}

/** The JSON text of the arguments of a call that the page gives. */
export function argumentsOf({ name, arguments: given }: LanguageModelToolCall): string {
  if (Array.isArray(given)) throw exception("DataError", `the arguments of a call of "${name}" are a list`);
  return jsonOf(given, `the arguments of a call of "${name}"`);
}

function jsonOf(value: unknown, what: string): string {
  let text: string | undefined;
  try {
    if (isData(value)) text = JSON.stringify(value);
  } catch {
    // A cycle, or something that JSON lacks.
  }
  if (text === undefined) throw exception("DataError", `${what} cannot be written as JSON`);
  return text;
}

/** Whether a value is a primitive, a list or a plain object, and not one of the platform. */
function isData(value: unknown): boolean {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return typeof value !== "function";
  const prototype = Object.getPrototypeOf(value) as object | null;
  return prototype === null || Object.getPrototypeOf(prototype) === null;
}
