//! What published files call the tensors of a decoder: Hugging Face's names and GGUF's, by our roles.

use crate::weights::checkpoint::Format;

/// role, Hugging Face, GGUF. A layer's names follow `model.layers.N.` and `blk.N.`.
const LAYER: &[(&str, &str, &str)] = &[
    ("attn_norm", "input_layernorm.weight", "attn_norm.weight"),
    ("qkv", "self_attn.qkv_proj.weight", "attn_qkv.weight"),
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
    ("attn_post_norm", "post_attention_layernorm.weight", "post_attention_norm.weight"),
    ("mlp_pre_norm", "pre_feedforward_layernorm.weight", "ffn_norm.weight"),
    ("mlp_post_norm", "post_feedforward_layernorm.weight", "post_ffw_norm.weight"),
    ("gate_up", "mlp.gate_up_proj.weight", "ffn_up.weight"),
    ("gate", "mlp.gate_proj.weight", "ffn_gate.weight"),
    ("up", "mlp.up_proj.weight", "ffn_up.weight"),
    ("down", "mlp.down_proj.weight", "ffn_down.weight"),
    ("gate.bias", "mlp.gate_proj.bias", "ffn_gate.bias"),
    ("up.bias", "mlp.up_proj.bias", "ffn_up.bias"),
    ("down.bias", "mlp.down_proj.bias", "ffn_down.bias"),
];

/// role, Hugging Face, GGUF, outside the layers.
const MODEL: &[(&str, &str, &str)] = &[
    ("embed", "embed_tokens.weight", "token_embd.weight"),
    ("norm", "norm.weight", "output_norm.weight"),
    ("head", "lm_head.weight", "output.weight"),
];

/// Where Hugging Face's files keep the text model and its head: alone, or inside a multimodal one.
const PLACES: &[(&str, &str)] =
    &[("model.", ""), ("model.language_model.", ""), ("language_model.model.", "language_model.")];

/// The published names of a checkpoint.
#[derive(Debug, Clone, Copy)]
pub(super) struct Names {
    format: Format,
    place: (&'static str, &'static str),
}

impl Names {
    /// Of a checkpoint; `has` tells whether it has a tensor of that name.
    pub(super) fn of(format: Format, has: impl Fn(&str) -> bool) -> Self {
        let holds = |(place, _): &&(&str, &str)| has(&format!("{place}embed_tokens.weight"));
        Self { format, place: *PLACES.iter().find(holds).unwrap_or(&PLACES[0]) }
    }

    /// The name of a role: `embed`, or `3.q` for layer 3's queries.
    pub(super) fn published(self, role: &str) -> String {
        let pick = |table: &[(&str, &'static str, &'static str)], role: &str| {
            let (_, hf, gguf) =
                table.iter().find(|(r, ..)| *r == role).unwrap_or_else(|| panic!("no tensor has the role {role}"));
            match self.format {
                Format::Safetensors => *hf,
                Format::Gguf => *gguf,
            }
        };
        let (place, head) = self.place;
        match role.split_once('.') {
            Some((layer, rest)) if layer.bytes().all(|b| b.is_ascii_digit()) => match self.format {
                Format::Safetensors => format!("{place}layers.{layer}.{}", pick(LAYER, rest)),
                Format::Gguf => format!("blk.{layer}.{}", pick(LAYER, rest)),
            },
            _ => match self.format {
                Format::Safetensors if role == "head" => format!("{head}{}", pick(MODEL, role)),
                Format::Safetensors => format!("{place}{}", pick(MODEL, role)),
                Format::Gguf => pick(MODEL, role).to_owned(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_become_published_names() {
        let alone = Names::of(Format::Safetensors, |name| name == "model.embed_tokens.weight");
        assert_eq!(alone.published("3.q.bias"), "model.layers.3.self_attn.q_proj.bias");
        assert_eq!(alone.published("head"), "lm_head.weight");
        let inside = Names::of(Format::Safetensors, |name| name == "language_model.model.embed_tokens.weight");
        assert_eq!(inside.published("norm"), "language_model.model.norm.weight");
        assert_eq!(inside.published("head"), "language_model.lm_head.weight");
        let gguf = Names::of(Format::Gguf, |_| false);
        assert_eq!(gguf.published("12.down"), "blk.12.ffn_down.weight");
        assert_eq!(gguf.published("embed"), "token_embd.weight");
    }
}
