// Drafts, presets and settings.

import type { Draft, Preset, Settings } from "../types";
import type { Channel } from "./channel";
import { DEFAULT_SETTINGS } from "./defaults";
import type { Rows } from "./rows";
import type { Row } from "./schema";
import { sizeOf } from "./writes";

export class Personal {
  constructor(
    readonly rows: Rows,
    readonly channel: Channel,
  ) {}

  async draft(conversation: string): Promise<Draft | undefined> {
    const row = await this.rows.db.get("drafts", conversation);
    return row && this.rows.open("drafts", row);
  }

  async putDraft(draft: Draft): Promise<void> {
    const { conversation } = draft;
    const empty = draft.text === "" && draft.attachments.length === 0;
    await this.#putRow("drafts", conversation, empty ? undefined : draft);
    this.channel.emit({ kind: "draft", conversation });
  }

  async presets(): Promise<Preset[]> {
    const presets = await this.rows.openAll("presets", await this.rows.db.getAll("presets"));
    return presets.sort((a, b) => a.name.localeCompare(b.name));
  }

  async putPreset(preset: Preset): Promise<void> {
    await this.#putRow("presets", preset.id, preset);
    this.channel.emit({ kind: "presets" });
  }

  async removePreset(id: string): Promise<void> {
    await this.#putRow("presets", id, undefined);
    this.channel.emit({ kind: "presets" });
  }

  async settings(): Promise<Settings> {
    return { ...DEFAULT_SETTINGS, ...((await this.rows.db.get("meta", "settings")) as Partial<Settings> | undefined) };
  }

  async putSettings(changed: Partial<Settings>): Promise<Settings> {
    const settings = await this.rows.write(["meta"], async () => ({
      write: async (transaction) => {
        const store = transaction.objectStore("meta");
        const next = { ...((await store.get("settings")) as Partial<Settings> | undefined), ...changed };
        await store.put(next, "settings");
        return next;
      },
    }));
    this.channel.emit({ kind: "settings" });
    return { ...DEFAULT_SETTINGS, ...settings };
  }

  /** Stores a draft or a preset, or deletes it. */
  async #putRow(store: "drafts" | "presets", id: string, value: Draft | Preset | undefined): Promise<void> {
    await this.rows.write([store], async () => {
      const sealed =
        value && (await this.rows.seal<Draft | Preset, Row<Draft | Preset>>(store, { id, version: 0 }, value));
      return {
        bytes: () => sizeOf([value]),
        write: async (transaction) => {
          const target = transaction.objectStore(store);
          const version = ((await target.get(id))?.version ?? 0) + 1;
          if (sealed) await target.put({ ...sealed, version } as never);
          else await target.delete(id);
        },
      };
    });
  }
}
