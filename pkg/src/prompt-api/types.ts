// The dictionaries of the Prompt API.

import type { LanguageModelToolCall, LanguageModelToolError, LanguageModelToolSuccess } from "./tools.js";

export type LanguageModelMessageType = "text" | "image" | "audio" | "tool-call" | "tool-response";
export type LanguageModelMessageRole = "system" | "user" | "assistant";
/** How varied answers are. "balanced" is what the model's own defaults give. */
export type LanguageModelSamplingMode = "most-predictable" | "predictable" | "balanced" | "creative" | "most-creative";

export interface LanguageModelExpected {
  type: LanguageModelMessageType;
  languages?: readonly string[];
}

export interface LanguageModelMessageContent {
  type: LanguageModelMessageType;
  value: string | LanguageModelToolCall | LanguageModelToolSuccess | LanguageModelToolError;
}

export interface LanguageModelMessage {
  role: LanguageModelMessageRole;
  content: string | readonly LanguageModelMessageContent[];
  prefix?: boolean;
}

export type LanguageModelPrompt = string | readonly LanguageModelMessage[];

export interface LanguageModelTool {
  name: string;
  description: string;
  /** A JSON Schema of an object. */
  inputSchema: object;
  /** Runs a call. Without it, `prompt` resolves to the calls: see `LanguageModelToolCall`. */
  execute?: (input: any) => string | Promise<string>;
}

export interface LanguageModelCreateCoreOptions {
  /** At least 1; a fraction is rounded down. Not together with `samplingMode`. */
  topK?: number;
  /** At least 0. Not together with `samplingMode`. */
  temperature?: number;
  samplingMode?: LanguageModelSamplingMode;
  expectedInputs?: readonly LanguageModelExpected[];
  expectedOutputs?: readonly LanguageModelExpected[];
  tools?: readonly LanguageModelTool[];
}

export interface LanguageModelCreateOptions extends LanguageModelCreateCoreOptions {
  /** Aborting rejects `create`, or later destroys the session. */
  signal?: AbortSignal;
  /** Receives an event target of "downloadprogress" events, whose `loaded` goes from 0 to 1. */
  monitor?: (monitor: CreateMonitor) => void;
  initialPrompts?: readonly LanguageModelMessage[];
}

export interface LanguageModelPromptOptions {
  /** A JSON Schema, or a regular expression that the whole answer matches. */
  responseConstraint?: object;
  /** Whether the constraint stays out of the prompt. */
  omitResponseConstraintInput?: boolean;
  signal?: AbortSignal;
}

export interface LanguageModelAppendOptions {
  signal?: AbortSignal;
}

export interface LanguageModelCloneOptions {
  signal?: AbortSignal;
}

export type EventHandler = ((event: Event) => unknown) | null;

export interface CreateMonitor extends EventTarget {
  ondownloadprogress: EventHandler;
}
