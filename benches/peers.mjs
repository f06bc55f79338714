// Compares Minke with alternatives for web pages: the same model, prompts and token counts, one engine at a time in a
// fresh browser, alternating between engines. node benches/peers.mjs [--quick] [--rounds N] [--only "name;…"]
//
// A round of an engine: a browser without a cache, a load, a warm-up that is not counted, then prompts without common
// prefixes.

import { execFileSync, spawn } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { cpus, loadavg } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";
import { reference } from "../tests/browser/lib/app.mjs";
import { chromiumPath } from "../tests/browser/lib/chromium.mjs";
import { Watch } from "./lib/processes.mjs";
import { prompts, short } from "./lib/prompts.mjs";
import { modules, onnx, open, root, shipped, smollm, visit } from "./lib/site.mjs";
import { median } from "./lib/statistics.mjs";

const { values: options } = parseArgs({
  options: { quick: { type: "boolean" }, rounds: { type: "string" }, only: { type: "string" } },
});
const rounds = Number(options.rounds ?? (options.quick ? 1 : 3));
const DECODED = options.quick ? 8 : 32;
// Prompts of the last size are long: each engine gets one, in its first round, and those that would take minutes get none.
const SIZES = options.quick ? [128] : [128, 512, 1024, 4096];
const REPEATS = options.quick ? 1 : 2;
const MINKE = { "/minke/": join(root, "pkg/dist") };
const MODULES = { "/modules/": modules };

const transformers = (name, load, more) => ({ name, page: "transformers.html", load, files: MODULES, needs: [[join(modules, "@huggingface/transformers"), "npm ci in benches/"], [join(onnx, "onnx/model_q4.onnx"), "benches/export_onnx.py"]], ...more });
const wllama = (name, load, more) => ({ name, page: "wllama.html", load, files: MODULES, ...more, needs: [[join(modules, "@wllama/wllama"), "npm ci in benches/"]] });
const minke = (name, load, more) => ({ name, page: "minke.html", load: { contextLength: 8192, cache: "none", ...load }, files: MINKE, needs: [], ...more });
const llama = join(modules, "@node-llama-cpp/linux-x64");
const native = (threads) => ({ name: `llama.cpp, native, ${threads} thread${threads > 1 ? "s" : ""}`, native: threads, files: {}, needs: [[llama, "npm install --no-save @node-llama-cpp/linux-x64 in benches/, in node-llama-cpp's version"]] });
const ENGINES = [
  minke("Minke, processor, 2 threads", { device: "cpu", threads: 2 }),
  minke("Minke, processor, 1 thread", { device: "cpu", threads: 1 }),
  minke("Minke, processor, not isolated", { device: "cpu" }, { isolated: false }),
  minke("Minke, WebGPU", { device: "gpu", contextLength: 2048 }, { most: 1024 }),
  // A round takes minutes: this engine gets fewer rounds, and each prompt once.
  transformers("Transformers.js, WebGPU", { device: "webgpu", threads: 1 }, { slow: true, most: 1024 }),
  transformers("Transformers.js, wasm, 2 threads", { device: "wasm", threads: 2 }, { most: 1024 }),
  transformers("Transformers.js, wasm, 1 thread", { device: "wasm", threads: 1 }, { most: 1024 }),
  wllama("wllama, 2 threads", { threads: 2, gpuLayers: 0 }, { most: 1024 }),
  wllama("wllama, 1 thread", { threads: 1, gpuLayers: 0 }, { most: 1024 }),
  // Its own log says whether the request for the GPU was met.
  wllama("wllama, WebGPU asked for", { threads: 2, gpuLayers: 999 }, { most: 1024 }),
  // What the processor can do without a browser.
  native(2),
  native(1),
];

if (!existsSync(smollm)) throw new Error(`${smollm} is not here: \`cargo xtask setup\``);
const wanted = options.only?.split(";");
const engines = ENGINES.filter((engine) => {
  if (wanted !== undefined && !wanted.includes(engine.name)) return false;
  const missing = engine.needs.filter(([path]) => !existsSync(path));
  for (const [path, how] of missing) console.log(`SKIPPED: ${engine.name}: ${path.replace(root, "")} is missing (${how})`);
  return missing.length === 0;
});
const skipped = ENGINES.filter((e) => !engines.includes(e)).map((e) => e.name);

const server = await open();
const results = engines.map(({ name }) => ({ name, rounds: [], failures: [] }));
let judged;
try {
  const counts = rounds * REPEATS + 1;
  const { browser, page } = await visit(server, "minke.html");
  await page.evaluate(() => window.bench.load({ device: "cpu", contextLength: 256, cache: "none" }));
  const long = await prompts(page, SIZES, counts);
  const question = await short(page);
  await browser.close();

  for (let round = 0; round < rounds; round++) {
    for (const [i, engine] of engines.entries()) {
      if (engine.slow && round >= Math.max(1, rounds - 1)) continue;
      const began = Date.now();
      try {
        results[i].rounds.push(await measure(engine, round, long, question));
        const { load, prefill, decode } = results[i].rounds.at(-1);
        const rate = (runs) => (runs?.length > 0 ? median(runs.map((r) => r.rate)).toPrecision(3) : "–");
        console.log(`${engine.name}, round ${round + 1}: load ${load.seconds.toFixed(1)} s, prefill ${SIZES.map((n) => rate(prefill[n])).join(" / ")}, decode ${rate(decode.short)} / ${rate(decode[1024])} / ${rate(decode[4096])} tokens/s on ${results[i].rounds.at(-1).ranOn} (${((Date.now() - began) / 1000).toFixed(0)} s)`);
      } catch (error) {
        results[i].failures.push(String(error.message ?? error).slice(0, 500));
        console.log(`${engine.name}, round ${round + 1}: FAILED: ${results[i].failures.at(-1)}`);
      }
      save();
    }
  }
  judged = await judge(question);
  save();
} finally {
  await server.close();
}

