// The class `LanguageModel`, on sessions of this package.

import { Turns } from "../turns.js";
import { backend } from "./backend.js";
import { kept, MAX_STEPS, partsOf, unsupported, type Parts } from "./create.js";
import { exception, isOverflow, quotaExceeded, translated } from "./errors.js";
import { dictionary, signalOf } from "./idl.js";
import { Handler, monitored } from "./monitor.js";
import { acceptedTypes, coreOptions, createOptions, promptOptions, type PromptOptions } from "./options.js";
import { converted, validated, type Converted } from "./prompt.js";
import { callOf } from "./tools.js";
import type {
  EventHandler, LanguageModelAppendOptions, LanguageModelCloneOptions, LanguageModelCreateCoreOptions, LanguageModelCreateOptions, LanguageModelMessageContent,
  LanguageModelPrompt, LanguageModelPromptOptions, LanguageModelSamplingMode,
} from "./types.js";
import type { Availability, GenerateResult, InputMessage, Session } from "../types.js";

const CREATE = Symbol("create");

export class LanguageModel extends EventTarget {
  readonly #parts: Parts;
  readonly #turns = new Turns();
  /** Prompts that are not answered yet. */
  #pending = 0;
  readonly #contextHandler = new Handler(this, "contextoverflow");
  readonly #quotaHandler = new Handler(this, "quotaoverflow");

  static async availability(given?: LanguageModelCreateCoreOptions): Promise<Availability> {
    const options = coreOptions(given);
    const model = backend();
    if (model === undefined || options.badSampling !== undefined || unsupported(options, model.loaded) !== undefined) return "unavailable";
    return model.availability();
  }

  static async create(given?: LanguageModelCreateOptions): Promise<LanguageModel> {
    const options = createOptions(given);
    const { signal, badSampling } = options;
    if (badSampling !== undefined) throw badSampling;
    signal?.throwIfAborted();
    const model = backend();
    if (model === undefined) throw exception("NotSupportedError", "no model is installed");
    const reason = unsupported(options, model.loaded);
    if (reason !== undefined) throw exception("NotSupportedError", reason);
    const progress = monitored(options.monitor, signal);
    const parts = await new Turns().run(signal, (signal) => partsOf(model, options, progress, signal)).catch(rethrow);
    return new LanguageModel(CREATE, parts);
  }

