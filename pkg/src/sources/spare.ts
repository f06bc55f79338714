// Memory that is used again: what garbage collectors are left with gathers by the hundreds of megabytes.

/** Bytes that lie ready at most, and the least that is worth it. */
const MOST = 16 << 20;
const LEAST = 64 << 10;

/** The oldest first. */
const spare: Uint8Array[] = [];
let held = 0;

/** So many bytes of memory of their own, whatever lies in it. */
export function take(length: number): Uint8Array {
  const found = spare.findLastIndex((bytes) => bytes.length === length);
  if (found < 0) return new Uint8Array(length);
  held -= length;
  return spare.splice(found, 1)[0]!;
}

/** Takes memory back that nobody reads or writes any more; a part of something larger is left. What is too large to lie about ends at once. */
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

/** Frees memory now, where the browser can. */
function end({ buffer }: Uint8Array): void {
  (buffer as ArrayBuffer & { transfer?(length: number): ArrayBuffer }).transfer?.(0);
}
