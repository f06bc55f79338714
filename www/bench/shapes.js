// Shapes of published models, from their authors' configurations. Weights of the layers have 4 bits, those of the embedding and the head 8.

const qwen = { vocabulary: 151936 };

/** By name. `head` is the width of a head, where it is not hidden / heads; `tied`: the embedding is the head, too. */
export const SHAPES = {
  "SmolLM2-135M": { architecture: "llama", layers: 30, hidden: 576, heads: 9, kvHeads: 3, inner: 1536, vocabulary: 49152, tied: true },
  "Qwen2.5-0.5B": { architecture: "qwen2", layers: 24, hidden: 896, heads: 14, kvHeads: 2, inner: 4864, tied: true, ...qwen },
  "DeepSeek-R1-Distill-Qwen-1.5B": { architecture: "qwen2", layers: 28, hidden: 1536, heads: 12, kvHeads: 2, inner: 8960, ...qwen },
  "Llama-3.2-3B": { architecture: "llama", layers: 28, hidden: 3072, heads: 24, kvHeads: 8, inner: 8192, vocabulary: 128256, tied: true },
  "Qwen3-8B": { architecture: "qwen3", layers: 36, hidden: 4096, heads: 32, kvHeads: 8, head: 128, inner: 12288, ...qwen },
  "Qwen3-30B-A3B": { architecture: "qwen3moe", layers: 48, hidden: 2048, heads: 32, kvHeads: 4, head: 128, inner: 768, experts: 128, chosen: 8, ...qwen },
};

/** Not a published one: for trying the page, and for the cost of the self-test, which does not depend on a model's size. */
export const TINY = { architecture: "qwen2", layers: 2, hidden: 256, heads: 4, kvHeads: 2, inner: 512, vocabulary: 2048 };

/** Name, format, dimensions (the longest stride last) and how much of it a token reads, of each tensor. */
export function tensors({ architecture, layers, hidden, heads, kvHeads, head = hidden / heads, inner, experts, chosen, vocabulary, tied }) {
  const list = [{ name: "token_embd.weight", format: "Q8_0", dims: [hidden, vocabulary], read: tied ? 1 : 1 / vocabulary }];
  for (let layer = 0; layer < layers; layer++) {
    const add = (name, format, dims, read = 1) => list.push({ name: `blk.${layer}.${name}`, format, dims, read });
    add("attn_norm.weight", "F32", [hidden]);
    for (const [name, rows] of [["q", heads * head], ["k", kvHeads * head], ["v", kvHeads * head]]) {
      add(`attn_${name}.weight`, "Q4_0", [hidden, rows]);
      if (architecture === "qwen2") add(`attn_${name}.bias`, "F32", [rows]);
      if (architecture.startsWith("qwen3") && name !== "v") add(`attn_${name}_norm.weight`, "F32", [head]);
    }
    add("attn_output.weight", "Q4_0", [heads * head, hidden]);
    add("ffn_norm.weight", "F32", [hidden]);
    if (experts === undefined) {
      add("ffn_gate.weight", "Q4_0", [hidden, inner]);
      add("ffn_up.weight", "Q4_0", [hidden, inner]);
      add("ffn_down.weight", "Q4_0", [inner, hidden]);
    } else {
      add("ffn_gate_inp.weight", "F32", [hidden, experts]);
      add("ffn_gate_exps.weight", "Q4_0", [hidden, inner, experts], chosen / experts);
      add("ffn_up_exps.weight", "Q4_0", [hidden, inner, experts], chosen / experts);
      add("ffn_down_exps.weight", "Q4_0", [inner, hidden, experts], chosen / experts);
    }
  }
  list.push({ name: "output_norm.weight", format: "F32", dims: [hidden], read: 1 });
  if (!tied) list.push({ name: "output.weight", format: "Q8_0", dims: [hidden, vocabulary], read: 1 });
  return list;
}

/** Type number, values and bytes of a block, in GGUF. */
export const FORMATS = {
  F32: { type: 0, values: 1, bytes: 4 },
  Q4_0: { type: 2, values: 32, bytes: 18 },
  Q8_0: { type: 8, values: 32, bytes: 34 },
};

export const valuesOf = ({ dims }) => dims.reduce((a, b) => a * b);
export const bytesOf = (tensor) => (valuesOf(tensor) / FORMATS[tensor.format].values) * FORMATS[tensor.format].bytes;

/** Weights, their bytes, and the bytes of them that a decoded token reads. */
export function size(shape) {
  const total = { parameters: 0, bytes: 0, read: 0 };
  for (const tensor of tensors(shape)) {
    total.parameters += valuesOf(tensor);
    total.bytes += bytesOf(tensor);
    total.read += bytesOf(tensor) * tensor.read;
  }
  return total;
}

/** Bytes of 16-bit keys and values that a token after `context` others reads. */
export const cacheBytes = ({ layers, hidden, heads, kvHeads, head = hidden / heads }, context) => 2 * 2 * layers * kvHeads * head * context;
