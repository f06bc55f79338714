// What the interface shows apart from conversations: the screen, dialogs, notices.

import { signal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { explain } from "../ui/explain";

export type Screen = "chat" | "models" | "presets" | "settings" | "privacy";
const SCREENS: readonly Screen[] = ["chat", "models", "presets", "settings", "privacy"];

export interface Notice {
  readonly id: number;
  text: string;
  /** "alarm" is read out at once. */
  tone: "info" | "alarm";
  action?: { label: string; run(): void };
}

/** A question to the user, as a dialog. */
export type Question =
  | { kind: "confirm"; title: string; text: string; yes: string; danger: boolean; answer(yes: boolean): void }
  | { kind: "text"; title: string; label: string; value: string; answer(value: string | undefined): void };

/** Whether the address asks to store nothing: `?store=none`. Conversations are then gone when the page is closed. */
export const STORES_NOTHING = new URLSearchParams(location.search).get("store") === "none";

/** Milliseconds that a notice stays; longer with something to do. */
const STAYS = { plain: 6_000, action: 20_000 };

export class Ui {
  readonly screen = signal<Screen>("chat");
  /** The conversation that the address names; undefined: a new one. */
  readonly conversation = signal<string | undefined>(undefined);
  readonly notices = signal<readonly Notice[]>([]);
  readonly question = signal<Question | undefined>(undefined);
  /** A further dialog, drawn by whoever opened it. */
  readonly dialog = signal<((close: () => void) => ComponentChildren) | undefined>(undefined);
  /** Whether the list is open on narrow screens. */
  readonly drawer = signal(false);
  /** Whether there is a network, as far as the browser knows. */
  readonly online = signal(navigator.onLine);
  #lastNotice = 0;

  constructor() {
    this.#read();
    addEventListener("hashchange", () => this.#read());
    for (const type of ["online", "offline"]) addEventListener(type, () => (this.online.value = navigator.onLine));
  }

  /** Goes to a screen, or with an id to a conversation. */
  go(screen: Screen, conversation?: string): void {
    this.drawer.value = false;
    const hash = screen !== "chat" ? `#/${screen}` : conversation === undefined ? "#/" : `#/c/${conversation}`;
    if (location.hash === hash) this.#read();
    else location.hash = hash;
  }

  /** Changes the address to that of a conversation without leaving what is shown: it has its first message now. */
  stay(conversation: string): void {
    history.replaceState(null, "", `#/c/${conversation}`);
    this.conversation.value = conversation;
  }

  notify(text: string, { tone = "info", action }: Partial<Pick<Notice, "tone" | "action">> = {}): () => void {
    const notice: Notice = { id: ++this.#lastNotice, text, tone, ...(action && { action }) };
    const end = () => (this.notices.value = this.notices.value.filter(({ id }) => id !== notice.id));
    // The same words again replace themselves.
    this.notices.value = [...this.notices.value.filter((other) => other.text !== text), notice].slice(-4);
    if (tone === "info") setTimeout(end, action ? STAYS.action : STAYS.plain);
    return end;
  }

  /** Says what went wrong. */
  fail(error: unknown): void {
    this.notify(explain(error).text, { tone: "alarm" });
  }

  confirm(title: string, text: string, yes: string, danger = false): Promise<boolean> {
    return new Promise((answer) => (this.question.value = { kind: "confirm", title, text, yes, danger, answer }));
  }

  /** Asks for a line of text. */
  ask(title: string, label: string, value = ""): Promise<string | undefined> {
    return new Promise((answer) => (this.question.value = { kind: "text", title, label, value, answer }));
  }

  open(dialog: (close: () => void) => ComponentChildren): void {
    this.dialog.value = dialog;
  }

  #read(): void {
    const [, first = "", second] = location.hash.split("/");
    this.screen.value = SCREENS.find((screen) => screen === first) ?? "chat";
    if (this.screen.value === "chat") this.conversation.value = first === "c" ? second : undefined;
  }
}
