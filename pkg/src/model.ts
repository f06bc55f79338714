// A loaded model: every method is a request to the engine that holds it.

import { nextId, type Ask, type Connection } from "./connection.js";
import { EngineError, invalid } from "./errors.js";
import { Generating } from "./generation.js";
import * as check from "./options.js";
import { createSession } from "./session.js";
import type { LoadValue, Memory } from "./protocol.js";
import { generateInSteps, optionsOfStep, stopping } from "./tools.js";
import type {
  GenerateOptions, GenerateResult, Generation, Input, InputMessage, Model, ModelInfo, Session, SessionOptions, StreamPart, TemplateOptions, TokenLogprob, Tokenizer,
} from "./types.js";

export class RemoteModel implements Model {
  readonly id: string;
  info: ModelInfo;
  readonly tokenizer: Tokenizer;
  readonly lost: Promise<EngineError>;
  readonly #connection: Connection;
  readonly #model: number;
  readonly #ask: Ask;
  #memory: Memory;
  #unloaded?: Promise<void>;

  constructor(connection: Connection, model: number, { id, info }: LoadValue, memory: Memory) {
    this.id = id;
    this.info = info;
    this.#connection = connection;
    this.#model = model;
    this.#memory = memory;
    this.#ask = (method, args, listener) =>
      connection.request({ kind: "call", model, method, args, parts: listener?.part !== undefined } as never, {
        memory: (memory) => (this.#memory = memory),
        ...listener,
      }) as Promise<never>;
    this.tokenizer = new RemoteTokenizer(this.#ask);
    connection.onMoved(model, (device, memory) => {
      this.info = { ...this.info, device };
      this.#memory = memory;
    });
    this.lost = new Promise((resolve) => connection.onLost(model, resolve));
  }

  async generate(input: Input, options?: GenerateOptions): Promise<GenerateResult> {
    return this.#generate(input, options);
  }

  stream(input: Input, options?: GenerateOptions): Generation {
    const stopped = new AbortController();
    return new Generating(async (part) => this.#generate(input, options, part, stopped.signal), () => stopped.abort());
  }

  #generate(input: Input, options?: GenerateOptions, part?: (part: StreamPart) => void, stopped?: AbortSignal): Promise<GenerateResult> {
    const { signal, engine, steps } = check.generateOptions(options);
    const given = check.input(input);
    return generateInSteps(steps, { signal, stopped, part, run: (messages, part) => {
      const id = nextId();
      const answer = this.#ask("generate", [messages ?? given, optionsOfStep(engine, messages === undefined), undefined], { signal, id, part });
      return stopping(answer, stopped, () => this.#connection.tell(id, "stop"));
    } });
  }

  async createSession(options?: SessionOptions): Promise<Session> {
    const stop = (call: number) => this.#connection.tell(call, "stop");
    return createSession({ ask: this.#ask, stop, contextLength: this.info.contextLength }, options);
  }

  async score(input: Input, options?: { top?: number; raw?: boolean }): Promise<TokenLogprob[]> {
    return this.#ask("score", [check.input(input), check.scoreOptions(options)]);
  }

  async forward(ids: Uint32Array, options?: { rows?: "last" | "all" }): Promise<Float32Array> {
    return this.#ask("forward", [check.ids(ids, "ids"), check.forwardOptions(options)]);
  }

  memory(): Memory {
    return { ...this.#memory };
  }

  unload(): Promise<void> {
    this.#unloaded ??= (async () => {
      const model = this.#model;
      const freed = this.#connection.request({ kind: "unload", model }).catch(() => {}); // a dead instance has nothing left to free
      this.#connection.end(model, invalid("model", "it has been unloaded"));
      await freed;
      this.#memory = { weights: 0, kv: 0, scratch: 0 };
      this.#connection.close();
    })();
    return this.#unloaded;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.unload();
  }
}

class RemoteTokenizer implements Tokenizer {
  constructor(readonly ask: Ask) {}

  async encode(text: string, options?: { addSpecialTokens?: boolean }): Promise<Uint32Array> {
    return this.ask("encode", [check.text(text, "text"), check.encodeOptions(options)]);
  }

  async decode(ids: Iterable<number>, options?: { skipSpecialTokens?: boolean }): Promise<string> {
    return this.ask("decode", [check.ids(ids, "ids"), check.decodeOptions(options)]);
  }

  async applyChatTemplate(messages: readonly InputMessage[], options?: TemplateOptions): Promise<string> {
    return this.ask("applyChatTemplate", [check.messages(messages), check.templateOptions(options)]);
  }

  async encodeMessages(messages: readonly InputMessage[], options?: TemplateOptions): Promise<Uint32Array> {
    return this.ask("encodeMessages", [check.messages(messages), check.templateOptions(options)]);
  }
}
