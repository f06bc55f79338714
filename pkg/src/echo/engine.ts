// The echo model's engine: answers the requests that a page sends to a worker.

import { ABORTED, EngineError, failure, invalid } from "../errors.js";
import type { Method, Methods, Reply, Request, RequestOf } from "../protocol.js";
import type { Message, TokenLogprob, Tool } from "../types.js";
import type { EngineInput, TemplateArguments } from "../wasm.js";
import { generation, tokenLogprob, type Cancel, type Prompt } from "./generate.js";
import type { EchoScript } from "./answer.js";
import * as tokens from "./tokens.js";

export interface Settings {
  script?: EchoScript;
  contextLength: number;
  /** Milliseconds before each token. */
  delay: number;
}

/** Calls that run one at a time. */
const QUEUED: ReadonlySet<Method> = new Set(["generate", "append", "cloneConversation", "saveConversation", "restoreConversation", "score", "forward"]);

type Call = RequestOf<"call">;
type Run = { [M in Method]: (args: Methods[M][0], call: Call, cancel: Cancel) => Methods[M][1] | Promise<Methods[M][1]> };

export class EchoEngine {
  readonly #settings: Settings;
  readonly #post: (reply: Reply) => void;
  readonly #calls = new Map<number, Cancel>();
  readonly #conversations = new Set<number>();
  #lastConversation = 0;
  #queue: Promise<unknown> = Promise.resolve();
  /** Generations so far. */
  #answered = 0;
  /** What the cache would hold: the tokens of the latest call. */
  #cached: readonly number[] = [];

  constructor(settings: Settings, post: (reply: Reply) => void) {
    this.#settings = settings;
    this.#post = post;
  }

