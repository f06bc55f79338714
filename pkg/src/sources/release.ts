/**
 * Gives the memory of bytes back at once that nobody uses any more; of a part of something larger, nothing. Garbage collectors let
 * hundreds of megabytes gather.
 */
export function release(bytes: Uint8Array): void {
  const buffer = bytes.buffer as ArrayBuffer & { transfer?(length: number): ArrayBuffer };
  if (bytes.byteLength === buffer.byteLength) buffer.transfer?.(0);
}
