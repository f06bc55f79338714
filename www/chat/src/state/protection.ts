// Encryption and the lock: what the store does, as signals, and what leaves memory when it is locked.

import { batch, effect, signal } from "@preact/signals";
import { deleteDB } from "idb";
import type { Protection as Kind, Store } from "../data/store";
import { t } from "../i18n";
import type { Chat } from "./chat";
import type { Draft } from "./draft";
import type { Library } from "./library";
import type { Preferences } from "./preferences";
import type { Ui } from "./ui";

/** Characters of a passphrase, at least. */
export const SHORTEST = 8;
/** Minutes to choose from; 0: never. */
export const LOCK_AFTER = [0, 1, 5, 15, 30, 60] as const;
/**
 * How long locking waits for answers to be stored, in milliseconds. What is not stored by then is once the store is
 * unlocked.
 */
const PATIENCE = 3_000;
/** How often to look whether the page is unused. Timers stop while a computer sleeps, the clock does not. */
const LOOK = 2_000;
/** Signs of use. */
const USE = ["pointerdown", "pointermove", "keydown", "wheel", "touchstart"] as const;

/** A change of the encryption that this tab makes. */
export interface Conversion {
  to: "encrypted" | "none";
  done: number;
  total: number;
}

export class Protection {
  readonly locked;
  readonly kind;
  /** While this tab encrypts or decrypts. */
  readonly converting = signal<Conversion | undefined>(undefined);
  #used = Date.now();

  constructor(
    readonly store: Store,
    readonly ui: Ui,
    readonly preferences: Preferences,
    readonly library: Library,
    readonly chat: Chat,
    readonly draft: Draft,
  ) {
    this.locked = signal(store.locked);
    this.kind = signal<Kind>(store.protection);
    store.subscribe((event) => {
      if (event.kind === "closed") {
        const { errors, common } = t.peek();
        ui.notify(errors.data.closed, {
          tone: "alarm",
          action: { label: common.reload, run: () => location.reload() },
        });
      }
      if (event.kind !== "protection") return;
      batch(() => {
        if (store.locked && !this.locked.peek()) this.#forget();
        this.kind.value = store.protection;
        this.locked.value = store.locked;
      });
    });
    this.#watch();
  }

  async encrypt(passphrase: string): Promise<void> {
    await this.#convert("encrypted", (onProgress) => this.store.encrypt(passphrase, onProgress));
  }

  async decrypt(passphrase: string): Promise<void> {
    await this.#convert("none", (onProgress) => this.store.decrypt(passphrase, onProgress));
  }

  async #convert(
    to: Conversion["to"],
    run: (onProgress: (done: number, total: number) => void) => Promise<void>,
  ): Promise<void> {
    try {
      await run((done, total) => (this.converting.value = { to, done, total }));
    } finally {
      this.converting.value = undefined;
    }
  }

  changePassphrase(from: string, to: string): Promise<void> {
    return this.store.changePassphrase(from, to);
  }

  async unlock(passphrase: string): Promise<void> {
    await this.store.unlock(passphrase);
    this.#used = Date.now();
  }

  /**
   * Stores what is pending, and forgets the key; `everywhere`: in all tabs. Answers that are being written are stopped.
   */
  async lock(everywhere = true): Promise<void> {
    if (this.store.protection === "none") return;
    await Promise.race([this.settle(), new Promise((resolve) => setTimeout(resolve, PATIENCE))]);
    this.store.lock(everywhere);
  }

  /** Stops all answers; resolves when they and the draft are stored. */
  async settle(): Promise<void> {
    const ghosts = new Set(this.library.ghosts.peek().map(({ id }) => id));
    const stored = [...this.chat.lives.peek()].filter(([id]) => !ghosts.has(id)).map(([id]) => this.#stored(id));
    for (const live of this.chat.lives.peek().values()) live.stop();
    await Promise.all([...stored, this.draft.flush()]);
  }

  /** Resolves when the answer of a conversation has ended and is stored. */
  #stored(id: string): Promise<void> {
    const { lives } = this.chat;
    return new Promise((resolve) => {
      const end = this.store.subscribe((event) => {
        // The final write of an answer is the first one that tells of its conversation after it ended.
        if (event.kind !== "conversations" || !event.ids.includes(id) || lives.peek().has(id)) return;
        end();
        resolve();
      });
    });
  }

  /**
   * Deletes the database, with the encryption that nobody can undo any more. `onBlocked`: it waits for another tab to be
   * closed.
   */
  async startAfresh(onBlocked: () => void): Promise<void> {
    this.store.close();
    await deleteDB(this.store.name, { blocked: onBlocked });
    history.replaceState(null, "", "#/");
    location.reload();
  }

  /** What the page shows or holds of conversations. The library, the presets and the conversation go by themselves. */
  #forget(): void {
    const { ui, library, chat } = this;
    // Of another tab that locked this one, too. They are stored once this tab is unlocked.
    for (const live of chat.lives.peek().values()) live.stop();
    const question = ui.question.peek();
    ui.dialog.value = undefined;
    ui.question.value = undefined;
    if (question?.kind === "confirm") question.answer(false);
    else question?.answer(undefined);
    ui.notices.value = [];
    ui.drawer.value = false;
    library.folder.value = undefined;
    library.tag.value = undefined;
    void library.search("");
  }

  #watch(): void {
    const use = () => (this.#used = Date.now());
    for (const type of USE) addEventListener(type, use, { passive: true, capture: true });
    const look = () => {
      const minutes = this.preferences.settings.peek().lockAfter;
      if (this.store.locked || this.converting.peek() !== undefined) return;
      // To wait for an answer is a use of the page.
      if (this.chat.lives.peek().size > 0) use();
      // Another tab may be in use.
      else if (Date.now() - this.#used >= minutes * 60_000) void this.lock(false);
    };
    let timer: ReturnType<typeof setInterval> | undefined;
    effect(() => {
      clearInterval(timer);
      timer = undefined;
      if (this.preferences.settings.value.lockAfter === 0 || this.kind.value === "none" || this.locked.value) return;
      use();
      timer = setInterval(look, LOOK);
    });
    // A computer that wakes up shows nothing before this.
    document.addEventListener("visibilitychange", () => timer !== undefined && look());
  }
}

/**
 * How hard a passphrase is to guess, roughly: 0 to 3. Counts characters, and discounts what repeats or goes on like abc.
 */
export function strength(passphrase: string): 0 | 1 | 2 | 3 {
  const characters = [...passphrase];
  const kinds: [RegExp, number][] = [
    [/\p{Ll}/u, 26],
    [/\p{Lu}/u, 26],
    [/\d/, 10],
    [/[^\p{L}\d]/u, 20],
  ];
  const pool = kinds.reduce((sum, [kind, size]) => sum + (kind.test(passphrase) ? size : 0), 0);
  let counted = 0;
  for (const [i, character] of characters.entries()) {
    const step = (character.codePointAt(0) ?? 0) - (characters[i - 1]?.codePointAt(0) ?? NaN);
    counted += Math.abs(step) <= 1 ? 0.2 : characters.indexOf(character) < i ? 0.7 : 1;
  }
  // Words have fewer bits a character than letters drawn by chance.
  const bits = counted * Math.log2(Math.max(2, pool)) * 0.6;
  return bits < 25 ? 0 : bits < 40 ? 1 : bits < 50 ? 2 : 3;
}
