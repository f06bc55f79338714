// Translates what was generated.

import type { JSONObject, LanguageModelV4Content, LanguageModelV4FinishReason, LanguageModelV4Usage, SharedV4ProviderMetadata } from "@ai-sdk/provider";
import type { FinishReason, GenerateResult, ToolCall, Usage } from "../types.js";

/** A result: the reasoning, the text, the calls. */
export function contentOf(result: GenerateResult) {
  const { text, reasoning, toolCalls, logprobs, incompleteToolCall } = result;
  const content: LanguageModelV4Content[] = [];
  if (reasoning !== "") content.push({ type: "reasoning", text: reasoning });
  if (text !== "") content.push({ type: "text", text });
  content.push(...toolCalls.map(callPart));
  const metadata = { ...(logprobs && { logprobs }), ...(incompleteToolCall && { incompleteToolCall }) };
  return { content, finishReason: finishOf(result.finishReason), usage: usageOf(result.usage), ...metadataOf(metadata) };
}

export const callPart = ({ toolCallId, toolName, input }: ToolCall) => ({ type: "tool-call" as const, toolCallId, toolName, input });

export function metadataOf(metadata: object): { providerMetadata?: SharedV4ProviderMetadata } {
  return Object.keys(metadata).length === 0 ? {} : { providerMetadata: { minke: metadata as JSONObject } };
}

export function finishOf(raw: FinishReason): LanguageModelV4FinishReason {
  return { unified: raw === "abort" ? "other" : raw, raw };
}

export function usageOf(usage: Usage): LanguageModelV4Usage {
  const { inputTokens, cachedTokens, outputTokens, reasoningTokens } = usage;
  return {
    inputTokens: { total: inputTokens, noCache: inputTokens - cachedTokens, cacheRead: cachedTokens, cacheWrite: undefined },
    outputTokens: { total: outputTokens, text: outputTokens - reasoningTokens, reasoning: reasoningTokens },
    raw: { ...usage },
  };
}

/** The usage of a call that failed. */
export const UNKNOWN_USAGE: LanguageModelV4Usage = {
  inputTokens: { total: undefined, noCache: undefined, cacheRead: undefined, cacheWrite: undefined },
  outputTokens: { total: undefined, text: undefined, reasoning: undefined },
};
