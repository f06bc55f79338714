// Validates everything that a caller passes: nothing is silently ignored.

import table from "../../src/engine/options.json" with { type: "json" };
import { invalid, unsupported } from "./errors.js";
import type { GenerateOptions, Input, InputMessage, LoadOptions, Message, SessionOptions, TemplateOptions, Tool, ToolCall } from "./types.js";
import type { EngineInput, EngineOptions, TemplateArguments } from "./wasm.js";

type Check = (value: unknown, name: string) => void;
type Checks<Name extends PropertyKey> = Record<Name, Check>;

/** A row of the table of options, whose fields `src/engine/rules.rs` describes. */
interface Rule {
  kind: string;
  expected: string;
  values?: readonly unknown[];
  least?: number;
  above?: number;
  most?: number;
  below?: number;
  fields?: Record<string, Rule>;
  items?: Rule;
}

const isPlain = (value: unknown): value is Record<string, unknown> => typeof value === "object" && value !== null && !Array.isArray(value);
const within = (value: unknown, { least = -Infinity, above = -Infinity, most = Infinity, below = Infinity }: Rule): boolean =>
  typeof value === "number" && Number.isFinite(value) && value >= least && value > above && value <= most && value < below;

/** What each kind of rule accepts. */
const KINDS: Record<string, (value: unknown, rule: Rule) => boolean> = {
  number: within,
  whole: (value, rule) => within(value, rule) && Number.isInteger(value),
  choice: () => false, // nothing but `values`
  texts: (value) => Array.isArray(value) && value.every((text) => typeof text === "string" && text !== ""),
  "by-token": isPlain,
  object: isPlain,
};

const SHOWN = 200; // characters of a value in a message, at most
/** A value in a message, shortened if it is long. */
function shown(value: unknown): string {
  const text = written(value);
  return text.length > SHOWN ? `${text.slice(0, SHOWN)}…` : text;
}
function written(value: unknown): string {
  if (typeof value === "function") return "a function";
  if (typeof value === "bigint") return `${value}n`;
  if (typeof value !== "string" && typeof value !== "object") return String(value);
  const plainData = typeof value === "string" || value === null || Array.isArray(value) || Object.getPrototypeOf(value) === Object.prototype;
  try {
    if (plainData) return JSON.stringify(value);
  } catch {
    // A cycle, or something within that JSON lacks.
  }
  return Object.prototype.toString.call(value);
}
const fail = (name: string, expected: string, value: unknown): never => {
  throw invalid(name, `expected ${expected}, got ${shown(value)}`);
};
const oneOf = (...words: unknown[]): Check => (value, name) => {
  if (!words.includes(value)) fail(name, words.map((w) => JSON.stringify(w)).join(" or "), value);
};
const ofType = (type: string): Check => (value, name) => {
  if (typeof value !== type) fail(name, `a ${type}`, value);
};
const plain: Check = (value, name) => {
  if (!isPlain(value)) fail(name, "an object", value);
};
/** A value that JSON can represent: a cycle would overflow the engine's stack. */
const data: Check = (value, name) => {
  plain(value, name);
  try {
    JSON.stringify(value);
  } catch {
    fail(name, "plain data without cycles", value);
  }
};
const signal: Check = (value, name) => {
  if (typeof (value as AbortSignal)?.addEventListener !== "function") fail(name, "an AbortSignal", value);
};
const anything: Check = () => {};
const unbuilt: Check = (_, name) => {
  throw unsupported(name, "this option is not supported yet");
};

