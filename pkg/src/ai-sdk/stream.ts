// Translates the parts of a stream.

import type { LanguageModelV4StreamPart, SharedV4Warning } from "@ai-sdk/provider";
import { EngineError } from "../errors.js";
import { callPart, finishOf, metadataOf, UNKNOWN_USAGE, usageOf } from "./content.js";
import type { Generation, StreamPart } from "../types.js";

interface About {
  modelId: string;
  warnings: SharedV4Warning[];
  /** Whether each part of the generation is passed on, too. */
  raw: boolean;
  signal?: AbortSignal;
}

/** A generation as a stream. Cancelling it stops the generation. */
export function streamOf(generation: Generation, about: About): ReadableStream<LanguageModelV4StreamPart> {
  const parts = partsOf(generation, about);
  return new ReadableStream({
    async pull(controller) {
      const { done, value } = await parts.next();
      if (done) controller.close();
      else controller.enqueue(value);
    },
    cancel: () => generation.stop(),
  });
}

/** The parts of a generation. Its error is a part, unless the caller aborted it. */
async function* partsOf(generation: Generation, { modelId, warnings, raw, signal }: About): AsyncGenerator<LanguageModelV4StreamPart, void> {
  yield { type: "stream-start", warnings };
  yield { type: "response-metadata", modelId, timestamp: new Date() };
  const blocks = new Blocks();
  try {
    for await (const part of generation) {
      if (raw) yield { type: "raw", rawValue: part };
      yield* blocks.add(part);
    }
  } catch (error) {
    if (signal?.aborted) throw error;
    yield* blocks.close();
    yield { type: "error", error };
    yield { type: "finish", finishReason: { unified: "error", raw: error instanceof EngineError ? error.code : undefined }, usage: UNKNOWN_USAGE };
  }
}

/** Text, reasoning and the inputs of calls are blocks, of which one is open at a time. */
class Blocks {
  #open?: { kind: "text" | "reasoning" | "tool-input"; id: string };
  #count = 0;

  *add(part: StreamPart): Generator<LanguageModelV4StreamPart, void> {
    switch (part.type) {
      case "text-delta": {
        const id = yield* this.#enter("text");
        yield { type: "text-delta", id, delta: part.text, ...metadataOf(part.logprobs ? { logprobs: part.logprobs } : {}) };
        break;
      }
      case "reasoning-delta": {
        const id = yield* this.#enter("reasoning");
        yield { type: "reasoning-delta", id, delta: part.text };
        break;
      }
      case "tool-input-delta":
        yield* this.#input(part.toolCallId, part.toolName);
        yield { type: "tool-input-delta", id: part.toolCallId, delta: part.delta };
        break;
      case "tool-call":
        if (this.#open?.id !== part.toolCallId) {
          yield* this.#input(part.toolCallId, part.toolName);
          yield { type: "tool-input-delta", id: part.toolCallId, delta: part.input };
        }
        yield* this.close();
        yield callPart(part);
        break;
      case "finish":
        yield* this.close();
        yield { type: "finish", finishReason: finishOf(part.finishReason), usage: usageOf(part.usage) };
    }
  }

  *close(): Generator<LanguageModelV4StreamPart, void> {
    if (this.#open === undefined) return;
    const { kind, id } = this.#open;
    this.#open = undefined;
    yield { type: `${kind}-end`, id };
  }

  *#enter(kind: "text" | "reasoning"): Generator<LanguageModelV4StreamPart, string> {
    if (this.#open?.kind === kind) return this.#open.id;
    yield* this.close();
    const id = `${kind}-${this.#count++}`;
    this.#open = { kind, id };
    yield { type: `${kind}-start`, id };
    return id;
  }

  *#input(id: string, toolName: string): Generator<LanguageModelV4StreamPart, void> {
    if (this.#open?.id === id) return;
    yield* this.close();
    this.#open = { kind: "tool-input", id };
    yield { type: "tool-input-start", id, toolName };
  }
}
