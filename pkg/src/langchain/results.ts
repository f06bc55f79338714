// Translates what was generated.

import { AIMessage, AIMessageChunk, type UsageMetadata } from "@langchain/core/messages";
import { ChatGenerationChunk, type ChatResult } from "@langchain/core/outputs";
import { PROVIDER } from "./blocks.js";
import type { FinishReason, GenerateResult, Model, StreamPart, TokenLogprob, Usage } from "../types.js";

export function resultOf(model: Model, result: GenerateResult): ChatResult {
  const { text, reasoning, toolCalls, incompleteToolCall: cut, finishReason, usage, logprobs } = result;
  const metadata = metadataOf(model, finishReason);
  const message = new AIMessage({
    content: text,
    additional_kwargs: reasoning === "" ? {} : { reasoning_content: reasoning },
    tool_calls: toolCalls.map(({ toolCallId, toolName, input }) => ({ type: "tool_call", id: toolCallId, name: toolName, args: JSON.parse(input) as Record<string, unknown> })),
    invalid_tool_calls: cut ? [{ type: "invalid_tool_call", name: cut.toolName, args: cut.input, error: "the call is cut" }] : [],
    usage_metadata: usageOf(usage),
    response_metadata: { ...metadata, ...(logprobs && { logprobs }) },
  });
  return { generations: [{ text, message, generationInfo: metadata }], llmOutput: { tokenUsage: usageOf(usage) } };
}

const metadataOf = (model: Model, reason: FinishReason) => ({ model_provider: PROVIDER, model_name: model.id, finish_reason: reason });

function usageOf({ inputTokens, cachedTokens, outputTokens, reasoningTokens }: Usage): UsageMetadata {
  return {
    input_tokens: inputTokens,
    output_tokens: outputTokens,
    total_tokens: inputTokens + outputTokens,
    input_token_details: { cache_read: cachedTokens },
    output_token_details: { reasoning: reasoningTokens },
  };
}

/** Makes chunks of the parts of a stream. */
export class ChunkMaker {
  /** The calls so far, in order: pieces of one call have its index. */
  readonly #calls: string[] = [];

  constructor(readonly model: Model) {}

  chunkOf(part: StreamPart): ChatGenerationChunk | undefined {
    switch (part.type) {
      case "text-delta":
        return chunk({ content: part.text, ...(part.logprobs && { response_metadata: logprobsOf(part.logprobs) }) });
      case "reasoning-delta":
        return chunk({ content: "", additional_kwargs: { reasoning_content: part.text } });
      case "tool-input-delta":
        return this.#piece(part.toolCallId, part.toolName, part.delta);
      case "tool-call":
        return this.#calls.includes(part.toolCallId) ? undefined : this.#piece(part.toolCallId, part.toolName, part.input);
      case "finish":
        return chunk({ content: "", usage_metadata: usageOf(part.usage), response_metadata: metadataOf(this.model, part.finishReason) });
      default:
        return undefined;
    }
  }

  #piece(id: string, name: string, args: string): ChatGenerationChunk {
    const known = this.#calls.indexOf(id);
    const index = known < 0 ? this.#calls.push(id) - 1 : known;
    return chunk({ content: "", tool_call_chunks: [{ type: "tool_call_chunk", index, args, ...(known < 0 && { id, name }) }] });
  }
}

const logprobsOf = (logprobs: TokenLogprob[]) => ({ logprobs });

const chunk = (fields: ConstructorParameters<typeof AIMessageChunk>[0] & { content: string }): ChatGenerationChunk =>
  new ChatGenerationChunk({ text: fields.content, message: new AIMessageChunk(fields) });
