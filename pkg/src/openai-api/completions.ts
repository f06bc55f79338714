// POST /completions: texts and token ids that are continued without a chat template.

import type { GenerateOptions, Input, Model, TokenLogprob, Usage } from "../types.js";
import type { ChatFinishReason, Extra } from "./chat.js";
import { generated, newId, now, usageOf, type CompletionUsage } from "./common.js";
import { badValue } from "./errors.js";
import { missing, Params, PARAMS, present, sampling, type Json } from "./params.js";

/** Names of parameters by the engine's options. */
export const COMPLETION_PARAMS: Record<string, string> = { ...PARAMS, maxOutputTokens: "max_tokens", logprobs: "logprobs", input: "prompt", ids: "prompt" };

interface Logprobs {
  tokens: string[];
  token_logprobs: number[];
  top_logprobs: Record<string, number>[];
  text_offset: number[];
}

type FinishReason = Exclude<ChatFinishReason, "tool_calls">;

export interface Completion {
  id: string;
  object: "text_completion";
  created: number;
  model: string;
  choices: { index: number; text: string; finish_reason: FinishReason | null; logprobs: Logprobs | null }[];
  usage?: (CompletionUsage & Json) | null;
}

export interface CompletionRequest {
  prompts: Input[];
  options: GenerateOptions;
  /** Whether the prompt precedes its completion. */
  echo: boolean;
  n: number;
  stream: boolean;
  includeUsage: boolean;
}

/** Reads a request; `model` has been read. Throws an ApiError for anything that cannot be honoured. */
export function completionRequest(body: unknown): CompletionRequest {
  const params = new Params(body);
  params.withoutEffect("model", "user");
  params.only("suffix", "models here continue a text, and do not fill gaps");
  const n = params.whole("n", 1, 128) ?? 1;
  params.only("best_of", "completions are not ranked: it must be n", n);
  const echo = params.boolean("echo") ?? false;
  const logprobs = params.whole("logprobs", 0, 5);
  if (echo && logprobs !== undefined) throw badValue("echo", "the prompt's log-probabilities are not computed: leave out echo or logprobs");
  const stream = params.boolean("stream") ?? false;
  const streamed = params.fields("stream_options");
  if (streamed !== undefined && !stream) throw badValue("stream_options", "it needs stream: true");
  const includeUsage = streamed?.boolean("include_usage") ?? false;
  streamed?.only("include_obfuscation", "streams are not obfuscated: they leave no device", false);
  streamed?.finish();
  const prompts = promptsOf(params.take("prompt") ?? missing("prompt"), echo);
  const options = present({ ...sampling(params), maxOutputTokens: params.whole("max_tokens", 1, Number.MAX_SAFE_INTEGER), logprobs });
  params.finish();
  return { prompts, options, echo, n, stream, includeUsage };
}

function promptsOf(prompt: unknown, echo: boolean): Input[] {
  const isIds = (value: unknown): value is number[] => Array.isArray(value) && value.length > 0 && value.every((id) => Number.isInteger(id) && id >= 0 && id <= 0xffffffff);
  const list = typeof prompt === "string" || isIds(prompt) ? [prompt] : Array.isArray(prompt) ? prompt : [];
  if (list.length === 0) throw badValue("prompt", "expected a text, token ids, or a list of either");
  return list.map((one) => {
    if (typeof one === "string") return one;
    if (!isIds(one)) throw badValue("prompt", "expected a text, token ids, or a list of either");
    if (echo) throw badValue("echo", "it needs texts as prompts, not token ids");
    return Uint32Array.from(one);
  });
}

interface Call {
  model: Model;
  /** The model's name in responses. */
  name: string;
  request: CompletionRequest;
  signal?: AbortSignal;
  /** Aborting ends the completion and keeps what there is. */
  stop?: AbortSignal;
  extra?: Extra;
}

/** Continues the prompts in chunks. */
export async function* completionChunks({ model, name, request, signal, stop, extra = () => ({}) }: Call): AsyncGenerator<Completion, void, undefined> {
  const { prompts, options, echo, n, includeUsage } = request;
  const head = { id: newId("cmpl-"), object: "text_completion", created: now(), model: name } as const;
  const usages: Usage[] = [];
  for (const [place, prompt] of prompts.entries()) {
    for (let i = 0; i < n; i++) {
      const index = place * n + i;
      const ids = prompt instanceof Uint32Array;
      const seed = options.seed === undefined ? undefined : options.seed + i;
      let offset = 0;
      const chunk = (text: string, finish_reason: FinishReason | null, logprobs?: TokenLogprob[]): Completion => ({
        ...head, choices: [{ index, text, finish_reason, logprobs: logprobs === undefined ? null : logprobsOf(logprobs, offset) }], ...(includeUsage && { usage: null }),
      });
      for await (const part of generated(model, prompt, present({ ...options, seed, signal, raw: ids ? undefined : true }), { stop })) {
        if (part.type === "prefill" && part.done === part.total && echo) yield chunk(prompt as string, null);
        if (part.type === "text-delta") {
          yield chunk(part.text, null, part.logprobs);
          offset += part.text.length;
        } else if (part.type === "finish") {
          usages.push(part.usage);
          yield chunk("", part.finishReason === "tool-calls" ? "stop" : part.finishReason);
        }
      }
    }
  }
  if (includeUsage || !request.stream) yield { ...head, choices: [], usage: { ...usageOf(usages, n), ...extra(usages) } };
}

/** Continues the prompts as a whole. */
export async function completion(call: Call): Promise<Completion> {
  const choices = new Map<number, Completion["choices"][number]>();
  let last: Completion | undefined;
  for await (const chunk of completionChunks(call)) {
    last = chunk;
    for (const { index, text, finish_reason, logprobs } of chunk.choices) {
      const choice = choices.get(index) ?? { index, text: "", finish_reason: null, logprobs: null };
      choices.set(index, { index, text: choice.text + text, finish_reason, logprobs: joined(choice.logprobs, logprobs) });
    }
  }
  return { ...last!, choices: [...choices.values()] };
}

function logprobsOf(all: readonly TokenLogprob[], offset: number): Logprobs {
  let at = offset;
  return {
    tokens: all.map(({ token }) => token),
    token_logprobs: all.map(({ logprob }) => logprob),
    top_logprobs: all.map(({ top = [] }) => Object.fromEntries(top.map(({ token, logprob }) => [token, logprob]))),
    text_offset: all.map(({ token }) => (at += token.length) - token.length),
  };
}

function joined(a: Logprobs | null, b: Logprobs | null): Logprobs | null {
  if (a === null || b === null) return a ?? b;
  return {
    tokens: [...a.tokens, ...b.tokens], token_logprobs: [...a.token_logprobs, ...b.token_logprobs],
    top_logprobs: [...a.top_logprobs, ...b.top_logprobs], text_offset: [...a.text_offset, ...b.text_offset],
  };
}
