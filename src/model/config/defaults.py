"""Writes defaults.json: which keys of a config.json the configuration class of each model family of families.rs reads in Hugging
Face transformers (5.24.0), and the default where one is left out (null: none). It has only keys that Minke reads; whether
embeddings are tied is decided by the tensors, and token ids by the tokenizer.

    pip install transformers==5.24.0
    python src/model/config/defaults.py > src/model/config/defaults.json
"""

import dataclasses
import json
import re
from pathlib import Path

from transformers import CONFIG_MAPPING

# Every row of the table has its name in this form.
ROWS = (Path(__file__).parent.parent / "families.rs").read_text()
FAMILIES = sorted(re.findall(r'\bFamily::plain\("(\w+)"\)', ROWS))

KEYS = """attention_bias attention_chunk_size attention_multiplier attn_scale attn_temperature_tuning decoder_sparse_step
embedding_multiplier first_k_dense_replace floor_scale head_dim hidden_act hidden_activation hidden_size
interleave_moe_layer_step intermediate_size intermediate_size_mlp kv_lora_rank layer_types logits_scaling
max_position_embeddings max_window_layers mlp_bias mlp_only_layers moe_intermediate_size moe_layers n_group
n_routed_experts n_shared_experts no_rope_layer_interval no_rope_layers norm_topk_prob num_attention_heads num_experts
num_experts_per_tok num_hidden_layers num_key_value_heads num_local_experts original_max_position_embeddings q_lora_rank
qk_nope_head_dim qk_rope_head_dim qkv_bias query_pre_attn_scalar residual_multiplier rms_norm_eps rope_interleave
routed_scaling_factor shared_expert_intermediate_size sliding_window swiglu_limit topk_group topk_method use_qk_norm
use_sliding_window v_head_dim vocab_size""".split()

# Read by code that all classes share.
ALL_READ = ["head_dim", "original_max_position_embeddings", "rope_parameters", "rope_theta"]
# Read although the class does not declare them.
ALSO_READ = {"gemma3_text": ["sliding_window_pattern"], "phi3": ["partial_rotary_factor"]}
# Declared, but never read by the model.
UNREAD = {"deepseek_v2": ["norm_topk_prob"]}


def keys(name):
    config = CONFIG_MAPPING[name]
    fields = {f.name: None if f.default is dataclasses.MISSING else f.default for f in dataclasses.fields(config)}
    found = {key: fields[key] for key in KEYS if key in fields and key not in UNREAD.get(name, [])}
    found |= {key: None for key in [*ALL_READ, *ALSO_READ.get(name, [])] if key not in found}
    theta = config.default_theta
    if isinstance(theta, dict):
        found |= {"rope_theta": theta["global"], "rope_local_base_freq": theta["local"]}
    elif theta != 10_000.0:
        found["rope_theta"] = theta
    rope = config().rope_parameters
    if rope.get("rope_type", "default") != "default":
        found["rope_parameters"] = {key: value for key, value in rope.items() if key != "rope_theta"}
    return found


lines = [f" {json.dumps(name)}: {json.dumps(keys(name), sort_keys=True)}" for name in FAMILIES]
print("{\n" + ",\n".join(lines) + "\n}")
