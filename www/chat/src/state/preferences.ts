// The user's choices, applied to the document.

import { computed, effect, signal } from "@preact/signals";
import { preferred, speak } from "../i18n";
import type { Store } from "../data/store";
import { DEFAULT_SETTINGS } from "../data/store/defaults";
import type { Settings } from "../data/types";

/** What happens when a conversation no longer fits the model's context. */
export type Overflow = "stop" | "drop" | "summarise";

export class Preferences {
  readonly settings;

  constructor(
    readonly store: Store,
    first: Settings,
  ) {
    this.settings = signal(first);
    store.subscribe((event) => {
      if (event.kind === "settings") void store.settings().then((settings) => (this.settings.value = settings));
    });
    const asked = new URLSearchParams(location.search).get("lang");
    const language = computed(() =>
      asked !== null && this.settings.value.language === "auto" ? asked : this.settings.value.language,
    );
    effect(() => void speak(preferred(language.value)));
    effect(() => {
      const { theme } = this.settings.value;
      if (theme === "auto") delete document.documentElement.dataset["theme"];
      else document.documentElement.dataset["theme"] = theme;
    });
  }

  change(changed: Partial<Settings>): void {
    this.settings.value = { ...this.settings.value, ...changed };
    void this.store.putSettings(changed).catch(() => {});
  }

  /** Back to what they were at first. */
  reset(): void {
    this.change({ ...DEFAULT_SETTINGS, model: "", preset: "" });
  }

  /** A choice that has no field of its own. */
  other<T extends string | number | boolean>(name: string, otherwise: T): T {
    const value = this.settings.value.other[name];
    return typeof value === typeof otherwise ? (value as T) : otherwise;
  }

  setOther(name: string, value: string | number | boolean): void {
    this.change({ other: { ...this.settings.value.other, [name]: value } });
  }

  get overflow(): Overflow {
    const value = this.other<string>("overflow", "drop");
    return value === "stop" || value === "summarise" ? value : "drop";
  }
}