/** One engine in a browser of its own. */
async function measure(engine, round, long, question) {
  const from = server.requests.length;
  const watch = new Watch();
  const { said, load, run: generate, close } = await begun(engine);
  try {
    const loaded = await load();
    const sizes = shipped(server, engine.files, from);
    const record = { ...loaded, said, busy: loadavg()[0], bytes: Object.values(sizes).reduce((a, b) => a + b, 0), sizes, prefill: {}, decode: {} };
    record.load = { seconds: (loaded.end - loaded.start) / 1000, cpu: watch.seconds(loaded.start, loaded.end) };
    const run = async (prompt, tokens, known = prompt.ids.length / 50) => {
      const result = await generate(prompt, tokens);
      if (result.tokens !== tokens) throw new Error(`${result.tokens} tokens for ${tokens}`);
      if (result.promptTokens !== prompt.ids.length || result.cached > known) throw new Error(`${result.promptTokens} tokens of a prompt of ${prompt.ids.length}, ${result.cached} known before`);
      record.ranOn = result.ranOn ?? record.ranOn;
      await new Promise((done) => setTimeout(done, 250)); // until the watch has sampled the end
      return result;
    };
    const prefilled = (prompt, { start, first }) => rates(watch, prompt.ids.length, start, first);
    const decoded = ({ first, end, tokens }) => rates(watch, tokens - 1, first, end);
    const repeats = engine.slow ? 1 : REPEATS;
    await run(long[128][long[128].length - 1], 4);
    for (const size of SIZES.filter((n) => n < 1024)) {
      record.prefill[size] = [];
      for (let i = 0; i < repeats; i++) {
        const prompt = long[size][round * REPEATS + i];
        record.prefill[size].push(prefilled(prompt, await run(prompt, 1)));
      }
    }
    record.decode.short = [];
    for (let i = 0; i < repeats; i++) {
      const result = await run(question, DECODED, Infinity); // its prefill is not measured
      record.decode.short.push(decoded(result));
      record.text = result.text;
      record.ids = result.ids;
    }
    for (const size of SIZES.filter((n) => n >= 1024 && n <= (engine.most ?? Infinity) && (n < 4096 || round === 0))) {
      const prompt = long[size][round * REPEATS];
      const result = await run(prompt, DECODED);
      record.prefill[size] = [prefilled(prompt, result)];
      record.decode[size] = [decoded(result)];
    }
    watch.stop();
    return { ...record, peakBytes: watch.peakBytes };
  } finally {
    watch.stop();
    await close();
  }
}

/** An engine that was started: in a browser, or as a program. */
async function begun(engine) {
  if (engine.native !== undefined) {
    const program = spawn(process.execPath, [join(root, "benches/native.mjs"), smollm, String(engine.native)], { stdio: ["pipe", "pipe", "inherit"] });
    const lines = createInterface({ input: program.stdout })[Symbol.asyncIterator]();
    const answer = async () => JSON.parse((await lines.next()).value);
    return {
      said: [],
      load: answer,
      run: ({ ids }, tokens) => (program.stdin.write(`${JSON.stringify({ ids, tokens })}\n`), answer()),
      close: async () => void program.kill(),
    };
  }
  const isolated = server.headers;
  if (engine.isolated === false) server.headers = {};
  const { browser, page, said } = await visit(server, engine.page).finally(() => (server.headers = isolated));
  return {
    said,
    load: () => page.evaluate((load) => window.bench.load(load), engine.load),
    run: (prompt, tokens) => page.evaluate(([prompt, tokens]) => window.bench.run(prompt, tokens), [prompt, tokens]),
    close: () => browser.close(),
  };
}

/** Tokens by second and by processor second of all the browser's processes. */
function rates(watch, tokens, from, to) {
  const cpu = watch.seconds(from, to);
  return { rate: (tokens / (to - from)) * 1000, perCpu: cpu > 0 ? tokens / cpu : NaN, cpuPerToken: cpu / tokens };
}

/** Judges each engine's answer to the short prompt: against transformers' ids in f32, and by the model's own log-probabilities. */
async function judge(question) {
  const golden = existsSync(reference) ? JSON.parse(readFileSync(reference, "utf8")).cases.find((c) => c.raw && c.prompt === question.text) : undefined;
  const { browser, page } = await visit(server, "minke.html");
  try {
    await page.evaluate(() => window.bench.load({ device: "cpu", contextLength: 256, cache: "none" }));
    const found = {};
    for (const { name, rounds } of results) {
      const { text } = rounds.at(-1) ?? {};
      if (text === undefined) continue;
      const ids = (await page.evaluate((text) => window.bench.tokenizer.encode(text), question.text + text)).slice(question.ids.length);
      const same = golden?.greedy_ids.findIndex((id, i) => id !== ids[i]);
      found[name] = {
        text, same: golden && (same === -1 ? golden.greedy_ids.length : same), of: golden && Math.min(golden.greedy_ids.length, ids.length),
        nats: await page.evaluate(([prompt, text]) => window.bench.judge(prompt, text), [question.text, text]),
      };
    }
    return found;
  } finally {
    await browser.close();
  }
}

function save() {
  const folder = join(root, "target/bench");
  mkdirSync(folder, { recursive: true });
  const machine = { cpu: cpus()[0].model, cores: cpus().length, chromium: execFileSync(chromiumPath, ["--version"], { encoding: "utf8" }).trim() };
  writeFileSync(join(folder, "peers.json"), JSON.stringify({ at: new Date().toISOString(), quick: options.quick ?? false, machine, decoded: DECODED, skipped, engines: results, judged }, null, 1));
}
