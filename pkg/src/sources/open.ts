// From a location to the files the engine reads.

import type { Failure } from "../errors.js";
import type { StoredModel } from "../storage/model.js";
import type { Progress } from "../types.js";
import type { Reader, Source } from "../wasm.js";
import { Shelf } from "./blocks.js";
import { openHttp, readBlob, type HttpContext } from "./http.js";
import { child, type Location } from "./locate.js";

/** Opens a location. Nothing is requested after `signal` fires; what arrives is kept in `store`. */
export async function open(location: Location, fetcher: typeof fetch, signal: AbortSignal, store: StoredModel | null): Promise<Source> {
  if (location.kind === "files") return openFiles(location);
  const headers: Record<string, string> = location.token === undefined ? {} : { Authorization: `Bearer ${location.token}` };
  const context: HttpContext = { fetch: fetcher, headers, signal, store, shelf: new Shelf() };
  const sibling = (name: string) => openHttp(child(location.url, name), name, context);
  if (location.kind === "folder") return { kind: "folder", id: location.id, file: location.file, open: sibling };
  const name = decodeURIComponent(new URL(location.url).pathname.split("/").at(-1) ?? "") || "model.gguf";
  const reader = await openHttp(location.url, name, context);
  if (reader === null) {
    const failure: Failure = {
      code: "network", message: `${location.url}: there is no such file (404)`, retryable: false,
      detail: { url: location.url, status: 404 },
    };
    throw failure;
  }
  return { kind: "gguf", id: location.id, reader, open: sibling };
}

/** Bytes of a file read at once. */
const STRIDE = 8 << 20;

/** Reads the whole of some files, so that the store has them. */
export async function fetchAll(
  source: Source,
  files: readonly { name: string; size: number }[],
  progress: (progress: Progress) => void,
  store: StoredModel,
): Promise<void> {
  const total = files.reduce((sum, file) => sum + file.size, 0);
  let loaded = 0;
  for (const { name } of files) {
    const reader = source.kind === "gguf" && source.reader.name === name ? source.reader : await source.open(name);
    if (reader === null) continue; // gone since it was listed: a load will say so
    for (let start = 0; start < reader.size; start += STRIDE) {
      const end = Math.min(reader.size, start + STRIDE);
      await reader.read(start, end);
      const kept = await store.file(name);
      if (kept === null || kept.full) throw noRoom(name, kept?.bytes ?? 0, reader.size);
      loaded += end - start;
      progress({ stage: "download", loaded, total, file: name, fromCache: store.whole.has(name) });
    }
  }
}

function noRoom(name: string, bytes: number, size: number): Failure {
  return { code: "storage", message: `${name}: there is no room for it; ${bytes} of ${size} bytes are kept`, retryable: false, detail: { name, bytes, size } };
}

function openFiles({ id, files }: Extract<Location, { kind: "files" }>): Source {
  const reader = ({ name, blob }: { name: string; blob: Blob }): Reader => ({
    name, size: blob.size, read: (start, end) => readBlob(blob, start, end, name),
  });
  const open = async (name: string) => {
    const file = files.find((f) => f.name === name) ?? files.find((f) => f.name === name.split("/").at(-1));
    return file === undefined ? null : reader(file);
  };
  const models = files.filter((f) => f.name.endsWith(".gguf"));
  const single = files.length === 1 && !files[0]!.name.endsWith(".json") && !files[0]!.name.endsWith(".safetensors") ? files[0] : undefined;
  const model = models.find((f) => /-0*1-of-\d+\.gguf$/.test(f.name)) ?? models[0] ?? single;
  if (model === undefined || files.some((f) => f.name === "config.json")) return { kind: "folder", id, open };
  return { kind: "gguf", id, reader: reader(model), open };
}
