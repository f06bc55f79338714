//! Tests peculiarities of real files, exporters and templates with scripted models, which have a one-hot embedding, a
//! layer of zeros, and a head that makes one token follow another. Covers each kind of row in `reports.rs` without
//! external files.
#![allow(missing_docs)]

mod common;
#[path = "common/gguf.rs"]
mod gguf;
#[path = "scripted/tools.rs"]
mod tools;

use std::collections::BTreeMap;
use std::rc::Rc;

use common::{HOST, all_logits, block_on, on_cpu};
use gguf::{array, boolv, f32v, text, texts, u32v};
use minke::engine::{
    Engine, FinishReason, GenerateOptions, GenerateResult, Input, LoadOptions, Reasoning, ReasoningMode,
};
use minke::text::Message;
use minke::weights::{MemoryFile, MemoryFolder};
use minke::{Cancel, Error, Result, WarningCode};
use serde_json::{Value, json};

const HIDDEN: usize = 320;
/// A tensor's shape and values.
type Values = (Vec<usize>, Vec<f32>);
type Tensor = (String, Values);
/// Keys of GGUF metadata.
type Keys<'a> = &'a [(&'a str, Vec<u8>)];

/// The token that ends every prompt.
const ASKED: &str = "<|assistant|>";
const TEMPLATE: &str =
    "{% for m in messages %}<|user|>{{ m.content }}{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}";

/// A scripted model: its tokens beyond the bytes, its output after the prompt's last token, and the contents of its
/// files.
#[derive(Clone)]
struct Scripted {
    tokens: Vec<String>,
    /// Added tokens that are plain text, and not special.
    plain: Vec<String>,
    /// Tokens that are not added: ordinary ones, which may be any part of a text.
    words: Vec<String>,
    next: BTreeMap<usize, usize>,
    template: String,
    config: Value,
    tokenizer_config: Value,
    generation_config: Value,
}

fn bytes() -> Vec<char> {
    let mut others = 0x100;
    let plain = |b: u32| matches!(b, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff);
    let spelled = |b: u32| {
        if plain(b) {
            return b;
        }
        others += 1;
        others - 1
    };
    (0..256u32).map(spelled).map(|c| char::from_u32(c).expect("a letter")).collect()
}

impl Scripted {
    /// `script` defines which token follows which; each token occurs once.
    fn new(script: &[&str]) -> Self {
        let mut tokens: Vec<String> = bytes().into_iter().map(String::from).collect();
        let others = ["<s>", "<eos>", "<|user|>", ASKED];
        for token in others.iter().chain(script).filter(|token| token.chars().count() > 1) {
            if !tokens.iter().any(|known| known == token) {
                tokens.push((*token).to_owned());
            }
        }
        let id = |token: &str| tokens.iter().position(|known| known == token).expect("a token");
        let next = script.windows(2).map(|pair| (id(pair[0]), id(pair[1]))).collect();
        let config = json!({
            "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu", "vocab_size": HIDDEN, "hidden_size": HIDDEN,
            "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 5, "num_key_value_heads": 5, "head_dim": 32,
            "max_position_embeddings": 512, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": false,
        });
        let template = TEMPLATE.to_owned();
        Self {
            tokens,
            plain: Vec::new(),
            words: Vec::new(),
            next,
            template,
            config,
            tokenizer_config: json!({}),
            generation_config: Value::Null,
        }
    }

    fn id(&self, token: &str) -> u32 {
        self.tokens.iter().position(|known| known == token).expect("a token") as u32
    }

    fn change(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// Shapes and values by tensor name; head and embedding are one-hot.
    fn tensors(&self) -> BTreeMap<&'static str, Values> {
        let mut hot = vec![0.0; HIDDEN * HIDDEN];
        let mut head = hot.clone();
        for i in 0..HIDDEN {
            hot[i * HIDDEN + i] = 1.0;
            let next = self.next.get(&i).copied().unwrap_or(i);
            head[next * HIDDEN + i] = 1.0;
        }
        let zeros = |shape: [usize; 2]| (shape.to_vec(), vec![0.0; shape[0] * shape[1]]);
        let ones = || (vec![HIDDEN], vec![1.0; HIDDEN]);
        BTreeMap::from([
            ("model.embed_tokens.weight", (vec![HIDDEN, HIDDEN], hot)),
            ("lm_head.weight", (vec![HIDDEN, HIDDEN], head)),
            ("model.norm.weight", ones()),
            ("model.layers.0.input_layernorm.weight", ones()),
            ("model.layers.0.post_attention_layernorm.weight", ones()),
            ("model.layers.0.self_attn.q_proj.weight", zeros([160, HIDDEN])),
            ("model.layers.0.self_attn.k_proj.weight", zeros([160, HIDDEN])),
            ("model.layers.0.self_attn.v_proj.weight", zeros([160, HIDDEN])),
            ("model.layers.0.self_attn.o_proj.weight", zeros([HIDDEN, 160])),
            ("model.layers.0.mlp.gate_proj.weight", zeros([32, HIDDEN])),
            ("model.layers.0.mlp.up_proj.weight", zeros([32, HIDDEN])),
            ("model.layers.0.mlp.down_proj.weight", zeros([HIDDEN, 32])),
        ])
    }

    /// A folder whose tensors are renamed or omitted by `name`.
    fn folder_with(&self, name: impl Fn(&str) -> Option<String>) -> MemoryFolder {
        let is_word = |id: &usize| self.words.contains(&self.tokens[*id]);
        let added: Vec<Value> = (256..self.tokens.len())
            .filter(|id| !is_word(id))
            .map(|id| {
                json!({
                    "id": id, "content": self.tokens[id], "single_word": false, "lstrip": false, "rstrip": false,
                    "normalized": false, "special": !self.plain.contains(&self.tokens[id]),
                })
            })
            .collect();
        let spelled = |id: usize| match id < 256 {
            true => self.tokens[id].clone(),
            false => self.tokens[id].bytes().map(|byte| self.tokens[usize::from(byte)].as_str()).collect(),
        };
        let ordinary = (0..256).chain((256..self.tokens.len()).filter(is_word));
        let vocab: Value = ordinary.map(|id| (spelled(id), json!(id))).collect();
        let byte_level =
            json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true });
        let tokenizer = json!({
            "version": "1.0", "added_tokens": added, "pre_tokenizer": byte_level, "decoder": byte_level,
            "model": { "type": "BPE", "vocab": vocab, "merges": [] },
        });
        let mut tokenizer_config = self.tokenizer_config.clone();
        tokenizer_config["chat_template"] = json!(self.template);
        let stored: Vec<_> =
            self.tensors().into_iter().filter_map(|(key, tensor)| Some((name(key)?, tensor))).collect();
        let folder = MemoryFolder::new("scripted")
            .with("config.json", self.config.to_string().into_bytes())
            .with("tokenizer.json", tokenizer.to_string().into_bytes())
            .with("tokenizer_config.json", tokenizer_config.to_string().into_bytes())
            .with("model.safetensors", safetensors(&stored));
        match &self.generation_config {
            Value::Null => folder,
            config => folder.with("generation_config.json", config.to_string().into_bytes()),
        }
    }

    fn folder(&self) -> Result<Engine> {
        load(&self.folder_with(|name| Some(name.to_owned())))
    }

    /// The model as GGUF, with the `types` of some tokens (others have 3, control) and additional keys.
    fn gguf(&self, types: &[(&str, i32)], keys: Keys<'_>) -> Result<Engine> {
        let kind = |(id, token): (usize, &String)| {
            let given = types.iter().find(|(name, _)| name == token).map(|(_, kind)| *kind);
            given.unwrap_or(if id < 256 { 1 } else { 3 })
        };
        let kinds: Vec<u8> = self.tokens.iter().enumerate().flat_map(|token| kind(token).to_le_bytes()).collect();
        let mut all: BTreeMap<String, Vec<u8>> = BTreeMap::from([
            ("llama.block_count".into(), u32v(1)),
            ("llama.context_length".into(), u32v(512)),
            ("llama.embedding_length".into(), u32v(HIDDEN as u32)),
            ("llama.feed_forward_length".into(), u32v(32)),
            ("llama.attention.head_count".into(), u32v(5)),
            ("llama.attention.key_length".into(), u32v(32)),
            ("llama.attention.value_length".into(), u32v(32)),
            ("llama.attention.layer_norm_rms_epsilon".into(), f32v(1e-5)),
            ("llama.vocab_size".into(), u32v(HIDDEN as u32)),
            ("tokenizer.ggml.model".into(), text("gpt2")),
            ("tokenizer.ggml.pre".into(), text("gpt-2")),
            ("tokenizer.ggml.tokens".into(), texts(self.tokens.iter())),
            ("tokenizer.ggml.token_type".into(), array(5, self.tokens.len() as u64, kinds)),
            ("tokenizer.ggml.merges".into(), texts([].iter())),
            ("tokenizer.ggml.bos_token_id".into(), u32v(self.id("<s>"))),
            ("tokenizer.ggml.eos_token_id".into(), u32v(self.id("<eos>"))),
            ("tokenizer.chat_template".into(), text(&self.template)),
        ]);
        for (key, value) in keys {
            all.insert((*key).to_owned(), value.clone());
        }
        let names = [
            ("model.embed_tokens", "token_embd"),
            ("lm_head", "output"),
            ("model.norm", "output_norm"),
            ("model.layers.0.input_layernorm", "blk.0.attn_norm"),
            ("model.layers.0.post_attention_layernorm", "blk.0.ffn_norm"),
            ("model.layers.0.self_attn.q_proj", "blk.0.attn_q"),
            ("model.layers.0.self_attn.k_proj", "blk.0.attn_k"),
            ("model.layers.0.self_attn.v_proj", "blk.0.attn_v"),
            ("model.layers.0.self_attn.o_proj", "blk.0.attn_output"),
            ("model.layers.0.mlp.gate_proj", "blk.0.ffn_gate"),
            ("model.layers.0.mlp.up_proj", "blk.0.ffn_up"),
            ("model.layers.0.mlp.down_proj", "blk.0.ffn_down"),
        ];
        let named = |name: &str| names.iter().find(|(hf, _)| name == format!("{hf}.weight")).expect("a name").1;
        let tensors = self.tensors().into_iter().map(|(name, (shape, values))| {
            let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
            (format!("{}.weight", named(name)), gguf::Stored { shape, dtype: 0, bytes })
        });
        let file = MemoryFile::new("scripted.gguf", gguf::file("llama", &all, &tensors.collect()));
        let (cancel, mut quiet) = (Cancel::default(), |_| {});
        block_on(Engine::load_gguf(Rc::new(file), None, options(), HOST, &cancel, &mut quiet))
    }
}

