// Shared by the tests of the store: downloads in a page, and inspection of stored files.

import { createHash } from "node:crypto";
import { readFileSync, statSync } from "node:fs";
import { smollm } from "./app.mjs";

export const sha256 = (path) => createHash("sha256").update(readFileSync(path)).digest("hex");

/** A page of the application. */
export async function open(context, server, path = "/app/") {
  const page = await context.newPage();
  page.on("pageerror", (error) => console.error("page:", error.message));
  await page.goto(`${server.origin}${path}`);
  await page.waitForFunction(() => document.title === "ready");
  return page;
}

/** Bytes of SmolLM2 that were requested under `path` since request `from`. */
export function asked(server, path, from) {
  let bytes = 0;
  for (const { path: p, range } of server.requests.slice(from)) {
    if (p !== path) continue;
    const [, start, end] = /^bytes=(\d+)-(\d+)$/.exec(range);
    bytes += Math.min(Number(end) + 1, statSync(smollm).size) - Number(start);
  }
  return bytes;
}

/** Bytes that were sent since request `from` for requests that `match` accepts. */
export const sent = (server, from, match) => server.requests.slice(from).filter(match).reduce((sum, r) => sum + r.sent, 0);

/** Starts a download in the page. */
export const begin = (page, source = "/smol.gguf", options = {}) => page.evaluate(([source, options]) => {
  window.done = minke.store.download(source, options).then(() => null, (e) => facts(e));
}, [source, options]);

/** The result of the download: null, or the error's facts. */
export const ended = (page) => page.evaluate(() => window.done);

/** SHA-256 of stored files by name, computed in the page. */
export const storedHashes = (page, names) => page.evaluate(async (names) => {
  const root = await (await navigator.storage.getDirectory()).getDirectoryHandle("minke");
  const found = {};
  for await (const [, folder] of root) {
    for (const name of names) {
      const handle = await folder.getFileHandle(`${name}.data`).catch(() => null);
      if (handle === null) continue;
      const bytes = await (await handle.getFile()).arrayBuffer();
      const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
      found[name] = [...hash].map((b) => b.toString(16).padStart(2, "0")).join("");
    }
  }
  return found;
}, names);

export const storedHash = async (page, name) => (await storedHashes(page, [name]))[name];

/** Deletes all stored models. */
export const clear = (page) => page.evaluate(async () => {
  for (const { id } of await minke.store.list()) await minke.store.delete(id);
});

/** Flips a bit of a stored file at each of the given offsets. */
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

/** Passes a fresh profile of the browser to `use`, and closes it afterwards. */
export async function profile(browser, use) {
  const context = await browser.newContext();
  try {
    return await use(context);
  } finally {
    await context.close();
  }
}
