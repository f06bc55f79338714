// Validates everything that a caller passes: nothing is silently ignored.

import { invalid } from "./errors.js";
import type { GenerateOptions, Input, InputMessage, LoadOptions, Message, SessionOptions, TemplateOptions, ToolCall } from "./types.js";
import type { EngineInput, EngineOptions, TemplateArguments } from "./wasm.js";

/** Maximum number of most probable tokens that one step reports. */
const MAX_TOP = 64;

type Check = (value: unknown, name: string) => void;

const fail = (name: string, expected: string, value: unknown): never => {
  throw invalid(name, `expected ${expected}, got ${typeof value === "string" ? JSON.stringify(value) : String(value)}`);
};
const number = (expected: string, good: (value: number) => boolean): Check => (value, name) => {
  if (typeof value !== "number" || !good(value)) fail(name, expected, value);
};
const count = (least: number) => number(`a whole number of at least ${least}`, (v) => Number.isSafeInteger(v) && v >= least);
const oneOf = (...words: unknown[]): Check => (value, name) => {
  if (!words.includes(value)) fail(name, words.map((w) => JSON.stringify(w)).join(" or "), value);
};
const ofType = (type: string): Check => (value, name) => {
  if (typeof value !== type) fail(name, `a ${type}`, value);
};
const plain: Check = (value, name) => {
  if (typeof value !== "object" || value === null || Array.isArray(value)) fail(name, "an object", value);
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
  throw invalid(name, "this option is not supported yet");
};
const LOAD: Record<string, Check> = {
  onProgress: ofType("function"),
  signal,
  contextLength: count(1),
  quantization: oneOf("auto", "none", "q8", "q4"),
  kvCache: oneOf("auto", "f16", "q8"),
  cache: oneOf("opfs", "none"),
  onStorageFull: ofType("function"),
  integrity: (value, name) => {
    plain(value, name);
    for (const [file, digest] of Object.entries(value as Record<string, unknown>)) {
      if (typeof digest !== "string" || !/^sha256-[A-Za-z0-9+/]{43}=$/.test(digest)) fail(`${name}[${JSON.stringify(file)}]`, '"sha256-" and 32 bytes in base64', digest);
    }
  },
  powerPreference: oneOf("low-power", "high-performance"),
  fetch: ofType("function"),
  worker: anything,
  wasm: anything,
  internal: plain,
};

const GENERATE: Record<string, Check> = {
  maxOutputTokens: count(1),
  stopSequences: (value, name) => {
    if (!Array.isArray(value) || !value.every((v) => typeof v === "string" && v !== "")) fail(name, "a list of non-empty strings", value);
  },
  seed: count(0),
  signal,
  temperature: number("a number of at least 0", (v) => v >= 0 && Number.isFinite(v)),
  topP: number("a number above 0 and at most 1", (v) => v > 0 && v <= 1),
  topK: count(0),
  minP: number("a number of at least 0 and below 1", (v) => v >= 0 && v < 1),
  reasoning: (value, name) => {
    if (value === "auto" || value === "none") return;
    if (typeof value !== "object" || value === null) fail(name, '"auto", "none" or { maxTokens }', value);
    const { maxTokens } = checked(value as { maxTokens?: number }, { maxTokens: count(0) }, `${name}.`);
    if (maxTokens === undefined) throw invalid(`${name}.maxTokens`, "it is missing");
  },
  raw: ofType("boolean"),
  templateArgs: data,
  repetitionPenalty: number("a number from 0.000001 to 1000000", (v) => v >= 1e-6 && v <= 1e6),
  presencePenalty: number("a number from -1000000 to 1000000", (v) => Math.abs(v) <= 1e6),
  frequencyPenalty: number("a number from -1000000 to 1000000", (v) => Math.abs(v) <= 1e6),
  logitBias: (value, name) => {
    plain(value, name);
    for (const [id, bias] of Object.entries(value as Record<string, unknown>)) {
      if (!/^\d+$/.test(id)) fail(name, "token ids as keys", id);
      if (typeof bias !== "number" || !Number.isFinite(bias)) fail(`${name}[${id}]`, "a finite number", bias);
    }
  },
  logprobs: (value, name) => {
    if (typeof value !== "boolean") number(`true, false or a whole number from 0 to ${MAX_TOP}`, (v) => Number.isInteger(v) && v >= 0 && v <= MAX_TOP)(value, name);
  },
  responseConstraint: unbuilt,
  tools: unbuilt,
  maxSteps: unbuilt,
  toolChoice: unbuilt,
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
  for (const key of ["contextLength", "quantization", "kvCache", "powerPreference", "internal"] as const) {
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
  return checked(given, { top: count(0), raw: ofType("boolean") });
}

export function forwardOptions(given?: { rows?: "last" | "all" }): "last" | "all" {
  return checked(given, { rows: oneOf("last", "all") }).rows ?? "last";
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