fn safetensors(tensors: &[Tensor]) -> Vec<u8> {
    let (mut header, mut data) = (serde_json::Map::new(), Vec::new());
    for (name, (shape, values)) in tensors {
        let begin = data.len();
        data.extend(values.iter().flat_map(|v| v.to_le_bytes()));
        header.insert(name.clone(), json!({ "dtype": "F32", "shape": shape, "data_offsets": [begin, data.len()] }));
    }
    let header = Value::Object(header).to_string().into_bytes();
    [&(header.len() as u64).to_le_bytes()[..], &header, &data].concat()
}

fn options() -> LoadOptions {
    LoadOptions { without_self_test: true, ..on_cpu() }
}

fn load(folder: &MemoryFolder) -> Result<Engine> {
    let (cancel, mut quiet) = (Cancel::default(), |_| {});
    block_on(Engine::load_folder(folder, None, options(), HOST, &cancel, &mut quiet))
}

fn asked() -> Vec<Message> {
    vec![Message::new("user", "hi")]
}

fn answer_as(engine: &Engine, reasoning: Reasoning) -> GenerateResult {
    let options = GenerateOptions {
        max_output_tokens: Some(20.0),
        temperature: Some(0.0),
        reasoning,
        ..GenerateOptions::default()
    };
    let (cancel, mut quiet) = (Cancel::default(), |_| {});
    block_on(engine.generate(Input::Messages(asked()), &options, &cancel, &mut quiet)).expect("an answer")
}

