// Requests of WebLLM's applications, which differ from OpenAI's in a few fields.

import { EngineError, unsupported } from "../errors.js";
import { ApiError } from "../openai-api/index.js";

/** The fields of a request, as WebLLM's clients send it: those of OpenAI's API, and some of WebLLM's own. */
export interface ChatCompletionRequest {
  messages: readonly object[];
  model?: string | null;
  stream?: boolean | null;
  [parameter: string]: unknown;
}
export interface CompletionCreateParams {
  prompt: string;
  model?: string | null;
  stream?: boolean | null;
  [parameter: string]: unknown;
}
export type Streaming = { stream: true };
export type Whole = { stream?: false | null };

type Json = Record<string, unknown>;

/** A request without WebLLM's own fields, which are used or refused. */
export function translated(given: object): Json {
  const { extra_body: extra, response_format: format, ignore_eos: ignoreEos, ...request } = given as Json;
  if (ignoreEos) throw unsupported("ignore_eos", "answers end where the model ends them");
  const { enable_thinking: thinking, enable_latency_breakdown: breakdown, ...unknown } = (extra ?? {}) as Json;
  if (breakdown) throw unsupported("extra_body.enable_latency_breakdown", "latencies are not broken down");
  for (const name of Object.keys(unknown)) throw unsupported(`extra_body.${name}`, "it is unknown here");
  return { ...request, ...(thinking === false && { reasoning_effort: "none" }), ...(format !== undefined && format !== null && { response_format: formatOf(format as Json) }) };
}

/** A format in OpenAI's form; WebLLM has schemas as texts. */
function formatOf({ type, schema, grammar, structural_tag: tag, ...others }: Json): Json {
  if (type === "grammar" || grammar !== undefined) throw unsupported("response_format.grammar", "grammars in this notation are not read; Minke's own API takes grammars in Lark's form");
  if (type === "structural_tag" || tag !== undefined) throw unsupported("response_format.structural_tag", "it is not supported");
  if (type !== "json_object" || schema === undefined || schema === null) return { type, ...others };
  try {
    return { type: "json_schema", json_schema: { name: "schema", schema: typeof schema === "string" ? JSON.parse(schema) : schema }, ...others };
  } catch (error) {
    throw new EngineError("invalid-argument", `response_format.schema: it is not JSON: ${error instanceof Error ? error.message : error}`, { detail: { argument: "response_format.schema" }, cause: error });
  }
}

/** Reads a request; refusals are the package's own errors. */
export function read<T>(request: () => T): T {
  try {
    return request();
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    const code = error.code === "unsupported_value" || error.code === "unknown_parameter" ? "feature" : "invalid-argument";
    throw new EngineError(code, error.message, { detail: { argument: error.param }, cause: error });
  }
}
