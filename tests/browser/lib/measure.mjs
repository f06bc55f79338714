// Measures what a load costs outside the GPU: the wasm heap, the memory of the browser's processes, and where time is
// spent.

import { readFileSync, readdirSync } from "node:fs";

/**
 * A worker script that runs the package's own and reports, every 100 ms, the size of the wasm heap and how the time
 * was spent. It wraps platform functions, so that the package is measured unchanged.
 */
export const WORKER = `
const channel = new BroadcastChannel("measured");
const spent = { network: 0, hash: 0, disk: 0, upload: 0, gpu: 0, compile: 0, wasm: 0 };
const bytes = { uploaded: 0, throughHeap: 0 };
let memory;
// Time during which at least one operation is pending.
const pending = (name) => {
  let open = 0, since = 0;
  return (promise) => {
    if (open++ === 0) since = performance.now();
    const end = () => { if (--open === 0) spent[name] += performance.now() - since; };
    promise.then(end, end);
    return promise;
  };
};
const wrap = (object, name, make) => { const old = object[name]; object[name] = make(old); };
const promised = (object, name, stage) => { const track = pending(stage); wrap(object, name, (old) => function (...args) { return track(old.apply(this, args)); }); };
let depth = 0;
const timed = (stage, body) => {
  const began = performance.now();
  try { return body(); } finally {
    const took = performance.now() - began;
    spent[stage] += took;
    if (depth > 0) spent.wasm -= took;
  }
};
const network = pending("network");
wrap(self, "fetch", (old) => (...args) => network(old(...args)));
for (const reader of [ReadableStreamDefaultReader, ReadableStreamBYOBReader]) wrap(reader.prototype, "read", (old) => function (...args) { return network(old.apply(this, args)); });
promised(SubtleCrypto.prototype, "digest", "hash");
for (const name of ["read", "write", "flush"]) wrap(FileSystemSyncAccessHandle.prototype, name, (old) => function (...args) { return timed("disk", () => old.apply(this, args)); });
wrap(GPUQueue.prototype, "writeBuffer", (old) => function (buffer, offset, data, from, size) {
  const length = size ?? data.byteLength;
  bytes.uploaded += length;
  if (memory !== undefined && (data.buffer ?? data) === memory.buffer) bytes.throughHeap += length;
  return timed("upload", () => old.apply(this, arguments));
});
promised(GPUQueue.prototype, "onSubmittedWorkDone", "gpu");
promised(GPUDevice.prototype, "popErrorScope", "compile");
wrap(GPUDevice.prototype, "createComputePipeline", (old) => function (...args) { return timed("compile", () => old.apply(this, args)); });
const instantiate = WebAssembly.instantiate;
WebAssembly.instantiate = async (module, imports) => {
  const instance = await instantiate(module, imports);
  const exports = {};
  for (const [name, value] of Object.entries(instance.exports)) {
    exports[name] = typeof value !== "function" ? value : (...args) => {
      if (depth++ > 0) { try { return value(...args); } finally { depth--; } }
      const began = performance.now();
      try { return value(...args); } finally { depth--; spent.wasm += performance.now() - began; }
    };
  }
  memory = instance.exports.memory;
  return new Proxy(instance, { get: (target, name) => (name === "exports" ? exports : target[name]) });
};
const tell = () => channel.postMessage({ at: performance.timeOrigin + performance.now(), heap: memory?.buffer.byteLength ?? 0, spent: { ...spent }, bytes: { ...bytes } });
setInterval(tell, 100);
channel.onmessage = tell;
importScripts("node_modules/minke/dist/worker.js");
`;

/**
 * A page that, for `?{ source, options }`, posts an estimate (`/estimated`), waits for `/go`, loads a model, generates a
 * few tokens, and posts the measurements (`/measured`) or the failure (`/failed`).
 */
export const PAGE = `<!doctype html><title>measured</title><script type="module">
import * as minke from "./node_modules/minke/dist/index.js";

const told = [];
new BroadcastChannel("measured").onmessage = ({ data }) => told.push(data);
const now = () => performance.timeOrigin + performance.now();
const post = (path, value) => fetch(path, { method: "POST", body: JSON.stringify(value) });
const { source, options: given } = JSON.parse(decodeURIComponent(location.search.slice(1)));
const options = { device: "gpu", ...given }; // what is measured lies outside the GPU
const stages = [];
const onProgress = ({ stage }) => {
  if (stage !== stages.at(-1)?.stage) stages.push({ stage, at: now() });
};
try {
  await post("/estimated", await minke.estimate(source, options));
  while (!(await fetch("/go")).ok) await new Promise((resolve) => setTimeout(resolve, 100));
  const began = now();
  const model = await minke.load(source, { ...options, onProgress, worker: () => new Worker("measured.js") });
  const loaded = now();
  const said = await model.generate(Uint32Array.of(5, 6, 7, 8), { maxOutputTokens: 4, temperature: 0 });
  const [row] = [await model.forward(Uint32Array.of(5, 6), { rows: "last" })];
  const kept = { info: model.info, memory: model.memory(), ids: [...said.ids], finite: row.every(Number.isFinite), began, loaded, stages };
  new BroadcastChannel("measured").postMessage("tell");
  await new Promise((resolve) => setTimeout(resolve, 300));
  await post("/measured", { ...kept, told });
} catch (error) {
  await post("/failed", String(error));
}
</script>`;

const parentOf = (pid) => Number(/\) \S (\d+)/.exec(readFileSync(`/proc/${pid}/stat`, "utf8"))?.[1]);

/** Pids of descendants, by Chromium's process type. */
function processes() {
  const parents = new Map();
  for (const name of readdirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    try {
      parents.set(Number(name), parentOf(name));
    } catch {
      // it ended
    }
  }
  const found = [];
  for (const pid of parents.keys()) {
    let above = pid;
    while (above > 1 && above !== process.pid) above = parents.get(above) ?? 0;
    if (above !== process.pid || pid === process.pid) continue;
    try {
      const kind = /--type=(\S+?)[\s\0]/.exec(readFileSync(`/proc/${pid}/cmdline`, "utf8"))?.[1] ?? "browser";
      found.push({ pid, kind });
    } catch {
      // it ended
    }
  }
  return found;
}

/**
 * Proportional set size by process type: `{ renderer, "gpu-process", … }`; with the suffix `" shared"`,
 * the part of it that is shared memory.
 */
export function memory() {
  const sums = {};
  for (const { pid, kind } of processes()) {
    try {
      const text = readFileSync(`/proc/${pid}/smaps_rollup`, "utf8");
      const add = (name, field) => (sums[name] = (sums[name] ?? 0) + 1024 * Number(new RegExp(`^${field}:\\s+(\\d+)`, "m").exec(text)[1]));
      add(kind, "Pss");
      add(`${kind} shared`, "Pss_Shmem");
    } catch {
      // it ended
    }
  }
  return sums;
}

/** Samples `memory()` every `period` milliseconds until `stop()` returns the samples. */
export function sampled(period = 250) {
  const samples = [];
  const take = () => samples.push({ at: Date.now(), ...memory() });
  take();
  const timer = setInterval(take, period);
  return {
    stop() {
      clearInterval(timer);
      take();
      return samples;
    },
  };
}