/// Reasoning, answer, and whether the model ended the generation itself.
fn said(engine: &Engine) -> (String, String, bool) {
    let answer = answer_as(engine, Reasoning::default());
    (answer.reasoning, answer.text, answer.finish_reason == FinishReason::Stop)
}

fn ok(thought: &str) -> (String, String, bool) {
    (thought.into(), "Ok".into(), true)
}

#[test]
fn thoughts_by_the_marks_of_the_vocabulary_or_the_template() {
    let marks = [
        ("<think>", "</think>"),
        ("[THINK]", "[/THINK]"),
        ("<seed:think>", "</seed:think>"),
        ("<|inner_prefix|>", "<|inner_suffix|>"),
    ];
    for (open, close) in marks {
        let model = Scripted::new(&[ASKED, open, "W", "h", "y", close, "O", "k", "<|im_end|>"])
            .change(|m| m.template = format!("{{# {open} {close} #}}{}", m.template));
        // Reasoning that the engine closes ends in line breaks.
        let (line_break, answer) = (model.id("Ċ") as usize, model.id("O") as usize);
        let model = model.change(|m| {
            m.next.insert(line_break, answer);
        });
        let engines = [model.folder().expect(open), model.gguf(&[], &[]).expect(open)];
        for engine in &engines {
            assert!(engine.info().capabilities.reasoning, "{open}");
            assert_eq!(said(engine), ok("Why"), "{open}");
            let limited = answer_as(engine, Reasoning::Budget { max_tokens: 2.0 });
            assert_eq!(
                (limited.reasoning.as_str(), limited.text.as_str()),
                ("W", "Ok"),
                "{open}: a thought of two tokens, its mark among them"
            );
            let none = answer_as(engine, Reasoning::Named(ReasoningMode::None));
            assert_eq!((none.reasoning.as_str(), none.text.as_str()), ("", "Ok"), "{open}: no thought");
        }
        // The prompt opens the reasoning: the output only has the closing tag.
        let opened = Scripted::new(&[open, "W", "h", "y", close, "O", "k", "<|im_end|>"])
            .change(|m| m.template = m.template.replace(ASKED, &format!("{ASKED}{open}")));
        assert_eq!(said(&opened.folder().expect(open)), ok("Why"), "{open}: opened by the prompt");
    }
}

