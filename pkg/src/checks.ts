// How a value is checked: rules and their messages.

import { invalid } from "./errors.js";

export type Check = (value: unknown, name: string) => void;
export type Checks<Name extends PropertyKey> = Record<Name, Check>;

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

export const isPlain = (value: unknown): value is Record<string, unknown> => typeof value === "object" && value !== null && !Array.isArray(value);
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
  text: (value) => typeof value === "string" && value !== "",
};

/** Characters of a value in a message, at most. */
const SHOWN = 200;
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
export const fail = (name: string, expected: string, value: unknown): never => {
  throw invalid(name, `expected ${expected}, got ${shown(value)}`);
};
export const oneOf = (...words: unknown[]): Check => (value, name) => {
  if (!words.includes(value)) fail(name, words.map((w) => JSON.stringify(w)).join(" or "), value);
};
export const ofType = (type: string): Check => (value, name) => {
  if (typeof value !== type) fail(name, `a ${type}`, value);
};
export const plain: Check = (value, name) => {
  if (!isPlain(value)) fail(name, "an object", value);
};
/** A value that JSON can represent: a cycle would overflow the engine's stack. */
export const data: Check = (value, name) => {
  plain(value, name);
  try {
    JSON.stringify(value);
  } catch {
    fail(name, "plain data without cycles", value);
  }
};
export const signal: Check = (value, name) => {
  if (typeof (value as AbortSignal)?.addEventListener !== "function") fail(name, "an AbortSignal", value);
};

/** The check of a row. */
export const checkOf = (rule: Rule): Check => (value, name) => {
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
export const checksOf = <Name extends string>(rules: Record<Name, Rule>) =>
  Object.fromEntries(Object.entries<Rule>(rules).map(([name, rule]) => [name, checkOf(rule)])) as Checks<Name>;

/** Applies the checks. Properties with the value undefined count as absent and are removed from the result. */
export function checked<T extends object>(given: T | undefined, checks: Record<string, Check>, prefix = ""): T {
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

/** Removes undefined properties, which the engine does not accept. */
export function defined<T extends object>(all: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined)) as never;
}
