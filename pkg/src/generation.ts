// A running generation, whose parts any number of readers can iterate over.

import type { FinishReason, GenerateResult, Generation, StreamPart } from "./types.js";

/** How a generation ended. */
type End = { finish: FinishReason } | { error: unknown };

export class Generating implements Generation {
  readonly result: Promise<GenerateResult>;
  readonly #stop: () => void;
  /** All parts so far; each reader has its own position in the list. */
  readonly #parts: StreamPart[] = [];
  #end?: End;
  #wake!: () => void;
  #changed!: Promise<void>;
  #text?: ReadableStream<string>;

  /** `start` begins the call and receives the function that accepts its parts. */
  constructor(start: (part: (part: StreamPart) => void) => Promise<GenerateResult>, stop: () => void) {
    this.#stop = stop;
    this.#arm();
    this.result = start((part) => {
      this.#parts.push(part);
      this.#signal();
    });
    this.result.then(
      (result) => this.#finish({ finish: result.finishReason }),
      // Readers receive the error, too; if only the stream is read, the promise must not cause an unhandled rejection.
      (error) => this.#finish({ error }),
    );
  }

  stop(): void {
    if (this.#end === undefined) this.#stop();
  }

  get textStream(): ReadableStream<string> {
    if (this.#text === undefined) {
      const parts = this[Symbol.asyncIterator]();
      this.#text = new ReadableStream<string>({
        pull: async (controller) => {
          for (;;) {
            const { done, value } = await parts.next();
            if (done) return controller.close();
            if (value.type === "text-delta") return controller.enqueue(value.text);
          }
        },
        cancel: () => this.stop(),
      });
    }
    return this.#text;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<StreamPart, void, undefined> {
    let place = 0;
    let left = true;
    try {
      for (;;) {
        while (place < this.#parts.length) yield this.#parts[place++]!;
        if (this.#end !== undefined) break;
        await this.#changed;
      }
      left = false;
    } finally {
      if (left) this.stop();
    }
    if (this.#end !== undefined && "error" in this.#end) throw this.#end.error;
  }

  #finish(end: End): void {
    this.#end = end;
    this.#signal();
  }

  #signal(): void {
    this.#wake();
    this.#arm();
  }

  #arm(): void {
    this.#changed = new Promise((resolve) => (this.#wake = resolve));
  }
}