#[test]
fn turns_end_where_any_of_the_models_files_says() {
    // A token that ends a turn by its text, whatever its type; the declared end is another token.
    for end in ["<|im_end|>", "<end_of_turn>", "<|eot_id|>", "<|eom_id|>", "<|endoftext|>", "<turn|>"] {
        let model = Scripted::new(&[ASKED, "O", "k", end, "x"]);
        for kind in [1, 3, 4] {
            assert_eq!(said(&model.gguf(&[(end, kind)], &[]).expect(end)), ok(""), "{end} of type {kind}");
        }
        assert_eq!(said(&model.folder().expect(end)), ok(""), "{end} in a folder");
    }
    // A declared end token whose text is unknown.
    let model = Scripted::new(&[ASKED, "O", "k", "<fin>", "x"]);
    let end = model.id("<fin>");
    for key in ["eos", "eot", "eom"] {
        let key = format!("tokenizer.ggml.{key}_token_id");
        assert_eq!(said(&model.gguf(&[], &[(&key, u32v(end))]).expect(&key)), ok(""), "{key}");
    }
    let declared: [fn(&mut Scripted, u32); 4] = [
        |m, end| m.generation_config = json!({ "eos_token_id": [3, end] }),
        |m, end| m.generation_config = json!({ "eos_token_id": end }),
        |m, end| m.config["eos_token_id"] = json!([end]),
        |m, _| m.tokenizer_config = json!({ "eos_token": { "content": "<fin>" } }),
    ];
    for (i, declare) in declared.iter().enumerate() {
        let model = model.clone().change(|m| declare(m, end));
        assert_eq!(said(&model.folder().expect("a model")), ok(""), "declaration {i}");
    }
    // No end token at all.
    assert!(!said(&model.folder().expect("a model")).2);
    // In harmony's vocabulary the end of a message is not the end of a turn.
    let harmony = Scripted::new(&[ASKED, "O", "k", "<|end|>", "x", "<|return|>"]);
    let with_channels = harmony.clone().change(|m| {
        m.tokens.extend(["<|channel|>".into(), "<|message|>".into(), "<|start|>".into(), "<|call|>".into()])
    });
    assert_eq!(harmony.gguf(&[], &[]).map(|e| answer_as(&e, Reasoning::default()).ids.len()).expect("a model"), 3);
    assert_eq!(
        with_channels.gguf(&[], &[]).map(|e| answer_as(&e, Reasoning::default()).ids.len()).expect("a model"),
        5
    );
}

