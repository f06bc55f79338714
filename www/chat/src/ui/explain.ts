// Errors in words for people.

import { EngineError } from "minke";
import { isDataError } from "../data/errors";
import { t } from "../i18n";

export interface Explanation {
  /** In the user's language. */
  text: string;
  /** What the engine said, in English, with the facts. */
  technical?: string;
  code?: string;
}

export function explain(error: unknown): Explanation {
  const { engine, data, title } = t.peek().errors;
  if (isDataError(error)) {
    const words = data[error.code] as string | ((detail: unknown) => string);
    return { code: error.code, text: typeof words === "string" ? words : words(error.detail) };
  }
  if (error instanceof EngineError)
    return { code: error.code, text: engine[error.code] ?? title, technical: error.message };
  return { text: title, technical: error instanceof Error ? error.message : String(error) };
}

/** The error that a message was stored with. */
export function explainStored(stored: string): Explanation {
  const [, code, technical] = /^([a-z-]+): ([^]*)$/.exec(stored) ?? [];
  const { engine, noModel, title } = t.peek().errors;
  if (code === "invalid-argument" && technical === "no model is loaded") return { code: "no-model", text: noModel };
  if (code !== undefined && engine[code] !== undefined) return { code, text: engine[code], technical: technical! };
  return { text: title, technical: stored };
}
