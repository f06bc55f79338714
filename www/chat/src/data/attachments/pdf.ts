// The text of a PDF, by PDF.js in its own worker; loaded when the first PDF is attached. Nothing is evaluated and nothing is fetched.

import { GlobalWorkerOptions, getDocument } from "pdfjs-dist";
import type { PDFDocumentProxy } from "pdfjs-dist";
import workerUrl from "pdfjs-dist/build/pdf.worker.min.mjs?url";
import { DataError } from "../errors";

GlobalWorkerOptions.workerSrc = workerUrl;

/** Reads a PDF. `most`: characters and pages at most. */
export async function pdfText(
  name: string,
  data: ArrayBuffer,
  most: { characters: number; pages: number },
  signal?: AbortSignal,
): Promise<{ title: string; text: string; pages: number }> {
  const task = getDocument({
    data,
    disableAutoFetch: true,
    disableStream: true,
    disableRange: true,
    isEvalSupported: false,
    useSystemFonts: false,
    disableFontFace: true,
    useWorkerFetch: false,
    stopAtErrors: false,
    enableXfa: false,
    verbosity: 0,
  } as Parameters<typeof getDocument>[0]);
  const stop = () => void task.destroy();
  signal?.addEventListener("abort", stop);
  try {
    const document = await task.promise.catch((cause: unknown) => {
      signal?.throwIfAborted();
      throw new DataError(
        "unreadable",
        { name, reason: (cause as Error).name === "PasswordException" ? "password" : "damaged" },
        { cause },
      );
    });
    return await read(document, name, most, signal);
  } finally {
    signal?.removeEventListener("abort", stop);
    await task.destroy();
  }
}

async function read(
  document: PDFDocumentProxy,
  name: string,
  most: { characters: number; pages: number },
  signal?: AbortSignal,
): Promise<{ title: string; text: string; pages: number }> {
  const pages = document.numPages;
  if (pages > most.pages) throw new DataError("size", { name, bytes: pages, limit: most.pages });
  const { info } = await document.getMetadata().catch(() => ({ info: {} }));
  const texts: string[] = [];
  let length = 0;
  for (let number = 1; number <= pages; number++) {
    signal?.throwIfAborted();
    const page = await document.getPage(number);
    const { items } = await page.getTextContent();
    const text = items
      .map((item) => ("str" in item ? item.str + (item.hasEOL ? "\n" : "") : ""))
      .join("")
      .trim();
    page.cleanup();
    length += text.length;
    if (length > most.characters) throw new DataError("size", { name, bytes: length, limit: most.characters });
    if (text !== "") texts.push(text);
  }
  const title = (info as { Title?: unknown }).Title;
  return { title: typeof title === "string" ? title.trim() : "", text: texts.join("\n\n"), pages };
}
