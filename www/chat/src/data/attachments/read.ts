// Files as text.

import { DataError } from "../errors";
import { newId } from "../ids";
import type { Attachment } from "../types";
import { decodeText } from "./decode";
import { htmlText } from "./html";
import { kindOf } from "./kinds";

export { ACCEPT } from "./kinds";
export { withAttachments } from "./prompt";

export interface AttachmentLimits {
  /** Of the file. */
  bytes: number;
  /** Of its text. */
  characters: number;
  /** Of a PDF. */
  pages: number;
}

export const LIMITS: AttachmentLimits = { bytes: 32 * 1024 * 1024, characters: 2_000_000, pages: 1000 };

/** The text of a file. Rejects with "kind", "size", "encoding" or "unreadable". Nothing is fetched, whatever the file says. */
export async function readAttachment(
  file: File,
  limits: Partial<AttachmentLimits> = {},
  signal?: AbortSignal,
): Promise<Attachment> {
  const most = { ...LIMITS, ...limits };
  const { name, size: bytes } = file;
  const known = kindOf(name, file.type);
  if (known === undefined) throw new DataError("kind", { name, type: file.type });
  if (bytes > most.bytes) throw new DataError("size", { name, bytes, limit: most.bytes });
  const data = await file.arrayBuffer();
  signal?.throwIfAborted();
  const { title, text, ...more } =
    known.kind === "pdf"
      ? await (await import("./pdf")).pdfText(name, data, most, signal)
      : readText(known.kind, decodeText(new Uint8Array(data), name));
  if (text.trim() === "") throw new DataError("unreadable", { name, reason: "empty" });
  if (text.length > most.characters) throw new DataError("size", { name, bytes: text.length, limit: most.characters });
  return { id: newId(), name, ...known, title: title || name, text, bytes, ...more };
}

function readText(kind: Attachment["kind"], text: string): { title: string; text: string } {
  const lines = text.replace(/\r\n?/g, "\n");
  if (kind === "html") return htmlText(text);
  if (kind === "markdown") return { title: /^#[ \t]+(.+?)[ \t#]*$/m.exec(lines)?.[1] ?? "", text: lines };
  return { title: "", text: lines };
}
