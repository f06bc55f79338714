// Turns many small reads into few requests: a grid of cells, fetched in runs, with read-ahead.

import { BLOCK } from "../storage/journal.js";
import { give, take } from "./spare.js";

/** Bytes of one cell: a block of the store. */
const CELL = BLOCK;
/** Cells of one request at most. */
const RUN = 8;
/** Cells kept of all open files together, besides the reads under way. */
const KEPT = 24;
/** Reads that end before this are of a header: nothing is fetched ahead of the next. */
const HEADER = 64 * 1024;
/** Cells fetched ahead of a reader that goes straight on, and cells of one such request: several are under way at once. */
const AHEAD = 12;
const AHEAD_RUN = 3;

/** Fetches exactly the bytes [start, end), in memory of their own that `take` gave. */
export type FetchRange = (start: number, end: number) => Promise<Uint8Array>;

/** The cells that the files of one source keep, the oldest first. */
export class Pool {
  readonly #cells = new Map<string, () => void>();

  /** Makes a cell the newest; `drop` is called when its time is over. */
  touch(key: string, drop: () => void): void {
    this.#cells.delete(key);
    this.#cells.set(key, drop);
  }

  evict(): void {
    for (const [key, drop] of this.#cells) {
      if (this.#cells.size <= KEPT) return;
      this.#cells.delete(key);
      drop();
    }
  }
}

/** Bytes of one request: their memory is used again when none of its cells is kept and nobody copies from one. */
class Run {
  #holders = 0;

  constructor(readonly bytes: Promise<Uint8Array>) {}

  hold(): void {
    this.#holders++;
  }

  drop(): void {
    if (--this.#holders === 0) this.bytes.then(give, () => {});
  }
}

/** A cell begins `at` bytes into its run. */
interface Cell {
  run: Run;
  at: number;
}

let lastFile = 0;

/** Reads of one file of `size` bytes. */
export class Blocks {
  readonly #file = ++lastFile;
  readonly #cells = new Map<number, Cell>();
  #last = 0; // where the previous read ended

  constructor(
    readonly size: number,
    readonly fetchRange: FetchRange,
    readonly pool: Pool,
  ) {}

  /** Exactly the bytes [start, end), in memory of their own. */
  async read(start: number, end: number): Promise<Uint8Array> {
    const first = Math.floor(start / CELL);
    const last = Math.floor((end - 1) / CELL);
    const straightOn = start >= this.#last - CELL && start <= this.#last + CELL && this.#last > HEADER;
    this.#last = end;
    const cells = this.#request(first, last);
    for (const { run } of cells) run.hold();
    try {
      if (straightOn) this.#readAhead(last);
      const out = take(end - start);
      for (const [i, { run, at }] of cells.entries()) {
        const cell = (await run.bytes).subarray(at, at + CELL);
        const from = (first + i) * CELL;
        const part = cell.subarray(Math.max(0, start - from), Math.min(cell.length, end - from));
        out.set(part, Math.max(0, from - start));
      }
      return out;
    } finally {
      for (const { run } of cells) run.drop();
      this.pool.evict();
    }
  }

  /** Drops what is held. */
  forget(): void {
    for (const index of [...this.#cells.keys()]) this.#drop(index);
  }

  /** The cells of [first, last], each made the newest; what is missing is asked for in as few requests as allowed. */
  #request(first: number, last: number): Cell[] {
    for (let index = first; index <= last; index++) {
      if (this.#cells.has(index)) continue;
      let count = 1;
      while (count < RUN && index + count <= last && !this.#cells.has(index + count)) count++;
      this.#fetch(index, count);
    }
    const cells: Cell[] = [];
    for (let index = first; index <= last; index++) {
      cells.push(this.#cells.get(index)!);
      this.#touch(index);
    }
    return cells;
  }

  #fetch(index: number, count: number): void {
    const start = index * CELL;
    const run = new Run(this.fetchRange(start, Math.min(this.size, start + count * CELL)));
    for (let i = 0; i < count; i++) {
      run.hold();
      this.#cells.set(index + i, { run, at: i * CELL });
      this.#touch(index + i);
    }
    // What failed is forgotten, so that whoever asks next tries again; nobody may be waiting for a read-ahead.
    run.bytes.catch(() => {
      for (let i = 0; i < count; i++) if (this.#cells.get(index + i)?.run === run) this.#drop(index + i);
    });
  }

  #touch(index: number): void {
    this.pool.touch(`${this.#file}:${index}`, () => this.#drop(index));
  }

  #drop(index: number): void {
    this.#cells.get(index)?.run.drop();
    this.#cells.delete(index);
  }

  #readAhead(last: number): void {
    const end = Math.min(Math.ceil(this.size / CELL), last + 1 + AHEAD);
    for (let next = last + 1; next < end; ) {
      let count = 0;
      while (count < AHEAD_RUN && next + count < end && !this.#cells.has(next + count)) count++;
      // Short ones only at the file's end, so that the requests stay large.
      if (count === AHEAD_RUN || (count > 0 && (next + count) * CELL >= this.size)) this.#fetch(next, count);
      next += Math.max(1, count);
    }
  }
}
