// Lists and deletes the models that are stored on this device.

import type { EvictableModel, StoredModelInfo } from "../types.js";
import { entries, readManifest, root } from "./folder.js";

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
  const held = (await navigator.locks?.query())?.held ?? [];
  const free = (await models()).filter(({ folder }) => !held.some((lock) => lock.name === `minke:${folder}`));
  return free.reverse().map(({ id, bytes, lastUsed }) => ({ id, bytes, lastUsed }));
}

/** Deletes the models with this id and returns their number. Rejects if one is being loaded. */
export async function remove(id: string): Promise<number> {
  const all = await root(false);
  const found = (await models()).filter((model) => model.id === id);
  for (const { folder } of found) await all?.removeEntry(folder, { recursive: true });
  return found.length;
}
