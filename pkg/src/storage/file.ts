// One published file in the browser's own file system, block by block. Blocks are checked whenever they are read.

import { BLOCK, blocks, decodeJournal, encodeIdentity, encodeRecord, type Identity, type Journal } from "./journal.js";

/** Synchronous access to a file, which only workers have. */
export interface SyncHandle {
  read(buffer: Uint8Array, options: { at: number }): number;
  write(buffer: Uint8Array, options: { at: number }): number;
  truncate(size: number): void;
  getSize(): number;
  flush(): void;
  close(): void;
}

export class StoredFile {
  readonly #hashes: Map<number, Uint8Array>;
  #end: number; // of the journal
  /** Whether a block could not be kept for want of room. */
  full = false;

  private constructor(
    readonly identity: Identity,
    readonly data: SyncHandle,
    readonly journal: SyncHandle,
    known: Journal | null,
  ) {
    this.#hashes = known?.hashes ?? new Map();
    this.#end = known?.length ?? 0;
  }

  /** What lies in two files, if it is one of ours. */
  static existing(data: SyncHandle, journal: SyncHandle): StoredFile | null {
    const bytes = new Uint8Array(journal.getSize());
    journal.read(bytes, { at: 0 });
    const known = decodeJournal(bytes);
    return known === null ? null : new StoredFile(known.identity, data, journal, known);
  }

  /** A new one; null where there is no room even for that. */
  static create(identity: Identity, data: SyncHandle, journal: SyncHandle): StoredFile | null {
    journal.truncate(0);
    data.truncate(0);
    const file = new StoredFile(identity, data, journal, null);
    return file.#append(encodeIdentity(identity)) ? file : null;
  }

  /** Whether every block is here. */
  get complete(): boolean {
    return this.#hashes.size === blocks(this.identity.size);
  }

  /** Bytes of the blocks that are here. */
  get bytes(): number {
    const { size } = this.identity;
    const last = blocks(size) - 1;
    return this.#hashes.size * BLOCK - (this.#hashes.has(last) ? (last + 1) * BLOCK - size : 0);
  }

  has(index: number): boolean {
    return this.#hashes.has(index);
  }

  /** A block, if it is here and whole. One that is not is forgotten, to be fetched again. */
  async read(index: number): Promise<Uint8Array | null> {
    const hash = this.#hashes.get(index);
    if (hash === undefined) return null;
    const bytes = new Uint8Array(Math.min(BLOCK, this.identity.size - index * BLOCK));
    const read = this.data.read(bytes, { at: index * BLOCK });
    if (read === bytes.length && same(await sha256(bytes), hash)) return bytes;
    this.#hashes.delete(index);
    return null;
  }

  /** Keeps neighbouring blocks, the first of them `index`. Where there is no room, nothing more is kept. */
  async write(index: number, bytes: Uint8Array): Promise<void> {
    if (this.full) return;
    const count = blocks(bytes.length);
    const part = (i: number) => bytes.subarray(i * BLOCK, (i + 1) * BLOCK);
    const hashes = await Promise.all(Array.from({ length: count }, (_, i) => sha256(part(i))));
    if (!this.#put(this.data, bytes, index * BLOCK)) return;
    this.data.flush();
    for (const [i, hash] of hashes.entries()) {
      if (!this.#append(encodeRecord(index + i, hash))) return;
      this.#hashes.set(index + i, hash);
    }
  }

  close(): void {
    for (const handle of [this.data, this.journal]) {
      try {
        handle.flush();
      } finally {
        handle.close();
      }
    }
  }

  #append(bytes: Uint8Array): boolean {
    const written = this.#put(this.journal, bytes, this.#end);
    if (written) this.#end += bytes.length;
    return written;
  }

  /** A write beyond the quota throws in some browsers; in others it returns a number that is not the length. */
  #put(handle: SyncHandle, bytes: Uint8Array, at: number): boolean {
    try {
      if (handle.write(bytes, { at }) === bytes.length) return true;
    } catch {
      // as below
    }
    this.full = true;
    return false;
  }
}

async function sha256(bytes: Uint8Array): Promise<Uint8Array> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes as Uint8Array<ArrayBuffer>));
}

function same(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}
