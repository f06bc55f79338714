// What is stored on this device: the public `store`.

import { entries, readManifest, root } from "./storage/folder.js";
import { download } from "./load.js";
import type { LoadOptions, ModelSource, StoredModelInfo } from "./types.js";

interface Found extends StoredModelInfo {
  folder: string;
}

/** Models stored by this origin. Lists are empty where the browser keeps nothing. */
export const store = {
  /** Every model with at least one block here, the last used first. */
  async list(): Promise<StoredModelInfo[]> {
    return (await found()).map(({ folder: _, ...info }) => info);
  },

  /** Fetches a model's files without loading them: no GPU is needed. */
  download(source: ModelSource, options?: LoadOptions): Promise<void> {
    return download(source, options);
  },

  /** Removes what is stored under an id of the list; nothing where it is not there. */
  async delete(id: string): Promise<void> {
    const all = await root(false);
    for (const model of await found()) {
      if (model.id === id) await all?.removeEntry(model.folder, { recursive: true });
    }
  },

  /** Bytes this origin uses and may use, by the browser's estimate. */
  async usage(): Promise<{ used: number; quota: number; persisted: boolean }> {
    const storage = globalThis.navigator?.storage;
    const { usage = 0, quota = 0 } = (await storage?.estimate?.().catch(() => undefined)) ?? {};
    return { used: usage, quota, persisted: (await storage?.persisted?.().catch(() => false)) ?? false };
  },

  /** Asks the browser not to clear this origin's storage by itself; tells whether it agreed. */
  async persist(): Promise<boolean> {
    return (await globalThis.navigator?.storage?.persist?.().catch(() => false)) ?? false;
  },
};

async function found(): Promise<Found[]> {
  const all = await root(false);
  if (all === null) return [];
  const models: Found[] = [];
  for await (const [folder, handle] of all as unknown as AsyncIterable<[string, FileSystemHandle]>) {
    if (handle.kind !== "directory") continue;
    const directory = handle as FileSystemDirectoryHandle;
    const manifest = await readManifest(directory);
    if (manifest === null) continue;
    const files = await entries(directory);
    if (files.length === 0) continue;
    models.push({
      id: manifest.id,
      bytes: files.reduce((sum, file) => sum + file.bytes, 0),
      complete: manifest.complete,
      lastUsed: new Date(manifest.lastUsed),
      files: files.map((file) => file.name),
      folder,
    });
  }
  return models.sort((a, b) => b.lastUsed.getTime() - a.lastUsed.getTime());
}
