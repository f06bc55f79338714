// From a location to the files the engine reads.

import type { Failure } from "../errors.js";
import type { Reader, Source } from "../wasm.js";
import { Pool } from "./blocks.js";
import { openHttp } from "./http.js";
import { child, type Location } from "./locate.js";
import type { HttpContext } from "./requests.js";
import { readBlob } from "./local.js";

/** A source, each of whose files is opened once. */
export interface Opened {
  source: Source;
  /** Whether the bytes that were read last had been on this device before. */
  stored(): boolean;
}

/** Opens a location. Nothing is requested after the context's signal fires; what arrives is kept in its store. */
export async function open(location: Location, context: HttpContext): Promise<Opened> {
  let last = false;
  const note = (reader: Reader): Reader => ({
    ...reader,
    read: async (start, end) => {
      const bytes = await reader.read(start, end);
      last = reader.stored?.(start, end) ?? false;
      return bytes;
    },
  });
  const files = new Map<string, Promise<Reader | null>>();
  const once = (name: string, begin: () => Promise<Reader | null>) => {
    let file = files.get(name);
    if (file === undefined) {
      file = begin().then((reader) => reader && note(reader));
      file.catch(() => files.delete(name)); // whoever asks next tries again
      files.set(name, file);
    }
    return file;
  };
  const source = await plain(location, context, once);
  return { source, stored: () => last };
}

type Once = (name: string, begin: () => Promise<Reader | null>) => Promise<Reader | null>;

async function plain(location: Location, context: HttpContext, once: Once): Promise<Source> {
  if (location.kind === "files") return openFiles(location, once);
  const pool = new Pool();
  const sibling = (name: string) => once(name, () => openHttp(child(location.url, name), name, context, pool));
  if (location.kind === "folder") return { kind: "folder", id: location.id, file: location.file, open: sibling };
  const name = decodeURIComponent(new URL(location.url).pathname.split("/").at(-1) ?? "") || "model.gguf";
  const reader = await once(name, () => openHttp(location.url, name, context, pool));
  if (reader === null) {
    const failure: Failure = {
      code: "network", message: `${location.url}: there is no such file (404)`, retryable: false,
      detail: { url: location.url, status: 404 },
    };
    throw failure;
  }
  return { kind: "gguf", id: location.id, reader, open: sibling };
}

async function openFiles({ id, files }: Extract<Location, { kind: "files" }>, once: Once): Promise<Source> {
  const last = (path: string) => path.split("/").at(-1)!;
  const models = files.filter((f) => f.name.endsWith(".gguf"));
  const single = files.length === 1 && !files[0]!.name.endsWith(".json") && !files[0]!.name.endsWith(".safetensors") ? files[0] : undefined;
  const config = files.filter((f) => last(f.name) === "config.json").sort((a, b) => a.name.split("/").length - b.name.split("/").length)[0];
  const model = config === undefined ? (models.find((f) => /-0*1-of-\d+\.gguf$/.test(f.name)) ?? models[0] ?? single) : undefined;
  // The folder that the model's names start from; files that lie in none may stand for those of any.
  const folder = ((config ?? model)?.name ?? "").replace(/[^/]*$/, "");
  const open = async (name: string) => {
    const file = files.find((f) => f.name === folder + name) ?? files.find((f) => f.name === last(name));
    if (file === undefined) return null;
    const { blob } = file;
    return once(name, async () => ({ name, size: blob.size, read: (start, end) => readBlob(blob, start, end, name), stored: () => true }));
  };
  if (model === undefined) return { kind: "folder", id, open };
  return { kind: "gguf", id, reader: (await open(model.name.slice(folder.length)))!, open };
}
