// A pool of reusable buffers, because garbage collectors let hundreds of megabytes of unused ones accumulate.

/** Maximum bytes in the pool, and minimum size of a pooled buffer. */
const MOST = 16 << 20;
const LEAST = 64 << 10;

/** The pooled buffers, the oldest first. */
const spare: Uint8Array[] = [];
let held = 0;

/** Returns a buffer of `length` bytes with arbitrary contents. */
export function take(length: number): Uint8Array {
  const found = spare.findLastIndex((bytes) => bytes.length === length);
  if (found < 0) return new Uint8Array(length);
  held -= length;
  return spare.splice(found, 1)[0]!;
}

/** Returns an unused buffer to the pool. A view of a larger buffer is ignored; a buffer that is too large for the pool is freed immediately. */
export function give(bytes: Uint8Array): void {
  if (bytes.length < LEAST || bytes.length !== bytes.buffer.byteLength) return;
  if (bytes.length > MOST / 2) return end(bytes);
  spare.push(bytes);
  held += bytes.length;
  while (held > MOST) {
    const oldest = spare.shift()!;
    held -= oldest.length;
    end(oldest);
  }
}

/** Frees memory immediately, if the browser supports it. */
function end({ buffer }: Uint8Array): void {
  (buffer as ArrayBuffer & { transfer?(length: number): ArrayBuffer }).transfer?.(0);
}
