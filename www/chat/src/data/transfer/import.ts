// Imports a file of any known format.

import { decodeText } from "../attachments/decode";
import { DataError } from "../errors";
import { isChatGpt, readChatGpt } from "./chatgpt";
import { Checked } from "./checked";
import { isLlama, isLlamaLines, readLlama, readLlamaLines } from "./llama";
import { isMinke, readMinke } from "./minke";
import type { ImportFormat, Imported } from "./types";
import { isZip, unzip } from "./zip";

/** Bytes of a file. */
const LARGEST = 512 * 1024 * 1024;

/** Reads an export of this application, of ChatGPT (conversations.json, or the archive with it) or of llama.cpp's web UI (JSON, JSONL or
 *  ZIP), recognised by its contents. Rejects with "format", which says where, "size" or "encoding". Store the result by `Store.add`. */
export async function importFile(file: Blob): Promise<Imported> {
  const name = file instanceof File ? file.name : "";
  if (file.size > LARGEST) throw new DataError("size", { name, bytes: file.size, limit: LARGEST });
  const bytes = new Uint8Array(await file.arrayBuffer());
  if (!isZip(bytes)) return importText(decodeText(bytes, name));
  const files = await unzip(bytes, (entry) => /(\.jsonl|(^|\/)conversations[^/]*\.json)$/i.test(entry));
  if (files.length === 0)
    throw new DataError("format", { format: "zip", where: "", expected: "conversations.json or .jsonl files" });
  const parts = files.map((entry) => importText(decodeText(entry.bytes, entry.name), `${entry.name}: `));
  return {
    format: parts[0]!.format,
    conversations: parts.flatMap((part) => part.conversations),
    presets: parts.flatMap((part) => part.presets),
    skipped: parts.flatMap((part) => part.skipped),
  };
}

/** Reads a text; `where` begins the paths in errors. */
export function importText(text: string, where = ""): Imported {
  if (isLlamaLines(text)) return readLlamaLines(text, where);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new DataError(
      "format",
      { format: "unknown", where: where + String((cause as Error).message), expected: "JSON" },
      { cause },
    );
  }
  const checked = (format: ImportFormat) => new Checked(value, format, where);
  if (isMinke(value)) return readMinke(checked("minke"));
  if (isChatGpt(value)) return readChatGpt(checked("chatgpt"));
  if (isLlama(value)) return readLlama(checked("llama.cpp"));
  throw new DataError("format", { format: "unknown", where, expected: "an export of Minke, ChatGPT or llama.cpp" });
}
