// What is typed and not sent: stored while it changes, for each conversation.

import { computed, signal } from "@preact/signals";
import { LIMITS, readAttachment } from "../data/attachments/read";
import { withAttachments } from "../data/attachments/prompt";
import type { Store } from "../data/store";
import type { Attachment } from "../data/types";
import type { Models } from "./models";

/** Milliseconds without typing before a draft is stored, and its tokens counted. */
const REST = 300;
/** The draft of what is no conversation yet. */
const NEW = "new";

export class Draft {
  readonly text = signal("");
  readonly attachments = signal<readonly Attachment[]>([]);
  /** Files that are being read. */
  readonly reading = signal(0);
  readonly tokens = signal<number | undefined>(undefined);
  /** Tokens of each attachment. */
  readonly each = signal<ReadonlyMap<string, number>>(new Map());
  readonly empty = computed(() => this.text.value.trim() === "" && this.attachments.value.length === 0);
  #of = NEW;
  #ghost = false;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #counting = 0;

  constructor(
    readonly store: Store,
    readonly models: Models,
  ) {
    const now = () => void this.flush();
    addEventListener("pagehide", now);
    document.addEventListener("visibilitychange", () => document.visibilityState === "hidden" && now());
    models.model.subscribe(() => this.#count());
  }

  /** Shows the draft of a conversation; of new ones without an id. Those of ghosts are not stored. */
  async open(conversation: string | undefined, ghost: boolean): Promise<void> {
    await this.flush();
    this.#of = conversation ?? NEW;
    this.#ghost = ghost;
    const of = this.#of;
    const draft = ghost || this.store.locked ? undefined : await this.store.draft(of).catch(() => undefined);
    if (of !== this.#of) return;
    this.text.value = draft?.text ?? "";
    this.attachments.value = draft?.attachments ?? [];
    this.#count();
  }

  /** What is shown is kept, as the draft of a conversation that was none yet, or is none any more. */
  keepFor(conversation: string | undefined): void {
    const of = conversation ?? NEW;
    if (of === this.#of) return;
    void this.flush();
    this.#of = of;
    if (!this.empty.peek()) this.#changed();
  }

  write(text: string): void {
    this.text.value = text;
    this.#changed();
  }

  /** Attaches files. Rejects with what is wrong with the first one that cannot be; the others are attached all the same. */
  async attach(files: readonly File[]): Promise<void> {
    let failed: { error: unknown } | undefined;
    for (const file of files) {
      this.reading.value++;
      try {
        const read = await readAttachment(file, LIMITS);
        this.attachments.value = [...this.attachments.value, read];
        this.#changed();
      } catch (error) {
        failed ??= { error };
      } finally {
        this.reading.value--;
      }
    }
    if (failed) throw failed.error;
  }

  detach(id: string): void {
    this.attachments.value = this.attachments.value.filter((file) => file.id !== id);
    this.#changed();
  }

  /** Takes the draft, which is then empty. */
  take(): { text: string; attachments: Attachment[] } {
    const taken = { text: this.text.peek().trim(), attachments: [...this.attachments.peek()] };
    this.text.value = "";
    this.attachments.value = [];
    this.#changed();
    void this.flush();
    return taken;
  }

  /** Stores what is pending. */
  async flush(): Promise<void> {
    if (this.#timer === undefined) return;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#ghost || this.store.locked) return;
    const draft = { conversation: this.#of, text: this.text.peek(), attachments: [...this.attachments.peek()] };
    await this.store.putDraft(draft).catch(() => {}); // it stays on the page
  }

  #changed(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      void this.flush();
      this.#count();
    }, REST);
  }

  async #count(): Promise<void> {
    const model = this.models.model.peek();
    const run = ++this.#counting;
    if (model === undefined || this.empty.peek()) {
      this.tokens.value = undefined;
      return;
    }
    const length = async (text: string) => (await model.tokenizer.encode(text)).length;
    try {
      const each = new Map<string, number>();
      for (const file of this.attachments.peek())
        each.set(file.id, this.each.peek().get(file.id) ?? (await length(withAttachments("", [file]))));
      let total = await length(this.text.peek());
      for (const tokens of each.values()) total += tokens;
      if (run !== this.#counting) return;
      this.each.value = each;
      this.tokens.value = total;
    } catch {
      // The model was unloaded meanwhile.
    }
  }
}
