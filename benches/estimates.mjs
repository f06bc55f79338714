// Estimates of tokens a second on four GPUs, from what was counted: `node benches/estimates.mjs` writes docs/evidence/estimates.md. Nothing in it is
// measured. A product takes the time of its memory reads and that of its instructions, which overlap, but not wholly: their p-norm, with p from 2 (badly)
// to 4 (well); and each dispatch a fixed time.

import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const path = (name) => fileURLToPath(new URL(`../${name}`, import.meta.url));
const { pipelines } = JSON.parse(readFileSync(path("docs/evidence/gpu-stats.json"), "utf8"));
const counts = readFileSync(path("docs/evidence/counts.md"), "utf8");

/** Vector instructions for a weight, or for a weight and token: the most of the pipelines of a name, on navi21. */
const perWeight = (name) =>
  Math.max(...Object.entries(pipelines).filter(([key]) => key === name || key.startsWith(`${name} `)).map(([, { navi21 }]) => navi21.per_weight ?? 0));
const dispatches = (name) => Number(new RegExp(`\\| ${name} \\| (\\d+) `).exec(counts)[1]);

/** Bytes of a weight. */
const Q4 = 0.5625;
const Q8 = 1.0625;
const MODELS = [
  { name: "R1-Distill-Qwen-1.5B", dispatches: dispatches("DeepSeek-R1-Distill-Qwen-1.5B"), layers: 28, width: 1536, qkv: 2048, up: 17920, down: 8960, vocabulary: 151936 },
  { name: "R1-Distill-Llama-8B", dispatches: dispatches("DeepSeek-R1-Distill-Llama-8B"), layers: 32, width: 4096, qkv: 6144, up: 28672, down: 14336, vocabulary: 128256 },
];
/** From the makers' sheets: GB/s, TFLOPS in f32. Assumed: microseconds of a dispatch. */
const DEVICES = [
  { name: "M3 Pro", bandwidth: 150, flops: 7, gap: 5.8 },
  { name: "RTX 4060", bandwidth: 272, flops: 15, gap: 4.3 },
  { name: "Iris Xe", bandwidth: 100, flops: 2, gap: 7.5 },
  { name: "Adreno 740", bandwidth: 77, flops: 2, gap: 14.4 },
];
/** Share of a peak that good kernels reach. */
const REACHED = 0.85;

const NOW = { q4: perWeight("matvec.q4"), q8: perWeight("matvec.q8"), tile: perWeight("matmul.q4"), workgroup: 0.67, tokens: 32, label: "now" };
/** What the issue of this work found: its table, and the tile's bank conflicts. The sampler alone was a millisecond of one workgroup. */
const BEFORE = { q4: 5.45, q8: 2.55, tile: 1.6, workgroup: 0.2, tokens: 16, label: "before" };

const norm = (a, b, p) => (a ** p + b ** p) ** (1 / p);

function decode({ layers, width, qkv, up, down, vocabulary, dispatches }, { bandwidth, flops, gap }, { q4, q8 }, p) {
  const rate = (flops * 1e12) / 2;
  const product = (rows, columns, bytes, instructions) =>
    norm((rows * columns * bytes) / (bandwidth * 1e9 * REACHED), (rows * columns * instructions) / (rate * REACHED), p);
  const layer = product(qkv, width, Q4, q4) + product(width, width, Q4, q4) + product(up, width, Q4, q4) + product(width, down, Q4, q4);
  return 1 / (layers * layer + product(vocabulary, width, Q8, q8) + dispatches * gap * 1e-6);
}

function prefill({ layers, width, qkv, up, down, dispatches }, { bandwidth, flops, gap }, { tile, workgroup, tokens }, p) {
  const rate = (flops * 1e12) / 2;
  const weights = layers * width * (qkv + width + up + down);
  const instructions = (weights * tile) / (rate * REACHED);
  const shared = weights / (rate * workgroup * REACHED);
  const memory = (weights * Q4) / tokens / (bandwidth * 1e9 * REACHED);
  return 1 / (norm(norm(instructions, shared, p), memory, p) + (dispatches * gap * 1e-6) / 64);
}

const range = (of, ...given) => `${Math.round(of(...given, 2))}–${Math.round(of(...given, 4))}`;
const rows = DEVICES.flatMap((device) =>
  MODELS.map(
    (model) =>
      `| ${device.name} | ${model.name} | ${range(decode, model, device, BEFORE)} | ${range(decode, model, device, NOW)} | ${range(prefill, model, device, BEFORE)} | ${range(prefill, model, device, NOW)} |`,
  ),
);
writeFileSync(
  path("docs/evidence/estimates.md"),
  `# Estimates, not measurements

Written by \`node benches/estimates.mjs\`. **No GPU has run any of this.** Tokens a second at a short context, weights of 4 bits, the head of 8, from the instructions in
\`gpu-stats.md\` (RDNA 2; other makers' compilers differ), the dispatches in \`counts.md\`, peak rates from the makers' sheets, of which ${REACHED * 100} % are taken to be reached, and
assumed times of a dispatch. A range is how well memory reads and instructions overlap. Attention is left out. Prefill has products of 32-bit floats in workgroup memory, whose reads
allow at most ${BEFORE.workgroup * 100} % (before) and ${NOW.workgroup * 100} % (now) of the multiply-adds.

Before: ${BEFORE.q4} instructions a weight in decode, ${BEFORE.tile} a weight and token in prefill. Now: ${NOW.q4} and ${NOW.tile}.

| device | model | decode, before | decode, now | prefill, before | prefill, now |
|---|---|---|---|---|---|
${rows.join("\n")}

What a real device does is for the site's bench (\`bench/\`) and \`cargo xtask bench device\` to say.
`,
);
