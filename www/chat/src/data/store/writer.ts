// Stores a message while it grows.

import { isDataError } from "../errors";
import type { MessageWriter } from "../store";
import type { Message } from "../types";

export interface WriterOptions {
  /** Milliseconds between the beginnings of two writes. */
  throttle: number;
  /** `final`: the write must be on the disk when it resolves. */
  write(message: Message, final: boolean): Promise<void>;
  /** Resolves when the store is unlocked, which a write waits for that found it locked. */
  unlocked(): Promise<void>;
  /** Called when the writer has ended. */
  onEnd(): void;
}

/** A writer that has at most one write under way, and remembers the newest message only. */
export class ThrottledWriter implements MessageWriter {
  #pending: Message | undefined;
  #running: Promise<void> | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #last = -Infinity;
  #error: unknown;
  readonly #hidden = () => {
    if (document.visibilityState === "hidden") void this.flush().catch(() => {});
  };

  constructor(readonly options: WriterOptions) {
    // A page in the background may be ended without another event.
    globalThis.document?.addEventListener("visibilitychange", this.#hidden);
  }

  update(message: Message): void {
    this.#pending = message;
    if (this.#timer !== undefined || this.#running !== undefined) return;
    this.#timer = setTimeout(
      () => void this.#drain(),
      Math.max(0, this.#last + this.options.throttle - performance.now()),
    );
  }

  async flush(): Promise<void> {
    await this.#running;
    await this.#drain();
  }

  async finish(message: Message): Promise<void> {
    clearTimeout(this.#timer);
    this.#pending = undefined;
    try {
      await this.#running;
      await this.#write(message, true);
      // What an earlier write failed on does not matter if the whole message is stored now.
    } finally {
      globalThis.document?.removeEventListener("visibilitychange", this.#hidden);
      this.options.onEnd();
    }
  }

  /** The error of the last write that failed, if none succeeded since. */
  get error(): unknown {
    return this.#error;
  }

  #drain(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const message = this.#pending;
    if (message === undefined) return Promise.resolve();
    this.#pending = undefined;
    this.#last = performance.now();
    this.#running = this.#write(message, false)
      .catch(() => {})
      .finally(() => {
        this.#running = undefined;
        if (this.#pending !== undefined) this.update(this.#pending);
      });
    return this.#running;
  }

  async #write(message: Message, final: boolean): Promise<void> {
    try {
      await this.options.write(message, final);
      this.#error = undefined;
    } catch (error) {
      this.#error = error;
      if (!final || !isDataError(error, "locked")) throw error;
      // Another tab encrypted the store in the middle of the answer; it is kept until the user unlocks this one.
      await this.options.unlocked();
      await this.#write(message, true);
    }
  }
}
