"""Makes GGUF twins of the golden models, with PyPI `gguf` under llama.cpp's names.

    python tests/gguf_twins.py .cache/golden/models OUT [CASE ...]

It writes OUT/<case>.{f32,mix,plain}.gguf and prints the SHA-256 of each; tests/gguf_twins.json holds those, and tests/gguf_twins.rs
makes the same bytes. Names come from the package's own tables. Keys and tensors are sorted. The mix is Q8_0 where rows are whole
blocks and F16 elsewhere; norms, biases and routers stay F32. Facts for which llama.cpp has a fixed value and a golden model another are
written under the keys nearest to them (`extra`). The plain file is the f32 one without those keys and without those that llama.cpp
computes differently (`otherwise`); 4-bit floats become f32, and what llama.cpp refuses has another form (`loadable`). Both engines must
compute the same with it, though it is no longer the golden model.
"""

import hashlib
import json
import math
import sys
from pathlib import Path

import gguf
import numpy as np
import torch
from gguf import GGMLQuantizationType as T, quants
from safetensors import safe_open

# model_type: architecture
ARCHS = dict(llama="llama", mistral="llama", mixtral="llama", qwen2="qwen2", qwen2_moe="qwen2moe", qwen3="qwen3", qwen3_moe="qwen3moe",
             olmoe="olmoe", granitemoe="granitemoe", deepseek_v2="deepseek2", deepseek_v3="deepseek2", gpt_oss="gpt-oss",
             gemma3_text="gemma3", phi3="phi3", smollm3="smollm3", llama4_text="llama4")
CASES = ("deepseek_v2 deepseek_v2_full deepseek_v3 gemma3_text gpt_oss gpt_oss_mxfp4 granitemoe llama llama4_text llama_v5cfg "
         "mistral mixtral olmoe phi3 qwen2 qwen2_moe qwen3 qwen3_moe smollm3").split()
PERMUTED = ("llama", "granitemoe", "smollm3")


def key(template, arch):
    return template.format(arch=arch)


def metadata(c, arch):
    """{key: value}: bool, int (uint32), float (float32), str or a list of one of them."""
    L, A, R = gguf.Keys.LLM, gguf.Keys.Attention, gguf.Keys.Rope
    scaling = c.get("rope_scaling") or {}
    kind = scaling.get("rope_type", scaling.get("type"))
    theta = c.get("rope_theta", c.get("rope_parameters", {}).get("rope_theta"))
    heads, experts = c["num_attention_heads"], c.get("num_experts", c.get("num_local_experts", c.get("n_routed_experts")))
    head_dim = c.get("head_dim")
    out = {
        L.BLOCK_COUNT: c["num_hidden_layers"], L.CONTEXT_LENGTH: c["max_position_embeddings"], L.EMBEDDING_LENGTH: c["hidden_size"],
        L.FEED_FORWARD_LENGTH: c.get("intermediate_size_mlp", c["intermediate_size"]), L.VOCAB_SIZE: c["vocab_size"],
        A.HEAD_COUNT: heads, A.HEAD_COUNT_KV: c["num_key_value_heads"], A.LAYERNORM_RMS_EPS: float(c["rms_norm_eps"]), R.FREQ_BASE: float(theta),
    }
    if head_dim:
        out |= {A.KEY_LENGTH: head_dim, A.VALUE_LENGTH: head_dim}
    if arch in PERMUTED + ("phi3", "llama4"):
        out[R.DIMENSION_COUNT] = head_dim or c["hidden_size"] // heads
    if experts:
        out |= {L.EXPERT_COUNT: experts, L.EXPERT_USED_COUNT: c["num_experts_per_tok"]}
        inner = c.get("moe_intermediate_size", c["intermediate_size"] if arch in ("gpt-oss", "llama4") else None)
        if inner:
            out[L.EXPERT_FEED_FORWARD_LENGTH] = inner
        if shared := c.get("shared_expert_intermediate_size"):
            out[L.EXPERT_SHARED_FEED_FORWARD_LENGTH] = shared
    if kind == "yarn":
        out |= {R.SCALING_TYPE: "yarn", R.SCALING_FACTOR: float(scaling["factor"]), R.SCALING_ORIG_CTX_LEN: scaling["original_max_position_embeddings"],
                R.SCALING_YARN_BETA_FAST: float(scaling["beta_fast"]), R.SCALING_YARN_BETA_SLOW: float(scaling["beta_slow"])}
    if kind == "longrope":
        original = c["original_max_position_embeddings"]
        out |= {R.SCALING_ORIG_CTX_LEN: original, R.SCALING_ATTN_FACTOR: math.sqrt(1 + math.log(c["max_position_embeddings"] / original) / math.log(original))}
    if arch == "deepseek2":
        rank, rope, nope = c["kv_lora_rank"], c["qk_rope_head_dim"], c["qk_nope_head_dim"]
        out |= {
            A.HEAD_COUNT_KV: 1, A.Q_LORA_RANK: c["q_lora_rank"] or 0, A.KV_LORA_RANK: rank, A.KEY_LENGTH: rank + rope, A.VALUE_LENGTH: rank,
            A.KEY_LENGTH_MLA: nope + rope, A.VALUE_LENGTH_MLA: c["v_head_dim"], R.DIMENSION_COUNT: rope,
            R.SCALING_YARN_LOG_MUL: 0.1 * scaling["mscale_all_dim"], L.LEADING_DENSE_BLOCK_COUNT: c["first_k_dense_replace"],
            L.EXPERT_SHARED_COUNT: c["n_shared_experts"], L.EXPERT_WEIGHTS_SCALE: float(c["routed_scaling_factor"]),
            L.EXPERT_GROUP_COUNT: c["n_group"], L.EXPERT_GROUP_USED_COUNT: c["topk_group"],
            L.EXPERT_GATING_FUNC: {"softmax": 1, "sigmoid": 2}[c["scoring_func"]],
        }
        if c["norm_topk_prob"]:
            out[L.EXPERT_WEIGHTS_NORM] = True
    if arch == "granitemoe":
        out |= {A.SCALE: c["attention_multiplier"], L.EMBEDDING_SCALE: c["embedding_multiplier"], L.RESIDUAL_SCALE: c["residual_multiplier"],
                L.LOGIT_SCALE: c["logits_scaling"]}
    if arch == "gemma3":
        out |= {A.SLIDING_WINDOW: c["sliding_window"], A.SLIDING_WINDOW_PATTERN: c["sliding_window_pattern"], R.FREQ_BASE_SWA: float(c["rope_local_base_freq"])}
    if arch in ("gpt-oss", "phi3"):
        out[A.SLIDING_WINDOW] = c["sliding_window"]
    if arch == "llama4":
        out[L.INTERLEAVE_MOE_LAYER_STEP] = c["interleave_moe_layer_step"]
    return {key(k, arch): v for k, v in (out | extra(c, arch)).items()}


