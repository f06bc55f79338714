//! The tokenizers that GGUF vocabularies were converted from.
//!
//! GGUF names a pre-tokenizer instead of describing it; [`RECIPES`] defines each name in terms of Hugging Face's
//! `tokenizer.json`. A new pre-tokenizer is one line in that table.

use serde_json::{Value, json};

use super::gguf_vocab::{GgufVocab, added_tokens, bos_eos_template};
use super::sentencepiece;
use super::tokenizer_parts::{Parts, split_merge};
use crate::{Error, FormatKind, Result, Warning, WarningCode};

/// The definition of a named pre-tokenizer.
struct Recipe {
    names: &'static [&'static str],
    /// Patterns that split text one after the other, each match being a piece; byte-level encoding comes last.
    patterns: &'static [&'static str],
    /// Whether text is normalised to NFC first.
    nfc: bool,
    /// Whether a word that is in the vocabulary becomes one token, regardless of merges.
    ignore_merges: bool,
    /// The default of `add_bos`.
    add_bos: bool,
}

const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN2: &str =
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const DEEPSEEK: &[&str] = &[
    r"\p{N}{1,3}",
    "[一-龥\u{3040}-ゟ゠-ヿ]+",
    r##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"##,
];
/// DeepSeek-V2's pattern; digits are separate pieces.
const DEEPSEEK_LLM: &[&str] = &[
    r"[\r\n]",
    r"\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝὟ-ώᾀ-ᾴᾶ-ᾼιῂ-ῄῆ-ῌῐ-ΐῖ-Ίῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤΩℨK-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃]+",
    r"\s?[!-/:-~！-／：-～‘-‟　-。]+",
    r"\s+$",
    "[一-龥ࠀ-一가-\u{d7ff}]+",
    r"\p{N}",
];
const DEEPSEEK_CODER: &[&str] = &[r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", "[一-龥ࠀ-一가-\u{d7ff}]+", r"\p{N}"];
const QWEN35: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const BAILING: &str =
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+";
const SEED_CODER: &str =
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+|\s+(?!\S)|\s+";
const UFAKZEKA: &str = r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const EXAONE_MOE: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+";
const YOUTU: &[&str] = &[
    "[가-힣ㄱ-ㆎ]+|[！…“”‘’—：；，、-〿︰-﹏]+|[ㄅ-ㄯ]+|[一-龥\u{3040}-ゟ゠-ヿ]+",
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
];
const KIMI_K2: &str = r"\p{Han}+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const CHAMELEON: &[&str] = &[
    "<sentinel:[0-9]+>",
    "(IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z",
    "([\t\n]|    |  )",
    r"\p{N}",
    r"[\p{P}!-/:-@\[-`{-~]",
    GPT2,
];
const GPT4O: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";

const TEKKEN: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";

const BLOOM: &str = r" ?[^(\s|.,!?…。，、।۔،)]+";

/// The patterns are those of the published tokenizers: each is taken from the family's own `tokenizer.json`, or from
/// llama.cpp if there is no such file.
const RECIPES: &[Recipe] = &[
    // Files from before pre-tokenizers were named, split as in llama.cpp.
    recipe(&[DEFAULT], &[r"[\p{P}$+<=>^~|]+", GPT2, r"\p{N}+", "[0-9][0-9][0-9]"]),
    recipe(
        &[
            "gpt-2",
            "phi-2",
            "jina-es",
            "jina-de",
            "jina-v2-es",
            "jina-v2-de",
            "gigachat",
            "a.x-4.0",
            "mellum",
            "modern-bert",
            "exaone4",
            "mpt",
            "jais",
            "trillion",
            "granite-docling",
        ],
        &[GPT2],
    ),
    Recipe { nfc: true, ..recipe(&["olmo"], &[GPT2]) },
    recipe(
        &["smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b", "mellum2"],
        &[r"\p{N}", GPT2],
    ),
    Recipe {
        ignore_merges: true,
        add_bos: true,
        ..recipe(
            &["llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2", "jina-v5-nano"],
            &[LLAMA3],
        )
    },
    // SmolLM3 uses this name, too.
    Recipe { ignore_merges: true, ..recipe(&["smaug-bpe"], &[LLAMA3]) },
    Recipe { ignore_merges: true, ..recipe(&["minicpm5"], &[r"\p{N}{1,3}", LLAMA3]) },
    recipe(&["dbrx", "glm4", "chatglm-bpe"], &[LLAMA3]),
    recipe(&["deepseek-llm"], DEEPSEEK_LLM),
    recipe(&["deepseek-coder"], DEEPSEEK_CODER),
    recipe(&["deepseek-v3", "hunyuan-dense", "joyai-llm", "hy_v4"], DEEPSEEK),
    Recipe { nfc: true, ..recipe(&["qwen2"], &[QWEN2]) },
    recipe(
        &["deepseek-r1-qwen", "kormo", "f2llmv2", "megrez", "stablelm2", "hunyuan", "solar-open", "grok-2"],
        &[QWEN2],
    ),
    Recipe { nfc: true, ..recipe(&["qwen35"], &[QWEN35]) },
    recipe(&["bailingmoe", "bailingmoe2", "llada-moe"], &[BAILING]),
    recipe(&["seed-coder"], &[SEED_CODER]),
    recipe(&["ufakzeka"], &[UFAKZEKA]),
    recipe(&["exaone-moe"], &[EXAONE_MOE]),
    recipe(&["laguna"], &[r"[^\n]+|[\n]+", QWEN2]),
    // The family's own tokenizer keeps words of the vocabulary whole; llama.cpp does so for this family only.
    Recipe { ignore_merges: true, ..recipe(&["gpt-4o", "llama4"], &[GPT4O]) },
    recipe(&["kanana2", "talkie", "minimax-m2"], &[GPT4O]),
    recipe(&["tiny_aya", "cohere2moe"], &[r"\d{1,3}(?=(?:\d{3})*\b)", GPT4O]),
    Recipe { ignore_merges: true, ..recipe(&["youtu"], YOUTU) },
    Recipe { ignore_merges: true, add_bos: true, ..recipe(&["tekken"], &[TEKKEN]) },
    recipe(&["kimi-k2"], &[KIMI_K2]),
    recipe(&["falcon"], &[r"[\p{P}$+<=>^~|`]+", GPT2, "[0-9][0-9][0-9]"]),
    recipe(&["poro-chat", "bloom", "gpt3-finnish"], &[BLOOM]),
    recipe(&["viking"], &[BLOOM, r"\p{N}"]),
    Recipe { add_bos: true, ..recipe(&["chameleon"], CHAMELEON) },
    recipe(&["superbpe"], &[r"\p{N}+", r"(?=(\d{3})+(?!\d))"]),
];

