//! Tests other forms of GGUF files of the same models: older and fused tensors, other number formats, split files.

use minke::engine::{Engine, LoadOptions};
use minke::gpu::DeviceOptions;
use minke::model::Quantization;
use minke::weights::{Folder, MemoryFolder};
use minke::{Cancel, Error, FormatKind};

use crate::common::{HOST, all_logits, block_on, on_gpu};
use crate::facts::int;
use crate::gguf::{typed, u32v};
use crate::tensors::{BF16, F16, F32, Q8_0, Tensor};
use crate::{Twin, f32_mode, largest_difference, medium, models, open, share};

/// The maximum difference of an engine's logits from the golden ones.
fn error(twin: &Twin, engine: &Engine) -> f64 {
    let (tokens, golden) = medium(&twin.folder);
    largest_difference(&all_logits(engine, &tokens), &golden)
}

/// Checks that a modified twin still computes the golden logits.
fn holds(twin: &Twin, what: &str) {
    let name = &twin.name;
    let engine = open(&twin.bytes(F32), f32_mode()).unwrap_or_else(|e| panic!("{name}, {what}: {e}"));
    let error = error(twin, &engine);
    println!("{name}, {what}: {error:.1e}");
    assert!(error <= 1e-3, "{name}, {what}: {error}");
}

/// Replaces tensors of every layer.
fn replace(twin: &mut Twin, from: &[&str], make: impl Fn(Vec<Tensor>) -> Vec<(String, Tensor)>) {
    for layer in 0..int(&twin.config, "num_hidden_layers") {
        let named = |name: &str| format!("blk.{layer}.{name}");
        let parts: Vec<Tensor> = from.iter().filter_map(|name| twin.tensors.remove(&named(name))).collect();
        if parts.len() == from.len() {
            twin.tensors.extend(make(parts).into_iter().map(|(name, w)| (named(&name), w)));
        } else {
            assert!(parts.is_empty(), "{from:?} of layer {layer}");
        }
    }
}

/// Concatenates tensors along rows, within each of `outer` blocks.
fn stacked(parts: &[Tensor], outer: usize, shape: &[usize]) -> Tensor {
    let run = |w: &Tensor| w.values.len() / outer;
    let of = |o: usize| parts.iter().flat_map(move |w| w.values[o * run(w)..(o + 1) * run(w)].iter().copied());
    Tensor { shape: shape.to_vec(), values: (0..outer).flat_map(of).collect() }
}

#[test]
fn latent_attention_in_the_older_form() {
    let Some(root) = models() else { return };
    for name in ["deepseek_v2", "deepseek_v2_full", "deepseek_v3"] {
        let mut twin = Twin::of(&root, name);
        let at = |key: &str| int(&twin.config, key);
        let (heads, nope, value) = (at("num_attention_heads"), at("qk_nope_head_dim"), at("v_head_dim"));
        let (rank, rope) = (at("kv_lora_rank"), at("qk_rope_head_dim"));
        for (key, value) in [("key_length", nope + rope), ("value_length", value), ("head_count_kv", heads)] {
            twin.keys.insert(format!("deepseek2.attention.{key}"), u32v(value as u32));
        }
        // Older V2 files lack the key for the scoring function.
        let mut dropped = vec!["attention.key_length_mla", "attention.value_length_mla"];
        dropped.extend((name != "deepseek_v3").then_some("expert_gating_func"));
        dropped.extend((name == "deepseek_v2").then_some("attention.q_lora_rank"));
        dropped.iter().for_each(|key| drop(twin.keys.remove(&format!("deepseek2.{key}")).expect(key)));
        replace(&mut twin, &["attn_k_b.weight", "attn_v_b.weight"], |parts| {
            let parts = [parts[0].turned(), parts[1].clone()];
            vec![("attn_kv_b.weight".into(), stacked(&parts, heads, &[heads * (nope + value), rank]))]
        });
        holds(&twin, "keys and values as one");
    }
}

#[test]
fn layers_that_predict_further_tokens_take_no_part() {
    let Some(root) = models() else { return };
    let mut twin = Twin::of(&root, "deepseek_v3");
    twin.keys.insert("deepseek2.block_count".into(), u32v(4));
    twin.keys.insert("deepseek2.nextn_predict_layers".into(), u32v(1));
    let last: Vec<_> =
        twin.tensors.iter().filter_map(|(n, w)| Some((n.strip_prefix("blk.2.")?.to_owned(), w.clone()))).collect();
    twin.tensors.extend(last.into_iter().map(|(name, w)| (format!("blk.3.{name}"), w)));
    let joined = Tensor { shape: vec![64, 128], values: vec![1.0; 64 * 128] };
    twin.tensors.insert("blk.3.nextn.eh_proj.weight".into(), joined);
    holds(&twin, "with a layer that predicts further");

    twin.keys.insert("deepseek2.nextn_predict_layers".into(), u32v(4));
    let refused = open(&twin.bytes(F32), f32_mode()).unwrap_err();
    assert!(matches!(refused, Error::Format { kind: FormatKind::BadConfig, .. }), "{refused}");
}