def extra(c, arch):
    """Keys that llama.cpp does not read."""
    L, A = gguf.Keys.LLM, gguf.Keys.Attention
    if arch == "gemma3":
        return {A.SCALE: c["query_pre_attn_scalar"] ** -0.5}
    if arch == "gpt-oss":
        return {L.SWIGLU_CLAMP_EXP: [c["swiglu_limit"]] * c["num_hidden_layers"]}
    if arch == "llama4":
        return {A.SLIDING_WINDOW: c["attention_chunk_size"], A.TEMPERATURE_LENGTH: c["floor_scale"], A.TEMPERATURE_SCALE: c["attn_scale"]}
    if c["model_type"] == "mistral":
        return {A.SLIDING_WINDOW: c["sliding_window"]}
    return {}


def otherwise(c, arch):
    """Keys that llama.cpp computes differently from the reference: it ignores the windows of Phi-3, rounds the ends of gpt-oss's YaRN
    ramp, and scores DeepSeek-V2's groups of experts by their best two."""
    L, A, R = gguf.Keys.LLM, gguf.Keys.Attention, gguf.Keys.Rope
    if arch == "phi3":
        return [A.SLIDING_WINDOW]
    if arch == "gpt-oss":
        return [R.SCALING_TYPE, R.SCALING_FACTOR, R.SCALING_ORIG_CTX_LEN, R.SCALING_YARN_BETA_FAST, R.SCALING_YARN_BETA_SLOW]
    if c["model_type"] == "deepseek_v2":
        return [L.EXPERT_GROUP_COUNT, L.EXPERT_GROUP_USED_COUNT]
    return []


