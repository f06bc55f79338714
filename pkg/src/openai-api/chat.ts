// POST /chat/completions: chats, whole or in chunks.

import type { FinishReason, GenerateOptions, InputMessage, Model, StreamPart, TokenLogprob, Usage } from "../types.js";
import { generated, logprobOf, newId, now, usageOf, type CompletionUsage, type Logprob } from "./common.js";
import { badValue, unsupportedValue } from "./errors.js";
import { effort, format, isObject, missing, Params, PARAMS, present, sampling, tools, type Json } from "./params.js";

/** Names of parameters by the engine's options. */
export const CHAT_PARAMS: Record<string, string> = { ...PARAMS, maxOutputTokens: "max_completion_tokens", responseConstraint: "response_format", reasoning: "reasoning_effort", input: "messages" };

export interface ToolCallObject {
  id: string;
  type: "function";
  function: { name: string; arguments: string };
}

interface Logprobs {
  content: Logprob[];
  refusal: null;
}

export interface ChatCompletion {
  id: string;
  object: "chat.completion";
  created: number;
  model: string;
  choices: {
    index: number;
    message: { role: "assistant"; content: string | null; refusal: null; reasoning_content?: string; tool_calls?: ToolCallObject[] };
    finish_reason: ChatFinishReason;
    logprobs: Logprobs | null;
  }[];
  usage: CompletionUsage & Json;
}

export interface ChatChunk {
  id: string;
  object: "chat.completion.chunk";
  created: number;
  model: string;
  choices: { index: number; delta: ChatDelta; finish_reason: ChatFinishReason | null; logprobs: Logprobs | null }[];
  usage?: (CompletionUsage & Json) | null;
}

export interface ChatDelta {
  role?: "assistant";
  content?: string | null;
  reasoning_content?: string;
  tool_calls?: { index: number; id?: string; type?: "function"; function: { name?: string; arguments?: string } }[];
}

/** "abort": the page has stopped the answer, which requests over HTTP cannot. */
export type ChatFinishReason = "stop" | "length" | "tool_calls" | "abort";

const finishReason = (reason: FinishReason): ChatFinishReason => (reason === "tool-calls" ? "tool_calls" : reason);

/** A request as the engine understands it. */
export interface ChatRequest {
  messages: InputMessage[];
  options: GenerateOptions;
  n: number;
  oneCall: boolean;
  stream: boolean;
  includeUsage: boolean;
}

/** Reads a request; `model` has been read. Throws an ApiError for anything that cannot be honoured. */
export function chatRequest(body: unknown): ChatRequest {
  const params = new Params(body);
  params.withoutEffect("model", "user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key", "prompt_cache_retention", "prompt_cache_options", "prediction");
  params.only("verbosity", "answers have no levels of verbosity here", "medium");
  const modalities = params.list("modalities");
  if (modalities?.some((modality) => modality !== "text")) throw unsupportedValue("modalities", 'models answer in "text" only');
  for (const name of ["audio", "web_search_options", "moderation"]) params.only(name, "this is not available here");
  for (const name of ["functions", "function_call"]) params.only(name, "it is deprecated; use tools and tool_choice");
  const stream = params.boolean("stream") ?? false;
  const streamed = params.fields("stream_options");
  if (streamed !== undefined && !stream) throw badValue("stream_options", "it needs stream: true");
  const includeUsage = streamed?.boolean("include_usage") ?? false;
  streamed?.only("include_obfuscation", "streams are not obfuscated: they leave no device", false);
  streamed?.finish();
  const old = params.whole("max_tokens", 1, Number.MAX_SAFE_INTEGER);
  const maxOutputTokens = params.whole("max_completion_tokens", 1, Number.MAX_SAFE_INTEGER) ?? old;
  if (old !== undefined && old !== maxOutputTokens) throw badValue("max_tokens", "it contradicts max_completion_tokens");
  const logprobs = params.boolean("logprobs") ?? false;
  const top = params.whole("top_logprobs", 0, 20);
  if (top !== undefined && !logprobs) throw badValue("top_logprobs", "it needs logprobs: true");
  const oneCall = params.boolean("parallel_tool_calls") === false;
  const n = params.whole("n", 1, 128) ?? 1;
  const messages = (params.list("messages") ?? missing("messages")).map(message);
  const options = present({
    ...sampling(params), ...effort(params, "reasoning_effort"), ...format(params.fields("response_format"), true), ...tools(params, true),
    maxOutputTokens, logprobs: logprobs ? (top ?? true) : undefined,
  });
  params.finish();
  return { messages, options, n, oneCall, stream, includeUsage };
}

/** A message without what clients add to those that they have parsed. The model checks the rest. */
function message(given: unknown): InputMessage {
  if (!isObject(given)) return given as never;
  const { parsed: _, tool_calls: calls, ...rest } = given;
  if (!Array.isArray(calls)) return { ...rest, ...(calls !== undefined && { tool_calls: calls }) } as never;
  const bare = calls.map((call: Json) => {
    if (!isObject(call?.function)) return call;
    const { parsed_arguments: _, ...called } = call.function;
    const { index: __, ...others } = call;
    return { ...others, function: called };
  });
  return { ...rest, tool_calls: bare } as never;
}