#[test]
fn fused_and_parted_tensors() {
    let Some(root) = models() else { return };
    for name in ["llama_v5cfg", "qwen2", "gpt_oss"] {
        let mut twin = Twin::of(&root, name);
        for end in ["weight", "bias"] {
            let parts = ["q", "k", "v"].map(|part| format!("attn_{part}.{end}"));
            replace(&mut twin, &parts.each_ref().map(String::as_str), |parts| {
                let rows = parts.iter().map(|w| w.shape[0]).sum::<usize>();
                let shape = [&[rows], &parts[0].shape[1..]].concat();
                vec![(format!("attn_qkv.{end}"), stacked(&parts, 1, &shape))]
            });
        }
        holds(&twin, "queries, keys and values as one");
    }
    for name in ["mixtral", "deepseek_v3", "llama4_text"] {
        let mut twin = Twin::of(&root, name);
        replace(&mut twin, &["ffn_gate_exps.weight", "ffn_up_exps.weight"], |parts| {
            let [experts, inner, hidden] = parts[0].shape[..] else { panic!("{:?}", parts[0].shape) };
            vec![("ffn_gate_up_exps.weight".into(), stacked(&parts, experts, &[experts, 2 * inner, hidden]))]
        });
        holds(&twin, "gates and ups as one");
    }
    let mut twin = Twin::of(&root, "mixtral");
    for which in ["gate", "up", "down"] {
        replace(&mut twin, &[&format!("ffn_{which}_exps.weight")], |parts| {
            let shape = &parts[0].shape;
            let experts = parts[0].values.chunks(shape[1] * shape[2]).enumerate();
            let expert = |values: &[f32]| Tensor { shape: shape[1..].to_vec(), values: values.to_vec() };
            experts.map(|(e, values)| (format!("ffn_{which}.{e}.weight"), expert(values))).collect()
        });
    }
    holds(&twin, "each expert alone");
    let mut twin = Twin::of(&root, "qwen2_moe");
    replace(&mut twin, &["ffn_gate_inp_shexp.weight"], |mut parts| {
        parts[0].shape.insert(0, 1);
        vec![("ffn_gate_inp_shexp.weight".into(), parts.remove(0))]
    });
    holds(&twin, "the gate as a row");
}

#[test]
fn sixteen_bits() {
    let Some(root) = models() else { return };
    for name in ["deepseek_v3", "gemma3_text", "gpt_oss", "llama4_text", "phi3", "qwen2_moe"] {
        let twin = Twin::of(&root, name);
        let (tokens, _) = medium(&twin.folder);
        for large in [F16, BF16] {
            let logits = |bytes: &[u8]| all_logits(&open(bytes, f32_mode()).expect("a model"), &tokens);
            let difference = largest_difference(&logits(&twin.bytes(large)), &logits(&twin.rounded(large).bytes(F32)));
            println!("{name} in type {large}: {difference:.1e} from its values");
            assert!(difference <= 1e-3, "{name} in type {large}: {difference}");
        }
    }
}

#[test]
fn parts_of_files_and_of_matrices() {
    let Some(root) = models() else { return };
    for name in ["deepseek_v3", "gpt_oss_mxfp4"] {
        let mut twin = Twin::of(&root, name);
        let device = DeviceOptions { max_binding: Some(48 << 10), ..DeviceOptions::default() };
        let small = open(&twin.bytes(F32), LoadOptions { f32: true, device, ..on_gpu() })
            .unwrap_or_else(|e| panic!("{name}: {e}"));
        assert!(error(&twin, &small) <= 1e-3, "{name} in small bindings");

        let mut all = std::mem::take(&mut twin.tensors);
        let mut folder = MemoryFolder::new("folder");
        let u16v = |value: u16| typed(2, value.to_le_bytes());
        let third = all.len() / 3;
        for part in 0..3u16 {
            let rest = if part < 2 {
                all.split_off(all.keys().nth(third).cloned().as_ref().expect("more"))
            } else {
                Default::default()
            };
            twin.tensors = std::mem::replace(&mut all, rest);
            twin.keys.extend([("split.no".to_owned(), u16v(part)), ("split.count".to_owned(), u16v(3))]);
            folder = folder.with(&format!("twin-0000{}-of-00003.gguf", part + 1), twin.bytes(F32));
        }
        let first = block_on(folder.open("twin-00001-of-00003.gguf")).expect("a folder").expect("the first part");
        let (cancel, mut quiet) = (Cancel::default(), |_| {});
        let engine = Engine::load_gguf(first, Some(&folder), f32_mode(), HOST, &cancel, &mut quiet);
        let engine = block_on(engine).unwrap_or_else(|e| panic!("{name} in parts: {e}"));
        assert!(error(&twin, &engine) <= 1e-3, "{name} in parts");
    }
}

#[test]
fn quantised_while_loading() {
    let Some(root) = models() else { return };
    for name in ["deepseek_v3", "gpt_oss", "llama4_text", "qwen2_moe"] {
        let twin = Twin::of(&root, name);
        let (tokens, golden) = medium(&twin.folder);
        for large in [F32, Q8_0] {
            let options = LoadOptions { quantization: Some(Quantization::Q8), ..f32_mode() };
            let engine = open(&twin.bytes(large), options).unwrap_or_else(|e| panic!("{name}: {e}"));
            let share = share(&all_logits(&engine, &tokens), &golden);
            println!("{name} of type {large} to q8: {share:.3} of the logits");
            assert!(share <= 0.1, "{name} of type {large}: {share}");
        }
    }
}
