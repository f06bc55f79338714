// Measures the processor's kernels alone in WebAssembly, in V8, from what benches/processor.rs wrote, beside what a core can read and
// multiply there. node benches/processor.mjs [--quick] completes target/bench/processor.json.

import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { instantiate } from "../pkg/wasm/minke_cpu.js";
import { root } from "./lib/site.mjs";

const quick = process.argv.includes("--quick");
const path = join(root, "target/bench/processor.json");
const result = JSON.parse(readFileSync(path, "utf8"));

/** The least seconds that `work` takes in some rounds. */
function least(work) {
  work();
  let best = Infinity;
  const [rounds, milliseconds] = quick ? [2, 20] : [5, 200];
  const began = performance.now();
  for (let round = 0; round < rounds || performance.now() - began < milliseconds; round++) {
    const start = performance.now();
    work();
    best = Math.min(best, performance.now() - start);
  }
  return best / 1000;
}

// Eight vectors at a time: what can be read, and products of registers' 16-bit numbers, as the kernels make them.
const LANES = [0, 1, 2, 3, 4, 5, 6, 7];
const ceilings = `(module
  (memory (export "memory") 1100)
  (func (export "read") (param $end i32) (result i32) (local $at i32) ${LANES.map((i) => `(local $s${i} v128)`).join(" ")}
    (loop $next
      ${LANES.map((i) => `(local.set $s${i} (v128.xor (local.get $s${i}) (v128.load offset=${16 * i} (local.get $at))))`).join("\n      ")}
      (local.set $at (i32.add (local.get $at) (i32.const 128)))
      (br_if $next (i32.lt_u (local.get $at) (local.get $end))))
    (i32x4.extract_lane 0 ${LANES.slice(1).reduce((sum, i) => `(v128.xor ${sum} (local.get $s${i}))`, "(local.get $s0)")}))
  (func (export "multiply") (param $n i32) (result i32) (local $x v128) ${LANES.map((i) => `(local $s${i} v128)`).join(" ")}
    (local.set $x (i16x8.splat (local.get $n)))
    (loop $next
      ${LANES.map((i) => `(local.set $s${i} (i32x4.add (local.get $s${i}) (i32x4.dot_i16x8_s (local.get $x) (local.get $s${i}))))`).join("\n      ")}
      (local.set $n (i32.sub (local.get $n) (i32.const 1)))
      (br_if $next (local.get $n)))
    (i32x4.extract_lane 0 ${LANES.slice(1).reduce((sum, i) => `(v128.xor ${sum} (local.get $s${i}))`, "(local.get $s0)")})))`;
const text = join(root, "target/bench/ceilings.wat");
writeFileSync(text, ceilings);
execFileSync(join(root, "pkg/node_modules/.bin/wasm-as"), ["--enable-simd", text, "-o", text.replace(".wat", ".wasm")]);
const { instance } = await WebAssembly.instantiate(readFileSync(text.replace(".wat", ".wasm")));
const READ = 64 << 20;
new Uint8Array(instance.exports.memory.buffer).fill(1); // pages that nobody has written are one
const ROUNDS = 1 << 20;
const wasm = {
  reads: READ / least(() => instance.exports.read(READ)) / 1e9,
  multiplies: (ROUNDS * 64) / least(() => instance.exports.multiply(ROUNDS)) / 1e9,
};
console.log(`reads ${wasm.reads.toFixed(1)} GB/s, multiplies ${wasm.multiplies.toFixed(1)} G products/s`);

const module = await WebAssembly.compile(readFileSync(join(root, "pkg/wasm/minke_cpu_bg.wasm")));
for (const entry of result.cases) {
  const glue = instantiate((exports) => exports);
  await glue.init({ module_or_path: module });
  const worker = new glue.Worker(0, 1, { exchange() {} }, false);
  for (const command of entry.setup) worker.carryOut(Uint8Array.from(command));
  for (const [buffer, pattern, length] of entry.fills) worker.write(buffer, 0, new Uint8Array(Buffer.alloc(length, Buffer.from(pattern))));
  const run = Uint8Array.from(entry.run);
  entry.wasmSeconds = least(() => worker.carryOut(run));
  const [bytes, products] = [entry.bytes, entry.products].map((n) => n / entry.wasmSeconds / 1e9);
  const percent = (share) => `${(100 * share).toFixed(0).padStart(4)} %`;
  console.log(`${entry.name.padEnd(44)} ${bytes.toFixed(2).padStart(6)} GB/s ${percent(bytes / wasm.reads)}  ${products.toFixed(2).padStart(7)} G products/s ${percent(products / wasm.multiplies)}`);
}
for (const entry of result.cases) for (const key of ["setup", "run", "fills"]) delete entry[key];
writeFileSync(path, JSON.stringify({ ...result, wasm }, null, 1));
