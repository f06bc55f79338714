// Constraints as callers write them and as the engine takes them (`Constraint` in `src/engine/constraint.rs`).

/** Throws because of a value that is not what is expected; `field` is the part of the constraint. */
type Refuse = (field: string, expected: string, value: unknown) => never;

/** Converts a constraint for the engine. */
export function constraint(given: unknown, refuse: Refuse): object {
  if (given instanceof RegExp) return { regex: given.source === "(?:)" ? "" : given.source, flags: given.flags };
  const plain = typeof given === "object" && given !== null && !Array.isArray(given);
  const [[kind, value] = [], another] = plain ? Object.entries(given) : [];
  if (kind === "json" && another === undefined) return { json: asJson(value) ?? refuse(".json", "a schema without cycles", value) };
  if (kind === "choice" && another === undefined) {
    if (!Array.isArray(value) || !value.every((text) => typeof text === "string")) return refuse(".choice", "a list of strings", value);
    return { choice: [...value] };
  }
  if (kind === "grammar" && another === undefined) return { grammar: typeof value === "string" ? value : refuse(".grammar", "a string", value) };
  return refuse("", "a RegExp, { json }, { choice } or { grammar }", given);
}

/** A schema as JSON has it, without functions and undefined; undefined if it is no schema. */
function asJson(schema: unknown): unknown {
  if (typeof schema === "boolean") return schema;
  if (typeof schema !== "object" || schema === null || Array.isArray(schema)) return undefined;
  try {
    return JSON.parse(JSON.stringify(schema));
  } catch {
    return undefined; // it has a cycle
  }
}
