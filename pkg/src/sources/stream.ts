// A response with a whole file, split into blocks as it arrives.

import { BLOCK } from "../storage/index.js";

export class Stream {
  /** Bytes of the blocks that were delivered, from the beginning of the file. */
  position = 0;
  /** Settles when no more data will arrive; never rejects. */
  readonly done: Promise<void>;
  #ended = false;
  #waiting: { end: number; wake(here: boolean): void }[] = [];

  /** Passes each whole block of a file of `size` bytes to `sink` in order; bytes beyond `size` are not read. */
  constructor(
    chunks: AsyncIterable<Uint8Array>,
    readonly size: number,
    readonly sink: (index: number, bytes: Uint8Array) => Promise<void>,
  ) {
    this.done = this.#run(chunks)
      .catch(() => {}) // truncated: readers that wait request the rest
      .finally(() => {
        this.#ended = true;
        this.#wake();
      });
  }

  /** Waits until the bytes before `end` have been delivered; false if they will not be. */
  until(end: number): Promise<boolean> {
    if (this.position >= end) return Promise.resolve(true);
    if (this.#ended) return Promise.resolve(false);
    return new Promise((wake) => this.#waiting.push({ end, wake }));
  }

  async #run(chunks: AsyncIterable<Uint8Array>): Promise<void> {
    let block = this.#next();
    let filled = 0;
    for await (let chunk of chunks) {
      while (chunk.length > 0 && block.length > 0) {
        const part = chunk.subarray(0, block.length - filled);
        block.set(part, filled);
        filled += part.length;
        chunk = chunk.subarray(part.length);
        if (filled < block.length) break;
        await this.sink(this.position / BLOCK, block);
        this.position += block.length;
        this.#wake();
        [block, filled] = [this.#next(), 0];
      }
      if (block.length === 0) return;
    }
  }

  #next(): Uint8Array {
    return new Uint8Array(Math.min(BLOCK, this.size - this.position));
  }

  #wake(): void {
    const all = this.#waiting;
    this.#waiting = all.filter(({ end }) => end > this.position && !this.#ended);
    for (const { end, wake } of all) if (end <= this.position || this.#ended) wake(end <= this.position);
  }
}
