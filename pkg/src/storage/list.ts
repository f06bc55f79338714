// Lists and deletes the models that are stored on this device.

import type { EvictableModel, StoredModelInfo } from "../types.js";
import { entries, folderName, foldersInUse, readManifest, root } from "./folder.js";

export interface Found extends StoredModelInfo {
  folder: string;
}

/** All models with at least one stored block, the most recently used first. */
export async function models(): Promise<Found[]> {
  const all = await root(false);
  if (all === null) return [];
  const found: Found[] = [];
  for await (const [folder, handle] of all as unknown as AsyncIterable<[string, FileSystemHandle]>) {
    if (handle.kind !== "directory") continue;
    const directory = handle as FileSystemDirectoryHandle;
    const manifest = await readManifest(directory);
    if (manifest === null) continue;
    const files = await entries(directory);
    if (files.length === 0) continue;
    found.push({
      id: manifest.id,
      bytes: files.reduce((sum, file) => sum + file.bytes, 0),
      complete: manifest.complete,
      lastUsed: new Date(manifest.lastUsed),
      files: files.map((file) => file.name),
      folder,
    });
  }
  return found.sort((a, b) => b.lastUsed.getTime() - a.lastUsed.getTime());
}

/** The models that are not being loaded, the least recently used first. */
export async function evictable(): Promise<EvictableModel[]> {
  const inUse = await foldersInUse();
  const free = (await models()).filter(({ folder }) => !inUse.has(folder));
  return free.reverse().map(({ id, bytes, lastUsed }) => ({ id, bytes, lastUsed }));
}

/** What this device has of one model. */
export interface Stored {
  /** Bytes that are stored. */
  bytes: number;
  /** Whether a load or download was completed. */
  complete: boolean;
  /** Whether a load or download is in progress. */
  loading: boolean;
}

/** What this device has of the model with a storage key. Never rejects: what cannot be read counts as missing. */
export async function lookUp(key: string): Promise<Stored> {
  const missing = { bytes: 0, complete: false, loading: false };
  const name = await folderName(key).catch(() => undefined);
  if (name === undefined) return missing;
  const loading = (await foldersInUse()).has(name);
  const folder = await (await root(false))?.getDirectoryHandle(name).catch(() => null);
  if (folder == null) return { ...missing, loading };
  const bytes = (await entries(folder)).reduce((sum, entry) => sum + entry.bytes, 0);
  return { bytes, complete: (await readManifest(folder))?.complete ?? false, loading };
}

/** Deletes the models with this id and returns their number. Rejects if one is being loaded. */
export async function remove(id: string): Promise<number> {
  const all = await root(false);
  const found = (await models()).filter((model) => model.id === id);
  for (const { folder } of found) await all?.removeEntry(folder, { recursive: true });
  return found.length;
}
