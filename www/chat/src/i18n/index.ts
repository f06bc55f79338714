// The language of the interface. A further one is a folder like `fr`, an entry of `LANGUAGES` and one of `load`.

import { computed, signal } from "@preact/signals";
import { en } from "./en";
import type { Strings } from "./en";
import { formatFor } from "./format";

export type { Strings } from "./en";

/** By code, with the name that its speakers call it by. */
export const LANGUAGES = { en: "English", fr: "Français" } as const;
export type Language = keyof typeof LANGUAGES;

const load: Record<Exclude<Language, "en">, () => Promise<Strings>> = {
  fr: async () => (await import("./fr")).fr,
};

const chosen = signal<{ code: Language; strings: Strings }>({ code: "en", strings: en });

/** The words of the interface. */
export const t = computed(() => chosen.value.strings);
export const language = computed(() => chosen.value.code);
/** Numbers and times in that language, as in the user's country if the browser names one for it. */
export const format = computed(() => {
  const { code } = chosen.value;
  return formatFor(navigator.languages.find((tag) => tag.toLowerCase().startsWith(`${code}-`)) ?? code);
});

/** The language to use: the one that was chosen, or the first known one of those that the browser asks for. */
export function preferred(setting: string): Language {
  const known = (code: string): code is Language => Object.hasOwn(LANGUAGES, code);
  if (known(setting)) return setting;
  return navigator.languages.map((tag) => tag.slice(0, 2).toLowerCase()).find(known) ?? "en";
}

/** Changes the language of the interface, and of the document. Without its file, which needs the network once, it stays as it is. */
export async function speak(code: Language): Promise<void> {
  if (code !== chosen.peek().code) {
    const strings = code === "en" ? en : await load[code]().catch(() => undefined);
    if (strings === undefined) return;
    chosen.value = { code, strings };
  }
  document.documentElement.lang = code;
}
