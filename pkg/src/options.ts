// Validates everything that a caller passes: nothing is silently ignored.

import table from "../../src/engine/options.json" with { type: "json" };
import { checkOf, checked, checksOf, data, defined, fail, isPlain, oneOf, ofType, plain, signal, type Check, type Checks } from "./checks.js";
import { constraint } from "./constraint.js";
import { invalid } from "./errors.js";
import type { Steps } from "./tools.js";
import type { GenerateOptions, Input, InputMessage, LoadOptions, Message, SessionOptions, TemplateOptions, Tool, ToolCall } from "./types.js";
import type { EngineInput, EngineOptions, EngineTools, TemplateArguments } from "./wasm.js";

const anything: Check = () => {};

// The types of these require a check for every declared option. Options that reach the engine are in the table; the others
// are checked here only.

const LOAD: Checks<keyof LoadOptions> = {
  ...(checksOf(table.load) satisfies Checks<Exclude<keyof EngineOptions, "internal">>),
  onProgress: ofType("function"),
  signal,
  cache: oneOf("opfs", "none"),
  onStorageFull: ofType("function"),
  integrity: (value, name) => {
    plain(value, name);
    for (const [file, digest] of Object.entries(value as Record<string, unknown>)) {
      if (typeof digest !== "string" || !/^sha256-[A-Za-z0-9+/]{43}=$/.test(digest)) fail(`${name}[${JSON.stringify(file)}]`, '"sha256-" and 32 bytes in base64', digest);
    }
  },
  fetch: ofType("function"),
  worker: anything, // checked where it is used
  fallback: oneOf(true, false),
  tune: oneOf(true, false),
  wasm: anything, // checked where it is used
  cpuWasm: anything,
  constraintWasm: anything,
  internal: plain,
};

/** Names of tools: what every form of calls can hold. */
const TOOL_NAME = /^[\w.-]{1,64}$/;
const TOOL: Record<string, Check> = {
  description: ofType("string"),
  inputSchema: (value, name) => {
    if (isPlain(value) && Object.keys(value).includes("~standard")) throw invalid(name, "expected a JSON Schema, got a validator; convert it first (zod: z.toJSONSchema)");
    data(value, name);
  },
  execute: ofType("function"),
};
const tools: Check = (value, name) => {
  if (!isPlain(value)) fail(name, table.generate.tools.expected, value);
  for (const [tool, given] of Object.entries(value as object)) {
    if (!TOOL_NAME.test(tool)) throw invalid(name, `expected names of 1 to 64 letters, digits, _, - and ., got ${JSON.stringify(tool)}`);
    if (checked<Partial<Tool>>(given, TOOL, `${name}.${tool}.`).inputSchema === undefined) throw invalid(`${name}.${tool}.inputSchema`, "it is missing");
  }
};
/** The part of tools that the engine is given, as plain data. */
const described = (tools: Record<string, Tool>): EngineTools =>
  Object.fromEntries(Object.entries(tools).map(([name, { description, inputSchema }]) => [name, defined({ description, inputSchema: JSON.parse(JSON.stringify(inputSchema)) })]));

const GENERATE: Checks<keyof GenerateOptions> = {
  ...checksOf(table.generate),
  signal,
  templateArgs: data,
  tools,
  maxSteps: checkOf({ kind: "whole", least: 1, most: 1000, expected: "a whole number from 1 to 1000" }),
  responseConstraint: (value, name) => void constraint(value, (field, ...rest) => fail(name + field, ...rest)),
};

const aText = ofType("string");
const textOrNull: Check = (value, name) => {
  if (value !== null) aText(value, name);
};
/** A field of OpenAI's messages that is only accepted if it is empty. */
const empty: Check = (value, name) => {
  if (value !== null && value !== "" && !(Array.isArray(value) && value.length === 0)) throw invalid(name, "this engine does not support it");
};
const has = (value: unknown, keys: string[]) => typeof value === "object" && value !== null && keys.every((key) => typeof (value as Record<string, unknown>)[key] === "string");

