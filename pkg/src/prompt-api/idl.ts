// Conversions of values as WebIDL has them.

/** A dictionary: absent members are undefined, and unknown ones are not looked at. */
export function dictionary(value: unknown, what: string): Record<string, unknown> {
  if (value === undefined || value === null) return {};
  if (typeof value !== "object" && typeof value !== "function") throw new TypeError(`${what} is not an object`);
  return value as Record<string, unknown>;
}

export const isSequence = (value: unknown): value is Iterable<unknown> =>
  typeof value === "object" && value !== null && typeof (value as Partial<Iterable<unknown>>)[Symbol.iterator] === "function";

export function sequence(value: unknown, what: string): unknown[] {
  if (!isSequence(value)) throw new TypeError(`${what} is not a sequence`);
  return [...value];
}

export function enumeration<T extends string>(value: unknown, values: readonly T[], what: string): T {
  const text = String(value);
  if (!(values as readonly string[]).includes(text)) throw new TypeError(`${what}: "${text}" is not one of ${values.join(", ")}`);
  return text as T;
}

export function required(dictionary: Record<string, unknown>, name: string, what: string): unknown {
  const value = dictionary[name];
  if (value === undefined) throw new TypeError(`${what}: "${name}" is missing`);
  return value;
}

export function signalOf(value: unknown, what: string): AbortSignal | undefined {
  if (value === undefined) return undefined;
  if (typeof (value as AbortSignal | null)?.addEventListener !== "function") throw new TypeError(`${what}: signal is not an AbortSignal`);
  return value as AbortSignal;
}
