//! What published files call the tensors of a decoder: Hugging Face's names and GGUF's, by our roles.

use crate::weights::checkpoint::Format;

/// role, Hugging Face, GGUF. A layer's names follow `model.layers.N.` and `blk.N.`.
const LAYER: &[(&str, &str, &str)] = &[
    ("attn_norm", "input_layernorm.weight", "attn_norm.weight"),
    ("q", "self_attn.q_proj.weight", "attn_q.weight"),
    ("k", "self_attn.k_proj.weight", "attn_k.weight"),
    ("v", "self_attn.v_proj.weight", "attn_v.weight"),
    ("o", "self_attn.o_proj.weight", "attn_output.weight"),
    ("q_norm", "self_attn.q_norm.weight", "attn_q_norm.weight"),
    ("k_norm", "self_attn.k_norm.weight", "attn_k_norm.weight"),
    ("q.bias", "self_attn.q_proj.bias", "attn_q.bias"),
    ("k.bias", "self_attn.k_proj.bias", "attn_k.bias"),
    ("v.bias", "self_attn.v_proj.bias", "attn_v.bias"),
    ("o.bias", "self_attn.o_proj.bias", "attn_output.bias"),
    ("mlp_norm", "post_attention_layernorm.weight", "ffn_norm.weight"),
    ("gate", "mlp.gate_proj.weight", "ffn_gate.weight"),
    ("up", "mlp.up_proj.weight", "ffn_up.weight"),
    ("down", "mlp.down_proj.weight", "ffn_down.weight"),
    ("gate.bias", "mlp.gate_proj.bias", "ffn_gate.bias"),
    ("up.bias", "mlp.up_proj.bias", "ffn_up.bias"),
    ("down.bias", "mlp.down_proj.bias", "ffn_down.bias"),
];

/// role, Hugging Face, GGUF, outside the layers.
const MODEL: &[(&str, &str, &str)] = &[
    ("embed", "model.embed_tokens.weight", "token_embd.weight"),
    ("norm", "model.norm.weight", "output_norm.weight"),
    ("head", "lm_head.weight", "output.weight"),
];

/// The published name of a role: `embed`, or `3.q` for layer 3's queries.
pub(super) fn published(format: Format, role: &str) -> String {
    let pick = |table: &[(&str, &'static str, &'static str)], role: &str| {
        let (_, hf, gguf) =
            table.iter().find(|(r, ..)| *r == role).unwrap_or_else(|| panic!("no tensor has the role {role}"));
        match format {
            Format::Safetensors => *hf,
            Format::Gguf => *gguf,
        }
    };
    match role.split_once('.') {
        Some((layer, rest)) if layer.bytes().all(|b| b.is_ascii_digit()) => match format {
            Format::Safetensors => format!("model.layers.{layer}.{}", pick(LAYER, rest)),
            Format::Gguf => format!("blk.{layer}.{}", pick(LAYER, rest)),
        },
        _ => pick(MODEL, role).to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_become_published_names() {
        assert_eq!(published(Format::Safetensors, "3.q.bias"), "model.layers.3.self_attn.q_proj.bias");
        assert_eq!(published(Format::Gguf, "12.down"), "blk.12.ffn_down.weight");
        assert_eq!(published(Format::Gguf, "embed"), "token_embd.weight");
    }
}
