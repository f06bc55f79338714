// A small value that is valid by a JSON Schema, where that is easy to see.

import { EngineError } from "../errors.js";

type Schema = Record<string, unknown>;

/** Keywords that are honoured, or that only annotate. A schema with another one is refused. */
const KNOWN = new Set([
  "$ref", "$defs", "definitions", "type", "const", "enum", "anyOf", "properties", "required", "additionalProperties", "items", "prefixItems", "minItems", "maxItems",
  "minLength", "maxLength", "minimum", "maximum", "$schema", "$id", "$comment", "title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly", "propertyOrdering",
]);

const DEEPEST = 32;

/** The simplest instance: required properties only, shortest lists and texts. Throws "constraint" where it would take more than that. */
export function instance(schema: unknown, root: unknown = schema, path = "#", depth = 0): unknown {
  const refuse = (why: string): never => {
    throw new EngineError("constraint", `${path}: the echo model makes no instance of this schema: ${why}; script the answer`, { detail: { path } });
  };
  if (schema === true || (isSchema(schema) && Object.keys(schema).length === 0)) return null;
  if (!isSchema(schema)) return refuse("nothing is valid by it");
  if (depth > DEEPEST) return refuse("it is nested too deeply");
  const at = (part: unknown, name: string) => instance(part, root, `${path}/${name}`, depth + 1);
  const unknown = Object.keys(schema).find((keyword) => !KNOWN.has(keyword));
  if (unknown !== undefined) return refuse(`it has the keyword ${JSON.stringify(unknown)}`);
  if ("$ref" in schema) return at(referred(schema.$ref, root) ?? refuse(`${JSON.stringify(schema.$ref)} refers to nothing`), "$ref");
  if ("const" in schema) return schema.const;
  if (Array.isArray(schema.enum)) return schema.enum.length > 0 ? schema.enum[0] : refuse("its enum is empty");
  if (Array.isArray(schema.anyOf)) return at(schema.anyOf[0], "anyOf/0");
  const number = (name: string, other: number) => (typeof schema[name] === "number" ? (schema[name] as number) : other);
  switch (Array.isArray(schema.type) ? schema.type[0] : (schema.type ?? implied(schema))) {
    case "object": {
      const properties = isSchema(schema.properties) ? schema.properties : {};
      const names = Array.isArray(schema.required) ? (schema.required as string[]) : [];
      return Object.fromEntries(names.map((name) => [name, at(properties[name] ?? true, `properties/${name}`)]));
    }
    case "array": {
      const first = Array.isArray(schema.prefixItems) ? schema.prefixItems : [];
      return Array.from({ length: number("minItems", 0) }, (_, i) => at(first[i] ?? schema.items ?? true, i < first.length ? `prefixItems/${i}` : "items"));
    }
    case "string":
      return "a".repeat(number("minLength", 0));
    case "integer":
    case "number": {
      const [least, most] = [number("minimum", -Infinity), number("maximum", Infinity)];
      const value = Math.ceil(Math.min(Math.max(0, least), Math.floor(most)));
      return value >= least && value <= most ? value : refuse("no whole number lies in its range");
    }
    case "boolean":
      return false;
    case "null":
      return null;
    default:
      return refuse(`its type is ${JSON.stringify(schema.type)}`);
  }
}

const isSchema = (value: unknown): value is Schema => typeof value === "object" && value !== null && !Array.isArray(value);

const implied = (schema: Schema): string => ("properties" in schema || "required" in schema ? "object" : "items" in schema || "prefixItems" in schema ? "array" : "null");

/** What a local reference ("#/$defs/name") refers to. */
function referred(ref: unknown, root: unknown): unknown {
  if (typeof ref !== "string" || !ref.startsWith("#")) return undefined;
  const names = ref.slice(1).split("/").slice(1).map((name) => decodeURIComponent(name).replaceAll("~1", "/").replaceAll("~0", "~"));
  return names.reduce<unknown>((value, name) => (isSchema(value) || Array.isArray(value) ? (value as Schema)[name] : undefined), root);
}
