// Files as text.

import type { Attachment } from "../types";

export interface AttachmentLimits {
  /** Of the file. */
  bytes: number;
  /** Of its text. */
  characters: number;
  /** Of a PDF. */
  pages: number;
}

export const LIMITS: AttachmentLimits = { bytes: 32 * 1024 * 1024, characters: 2_000_000, pages: 1000 };

/** For the `accept` attribute of a file input. */
export const ACCEPT = ".txt,.md,.csv,.json,.html,.pdf";

/** The text of a file. Rejects with "kind", "size", "encoding" or "unreadable". Nothing is fetched, whatever the file says. */
export async function readAttachment(_file: File, _limits: Partial<AttachmentLimits> = {}, _signal?: AbortSignal): Promise<Attachment> {
  throw new Error("not written yet");
}

/** How the text of attachments is given to a model: each in a fence with its name, before the message. */
export function withAttachments(_text: string, _attachments: readonly Attachment[] | undefined): string {
  throw new Error("not written yet");
}
