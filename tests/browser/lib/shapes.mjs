// Generates checkpoints of published shapes on request: headers are written, values are computed deterministically
// from tensor and offset. Shapes are those of the authors' config.json.

import { Buffer } from "node:buffer";
import { random } from "./random.mjs";

/** The config keys that determine shapes, by name. `vocabulary` is the number of tokens of the tokenizer, if it differs. */
export const SHAPES = {
  "tiny": { model_type: "qwen2", vocab_size: 2048, hidden_size: 256, num_hidden_layers: 2, num_attention_heads: 4, num_key_value_heads: 2, intermediate_size: 512, max_position_embeddings: 4096, tie_word_embeddings: false },
  "Qwen2.5-0.5B": { model_type: "qwen2", vocab_size: 151936, hidden_size: 896, num_hidden_layers: 24, num_attention_heads: 14, num_key_value_heads: 2, intermediate_size: 4864, max_position_embeddings: 32768, tie_word_embeddings: true },
  "DeepSeek-R1-Distill-Qwen-1.5B": { model_type: "qwen2", vocab_size: 151936, hidden_size: 1536, num_hidden_layers: 28, num_attention_heads: 12, num_key_value_heads: 2, intermediate_size: 8960, max_position_embeddings: 131072, tie_word_embeddings: false },
  "DeepSeek-R1-Distill-Qwen-7B": { model_type: "qwen2", vocab_size: 152064, hidden_size: 3584, num_hidden_layers: 28, num_attention_heads: 28, num_key_value_heads: 4, intermediate_size: 18944, max_position_embeddings: 131072, tie_word_embeddings: false },
  // The largest published tokenizer, with a model of two layers.
  "gemma-3-vocabulary": { model_type: "qwen2", vocab_size: 262144, hidden_size: 256, num_hidden_layers: 2, num_attention_heads: 4, num_key_value_heads: 2, intermediate_size: 512, max_position_embeddings: 4096, tie_word_embeddings: true, tokenizer: "gemma" },
};

/** Name and shape of every tensor of a Qwen2 model, as in transformers. */
function tensors(c) {
  const head = c.hidden_size / c.num_attention_heads;
  const kv = c.num_key_value_heads * head;
  const all = [["model.embed_tokens.weight", [c.vocab_size, c.hidden_size]]];
  for (let i = 0; i < c.num_hidden_layers; i++) {
    const add = (name, ...shape) => all.push([`model.layers.${i}.${name}`, shape]);
    add("input_layernorm.weight", c.hidden_size);
    for (const [name, rows] of [["q", c.hidden_size], ["k", kv], ["v", kv]]) {
      add(`self_attn.${name}_proj.weight`, rows, c.hidden_size);
      add(`self_attn.${name}_proj.bias`, rows);
    }
    add("self_attn.o_proj.weight", c.hidden_size, c.hidden_size);
    add("post_attention_layernorm.weight", c.hidden_size);
    add("mlp.gate_proj.weight", c.intermediate_size, c.hidden_size);
    add("mlp.up_proj.weight", c.intermediate_size, c.hidden_size);
    add("mlp.down_proj.weight", c.hidden_size, c.intermediate_size);
  }
  all.push(["model.norm.weight", [c.hidden_size]]);
  if (!c.tie_word_embeddings) all.push(["lm_head.weight", [c.vocab_size, c.hidden_size]]);
  return all;
}

/** Maximum bytes of a shard, unless a tensor is larger. */
const SHARD = 1e9;
/** The number of distinct bf16 values; a prime, so that no two rows are equal. */
const TABLE = 4_194_301;

let table;

/** Normally distributed values of standard deviation 0.02, in bf16. */
function values() {
  if (table !== undefined) return table;
  const [r, numbers] = [random(7), new Float32Array(TABLE)];
  for (let i = 0; i < TABLE; i++) numbers[i] = 0.02 * Math.sqrt(-2 * Math.log(1 - r())) * Math.cos(2 * Math.PI * r());
  const halves = new Uint16Array(numbers.buffer);
  table = Buffer.from(Uint16Array.from({ length: TABLE }, (_, i) => halves[2 * i + 1]).buffer);
  return table;
}

/** Bytes [start, end) of a tensor. */
function bytesOf(name, start, end, out) {
  if (name.endsWith("norm.weight")) {
    for (let i = 0; i < end - start; i++) out[i] = (start + i) % 2 === 0 ? 0x80 : 0x3f; // 1
    return;
  }
  let hash = 0x811c9dc5;
  for (const c of name) hash = Math.imul(hash ^ c.charCodeAt(0), 0x01000193);
  const known = values();
  let at = ((hash >>> 0) * 2 + start) % known.length;
  for (let filled = 0; filled < out.length; at = 0) filled += known.copy(out, filled, at, Math.min(known.length, at + out.length - filled));
}

