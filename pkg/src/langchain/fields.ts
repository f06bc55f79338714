// The fields and call options of `ChatMinke`.

import type { BaseChatModelCallOptions, BaseChatModelParams, BindToolsInput } from "@langchain/core/language_models/chat_models";
import type { GenerateOptions, Model } from "../types.js";

/** Generation options of this package, by their own names. */
export type Generation = Omit<GenerateOptions, "stopSequences" | "signal" | "tools" | "toolChoice" | "maxSteps" | "raw">;

export interface ChatMinkeFields extends BaseChatModelParams, Generation {
  model: Model;
}

/** `stop`, `signal`, `timeout` and `tool_choice` are LangChain's. */
export interface ChatMinkeCallOptions extends BaseChatModelCallOptions, Generation {
  tools?: BindToolsInput[];
}

/** The names of those options. */
const NAMES: Record<keyof Generation, true> = {
  maxOutputTokens: true, seed: true, temperature: true, topP: true, topK: true, minP: true, repetitionPenalty: true, presencePenalty: true,
  frequencyPenalty: true, logitBias: true, responseConstraint: true, reasoning: true, logprobs: true, templateArgs: true,
};

/** The generation options among others. */
export function generationOf(given: object): Generation {
  return Object.fromEntries(Object.entries(given).filter(([name, value]) => Object.hasOwn(NAMES, name) && value !== undefined)) as Generation;
}

export const GENERATION = Object.keys(NAMES);