#[test]
fn a_chat_begins_with_one_bos_or_none() {
    let model = Scripted::new(&[ASKED, "O", "k", "<|im_end|>"]);
    let writes = model.clone().change(|m| m.template = format!("{{{{ bos_token }}}}{}", m.template));
    let bos = |engine: Result<Engine>| {
        let ids = engine
            .expect("a model")
            .encode_messages(&asked(), &[], true, &serde_json::Map::new())
            .expect("a prompt")
            .ids;
        (ids[0] == model.id("<s>"), ids.iter().filter(|id| **id == model.id("<s>")).count())
    };
    let add = |value| ("tokenizer.ggml.add_bos_token", boolv(value));
    let llama3 = ("tokenizer.ggml.pre", text("llama-bpe"));
    let cases: [(&Scripted, Keys<'_>, usize); 8] = [
        (&model, &[add(true)], 1),
        (&writes, &[add(true)], 1),
        (&model, &[add(false)], 0),
        (&writes, &[add(false)], 1),
        (&model, &[], 0),
        (&writes, &[], 1),
        (&model, std::slice::from_ref(&llama3), 1),
        (&writes, std::slice::from_ref(&llama3), 1),
    ];
    for (i, (model, keys, count)) in cases.into_iter().enumerate() {
        assert_eq!(bos(model.gguf(&[], keys)), (count == 1, count), "case {i}");
    }
    // For folders the template alone decides, as in transformers.
    for (model, count) in [(&model, 0), (&writes, 1)] {
        let model = model.clone().change(|m| m.tokenizer_config = json!({ "bos_token": "<s>", "add_bos_token": true }));
        assert_eq!(bos(model.folder()), (count == 1, count));
    }
}

#[test]
fn checkpoints_as_they_are_saved() {
    let model = Scripted::new(&[ASKED, "O", "k", "<|im_end|>"]);
    let tied = model.clone().change(|m| m.config["tie_word_embeddings"] = json!(true));
    let same = |name: &str| Some(name.to_owned());
    let bare = |name: &str| Some(name.strip_prefix("model.").unwrap_or(name).to_owned());
    let within = |name: &str| Some(format!("model.language_{name}").replace("model.language_lm_head", "lm_head"));
    let good = |folder: MemoryFolder, what: &str| assert_eq!(said(&load(&folder).expect(what)), ok(""), "{what}");
    good(model.folder_with(bare), "no prefix");
    good(tied.folder_with(same), "a stored head, though tied");
    good(tied.folder_with(bare), "a stored head, though tied, and no prefix");
    let head_only = |name: &str| (name != "model.embed_tokens.weight").then(|| name.to_owned());
    let echo = load(&tied.folder_with(head_only)).expect("the head stands for both");
    assert_eq!(echo.info().vocab_size, HIDDEN);
    let no_head = |name: &str| (name != "lm_head.weight").then(|| name.to_owned());
    // Tied: each token follows itself.
    let repeats = answer_as(&load(&tied.folder_with(no_head)).expect("tied"), Reasoning::default());
    assert!(repeats.ids.iter().all(|id| *id == model.id(ASKED)), "{:?}", repeats.ids);
    assert!(matches!(load(&model.folder_with(no_head)), Err(Error::Format { .. })), "untied, and no head");
    // The language model of a vision-language model.
    let wrapped = model.clone().change(|m| {
        let text_config = m.config.clone();
        m.config = json!({ "architectures": ["LlavaForConditionalGeneration"], "model_type": "llava", "text_config": text_config });
    });
    good(wrapped.folder_with(within), "in a model that sees");
    good(model.clone().change(|m| m.config["quantization_config"] = Value::Null).folder_with(same), "no quantisation");
    let off = json!({ "quant_method": "bitsandbytes", "load_in_4bit": false, "load_in_8bit": false });
    good(
        model.clone().change(|m| m.config["quantization_config"] = off).folder_with(same),
        "quantisation switched off",
    );
    for (config, words) in [
        (json!({ "quantization": { "group_size": 64, "bits": 4 } }), "MLX"),
        (json!({ "quantization_config": { "quant_method": "gptq", "bits": 4 } }), "GPTQ"),
        (json!({ "quantization_config": { "quant_method": "awq", "bits": 4 } }), "AWQ"),
    ] {
        let model = model
            .clone()
            .change(|m| m.config.as_object_mut().expect("a map").extend(config.as_object().expect("a map").clone()));
        let error = model.folder().map(|_| ()).expect_err(words).to_string();
        assert!(error.to_lowercase().contains(&words.to_lowercase()), "{words}: {error}");
    }
}

#[test]
fn settings_that_make_no_sense_are_told_and_not_used() {
    let model = Scripted::new(&[ASKED, "O", "k", "<|im_end|>"]);
    for nonsense in [
        json!({ "top_k": -1 }),
        json!({ "top_p": 2.0 }),
        json!({ "temperature": "warm" }),
        json!({ "repetition_penalty": 0 }),
        json!({ "min_p": 7 }),
    ] {
        let model = model.clone().change(|m| m.generation_config = nonsense.clone());
        let engine = model.folder().unwrap_or_else(|e| panic!("{nonsense}: {e}"));
        let told = &engine.info().warnings;
        assert!(told.iter().any(|warning| warning.code == WarningCode::GenerationConfig), "{nonsense}: {told:?}");
        assert_eq!(said(&engine), ok(""), "{nonsense}");
    }
    assert!(model.folder().expect("a model").info().warnings.is_empty());
    let old = model.gguf(&[], &[("tokenizer.ggml.pre", text("default"))]).expect("a model");
    assert_eq!(old.info().warnings.iter().map(|w| w.code).collect::<Vec<_>>(), [WarningCode::Tokenizer]);
}

/// Templates that only accept content as parts, unknown roles, and named speakers.
#[test]
fn messages_as_templates_read_them() {
    let parts = "{% for m in messages %}<|user|>{% for part in m.content %}{% if part.type == 'text' %}{{ part.text }}{% endif %}{% endfor %}{% endfor %}<|assistant|>";
    let named = "{% for m in messages %}{{ m.role }}{% if m.name is defined %}:{{ m.name }}{% endif %} {{ m.content }};{% endfor %}";
    let developer = "{% for m in messages %}{% if m.role == 'developer' %}D{% else %}{{ m.role }}{% endif %} {{ m.content }};{% endfor %}";
    let said = [
        Message { name: Some("ann".into()), ..Message::new("developer", "be brief") },
        Message { name: Some("bob".into()), ..Message::new("user", "hi") },
    ];
    for (template, expected) in [
        (parts, "<|user|>be brief<|user|>hi<|assistant|>"),
        (named, "system:ann be brief;user:bob hi;"),
        (developer, "D be brief;user hi;"),
    ] {
        let model = Scripted::new(&[ASKED, "O", "k", "<|im_end|>"]).change(|m| m.template = template.into());
        let prompt = model
            .folder()
            .and_then(|e| e.encode_messages(&said, &[], true, &serde_json::Map::new()))
            .expect("a prompt");
        assert_eq!(prompt.text, expected);
    }
}

/// Experts as transformers 5 saves them, gates before ups, transposed or not, give the same model as separate experts.
#[test]
fn fused_experts_are_the_experts() {
    const EXPERTS: usize = 4;
    let (hidden, inner) = (48, 20);
    let names = ["gate_proj", "up_proj", "down_proj"];
    for kind in ["qwen3_moe", "qwen2_moe", "olmoe", "mixtral"] {
        let config = json!({
            "architectures": ["X"], "model_type": kind, "hidden_act": "silu", "vocab_size": 64, "hidden_size": hidden, "intermediate_size": inner,
            "num_hidden_layers": 1, "num_attention_heads": 3, "num_key_value_heads": 3, "head_dim": 16, "max_position_embeddings": 64,
            "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": true, "num_experts": EXPERTS, "num_local_experts": EXPERTS,
            "num_experts_per_tok": 2, "moe_intermediate_size": inner, "shared_expert_intermediate_size": inner, "decoder_sparse_step": 1,
        });
        let mut state = 5u64;
        let mut random = |shape: &[usize]| {
            let next = |_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 40) as f32 / (1u64 << 24) as f32 - 0.5
            };
            (shape.to_vec(), (0..shape.iter().product()).map(next).collect::<Vec<f32>>())
        };
        let (block, split) = match kind {
            "mixtral" => ("block_sparse_moe", ["w1", "w3", "w2"]),
            _ => ("mlp", names),
        };
        let layer = "model.layers.0";
        let mut shared = vec![
            ("model.embed_tokens.weight".to_owned(), random(&[64, hidden])),
            ("model.norm.weight".to_owned(), random(&[hidden])),
            (format!("{layer}.input_layernorm.weight"), random(&[hidden])),
            (format!("{layer}.post_attention_layernorm.weight"), random(&[hidden])),
            (format!("{layer}.{block}.gate.weight"), random(&[EXPERTS, hidden])),
        ];
        for p in ["q", "k", "v", "o"] {
            shared.push((format!("{layer}.self_attn.{p}_proj.weight"), random(&[hidden, hidden])));
            if kind == "qwen2_moe" && p != "o" {
                shared.push((format!("{layer}.self_attn.{p}_proj.bias"), random(&[hidden])));
            }
        }
        let norms: &[(&str, usize)] = match kind {
            "qwen3_moe" => &[("q_norm", 16), ("k_norm", 16)],
            "olmoe" => &[("q_norm", 48), ("k_norm", 48)],
            _ => &[],
        };
        for (norm, size) in norms {
            shared.push((format!("{layer}.self_attn.{norm}.weight"), random(&[*size])));
        }
        if kind == "qwen2_moe" {
            shared.push((format!("{layer}.mlp.shared_expert_gate.weight"), random(&[1, hidden])));
            for (name, shape) in names.iter().zip([[inner, hidden], [inner, hidden], [hidden, inner]]) {
                shared.push((format!("{layer}.mlp.shared_expert.{name}.weight"), random(&shape)));
            }
        }
        let experts: Vec<[Vec<f32>; 3]> = (0..EXPERTS)
            .map(|_| [[inner, hidden], [inner, hidden], [hidden, inner]].map(|shape| random(&shape).1))
            .collect();
        let mut separate = shared.clone();
        for (e, matrices) in experts.iter().enumerate() {
            for (i, shape) in [[inner, hidden], [inner, hidden], [hidden, inner]].into_iter().enumerate() {
                let name = format!("{layer}.{block}.experts.{e}.{}.weight", split[i]);
                separate.push((name, (shape.to_vec(), matrices[i].clone())));
            }
        }
        let transpose = |values: &[f32], rows: usize, columns: usize| -> Vec<f32> {
            (0..rows * columns).map(|i| values[(i % rows) * columns + i / rows]).collect()
        };
        let folder = |tensors: &[Tensor]| {
            let tokenizer = Scripted::new(&[ASKED, "O"]).folder_with(|_| None);
            let tokens =
                json!({ "version": "1.0", "model": { "type": "BPE", "vocab": { "a": 0, "b": 1 }, "merges": [] } });
            tokenizer
                .with("tokenizer.json", tokens.to_string().into_bytes())
                .with("config.json", config.to_string().into_bytes())
                .with("model.safetensors", safetensors(tensors))
        };
        let logits = |tensors: &[Tensor]| {
            let options = LoadOptions { f32: true, ..options() };
            let (cancel, mut quiet) = (Cancel::default(), |_| {});
            let engine = block_on(Engine::load_folder(&folder(tensors), None, options, HOST, &cancel, &mut quiet));
            all_logits(&engine.unwrap_or_else(|e| panic!("{kind}: {e}")), &[1, 2, 3, 5, 8])
        };
        let expected = logits(&separate);
        for turned in [false, true] {
            let (mut gates_and_ups, mut downs) = (Vec::new(), Vec::new());
            for [gate, up, down] in &experts {
                let both = [&gate[..], up].concat();
                gates_and_ups.extend(if turned { transpose(&both, 2 * inner, hidden) } else { both });
                downs.extend(if turned { transpose(down, hidden, inner) } else { down.clone() });
            }
            let shapes = match turned {
                false => [vec![EXPERTS, 2 * inner, hidden], vec![EXPERTS, hidden, inner]],
                true => [vec![EXPERTS, hidden, 2 * inner], vec![EXPERTS, inner, hidden]],
            };
            let [a, b] = shapes;
            let mut fused = shared.clone();
            // Transformers 5 calls every mixture's block "mlp".
            fused.iter_mut().for_each(|(name, _)| *name = name.replace("block_sparse_moe", "mlp"));
            fused.push((format!("{layer}.mlp.experts.gate_up_proj"), (a, gates_and_ups)));
            fused.push((format!("{layer}.mlp.experts.down_proj"), (b, downs)));
            assert!(logits(&fused) == expected, "{kind}, transposed: {turned}");
        }
    }
}