/** The files of a shape, by name: `{ size, read(start, end) }`. */
export function synthetic(name, { shard = SHARD } = {}) {
  const { tokenizer: kind, ...shape } = SHAPES[name];
  const config = { architectures: ["Qwen2ForCausalLM"], hidden_act: "silu", rms_norm_eps: 1e-6, rope_theta: 10000, torch_dtype: "bfloat16", ...shape };
  const shards = [];
  for (const [tensor, dims] of tensors(shape)) {
    const bytes = 2 * dims.reduce((a, b) => a * b);
    let last = shards.at(-1);
    if (last === undefined || last.bytes + bytes > shard) shards.push((last = { bytes: 0, tensors: [] }));
    last.tensors.push({ tensor, dims, start: last.bytes, end: last.bytes + bytes });
    last.bytes += bytes;
  }
  const files = new Map();
  const text = (value) => {
    const bytes = Buffer.from(typeof value === "string" ? value : JSON.stringify(value));
    return { size: bytes.length, read: (start, end) => bytes.subarray(start, end) };
  };
  const weightMap = {};
  shards.forEach((one, i) => {
    const file = `model-${String(i + 1).padStart(5, "0")}-of-${String(shards.length).padStart(5, "0")}.safetensors`;
    for (const { tensor } of one.tensors) weightMap[tensor] = file;
    files.set(file, weights(one));
  });
  files.set("model.safetensors.index.json", text({ metadata: { total_size: shards.reduce((sum, s) => sum + s.bytes, 0) }, weight_map: weightMap }));
  files.set("config.json", text(config));
  files.set("tokenizer.json", text(kind === "gemma" ? gemma(shape.vocab_size) : byteLevel(shape.vocab_size)));
  files.set("tokenizer_config.json", text({ tokenizer_class: "PreTrainedTokenizerFast", eos_token: "<eos>" }));
  return files;
}

function weights({ bytes, tensors }) {
  const table = Object.fromEntries(tensors.map(({ tensor, dims, start, end }) => [tensor, { dtype: "BF16", shape: dims, data_offsets: [start, end] }]));
  const json = Buffer.from(JSON.stringify(table));
  const header = Buffer.alloc(8 + json.length);
  header.writeBigUInt64LE(BigInt(json.length));
  json.copy(header, 8);
  const read = (start, end) => {
    const out = Buffer.alloc(end - start);
    header.copy(out, 0, Math.min(start, header.length), Math.min(end, header.length));
    for (const t of tensors) {
      const [from, to] = [Math.max(start, header.length + t.start), Math.min(end, header.length + t.end)];
      if (from < to) bytesOf(t.tensor, from - header.length - t.start, to - header.length - t.start, out.subarray(from - start, to - start));
    }
    return out;
  };
  return { size: header.length + bytes, read };
}

/** A vocabulary made by merging two earlier tokens, starting from an alphabet: token → id, and the merges. */
function merged(alphabet, count, seed) {
  const [r, tokens, merges] = [random(seed), new Map(), []];
  for (const symbol of alphabet) tokens.set(symbol, tokens.size);
  const list = [...alphabet];
  while (tokens.size < count) {
    // Short tokens are merged more often, as in real vocabularies.
    const pick = () => list[Math.floor(list.length * r() ** 14)];
    const [a, b] = [pick(), pick()];
    if (a.length + b.length > 16 || tokens.has(a + b)) continue;
    tokens.set(a + b, tokens.size);
    list.push(a + b);
    merges.push([a, b]);
  }
  return { tokens, merges };
}

/** The characters that represent bytes in byte-level BPE. */
function byteAlphabet() {
  const plain = (b) => (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
  let next = 256;
  return Array.from({ length: 256 }, (_, b) => String.fromCharCode(plain(b) ? b : next++));
}

const file = (model, rest) => ({ version: "1.0", truncation: null, padding: null, normalizer: null, pre_tokenizer: null, post_processor: null, decoder: null, ...rest, model: { type: "BPE", dropout: null, unk_token: null, continuing_subword_prefix: null, end_of_word_suffix: null, fuse_unk: false, byte_fallback: false, ignore_merges: false, ...model } });
const special = (id, content) => ({ id, content, single_word: false, lstrip: false, rstrip: false, normalized: false, special: true });

/** A tokenizer.json like Qwen's, of `count` tokens. */
function byteLevel(count) {
  const { tokens, merges } = merged(byteAlphabet(), count - 1, 1);
  const split = "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
  const level = { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: false };
  return JSON.stringify(file({ vocab: Object.fromEntries(tokens), merges }, {
    added_tokens: [special(count - 1, "<eos>")],
    pre_tokenizer: { type: "Sequence", pretokenizers: [{ type: "Split", pattern: { Regex: split }, behavior: "Isolated", invert: false }, level] },
    decoder: level,
  }));
}

/** A tokenizer.json like Gemma 3's: 33 MB, two ways to most tokens. */
function gemma(count) {
  const bytes = Array.from({ length: 256 }, (_, b) => `<0x${b.toString(16).toUpperCase().padStart(2, "0")}>`);
  const letters = Array.from({ length: 94 }, (_, i) => String.fromCharCode(33 + i)).concat("▁", ..."äöüéèñçßøå", ...Array.from({ length: 40 }, (_, i) => String.fromCharCode(0x4e00 + i)));
  const { tokens, merges } = merged(letters, count - 258, 2);
  const every = [];
  for (const [a, b] of merges) {
    every.push([a, b]);
    const whole = a + b;
    for (let cut = 1; cut < whole.length && every.length < 2 * merges.length; cut++) {
      const [c, d] = [whole.slice(0, cut), whole.slice(cut)];
      if (c !== a && tokens.has(c) && tokens.has(d)) every.push([c, d]);
    }
  }
  const vocab = Object.fromEntries(["<unk>", "<eos>", ...bytes, ...tokens.keys()].map((token, id) => [token, id]));
  return JSON.stringify(file({ vocab, merges: every, unk_token: "<unk>", fuse_unk: true, byte_fallback: true }, {
    added_tokens: [special(1, "<eos>")],
    normalizer: { type: "Replace", pattern: { String: " " }, content: "▁" },
    decoder: { type: "Sequence", decoders: [{ type: "Replace", pattern: { String: "▁" }, content: " " }, { type: "ByteFallback" }, { type: "Fuse" }] },
  }), null, 2);
}
