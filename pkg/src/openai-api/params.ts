// Reads the parameters of a request: each is used, known to have no effect, or refused by name.

import type { GenerateOptions, ToolChoice, Tool } from "../types.js";
import { ApiError, badValue, unsupportedValue } from "./errors.js";

export type Json = Record<string, unknown>;

export const isObject = (value: unknown): value is Json => typeof value === "object" && value !== null && !Array.isArray(value);

/** The parameters of a request, or the fields of one of them. Null counts as absent, as in OpenAI's API. */
export class Params {
  readonly #given: Json;
  readonly #prefix: string;
  readonly #left: Set<string>;

  constructor(given: unknown, prefix = "") {
    if (!isObject(given)) throw badValue(prefix === "" ? "body" : prefix.slice(0, -1), "expected an object");
    this.#given = given;
    this.#prefix = prefix;
    this.#left = new Set(Object.keys(given).filter((name) => given[name] !== undefined && given[name] !== null));
  }

  /** The parameter's name in messages. */
  path(name: string): string {
    return this.#prefix + name;
  }

  has(name: string): boolean {
    return this.#given[name] !== undefined && this.#given[name] !== null;
  }

  take(name: string): unknown {
    this.#left.delete(name);
    return this.#given[name] ?? undefined;
  }

  #typed<T>(name: string, expected: string, is: (value: unknown) => boolean): T | undefined {
    const value = this.take(name);
    if (value !== undefined && !is(value)) throw badValue(this.path(name), `expected ${expected}`);
    return value as T | undefined;
  }

  string(name: string): string | undefined {
    return this.#typed(name, "a string", (value) => typeof value === "string");
  }

  boolean(name: string): boolean | undefined {
    return this.#typed(name, "true or false", (value) => typeof value === "boolean");
  }

  number(name: string): number | undefined {
    return this.#typed(name, "a number", (value) => typeof value === "number");
  }

  whole(name: string, least: number, most: number): number | undefined {
    return this.#typed(name, `a whole number from ${least} to ${most}`, (value) => Number.isInteger(value) && (value as number) >= least && (value as number) <= most);
  }

  list(name: string): unknown[] | undefined {
    return this.#typed(name, "a list", Array.isArray);
  }

  /** One of some texts. */
  word<W extends string>(name: string, ...words: W[]): W | undefined {
    return this.#typed(name, words.map((word) => JSON.stringify(word)).join(" or "), (value) => words.includes(value as W));
  }

  /** The fields of a parameter that is an object. */
  fields(name: string): Params | undefined {
    const value = this.take(name);
    return value === undefined ? undefined : new Params(value, `${this.path(name)}.`);
  }

  /** Parameters that change nothing here. */
  withoutEffect(...names: string[]): void {
    for (const name of names) this.#left.delete(name);
  }

  /** Refuses any value but those that ask for nothing. */
  only(name: string, why: string, ...allowed: unknown[]): void {
    const value = this.take(name);
    if (value !== undefined && !allowed.includes(value)) throw unsupportedValue(this.path(name), why);
  }

  /** Refuses the parameters that nobody has taken. */
  finish(): void {
    for (const name of this.#left) throw new ApiError(400, `${this.path(name)}: this parameter is unknown here`, { code: "unknown_parameter", param: this.path(name) });
  }
}

/** Parameters of sampling, which all endpoints have. */
export function sampling(params: Params): GenerateOptions {
  const bias = params.take("logit_bias");
  if (bias !== undefined && !isObject(bias)) throw badValue("logit_bias", "expected an object of token ids and numbers");
  const stop = params.take("stop");
  return {
    temperature: params.number("temperature"),
    topP: params.number("top_p"),
    topK: params.number("top_k"),
    minP: params.number("min_p"),
    presencePenalty: params.number("presence_penalty"),
    frequencyPenalty: params.number("frequency_penalty"),
    repetitionPenalty: params.number("repetition_penalty"),
    seed: params.number("seed"),
    logitBias: bias as Record<number, number> | undefined,
    stopSequences: typeof stop === "string" ? [stop] : (stop as string[] | undefined),
  };
}

/** The efforts that templates know, by those that the API has. */
const EFFORTS: Record<string, string> = { minimal: "low", low: "low", medium: "medium", high: "high", xhigh: "high", max: "high" };

