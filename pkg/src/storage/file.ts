// One published file in the browser's own file system, block by block, at its true offsets. A block of 1 MiB is written when its
// last byte has arrived, and its SHA-256 goes to the journal after it. Blocks are checked whenever they are read: what a kill, a
// full disk or a flipped bit left behind is fetched again, alone.

import { BLOCK, blocks, decodeJournal, encodeIdentity, encodeRecord, type Identity, type Journal } from "./journal.js";

/** Synchronous access to a file, which is only available in workers. */
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
  #end: number; // the end of the journal
  /** Whether a block could not be stored because storage is full. */
  full = false;
  #closed = false;

  private constructor(
    readonly identity: Identity,
    readonly data: SyncHandle,
    readonly journal: SyncHandle,
    /** Asks for storage space when it is full; returns whether to try again. */
    readonly room: () => Promise<boolean>,
    known: Journal | null,
  ) {
    this.#hashes = known?.hashes ?? new Map();
    this.#end = known?.length ?? 0;
  }

  /** Opens a file from its data and journal; null if the journal is not valid. */
  static existing(data: SyncHandle, journal: SyncHandle, room: () => Promise<boolean>): StoredFile | null {
    const bytes = new Uint8Array(journal.getSize());
    journal.read(bytes, { at: 0 });
    const known = decodeJournal(bytes);
    return known === null ? null : new StoredFile(known.identity, data, journal, room, known);
  }

  /** Creates a file; null if there is not even space for its journal. */
  static async create(identity: Identity, data: SyncHandle, journal: SyncHandle, room: () => Promise<boolean>): Promise<StoredFile | null> {
    journal.truncate(0);
    data.truncate(0);
    const file = new StoredFile(identity, data, journal, room, null);
    return (await file.#append(encodeIdentity(identity))) ? file : null;
  }

  /** Whether every block is stored. */
  get complete(): boolean {
    return this.#hashes.size === blocks(this.identity.size);
  }

  /** Bytes of the stored blocks. */
  get bytes(): number {
    const { size } = this.identity;
    const last = blocks(size) - 1;
    return this.#hashes.size * BLOCK - (this.#hashes.has(last) ? (last + 1) * BLOCK - size : 0);
  }

  has(index: number): boolean {
    return this.#hashes.has(index);
  }

  /** SHA-256 of a stored block. */
  hash(index: number): Uint8Array | undefined {
    return this.#hashes.get(index);
  }

  /** Marks every block as missing until it is written again, and returns the previous hashes. */
  forget(): Map<number, Uint8Array> {
    const known = new Map(this.#hashes);
    this.#hashes.clear();
    return known;
  }

  /** Reads a block into a buffer of its size; returns whether it is stored and intact. A damaged block is marked as missing, to be fetched again. */
  async read(index: number, bytes: Uint8Array): Promise<boolean> {
    const hash = this.#hashes.get(index);
    if (hash === undefined || this.#closed) return false;
    const read = this.data.read(bytes, { at: index * BLOCK });
    if (read === bytes.length && same(await sha256(bytes), hash)) return true;
    this.#hashes.delete(index);
    return false;
  }

  /** Stores contiguous blocks from `index` on. Once storage is full, nothing more is stored. */
  async write(index: number, bytes: Uint8Array): Promise<void> {
    if (this.full || this.#closed) return;
    const count = blocks(bytes.length);
    const part = (i: number) => bytes.subarray(i * BLOCK, (i + 1) * BLOCK);
    const hashes = await Promise.all(Array.from({ length: count }, (_, i) => sha256(part(i))));
    if (this.#closed) return; // closed meanwhile
    while (!put(this.data, bytes, index * BLOCK)) if (!(await this.#room())) return this.#cut();
    this.data.flush();
    for (const [i, hash] of hashes.entries()) {
      if (!(await this.#append(encodeRecord(index + i, hash)))) return;
      this.#hashes.set(index + i, hash);
    }
  }

  close(): void {
    this.#closed = true;
    for (const handle of [this.data, this.journal]) {
      try {
        handle.flush();
      } finally {
        handle.close();
      }
    }
  }

  /** Gives back what a write over the quota took of it: the manifest must still fit. */
  #cut(): void {
    if (this.#closed) return;
    const end = Math.max(0, ...[...this.#hashes.keys()].map((index) => (index + 1) * BLOCK));
    if (this.data.getSize() > end) this.data.truncate(end);
  }

  async #append(bytes: Uint8Array): Promise<boolean> {
    while (!put(this.journal, bytes, this.#end)) if (!(await this.#room())) return false;
    this.#end += bytes.length;
    return true;
  }

  async #room(): Promise<boolean> {
    if (this.#closed) return false;
    this.full ||= !(await this.room());
    return !this.full && !this.#closed;
  }
}

/** Writes all bytes; returns whether there was room. A write beyond the quota throws in some browsers; in others it returns a number other than the length. */
export function put(handle: SyncHandle, bytes: Uint8Array, at: number): boolean {
  try {
    return handle.write(bytes, { at }) === bytes.length;
  } catch {
    return false;
  }
}

async function sha256(bytes: Uint8Array): Promise<Uint8Array> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes as Uint8Array<ArrayBuffer>));
}

function same(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}

/** Opens a file exclusively. If another thread that held it has just ended, it becomes available a little later. */
export async function access(handle: FileSystemFileHandle): Promise<SyncHandle> {
  for (let tries = 40; ; tries--) {
    try {
      return await (handle as unknown as { createSyncAccessHandle(): Promise<SyncHandle> }).createSyncAccessHandle();
    } catch (error) {
      if ((error as DOMException).name !== "NoModificationAllowedError" || tries === 0) throw error;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}
