// The journal of a stored file: what file it is, then a record for each block that lies whole in the data beside it.
// A record is written after its block. What a kill leaves half written fails its own check and is not there.

/** Bytes of a block. */
export const BLOCK = 1 << 20;

/** Which bytes these are: a file of another size or tag is another file. */
export interface Identity {
  name: string;
  size: number;
  /** The server's ETag or date; null where it gives none. */
  tag: string | null;
}

/** Index, SHA-256 of the block, check of both. */
const RECORD = 4 + 32 + 4;

export interface Journal {
  identity: Identity;
  /** SHA-256 by block; of a block that was written twice, the last. */
  hashes: Map<number, Uint8Array>;
  /** Bytes of the journal that are whole: the next record's place. */
  length: number;
}

export function encodeIdentity(identity: Identity): Uint8Array {
  return new TextEncoder().encode(`${JSON.stringify({ minke: 1, block: BLOCK, ...identity })}\n`);
}

export function encodeRecord(index: number, hash: Uint8Array): Uint8Array {
  const record = new Uint8Array(RECORD);
  const view = new DataView(record.buffer);
  view.setUint32(0, index, true);
  record.set(hash, 4);
  view.setUint32(36, check(record.subarray(0, 36)), true);
  return record;
}

/** Reads a journal; null where it is none, or of another form. */
export function decodeJournal(bytes: Uint8Array): Journal | null {
  const end = bytes.indexOf(10);
  if (end < 0) return null;
  let first: Identity & { minke?: number; block?: number };
  try {
    first = JSON.parse(new TextDecoder().decode(bytes.subarray(0, end)));
  } catch {
    return null;
  }
  const { minke, block, name, size, tag } = first;
  if (minke !== 1 || block !== BLOCK || typeof name !== "string" || !Number.isSafeInteger(size)) return null;
  const hashes = new Map<number, Uint8Array>();
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = end + 1;
  for (; at + RECORD <= bytes.length; at += RECORD) {
    if (view.getUint32(at + 36, true) !== check(bytes.subarray(at, at + 36))) break;
    const index = view.getUint32(at, true);
    if (index < blocks(size)) hashes.set(index, bytes.slice(at + 4, at + 36));
  }
  return { identity: { name, size, tag: tag ?? null }, hashes, length: at };
}

/** Blocks of a file. */
export function blocks(size: number): number {
  return Math.ceil(size / BLOCK);
}

/** FNV-1a. */
function check(bytes: Uint8Array): number {
  let hash = 0x811c9dc5;
  for (const byte of bytes) hash = Math.imul(hash ^ byte, 0x01000193);
  return hash >>> 0;
}
