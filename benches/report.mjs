// Writes docs/evidence/bench.md and its plots from the results in target/bench. node benches/report.mjs

import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { bars, lines } from "./lib/plot.mjs";
import { root } from "./lib/site.mjs";
import { figures, spread } from "./lib/statistics.mjs";

const result = (name) => {
  const path = join(root, `target/bench/${name}.json`);
  return existsSync(path) ? JSON.parse(readFileSync(path, "utf8")) : undefined;
};
const plot = (name, svg) => {
  writeFileSync(join(root, `docs/evidence/bench-${name}.svg`), svg);
  return `![${name}](bench-${name}.svg)\n`;
};
const range = (s, of = figures) => (s === undefined ? "–" : s.runs > 1 ? `${of(s.median)} (${of(s.min)}–${of(s.max)})` : of(s.median));
const percent = (v) => `${(100 * v).toFixed(0)} %`;
const megabytes = (bytes) => (bytes / 1e6).toFixed(bytes < 1e8 ? 1 : 0);
const row = (cells) => `| ${cells.join(" | ")} |\n`;
const table = (head, rows) => row(head) + row(head.map(() => "---")) + rows.map(row).join("");
const when = ({ at, quick }) => `${at.slice(0, 10)}${quick ? ", a quick run: too few tokens and rounds to quote" : ""}`;

const peers = result("peers");
const parts = [intro(), peers && besides(peers), ceiling(result("ceiling"), result("native")), processor(result("processor")), host(result("host")), scaling(result("scaling"))];
writeFileSync(join(root, "docs/evidence/bench.md"), parts.filter(Boolean).join("\n"));
console.log("docs/evidence/bench.md is written");

function intro() {
  const machine = peers && `${peers.machine.cores} cores of ${peers.machine.cpu}, ${peers.machine.chromium.replace(/ built.*/, "")}`;
  return `# The bench

Written by \`cargo xtask bench --record\`. Counts that hold on every device are in [counts.md](counts.md) and are checked by a test; what
follows was measured on one machine${machine ? ` (${machine})` : ""}, which has no GPU: WebGPU there is SwiftShader, a rasteriser on the
processor. Such timings rank engines on that adapter and say nothing of a GPU. Figures by processor second hold on a busy machine;
figures by the clock do not. Medians, with the least and the greatest of all runs in brackets.
`;
}

