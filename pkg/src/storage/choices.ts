// Which variants of kernels loads found the fastest on this device: numbers of the engine's, beside the models. They are of one version of
// the browser, which has the compiler of the shaders and may bring another driver.

import { access, put } from "./file.js";
import { root } from "./folder.js";

const NAME = "choices.json";

/** The numbers; none if nothing was found out yet, undefined where nothing can be stored. */
export async function readChoices(): Promise<Uint32Array | undefined> {
  if (typeof FileSystemFileHandle === "undefined" || !("createSyncAccessHandle" in FileSystemFileHandle.prototype)) return undefined;
  try {
    const file = await (await (await root(false))!.getFileHandle(NAME)).getFile();
    const [browser, ...choices] = JSON.parse(await file.text());
    return Uint32Array.from(browser === navigator.userAgent ? choices : []);
  } catch {
    return new Uint32Array(0);
  }
}

/** Keeps the numbers, if there is room: what is lost is found out again. */
export async function keepChoices(choices: Uint32Array): Promise<void> {
  try {
    const handle = await access(await (await root(true))!.getFileHandle(NAME, { create: true }));
    try {
      const bytes = new TextEncoder().encode(JSON.stringify([navigator.userAgent, ...choices]));
      handle.truncate(put(handle, bytes, 0) ? bytes.length : 0);
    } finally {
      handle.close();
    }
  } catch {
    // no room, or no store
  }
}
