// Keys for the whole application. The sheet of shortcuts lists this table.

import { useLayoutEffect } from "preact/hooks";
import type { App } from "./state/app";

export type ShortcutName =
  | "newChat"
  | "newGhost"
  | "search"
  | "sidebar"
  | "compose"
  | "previous"
  | "next"
  | "stop"
  | "copyLast"
  | "regenerate"
  | "editLast"
  | "models"
  | "sheet";

interface Shortcut {
  name: ShortcutName;
  /** As shown; "Mod" is Ctrl, or ⌘ on a Mac. */
  keys: readonly string[];
  matches(event: KeyboardEvent): boolean;
}

const mod = (event: KeyboardEvent) => (MAC ? event.metaKey && !event.ctrlKey : event.ctrlKey && !event.metaKey);
export const MAC = typeof navigator === "object" && /Mac|iPhone|iPad/.test(navigator.platform);
const letter = (key: string, shift: boolean) => (event: KeyboardEvent) =>
  mod(event) && event.shiftKey === shift && !event.altKey && event.key.toLowerCase() === key;
const plain = (key: string) => (event: KeyboardEvent) => !mod(event) && !event.altKey && event.key === key;

export const SHORTCUTS: readonly Shortcut[] = [
  { name: "newChat", keys: ["Mod", "Shift", "O"], matches: letter("o", true) },
  { name: "newGhost", keys: ["Mod", "Shift", "G"], matches: letter("g", true) },
  { name: "search", keys: ["Mod", "K"], matches: letter("k", false) },
  { name: "sidebar", keys: ["Mod", "B"], matches: letter("b", false) },
  { name: "models", keys: ["Mod", "Shift", "M"], matches: letter("m", true) },
  { name: "previous", keys: ["Alt", "↑"], matches: (event) => event.altKey && event.key === "ArrowUp" },
  { name: "next", keys: ["Alt", "↓"], matches: (event) => event.altKey && event.key === "ArrowDown" },
  { name: "copyLast", keys: ["Mod", "Shift", "C"], matches: letter("c", true) },
  { name: "regenerate", keys: ["Mod", "Shift", "E"], matches: letter("e", true) },
  { name: "stop", keys: ["Esc"], matches: plain("Escape") },
  { name: "compose", keys: ["/"], matches: plain("/") },
  { name: "editLast", keys: ["↑"], matches: plain("ArrowUp") },
  { name: "sheet", keys: ["?"], matches: plain("?") },
];

/** Those that are letters or signs of their own are left to fields, where they are typed. */
const TYPED: ReadonlySet<ShortcutName> = new Set(["compose", "sheet"]);

const typing = (target: EventTarget | null): target is HTMLElement =>
  target instanceof HTMLElement &&
  (target.isContentEditable ||
    target.matches("textarea, select, input:not([type=checkbox], [type=radio], [type=range])"));

export function useShortcuts(app: App, actions: Record<ShortcutName, (event: KeyboardEvent) => boolean | void>): void {
  useLayoutEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      if (
        event.defaultPrevented ||
        event.isComposing ||
        document.querySelector("dialog[open]") !== null ||
        app.store.locked
      )
        return;
      const found = SHORTCUTS.find((shortcut) => shortcut.matches(event));
      if (found === undefined || (TYPED.has(found.name) && typing(event.target))) return;
      // An action that returns false had nothing to do: the key keeps its meaning.
      if (actions[found.name](event) !== false) event.preventDefault();
    };
    document.addEventListener("keydown", onKey);
    return () => document.removeEventListener("keydown", onKey);
  });
}
