// Generates a complete, valid model of a few thousand weights, as a folder of safetensors or as GGUF.

import { random } from "./random.mjs";

const [hidden, inner, heads, kvHeads, vocabulary, context] = [32, 64, 4, 2, 258, 64];
const kv = (hidden / heads) * kvHeads;

/** A vocabulary of the bytes in byte-level spelling, and tokens for the beginning and end of a sequence. */
const tokens = () => {
  let others = 0x100;
  const plain = (byte) => (byte > 0x20 && byte < 0x7f) || (byte > 0xa0 && byte !== 0xad);
  const bytes = Array.from({ length: 256 }, (_, byte) => String.fromCharCode(plain(byte) ? byte : others++));
  return [...bytes, "<s>", "</s>"];
};

/** Names in safetensors and in GGUF, and shapes. */
const tensors = (vocabulary) => [
  ["model.embed_tokens.weight", "token_embd.weight", [vocabulary, hidden]],
  ["model.layers.0.input_layernorm.weight", "blk.0.attn_norm.weight", [hidden]],
  ["model.layers.0.self_attn.q_proj.weight", "blk.0.attn_q.weight", [hidden, hidden]],
  ["model.layers.0.self_attn.k_proj.weight", "blk.0.attn_k.weight", [kv, hidden]],
  ["model.layers.0.self_attn.v_proj.weight", "blk.0.attn_v.weight", [kv, hidden]],
  ["model.layers.0.self_attn.o_proj.weight", "blk.0.attn_output.weight", [hidden, hidden]],
  ["model.layers.0.post_attention_layernorm.weight", "blk.0.ffn_norm.weight", [hidden]],
  ["model.layers.0.mlp.gate_proj.weight", "blk.0.ffn_gate.weight", [inner, hidden]],
  ["model.layers.0.mlp.up_proj.weight", "blk.0.ffn_up.weight", [inner, hidden]],
  ["model.layers.0.mlp.down_proj.weight", "blk.0.ffn_down.weight", [hidden, inner]],
  ["model.norm.weight", "output_norm.weight", [hidden]],
];

const TENSORS = tensors(vocabulary);

const product = (shape) => shape.reduce((a, b) => a * b);

/** Weights of either sign by seed. */
function weights(seed, all = TENSORS) {
  const r = random(seed);
  return new Map(all.map(([name, , shape]) => [name, Buffer.from(Float32Array.from({ length: product(shape) }, () => r() - 0.5).buffer)]));
}

/**
 * Files by name: config.json, tokenizer.json and either model.safetensors, or with `shards` two of these names and
 * their index. If `vocab_size` is changed, the tokenizer has to be replaced.
 */
export function folder({ shards, seed = 1, vocab_size = vocabulary } = {}) {
  const all = tensors(vocab_size);
  const config = {
    architectures: ["LlamaForCausalLM"], model_type: "llama", hidden_size: hidden, intermediate_size: inner, num_hidden_layers: 1,
    num_attention_heads: heads, num_key_value_heads: kvHeads, vocab_size, max_position_embeddings: context, rms_norm_eps: 1e-6,
    rope_theta: 10000, hidden_act: "silu", tie_word_embeddings: true, bos_token_id: 256, eos_token_id: 257,
  };
  const level = { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true };
  const added = ["<s>", "</s>"].map((content, i) => ({ id: 256 + i, content, single_word: false, lstrip: false, rstrip: false, normalized: false, special: true }));
  const vocab = Object.fromEntries(tokens().map((token, id) => [token, id]));
  const tokenizer = { version: "1.0", added_tokens: added, pre_tokenizer: level, decoder: level, model: { type: "BPE", vocab, merges: [] } };
  const files = { "config.json": JSON.stringify(config), "tokenizer.json": JSON.stringify(tokenizer) };
  const data = weights(seed, all);
  const names = shards ?? ["model.safetensors"];
  const map = {};
  names.forEach((file, i) => {
    const header = {};
    const parts = [];
    let end = 0;
    for (const [name, , shape] of all.filter((_, at) => names.length === 1 || (at < 6) === (i === 0))) {
      parts.push(data.get(name));
      header[name] = { dtype: "F32", shape, data_offsets: [end, (end += parts.at(-1).length)] };
      map[name] = file;
    }
    const text = Buffer.from(JSON.stringify(header));
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(text.length));
    files[file] = Buffer.concat([length, text, ...parts]);
  });
  if (shards) files["model.safetensors.index.json"] = JSON.stringify({ metadata: {}, weight_map: map });
  return files;
}

const string = (text) => {
  const bytes = Buffer.from(text);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(bytes.length));
  return Buffer.concat([length, bytes]);
};
const numbers = (Type, ...values) => Buffer.from(Type.from(values).buffer);
const u32 = (value) => numbers(Uint32Array, value);
const u64 = (value) => numbers(BigUint64Array, BigInt(value));
const encoded = (value) => {
  if (typeof value === "string") return Buffer.concat([u32(8), string(value)]);
  if (typeof value === "number") return Number.isInteger(value) ? Buffer.concat([u32(4), u32(value)]) : Buffer.concat([u32(6), numbers(Float32Array, value)]);
  const [type, items] = typeof value[0] === "number" ? [5, value.map((v) => numbers(Int32Array, v))] : [8, value.map(string)];
  return Buffer.concat([u32(9), u32(type), u64(value.length), ...items]);
};

function file(keys, tensors, data) {
  const parts = [Buffer.from("GGUF"), u32(3), u64(tensors.length), u64(Object.keys(keys).length)];
  for (const [key, value] of Object.entries(keys)) parts.push(string(key), encoded(value));
  const bodies = [];
  let offset = 0;
  for (const [name, gguf, shape] of tensors) {
    const dims = [...shape].reverse();
    parts.push(string(gguf), u32(dims.length), ...dims.map(u64), u32(0), u64(offset));
    const body = data.get(name);
    bodies.push(body, Buffer.alloc(-body.length & 31));
    offset += bodies.at(-2).length + bodies.at(-1).length;
  }
  const header = Buffer.concat(parts);
  return Buffer.concat([header, Buffer.alloc(-header.length & 31), ...bodies]);
}

/** The model as one GGUF file, or as several parts. */
export function gguf({ parts = 1, seed = 1 } = {}) {
  const facts = {
    "general.architecture": "llama", "llama.block_count": 1, "llama.context_length": context, "llama.embedding_length": hidden,
    "llama.feed_forward_length": inner, "llama.attention.head_count": heads, "llama.attention.head_count_kv": kvHeads,
    "llama.attention.layer_norm_rms_epsilon": 1e-5, "llama.rope.dimension_count": hidden / heads, "general.name": `seed ${seed}`,
    "tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": "llama-bpe", "tokenizer.ggml.tokens": tokens(), "tokenizer.ggml.merges": [],
    "tokenizer.ggml.token_type": tokens().map((_, id) => (id < 256 ? 1 : 3)), "tokenizer.ggml.bos_token_id": 256, "tokenizer.ggml.eos_token_id": 257,
  };
  const data = weights(seed);
  if (parts === 1) return file(facts, TENSORS, data);
  return Array.from({ length: parts }, (_, no) => {
    const split = { "split.no": no, "split.count": parts, "split.tensors.count": TENSORS.length };
    return file(no === 0 ? { ...facts, ...split } : split, TENSORS.filter((_, at) => at % parts === no), data);
  });
}

/** A vision projector, as published next to vision-language models, which is not a language model. */
export const projector = () => file({ "general.architecture": "clip", "general.type": "mmproj" }, [TENSORS[1]], weights(9));
