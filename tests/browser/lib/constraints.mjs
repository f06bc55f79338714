// Ten schemas with a prompt each, for generations within a constraint, and a validator for what they make.

import Ajv from "ajv/dist/2020.js";
import formats from "ajv-formats";

const text = (maxLength) => ({ type: "string", maxLength });
const object = (properties, optional = []) => ({
  type: "object", properties, required: Object.keys(properties).filter((name) => !optional.includes(name)), additionalProperties: false,
});

export const CASES = {
  forecast: { prompt: "A forecast for Oslo, as JSON.", schema: object({ city: text(20), days: { type: "integer", minimum: 1, maximum: 14 }, unit: { enum: ["celsius", "fahrenheit"] } }, ["unit"]) },
  person: { prompt: "Describe a person, as JSON.", schema: object({ name: { type: "string", pattern: "^[A-Z][a-z]{1,9}( [A-Z][a-z]{1,9})?$" }, age: { type: "integer", minimum: 0, maximum: 120 }, member: { type: "boolean" } }) },
  tags: { prompt: "Three tags for a photo of a beach, as JSON.", schema: { type: "array", items: text(12), minItems: 1, maxItems: 3 } },
  sentiment: { prompt: "Is this review good or bad? \"I loved it.\"", schema: object({ sentiment: { enum: ["positive", "negative", "neutral"] }, score: { type: "number", minimum: 0, maximum: 1 } }) },
  date: { prompt: "When was the Moon landing?", schema: object({ date: { type: "string", format: "date" } }) },
  shape: { prompt: "Describe a shape, as JSON.", schema: { anyOf: [object({ kind: { const: "circle" }, radius: { type: "integer", minimum: 1, maximum: 99 } }), object({ kind: { const: "square" }, side: { type: "integer", minimum: 1, maximum: 99 } })] } },
  matrix: { prompt: "A matrix of two rows, as JSON.", schema: { type: "array", minItems: 2, maxItems: 2, items: { type: "array", minItems: 2, maxItems: 2, items: { type: "integer", minimum: -99, maximum: 99 } } } },
  tree: { prompt: "A folder, as JSON.", schema: { $defs: { node: object({ name: text(8), first: { anyOf: [{ type: "null" }, object({ name: text(8) })] } }) }, $ref: "#/$defs/node" } },
  call: { prompt: "Call the weather tool for Lima.", schema: object({ name: { const: "get_weather" }, arguments: object({ city: text(16), days: { type: "integer", minimum: 1, maximum: 7 } }, ["days"]) }) },
  scores: { prompt: "Scores of two players, as JSON.", schema: { type: "object", minProperties: 1, maxProperties: 2, patternProperties: { "^[A-Z][a-z]{1,8}$": { type: "integer", minimum: 0, maximum: 999 } }, additionalProperties: false } },
};

const ajv = new Ajv({ strict: false });
formats(ajv);
const validators = Object.fromEntries(Object.entries(CASES).map(([name, { schema }]) => [name, ajv.compile(schema)]));

/** Why an answer is not what its schema says; undefined if it is. */
export function fault(name, answer) {
  try {
    const valid = validators[name];
    return valid(JSON.parse(answer)) ? undefined : ajv.errorsText(valid.errors);
  } catch (error) {
    return String(error);
  }
}
