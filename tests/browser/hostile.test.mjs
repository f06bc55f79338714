// Runs every row of the malformed inputs through the package in Chromium: the same result as natively
// (`tests/hostile/table.rs` writes the files and results), quickly, within bounds, and a valid model loads and
// generates afterwards.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { absent, installApp, root } from "./lib/app.mjs";
import { chromiumPath, launch } from "./lib/chromium.mjs";
import { serve } from "./lib/server.mjs";

const folder = join(root, "target/hostile");
const manifest = join(folder, "manifest.json");
const skip = chromiumPath ? absent(manifest) && `${absent(manifest)} (cargo test --test hostile writes it)` : "Chromium: it is not installed";

/** Rows that only run in the page: the text to encode, and the maximum milliseconds. */
const INPUTS = {
  "T10 regex_redos": ["a".repeat(25) + "b", 100],
  "T25 input_a_100k": ["a".repeat(100_000), 1000],
};

test("hostile files end as natively, and a good model loads next", { skip, timeout: 400_000 }, async () => {
  const rows = JSON.parse(readFileSync(manifest, "utf8"));
  assert.ok(rows.length > 150, `${rows.length} rows`);
  const server = await serve({ "/app/": installApp(), "/hostile/": folder });
  const browser = await launch();
  try {
    const page = await browser.newPage();
    page.on("pageerror", (error) => console.error("page:", error.message));
    await page.addInitScript(() => {
      globalThis.heaps = [];
      const instantiate = WebAssembly.instantiate;
      WebAssembly.instantiate = async (...args) => {
        const made = await instantiate(...args);
        globalThis.heaps.push((made.instance ?? made).exports.memory);
        return made;
      };
    });
    await page.goto(`${server.origin}/app/`);
    await page.waitForFunction(() => document.title === "ready");
    await page.evaluate(async () => {
      globalThis.read = async (path) => new Uint8Array(await (await fetch(`/hostile/${path}`)).arrayBuffer());
      const good = ["config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"];
      globalThis.base = await Promise.all(good.map(async (name) => new File([await read(`good/${name}`)], name)));
      globalThis.tryRow = async ({ name, case: number, files: names }, input) => {
        // Templates are tested with a conversation, everything else without one.
        const prompt = name.startsWith("J") ? "Hi" : Uint32Array.of(1, 2);
        const files = await Promise.all(names.map(async (name) => new File([await read(`${number}/${name}`)], name)));
        const indexed = names.some((name) => name.endsWith(".index.json"));
        const rest = base.filter((file) => !names.includes(file.name) && !(indexed && file.name === "model.safetensors"));
        const source = names.some((name) => name.endsWith(".gguf")) ? files[0] : { files: [...rest, ...files] };
        const before = heaps.length;
        const started = performance.now();
        let model, error, generated, took;
        try {
          model = await minke.load(source, { worker: false, contextLength: 64, internal: { withoutSelfTest: true } });
        } catch (e) {
          error = e;
        }
        took = performance.now() - started;
        try {
          if (model && input) {
            const started = performance.now();
            const ids = await model.tokenizer.encode(input);
            generated = { encodeMs: performance.now() - started, ids: ids.length };
          }
          if (model) generated = { ...generated, tokens: (await model.generate(prompt, { maxOutputTokens: 2 })).ids.length };
        } catch (e) {
          error = e;
        }
        const heap = Math.max(0, ...heaps.slice(before).map((memory) => memory.buffer.byteLength));
        heaps.length = before;
        const loaded = model !== undefined;
        await model?.unload();
        return { loaded, generated, took, heap, error: error && { code: error.code, kind: error.detail?.kind, message: error.message, engine: error instanceof minke.EngineError } };
      };
      globalThis.polluted = () => ({}).hidden_size !== undefined || ({}).dtype !== undefined;
    });

    const failures = [];
    let slowest = 0, largest = 0, loaded = 0;
    for (const row of rows) {
      const [input, limit] = INPUTS[row.name] ?? [];
      const got = await page.evaluate(([row, input]) => tryRow(row, input), [row, input]);
      const end = got.error ? [got.error.code, got.error.kind ?? null] : ["accepted", null];
      // NaN weights load; the first step reports them.
      const wanted = row.name.startsWith("S49") ? ["non-finite", null] : [row.code, row.kind ?? null];
      const complain = (what) => failures.push(`${row.name}: ${what}`);
      if (end.join() !== wanted.join()) complain(`ended as ${end}, natively as ${wanted}: ${got.error?.message}`);
      if (got.error && !got.error.engine) complain("is no EngineError");
      if (!got.loaded && got.took > 1000) complain(`took ${got.took} ms`);
      if (got.heap > 64 * 2 ** 20) complain(`the heap grew to ${got.heap} bytes`);
      if (limit !== undefined && !(got.generated?.encodeMs < limit)) complain(`encoding took ${got.generated?.encodeMs} ms`);
      if (!got.loaded) slowest = Math.max(slowest, got.took);
      largest = Math.max(largest, got.heap);
      loaded += got.loaded ? 1 : 0;
    }
    console.log(`${rows.length} rows: ${loaded} loaded, the slowest refusal took ${slowest.toFixed(0)} ms, the largest heap was ${(largest / 2 ** 20).toFixed(1)} MiB`);
    assert.deepEqual(failures, []);
    assert.equal(await page.evaluate(() => polluted()), false, "Object.prototype is untouched");

    // Then in the same page: a valid model, a lone surrogate (T26), text added by a template (J29).
    const next = await page.evaluate(async () => {
      const model = await minke.load({ files: base }, { worker: false, contextLength: 64 });
      const same = async (a, b) => (await model.tokenizer.encode(a)).join() === (await model.tokenizer.encode(b)).join();
      const out = {
        tokens: (await model.generate("Hi", { maxOutputTokens: 3 })).ids.length,
        surrogate: await same("a\ud800b", "a\ufffdb"),
        shown: await model.tokenizer.applyChatTemplate([{ role: "user", content: "Hi" }]),
      };
      await model.unload();
      return out;
    });
    assert.deepEqual(next, { tokens: 3, surrogate: true, shown: "Hi" });
  } finally {
    await browser.close();
    await server.close();
  }
});