/** Seeds of further choices follow the first one's. */
const seeded = (options: GenerateOptions, i: number): GenerateOptions => (options.seed === undefined ? options : { ...options, seed: options.seed + i });

/** Additional fields of a usage. */
export type Extra = (all: readonly Usage[]) => Json;

interface Call {
  model: Model;
  /** The model's name in responses. */
  name: string;
  request: ChatRequest;
  signal?: AbortSignal;
  /** Aborting ends the answer and keeps what there is. */
  stop?: AbortSignal;
  extra?: Extra;
}

/** Answers a chat as a whole. */
export async function chatCompletion({ model, name, request, signal, stop, extra = () => ({}) }: Call): Promise<ChatCompletion> {
  const { messages, options, n, oneCall } = request;
  const choices: ChatCompletion["choices"] = [];
  const usages: Usage[] = [];
  for (let index = 0; index < n; index++) {
    let text = "";
    let reasoning = "";
    const logprobs: TokenLogprob[] = [];
    const calls = new Calls();
    for await (const part of generated(model, messages, { ...seeded(options, index), signal }, { oneCall, stop })) {
      calls.add(part);
      if (part.type === "text-delta") {
        text += part.text;
        logprobs.push(...(part.logprobs ?? []));
      } else if (part.type === "reasoning-delta") reasoning += part.text;
      else if (part.type === "finish") {
        usages.push(part.usage);
        choices.push({
          index,
          message: {
            role: "assistant", content: text === "" && calls.all.length > 0 ? null : text, refusal: null,
            ...(reasoning !== "" && { reasoning_content: reasoning }), ...(calls.all.length > 0 && { tool_calls: calls.all }),
          },
          finish_reason: finishReason(part.finishReason),
          logprobs: options.logprobs === undefined ? null : { content: logprobs.map(logprobOf), refusal: null },
        });
      }
    }
  }
  return { id: newId("chatcmpl-"), object: "chat.completion", created: now(), model: name, choices, usage: { ...usageOf(usages, n), ...extra(usages) } };
}

/** Answers a chat in chunks. */
export async function* chatChunks({ model, name, request, signal, stop, extra = () => ({}) }: Call): AsyncGenerator<ChatChunk, void, undefined> {
  const { messages, options, n, oneCall, includeUsage } = request;
  const head = { id: newId("chatcmpl-"), object: "chat.completion.chunk", created: now(), model: name } as const;
  const usages: Usage[] = [];
  const chunk = (index: number, delta: ChatDelta, finish: ChatFinishReason | null = null, logprobs: TokenLogprob[] | undefined = undefined): ChatChunk => ({
    ...head,
    choices: [{ index, delta, finish_reason: finish, logprobs: logprobs === undefined ? null : { content: logprobs.map(logprobOf), refusal: null } }],
    ...(includeUsage && { usage: null }),
  });
  for (let index = 0; index < n; index++) {
    let begun = false;
    const calls = new Calls();
    for await (const part of generated(model, messages, { ...seeded(options, index), signal }, { oneCall, stop })) {
      if (!begun) yield chunk(index, { role: "assistant", content: "" });
      begun = true;
      for (const delta of calls.add(part)) yield chunk(index, { tool_calls: [delta] });
      if (part.type === "text-delta") yield chunk(index, { content: part.text }, null, part.logprobs);
      else if (part.type === "reasoning-delta") yield chunk(index, { reasoning_content: part.text });
      else if (part.type === "finish") {
        usages.push(part.usage);
        yield chunk(index, {}, finishReason(part.finishReason));
      }
    }
  }
  if (includeUsage) yield { ...head, choices: [], usage: { ...usageOf(usages, n), ...extra(usages) } };
}

type CallDelta = NonNullable<ChatDelta["tool_calls"]>[number];

/** Collects the calls of an answer, also one that the token limit cuts. */
export class Calls {
  readonly all: ToolCallObject[] = [];

  /** The deltas that a part stands for. */
  add(part: StreamPart): CallDelta[] {
    if (part.type !== "tool-input-delta" && part.type !== "tool-call") return [];
    const { toolCallId: id, toolName: name } = part;
    let index = this.all.findIndex((call) => call.id === id);
    const deltas: CallDelta[] = [];
    if (index < 0) {
      index = this.all.push({ id, type: "function", function: { name, arguments: "" } }) - 1;
      deltas.push({ index, id, type: "function", function: { name, arguments: "" } });
    }
    const call = this.all[index]!.function;
    // A whole call says nothing that its pieces did not, if there were any.
    const added = part.type === "tool-input-delta" ? part.delta : part.input.startsWith(call.arguments) ? part.input.slice(call.arguments.length) : "";
    call.arguments += added;
    if (added !== "") deltas.push({ index, function: { arguments: added } });
    return deltas;
  }
}
