// Attachments as a model sees them.

import { fence } from "../transfer/export";
import type { Attachment } from "../types";

/** How the text of attachments is given to a model: each in a fence with its name, before the message. */
export function withAttachments(text: string, attachments: readonly Attachment[] = []): string {
  const files = attachments.map(
    ({ name, text, kind, language }) =>
      `${name.replace(/[\r\n]+/g, " ")}:\n${fence(text, language ?? (kind === "text" || kind === "pdf" || kind === "html" ? "" : kind))}`,
  );
  return [...files, text].filter((part) => part !== "").join("\n\n");
}
