// Measures what a token costs outside the GPU: 28 layers of DeepSeek-R1-Distill-Qwen-1.5B's shape on a device that does
// no work. node benches/host.mjs [--quick]

import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { loadavg } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { Watch } from "./lib/processes.mjs";
import { open, root, visit } from "./lib/site.mjs";
import { spread } from "./lib/statistics.mjs";
import { serveShapes } from "./lib/synthetic.mjs";

const { values: options } = parseArgs({ options: { quick: { type: "boolean" } } });
const SHAPE = "DeepSeek-R1-Distill-Qwen-1.5B";
const TOKENS = options.quick ? 256 : 2048;
const ROUNDS = options.quick ? 2 : 9;
const text = (path) => readFileSync(join(root, path), "utf8");
const withoutGpu = text("benches/lib/without-gpu.js");
const worker = { type: "text/javascript", body: withoutGpu + text("pkg/dist/worker.js") };

const shapes = await serveShapes();
const server = await open({ "/minke/worker.js": worker });
const load = { source: `${shapes.origin}/${SHAPE}/`, contextLength: 4096, quantization: "q4", cache: "none", device: "gpu", internal: { withoutSelfTest: true } };
const prompt = { ids: [...Array(8).keys()] };
try {
  const calls = await counted();
  const onPage = await timed({ worker: false });
  const inWorker = await timed({});
  const result = { at: new Date().toISOString(), quick: options.quick ?? false, shape: SHAPE, tokens: TOKENS, calls, onPage, inWorker };
  mkdirSync(join(root, "target/bench"), { recursive: true });
  writeFileSync(join(root, "target/bench/host.json"), JSON.stringify(result, null, 1));
  console.log(`${calls.perToken.toFixed(1)} calls from wasm per token, ${calls.dispatches} dispatches: ${calls.perDispatch.toFixed(2)} per dispatch plus ${calls.besides.toFixed(0)} per token; submits queued after the awaited token: ${calls.behind}`);
  const µs = ({ min, median, max }) => `${median.toFixed(0)} µs (${min.toFixed(0)}–${max.toFixed(0)})`;
  console.log(`a token: ${µs(onPage.wall)} on the page's thread, ${µs(inWorker.wall)} in a worker; processor of page and worker: ${µs(inWorker.renderer)}`);
} finally {
  await server.close();
  await shapes.close();
}

/** Calls from wasm to JavaScript per token, by name: the difference between a long and a short generation. */
async function counted() {
  const { browser, page } = await visit(server, "minke.html", withoutGpu + text("benches/lib/count-imports.js"));
  try {
    await page.evaluate((load) => window.bench.load({ ...load, worker: false }), load);
    const of = (tokens) => page.evaluate(async ([prompt, tokens]) => {
      for (const name of Object.keys(imported)) delete imported[name];
      Object.assign(withoutGpu, { submits: 0, landed: 0, behind: {} });
      await window.bench.run(prompt, tokens);
      return { ...imported, behind: { ...withoutGpu.behind } };
    }, [prompt, tokens]);
    const [few, many] = [await of(16), await of(80)];
    const [{ behind: _, ...short }, { behind, ...long }] = [few, many];
    const byName = {};
    for (const name of Object.keys(long)) byName[name] = (long[name] - (short[name] ?? 0)) / 64;
    const perToken = Object.values(byName).reduce((a, b) => a + b, 0);
    const dispatches = byName.dispatchWorkgroups;
    if (dispatches === undefined) throw new Error(`no dispatch among ${Object.keys(byName)}`);
    // Calls per dispatch, and calls per token.
    const perDispatch = Object.values(byName).filter((n) => n >= dispatches / 2).reduce((a, b) => a + b, 0) / dispatches;
    const usual = Object.entries(behind).sort((a, b) => b[1] - a[1])[0][0];
    return { perToken, dispatches, perDispatch, besides: perToken - perDispatch * dispatches, behind: Number(usual), waits: behind, byName: Object.fromEntries(Object.entries(byName).filter(([, n]) => n > 0.01).sort((a, b) => b[1] - a[1])) };
  } finally {
    await browser.close();
  }
}

/** µs per token: wall-clock time, and CPU time of the renderer, which runs the page and its worker. */
async function timed(more) {
  const { browser, page } = await visit(server, "minke.html", withoutGpu);
  const watch = new Watch();
  try {
    await page.evaluate((load) => window.bench.load(load), { ...load, ...more });
    const rounds = [];
    for (let i = 0; i <= ROUNDS; i++) {
      const { start, end } = await page.evaluate(([prompt, tokens]) => window.bench.run(prompt, tokens), [prompt, TOKENS]);
      await new Promise((done) => setTimeout(done, 250));
      const µs = (of) => (watch.seconds(start, end, of) * 1e6) / TOKENS;
      // The first round is spent in the compilers of JavaScript and wasm.
      if (i > 0) rounds.push({ wall: ((end - start) * 1000) / TOKENS, renderer: µs("renderer"), gpuProcess: µs("gpu-process"), busy: loadavg()[0] });
    }
    const of = (key) => spread(rounds.map((r) => r[key]));
    return { wall: of("wall"), renderer: of("renderer"), gpuProcess: of("gpuProcess"), rounds };
  } finally {
    watch.stop();
    await browser.close();
  }
}