function besides({ engines, judged, decoded, skipped, ...facts }) {
  const runs = (engine, kind, size, key) => spread(engine.rounds.flatMap((r) => r[kind][size] ?? []).map((r) => r[key]));
  const measured = engines.filter((e) => e.rounds.length > 0);
  const COLUMNS = [["prefill", 128], ["prefill", 512], ["prefill", 4096], ["decode", "short"], ["decode", 1024], ["decode", 4096]];
  const names = ["prefill, 128", "prefill, 512", "prefill, 4,096", "decode, short", "decode, after 1,024", "decode, after 4,096"];
  const rates = (key) => table(["engine", "ran on", ...names], measured.map((e) => [e.name, e.rounds.at(-1).ranOn, ...COLUMNS.map(([kind, size]) => range(runs(e, kind, size, key)))]));
  // Those that run on as many threads are set against each other.
  const own = measured.filter((e) => /^Minke, processor, \d/.test(e.name));
  const others = measured.filter((e) => !e.name.startsWith("Minke"));
  const threads = (e) => (/(\d) thread/.exec(e.name) ?? /(\d) thread/.exec(e.rounds.at(-1).ranOn))?.[1];
  const against = (e) => own.find((minke) => threads(minke) === threads(e)) ?? own[0];
  const ratio = (mine, theirs) => (mine && theirs ? range({ median: mine.median / theirs.median, min: mine.min / theirs.max, max: mine.max / theirs.min, runs: mine.runs + theirs.runs }) : "–");
  const ratios = (key) => table(["Minke to", "Minke's threads", ...names], others.map((e) => [e.name, threads(against(e)), ...COLUMNS.map(([kind, size]) => ratio(runs(against(e), kind, size, key), runs(e, kind, size, key)))]));
  const cost = table(["engine", "load, s", "load, processor s", "scripts and wasm, MB gzip", "peak memory, MB"], measured.map((e) => [
    e.name, range(spread(e.rounds.map((r) => r.load.seconds))), range(spread(e.rounds.map((r) => r.load.cpu))), megabytes(e.rounds.at(-1).bytes), range(spread(e.rounds.map((r) => r.peakBytes / 1e6)), (v) => v.toFixed(0)),
  ]));
  const texts = table(["engine", "same ids as transformers in f32", "nats per token", "text"], measured.map((e) => {
    const j = judged?.[e.name];
    return j ? [e.name, j.same === undefined ? "–" : `the first ${j.same} of ${j.of}`, j.nats.toFixed(2), JSON.stringify(j.text).replaceAll("|", "\\|")] : [e.name, "–", "–", "–"];
  }));
  const bar = (title, key, unit, name) => {
    const rows = measured.flatMap((e) => {
      const s = runs(e, "decode", "short", key);
      return s ? [{ label: e.name, ...s }] : [];
    });
    return rows.length > 0 ? plot(name, bars(title, unit, rows)) : "";
  };
  const failures = [...skipped.map((name) => `- ${name} was not measured.`), ...engines.flatMap((e) => e.failures.map((f) => `- ${e.name} failed: ${f}`))];
  return `## Beside other engines

SmolLM2-135M-Instruct, ${when(facts)}. A round of an engine is a fresh browser without a cache, a load from a server on the same machine, a
warm-up that is not counted (128 tokens, then 4 decoded), then prompts of which nothing can be reused: each starts elsewhere in
a licence's text. Engines take turns; one runs at a time. Everyone decodes ${decoded} tokens greedily and none may end early. Prefill is
to the first token; decode is from the first to the last. Pages are isolated, so that engines may have threads. Minke and wllama load
the same file (Q4_1, 98 MB), and so does llama.cpp (node-llama-cpp), which is no web page but what the processor can do; Transformers.js loads an export of the same weights in 4 bits (\`benches/export_onnx.py\`), quantised anew. Ran on:
what did the work, by the engine's own log or by the submits that the GPU's queue saw. Transformers.js on WebGPU takes minutes a
round and is given one round and repeat fewer.

Tokens a second, by the clock:

${rates("rate")}
Tokens for each processor second of all the browser's processes:

${rates("perCpu")}
${own.length > 0 ? `Minke's rate on the processor in terms of each other's, by the clock (above 1: Minke is faster; in brackets, the worst against the best and the reverse):\n\n${ratios("rate")}\nBy processor second:\n\n${ratios("perCpu")}` : ""}
${bar("Decode, tokens a second (logarithmic)", "rate", "tokens/s", "decode")}${bar("Decode, tokens for a processor second (logarithmic)", "perCpu", "tokens/CPU s", "decode-cpu")}
Costs. Peak memory is the proportional set size of all the browser's processes together, at most, seen every two seconds:

${cost}
What they wrote after "Once upon a time, in a small village by the sea,". Nats per token: what the model, as Minke runs it, thinks of the text; a
text that the model would not write has many. Engines that round weights or activations otherwise leave transformers' ids where two
tokens are nearly as likely, so a difference is no error by itself:

${texts}${failures.length > 0 ? `\n${failures.join("\n")}\n` : ""}`;
}

function ceiling(chromium, native) {
  if (!chromium && !native) return undefined;
  const rows = [];
  const best = (rounds, of) => spread(rounds.map(of));
  if (chromium) {
    const reads = (r, key) => Math.max(...r.reads.map((x) => x[key]).filter(Number.isFinite));
    rows.push(["Chromium, SwiftShader, by the clock", range(best(chromium.rounds, (r) => reads(r, "rate"))), range(best(chromium.rounds, (r) => r.decode.rate)), range(chromium.share, percent)]);
    rows.push(["Chromium, SwiftShader, by processor second", range(best(chromium.rounds, (r) => reads(r, "perCpu"))), range(best(chromium.rounds, (r) => r.decode.perCpu)), range(chromium.sharePerCpu, percent)]);
  }
  if (native) rows.push([`native, ${native.adapter}, by the clock`, range(best(native.rounds, (r) => r.ceiling)), range(best(native.rounds, (r) => r.rate)), range(native.share, percent)]);
  return `## Against the adapter's ceiling

SmolLM2's decode reads ${megabytes((chromium ?? native).weights)} MB of weights a token. \`benches/read.wgsl\` does nothing but read; the ceiling is its best of four ways (workgroups
of 16 to 256 threads, each with contiguous or interleaved ranges), alternated with decode${chromium ? ` (${when(chromium)})` : ""}.

${table(["adapter", "reads, GB/s", "decode, GB/s", "share"], rows)}`;
}

