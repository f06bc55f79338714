// Bundles modules of the chat and opens them in Chromium, under the application's policy.

import { createRequire } from "node:module";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { serve } from "../../browser/lib/server.mjs";

export const root = fileURLToPath(new URL("../../../", import.meta.url));
export const sources = join(root, "www/chat/src");
const { build } = createRequire(join(root, "pkg/package.json"))("esbuild");

/** The policy of www/chat/index.html. */
export const CSP = [
  "default-src 'none'",
  "script-src 'self' 'wasm-unsafe-eval'",
  "worker-src 'self'",
  "style-src 'self'",
  "img-src 'self' data: blob:",
  "font-src 'self'",
  "manifest-src 'self'",
  "connect-src 'self' https://huggingface.co https://*.hf.co",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-src 'none'",
].join("; ");

/** As Vite does: `import url from "./file?url"` is the address of a copy of the file. */
const urls = {
  name: "urls",
  setup(builder) {
    builder.onResolve({ filter: /\?url$/ }, async ({ path, ...args }) => {
      const found = await builder.resolve(path.slice(0, -4), { kind: args.kind, resolveDir: args.resolveDir });
      return { path: found.path, namespace: "url" };
    });
    builder.onLoad({ filter: /.*/, namespace: "url" }, async ({ path }) => ({
      contents: await (await import("node:fs/promises")).readFile(path),
      loader: "file",
    }));
  },
};

async function bundle(entry, folder, options) {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  await build({
    stdin: { contents: entry, resolveDir: sources, loader: "ts" },
    bundle: true,
    format: "esm",
    outdir: folder,
    entryNames: "app",
    target: "es2022",
    plugins: [urls],
    logLevel: "warning",
    legalComments: "none",
    ...options,
  });
}

/** Bundles `entry`, TypeScript whose imports are relative to the chat's sources, for Node, and imports it. */
export async function importBundle(name, entry) {
  const folder = join(root, "target/chat-tests", name);
  await bundle(entry, folder, { platform: "node", outExtension: { ".js": ".mjs" } });
  return import(pathToFileURL(join(folder, "app.mjs")).href);
}

/** Bundles `entry` for a page and serves it: `origin/`, and `requests` as they came. The page's title is "ready" when it has run. */
export async function servePage(name, entry, { csp = CSP, css = "" } = {}) {
  const folder = join(root, "target/chat-tests", name);
  await bundle(`${entry}\ndocument.title = "ready";`, folder, { platform: "browser", splitting: true });
  const meta = csp ? `<meta http-equiv="Content-Security-Policy" content="${csp}">` : "";
  writeFileSync(join(folder, "app.css"), css);
  writeFileSync(
    join(folder, "index.html"),
    `<!doctype html><html lang="en"><meta charset="utf-8">${meta}<title>…</title><link rel="stylesheet" href="app.css"><link rel="icon" href="app.css"><body><main></main><script type="module" src="app.js"></script></body></html>`,
  );
  return serve({ "/": folder });
}

/** Opens a page and waits until it has run; errors in it are thrown by `page.check()`. */
export async function openPage(context, url) {
  const page = await context.newPage();
  const errors = [];
  page.on("pageerror", (error) => errors.push(error));
  page.check = () => {
    if (errors.length > 0) throw errors[0];
  };
  await page.goto(url);
  await page.waitForFunction(() => document.title === "ready");
  return page;
}
