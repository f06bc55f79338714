//! What published files call the tensors of a decoder: Hugging Face's names and GGUF's, by our roles.

use crate::weights::checkpoint::Format;

/// role, Hugging Face, GGUF. A layer's names follow `model.layers.N.` and `blk.N.`; `|` parts the names that families
/// have for one thing, `*` is an expert's number, `-` says that a format has no such tensor.
const LAYER: &[(&str, &str, &str)] = &[
    ("attn_norm", "input_layernorm.weight", "attn_norm.weight"),
    ("qkv", "self_attn.qkv_proj.weight", "attn_qkv.weight"),
    ("q", "self_attn.q_proj.weight", "attn_q.weight"),
    ("k", "self_attn.k_proj.weight", "attn_k.weight"),
    ("v", "self_attn.v_proj.weight", "attn_v.weight"),
    ("o", "self_attn.o_proj.weight", "attn_output.weight"),
    ("q_norm", "self_attn.q_norm.weight", "attn_q_norm.weight"),
    ("k_norm", "self_attn.k_norm.weight", "attn_k_norm.weight"),
    ("q_a", "self_attn.q_a_proj.weight", "attn_q_a.weight"),
    ("q_a_norm", "self_attn.q_a_layernorm.weight", "attn_q_a_norm.weight"),
    ("q_b", "self_attn.q_b_proj.weight", "attn_q_b.weight"),
    ("kv_a", "self_attn.kv_a_proj_with_mqa.weight", "attn_kv_a_mqa.weight"),
    ("kv_a_norm", "self_attn.kv_a_layernorm.weight", "attn_kv_a_norm.weight"),
    ("kv_b", "self_attn.kv_b_proj.weight", "attn_kv_b.weight"),
    ("k_b", "-", "attn_k_b.weight"),
    ("v_b", "-", "attn_v_b.weight"),
    ("qkv.bias", "self_attn.qkv_proj.bias", "attn_qkv.bias"),
    ("q.bias", "self_attn.q_proj.bias", "attn_q.bias"),
    ("k.bias", "self_attn.k_proj.bias", "attn_k.bias"),
    ("v.bias", "self_attn.v_proj.bias", "attn_v.bias"),
    ("o.bias", "self_attn.o_proj.bias", "attn_output.bias"),
    ("q_a.bias", "self_attn.q_a_proj.bias", "attn_q_a.bias"),
    ("kv_a.bias", "self_attn.kv_a_proj_with_mqa.bias", "attn_kv_a_mqa.bias"),
    ("mlp_norm", "post_attention_layernorm.weight", "ffn_norm.weight|post_attention_norm.weight"),
    ("attn_post_norm", "post_attention_layernorm.weight", "post_attention_norm.weight"),
    ("mlp_pre_norm", "pre_feedforward_layernorm.weight", "ffn_norm.weight"),
    ("mlp_post_norm", "post_feedforward_layernorm.weight", "post_ffw_norm.weight"),
    ("gate_up", "mlp.gate_up_proj.weight", "ffn_up.weight"),
    ("gate", "mlp.gate_proj.weight|feed_forward.gate_proj.weight", "ffn_gate.weight"),
    ("up", "mlp.up_proj.weight|feed_forward.up_proj.weight", "ffn_up.weight"),
    ("down", "mlp.down_proj.weight|feed_forward.down_proj.weight", "ffn_down.weight"),
    ("gate.bias", "mlp.gate_proj.bias", "ffn_gate.bias"),
    ("up.bias", "mlp.up_proj.bias", "ffn_up.bias"),
    ("down.bias", "mlp.down_proj.bias", "ffn_down.bias"),
    (
        "router",
        "mlp.gate.weight|block_sparse_moe.gate.weight|block_sparse_moe.router.layer.weight|block_sparse_moe.router.weight|mlp.router.weight|feed_forward.router.weight",
        "ffn_gate_inp.weight",
    ),
    ("sinks", "self_attn.sinks", "attn_sinks.weight"),
    ("router.bias", "mlp.router.bias", "ffn_gate_inp.bias"),
    // Tensors of all experts, each stored in rows or transposed. The shape tells which, or the family if both shapes are equal.
    (
        "experts.gate_up.whole",
        "feed_forward.experts.gate_up_proj|mlp.experts.gate_up_proj|block_sparse_moe.experts.gate_up_proj",
        "-",
    ),
    ("experts.gate_up.blocks", "mlp.experts.gate_up_proj_blocks", "-"),
    ("experts.gate_up.bias", "mlp.experts.gate_up_proj_bias", "-"),
    // In rows, as packs have them.
    ("experts.gate_up.rows", "feed_forward.experts.gate_up_proj.weight|mlp.experts.gate_up_proj.weight", "-"),
    ("experts.down.rows", "feed_forward.experts.down_proj.weight|mlp.experts.down_proj.weight", "-"),
    ("experts.gate.bias", "-", "ffn_gate_exps.bias"),
    ("experts.up.bias", "-", "ffn_up_exps.bias"),
    (
        "experts.down.whole",
        "feed_forward.experts.down_proj|mlp.experts.down_proj|block_sparse_moe.experts.down_proj",
        "-",
    ),
    ("experts.down.blocks", "mlp.experts.down_proj_blocks", "-"),
    ("experts.down.bias", "mlp.experts.down_proj_bias", "ffn_down_exps.bias"),
    ("router.correction", "mlp.gate.e_score_correction_bias", "exp_probs_b.bias"),
    ("expert.*.gate", "mlp.experts.*.gate_proj.weight|block_sparse_moe.experts.*.w1.weight", "ffn_gate.*.weight"),
    ("expert.*.up", "mlp.experts.*.up_proj.weight|block_sparse_moe.experts.*.w3.weight", "ffn_up.*.weight"),
    ("expert.*.down", "mlp.experts.*.down_proj.weight|block_sparse_moe.experts.*.w2.weight", "ffn_down.*.weight"),
    ("experts.gate_up", "block_sparse_moe.input_linear.weight", "ffn_gate_up_exps.weight"),
    ("experts.gate", "mlp.experts.gate_proj.weight", "ffn_gate_exps.weight"),
    ("experts.up", "mlp.experts.up_proj.weight", "ffn_up_exps.weight"),
    ("experts.down", "block_sparse_moe.output_linear.weight", "ffn_down_exps.weight"),
    ("shared.router", "mlp.shared_expert_gate.weight", "ffn_gate_inp_shexp.weight"),
    (
        "shared.gate",
        "mlp.shared_expert.gate_proj.weight|mlp.shared_experts.gate_proj.weight|feed_forward.shared_expert.gate_proj.weight",
        "ffn_gate_shexp.weight",
    ),
    (
        "shared.up",
        "mlp.shared_expert.up_proj.weight|mlp.shared_experts.up_proj.weight|feed_forward.shared_expert.up_proj.weight",
        "ffn_up_shexp.weight",
    ),
    (
        "shared.down",
        "mlp.shared_expert.down_proj.weight|mlp.shared_experts.down_proj.weight|feed_forward.shared_expert.down_proj.weight",
        "ffn_down_shexp.weight",
    ),
];

