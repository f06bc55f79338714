// Where workers exchange blocks of bytes, through memory that they share: each puts its own there, and takes those of the others.

/** Bytes of a half of the shared memory; larger exchanges go in slices. */
const HALF = 8 << 20;
/** Looks at a counter before a worker sleeps: a few microseconds. */
const SPINS = 2000;
/** Indices of the counters. */
const [ARRIVED, ROUNDS, ENDED] = [0, 1, 2];
const COUNTERS = 64;

/** Memory for workers to meet in. */
export const sharedMemory = () => new SharedArrayBuffer(COUNTERS + 2 * HALF);

/** Tells all workers that one has ended: none waits for it. */
export function end(memory: SharedArrayBuffer): void {
  const counters = new Int32Array(memory, 0, COUNTERS / 4);
  Atomics.store(counters, ENDED, 1);
  Atomics.add(counters, ROUNDS, 1);
  Atomics.notify(counters, ROUNDS);
}

export class Meeting {
  readonly #counters: Int32Array;
  readonly #halves: Uint8Array[];
  #half = 0;

  constructor(
    memory: SharedArrayBuffer,
    readonly count: number,
  ) {
    this.#counters = new Int32Array(memory, 0, COUNTERS / 4);
    this.#halves = [0, 1].map((half) => new Uint8Array(memory, COUNTERS + half * HALF, HALF));
  }

  /** Exchanges blocks: those of `values` from `from` to `to` are this worker's. Every worker calls it with as many bytes. */
  exchange(values: Uint8Array, from: number, to: number): void {
    for (let start = 0; start < values.length; start += HALF) {
      const stop = Math.min(start + HALF, values.length);
      const [first, last] = [Math.min(Math.max(from, start), stop), Math.min(Math.max(to, start), stop)];
      // The other half may still be read by workers that are behind.
      const shared = this.#halves[(this.#half = 1 - this.#half)]!;
      shared.set(values.subarray(first, last), first - start);
      this.#wait();
      values.set(shared.subarray(0, first - start), start);
      values.set(shared.subarray(last - start, stop - start), last);
    }
  }

  /** Returns when all workers have called it as often. */
  #wait(): void {
    const counters = this.#counters;
    const round = Atomics.load(counters, ROUNDS);
    if (Atomics.add(counters, ARRIVED, 1) === this.count - 1) {
      Atomics.store(counters, ARRIVED, 0);
      Atomics.add(counters, ROUNDS, 1);
      Atomics.notify(counters, ROUNDS);
      return;
    }
    for (let i = 0; i < SPINS && Atomics.load(counters, ROUNDS) === round; i++);
    while (Atomics.load(counters, ROUNDS) === round) Atomics.wait(counters, ROUNDS, round);
    if (Atomics.load(counters, ENDED) === 1) throw new Error("another worker has ended");
  }
}
