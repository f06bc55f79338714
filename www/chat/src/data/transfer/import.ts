// Imports a file of any known format.

import type { Imported } from "./types";

/** Reads an export of this application, of ChatGPT (conversations.json) or of llama.cpp's web UI (JSON, JSONL or ZIP), recognised by its
 *  contents. Rejects with "format", which says where, or "size". Store the result by `Store.add`. */
export async function importFile(_file: Blob): Promise<Imported> {
  throw new Error("not written yet");
}
