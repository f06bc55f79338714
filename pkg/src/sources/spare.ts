// Memory that is used again: what garbage collectors are left with gathers by the hundreds of megabytes.

/** Bytes that lie ready at most. */
const MOST = 24 << 20;

const spare = new Map<number, Uint8Array[]>();
let held = 0;

/** So many bytes of memory, whatever lies in it. */
export function take(length: number): Uint8Array {
  const bytes = spare.get(length)?.pop();
  if (bytes === undefined) return new Uint8Array(length);
  held -= length;
  return bytes;
}

/** Takes back what `take` gave, when nobody reads or writes it any more. */
export function give(bytes: Uint8Array): void {
  if (bytes.length + held > MOST) return;
  held += bytes.length;
  const list = spare.get(bytes.length);
  if (list === undefined) spare.set(bytes.length, [bytes]);
  else list.push(bytes);
}
