// What imports give.

import type { Conversation, Message, Preset } from "../types";

export type ImportFormat = "minke" | "chatgpt" | "llama.cpp";

/** Something that was not imported. Everything else was. */
export interface Skipped {
  /** A path in the file: `[3].mapping.abc.message`. */
  where: string;
  reason: SkipReason;
  /** What it was, as the file calls it. */
  what?: string;
}

/** "empty": nothing to show; "hidden": marked as not to be shown; "media": images, sound, files; "orphan": its parent is not there, so that
 *  it was put below the root; "role": a speaker that is unknown here; "field": a part of a message that is not kept. */
export type SkipReason = "empty" | "hidden" | "media" | "orphan" | "role" | "field";

export interface Imported {
  format: ImportFormat;
  conversations: { conversation: Conversation; messages: Message[] }[];
  presets: Preset[];
  skipped: Skipped[];
}
