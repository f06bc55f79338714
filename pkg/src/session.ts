// A conversation session: the messages are kept here, their keys and values in the engine.

import { nextId, type Ask } from "./connection.js";
import { EngineError, invalid } from "./errors.js";
import { Generating } from "./generation.js";
import * as check from "./options.js";
import { generateInSteps, optionsOfStep, stopping } from "./tools.js";
import { Turns } from "./turns.js";
import type { GenerateOptions, GenerateResult, Generation, Input, Message, Session, SessionOptions, StreamPart } from "./types.js";
import type { EngineInput } from "./wasm.js";

/** What a session contains: messages, or token ids in a session of raw text and ids. */
interface History {
  messages: Message[];
  ids: Uint32Array;
}

/** The interface to the model that a session uses. */
export interface Engine {
  readonly ask: Ask;
  /** Ends a call and keeps its output so far. */
  stop(call: number): void;
  readonly contextLength: number;
}

/** The defaults of a session's calls. */
type Options = Omit<check.Generate, "signal">;

/** Creates a session from its options. */
export async function createSession(engine: Engine, given?: SessionOptions): Promise<Session> {
  const { messages, state, signal, ...options } = check.sessionOptions(given);
  if (state !== undefined) {
    const { conversation, note } = await engine.ask("restoreConversation", [state], { signal });
    const { history, usage } = parseNote(note);
    return new RemoteSession(engine, conversation, options, history, usage);
  }
  const conversation = await engine.ask("openConversation", [], { signal });
  const session = new RemoteSession(engine, conversation, options, { messages: [], ids: new Uint32Array() }, 0);
  try {
    if (messages !== undefined) await session.append(messages, { signal });
  } catch (error) {
    session.destroy();
    throw error;
  }
  return session;
}

class RemoteSession extends EventTarget implements Session {
  readonly #engine: Engine;
  readonly #conversation: number;
  readonly #options: Options;
  #history: History;
  #usage: number;
  readonly #turns = new Turns();

  constructor(engine: Engine, conversation: number, options: Options, history: History, usage: number) {
    super();
    this.#engine = engine;
    this.#conversation = conversation;
    this.#options = options;
    this.#history = history;
    this.#usage = usage;
  }

  get messages(): readonly Message[] {
    return this.#history.messages;
  }

  get contextUsage(): number {
    return this.#usage;
  }

  get contextWindow(): number {
    return this.#engine.contextLength;
  }

  generate(input: Input, options?: GenerateOptions): Promise<GenerateResult> {
    return this.#generate(input, options);
  }

