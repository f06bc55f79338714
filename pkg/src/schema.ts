// JSON Schemas that other libraries made.

/** A schema as plain data: validators add properties of their own, such as Zod's "~standard". */
export const plainSchema = (schema: object): object => JSON.parse(JSON.stringify(schema)) as object;