const checkOf = (rule: Rule): Check => (value, name) => {
  if (rule.values?.includes(value)) return;
  if (rule.fields !== undefined && isPlain(value)) {
    const { fields } = rule;
    const given = checked(value, checksOf(fields), `${name}.`);
    for (const field of Object.keys(fields)) if (!(field in given)) throw invalid(`${name}.${field}`, "it is missing");
    return;
  }
  if (!KINDS[rule.kind]!(value, rule)) fail(name, rule.expected, value);
  if (rule.kind !== "by-token") return;
  for (const [id, item] of Object.entries(value as object)) {
    if (!/^\d+$/.test(id)) fail(name, rule.expected, id);
    checkOf(rule.items!)(item, `${name}[${id}]`);
  }
};
const checksOf = <Name extends string>(rules: Record<Name, Rule>) =>
  Object.fromEntries(Object.entries<Rule>(rules).map(([name, rule]) => [name, checkOf(rule)])) as Checks<Name>;

// The types of these require a check for every declared option. Options that reach the engine are in the table; the others
// are checked here only.

const LOAD: Checks<keyof LoadOptions> = {
  ...checksOf(table.load),
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
  wasm: anything, // checked where it is used
  cpuWasm: anything,
  internal: plain,
};

const TOOL: Checks<keyof Tool> = { description: ofType("string"), inputSchema: data, execute: unbuilt };

const GENERATE: Checks<keyof GenerateOptions> = {
  ...checksOf(table.generate),
  responseConstraint: (value, name) => {
    const { json, choice, grammar } = isPlain(value) && Object.keys(value).length === 1 ? value : {};
    const chosen = Array.isArray(choice) && choice.every((text) => typeof text === "string");
    if (!isPlain(json) && !chosen && typeof grammar !== "string" && !(value instanceof RegExp)) fail(name, "a RegExp, { json }, { choice } or { grammar }", value);
  },
  tools: (value, name) => {
    plain(value, name);
    for (const [tool, given] of Object.entries(value as object)) if (!checked<Tool>(given, TOOL, `${name}.${tool}.`).inputSchema) throw invalid(`${name}.${tool}.inputSchema`, "it is missing");
  },
  toolChoice: (value, name) => void (has(value, ["toolName"]) || oneOf("auto", "none", "required")(value, name)),
  maxSteps: unbuilt,
  signal,
  templateArgs: data,
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

/** Applies the checks. Properties with the value undefined count as absent and are removed from the result. */
function checked<T extends object>(given: T | undefined, checks: Record<string, Check>, prefix = ""): T {
  if (given !== undefined) plain(given, prefix === "" ? "options" : prefix.slice(0, -1));
  const out: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(given ?? {})) {
    if (value === undefined) continue;
    const check = Object.hasOwn(checks, key) ? checks[key] : undefined;
    if (check === undefined) throw invalid(prefix + key, "unknown option");
    check(value, prefix + key);
    out[key] = value;
  }
  return out as T;
}

/** Validates load options; `engine` is the part that is passed to the engine. */
export function loadOptions(given?: LoadOptions): { options: LoadOptions; engine: EngineOptions } {
  const options = checked(given, LOAD);
  if (options.fetch !== undefined && options.worker !== false) {
    throw invalid("fetch", "it only works with `worker: false`: a function cannot be sent to a worker");
  }
  const engine: Record<string, unknown> = {};
  // Absent options must stay absent: the engine does not accept undefined.
  for (const key of Object.keys(table.load) as (keyof typeof table.load)[]) {
    if (options[key] !== undefined) engine[key] = options[key];
  }
  if (options.internal !== undefined) {
    const { clockRate: _, ...internal } = options.internal;
    engine.internal = internal;
  }
  return { options, engine };
}

/** Validates generation options; the signal is separate, because it cannot be sent to a worker. */
export function generateOptions(given?: GenerateOptions): { signal?: AbortSignal; engine: object } {
  const { signal, ...engine } = checked(given, GENERATE);
  return { signal, engine };
}

/** Validates session options: initial messages or state, and defaults of the session's calls. */
export function sessionOptions(given?: SessionOptions): { messages?: Message[]; state?: Blob; signal?: AbortSignal; engine: object } {
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
  return checked(given, { addGenerationPrompt: ofType("boolean"), args: data, tools: unbuilt });
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

/** Removes undefined properties, which the engine does not accept. */
function defined<T extends object>(all: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined)) as never;
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
