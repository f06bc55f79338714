// Turns many small reads into few requests: a grid of cells, fetched in runs, with read-ahead.

import { BLOCK } from "../storage/journal.js";

/** Bytes of one cell: a block of the store. */
const CELL = BLOCK;
/** Cells of one request at most. */
const RUN = 8;
/** Cells kept; the memory that all files of a load may hold, besides the reads under way. */
const KEPT = 24;
/** Cells fetched ahead of a reader that goes straight on, and cells of one such request: several are under way at once. */
const AHEAD = 12;
const AHEAD_RUN = 3;

/** Fetches exactly the bytes [start, end). */
export type FetchRange = (start: number, end: number) => Promise<Uint8Array>;

/** What the files of a load hold together: the oldest goes first, whichever file it is of. */
export class Shelf {
  readonly #drop = new Map<Promise<Uint8Array>, () => void>(); // oldest first

  /** A cell was asked for; `drop` takes it away from its file. */
  touch(cell: Promise<Uint8Array>, drop: () => void): void {
    this.#drop.delete(cell);
    this.#drop.set(cell, drop);
  }

  /** A cell is gone. */
  forget(cell: Promise<Uint8Array>): void {
    this.#drop.delete(cell);
  }

  /** Drops what is too much. */
  trim(): void {
    for (const [cell, drop] of this.#drop) {
      if (this.#drop.size <= KEPT) return;
      this.#drop.delete(cell);
      drop();
    }
  }
}

/** Reads of one file of `size` bytes, of which `head` is already here. */
export class Blocks {
  readonly #cells = new Map<number, Promise<Uint8Array>>();
  #last = 0; // where the previous read ended

  constructor(
    readonly size: number,
    public head: Uint8Array,
    readonly fetchRange: FetchRange,
    readonly shelf: Shelf = new Shelf(),
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
    this.shelf.trim();
    return out;
  }

  /** Drops what is held, the head too. */
  forget(): void {
    for (const [index, cell] of this.#cells) this.#drop(index, cell);
    this.head = new Uint8Array();
  }

  #drop(index: number, cell: Promise<Uint8Array>): void {
    this.shelf.forget(cell);
    if (this.#cells.get(index) === cell) this.#cells.delete(index);
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
      this.shelf.touch(cell, () => this.#drop(index, cell));
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
      cell.catch(() => this.#drop(index + i, cell));
      this.#cells.set(index + i, cell);
      this.shelf.touch(cell, () => this.#drop(index + i, cell));
    }
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
