// Combines many small reads into few requests: the file is a grid of cells, which are fetched in runs with read-ahead.

import { BLOCK } from "../storage/index.js";
import { give, take } from "./spare.js";

/** Bytes of a cell, which is a block of the store. */
const CELL = BLOCK;
/** Maximum cells of a request. */
const RUN = 8;
/** Maximum cells cached for all open files together, in addition to reads in progress. */
const KEPT = 24;
/** Reads that end before this offset belong to a header and trigger no read-ahead. */
const HEADER = 64 * 1024;
/** Cells fetched ahead of a sequential reader, and cells of one read-ahead request, several of which are in flight at once. */
const AHEAD = 12;
const AHEAD_RUN = 3;

/** Fetches exactly the bytes [start, end), into memory from `take`. */
export type FetchRange = (start: number, end: number) => Promise<Uint8Array>;

/** An LRU cache of the cells of one source's files, the oldest first. */
export class Pool {
  readonly #cells = new Map<string, () => void>();

  /** `ahead`: whether files that are read straight on are fetched ahead of their reader. */
  constructor(readonly ahead: boolean) {}

  /** Makes a cell the newest; `drop` is called when it is evicted. */
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

/** The bytes of one request, reference-counted: the memory is reused when no cell is cached and nothing is copied from it. */
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

/** A cell, which begins `at` bytes into its run. */
interface Cell {
  run: Run;
  at: number;
}

let lastFile = 0;

/** Reads a file of `size` bytes. */
export class Blocks {
  readonly #file = ++lastFile;
  readonly #cells = new Map<number, Cell>();
  #last = 0; // the end of the previous read

  constructor(
    readonly size: number,
    readonly fetchRange: FetchRange,
    readonly pool: Pool,
  ) {}

  /** Reads exactly the bytes [start, end), into separate memory. */
  async read(start: number, end: number): Promise<Uint8Array> {
    const first = Math.floor(start / CELL);
    const last = Math.floor((end - 1) / CELL);
    const straightOn = this.pool.ahead && start >= this.#last - CELL && start <= this.#last + CELL && this.#last > HEADER;
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

  /** Releases all cells. */
  forget(): void {
    for (const index of [...this.#cells.keys()]) this.#drop(index);
  }

  /** The cells [first, last], which become the newest; missing ones are fetched in as few requests as allowed. */
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
    // A failed run is forgotten, so that the next read tries again; a failed read-ahead must not be an unhandled
    // rejection.
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
      // Runs are short only at the end of the file, so that requests stay large.
      if (count === AHEAD_RUN || (count > 0 && (next + count) * CELL >= this.size)) this.#fetch(next, count);
      next += Math.max(1, count);
    }
  }
}
