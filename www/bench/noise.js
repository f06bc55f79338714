// Makes a model of noise: a GGUF file of a published shape whose weights are some kilobytes, referred to again and again. A Blob of whole
// Blobs holds them by reference, so a model of any size takes no memory, and nothing is downloaded or stored. Parts of Blobs would be
// copied, and so are the ends of what a load reads: therefore pieces are small, and large ones are made of them.

import { FORMATS, bytesOf, tensors, valuesOf } from "./shapes.js";

/** Pieces of up to 2^SMALL blocks are bytes, larger ones two of half their size, up to 2^LARGE. */
const [SMALL, LARGE] = [12, 20];
const pieces = new Map();
const ALIGNMENT = 32;

const text = new TextEncoder();
const little = (bytes, value) => {
  const out = new DataView(new ArrayBuffer(bytes));
  if (bytes === 4) out.setUint32(0, value, true);
  else out.setBigUint64(0, BigInt(value), true);
  return out.buffer;
};
const string = (value) => [little(8, text.encode(value).length), text.encode(value)];

/** A metadata value with its type. */
function valueOf(value) {
  if (typeof value === "string") return [little(4, 8), ...string(value)];
  if (typeof value === "number" && Number.isInteger(value)) return [little(4, 4), little(4, value)];
  if (typeof value === "number") return [little(4, 6), new Float32Array([value])];
  return [little(4, 9), little(4, 8), little(8, value.length), ...value.flatMap(string)];
}

/** A file of the model. */
export function model(name, shape) {
  const weights = [];
  for (const tensor of tensors(shape)) {
    if (tensor.format === "F32" && tensor.dims.length > 1) {
      weights.push(numbers(valuesOf(tensor)), new Uint8Array(aligned(bytesOf(tensor)) - bytesOf(tensor)));
      continue;
    }
    const { values } = FORMATS[tensor.format];
    for (let left = valuesOf(tensor) / values; left > 0; ) {
      const power = Math.min(LARGE, Math.floor(Math.log2(left)));
      weights.push(piece(tensor.format, power));
      left -= 2 ** power;
    }
    weights.push(new Uint8Array(aligned(bytesOf(tensor)) - bytesOf(tensor)));
  }
  return new File([header(name, shape), ...weights], `${name}.gguf`);
}

/** What stands before the weights. */
export function header(name, shape) {
  const { architecture, layers, hidden, heads, kvHeads, head = hidden / heads, inner, experts, chosen, vocabulary } = shape;
  const facts = {
    block_count: layers, context_length: 131072, embedding_length: hidden, feed_forward_length: inner, vocab_size: vocabulary,
    "attention.head_count": heads, "attention.head_count_kv": kvHeads, "attention.key_length": head, "attention.value_length": head,
    "attention.layer_norm_rms_epsilon": 1.5e-6, "rope.freq_base": 10000.5, "rope.dimension_count": head,
    ...(experts && { expert_count: experts, expert_used_count: chosen, expert_feed_forward_length: inner }),
  };
  const metadata = {
    "general.architecture": architecture, "general.name": `${name}, noise`,
    ...Object.fromEntries(Object.entries(facts).map(([key, value]) => [`${architecture}.${key}`, value])),
    // 256 tokens, one for each byte, and no end of a text: generation goes on as long as it is asked to.
    "tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": "qwen2", "tokenizer.ggml.tokens": bytes(), "tokenizer.ggml.merges": [],
  };
  const list = tensors(shape);
  const parts = ["GGUF", little(4, 3), little(8, list.length), little(8, Object.keys(metadata).length)];
  for (const [key, value] of Object.entries(metadata)) parts.push(...string(key), ...valueOf(value));
  let offset = 0;
  for (const tensor of list) {
    const dims = tensor.dims.map((n) => little(8, n));
    parts.push(...string(tensor.name), little(4, dims.length), ...dims, little(4, FORMATS[tensor.format].type), little(8, offset));
    offset += aligned(bytesOf(tensor));
  }
  const text = new Blob(parts);
  return new Blob([text, new Uint8Array(aligned(text.size) - text.size)]);
}

/** The first offset from `bytes` on at which a tensor may begin. */
export const aligned = (bytes) => Math.ceil(bytes / ALIGNMENT) * ALIGNMENT;

/** 2^power blocks of a format. */
function piece(format, power) {
  const key = `${format} ${power}`;
  const half = () => piece(format, power - 1);
  if (!pieces.has(key)) pieces.set(key, power > SMALL ? new Blob([half(), half()]) : noise(format, 2 ** power));
  return pieces.get(key);
}

/** A router's weights: as one piece, since rows that repeat would send every token to the same experts. */
function numbers(count) {
  const key = `numbers ${count}`;
  if (!pieces.has(key)) {
    const out = new Float32Array(count);
    for (let i = 0, seed = 1; i < count; i++) out[i] = ((seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0) / 2 ** 32 - 0.5) / 16;
    pieces.set(key, new Blob([out]));
  }
  return pieces.get(key);
}

/** Blocks of weights of either sign, as small as a trained model's, or of ones. */
function noise(format, blocks) {
  const { bytes } = FORMATS[format];
  if (format === "F32") return new Blob([new Float32Array(blocks).fill(1)]);
  const out = new Uint8Array(blocks * bytes);
  for (let i = 0, seed = blocks; i < out.length; i++) out[i] = (seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0) >>> 24;
  // A block begins with its scale, a 16-bit float: 2^-8 for 4 bits, 2^-12 for 8.
  for (let i = 0; i < out.length; i += bytes) [out[i], out[i + 1]] = [0, format === "Q4_0" ? 0x1c : 0x0c];
  return new Blob([out]);
}

/** The characters that stand for bytes in byte-level BPE. */
function bytes() {
  let more = 256;
  return Array.from({ length: 256 }, (_, b) => String.fromCodePoint((b > 32 && b < 127) || (b > 160 && b !== 173) ? b : more++));
}
