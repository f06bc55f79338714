// A request while it waits or runs, and the ways to end it early.

import { ABORTED } from "../errors.js";
import type { Canceller } from "../wasm.js";
import type { Instance } from "./instance.js";

export class Task {
  aborted = false;
  readonly #requests = new AbortController();
  #instance?: Instance;
  #canceller?: Canceller;

  constructor(readonly model: number) {}

  /** Aborts when the task no longer needs its files. */
  get signal(): AbortSignal {
    return this.#requests.signal;
  }

  /** Names the instance that will run the task, and returns the canceller for its call. Throws if the task has been aborted. */
  begin(instance: Instance): Canceller {
    this.throwIfAborted();
    this.#instance = instance;
    this.#canceller = new instance.glue.Canceller();
    return this.#canceller;
  }

  throwIfAborted(): void {
    if (this.aborted) throw ABORTED;
  }

  /** Ends the task early: `abort` discards, `stop` keeps what was generated. */
  end(how: "abort" | "stop"): void {
    if (how === "abort") this.aborted = true;
    this.#cancel((canceller) => canceller[how]());
    if (how === "abort") this.#requests.abort();
  }

  /** Releases what the task holds, once it has been answered. */
  release(): void {
    this.#requests.abort();
    this.#cancel((canceller) => canceller.free());
    this.#canceller = undefined;
  }

  #cancel(act: (canceller: Canceller) => void): void {
    if (this.#canceller === undefined || this.#instance?.dead !== undefined) return;
    try {
      act(this.#canceller);
    } catch {
      // the call is ending already, and has freed it
    }
  }
}
