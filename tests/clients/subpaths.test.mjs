// The sub-paths of the package, as its manifest declares them.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { test } from "node:test";

const here = dirname(fileURLToPath(import.meta.url));
const pkg = join(here, "../../pkg");
const manifest = JSON.parse(readFileSync(join(pkg, "package.json"), "utf8"));
const scripts = Object.entries(manifest.exports).filter(([, target]) => typeof target === "object");
const names = scripts.map(([path]) => join("minke", path)).filter((name) => name !== "minke/worker");

test("every script has types, and all files exist", () => {
  assert.ok(names.includes("minke/openai") && names.includes("minke/testing"));
  for (const [path, target] of Object.entries(manifest.exports)) {
    for (const file of typeof target === "string" ? [target] : Object.values(target)) assert.ok(existsSync(join(pkg, file)), `${path}: ${file}`);
    if (typeof target === "string") assert.doesNotMatch(target, /\.js$/, path);
    else assert.deepEqual(Object.keys(target), ["types", "default"], path);
  }
});

test("importing a sub-path under Node reads no global of browsers and changes none", () => {
  const program = `
    const before = Object.getOwnPropertyNames(globalThis).sort().join();
    const read = [];
    for (const name of ["navigator", "document", "window", "self", "location", "fetch", "Worker", "indexedDB", "localStorage", "caches", "WebAssembly"]) {
      const value = globalThis[name];
      Object.defineProperty(globalThis, name, { configurable: true, get() { if (/[/\\\\]pkg[/\\\\]dist[/\\\\]/.test(new Error().stack)) read.push(name); return value; } });
    }
    await import("@langchain/core/language_models/chat_models"); // it changes globals, which are its own
    const fixed = Object.getOwnPropertyNames(globalThis).sort().join();
    for (const name of ${JSON.stringify(names)}) await import(name);
    console.log(JSON.stringify({ read, same: fixed === Object.getOwnPropertyNames(globalThis).sort().join() }));
    setTimeout(() => { console.error("something keeps the process alive"); process.exit(1); }, 5000).unref();
  `;
  const said = execFileSync("node", ["--input-type=module", "-e", program], { cwd: here, encoding: "utf8" });
  assert.deepEqual(JSON.parse(said), { read: [], same: true });
});

test("a face that is not imported is not in a bundle", async () => {
  const { build } = await import(join(pkg, "node_modules/esbuild/lib/main.js"));
  const bundled = async (code) => {
    const { outputFiles } = await build({ stdin: { contents: code, resolveDir: here }, bundle: true, write: false, format: "esm", splitting: true, outdir: "out", minify: true, logLevel: "silent", external: ["*.wasm", "*/worker.js"] });
    return outputFiles.find((file) => file.path.endsWith("stdin.js")).text;
  };
  assert.equal((await bundled(`import { createFetch } from "minke/openai"; import { echoModel } from "minke/testing"; import { CreateMLCEngine } from "minke/webllm"; import { languageModel } from "minke/ai-sdk"; import { install } from "minke/prompt-api";`)).trim(), "");
  const openai = await bundled(`import { createFetch } from "minke/openai"; console.log(createFetch);`);
  assert.ok(openai.includes("chat.completion.chunk"));
  assert.ok(!openai.includes("opfs"), "the face of OpenAI's client does without the loader");
});
