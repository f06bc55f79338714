// From a location to the files the engine reads.

import type { Failure } from "../errors.js";
import type { Reader, Source } from "../wasm.js";
import { openHttp, readBlob, type HttpContext } from "./http.js";
import { child, type Location } from "./locate.js";

/** Opens a location. Nothing is requested after `signal` fires. */
export async function open(location: Location, fetcher: typeof fetch, signal: AbortSignal): Promise<Source> {
  if (location.kind === "files") return openFiles(location);
  const headers: Record<string, string> = location.token === undefined ? {} : { Authorization: `Bearer ${location.token}` };
  const context: HttpContext = { fetch: fetcher, headers, signal };
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