const MESSAGE: Record<string, Check> = {
  role: oneOf("system", "developer", "user", "assistant", "tool"),
  content: (value, name) => {
    if (value === null || typeof value === "string") return;
    if (!Array.isArray(value)) fail(name, "a string, null or a list of text parts", value);
    for (const [i, part] of (value as { type?: unknown }[]).entries()) {
      if (has(part, ["type", "text"]) && part.type === "text") continue;
      if (has(part, ["type"]) && part.type !== "text") throw invalid(`${name}[${i}]`, `parts of type ${JSON.stringify(part.type)} are not supported, only "text"`);
      throw invalid(`${name}[${i}]`, 'expected { type: "text", text }');
    }
  },
  name: aText,
  reasoning: aText,
  reasoning_content: textOrNull,
  toolCalls: (value, name) => {
    if (!Array.isArray(value) || !value.every((call) => has(call, ["toolCallId", "toolName", "input"]))) fail(name, "a list of { toolCallId, toolName, input } with strings", value);
  },
  tool_calls: (value, name) => {
    if (value === null) return;
    const call = (c: unknown) => has(c, ["id"]) && [undefined, "function"].includes((c as { type?: string }).type) && has((c as { function?: unknown }).function, ["name", "arguments"]);
    if (!Array.isArray(value) || !value.every(call)) fail(name, 'a list of { id, type: "function", function: { name, arguments } } with strings', value);
  },
  toolCallId: aText,
  tool_call_id: aText,
  prefix: ofType("boolean"),
  refusal: empty,
  audio: empty,
  function_call: empty,
  annotations: empty,
};

/** Validates load options; `engine` is the part that is passed to the engine. */
export function loadOptions(given?: LoadOptions): { options: LoadOptions; engine: EngineOptions } {
  const options = checked(given, LOAD);
  if (options.fetch !== undefined && options.worker !== false) {
    throw invalid("fetch", "it only works with `worker: false`: a function cannot be sent to a worker");
  }
  const engine: Partial<Record<keyof EngineOptions, unknown>> = {};
  // Absent options must stay absent: the engine does not accept undefined.
  for (const key of Object.keys(table.load) as (keyof typeof table.load)[]) {
    if (options[key] !== undefined) engine[key] = options[key];
  }
  if (options.internal !== undefined) {
    const { clockRate: _, ...internal } = options.internal;
    engine.internal = internal;
  }
  return { options, engine: engine as EngineOptions };
}

/** What generation options say: to the engine, and to the page, since functions and signals cannot be sent to a worker. */
export interface Generate {
  signal?: AbortSignal;
  engine: EngineGenerateOptions;
  steps: Partial<Steps>;
}
export type EngineGenerateOptions = Omit<GenerateOptions, "signal" | "tools" | "maxSteps" | "responseConstraint"> & { tools?: EngineTools; responseConstraint?: object };

/** Validates generation options; a session's are the defaults of a call's. */
export function generateOptions(given?: GenerateOptions, defaults?: Generate): Generate {
  const { signal, tools, maxSteps, responseConstraint, ...engine } = checked(given, GENERATE);
  const all: Generate = {
    signal,
    engine: { ...defaults?.engine, ...engine, ...(tools && { tools: described(tools) }), ...(responseConstraint && { responseConstraint: constraint(responseConstraint, fail) }) },
    steps: { ...defaults?.steps, ...(tools && { tools }), ...(maxSteps && { maxSteps }) },
  };
  const { toolChoice, tools: offered = {} } = all.engine;
  if (toolChoice === "required" && Object.keys(offered).length === 0) throw invalid("toolChoice", "there are no tools");
  if (typeof toolChoice === "object" && !Object.hasOwn(offered, toolChoice.toolName)) throw invalid("toolChoice", `there is no tool named ${JSON.stringify(toolChoice.toolName)}`);
  return all;
}

