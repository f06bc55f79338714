// The browser's Prompt API on a model of this package. Importing it changes nothing: `install` does.

import { Backend, use, type InstallOptions } from "./backend.js";
import { LanguageModel } from "./language-model.js";
import { LanguageModelToolCall, LanguageModelToolError, LanguageModelToolSuccess } from "./tools.js";

export type { InstallOptions } from "./backend.js";
export { LanguageModel } from "./language-model.js";
export { LanguageModelToolCall, LanguageModelToolError, LanguageModelToolSuccess, type LanguageModelToolResultContent } from "./tools.js";
export type {
  CreateMonitor, EventHandler, LanguageModelAppendOptions, LanguageModelCloneOptions, LanguageModelCreateCoreOptions, LanguageModelCreateOptions,
  LanguageModelExpected, LanguageModelMessage, LanguageModelMessageContent, LanguageModelMessageRole, LanguageModelMessageType, LanguageModelPrompt,
  LanguageModelPromptOptions, LanguageModelSamplingMode, LanguageModelTool,
} from "./types.js";

/**
 * Gives `LanguageModel` its model, and puts the class on the global if there is none, or with `force`. Returns whether the
 * global's is now this one.
 */
export function install(options: InstallOptions): boolean {
  use(new Backend(options));
  if ("LanguageModel" in globalThis && !options.force) return (globalThis as { LanguageModel?: unknown }).LanguageModel === LanguageModel;
  const classes = { LanguageModel, LanguageModelToolCall, LanguageModelToolError, LanguageModelToolSuccess };
  for (const [name, value] of Object.entries(classes)) Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
  return true;
}