  /** Pages call `create`. */
  private constructor(token: typeof CREATE, parts: Parts) {
    if (token !== CREATE) throw new TypeError("Illegal constructor");
    super();
    this.#parts = parts;
    const { signal } = parts.options;
    signal?.addEventListener("abort", () => this.#end(signal.reason), { once: true });
  }

  get contextUsage(): number {
    return this.#parts.session.contextUsage;
  }

  get contextWindow(): number {
    return this.#parts.session.contextWindow;
  }

  get samplingMode(): LanguageModelSamplingMode {
    return this.#parts.options.samplingMode;
  }

  get oncontextoverflow(): EventHandler {
    return this.#contextHandler.value;
  }

  set oncontextoverflow(handler: EventHandler) {
    this.#contextHandler.value = handler;
  }

  /** @deprecated `contextUsage` */
  get inputUsage(): number {
    return this.contextUsage;
  }

  /** @deprecated `contextWindow` */
  get inputQuota(): number {
    return this.contextWindow;
  }

  /** @deprecated `oncontextoverflow` */
  get onquotaoverflow(): EventHandler {
    return this.#quotaHandler.value;
  }

  set onquotaoverflow(handler: EventHandler) {
    this.#quotaHandler.value = handler;
  }

  /**
   * Answers a prompt. Where the tools have no `execute` and the model calls some, the value is not a string, but a list of
   * `LanguageModelMessageContent` with the text and the calls.
   */
  async prompt(input: LanguageModelPrompt, given?: LanguageModelPromptOptions): Promise<string> {
    const options = promptOptions(given);
    return this.#call(converted(input), options, async (session, messages, signal) => {
      const result = await session.generate(messages, { signal, responseConstraint: options.constraint });
      return this.#answer(result, options) as string;
    });
  }

  /** Answers a prompt in chunks of text. Calls of tools without `execute` are chunks of type `LanguageModelMessageContent`. */
  promptStreaming(input: LanguageModelPrompt, given?: LanguageModelPromptOptions): ReadableStream<string> {
    const { signal, ...options } = promptOptions(given);
    const prompt = converted(input);
    signal?.throwIfAborted();
    if (this.#turns.ended) throw this.#turns.ended.reason;
    const call = new AbortController();
    const abort = () => call.abort(signal!.reason);
    signal?.addEventListener("abort", abort, { once: true });
    let cancelled = false;
    return new ReadableStream<string>({
      start: (controller) => {
        const chunks = this.#call(prompt, { ...options, signal: call.signal }, async (session, messages, signal) => {
          const generation = session.stream(messages, { signal, responseConstraint: options.constraint });
          for await (const part of generation) if (part.type === "text-delta") controller.enqueue(part.text);
          const answer = this.#answer(await generation.result, options);
          if (typeof answer !== "string") for (const content of answer) if (content.type === "tool-call") controller.enqueue(content as never);
        });
        const close = () => {
          if (!cancelled) controller.close();
        };
        chunks.then(close, (error) => controller.error(error)).finally(() => signal?.removeEventListener("abort", abort));
      },
      cancel(reason) {
        cancelled = true;
        call.abort(reason);
      },
    });
  }

  async append(input: LanguageModelPrompt, given?: LanguageModelAppendOptions): Promise<void> {
    const signal = signalOf(dictionary(given, "options")["signal"], "options");
    const messages = converted(input);
    if (messages.at(-1)?.prefix) throw exception("NotSupportedError", "a prefix can only be continued by prompt()");
    // Nothing is appended, and an empty turn would cost tokens.
    if (messages.length === 0) return this.#turns.run(signal, async () => {});
    return this.#call(messages, { signal }, (session, messages, signal) => session.append(messages, { signal }));
  }

  async measureContextUsage(input: LanguageModelPrompt, given?: LanguageModelPromptOptions): Promise<number> {
    const options = promptOptions(given);
    const messages = instructed(validated(converted(input), { types: this.#types, system: true }), options.instruction);
    return this.#turns.run(options.signal, () => this.#measure(messages)).catch(rethrow);
  }

  /** @deprecated `measureContextUsage` */
  measureInputUsage(input: LanguageModelPrompt, given?: LanguageModelPromptOptions): Promise<number> {
    return this.measureContextUsage(input, given);
  }

  async clone(given?: LanguageModelCloneOptions): Promise<LanguageModel> {
    const signal = signalOf(dictionary(given, "options")["signal"], "options");
    return this.#turns.run(signal, async (signal) => {
      const session = await this.#parts.session.clone({ signal });
      const options = { ...this.#parts.options, signal: undefined };
      return new LanguageModel(CREATE, { ...this.#parts, options, session: kept(session) });
    }).catch(rethrow);
  }

  destroy(): void {
    this.#end(exception("InvalidStateError", "the session has been destroyed"));
  }

  get [Symbol.toStringTag](): string {
    return "LanguageModel";
  }

  get #types() {
    return acceptedTypes(this.#parts.options);
  }

  #end(reason: unknown): void {
    this.#turns.end(reason);
    this.#parts.session.destroy();
  }

  /** Runs a call with the messages of a prompt. */
  async #call<T>(prompt: readonly Converted[], { signal, instruction, constraint }: PromptOptions, run: (session: Session, messages: InputMessage[], signal: AbortSignal) => Promise<T>): Promise<T> {
    const begun = this.#pending > 0 || this.#parts.session.messages.length > 0;
    const messages = instructed(validated(prompt, { types: this.#types, system: !begun }), instruction);
    if (constraint !== undefined && messages.at(-1)?.prefix) throw exception("NotSupportedError", "a constraint binds what the model generates, not the prefix before it");
    this.#pending++;
    try {
      return await this.#turns.run(signal, (signal) => this.#fitting(messages, (session) => run(session, messages, signal), signal));
    } catch (error) {
      throw translated(error);
    } finally {
      this.#pending--;
    }
  }

  /** Runs a call; if its messages exceed the context, drops the oldest turns, but none of the initial prompts. */
  async #fitting<T>(messages: InputMessage[], run: (session: Session) => Promise<T>, signal: AbortSignal): Promise<T> {
    const { model, session: full, sessionOptions } = this.#parts;
    try {
      return await run(full);
    } catch (error) {
      // The results of tools may not fit, either: what has been done for them is not done again.
      if (!isOverflow(error) || (await this.#length(full.messages, messages)) <= this.contextWindow) throw error;
      const rest = await this.#rest(messages);
      if (rest === undefined) throw quotaExceeded(this.contextUsage + (await this.#measure(messages)), this.contextWindow);
      const session = kept(await model.createSession({ ...sessionOptions, messages: rest, signal }));
      this.#parts.session = session;
      full.destroy();
      if (signal.aborted) session.destroy();
      for (const type of ["contextoverflow", "quotaoverflow"]) this.dispatchEvent(new Event(type));
      return run(session);
    }
  }

  /** The messages of the session without the oldest turns, so that others and a token of the answer fit. */
  async #rest(added: InputMessage[]): Promise<readonly InputMessage[] | undefined> {
    const { session, options } = this.#parts;
    const initial = options.initialPrompts.length;
    let rest: readonly InputMessage[] = session.messages;
    while (rest.length > initial) {
      const next = rest.findIndex((message, i) => i > initial && message.role === "user");
      rest = [...rest.slice(0, initial), ...(next < 0 ? [] : rest.slice(next))];
      if ((await this.#length(rest, added)) < this.contextWindow) return rest;
    }
    return undefined;
  }

  /** Tokens of a conversation that is to be answered. */
  async #length(messages: readonly InputMessage[], added: InputMessage[]): Promise<number> {
    const options = { ...this.#template, addGenerationPrompt: added.at(-1)?.prefix !== true };
    return (await this.#parts.model.tokenizer.encodeMessages([...messages, ...added], options)).length;
  }

  /** The tokens that messages add, or have by themselves if they begin with a system message. */
  async #measure(messages: InputMessage[]): Promise<number> {
    const { model, session } = this.#parts;
    const alone = messages[0]?.role === "system" || session.messages.length === 0;
    const ids = await model.tokenizer.encodeMessages(alone ? messages : [...session.messages, ...messages], this.#template);
    return alone ? ids.length : Math.max(0, ids.length - session.contextUsage);
  }

  /** The options that the conversation is rendered with. */
  get #template() {
    const { tools, templateArgs } = this.#parts.sessionOptions;
    return { ...(tools && { tools }), ...(templateArgs && { args: templateArgs }) };
  }

  /** The value of an answer. */
  #answer({ text, toolCalls, finishReason }: GenerateResult, { constraint }: PromptOptions): string | LanguageModelMessageContent[] {
    if (finishReason === "length" && constraint !== undefined) throw exception("SyntaxError", "the answer does not fit the context, and is cut before it satisfies the constraint");
    if (finishReason !== "tool-calls") return text;
    if (this.#parts.options.tools?.execute) throw exception("UnknownError", `the model still calls tools after ${MAX_STEPS} steps`);
    const calls = toolCalls.map((call): LanguageModelMessageContent => ({ type: "tool-call", value: callOf(call) }));
    return [...(text === "" ? [] : [{ type: "text" as const, value: text }]), ...calls];
  }
}

/** Adds words to the last message of the user. */
function instructed(messages: InputMessage[], instruction: string | undefined): InputMessage[] {
  const last = messages.findLastIndex((message) => message.role === "user");
  if (instruction === undefined || last < 0) return messages;
  return messages.with(last, { ...messages[last]!, content: `${messages[last]!.content as string}\n\n${instruction}` });
}

function rethrow(error: unknown): never {
  throw translated(error);
}
