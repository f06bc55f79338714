// Measures the cost of a decoded token by context length and by model size, in Chromium on the processor, with two threads.
// node benches/scaling.mjs [--quick]
//
// Contexts of one model are measured alternately, so that a busy minute affects all of them. Their prompts begin alike, so each is
// prefilled once.

import { mkdirSync, writeFileSync } from "node:fs";
import { loadavg } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { Watch } from "./lib/processes.mjs";
import { open, root, visit } from "./lib/site.mjs";
import { figures, spread } from "./lib/statistics.mjs";
import { SHAPES, serveShapes } from "./lib/synthetic.mjs";

const { values: options } = parseArgs({ options: { quick: { type: "boolean" } } });
const LARGEST = "DeepSeek-R1-Distill-Qwen-1.5B";
const CONTEXTS = options.quick ? [128, 4096] : [128, 512, 1024, 2048, 4096];
const ROUNDS = options.quick ? 1 : 3;

const shapes = await serveShapes();
const server = await open();
const models = [];
try {
  await measure("SmolLM2-135M", "/model.gguf", CONTEXTS, options.quick ? 4 : 16);
  for (const name of Object.keys(SHAPES).reverse()) {
    if (options.quick && name !== "0.13B") continue;
    await measure(name, `${shapes.origin}/${name}/`, name === LARGEST ? CONTEXTS : [128], name === LARGEST ? 4 : 8);
  }
} finally {
  await server.close();
  await shapes.close();
}

/** Generates tokens at each context length, alternately. */
async function measure(name, source, contexts, tokens) {
  const { browser, page } = await visit(server, "minke.html");
  const watch = new Watch();
  try {
    const load = { source, contextLength: Math.max(...contexts) + 64, quantization: "q4", cache: "none", device: "cpu", threads: 2 };
    const loaded = await page.evaluate((load) => window.bench.load(load), load);
    const prefill = {};
    const found = Object.fromEntries(contexts.map((n) => [n, []]));
    for (let round = -1; round < ROUNDS; round++) {
      for (const context of contexts) {
        const ids = Array.from({ length: context }, (_, i) => (i * 37) % 250);
        const result = await page.evaluate(([ids, tokens]) => window.bench.run({ ids }, tokens), [ids, tokens + 1]);
        if (round < 0) prefill[context] = ((context - result.cached) / (result.first - result.start)) * 1000;
        await new Promise((done) => setTimeout(done, 250));
        // Timed by the engine's clock, because noise may decode to no text before the end. The first round prefills and
        // warms up.
        const first = result.end - result.decodeMs;
        if (round >= 0) found[context].push({ wall: result.decodeMs / 1000 / tokens, cpu: watch.seconds(first, result.end) / tokens, busy: loadavg()[0] });
      }
    }
    const of = (key) => Object.fromEntries(contexts.map((n) => [n, spread(found[n].map((r) => r[key]))]));
    models.push({ name, tokens, parameters: loaded.info.parameters, weights: loaded.memory.weights, loadSeconds: (loaded.end - loaded.start) / 1000, prefill, wall: of("wall"), cpu: of("cpu"), peakBytes: watch.peakBytes });
    console.log(`${name}: ${contexts.map((n) => `${figures(models.at(-1).wall[n].median * 1000)} ms at ${n}`).join(", ")}; load ${models.at(-1).loadSeconds.toFixed(0)} s`);
  } catch (error) {
    models.push({ name, failure: String(error.message).slice(0, 500) });
    console.log(`${name}: FAILED: ${models.at(-1).failure}`);
  } finally {
    watch.stop();
    await browser.close();
  }
  mkdirSync(join(root, "target/bench"), { recursive: true });
  writeFileSync(join(root, "target/bench/scaling.json"), JSON.stringify({ at: new Date().toISOString(), quick: options.quick ?? false, models }, null, 1));
}
