// Calls that run one at a time.

/** A queue of calls. */
export class Turns {
  /** The last call in the queue. */
  #last: Promise<unknown> = Promise.resolve();
  /** Ends all running and waiting calls. */
  readonly #calls = new Set<(reason: unknown) => void>();
  #ended?: { reason: unknown };

  /** Why calls are refused, once `end` was called. */
  get ended(): { readonly reason: unknown } | undefined {
    return this.#ended;
  }

  /** Runs a call after all previous ones have ended. If the signal aborts, rejects immediately. */
  run<T>(signal: AbortSignal | undefined, run: (signal: AbortSignal) => Promise<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason);
      if (this.#ended) return reject(this.#ended.reason);
      const call = new AbortController();
      const end = (reason: unknown) => {
        reject(reason);
        call.abort(reason);
      };
      const abort = () => end(signal!.reason);
      signal?.addEventListener("abort", abort, { once: true });
      this.#calls.add(end);
      this.#last = this.#last.then(async () => {
        try {
          if (!call.signal.aborted) resolve(await run(call.signal));
        } catch (error) {
          reject(error);
        } finally {
          this.#calls.delete(end);
          signal?.removeEventListener("abort", abort);
        }
      });
    });
  }

  /** Rejects running, waiting and later calls. */
  end(reason: unknown): void {
    this.#ended ??= { reason };
    for (const end of this.#calls) end(reason);
  }
}