/// The name of a fallback pre-tokenizer that no model was trained with.
const DEFAULT: &str = "default";

const fn recipe(names: &'static [&'static str], patterns: &'static [&'static str]) -> Recipe {
    Recipe { names, patterns, nfc: false, ignore_merges: false, add_bos: false }
}

impl Recipe {
    fn named(name: &str) -> Option<&'static Self> {
        RECIPES.iter().find(|r| r.names.contains(&name))
    }

    fn normalizer(&self) -> Value {
        if self.nfc { json!({ "type": "NFC" }) } else { Value::Null }
    }

    fn pre_tokenizer(&self) -> Value {
        let split =
            |p: &&str| json!({ "type": "Split", "pattern": { "Regex": p }, "behavior": "Isolated", "invert": false });
        let byte_level =
            json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false });
        let stages: Vec<Value> = self.patterns.iter().map(split).chain([byte_level]).collect();
        json!({ "type": "Sequence", "pretokenizers": stages })
    }
}

/// Converts the metadata to the parts of a tokenizer.
pub(crate) fn parts(vocab: GgufVocab) -> Result<Parts> {
    let fail = |kind, message: String| Err(Error::format(kind, "tokenizer.ggml", message));
    let size = vocab.tokens.len();
    if !vocab.token_types.is_empty() && vocab.token_types.len() != size {
        let message = format!("token_type has {} entries for {size} tokens", vocab.token_types.len());
        return fail(FormatKind::BadTokenizer, message);
    }
    let named = [("bos", vocab.bos), ("eos", vocab.eos), ("unknown", vocab.unk), ("padding", vocab.pad)];
    for (name, id) in named {
        if id.is_some_and(|id| id as usize >= size) {
            let message = format!("{name}_token_id is {}, the vocabulary has {size} tokens", id.unwrap_or(0));
            return fail(FormatKind::BadTokenizer, message);
        }
    }
    match vocab.model.as_str() {
        "gpt2" => byte_level(vocab),
        "llama" => sentencepiece::parts(vocab),
        other => fail(
            FormatKind::UnsupportedFeature,
            format!("tokenizer.ggml.model {other:?} is not supported (supported: gpt2, llama)"),
        ),
    }
}

fn byte_level(vocab: GgufVocab) -> Result<Parts> {
    let file = "tokenizer.ggml";
    let name = vocab.pre.as_deref().unwrap_or(DEFAULT);
    let Some(recipe) = Recipe::named(name) else {
        let known: Vec<&str> = RECIPES.iter().flat_map(|r| r.names).copied().collect();
        let message = format!("pre-tokenizer {name:?} is not supported (supported: {})", known.join(", "));
        return Err(Error::format(FormatKind::UnsupportedFeature, file, message));
    };
    let mut merges = Vec::with_capacity(vocab.merges.len());
    for (rank, merge) in vocab.merges.iter().enumerate() {
        let (a, b) = split_merge(merge).map_err(|n| {
            Error::format(FormatKind::BadTokenizer, file, format!("merge {rank} has {n} parts instead of 2"))
        })?;
        merges.push((a.to_owned(), b.to_owned()));
    }
    let mut warnings = Vec::new();
    if name == DEFAULT {
        let given = if vocab.pre.is_some() { "is \"default\"" } else { "is missing" };
        let message = format!(
            "tokenizer.ggml.pre {given}: the model's pre-tokenizer is unknown, so the quality of answers may suffer"
        );
        warnings.push(Warning::new(WarningCode::Tokenizer, message));
    }
    let add_bos = vocab.add_bos.unwrap_or(recipe.add_bos);
    let byte_level = json!({ "type": "ByteLevel", "add_prefix_space": true, "trim_offsets": false, "use_regex": true });
    Ok(Parts {
        file: file.to_owned(),
        merges,
        ignore_merges: recipe.ignore_merges,
        normalizer: recipe.normalizer(),
        pre_tokenizer: recipe.pre_tokenizer(),
        post_processor: bos_eos_template(&vocab, add_bos),
        chat_bos: vocab.bos.filter(|_| add_bos),
        decoder: byte_level,
        added: added_tokens(&vocab),
        vocab: vocab.tokens.into_iter().zip(0..).collect(),
        warnings,
        ..Parts::default()
    })
}
