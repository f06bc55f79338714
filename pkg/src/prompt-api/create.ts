// How a session is created.

import { exception } from "./errors.js";
import { isLanguage, type CoreOptions, type CreateOptions } from "./options.js";
import type { Backend } from "./backend.js";
import type { Model, Session, SessionOptions } from "../types.js";

/** How often the model is run at most for a prompt whose calls have `execute`. */
export const MAX_STEPS = 32;

/** What a `LanguageModel` is made of. */
export interface Parts {
  model: Model;
  session: Session;
  options: CreateOptions;
  /** Of every session that holds this conversation. */
  sessionOptions: SessionOptions;
}

/** Why sessions with these options cannot be created. */
export function unsupported({ inputs, outputs, tools }: CoreOptions, model: Model | undefined): string | undefined {
  const expected = [...inputs, ...outputs];
  for (const { type, languages } of expected) {
    if (type === "image" || type === "audio") return `"${type}": models read and write text only`;
    const unknown = languages.find((tag) => !isLanguage(tag));
    if (unknown !== undefined) return `the language "${unknown}" is not known`;
  }
  if (outputs.some(({ type }) => type === "tool-response")) return 'models write no "tool-response"';
  if (tools !== undefined && model?.info.capabilities.tools === false) return "tools: this model has no format for them";
  return undefined;
}

/** A session and what belongs to it. */
export async function partsOf(backend: Backend, options: CreateOptions, progress: (fraction: number) => void, signal: AbortSignal): Promise<Parts> {
  await undefined; // events come after the call has returned
  progress(0);
  const model = await backend.model(signal, progress);
  signal.throwIfAborted();
  progress(1);
  const { tools, sampling, initialPrompts } = options;
  const reason = unsupported(options, model);
  if (reason !== undefined) throw exception("NotSupportedError", reason);
  const sessionOptions: SessionOptions = { ...backend.defaults, ...sampling, ...(tools && { tools: tools.byName, ...(tools.execute && { maxSteps: MAX_STEPS }) }) };
  const session = await model.createSession({ ...sessionOptions, messages: initialPrompts, signal });
  if (signal.aborted) session.destroy();
  return { model, session: kept(session), options, sessionOptions };
}

/** A session that rejects what does not fit: initial prompts must stay, and it would drop them. */
export function kept(session: Session): Session {
  session.addEventListener("contextoverflow", (event) => event.preventDefault());
  return session;
}

