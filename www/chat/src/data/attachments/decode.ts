// Bytes as text.

import { DataError } from "../errors";

/** UTF-8, or UTF-16 with a byte order mark. Throws "encoding" for anything else, and "unreadable" for what is no text. */
export function decodeText(bytes: Uint8Array, name: string): string {
  const text = decode(bytes, name);
  if (text.includes("\0")) throw new DataError("unreadable", { name, reason: "binary" });
  return text;
}

function decode(bytes: Uint8Array, name: string): string {
  const label =
    bytes[0] === 0xff && bytes[1] === 0xfe ? "utf-16le" : bytes[0] === 0xfe && bytes[1] === 0xff ? "utf-16be" : "utf-8";
  try {
    return new TextDecoder(label, { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new DataError("encoding", { name, at: firstWrong(bytes, label) }, { cause });
  }
}

/** Where decoding fails first: after the longest beginning that decodes, less a character that it leaves unfinished. */
function firstWrong(bytes: Uint8Array, label: string): number {
  const decoded = (length: number): string | undefined => {
    try {
      return new TextDecoder(label, { fatal: true, ignoreBOM: true }).decode(bytes.subarray(0, length), {
        stream: true,
      });
    } catch {
      return undefined;
    }
  };
  let low = 0;
  let high = bytes.length;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (decoded(middle) === undefined) high = middle - 1;
    else low = middle;
  }
  const text = decoded(low)!;
  return label === "utf-8" ? new TextEncoder().encode(text).length : 2 * text.length;
}
