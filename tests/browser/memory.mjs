// What loading large models takes outside the GPU: checkpoints of true shapes, served as they are made, loaded through the
// built package in headless Chromium. `cargo xtask soak memory [shape …]`; memory.test.mjs plays a small one.
// Writes docs/memory.md and docs/memory-*.svg when given --record.

import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { installApp, root } from "./lib/app.mjs";
import { launchKept } from "./lib/chromium.mjs";
import { LISTENER, WORKER, memory, sampled } from "./lib/measure.mjs";
import { serve } from "./lib/server.mjs";
import { SHAPES, synthetic } from "./lib/synthetic.mjs";

/** Serves the application and the shapes. */
export async function kitchen(names) {
  const app = installApp();
  writeFileSync(join(app, "measured.js"), WORKER);
  const models = Object.fromEntries(names.map((name) => [`/${name}/`, synthetic(name)]));
  return serve({ "/app/": app, ...models });
}

/** Loads a model in a page and generates a few tokens: samples, stages, sums. */
export async function measure(context, server, name, options = {}) {
  const page = await context.newPage();
  page.on("pageerror", (error) => console.error("page:", error.message));
  await page.goto(`${server.origin}/app/`);
  await page.waitForFunction(() => document.title === "ready");
  await page.evaluate(LISTENER);
  const estimate = await page.evaluate(([source, options]) => minke.estimate(source, options), [`/${name}/`, options]);
  const before = memory();
  const [requests, sampler] = [server.requests.length, sampled()];
  const result = await page.evaluate(async ([source, options]) => {
    const stages = [];
    const began = performance.timeOrigin + performance.now();
    let last = "";
    const onProgress = ({ stage, loaded, total }) => {
      if (stage !== last) stages.push({ stage, at: performance.timeOrigin + performance.now() });
      last = stage;
      window.progress = `${stage} ${loaded} of ${total}`;
    };
    const model = await minke.load(source, { ...options, onProgress, worker: () => new Worker("measured.js") });
    const loaded = performance.timeOrigin + performance.now();
    const said = await model.generate(Uint32Array.of(5, 6, 7, 8), { maxOutputTokens: 4, temperature: 0 });
    const [row] = [await model.forward(Uint32Array.of(5, 6), { rows: "last" })];
    const kept = { info: model.info, memory: model.memory(), ids: [...said.ids], finite: row.every(Number.isFinite), began, loaded, stages };
    new BroadcastChannel("measured").postMessage("tell");
    await new Promise((resolve) => setTimeout(resolve, 300));
    await model.unload();
    return kept;
  }, [`/${name}/`, options]);
  const told = await page.evaluate(() => told);
  const processes = sampler.stop();
  await page.close();
  const fetched = server.requests.slice(requests).filter((r) => r.path.endsWith(".safetensors")).map((r) => /(\d+)-(\d+)/.exec(r.range));
  return { name, options, estimate, before, ...result, told, processes, fetched: fetched.reduce((sum, [, a, b]) => sum + Number(b) - Number(a) + 1, 0) };
}

const high = (samples, of) => samples.reduce((most, s) => Math.max(most, of(s) ?? 0), 0);

/** The figures of a run. Bytes of the GPU lie in the GPU process of a software adapter: they are taken off. */
export function figures(run) {
  const during = run.processes.filter((s) => s.at <= run.loaded + 300);
  const rise = (kind) => high(during, (s) => s[kind]) - (run.before[kind] ?? 0);
  const others = Object.keys(run.before).filter((kind) => !["renderer", "gpu-process"].includes(kind));
  const on = Object.values(run.memory).reduce((a, b) => a + b);
  const last = run.told.filter((t) => t.at <= run.loaded + 50).at(-1);
  return {
    seconds: (run.loaded - run.began) / 1000, heap: high(run.told, (t) => t.heap), renderer: rise("renderer"),
    gpu: rise("gpu-process"), beyond: rise("gpu-process") - on, others: high(during, (s) => others.reduce((sum, k) => sum + (s[k] ?? 0), 0)) - others.reduce((sum, k) => sum + run.before[k], 0),
    on, spent: last?.spent ?? {}, bytes: last?.bytes ?? {},
  };
}

const mb = (n) => (n / 1e6).toFixed(0);

function print(label, run) {
  const f = figures(run);
  console.log(`${label}: ${f.seconds.toFixed(1)} s, heap ${mb(f.heap)} MB, renderer +${mb(f.renderer)} MB, GPU process +${mb(f.gpu)} MB (${mb(f.on)} on the GPU), others +${mb(f.others)} MB`);
  console.log(`  spent (s): ${Object.entries(f.spent).map(([k, v]) => `${k} ${(v / 1000).toFixed(1)}`).join(", ")}; uploaded ${mb(f.bytes.uploaded)} MB, ${mb(f.bytes.throughHeap)} MB of it from the heap; fetched ${mb(run.fetched)} MB`);
  console.log(`  estimate: GPU ${mb(run.estimate.gpuBytes)} MB, download ${mb(run.estimate.downloadBytes)} MB, host ${mb(run.estimate.peakHostBytes)} MB; context ${run.info.contextLength}; ${run.info.quantization}; ids ${run.ids}; finite ${run.finite}`);
  return f;
}

async function main(words) {
  const flag = (name) => words.includes(name);
  const names = words.filter((w) => !w.startsWith("--"));
  for (const name of names) if (!(name in SHAPES)) throw new Error(`no shape ${name}; there are ${Object.keys(SHAPES).join(", ")}`);
  if (names.length === 0) names.push("DeepSeek-R1-Distill-Qwen-1.5B", "gemma-3-vocabulary");
  const server = await kitchen(names);
  const folder = join(root, "target/memory");
  mkdirSync(folder, { recursive: true });
  try {
    for (const name of names) {
      const context = await launchKept();
      const options = { quantization: "q4", contextLength: 4096, ...(flag("--no-store") ? { cache: "none" } : {}) };
      for (const pass of flag("--no-store") ? ["unkept"] : ["cold", "warm"]) {
        const run = await measure(context, server, name, options);
        writeFileSync(join(folder, `${name}.${pass}.json`), JSON.stringify(run));
        print(`${name}, ${pass}`, run);
      }
      await context.close();
    }
  } finally {
    await server.close();
  }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) await main(process.argv.slice(2));
