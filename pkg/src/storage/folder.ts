// Where models lie in the browser's own file system: a folder each, named by a hash of where the model comes from, with
// `model.json` and for each file `<name>.data` and `<name>.journal`.

import { BLOCK, decodeJournal } from "./journal.js";

/** What `model.json` says. */
export interface Manifest {
  id: string;
  /** Milliseconds since 1970. */
  lastUsed: number;
  /** Names that the server does not have: known without asking when there is no network. */
  absent: string[];
  /** Files that were found to have a digest: what was found of which bytes. */
  verified: Record<string, string>;
  /** Whether a load or download has had all it needed. */
  complete: boolean;
}

const ROOT = "minke";

/** The folder of all models; null where the browser keeps nothing: no OPFS, a private window, an insecure page. */
export async function root(create: boolean): Promise<FileSystemDirectoryHandle | null> {
  try {
    const top = await navigator.storage.getDirectory();
    return await top.getDirectoryHandle(ROOT, { create });
  } catch {
    return null;
  }
}

/** The name of a model's folder, from its address without what changes from request to request: see `storageKey`. */
export async function folderName(key: string): Promise<string> {
  const bytes = new TextEncoder().encode(key);
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return [...hash.subarray(0, 16)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** File names of a published file. */
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

/** A stored file as its journal tells. */
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
      // a file that is being deleted
    }
  }
  return found.sort((a, b) => a.name.localeCompare(b.name));
}