/// role, Hugging Face, GGUF, outside the layers.
const MODEL: &[(&str, &str, &str)] = &[
    ("embed", "embed_tokens.weight", "token_embd.weight"),
    ("norm", "norm.weight", "output_norm.weight"),
    ("head", "lm_head.weight", "output.weight"),
];

/// Where Hugging Face's files keep the text model and its head: with a head, inside a multimodal model as older and newer
/// classes save it, or as a base model without a head is saved.
const PLACES: &[(&str, &str)] = &[
    ("model.", ""),
    ("model.language_model.", ""),
    ("language_model.model.", "language_model."),
    ("model.text_model.", ""),
    ("language_model.", ""),
    ("text_model.", ""),
    ("", ""),
];

/// The published names of a checkpoint.
#[derive(Debug, Clone, Copy)]
pub(super) struct Names {
    format: Format,
    place: (&'static str, &'static str),
}

impl Names {
    /// The names of a checkpoint; `has` tells whether it has a tensor of that name.
    pub(super) fn of(format: Format, has: impl Fn(&str) -> bool) -> Self {
        let holds = |(place, _): &&(&str, &str)| has(&format!("{place}norm.weight"));
        Self { format, place: *PLACES.iter().find(holds).unwrap_or(&PLACES[0]) }
    }

    /// The names that a role may have, the likeliest first: `embed`, `3.q` for layer 3's queries, `3.expert.5.up`.
    pub(super) fn candidates(self, role: &str) -> Vec<String> {
        let pick = |table: &[(&str, &'static str, &'static str)], role: &str| {
            let (_, hf, gguf) =
                table.iter().find(|(r, ..)| *r == role).unwrap_or_else(|| panic!("no tensor has the role {role}"));
            match self.format {
                Format::Safetensors => *hf,
                Format::Gguf => *gguf,
            }
        };
        let (place, head) = self.place;
        let numbered = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_digit());
        let Some((layer, rest)) = role.split_once('.').filter(|(layer, _)| numbered(layer)) else {
            let name = pick(MODEL, role);
            return vec![match self.format {
                Format::Safetensors if role == "head" => format!("{head}{name}"),
                Format::Safetensors => format!("{place}{name}"),
                Format::Gguf => name.to_owned(),
            }];
        };
        let expert = rest.split('.').find(|word| numbered(word));
        let rest = expert.map_or_else(|| rest.to_owned(), |number| rest.replace(&format!(".{number}."), ".*."));
        let prefix = match self.format {
            Format::Safetensors => format!("{place}layers.{layer}."),
            Format::Gguf => format!("blk.{layer}."),
        };
        let named = |name: &str| format!("{prefix}{}", name.replace('*', expert.unwrap_or_default()));
        pick(LAYER, &rest).split('|').map(named).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_become_published_names() {
        let alone = Names::of(Format::Safetensors, |name| name == "model.norm.weight");
        assert_eq!(alone.candidates("3.q.bias"), ["model.layers.3.self_attn.q_proj.bias"]);
        assert_eq!(alone.candidates("head"), ["lm_head.weight"]);
        let both =
            ["model.layers.3.mlp.experts.17.up_proj.weight", "model.layers.3.block_sparse_moe.experts.17.w3.weight"];
        assert_eq!(alone.candidates("3.expert.17.up"), both);
        let inside = Names::of(Format::Safetensors, |name| name == "language_model.model.norm.weight");
        assert_eq!(inside.candidates("norm"), ["language_model.model.norm.weight"]);
        assert_eq!(inside.candidates("head"), ["language_model.lm_head.weight"]);
        let base = Names::of(Format::Safetensors, |name| name == "norm.weight");
        assert_eq!(base.candidates("3.q"), ["layers.3.self_attn.q_proj.weight"]);
        assert_eq!(
            (base.candidates("embed"), base.candidates("head")),
            (vec!["embed_tokens.weight".into()], vec!["lm_head.weight".into()])
        );
        let gguf = Names::of(Format::Gguf, |_| false);
        assert_eq!(gguf.candidates("12.down"), ["blk.12.ffn_down.weight"]);
        assert_eq!(gguf.candidates("embed"), ["token_embd.weight"]);
    }
}
