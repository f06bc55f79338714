// Presets: a system prompt with how to sample.

import { signal } from "@preact/signals";
import { newId } from "../data/ids";
import type { Store } from "../data/store";
import type { Conversation, Preset, Settings } from "../data/types";

/** What a preset is before the user makes one: the model's own ways. */
export const PLAIN: Preset = { id: "", name: "", system: "", sampling: {}, reasoning: "auto", updated: 0 };

export class Presets {
  readonly all = signal<readonly Preset[]>([]);

  constructor(readonly store: Store) {
    store.subscribe((event) => {
      if (event.kind === "presets" || event.kind === "protection") void this.refresh();
    });
  }

  async refresh(): Promise<void> {
    this.all.value = this.store.locked ? [] : await this.store.presets();
  }

  /** That of a conversation, or the user's usual one, or the plain one. */
  of(conversation: Pick<Conversation, "preset">, settings: Settings): Preset {
    const id = conversation.preset ?? settings.preset;
    return this.all.value.find((preset) => preset.id === id) ?? PLAIN;
  }

  create(name: string): Preset {
    return { ...PLAIN, id: newId(), name, updated: Date.now() };
  }

  async put(preset: Preset): Promise<void> {
    await this.store.putPreset({ ...preset, updated: Date.now() });
    await this.refresh();
  }

  async remove(id: string): Promise<void> {
    await this.store.removePreset(id);
    await this.refresh();
  }
}
