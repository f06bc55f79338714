// The journal of a stored file: the file's identity, then a record for each block that is complete in the data file.
// A record is written after its block. A record that was interrupted fails its checksum and is ignored.

/** Size of a block in bytes. */
export const BLOCK = 1 << 20;

/** The identity of a file's contents: another size or tag means another version. */
export interface Identity {
  name: string;
  size: number;
  /** The server's ETag or Last-Modified date; null if it sends neither. */
  tag: string | null;
}

/** Size of a record: block index, SHA-256 of the block, checksum of both. */
const RECORD = 4 + 32 + 4;

export interface Journal {
  identity: Identity;
  /** SHA-256 by block; for a block that was written twice, the latest. */
  hashes: Map<number, Uint8Array>;
  /** Bytes of the journal that are valid, which is the offset of the next record. */
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

/** Parses a journal; null if it is invalid or has another format version. */
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

/** The number of blocks of a file. */
export function blocks(size: number): number {
  return Math.ceil(size / BLOCK);
}

/** The FNV-1a hash. */
function check(bytes: Uint8Array): number {
  let hash = 0x811c9dc5;
  for (const byte of bytes) hash = Math.imul(hash ^ byte, 0x01000193);
  return hash >>> 0;
}