  handle(request: Request): void {
    if (request.kind === "call") return void this.#call(request);
    if (request.kind === "abort" || request.kind === "stop") {
      this.#calls.get(request.id)?.end(request.kind);
      return;
    }
    if (request.kind === "unload") {
      for (const cancel of this.#calls.values()) cancel.end("abort");
      this.#post({ minke: 1, kind: "done", id: request.id, value: undefined });
    }
  }

  async #call(call: Call): Promise<void> {
    const { id, method } = call;
    const cancel = canceller();
    this.#calls.set(id, cancel);
    try {
      const run = async () => {
        if (cancel.state === "abort") throw ABORTED;
        return (this.#run[method] as (args: unknown, call: Call, cancel: Cancel) => unknown)(call.args, call, cancel);
      };
      const answer = QUEUED.has(method) ? this.#queue.then(run) : run();
      if (QUEUED.has(method)) this.#queue = answer.catch(() => {});
      this.#post({ minke: 1, kind: "done", id, value: await answer });
    } catch (error) {
      this.#post({ minke: 1, kind: "failed", id, failure: failure(error) });
    } finally {
      this.#calls.delete(id);
    }
  }

  readonly #run: Run = {
    generate: async ([input, options, conversation], { parts, id }, cancel) => {
      this.#known(conversation);
      const prompt = this.#prompt(input, options as Options);
      const cached = Math.min(shared(prompt.ids, this.#cached), prompt.ids.length - 1);
      const room = this.#settings.contextLength - prompt.ids.length + 1;
      const emit = parts ? (part: Extract<Reply, { kind: "part" }>["part"]) => this.#post({ minke: 1, kind: "part", id, part }) : () => {};
      const result = await generation({ ...this.#settings, prompt, cached, room, options, index: this.#answered++ }, cancel, emit);
      this.#cached = [...prompt.ids, ...result.ids];
      return result;
    },
    append: ([input, options, conversation]) => {
      this.#known(conversation);
      const ids = this.#ids(input, options as Options, false);
      this.#fit(ids.length);
      this.#cached = ids;
      return ids.length;
    },
    openConversation: () => this.#open(),
    closeConversation: ([conversation]) => void this.#conversations.delete(conversation),
    cloneConversation: ([conversation]) => {
      this.#known(conversation);
      return this.#open();
    },
    saveConversation: ([conversation, note]) => {
      this.#known(conversation);
      return new Blob([STATE, note]);
    },
    restoreConversation: async ([state]) => {
      const text = await state.text();
      if (!text.startsWith(STATE)) throw new EngineError("format", "state: the echo model did not save it", { detail: { kind: "BadState", file: "state" } });
      return { conversation: this.#open(), note: text.slice(STATE.length) };
    },
    score: ([input, { top = 0, raw }]) => {
      const ids = this.#ids(input, { raw }, false);
      this.#fit(ids.length);
      return ids.slice(1).map((id): TokenLogprob => tokenLogprob(id, top));
    },
    forward: ([ids, rows]) => {
      for (const id of ids) if (id >= tokens.VOCABULARY) throw invalid("ids", `${id} is not in the vocabulary of ${tokens.VOCABULARY}`);
      this.#fit(ids.length);
      const last = rows === "all" ? ids : ids.slice(-1);
      const logits = new Float32Array(last.length * tokens.VOCABULARY);
      last.forEach((id, row) => (logits[row * tokens.VOCABULARY + id] = 1));
      return logits;
    },
    encode: ([text]) => Uint32Array.from(tokens.encode(text, true)),
    decode: ([ids, skipSpecialTokens]) => tokens.decode(ids, skipSpecialTokens),
    applyChatTemplate: ([messages, options]) => tokens.applyChatTemplate(messages, template(options)),
    encodeMessages: ([messages, options]) => Uint32Array.from(tokens.encodeMessages(messages, template(options))),
  };

  #open(): number {
    this.#conversations.add(++this.#lastConversation);
    return this.#lastConversation;
  }

  #known(conversation: number | undefined): void {
    if (conversation !== undefined && !this.#conversations.has(conversation)) throw invalid("session", "it has been destroyed");
  }

  #prompt(input: EngineInput, options: Options): Prompt {
    const ids = this.#ids(input, options, true);
    this.#fit(ids.length);
    const messages = chat(input, options);
    const text = messages.findLast(({ role }) => role === "user")?.content ?? (typeof input === "string" ? input : messages.length > 0 ? "" : tokens.decode(ids, true));
    return { ids, messages, text };
  }

  #ids(input: EngineInput, options: Options, addGenerationPrompt: boolean): number[] {
    if (input instanceof Uint32Array) return [...input];
    if (options.raw) {
      if (typeof input !== "string") throw invalid("raw", "it applies to a text or ids; messages need the chat template");
      return tokens.encode(input, true);
    }
    return tokens.encodeMessages(chat(input, options), { tools: options.tools, addGenerationPrompt });
  }

  #fit(inputTokens: number): void {
    const { contextLength } = this.#settings;
    if (inputTokens === 0) throw invalid("input", "it is empty");
    if (inputTokens > contextLength) {
      throw new EngineError("context-overflow", `the input has ${inputTokens} tokens; the context holds ${contextLength}`, { detail: { inputTokens, contextLength } });
    }
  }
}

interface Options {
  raw?: boolean;
  tools?: Record<string, Tool>;
}

/** The first characters of a saved conversation. */
const STATE = "minke echo ";

/** The messages of an input; none for raw text and ids. */
function chat(input: EngineInput, { raw }: Options): readonly Message[] {
  if (raw || input instanceof Uint32Array) return [];
  return typeof input === "string" ? [{ role: "user", content: input }] : input;
}

const template = ({ addGenerationPrompt, ...options }: TemplateArguments): { tools?: Record<string, Tool>; addGenerationPrompt?: boolean } => {
  const { tools } = options as { tools?: Record<string, Tool> };
  return { tools, addGenerationPrompt };
};

/** How many tokens two sequences have in common at their beginning. */
function shared(a: readonly number[], b: readonly number[]): number {
  const differs = a.findIndex((id, i) => id !== b[i]);
  return differs < 0 ? Math.min(a.length, b.length) : differs;
}

function canceller(): Cancel {
  let wake = () => {};
  const ended = new Promise<void>((resolve) => (wake = resolve));
  const cancel: Cancel = {
    state: "",
    ended,
    end(how) {
      if (cancel.state !== "abort") cancel.state = how;
      wake();
    },
  };
  return cancel;
}
