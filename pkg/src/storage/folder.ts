// The layout of stored models in the browser's private file system: one folder per model, named by a hash of its
// location, with `model.json` and for each file `<name>.data` and `<name>.journal`.

import { BLOCK, decodeJournal } from "./journal.js";

/** The contents of `model.json`. */
export interface Manifest {
  id: string;
  /** Milliseconds since 1970. */
  lastUsed: number;
  /** Names of files that the server does not have, which need not be requested when offline. */
  absent: string[];
  /** Keys of successful digest checks, by file name. */
  verified: Record<string, string>;
  /** Whether a load or download has been completed. */
  complete: boolean;
}

const ROOT = "minke";

/** What the name of a lock begins with; the name of the model's folder follows. */
const LOCK = "minke:";

/** The name of the lock under which a model's folder is written. */
export const lockName = (folder: string) => LOCK + folder;

/** The names of the folders that tabs and workers of this origin are writing to; none if the browser does not tell. */
export async function foldersInUse(): Promise<Set<string>> {
  const held = (await globalThis.navigator?.locks?.query().catch(() => undefined))?.held ?? [];
  const names = held.map(({ name }) => name ?? "").filter((name) => name.startsWith(LOCK));
  return new Set(names.map((name) => name.slice(LOCK.length)));
}

/** The folder of all models; null if the browser cannot store files: no OPFS, a private window, an insecure page. */
export async function root(create: boolean): Promise<FileSystemDirectoryHandle | null> {
  try {
    const top = await navigator.storage.getDirectory();
    return await top.getDirectoryHandle(ROOT, { create });
  } catch {
    return null;
  }
}

/** The name of a model's folder, from its storage key (see `storageKey`). */
export async function folderName(key: string): Promise<string> {
  const bytes = new TextEncoder().encode(key);
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return [...hash.subarray(0, 16)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** The names of the data and journal files of a model file. */
export function fileNames(name: string): { data: string; journal: string } {
  const safe = encodeURIComponent(name);
  return { data: `${safe}.data`, journal: `${safe}.journal` };
}

export async function readManifest(folder: FileSystemDirectoryHandle): Promise<Manifest | null> {
  try {
    const text = await (await (await folder.getFileHandle("model.json")).getFile()).text();
    const { id, lastUsed, absent, complete, verified } = JSON.parse(text);
    if (typeof id !== "string" || typeof lastUsed !== "number" || !Array.isArray(absent)) return null;
    return { id, lastUsed, absent, verified: verified ?? {}, complete: complete === true };
  } catch {
    return null;
  }
}

/** A stored file, as described by its journal. */
export interface Entry {
  name: string;
  size: number;
  bytes: number;
}

/** The files of a model's folder that have a readable journal. */
export async function entries(folder: FileSystemDirectoryHandle): Promise<Entry[]> {
  const found: Entry[] = [];
  for await (const [name, handle] of folder as unknown as AsyncIterable<[string, FileSystemHandle]>) {
    if (handle.kind !== "file" || !name.endsWith(".journal")) continue;
    try {
      const file = await (handle as FileSystemFileHandle).getFile();
      const journal = decodeJournal(new Uint8Array(await file.arrayBuffer()));
      if (journal === null) continue;
      const { size } = journal.identity;
      let bytes = 0;
      for (const index of journal.hashes.keys()) bytes += Math.min(BLOCK, size - index * BLOCK);
      found.push({ name: journal.identity.name, size, bytes });
    } catch {
      // the file is being deleted
    }
  }
  return found.sort((a, b) => a.name.localeCompare(b.name));
}