/** Validates session options: initial messages or state, and defaults of the session's calls. */
export function sessionOptions(given?: SessionOptions): { messages?: Message[]; state?: Blob } & Generate {
  const { messages: list, state, ...rest } = given ?? {};
  if (state !== undefined && !(state instanceof Blob)) throw invalid("state", "expected a Blob from save()");
  if (state !== undefined && list !== undefined) throw invalid("messages", "a saved state has its own messages");
  const begun = list === undefined || (Array.isArray(list) && list.length === 0) ? undefined : messages(list);
  return { ...(begun && { messages: begun }), ...(state && { state }), ...generateOptions(rest) };
}

export function signalOption(given?: { signal?: AbortSignal }): { signal?: AbortSignal } {
  return checked(given, { signal });
}

export function scoreOptions(given?: { top?: number; raw?: boolean }): { top?: number; raw?: boolean } {
  return checked(given, checksOf(table.score));
}

export function forwardOptions(given?: { rows?: "last" | "all" }): "last" | "all" {
  return checked(given, checksOf(table.forward)).rows ?? "last";
}

export function templateOptions(given?: TemplateOptions): TemplateArguments {
  const { tools: offered, ...rest } = checked(given, { addGenerationPrompt: ofType("boolean"), args: data, tools });
  return { ...rest, ...(offered && { tools: described(offered) }) };
}

export function encodeOptions(given?: { addSpecialTokens?: boolean }): boolean {
  return checked(given, { addSpecialTokens: ofType("boolean") }).addSpecialTokens ?? true;
}

export function decodeOptions(given?: { skipSpecialTokens?: boolean }): boolean {
  return checked(given, { skipSpecialTokens: ofType("boolean") }).skipSpecialTokens ?? false;
}

/** A copy of a conversation in the package's own form, so that later changes by the caller have no effect. */
export function messages(given: readonly InputMessage[]): Message[] {
  if (!Array.isArray(given) || given.length === 0) throw invalid("messages", "expected a list of at least one message");
  return given.map((message, i) => {
    const copy = checked<InputMessage>(message, MESSAGE, `messages[${i}].`);
    const { role, name, prefix } = copy;
    if (role === undefined) throw invalid(`messages[${i}].role`, "it is missing");
    const toolCalls = copy.toolCalls ?? copy.tool_calls?.map((call): ToolCall => ({ toolCallId: call.id, toolName: call.function.name, input: call.function.arguments }));
    const reasoning = copy.reasoning ?? copy.reasoning_content ?? undefined;
    const toolCallId = copy.toolCallId ?? copy.tool_call_id;
    if (copy.content === undefined && !toolCalls?.length) throw invalid(`messages[${i}].content`, "it is missing");
    const content = typeof copy.content === "string" ? copy.content : (copy.content ?? []).map((part) => part.text).join("\n");
    if (prefix && (i !== given.length - 1 || role !== "assistant")) {
      throw invalid(`messages[${i}].prefix`, "only the last message may be a prefix, and only an assistant's");
    }
    return defined({ role, content, name, reasoning, toolCalls, toolCallId, prefix });
  });
}

export function text(given: unknown, name: string): string {
  if (typeof given !== "string") fail(name, "a string", given);
  return given as string;
}

/** A copy of token ids. */
export function ids(given: Iterable<number>, name: string): Uint32Array {
  if (given instanceof Uint32Array) return given.slice();
  if (typeof given !== "object" || given === null || !(Symbol.iterator in given)) fail(name, "token ids", given);
  const list = [...given];
  for (const id of list) if (!Number.isInteger(id) || id < 0 || id > 0xffffffff) fail(name, "token ids", id);
  return Uint32Array.from(list);
}

export function input(given: Input): EngineInput {
  if (typeof given === "string") return given;
  if (given instanceof Uint32Array) return given.slice();
  if (Array.isArray(given)) return messages(given);
  return fail("input", "a string, messages or a Uint32Array of token ids", given);
}
