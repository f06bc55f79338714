// The engine's side: starts workers on the processor and tells them what to do. Each has a WebAssembly instance with a memory of
// its own.

import { networkFailure } from "../errors.js";
import { end, sharedMemory } from "./meeting.js";
import type { Told, Telling } from "./protocol.js";
import { threads } from "./threads.js";

export { Server } from "./serve.js";
export type { Telling, Told };
export { threads };

type Unanswered = { resolve(answer: Uint8Array): void; reject(error: Error): void };

export class Processor {
  readonly #workers: Worker[];
  readonly #unanswered: Map<number, Unanswered>[];
  readonly #memory: SharedArrayBuffer | undefined;
  #lastId = 0;
  #why: Error | undefined;
  #lost!: (error: Error) => void;
  /** Resolves with an error when a worker has ended by itself. */
  readonly lost = new Promise<Error>((resolve) => (this.#lost = resolve));

  private constructor(
    readonly count: number,
    start: () => Worker,
  ) {
    this.#memory = count > 1 ? sharedMemory() : undefined;
    this.#workers = Array.from({ length: count }, start);
    this.#unanswered = this.#workers.map(() => new Map());
  }

  /** Starts workers, which run `module`; `exact` has everything computed in f64. */
  static async start(module: WebAssembly.Module, worker: () => Worker, exact: boolean, wanted?: number): Promise<Processor> {
    const count = threads(wanted);
    let processor: Processor | undefined;
    try {
      processor = new Processor(count, worker);
      await Promise.all(processor.#workers.map((worker, index) => processor!.#begin(worker, index, module, exact)));
    } catch (error) {
      processor?.stop();
      throw networkFailure("", `the processor's workers cannot be started: ${error instanceof Error ? error.message : error}`, { retryable: true });
    }
    return processor;
  }

  #begin(worker: Worker, index: number, module: WebAssembly.Module, exact: boolean): Promise<void> {
    return new Promise((resolve, reject) => {
      const ended = (message: string) => {
        reject(new Error(message));
        this.#end(new Error(message));
      };
      worker.addEventListener("error", (event) => ended(event.message || "its script cannot be loaded or is not allowed"));
      worker.addEventListener("message", ({ data }: MessageEvent<Told>) => {
        if (data?.minkeWorker !== 1) return;
        if (data.kind === "started") return resolve();
        if (data.kind === "ended") return ended(data.message);
        const unanswered = this.#unanswered[index]!;
        unanswered.get(data.id)?.resolve(data.answer);
        unanswered.delete(data.id);
      });
      this.#send(index, { minkeWorker: 1, kind: "start", module, index, count: this.count, memory: this.#memory, exact });
    });
  }

  tell(worker: number, command: Uint8Array): void {
    this.#send(worker, { minkeWorker: 1, kind: "command", command });
  }

  write(worker: number, buffer: number, offset: number, bytes: Uint8Array): void {
    // A view of a larger array is copied, not the array.
    const own = bytes.byteLength === bytes.buffer.byteLength ? bytes : bytes.slice();
    this.#send(worker, { minkeWorker: 1, kind: "write", buffer, offset, bytes: own }, own === bytes ? [] : [own.buffer]);
  }

  ask(worker: number, command: Uint8Array): Promise<Uint8Array> {
    return new Promise((resolve, reject) => {
      if (this.#why !== undefined) return reject(this.#why);
      const id = ++this.#lastId;
      this.#unanswered[worker]!.set(id, { resolve, reject });
      this.#send(worker, { minkeWorker: 1, kind: "command", command, id });
    });
  }

  /** Ends the workers, which frees their memory. */
  stop(): void {
    this.#end(new Error("the model was unloaded"), false);
  }

  #send(worker: number, message: Telling, transfer: Transferable[] = []): void {
    if (this.#why === undefined) this.#workers[worker]!.postMessage(message, transfer);
  }

  #end(why: Error, lost = true): void {
    if (this.#why !== undefined) return;
    this.#why = why;
    if (this.#memory !== undefined) end(this.#memory);
    for (const worker of this.#workers) worker.terminate();
    for (const unanswered of this.#unanswered) for (const { reject } of unanswered.values()) reject(why);
    if (lost) this.#lost(why);
  }
}
