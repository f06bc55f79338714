// The models that are kept on this device.

import { signal } from "@preact/signals";
import { store } from "minke";
import type { StoredModelInfo } from "minke";
import type { Tabs } from "./tabs";

export interface Usage {
  used: number;
  quota: number;
  persisted: boolean;
}

export class Stored {
  readonly list = signal<readonly StoredModelInfo[]>([]);
  readonly usage = signal<Usage | undefined>(undefined);
  /** Whether the list was read. */
  readonly known = signal(false);

  constructor(readonly tabs: () => Tabs) {}

  async refresh(): Promise<void> {
    const [list, usage] = await Promise.all([store.list().catch(() => []), store.usage()]);
    this.list.value = list;
    this.usage.value = usage;
    this.known.value = true;
  }

  of(id: string): StoredModelInfo | undefined {
    return this.list.value.find((model) => model.id === id);
  }

  /** Rejects with "storage" while a page is loading it. */
  async remove(id: string): Promise<void> {
    await store.delete(id);
    await this.refresh();
    this.tabs().changed();
  }

  /** Asks the browser to keep everything that this page stores. Resolves to whether it agreed. */
  async persist(): Promise<boolean> {
    const agreed = await store.persist();
    await this.refresh();
    return agreed;
  }
}
