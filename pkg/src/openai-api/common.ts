// What the endpoints share: running a model, ids, usage.

import type { GenerateOptions, Input, Model, StreamPart, TokenLogprob, Usage } from "../types.js";

/** A prefix and 24 random hexadecimal digits. */
export function newId(prefix: string): string {
  const bytes = crypto.getRandomValues(new Uint8Array(12));
  return prefix + Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Seconds since 1970. */
export const now = (): number => Math.floor(Date.now() / 1000);

/**
 * The parts of a generation. Throws what the model throws, before the first part if the input or an option is refused. With
 * `oneCall`, the generation ends after the first call of a tool; when `stop` aborts, it ends and keeps what there is.
 */
export async function* generated(model: Model, input: Input, options: GenerateOptions, { oneCall = false, stop }: { oneCall?: boolean; stop?: AbortSignal } = {}): AsyncGenerator<StreamPart, void, undefined> {
  const generation = model.stream(input, options);
  const end = () => generation.stop();
  if (stop?.aborted) end();
  stop?.addEventListener("abort", end, { once: true });
  let called = false;
  try {
    for await (const part of generation) {
      if (part.type === "finish" && called) yield { ...part, finishReason: "tool-calls" };
      else if (!called || part.type === "finish") yield part;
      if (oneCall && part.type === "tool-call") {
        called = true;
        end();
      }
    }
  } finally {
    stop?.removeEventListener("abort", end);
  }
}

export interface CompletionUsage {
  prompt_tokens: number;
  completion_tokens: number;
  total_tokens: number;
  prompt_tokens_details: { cached_tokens: number };
  completion_tokens_details: { reasoning_tokens: number };
}

/** The usage of several generations, of which `n` at a time have the same prompt, which counts once. */
export function usageOf(all: readonly Usage[], n: number): CompletionUsage {
  const sum = (of: (usage: Usage) => number, counted: readonly Usage[] = all) => counted.reduce((total, usage) => total + of(usage), 0);
  const first = all.filter((_, i) => i % n === 0);
  const input = sum((usage) => usage.inputTokens, first);
  const output = sum((usage) => usage.outputTokens);
  return {
    prompt_tokens: input,
    completion_tokens: output,
    total_tokens: input + output,
    prompt_tokens_details: { cached_tokens: sum((usage) => usage.cachedTokens, first) },
    completion_tokens_details: { reasoning_tokens: sum((usage) => usage.reasoningTokens) },
  };
}

export interface Logprob {
  token: string;
  bytes: number[] | null;
  logprob: number;
  top_logprobs: { token: string; bytes: number[] | null; logprob: number }[];
}

export function logprobOf({ token, bytes, logprob, top = [] }: TokenLogprob): Logprob {
  return { token, bytes, logprob, top_logprobs: top.map(({ token, bytes, logprob }) => ({ token, bytes, logprob })) };
}
