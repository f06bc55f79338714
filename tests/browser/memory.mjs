// Measures the memory that loading large models takes outside the GPU: generated checkpoints of published shapes,
// loaded through the built package in headless Chromium. `cargo xtask soak memory [shape …]`; memory.test.mjs runs a
// small one. Writes docs/evidence/memory.md and docs/evidence/memory-*.svg when given --record.

import { existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { installApp, root } from "./lib/app.mjs";
import { launchAlone, profile } from "./lib/chromium.mjs";
import { PAGE, WORKER, memory, sampled } from "./lib/measure.mjs";
import { plot } from "./lib/plot.mjs";
import { serve } from "./lib/server.mjs";
import { SHAPES, synthetic } from "./lib/shapes.mjs";

/** Maximum bytes of the wasm heap. */
export const HEAP = 256 * 2 ** 20;
/**
 * Maximum bytes in flight: cells and read-ahead of readers (pkg/src/sources/blocks.ts: 24 and 12 MiB, reads of two
 * blocks of 4 MiB; spare.ts: 16 MiB), and writes queued for the GPU (src/weights/load.rs: 64 MiB).
 */
export const IN_FLIGHT = (24 + 12 + 8 + 16 + 64) * 2 ** 20;

/** Serves the application and the shapes. */
export async function kitchen(names) {
  const app = installApp("memory-app");
  writeFileSync(join(app, "measured.js"), WORKER);
  const models = Object.fromEntries(names.map((name) => [`/${name}/`, synthetic(name)]));
  return serve({ "/app/": app, "/app/measured.html": { type: "text/html", body: PAGE }, ...models });
}

/** Loads a model in a separate browser with the profile `folder`, and generates a few tokens; returns samples, stages, sums. */
export async function measure(folder, server, name, options = {}) {
  const { mounts, requests } = server;
  const from = requests.length;
  const posted = async (path) => {
    for (;;) {
      const told = (path) => requests.slice(from).find((r) => r.path === path && r.posted !== undefined)?.posted;
      if (told("/failed") !== undefined) throw new Error(`${name}: ${told("/failed")}`);
      if (told(path) !== undefined) return JSON.parse(told(path));
      if (!browser.running()) throw new Error(`${name}: the browser ended before ${path}`);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  };
  delete mounts["/go"];
  const browser = launchAlone(folder, `${server.origin}/app/measured.html?${encodeURIComponent(JSON.stringify({ source: `/${name}/`, options }))}`);
  try {
    const estimate = await posted("/estimated");
    const before = memory();
    const [asked, sampler] = [requests.length, sampled()];
    mounts["/go"] = { type: "text/plain", body: "go" };
    const result = await posted("/measured");
    const processes = sampler.stop();
    const fetched = requests.slice(asked).filter((r) => r.path.endsWith(".safetensors"));
    return { name, options, estimate, before, ...result, processes, fetched: fetched.reduce((sum, r) => sum + r.sent, 0) };
  } finally {
    await browser.close();
  }
}

const high = (samples, of) => samples.reduce((most, s) => Math.max(most, of(s) ?? 0), 0);

/** The figures of a run. With a software adapter GPU buffers are in the GPU process, so they are subtracted. */
export function figures(run) {
  const during = run.processes.filter((s) => s.at <= run.loaded + 300);
  const rise = (kind) => high(during, (s) => s[kind]) - (run.before[kind] ?? 0);
  const others = Object.keys(run.before).filter((kind) => !kind.endsWith(" shared") && !["renderer", "gpu-process"].includes(kind));
  const on = Object.values(run.memory).reduce((a, b) => a + b);
  const last = run.told.filter((t) => t.at <= run.loaded + 50).at(-1);
  return {
    seconds: (run.loaded - run.began) / 1000, heap: high(run.told, (t) => t.heap), renderer: rise("renderer"),
    gpu: rise("gpu-process"), beyond: rise("gpu-process") - on, others: high(during, (s) => others.reduce((sum, k) => sum + (s[k] ?? 0), 0)) - others.reduce((sum, k) => sum + run.before[k], 0),
    shared: rise("renderer shared"), on, spent: last?.spent ?? {}, bytes: last?.bytes ?? {},
  };
}

/** Descriptions of the limits that a run exceeds. */
export function beyond(run) {
  const f = figures(run);
  const faults = [];
  const most = (what, bytes, limit) => bytes > limit && faults.push(`${what} ${mb(bytes)} MB, ${mb(limit)} MB at most`);
  most("wasm heap", f.heap, HEAP);
  most("host memory", f.renderer, HEAP + IN_FLIGHT);
  most("GPU bytes off the estimate by", Math.abs(run.estimate.gpuBytes - f.on), 0.05 * f.on);
  if (!run.finite) faults.push("logits that are no numbers");
  return faults;
}

const mb = (n) => (n / 1e6).toFixed(0);

function print(label, run) {
  const f = figures(run);
  console.log(`${label}: ${f.seconds.toFixed(1)} s, heap ${mb(f.heap)} MB, renderer +${mb(f.renderer)} MB (${mb(f.shared)} shared), GPU process +${mb(f.gpu)} MB (${mb(f.on)} on the GPU), others +${mb(f.others)} MB`);
  console.log(`  spent (s): ${Object.entries(f.spent).map(([k, v]) => `${k} ${(v / 1000).toFixed(1)}`).join(", ")}; uploaded ${mb(f.bytes.uploaded)} MB, ${mb(f.bytes.throughHeap)} MB of it from the heap; fetched ${mb(run.fetched)} MB`);
  console.log(`  estimate: GPU ${mb(run.estimate.gpuBytes)} MB, download ${mb(run.estimate.downloadBytes)} MB, host ${mb(run.estimate.peakHostBytes)} MB; context ${run.info.contextLength}; ${run.info.quantization}; ids ${run.ids}; finite ${run.finite}`);
  return f;
}

/** A plot of bytes over time, in addition to the browser's initial memory. */
function drawn(label, run) {
  const during = run.processes.filter((s) => s.at >= run.began && s.at <= run.loaded + 2000);
  const time = (at) => (at - run.began) / 1000;
  const rise = (kind) => during.map((s) => [time(s.at), ((s[kind] ?? 0) - (run.before[kind] ?? 0)) / 1e6]);
  const heap = run.told.filter((t) => t.at <= run.loaded + 2000).map((t) => [Math.max(0, time(t.at)), t.heap / 1e6]);
  return plot(`${run.name}, ${label}`, "seconds", "MB", [{ name: "renderer process", points: rise("renderer") }, { name: "wasm heap", points: heap }], { limits: [HEAP / 1e6] });
}

const HEAD = `# What a load takes outside the GPU

Checkpoints of published shapes, made where they are asked for and loaded as q4 through the built package in headless Chromium
on its software adapter: \`cargo xtask soak memory --record\` writes this file, and fails where the wasm heap takes more than 256 MiB, the
renderer more than 256 MiB and the bytes in flight (${IN_FLIGHT / 2 ** 20} MiB at most), or the GPU 5 % more or less than was estimated. Cold: over the
network into OPFS and onto the GPU. Warm: from OPFS, in a new browser. Process memory is the rise of the proportional set size over
the page before the load, in a browser that nothing is connected to: tools that are make pages keep a hundred megabytes of what
arrives. A software adapter keeps GPU buffers and compiled kernels in its GPU process: of it, buffers are taken off, and what a load of
a tiny model takes there and in the renderer is the first row. Of each checkpoint the last run is shown. Times are of a shared machine with two cores; stages overlap, so they do not add up.

| checkpoint | | weights MB | wasm heap MB | renderer MB | of it shared memory | GPU process less buffers MB | estimated host MB | GPU MB, held / estimated | fetched MB, really / estimated |
|---|---|---|---|---|---|---|---|---|---|
`;

const STAGES = `
Seconds: in all; with a request under way; hashing; reading and writing OPFS; in wasm (tables, tokenizer, repacking); in
\`writeBuffer\`; waiting for the GPU to take and quantise what was sent; with pipelines being built. Last: MB that were written to
the GPU from the wasm heap, of all.

| checkpoint | | all | network | hash | disk | wasm | upload | GPU | compile | through the heap |
|---|---|---|---|---|---|---|---|---|---|---|
`;

/** Writes docs/evidence/memory.md and its plots from the results in `target/memory`; results of other runs are kept. */
export function record(folder) {
  const runs = readdirSync(folder).filter((name) => name.endsWith(".json")).map((name) => [name.split(".").at(-2), JSON.parse(readFileSync(join(folder, name), "utf8"))]);
  const path = join(root, "docs/evidence/memory.md");
  const old = existsSync(path) ? readFileSync(path, "utf8").split("\n") : [];
  const measured = (line) => runs.some(([pass, run]) => [`${run.name} | ${pass} |`, `${run.name}, ${pass}:`, `![${run.name}, ${pass}]`].some((key) => line.includes(key)));
  const kept = (start) => old.filter((line) => line.startsWith(start) && !measured(line));
  const rows = kept("| ").filter((line) => !line.startsWith("| checkpoint "));
  const tables = { sizes: rows.filter((line) => line.split("|").length === 12), stages: rows.filter((line) => line.split("|").length === 13), faults: kept("- "), plots: kept("![") };
  for (const [pass, run] of runs) {
    const f = figures(run);
    tables.sizes.push(`| ${run.name} | ${pass} | ${mb(run.memory.weights)} | ${mb(f.heap)} | ${mb(f.renderer)} | ${mb(f.shared)} | ${mb(f.beyond)} | ${mb(run.estimate.peakHostBytes)} | ${mb(f.on)} / ${mb(run.estimate.gpuBytes)} | ${mb(run.fetched)} / ${mb(run.estimate.downloadBytes)} |`);
    const s = (name) => (f.spent[name] / 1000).toFixed(1);
    tables.stages.push(`| ${run.name} | ${pass} | ${f.seconds.toFixed(0)} | ${s("network")} | ${s("hash")} | ${s("disk")} | ${s("wasm")} | ${s("upload")} | ${s("gpu")} | ${s("compile")} | ${mb(f.bytes.throughHeap)} of ${mb(f.bytes.uploaded)} |`);
    tables.faults.push(...beyond(run).map((fault) => `- ${run.name}, ${pass}: ${fault}.`));
    if (run.name === "tiny") continue;
    const file = `memory-${run.name.toLowerCase().replace(/[^a-z0-9]+/g, "-")}-${pass}.svg`;
    writeFileSync(join(root, "docs/evidence", file), drawn(pass, run));
    tables.plots.push(`![${run.name}, ${pass}](${file})`);
  }
  const place = (line) => Object.keys(SHAPES).findIndex((name) => line.includes(`${name} |`) || line.includes(`${name}, `)) * 10 + ["cold", "warm", "unkept"].findIndex((pass) => new RegExp(`\\b${pass}\\b`).test(line));
  const lines = (name, between = "\n") => tables[name].sort((a, b) => place(a) - place(b)).join(between);
  const over = tables.faults.length > 0 ? `\nBeyond the limits:\n\n${lines("faults")}\n` : "";
  writeFileSync(path, `${HEAD}${lines("sizes")}\n${over}${STAGES}${lines("stages")}\n\n${lines("plots", "\n\n")}`.trimEnd() + "\n");
}

async function main(words) {
  const flag = (name) => words.includes(name);
  const names = words.filter((w) => !w.startsWith("--"));
  for (const name of names) if (!(name in SHAPES)) throw new Error(`no shape ${name}; there are ${Object.keys(SHAPES).join(", ")}`);
  if (names.length === 0) names.push(...Object.keys(SHAPES).filter((name) => name !== "tiny"));
  const server = await kitchen(names);
  let failed = 0;
  const folder = join(root, "target/memory");
  mkdirSync(folder, { recursive: true });
  try {
    for (const name of names) {
      const browser = profile();
      const options = { quantization: "q4", contextLength: 4096, ...(flag("--no-store") ? { cache: "none" } : {}) };
      for (const pass of flag("--no-store") ? ["unkept"] : ["cold", "warm"]) {
        const run = await measure(browser, server, name, options);
        writeFileSync(join(folder, `${name}.${pass}.json`), JSON.stringify(run));
        print(`${name}, ${pass}`, run);
        const faults = beyond(run);
        failed += faults.length;
        for (const fault of faults) console.log(`FAILED ${name}, ${pass}: ${fault}`);
      }
    }
  } finally {
    await server.close();
  }
  if (flag("--record")) record(folder);
  if (failed > 0) process.exit(1);
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) await main(process.argv.slice(2));
