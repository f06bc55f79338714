// Opens a location: provides the engine with the model's files.

import { networkFailure } from "../errors.js";
import { readBlob } from "../local.js";
import { beside, child, nameOf, type Location } from "../locate.js";
import type { Reader, Source } from "../wasm.js";
import { Pool } from "./blocks.js";
import { openHttp } from "./http.js";
import type { HttpContext } from "./requests.js";

/** A source that opens each file only once. */
export interface Opened {
  source: Source;
  /** Whether the bytes of the latest read were already stored on this device. */
  stored(): boolean;
}

/** Opens a location. Nothing is requested after the context's signal aborts; data that arrives is kept in its store. */
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
      file.catch(() => files.delete(name)); // the next call tries again
      files.set(name, file);
    }
    return file;
  };
  const source = await plain(location, context, once);
  return { source, stored: () => last };
}

type Once = (name: string, begin: () => Promise<Reader | null>) => Promise<Reader | null>;

const CONFIG = "config.json";

async function plain(location: Location, context: HttpContext, once: Once): Promise<Source> {
  if (location.kind === "files") return openFiles(location, once);
  const { id, url } = location;
  const { absences, names, store } = context;
  const pool = new Pool(context.ahead);
  const at = (address: string, name: string) => once(name, () => openHttp(address, name, context, pool));
  const absence = (name: string) => absences.get(name);
  if (location.kind === "gguf") {
    const name = nameOf(url);
    const reader = await at(url, name);
    if (reader !== null) return { kind: "gguf", id, reader, absence, open: (name) => at(beside(url, name), name) };
    throw absences.get(name) ?? networkFailure(url, "there is no such file (404)", { status: 404 });
  }
  // Files that a hub does not list need not be requested; files that every folder has need not wait for the list.
  const open = async (name: string) => {
    if (name === CONFIG || (await names)?.has(name) !== false) return at(child(url, name), name);
    store?.lacking.add(name);
    return null;
  };
  const { bare, file } = location;
  // A URL with parameters is more likely a file than a folder.
  if (bare !== undefined && (bare.includes("?") || (await open(CONFIG)) === null)) {
    const name = nameOf(bare);
    const reader = await at(bare, name);
    if (reader !== null && (await begins(reader)) === "GGUF") return { kind: "gguf", id, reader, absence, open: (name) => at(beside(bare, name), name) };
    if (reader !== null) await store?.missing(name);
    else if (bare.includes("?")) return { kind: "folder", id, open, absence: (missing) => absences.get(name) ?? absences.get(missing) };
  }
  return { kind: "folder", id, file, open, absence };
}

async function begins(reader: Reader): Promise<string> {
  return String.fromCharCode(...(await reader.read(0, Math.min(4, reader.size))));
}

/** Opens local files. The engine decides which of several files is the model; a single file is the model. */
async function openFiles({ id, files }: Extract<Location, { kind: "files" }>, once: Once): Promise<Source> {
  const last = (path: string) => path.split("/").at(-1)!;
  const folderOf = (path: string) => path.replace(/[^/]*$/, "");
  const named = (end: RegExp) => files.filter((f) => end.test(f.name)).sort((a, b) => a.name.split("/").length - b.name.split("/").length)[0];
  // The folder to which names are relative; files without a folder serve as files of any folder.
  const config = named(/\.safetensors$/) && named(/(^|\/)config\.json$/) ? named(/(^|\/)config\.json$/) : named(/(^|\/)minke\.json$/);
  let folder = folderOf((config ?? files[0])?.name ?? "");
  while (config === undefined && !files.every((f) => f.name.startsWith(folder))) folder = folderOf(folder.slice(0, -1));
  const open = async (name: string) => {
    const file = [folder + name, name, last(name)].map((name) => files.find((f) => f.name === name)).find((f) => f !== undefined);
    if (file === undefined) return null;
    const { blob } = file;
    return once(name, async () => ({ name, size: blob.size, read: (start, end) => readBlob(blob, start, end, name), stored: () => true }));
  };
  const names = files.map(({ name }) => (name.startsWith(folder) ? name.slice(folder.length) : name));
  const lone = names.length === 1 && !/\.(json|safetensors)$/.test(names[0]!) ? await open(names[0]!) : null;
  return lone === null ? { kind: "folder", id, open, names } : { kind: "gguf", id, reader: lone, open };
}
