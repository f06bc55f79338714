// A model as the AI SDK's `LanguageModelV4`.

import type { LanguageModelV4, LanguageModelV4CallOptions, LanguageModelV4GenerateResult, LanguageModelV4StreamResult } from "@ai-sdk/provider";
import { contentOf } from "./content.js";
import { callOf, checkedOptions, type MinkeOptions } from "./options.js";
import { streamOf } from "./stream.js";
import type { Model } from "../types.js";

export type { MinkeOptions } from "./options.js";

/** A model for `generateText`, `streamText` and the like. `settings` apply to every call that has no `providerOptions.minke` of the same name. */
export function languageModel(model: Model, settings: MinkeOptions = {}): LanguageModelV4 {
  const defaults = checkedOptions(settings, "settings");
  return {
    specificationVersion: "v4",
    provider: "minke",
    modelId: model.id,
    supportedUrls: {},

    async doGenerate(given: LanguageModelV4CallOptions): Promise<LanguageModelV4GenerateResult> {
      const { input, options, warnings } = callOf(model, defaults, given);
      const timestamp = new Date();
      const result = await model.generate(input, options);
      return { ...contentOf(result), warnings, response: { modelId: model.id, timestamp } };
    },

    async doStream(given: LanguageModelV4CallOptions): Promise<LanguageModelV4StreamResult> {
      const { input, options, warnings } = callOf(model, defaults, given);
      const generation = model.stream(input, options);
      return { stream: streamOf(generation, { modelId: model.id, warnings, raw: given.includeRawChunks ?? false, signal: given.abortSignal }) };
    },
  };
}