  stream(input: Input, options?: GenerateOptions): Generation {
    const stopped = new AbortController();
    return new Generating((part) => this.#generate(input, options, part, stopped.signal), () => stopped.abort());
  }

  async #generate(input: Input, given?: GenerateOptions, part?: (part: StreamPart) => void, stopped?: AbortSignal): Promise<GenerateResult> {
    const { signal, engine, steps } = check.generateOptions(given, this.#options);
    const added = check.input(input);
    return this.#turn(signal, async (signal) => {
      let kept = this.#history;
      let usage = this.#usage;
      const result = await generateInSteps(steps, { signal, stopped, part, run: async (messages, part) => {
        // After the first step, the conversation has the answer and the results of its calls.
        const more = messages?.slice(kept.messages.length) ?? added;
        const { history, value } = await this.#fitting(kept, more, engine.raw, (input) => {
          const id = nextId();
          const answer = this.#engine.ask("generate", [input, optionsOfStep(engine, messages === undefined), this.#conversation], { signal, id, part });
          return stopping(answer, stopped, () => this.#engine.stop(id));
        });
        kept = history.ids.length > 0 ? { messages: [], ids: joined(history.ids, value.ids) } : { messages: value.messages, ids: history.ids };
        usage = value.usage.inputTokens + value.usage.outputTokens - value.usage.reasoningTokens;
        return value;
      } });
      signal.throwIfAborted();
      this.#history = kept.ids.length > 0 ? kept : { messages: result.messages, ids: kept.ids };
      this.#usage = usage;
      return result;
    });
  }

  async append(input: Input, given?: { signal?: AbortSignal }): Promise<void> {
    const { signal } = check.signalOption(given);
    const added = check.input(input);
    if (Array.isArray(added) && added.some((message) => message.prefix)) throw invalid("input", "an assistant prefix can only be continued by generate()");
    return this.#turn(signal, async (signal) => {
      const { engine } = this.#options;
      const feed = (input: EngineInput) => this.#engine.ask("append", [input, engine, this.#conversation], { signal });
      const { history, value } = await this.#fitting(this.#history, added, engine.raw, async (input) => {
        try {
          return await feed(input);
        } catch (error) {
          // Some templates cannot render a conversation that ends here: it is prefilled with its next turn.
          if (error instanceof EngineError && error.code === "template") return undefined;
          throw error;
        }
      });
      signal.throwIfAborted();
      this.#history = history;
      this.#usage = value ?? this.#usage;
    });
  }

  async truncate(messageCount: number): Promise<void> {
    return this.#turn(undefined, async () => {
      const { length } = this.#history.messages;
      if (!Number.isInteger(messageCount) || messageCount < 0 || messageCount > length) {
        throw invalid("messageCount", `expected a whole number from 0 to ${length}, got ${messageCount}`);
      }
      const messages = this.#history.messages.slice(0, messageCount);
      const usage = messageCount === 0 ? 0 : await this.#encode(messages).then((ids) => ids.length, (error) => {
        if (error instanceof EngineError && error.code === "template") return Math.floor((this.#usage * messageCount) / length);
        throw error;
      });
      this.#history = { messages, ids: new Uint32Array() };
      this.#usage = usage;
    });
  }

  async clone(given?: { signal?: AbortSignal }): Promise<Session> {
    const { signal } = check.signalOption(given);
    return this.#turn(signal, async (signal) => {
      const conversation = await this.#engine.ask("cloneConversation", [this.#conversation], { signal });
      return new RemoteSession(this.#engine, conversation, this.#options, this.#history, this.#usage);
    });
  }

  async measureContextUsage(input: Input): Promise<number> {
    const added = check.input(input);
    return this.#turn(undefined, async () => {
      const history = await this.#with(this.#history, added, this.#options.engine.raw ?? false);
      if (history.ids.length > 0) return history.ids.length - this.#history.ids.length;
      const ids = await this.#encode(history.messages, { addGenerationPrompt: true });
      return Math.max(0, ids.length - this.#usage);
    });
  }

  async save(): Promise<Blob> {
    return this.#turn(undefined, async (signal) => {
      const { messages, ids } = this.#history;
      const note = JSON.stringify({ messages, ids: [...ids], usage: this.#usage });
      return this.#engine.ask("saveConversation", [this.#conversation, note], { signal });
    });
  }

  destroy(): void {
    if (this.#turns.ended) return;
    this.#turns.end(invalid("session", "it has been destroyed"));
    this.#engine.ask("closeConversation", [this.#conversation]).catch(() => {}); // fails if the model is gone, too
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.destroy();
  }

  #encode(messages: readonly Message[], options: { addGenerationPrompt?: boolean } = {}): Promise<Uint32Array> {
    const { templateArgs: args, tools } = this.#options.engine;
    return this.#engine.ask("encodeMessages", [messages, { ...options, ...(args && { args }), ...(tools && { tools }) }]);
  }

  /** The contents of the session with an input appended. Messages and raw text cannot be mixed. */
  async #with(history: History, added: EngineInput, raw: boolean): Promise<History> {
    if (!raw && !(added instanceof Uint32Array)) {
      if (history.ids.length > 0) throw invalid("input", "this session contains raw text or ids; messages cannot be added");
      return { messages: [...history.messages, ...(typeof added === "string" ? [{ role: "user", content: added } as Message] : added)], ids: history.ids };
    }
    if (history.messages.length > 0) throw invalid("input", "this session contains messages; raw text and ids cannot be added");
    if (Array.isArray(added)) throw invalid("raw", "it applies to a text or ids; messages need the chat template");
    const ids = typeof added === "string" ? await this.#engine.ask("encode", [added, history.ids.length === 0]) : added as Uint32Array;
    return { messages: [], ids: joined(history.ids, ids) };
  }

  /** Runs a call on a conversation with `added`; if that exceeds the context, drops the oldest turns. */
  async #fitting<T>(kept: History, added: EngineInput, raw = false, run: (input: EngineInput) => Promise<T>): Promise<{ history: History; value: T }> {
    for (;;) {
      const history = await this.#with(kept, added, raw);
      try {
        return { history, value: await run(history.ids.length > 0 ? history.ids : history.messages) };
      } catch (error) {
        const turn = error instanceof EngineError && error.code === "context-overflow" ? oldestTurn(kept.messages) : undefined;
        if (turn === undefined) throw error;
        const [from, to] = turn;
        const event = new CustomEvent("contextoverflow", { cancelable: true, detail: { messages: kept.messages.slice(from, to) } });
        if (!this.dispatchEvent(event)) throw error;
        kept = { messages: [...kept.messages.slice(0, from), ...kept.messages.slice(to)], ids: kept.ids };
      }
    }
  }

  #turn<T>(signal: AbortSignal | undefined, run: (signal: AbortSignal) => Promise<T>): Promise<T> {
    return this.#turns.run(signal, run);
  }
}

/** The index range of the oldest turn, which can be dropped; system messages are kept. */
function oldestTurn(messages: readonly Message[]): [from: number, to: number] | undefined {
  const from = messages.findIndex((message) => message.role !== "system");
  if (from < 0) return undefined;
  const next = messages.findIndex((message, i) => i > from && message.role === "user");
  return [from, next < 0 ? messages.length : next];
}

function joined(a: Uint32Array, b: Uint32Array): Uint32Array {
  const both = new Uint32Array(a.length + b.length);
  both.set(a);
  both.set(b, a.length);
  return both;
}

/** Parses the note that `save` stored. */
function parseNote(note: string): { history: History; usage: number } {
  try {
    const { messages, ids, usage } = JSON.parse(note) as Record<keyof History | "usage", unknown>;
    const history = { messages: Array.isArray(messages) && messages.length === 0 ? [] : check.messages(messages as Message[]), ids: check.ids(ids as number[], "ids") };
    if (!Number.isSafeInteger(usage)) throw new Error("the number of tokens is missing");
    return { history, usage: usage as number };
  } catch (error) {
    throw new EngineError("format", `state: the saved messages cannot be read: ${error instanceof Error ? error.message : error}`, { detail: { kind: "BadJson", file: "state" } });
  }
}
