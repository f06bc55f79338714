// What the tests of the store share: downloads in a page, and a look at what lies on the device.

import { createHash } from "node:crypto";
import { readFileSync, statSync } from "node:fs";
import { smollm } from "./app.mjs";

export const sha256 = (path) => createHash("sha256").update(readFileSync(path)).digest("hex");

/** A page of the application. */
export async function open(context, server) {
  const page = await context.newPage();
  page.on("pageerror", (error) => console.error("page:", error.message));
  await page.goto(`${server.origin}/app/`);
  await page.waitForFunction(() => document.title === "ready");
  return page;
}

/** Bytes of SmolLM2 that were asked for under `path` since request `from`. */
export function asked(server, path, from) {
  let bytes = 0;
  for (const { path: p, range } of server.requests.slice(from)) {
    if (p !== path) continue;
    const [, start, end] = /^bytes=(\d+)-(\d+)$/.exec(range);
    bytes += Math.min(Number(end) + 1, statSync(smollm).size) - Number(start);
  }
  return bytes;
}

/** Begins a download in the page. */
export const begin = (page, source = "/smol.gguf") => page.evaluate((source) => {
  window.done = minke.store.download(source).then(() => null, (e) => facts(e));
}, source);

/** How it ended: null, or the error's facts. */
export const ended = (page) => page.evaluate(() => window.done);

/** SHA-256 of what lies in the store under a file name, made in the page. */
export const storedHash = (page, name) => page.evaluate(async (name) => {
  const root = await (await navigator.storage.getDirectory()).getDirectoryHandle("minke");
  for await (const [, folder] of root) {
    const handle = await folder.getFileHandle(`${name}.data`).catch(() => null);
    if (handle === null) continue;
    const bytes = await (await handle.getFile()).arrayBuffer();
    const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
    return [...hash].map((b) => b.toString(16).padStart(2, "0")).join("");
  }
}, name);

/** Flips a bit of a stored file at each of some places. */
export const damage = (page, name, places, bit) => page.evaluate(async ([name, places, bit]) => {
  const root = await (await navigator.storage.getDirectory()).getDirectoryHandle("minke");
  for await (const [, folder] of root) {
    const handle = await folder.getFileHandle(`${name}.data`).catch(() => null);
    if (handle === null) continue;
    const file = await handle.getFile();
    const writable = await handle.createWritable({ keepExistingData: true });
    for (const at of places) {
      const [byte] = new Uint8Array(await file.slice(at, at + 1).arrayBuffer());
      await writable.write({ type: "write", position: at, data: new Uint8Array([byte ^ bit]) });
    }
    await writable.close();
  }
}, [name, places, bit]);