def loadable(c, values):
    """Returns config and tensors in a form that llama.cpp accepts: OLMoE's shared key heads are repeated (their norm stays the same),
    and Qwen2-MoE has only the layers before its first dense one."""
    kv, heads = c["num_key_value_heads"], c["num_attention_heads"]
    if c["model_type"] == "olmoe":
        repeated = lambda w: np.repeat(w.reshape(kv, -1, *w.shape[1:]), heads // kv, axis=0).reshape(-1, *w.shape[1:])
        shared = ("attn_k.weight", "attn_v.weight", "attn_k_norm.weight")
        return c | {"num_key_value_heads": heads}, {n: repeated(w) if n.endswith(shared) else w for n, w in values.items()}
    if c["model_type"] == "qwen2_moe":
        layers = min(c["mlp_only_layers"])
        kept = lambda n: not n.startswith("blk.") or int(n.split(".")[1]) < layers
        return c | {"num_hidden_layers": layers}, {n: w for n, w in values.items() if kept(n)}
    return c, values


def vocabulary(c):
    """256 bytes, one merge, and a control token wherever the config names one."""
    K, others = gguf.Keys.Tokenizer, iter(range(0x100, 0x200))
    shown = lambda b: 0x21 <= b <= 0x7E or 0xA1 <= b <= 0xAC or 0xAE <= b <= 0xFF
    tokens = [chr(b) if shown(b) else chr(next(others)) for b in range(256)] + ["ab"]
    tokens += [f"[PAD{i}]" for i in range(257, c["vocab_size"])]
    types = [1] * 257 + [5] * (c["vocab_size"] - 257)
    eos = c["eos_token_id"][0] if isinstance(c["eos_token_id"], list) else c["eos_token_id"]
    for name, i in (("<s>", c["bos_token_id"]), ("</s>", eos)):
        tokens[i], types[i] = name, 3
    return {K.MODEL: "gpt2", K.PRE: "gpt-2", K.LIST: tokens, K.TOKEN_TYPE: types, K.MERGES: ["a b"], K.BOS_ID: c["bos_token_id"], K.EOS_ID: eos}


def permuted(w, heads):
    """Interleaves the two halves of each head."""
    return w.reshape(heads, 2, -1, *w.shape[1:]).swapaxes(1, 2).reshape(w.shape)


def published(folder):
    out = {}
    for file in sorted(folder.glob("model*.safetensors")):
        with safe_open(file, "pt") as f:
            out |= {name: f.get_tensor(name) for name in f.keys()}
    return {name: t.numpy() if t.dtype == torch.uint8 else t.float().numpy() for name, t in out.items()}


def mxfp4(blocks, exponents):
    """Repacks MXFP4: published bytes hold two neighbouring values; those of GGUF hold values 16 apart, after their exponent."""
    values = np.stack([blocks & 15, blocks >> 4], axis=-1).reshape(*blocks.shape[:-1], 32)
    bytes_ = np.concatenate([exponents[..., None], values[..., :16] | values[..., 16:] << 4], axis=-1)
    return bytes_.reshape(*bytes_.shape[:-2], -1)


def tensors(folder, c, arch):
    """{GGUF name: f32 values, or MXFP4 bytes}"""
    layers, heads, kv = c["num_hidden_layers"], c["num_attention_heads"], c["num_key_value_heads"]
    maps = [gguf.get_tensor_name_map(next(a for a, n in gguf.MODEL_ARCH_NAMES.items() if n == name), layers) for name in (arch, "llama")]
    weights, out, experts = published(folder), {}, {}

    def put(name, w):
        found = next(filter(None, (m.get_name(name, (".weight", ".bias")) for m in maps)), None)
        assert found, name
        out[found] = w

    for name, w in weights.items():
        layer, _, rest = name.removeprefix("model.layers.").partition(".")
        if layer.isdigit() and int(layer) >= layers or name.endswith("_scales"):
            continue
        at = lambda s: f"model.layers.{layer}.{s}"
        if arch == "gemma3" and rest.endswith("norm.weight") or arch == "gemma3" and name == "model.norm.weight":
            w = w + np.float32(1)
        if arch in PERMUTED and rest.startswith(("self_attn.q_proj", "self_attn.k_proj")):
            w = permuted(w, heads if "q_proj" in rest else kv)
        if ".experts." in name and rest.split(".")[2].isdigit():
            block, _, expert, which, _ = rest.split(".")
            which = dict(w1="gate_proj", w2="down_proj", w3="up_proj").get(which, which)
            experts.setdefault(at(f"mlp.experts.{which}.weight"), {})[int(expert)] = w
        elif name.endswith("input_linear.weight"):
            gate, up = np.split(w, 2, axis=1)
            put(at("mlp.experts.gate_proj.weight"), gate), put(at("mlp.experts.up_proj.weight"), up)
        elif name.endswith("output_linear.weight"):
            put(at("mlp.experts.down_proj.weight"), w)
        elif name.endswith("experts.gate_up_proj"):
            w = w.swapaxes(1, 2)
            gate, up = (w[:, ::2], w[:, 1::2]) if arch == "gpt-oss" else np.split(w, 2, axis=1)
            put(at("mlp.experts.gate_proj.weight"), gate), put(at("mlp.experts.up_proj.weight"), up)
        elif name.endswith("experts.down_proj"):
            put(at("mlp.experts.down_proj.weight"), w.swapaxes(1, 2))
        elif name.endswith("experts.gate_up_proj_bias"):
            put(at("mlp.experts.gate_proj.bias"), w[:, ::2]), put(at("mlp.experts.up_proj.bias"), w[:, 1::2])
        elif name.endswith("experts.down_proj_bias"):
            put(at("mlp.experts.down_proj.bias"), w)
        elif name.endswith("gate_up_proj_blocks"):
            w = mxfp4(w, weights[name.replace("_blocks", "_scales")])
            put(at("mlp.experts.gate_proj.weight"), w[:, ::2]), put(at("mlp.experts.up_proj.weight"), w[:, 1::2])
        elif name.endswith("down_proj_blocks"):
            put(at("mlp.experts.down_proj.weight"), mxfp4(w, weights[name.replace("_blocks", "_scales")]))
        elif name.endswith("kv_b_proj.weight"):
            w = w.reshape(heads, -1, w.shape[1])
            put(at("self_attn.k_b_proj.weight"), w[:, : c["qk_nope_head_dim"]].swapaxes(1, 2))
            put(at("self_attn.v_b_proj.weight"), w[:, c["qk_nope_head_dim"]:])
        elif name.endswith("e_score_correction_bias"):
            put(at("mlp.gate.e_score_correction.bias"), w)
        elif name.endswith("sinks"):
            put(name + ".weight", w)
        elif name.endswith("shared_expert_gate.weight"):
            put(name, w.reshape(-1))
        else:
            put(name, w)
    for name, parts in experts.items():
        put(name, np.stack([parts[i] for i in range(len(parts))]))
    scaling = c.get("rope_scaling") or {}
    if scaling.get("rope_type") == "llama3":
        out["rope_freqs.weight"] = llama3(scaling, c["rope_theta"], c["head_dim"])
    if scaling.get("type") == "longrope":
        for length in ("long", "short"):
            out[f"rope_factors_{length}.weight"] = np.array(scaling[length + "_factor"], dtype=np.float32)
    return out


def llama3(s, theta, dim):
    out = []
    for i in range(0, dim, 2):
        turns = s["original_max_position_embeddings"] / (2 * math.pi * theta ** (i / dim))
        low, high = s["low_freq_factor"], s["high_freq_factor"]
        smooth = (turns - low) / (high - low) if high > low else 0
        out.append(s["factor"] if turns < low else 1 if turns > high else 1 / ((1 - smooth) / s["factor"] + smooth))
    return np.array(out, dtype=np.float32)


def stored(name, w, form):
    """The type of a tensor and its bytes."""
    if w.dtype == np.uint8:  # llama.cpp multiplies these with inputs of 8 bits
        return (T.F32, quants.dequantize(w, T.MXFP4)) if form == "plain" else (T.MXFP4, w)
    small = w.ndim < 2 or name.endswith(".bias") or "ffn_gate_inp" in name
    kind = T.F32 if small or form != "mix" else T.Q8_0 if w.shape[-1] % 32 == 0 else T.F16
    return kind, quants.quantize(np.ascontiguousarray(w, dtype=np.float32), kind)


def write(path, c, arch, values, form):
    if form == "plain":
        c, values = loadable(c, values)
    writer = gguf.GGUFWriter(path, arch)
    left_out = {key(k, arch) for k in [*extra(c, arch), *otherwise(c, arch)]} if form == "plain" else ()
    for k, v in sorted((metadata(c, arch) | vocabulary(c)).items()):
        if k in left_out:
            continue
        {bool: writer.add_bool, int: writer.add_uint32, float: writer.add_float32, str: writer.add_string, list: writer.add_array}[type(v)](k, v)
    for name, w in sorted(values.items()):
        kind, bytes_ = stored(name, w, form)
        writer.add_tensor(name, bytes_, raw_dtype=kind)
    writer.write_header_to_file(), writer.write_kv_data_to_file(), writer.write_tensors_to_file(), writer.close()


def main():
    models, out, cases = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:] or CASES
    out.mkdir(parents=True, exist_ok=True)
    sums = {}
    for case in cases:
        c = json.loads((models / case / "config.json").read_text())
        arch = ARCHS[c["model_type"]]
        values = tensors(models / case, c, arch)
        for form in ("f32", "mix", "plain"):
            path = out / f"{case}.{form}.gguf"
            write(path, c, arch, values, form)
            sums[path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
    print(json.dumps(sums, indent=1))


if __name__ == "__main__":
    main()
