// Turns many small reads into few requests: a grid of cells, fetched in runs, with read-ahead.

import { BLOCK } from "../storage/journal.js";

/** Bytes of one cell: a block of the store. */
const CELL = BLOCK;
/** Cells of one request at most. */
const RUN = 8;
/** Cells kept; the memory one open file may hold, besides the reads under way. */
const KEPT = 24;
/** Cells fetched ahead of a reader that goes straight on. */
const AHEAD = 4;

/** Fetches exactly the bytes [start, end). */
export type FetchRange = (start: number, end: number) => Promise<Uint8Array>;

/** Reads of one file of `size` bytes, of which `head` is already here. */
export class Blocks {
  readonly #cells = new Map<number, Promise<Uint8Array>>(); // oldest first
  #last = 0; // where the previous read ended

  constructor(
    readonly size: number,
    public head: Uint8Array,
    readonly fetchRange: FetchRange,
  ) {}

  /** Exactly the bytes [start, end), in memory of their own. */
  async read(start: number, end: number): Promise<Uint8Array> {
    if (end <= this.head.length) return this.head.slice(start, end);
    const first = Math.floor(start / CELL);
    const last = Math.floor((end - 1) / CELL);
    const straightOn = start >= this.#last - CELL && start <= this.#last + CELL && this.#last > this.head.length;
    this.#last = end;
    const cells = this.#request(first, last);
    if (straightOn) this.#readAhead(last);
    const out = new Uint8Array(end - start);
    for (let i = 0; i < cells.length; i++) {
      const cell = await cells[i]!;
      const from = (first + i) * CELL;
      const part = cell.subarray(Math.max(0, start - from), Math.min(cell.length, end - from));
      out.set(part, Math.max(0, from - start));
    }
    this.#evict();
    return out;
  }

  /** Drops what is held, the head too. */
  forget(): void {
    this.#cells.clear();
    this.head = new Uint8Array();
  }

  /** The cells of [first, last], each made the newest; what is missing is asked for in as few requests as allowed. */
  #request(first: number, last: number): Promise<Uint8Array>[] {
    for (let index = first; index <= last; index++) {
      if (this.#cells.has(index)) continue;
      let count = 1;
      while (count < RUN && index + count <= last && !this.#cells.has(index + count)) count++;
      this.#fetch(index, count);
    }
    const cells: Promise<Uint8Array>[] = [];
    for (let index = first; index <= last; index++) {
      const cell = this.#cells.get(index)!;
      this.#cells.delete(index);
      this.#cells.set(index, cell);
      cells.push(cell);
    }
    return cells;
  }

  #fetch(index: number, count: number): void {
    const start = index * CELL;
    const run = this.fetchRange(start, Math.min(this.size, start + count * CELL));
    for (let i = 0; i < count; i++) {
      const cell = run.then((bytes) => bytes.subarray(i * CELL, (i + 1) * CELL));
      // A failed cell is forgotten, so that whoever asks next tries again; nobody may be waiting for a read-ahead.
      cell.catch(() => {
        if (this.#cells.get(index + i) === cell) this.#cells.delete(index + i);
      });
      this.#cells.set(index + i, cell);
    }
  }

  #readAhead(last: number): void {
    const end = Math.ceil(this.size / CELL);
    let next = last + 1;
    while (next < end && next <= last + 2 && this.#cells.has(next)) next++;
    // Refill only when little is left ahead, so that the requests stay large.
    if (next > last + 2 || next >= end) return;
    let count = 0;
    while (count < AHEAD && next + count < end && !this.#cells.has(next + count)) count++;
    this.#fetch(next, count);
  }

  #evict(): void {
    for (const index of this.#cells.keys()) {
      if (this.#cells.size <= KEPT) return;
      this.#cells.delete(index);
    }
  }
}
