// Presets: a system prompt with how to sample.

import { signal } from "@preact/signals";
import { newId } from "../data/ids";
import type { Store } from "../data/store";
import type { Conversation, Preset, Settings } from "../data/types";
import { PresetForm } from "./preset-form";
import { isPrompt } from "./prompts";

/** What a preset is before the user makes one: the model's own ways. */
export const PLAIN: Preset = { id: "", name: "", system: "", sampling: {}, reasoning: "auto", updated: 0 };

export class Presets {
  readonly all = signal<readonly Preset[]>([]);

  /** What is being edited; it stays while other screens are shown. */
  readonly editing = signal<PresetForm | undefined>(undefined);

  constructor(readonly store: Store) {
    store.subscribe((event) => {
      if (event.kind === "presets" || event.kind === "protection") void this.refresh();
    });
  }

  async refresh(): Promise<void> {
    if (this.store.locked) {
      this.all.value = [];
      this.editing.value = undefined;
    } else this.all.value = (await this.store.presets()).filter((preset) => !isPrompt(preset));
  }

  /** That of a conversation, or the user's usual one, or the plain one. */
  of(conversation: Pick<Conversation, "preset">, settings: Settings): Preset {
    const id = conversation.preset ?? settings.preset;
    return this.all.value.find((preset) => preset.id === id) ?? PLAIN;
  }

  create(name: string): Preset {
    return { ...PLAIN, id: newId(), name, updated: Date.now() };
  }

  edit(preset: Preset, isNew = false): void {
    this.editing.value = new PresetForm(preset, isNew);
  }

  /** Stores a copy under another name. */
  async duplicate(preset: Preset, name: string): Promise<void> {
    await this.put({ ...structuredClone(preset), id: newId(), name });
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
