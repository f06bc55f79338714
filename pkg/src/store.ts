// The public `store`: the models that are stored on this device.

import { EngineError } from "./errors.js";
import { download } from "./load.js";
import { models, remove } from "./storage/index.js";
import type { LoadOptions, ModelSource, StoredModelInfo } from "./types.js";

/** Models stored by this origin. Lists are empty if the browser cannot store files. */
export const store = {
  /** All models with at least one stored block, the most recently used first. */
  async list(): Promise<StoredModelInfo[]> {
    return (await models()).map(({ folder: _, ...info }) => info);
  },

  /** Fetches a model's files without loading them: no GPU is needed. */
  download(source: ModelSource, options?: LoadOptions): Promise<void> {
    return download(source, options);
  },

  /** Deletes the models with an id of the list, if there are any. Rejects with `storage` while a page is loading one. */
  async delete(id: string): Promise<void> {
    try {
      await remove(id);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      throw new EngineError("storage", `${id}: it cannot be deleted while it is being loaded (${reason})`, { retryable: true, detail: { id, reason } });
    }
  },

  /** Bytes that this origin uses and may use, as estimated by the browser. */
  async usage(): Promise<{ used: number; quota: number; persisted: boolean }> {
    const storage = globalThis.navigator?.storage;
    const { usage = 0, quota = 0 } = (await storage?.estimate?.().catch(() => undefined)) ?? {};
    return { used: usage, quota, persisted: (await storage?.persisted?.().catch(() => false)) ?? false };
  },

  /** Asks the browser not to clear this origin's storage on its own; resolves to whether it agreed. */
  async persist(): Promise<boolean> {
    return (await globalThis.navigator?.storage?.persist?.().catch(() => false)) ?? false;
  },
};