/** "none" switches reasoning off; the others are told to the chat template. */
export function effort(params: Params, name: string): GenerateOptions {
  const word = params.word(name, "none", "minimal", "low", "medium", "high", "xhigh", "max");
  if (word === undefined) return {};
  return word === "none" ? { reasoning: "none" } : { templateArgs: { reasoning_effort: EFFORTS[word] } };
}

/** A response format: none for text. `name` is the parameter's; a schema is in the field `json_schema` or in the format itself. */
export function format(params: Params | undefined, nested: boolean): GenerateOptions {
  if (params === undefined) return {};
  const type = params.word("type", "text", "json_object", "json_schema") ?? missing(params.path("type"));
  if (type === "json_schema") {
    const named = nested ? (params.fields("json_schema") ?? missing(params.path("json_schema"))) : params;
    named.string("name") ?? missing(named.path("name"));
    named.withoutEffect("description");
    named.boolean("strict"); // answers are always strict
    const schema = named.take("schema") ?? missing(named.path("schema"));
    if (!isObject(schema)) throw badValue(named.path("schema"), "expected a JSON Schema");
    named.finish();
    params.finish();
    return { responseConstraint: { json: schema } };
  }
  params.finish();
  return type === "text" ? {} : { responseConstraint: { json: { type: "object" } } };
}

export function missing(param: string): never {
  throw new ApiError(400, `${param}: it is missing`, { code: "missing_required_parameter", param });
}

/** The functions of a request. Those of chats are in the field `function` of a tool, those of responses are the tool. */
export function tools(params: Params, nested: boolean): GenerateOptions {
  const list = params.list("tools") ?? [];
  const given: Record<string, Tool> = {};
  for (const [i, item] of list.entries()) {
    const tool = new Params(item, `tools[${i}].`);
    const type = tool.string("type") ?? missing(tool.path("type"));
    if (type !== "function") throw unsupportedValue(tool.path("type"), `tools of type ${JSON.stringify(type)} are not supported, only "function"`);
    const fields = nested ? (tool.fields("function") ?? missing(tool.path("function"))) : tool;
    const name = fields.string("name") ?? missing(fields.path("name"));
    if (Object.hasOwn(given, name)) throw badValue(fields.path("name"), `there are two tools with the name ${JSON.stringify(name)}`);
    const inputSchema = fields.take("parameters") ?? { type: "object", properties: {} };
    if (!isObject(inputSchema)) throw badValue(fields.path("parameters"), "expected a JSON Schema");
    given[name] = { inputSchema, description: fields.string("description") };
    fields.boolean("strict"); // calls are always strict
    fields.finish();
    tool.finish();
  }
  const toolChoice = choice(params, given, nested);
  return { ...(list.length > 0 && { tools: given }), ...(toolChoice !== undefined && list.length > 0 && { toolChoice }) };
}

function choice(params: Params, given: Record<string, Tool>, nested: boolean): ToolChoice | undefined {
  const value = params.take("tool_choice");
  if (value === undefined || value === "none" || value === "auto") return value;
  if (value === "required") {
    if (Object.keys(given).length === 0) throw badValue("tool_choice", "it requires a tool, and there is none");
    return value;
  }
  const fields = new Params(value, "tool_choice.");
  const type = fields.string("type");
  if (type !== "function") throw unsupportedValue("tool_choice", 'expected "none", "auto", "required" or a function');
  const named = nested ? (fields.fields("function") ?? missing("tool_choice.function")) : fields;
  const toolName = named.string("name") ?? missing(named.path("name"));
  named.finish();
  fields.finish();
  if (!Object.hasOwn(given, toolName)) throw badValue(named.path("name"), `there is no tool with the name ${JSON.stringify(toolName)}`);
  return { toolName };
}

/** Removes absent options. */
export function present<T extends object>(options: T): T {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as T;
}

/** Engine options by the names of parameters that all endpoints share. */
export const PARAMS: Record<string, string> = {
  stopSequences: "stop", topP: "top_p", topK: "top_k", minP: "min_p", presencePenalty: "presence_penalty", frequencyPenalty: "frequency_penalty",
  repetitionPenalty: "repetition_penalty", logitBias: "logit_bias", logprobs: "top_logprobs", toolChoice: "tool_choice",
};
