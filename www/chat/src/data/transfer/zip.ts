// Reads the files of a ZIP archive, stored or deflated, by its central directory.

import { DataError } from "../errors";

const END = 0x06054b50;
const ENTRY = 0x02014b50;
/** Bytes that an archive may unpack to: small archives can claim to be endless. */
const LARGEST = 512 * 1024 * 1024;

export const isZip = (bytes: Uint8Array): boolean =>
  bytes[0] === 0x50 && bytes[1] === 0x4b && bytes[2] === 3 && bytes[3] === 4;

/** The archive's files that `wanted` picks by their names. Rejects with "format" or "size". */
export async function unzip(
  bytes: Uint8Array<ArrayBuffer>,
  wanted: (name: string) => boolean,
): Promise<{ name: string; bytes: Uint8Array }[]> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const fail = (where: string): never => {
    throw new DataError("format", { format: "zip", where, expected: "a ZIP archive that is not damaged" });
  };
  let end = bytes.length - 22;
  while (end >= 0 && view.getUint32(end, true) !== END) end--;
  if (end < 0) fail("end");
  const files: { name: string; bytes: Uint8Array }[] = [];
  let left = LARGEST;
  let at = view.getUint32(end + 16, true);
  for (let i = 0; i < view.getUint16(end + 10, true); i++) {
    if (at + 46 > bytes.length || view.getUint32(at, true) !== ENTRY) fail(`entry ${i + 1}`);
    const [nameLength, extraLength, commentLength] = [
      view.getUint16(at + 28, true),
      view.getUint16(at + 30, true),
      view.getUint16(at + 32, true),
    ];
    const name = new TextDecoder().decode(bytes.subarray(at + 46, at + 46 + nameLength));
    if (wanted(name)) {
      const [method, packed, local] = [
        view.getUint16(at + 10, true),
        view.getUint32(at + 20, true),
        view.getUint32(at + 42, true),
      ];
      if (local + 30 > bytes.length) fail(name);
      const start = local + 30 + view.getUint16(local + 26, true) + view.getUint16(local + 28, true);
      if (start + packed > bytes.length || (method !== 0 && method !== 8)) fail(name);
      const body = bytes.subarray(start, start + packed);
      const unpacked =
        method === 0
          ? body
          : await inflate(body, left, name).catch((error: unknown) =>
              error instanceof DataError ? Promise.reject(error) : fail(name),
            );
      left -= unpacked.length;
      files.push({ name, bytes: unpacked });
    }
    at += 46 + nameLength + extraLength + commentLength;
  }
  return files;
}

async function inflate(body: Uint8Array<ArrayBuffer>, most: number, name: string): Promise<Uint8Array> {
  const reader = new Blob([body]).stream().pipeThrough(new DecompressionStream("deflate-raw")).getReader();
  const parts: Uint8Array<ArrayBuffer>[] = [];
  let size = 0;
  for (let next = await reader.read(); !next.done; next = await reader.read()) {
    size += next.value.length;
    if (size > most) {
      await reader.cancel();
      throw new DataError("size", { name, bytes: size, limit: most });
    }
    parts.push(next.value as Uint8Array<ArrayBuffer>);
  }
  return new Uint8Array(await new Blob(parts).arrayBuffer());
}
