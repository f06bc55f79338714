// The exceptions of the Prompt API.

import { EngineError } from "../errors.js";

/** A DOMException. `cause` is the error that led to it. */
export function exception(name: string, message: string, cause?: unknown): DOMException {
  const made = new DOMException(message, name);
  if (cause !== undefined) Object.defineProperty(made, "cause", { value: cause, configurable: true, writable: true });
  return made;
}

type QuotaExceeded = new (message: string, options: { requested: number; quota: number }) => DOMException;

/** A `QuotaExceededError`, which is a class of its own in newer browsers. */
export function quotaExceeded(requested: number, quota: number): DOMException {
  const message = `the context window holds ${quota} tokens, and ${requested} are needed`;
  const { QuotaExceededError } = globalThis as { QuotaExceededError?: QuotaExceeded };
  if (QuotaExceededError !== undefined) return new QuotaExceededError(message, { requested, quota });
  return Object.assign(new DOMException(message, "QuotaExceededError"), { requested, quota });
}

/** The names of the exceptions for errors of the engine; any other is an "UnknownError". */
const NAMES: Partial<Record<string, string>> = {
  constraint: "NotSupportedError",
  feature: "NotSupportedError",
  template: "NotSupportedError",
  "invalid-argument": "NotSupportedError",
  "no-webgpu": "NotSupportedError",
  architecture: "NotSupportedError",
  dtype: "NotSupportedError",
  "buffer-limit": "NotSupportedError",
  network: "NetworkError",
};

export const isOverflow = (error: unknown): error is EngineError => error instanceof EngineError && error.code === "context-overflow";

/** The exception for an error of the engine. Other errors are kept: exceptions, and reasons of signals. */
export function translated(error: unknown): unknown {
  if (!(error instanceof EngineError)) return error;
  const { inputTokens, contextLength } = error.detail;
  if (isOverflow(error) && typeof inputTokens === "number" && typeof contextLength === "number") return quotaExceeded(inputTokens, contextLength);
  return exception(NAMES[error.code] ?? "UnknownError", error.message, error);
}
