// Serves the bench's site (its pages, the built package, the other engines, the model's files) and opens it in a browser.

import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { root, smollm } from "../../tests/browser/lib/app.mjs";
import { chromiumPath, launch } from "../../tests/browser/lib/chromium.mjs";
import { serve } from "../../tests/browser/lib/server.mjs";

export { root, smollm };
export const modules = join(root, "benches/node_modules");
export const onnx = join(root, ".cache/onnx-smollm2");

/** Serves everything, and mounts `more`. Pages are cross-origin isolated, so that engines can use threads. */
export async function open(more = {}) {
  if (chromiumPath === undefined) throw new Error("Chromium is not installed: `cargo xtask setup`");
  if (!existsSync(join(root, "pkg/dist/index.js"))) throw new Error("pkg/dist is not built: `cargo xtask build`");
  const server = await serve({
    "/": join(root, "benches/pages"), "/minke/": join(root, "pkg/dist"), "/modules/": modules,
    "/model.gguf": smollm, "/onnx/smollm2/": onnx, "/read.wgsl": join(root, "benches/read.wgsl"), ...more,
  });
  server.headers = {
    "cross-origin-opener-policy": "same-origin", "cross-origin-embedder-policy": "require-corp", "cross-origin-resource-policy": "same-origin",
  };
  return server;
}

/** Opens a fresh browser with one page of the site, and waits for its script to be ready. */
export async function visit(server, path, script) {
  const browser = await launch();
  const page = await (await browser.newContext()).newPage();
  const said = [];
  page.on("pageerror", (error) => said.push(error.message));
  page.on("console", (message) => message.type() === "error" && said.push(message.text()));
  page.setDefaultTimeout(0);
  if (script !== undefined) await page.addInitScript(script);
  await page.goto(`${server.origin}/${path}`);
  await page.waitForFunction(() => window.bench !== undefined, undefined, { timeout: 60_000 }).catch(async (error) => {
    await browser.close();
    throw new Error(`${path} did not start: ${said.join("; ") || error.message}`);
  });
  return { browser, page, said };
}

/** Compressed bytes of the scripts and wasm that were fetched since request `from`, by path. */
export function shipped(server, mounts, from) {
  const paths = new Set(server.requests.slice(from).map((r) => r.path).filter((p) => /\.(m?js|wasm)$/.test(p)));
  const sizes = {};
  for (const path of paths) {
    const prefix = Object.keys(mounts).find((p) => path.startsWith(p));
    if (prefix === undefined) continue;
    const file = join(mounts[prefix], path.slice(prefix.length));
    if (existsSync(file)) sizes[path] = gzipSync(readFileSync(file), { level: 9 }).length;
  }
  return sizes;
}
