// Prompt shortcuts: short texts by name. The user's own are stored as presets are, and so encrypted and exported with
// them.

import { computed, signal } from "@preact/signals";
import { newId } from "../data/ids";
import type { Store } from "../data/store";
import type { Preset } from "../data/types";
import { t } from "../i18n";
import type { Preferences } from "./preferences";

export interface Prompt {
  id: string;
  /** What follows the "/". */
  name: string;
  /** With {text} where what was typed or selected goes. */
  text: string;
  /** "standard": as it comes with the page; "changed": the user's version of one that does. */
  kind: "own" | "standard" | "changed";
}

export type PromptProblem = "badName" | "taken" | "needText";

/** Ids of the presets that are prompt shortcuts begin with this. */
const PREFIX = "prompt:";
export const isPrompt = ({ id }: { id: string }): boolean => id.startsWith(PREFIX);
const PLACE = "{text}";

export class Prompts {
  readonly #own = signal<readonly Preset[]>([]);
  /** Whether those that come with the page are offered. */
  readonly standard = computed(() => this.preferences.settings.value.other["standardPrompts"] !== false);
  /** All that are offered, by name. */
  readonly all = computed((): readonly Prompt[] => {
    const own = new Map(this.#own.value.map((preset) => [preset.id, preset]));
    const known = t.value.settings.prompts.standard;
    const standard = this.standard.value ? known : [];
    const changed = new Set(known.map(({ id }) => PREFIX + id));
    return [
      ...standard
        .filter(({ id }) => !own.has(PREFIX + id))
        .map(({ id, ...rest }): Prompt => ({ id: PREFIX + id, ...rest, kind: "standard" })),
      ...[...own.values()].map(({ id, name, system }): Prompt => ({
        id,
        name,
        text: system,
        kind: changed.has(id) ? "changed" : "own",
      })),
    ].sort((a, b) => a.name.localeCompare(b.name));
  });
  /** The one that is being edited. */
  readonly editing = signal<Prompt | undefined>(undefined);

  constructor(
    readonly store: Store,
    readonly preferences: Preferences,
  ) {
    store.subscribe((event) => {
      if (event.kind === "presets" || event.kind === "protection") void this.refresh().catch(() => {});
    });
  }

  async refresh(): Promise<void> {
    if (this.store.locked) {
      this.#own.value = [];
      this.editing.value = undefined;
    } else this.#own.value = (await this.store.presets()).filter(isPrompt);
  }

  create(): Prompt {
    return { id: PREFIX + newId(), name: "", text: "", kind: "own" };
  }

  problem({ id, name, text }: Prompt): PromptProblem | undefined {
    if (!/^[\p{L}\p{N}-]+$/u.test(name)) return "badName";
    if (this.all.peek().some((other) => other.id !== id && other.name.toLowerCase() === name.toLowerCase()))
      return "taken";
    return text.trim() === "" ? "needText" : undefined;
  }

  async put({ id, name, text }: Prompt): Promise<void> {
    await this.store.putPreset({ id, name, system: text, sampling: {}, reasoning: "auto", updated: Date.now() });
    await this.refresh();
  }

  /** Deletes one; of one that comes with the page, the user's version. */
  async remove(id: string): Promise<void> {
    await this.store.removePreset(id);
    await this.refresh();
  }

  /** Those whose names begin so, or contain it. */
  find(begun: string): readonly Prompt[] {
    const sought = begun.toLowerCase();
    const at = ({ name }: Prompt) => name.toLowerCase().indexOf(sought);
    return this.all.value.filter((prompt) => at(prompt) >= 0).sort((a, b) => Number(at(a) > 0) - Number(at(b) > 0));
  }
}

/** A shortcut's text with what was typed or selected in its place, or after it. */
export function fill(prompt: string, typed: string): string {
  if (prompt.includes(PLACE)) return prompt.replaceAll(PLACE, () => typed);
  return typed === "" ? prompt : `${prompt.trimEnd()}\n\n${typed}`;
}
