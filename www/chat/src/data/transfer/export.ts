// Exports: everything as JSON, one conversation as Markdown.

import type { Opened } from "../store";
import type { Message, Preset } from "../types";

/** The words of a Markdown export. */
export interface MarkdownStrings {
  user: string;
  assistant: string;
  tool: string;
  system: string;
  reasoning: string;
  attachment: string;
}

/** Conversations and presets in this application's format, of which docs/chat-format.md has the description. */
export async function exportJson(_conversations: AsyncIterable<Opened> | Iterable<Opened>, _presets?: readonly Preset[]): Promise<Blob> {
  throw new Error("not written yet");
}

/** A branch of a conversation as a document for people. */
export function exportMarkdown(_title: string, _path: readonly Message[], _strings: MarkdownStrings, _system?: string): string {
  throw new Error("not written yet");
}

/** A name for an exported file: the title, safe in every file system. */
export function fileName(_title: string, _extension: string): string {
  throw new Error("not written yet");
}
