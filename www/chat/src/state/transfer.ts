// Export and import of conversations.

import { signal } from "@preact/signals";
import type { Store } from "../data/store";
import type { ImportFormat, Imported, SkipReason } from "../data/transfer/types";
import { isPrompt } from "./prompts";

/** What a file holds, as it is shown before anything is added. */
export interface Preview {
  file: string;
  format: ImportFormat;
  conversations: { id: string; title: string; messages: number; updated: number }[];
  presets: number;
  prompts: number;
  /** What is left out, by reason, with places in the file. */
  skipped: { reason: SkipReason; places: string[] }[];
}

/** What an import did. */
export interface Added {
  conversations: number;
  /** Conversations that were stored in the same state before. */
  known: number;
  presets: number;
}

export type ImportStep =
  | { kind: "idle" }
  | { kind: "reading"; file: string }
  | { kind: "preview"; preview: Preview }
  | { kind: "adding"; preview: Preview }
  | { kind: "done"; added: Added }
  | { kind: "failed"; file: string; error: unknown };

export class Importing {
  readonly step = signal<ImportStep>({ kind: "idle" });
  /** Ids of the conversations that are to be added. */
  readonly chosen = signal<ReadonlySet<string>>(new Set());
  #read: Imported | undefined;

  constructor(readonly store: Store) {}

  async read(file: File): Promise<void> {
    this.step.value = { kind: "reading", file: file.name };
    try {
      const { importFile } = await import("../data/transfer/import");
      this.#read = await importFile(file);
      const preview = previewOf(file.name, this.#read);
      this.chosen.value = new Set(preview.conversations.map(({ id }) => id));
      this.step.value = { kind: "preview", preview };
    } catch (error) {
      this.step.value = { kind: "failed", file: file.name, error };
    }
  }

  /** Adds what was chosen, and the presets. */
  async add(): Promise<void> {
    const { kind } = this.step.peek();
    if (kind !== "preview" || this.#read === undefined) return;
    const { preview } = this.step.peek() as { preview: Preview };
    this.step.value = { kind: "adding", preview };
    try {
      const chosen = this.#read.conversations.filter(({ conversation }) => this.chosen.peek().has(conversation.id));
      const before = new Set((await this.store.presets()).map(({ id }) => id));
      const added = await this.store.add(chosen, this.#read.presets);
      const presets = this.#read.presets.filter(({ id }) => !before.has(id)).length;
      this.#read = undefined;
      this.step.value = {
        kind: "done",
        added: { conversations: added.length, known: chosen.length - added.length, presets },
      };
    } catch (error) {
      this.step.value = { kind: "failed", file: preview.file, error };
    }
  }

  cancel(): void {
    this.#read = undefined;
    this.step.value = { kind: "idle" };
  }
}

export function previewOf(file: string, { format, conversations, presets, skipped }: Imported): Preview {
  const reasons = new Map<SkipReason, string[]>();
  for (const { where, reason, what } of skipped) {
    const places = reasons.get(reason) ?? [];
    places.push(what === undefined ? where : `${where} (${what})`);
    reasons.set(reason, places);
  }
  const prompts = presets.filter(isPrompt).length;
  return {
    file,
    format,
    conversations: conversations.map(({ conversation: { id, title, updated }, messages }) => ({
      id,
      title,
      updated,
      messages: messages.length,
    })),
    presets: presets.length - prompts,
    prompts,
    skipped: [...reasons].map(([reason, places]) => ({ reason, places })),
  };
}