function processor(r) {
  if (!r) return undefined;
  const share = (value, ceiling) => `${figures(value)} (${percent(value / ceiling)})`;
  const rows = r.cases.map((c) => [
    c.name, share(c.bytes / c.seconds / 1e9, r.reads), figures(c.products / c.seconds / 1e9),
    ...(c.wasmSeconds ? [share(c.bytes / c.wasmSeconds / 1e9, r.wasm.reads), share(c.products / c.wasmSeconds / 1e9, r.wasm.multiplies)] : ["–", "–"]),
  ]);
  return `## The processor's kernels alone

On one thread, the least of some rounds${r.quick ? " (a quick run)" : ""}, natively and in WebAssembly (V8 in Node). A core reads ${figures(r.reads)} GB/s natively; in WebAssembly it reads
${r.wasm ? figures(r.wasm.reads) : "–"} GB/s and multiplies ${r.wasm ? figures(r.wasm.multiplies) : "–"} G pairs of 16-bit numbers a second (\`i32x4.dot_i16x8_s\` on registers). In brackets, the share of that: what is left is unpacking.
GB/s count the weights in their layouts, or the cache. By kernel in a whole model: \`cargo run --release --example step_times -- --cpu\`.

${table(["kernel", "native, GB/s", "native, G products/s", "wasm, GB/s", "wasm, G products/s"], rows)}`;
}

function host(r) {
  if (!r) return undefined;
  const calls = Object.entries(r.calls.byName).map(([name, n]) => `${name} ${n}`).join(", ");
  const µs = (s) => range(s, (v) => v.toFixed(0));
  return `## The host's share

${r.shape}'s shape (28 layers, ${r.calls.dispatches} dispatches) on a device that takes every call and does no work (${when(r)}): everything a token costs outside the
GPU, ${r.tokens} tokens a round.

- Calls from wasm to JavaScript: ${r.calls.perDispatch.toFixed(2)} per dispatch (at most 3) plus ${r.calls.besides.toFixed(0)} per token, ${r.calls.perToken.toFixed(0)} in all. By name: ${calls}.
- Submits queued after the one whose token is awaited: ${r.calls.behind}. The GPU does not wait for the host.
- µs a token (aim 1,000, stretch 500): ${µs(r.onPage.wall)} on the page's thread, ${µs(r.inWorker.wall)} with the engine in a worker and the page reading its stream.
- Processor time of page and worker together: ${µs(r.inWorker.renderer)} µs a token; of the browser's GPU process, which checks the commands: ${µs(r.inWorker.gpuProcess)} µs.
`;
}

function scaling(r) {
  if (!r) return undefined;
  const models = r.models.filter((m) => m.wall);
  const failed = r.models.filter((m) => m.failure).map((m) => `\n${m.name} failed: ${m.failure}\n`).join("");
  if (models.length === 0) return undefined;
  const first = (m) => Math.min(...Object.keys(m.wall).map(Number));
  const byContext = models.filter((m) => Object.keys(m.wall).length > 1);
  const relative = byContext.map((m) => ({ label: m.name, points: Object.entries(m.cpu).map(([n, s]) => [Number(n), s.median / m.cpu[first(m)].median]) }));
  const bySize = [{ label: "processor seconds", points: models.map((m) => [m.weights / 1e9, m.cpu[first(m)].median]) }, { label: "by the clock", points: models.map((m) => [m.weights / 1e9, m.wall[first(m)].median]) }];
  const contexts = [...new Set(byContext.flatMap((m) => Object.keys(m.wall).map(Number)))].sort((a, b) => a - b);
  return `## By context and by size

In Chromium on the processor, with two threads (${when(r)}). Shapes other than SmolLM2's are filled with noise and quantised to 4 bits at load; contexts of one
model are alternated. Seconds per token (wall clock), with CPU seconds after the slash:

${table(["model", ...contexts.map((n) => `at ${n.toLocaleString("en")}`), "last : first, processor"], byContext.map((m) => [m.name, ...contexts.map((n) => (m.wall[n] ? `${figures(m.wall[n].median)} / ${figures(m.cpu[n].median)}` : "–")), figures(m.cpu[Math.max(...Object.keys(m.cpu).map(Number))].median / m.cpu[first(m)].median)]))}
${plot("context", lines("A token's processor time by context, in terms of the shortest", "tokens of context", "", relative))}
${table(["model", "parameters, millions", "weights, MB", "seconds a token", "processor seconds", "load, s", "peak memory, MB"], models.map((m) => [m.name, (m.parameters / 1e6).toFixed(0), megabytes(m.weights), range(m.wall[first(m)]), range(m.cpu[first(m)]), m.loadSeconds.toFixed(0), (m.peakBytes / 1e6).toFixed(0)]))}
${plot("size", lines("Seconds a token by weights read", "GB of weights", "s", bySize))}${failed}`;
}
