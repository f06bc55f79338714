// Serves synthetic checkpoints of any shape without storing them: config.json, a tokenizer of single bytes and a
// safetensors file whose values are generated on request. Their output is meaningless, but costs the same as that of a
// model of that shape.

import { createServer } from "node:http";
import { random } from "../../tests/browser/lib/random.mjs";

/** Shapes by name; all are Qwen2's (a Llama with biases on q, k and v), some with experts. */
export const SHAPES = {
  "DeepSeek-R1-Distill-Qwen-1.5B": { layers: 28, hidden: 1536, heads: 12, kvHeads: 2, inner: 8960, vocabulary: 151936 },
  // As many experts, and as many of them for a token, as DeepSeek-V2-Lite has.
  "1.3B, of 64 experts 6": { layers: 12, hidden: 1024, heads: 8, kvHeads: 4, inner: 512, experts: 64, chosen: 6, vocabulary: 49152 },
  "0.7B": { layers: 24, hidden: 1280, heads: 10, kvHeads: 2, inner: 6400, vocabulary: 65536 },
  "0.36B": { layers: 24, hidden: 960, heads: 15, kvHeads: 5, inner: 3584, vocabulary: 49152 },
  "0.13B": { layers: 24, hidden: 576, heads: 9, kvHeads: 3, inner: 1536, vocabulary: 49152 },
};

const BLOCK = 1 << 20;

/** bf16 numbers from 2^-11 to 2^-8 of either sign. */
function noise() {
  const next = random(1);
  return Buffer.from(Uint16Array.from({ length: BLOCK / 2 }, () => {
    const bits = Math.floor(next() * 1024);
    return ((bits & 512) << 6) | ((116 + ((bits >> 7) & 3)) << 7) | (bits & 127);
  }).buffer);
}

function tensors({ layers, hidden, heads, kvHeads, inner, experts, vocabulary }) {
  const head = hidden / heads;
  const list = [["embed_tokens.weight", [vocabulary, hidden]], ["norm.weight", [hidden]]];
  for (let l = 0; l < layers; l++) {
    const add = (name, shape) => list.push([`layers.${l}.${name}`, shape]);
    add("input_layernorm.weight", [hidden]);
    add("post_attention_layernorm.weight", [hidden]);
    for (const [name, rows] of [["q", hidden], ["k", kvHeads * head], ["v", kvHeads * head]]) {
      add(`self_attn.${name}_proj.weight`, [rows, hidden]);
      add(`self_attn.${name}_proj.bias`, [rows]);
    }
    add("self_attn.o_proj.weight", [hidden, hidden]);
    const mlp = (name, width) => {
      add(`${name}.gate_proj.weight`, [width, hidden]);
      add(`${name}.up_proj.weight`, [width, hidden]);
      add(`${name}.down_proj.weight`, [hidden, width]);
    };
    if (experts === undefined) {
      mlp("mlp", inner);
      continue;
    }
    add("mlp.gate.weight", [experts, hidden]);
    for (let e = 0; e < experts; e++) mlp(`mlp.experts.${e}`, inner);
    mlp("mlp.shared_expert", 2 * inner);
    add("mlp.shared_expert_gate.weight", [1, hidden]);
  }
  return [...list.map(([name, shape]) => [`model.${name}`, shape]), ["lm_head.weight", [vocabulary, hidden]]];
}

function config({ layers, hidden, heads, kvHeads, inner, experts, chosen, vocabulary }) {
  const mixture = experts === undefined ? {} : {
    model_type: "qwen2_moe", architectures: ["Qwen2MoeForCausalLM"], num_experts: experts, num_experts_per_tok: chosen,
    moe_intermediate_size: inner, shared_expert_intermediate_size: 2 * inner, norm_topk_prob: false, decoder_sparse_step: 1,
  };
  return {
    model_type: "qwen2", architectures: ["Qwen2ForCausalLM"], vocab_size: vocabulary, hidden_size: hidden, num_hidden_layers: layers,
    num_attention_heads: heads, num_key_value_heads: kvHeads, intermediate_size: inner, max_position_embeddings: 131072,
    rms_norm_eps: 1e-6, rope_theta: 10000, tie_word_embeddings: false, hidden_act: "silu", torch_dtype: "bfloat16",
    ...mixture,
  };
}

/** Byte-level: the 256 characters that stand for bytes, and no merges. */
function tokenizer() {
  const printable = (b) => (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
  let more = 256;
  const vocab = Object.fromEntries([...Array(256).keys()].map((b) => [String.fromCodePoint(printable(b) ? b : more++), b]));
  const bytes = { type: "ByteLevel", add_prefix_space: false, trim_offsets: false, use_regex: true };
  return { version: "1.0", added_tokens: [], pre_tokenizer: bytes, decoder: bytes, model: { type: "BPE", vocab, merges: [] } };
}

/** Serves every shape as a folder of its name, to pages of any origin. */
export async function serveShapes() {
  const block = noise();
  const folders = new Map(Object.entries(SHAPES).map(([name, shape]) => [name, { shape, header: header(shape) }]));
  const server = createServer((request, response) => {
    const [, name, file] = decodeURIComponent(new URL(request.url, "http://x").pathname).split("/");
    const folder = folders.get(name);
    const head = { "access-control-allow-origin": "*", "access-control-allow-headers": "*", "access-control-expose-headers": "*", "cross-origin-resource-policy": "cross-origin", "accept-ranges": "bytes", "cache-control": "no-store" };
    if (request.method === "OPTIONS") return response.writeHead(204, head).end();
    const text = folder && { "config.json": () => config(folder.shape), "tokenizer.json": tokenizer, "tokenizer_config.json": () => ({}) }[file]?.();
    if (text !== undefined) return response.writeHead(200, { ...head, "content-type": "application/json" }).end(JSON.stringify(text));
    if (folder === undefined || file !== "model.safetensors") return response.writeHead(404, head).end();
    const { bytes, size } = folder.header;
    const [, from, to] = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? "bytes=0-") ?? [];
    const [start, end] = [Number(from), to === "" || to === undefined ? size : Math.min(size, Number(to) + 1)];
    response.writeHead(206, { ...head, etag: `"${size}"`, "content-range": `bytes ${start}-${end - 1}/${size}`, "content-length": end - start });
    send(response, bytes, block, start, end).catch(() => response.destroy());
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    origin: `http://localhost:${server.address().port}`,
    close: () => {
      server.closeAllConnections();
      return new Promise((resolve) => server.close(resolve));
    },
  };
}

function header(shape) {
  const table = {};
  let at = 0;
  for (const [name, dims] of tensors(shape)) {
    const length = 2 * dims.reduce((a, b) => a * b, 1);
    table[name] = { dtype: "BF16", shape: dims, data_offsets: [at, at + length] };
    at += length;
  }
  const json = Buffer.from(JSON.stringify(table).padEnd(8 * Math.ceil(JSON.stringify(table).length / 8)));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  return { bytes: Buffer.concat([length, json]), size: 8 + json.length + at };
}

async function send(response, header, block, start, end) {
  for (let at = start; at < end && !response.destroyed;) {
    const piece = at < header.length ? header.subarray(at, Math.min(end, header.length)) : block.subarray(at % BLOCK, Math.min(BLOCK, (at % BLOCK) + end - at));
    at += piece.length;
    if (!response.write(piece)) await new Promise((go) => response.once("drain", go).once("close", go));
  }
  response.end();
}
