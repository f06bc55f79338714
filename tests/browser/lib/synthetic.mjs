// Writes a checkpoint with a realistic shape and random weights, so that tests need not download one.

import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { golden } from "./app.mjs";
import { random } from "./random.mjs";

const [hidden, inner, heads, kvHeads, layers] = [512, 1024, 8, 4, 3];

/** Writes a Llama of three layers in bf16, a shard for each: 15 MB. The same seed gives the same bytes. */
export function writeCheckpoint(folder, seed) {
  mkdirSync(folder, { recursive: true });
  const model = join(golden, "models/llama");
  const config = JSON.parse(readFileSync(join(model, "config.json"), "utf8"));
  Object.assign(config, {
    hidden_size: hidden, intermediate_size: inner, num_attention_heads: heads, num_key_value_heads: kvHeads,
    num_hidden_layers: layers, head_dim: hidden / heads,
  });
  writeFileSync(join(folder, "config.json"), JSON.stringify(config));
  for (const name of ["tokenizer.json", "tokenizer_config.json", "generation_config.json"]) copyFileSync(join(model, name), join(folder, name));
  const r = random(seed);
  const kv = (hidden / heads) * kvHeads;
  const shards = Array.from({ length: layers }, (_, layer) => {
    const at = `model.layers.${layer}.`;
    return {
      ...(layer === 0 ? { "model.embed_tokens.weight": [config.vocab_size, hidden] } : {}),
      [`${at}input_layernorm.weight`]: [hidden],
      [`${at}self_attn.q_proj.weight`]: [hidden, hidden],
      [`${at}self_attn.k_proj.weight`]: [kv, hidden],
      [`${at}self_attn.v_proj.weight`]: [kv, hidden],
      [`${at}self_attn.o_proj.weight`]: [hidden, hidden],
      [`${at}post_attention_layernorm.weight`]: [hidden],
      [`${at}mlp.gate_proj.weight`]: [inner, hidden],
      [`${at}mlp.up_proj.weight`]: [inner, hidden],
      [`${at}mlp.down_proj.weight`]: [hidden, inner],
      ...(layer === layers - 1 ? { "model.norm.weight": [hidden] } : {}),
    };
  });
  const map = {};
  const names = shards.map((tensors, i) => {
    const name = `model-0000${i + 1}-of-0000${layers}.safetensors`;
    const header = {};
    let end = 0;
    for (const [tensor, shape] of Object.entries(tensors)) {
      const bytes = 2 * shape.reduce((a, b) => a * b);
      header[tensor] = { dtype: "BF16", shape, data_offsets: [end, (end += bytes)] };
      map[tensor] = name;
    }
    const text = Buffer.from(JSON.stringify(header).padEnd(8 * Math.ceil(JSON.stringify(header).length / 8)));
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(text.length));
    // Values from 2^-6 to 2^-5 of either sign.
    const weights = Uint16Array.from({ length: end / 2 }, () => {
      const bits = Math.floor(r() * 256);
      return ((bits & 128) << 8) | (121 << 7) | (bits & 127);
    });
    writeFileSync(join(folder, name), Buffer.concat([length, text, Buffer.from(weights.buffer)]));
    return name;
  });
  writeFileSync(join(folder, "model.safetensors.index.json"), JSON.stringify({ metadata: {}, weight_map: map }));
  return names;
}
