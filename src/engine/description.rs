//! Everything that a checkpoint says besides its weights: config, tokenizer, template, the tokens that end a turn.

use crate::model::config::{GenerationDefaults, ModelConfig, RopeFactors};
use crate::text::{ChatTemplate, DeclaredBy, GgufVocab, ReasoningFormat, Tokenizer, TokenizerConfig, ToolFormat};
use crate::weights::checkpoint::{Checkpoint, ConfigFacts, Format};
use crate::weights::{GgufMetadata, dequantize_rows};
use crate::{Error, FormatKind, Result, Warning, WarningCode};

/// What is known of a model before its weights are read.
pub(super) struct Description {
    pub config: ModelConfig,
    pub tokenizer: Tokenizer,
    pub tokenizer_config: TokenizerConfig,
    pub template: Option<ChatTemplate>,
    /// The template for conversations with tools, if there is a separate one.
    pub tool_template: Option<ChatTemplate>,
    /// How the model writes calls.
    pub tool_format: ToolFormat,
    pub reasoning: ReasoningFormat,
    /// What told the format of the reasoning.
    pub declared_by: DeclaredBy,
    pub defaults: GenerationDefaults,
    /// The token ids that end a turn.
    pub stop_ids: Vec<u32>,
    pub rope_factors: RopeFactors,
    /// Faults that were worked around.
    pub warnings: Vec<Warning>,
}

impl Description {
    /// Reads the description of a checkpoint.
    ///
    /// # Errors
    /// Every fault of the files that it is read from.
    pub async fn read(checkpoint: &Checkpoint) -> Result<Self> {
        let config = ModelConfig::from_checkpoint(checkpoint)?;
        let (tokenizer, tokenizer_config) = tokenizer(checkpoint)?;
        let template = match tokenizer_config.chat_template(false) {
            Ok(source) => Some(ChatTemplate::new(source, &tokenizer_config)?),
            Err(_) => None,
        };
        let source = template.as_ref().map(ChatTemplate::source);
        let tool_template = match tokenizer_config.chat_template(true) {
            Ok(own) if Some(own) != source => Some(ChatTemplate::new(own, &tokenizer_config)),
            _ => None,
        };
        let unusable = tool_template.as_ref().and_then(|template| template.as_ref().err()).map(|error| {
            Warning::new(WarningCode::Template, format!("the template \"tool_use\" is not used: {error}"))
        });
        let tool_template = tool_template.and_then(Result::ok);
        let tool_format = match tool_template.as_ref().or(template.as_ref()) {
            Some(template) if template.capabilities().tools => {
                ToolFormat::of(Some(template.source()), &tokenizer.added_tokens())
            }
            _ => ToolFormat::default(), // tools and calls are text that the engine writes
        };
        let (reasoning, declared_by) = ReasoningFormat::of(source, &tokenizer.added_tokens());
        let [template, tool_template] =
            [template, tool_template].map(|template| Some(template?.with_reasoning(reasoning.clone())));
        let defaults = match &checkpoint.generation_config {
            Some(bytes) => GenerationDefaults::parse(bytes, config.vocab_size)?,
            None => GenerationDefaults::default(),
        };
        let stop_ids = stop_ids(checkpoint, &config, &defaults, &tokenizer, &tokenizer_config);
        let rope_factors = rope_factors(checkpoint).await?;
        let told =
            [&*checkpoint.warnings, &config.warnings, tokenizer.warnings(), &defaults.warnings, unusable.as_slice()];
        let warnings = told.concat();
        Ok(Self {
            config,
            tokenizer,
            tokenizer_config,
            template,
            tool_template,
            tool_format,
            reasoning,
            declared_by,
            defaults,
            stop_ids,
            rope_factors,
            warnings,
        })
    }
}

/// The tokenizer and its config, from `tokenizer.json` and `tokenizer_config.json` or from GGUF metadata.
pub fn tokenizer(checkpoint: &Checkpoint) -> Result<(Tokenizer, TokenizerConfig)> {
    let template =
        |bytes: &Option<Vec<u8>>| {
            bytes.as_ref().map(|b| String::from_utf8(b.clone())).transpose().map_err(|_| {
                Error::format(FormatKind::BadUtf8, "chat_template.jinja", "the chat template is not UTF-8")
            })
        };
    match &checkpoint.config {
        ConfigFacts::Json(_) => {
            let Some(json) = &checkpoint.tokenizer_json else {
                return Err(Error::format(FormatKind::MissingFile, &checkpoint.id, "tokenizer.json is missing"));
            };
            let mut config = match &checkpoint.tokenizer_config {
                Some(bytes) => TokenizerConfig::from_json(bytes, "tokenizer_config.json")?,
                None => TokenizerConfig::default(),
            };
            if let Some(source) = template(&checkpoint.chat_template)? {
                config.chat_templates.retain(|(name, _)| name != "default");
                config.chat_templates.push(("default".into(), source));
            }
            let tokenizer = Tokenizer::from_json(json, "tokenizer.json")?.with_config(&config);
            Ok((tokenizer, config))
        }
        ConfigFacts::Gguf(metadata) => {
            let vocab = gguf_vocab(metadata)?;
            let config = vocab.config(template(&checkpoint.chat_template)?);
            Ok((Tokenizer::from_gguf(vocab)?, config))
        }
    }
}

/// The vocabulary in GGUF metadata.
pub fn gguf_vocab(metadata: &GgufMetadata) -> Result<GgufVocab> {
    let v = metadata.vocabulary()?;
    Ok(GgufVocab {
        model: v.model,
        pre: v.pre,
        tokens: v.tokens,
        token_types: v.token_types,
        merges: v.merges,
        scores: v.scores,
        bos: v.bos,
        eos: v.eos,
        unk: v.unk,
        pad: v.pad,
        add_bos: v.add_bos,
        add_eos: v.add_eos,
        add_space_prefix: v.add_space_prefix,
    })
}

/// The token ids that end a turn: those that the model's files declare, and those with a known end-of-turn text.
fn stop_ids(
    checkpoint: &Checkpoint,
    config: &ModelConfig,
    defaults: &GenerationDefaults,
    tokenizer: &Tokenizer,
    tokenizer_config: &TokenizerConfig,
) -> Vec<u32> {
    let mut ids = defaults.eos_token_ids.clone();
    if ids.is_empty() {
        ids.clone_from(&config.eos_token_ids);
    }
    ids.extend(tokenizer_config.eos_token.as_deref().and_then(|token| tokenizer.id(token)));
    if let ConfigFacts::Gguf(metadata) = &checkpoint.config {
        let named = ["eot", "eom"].map(|name| metadata.u32(&format!("tokenizer.ggml.{name}_token_id")));
        ids.extend(named.into_iter().filter_map(|id| id.ok().flatten()));
    }
    ids.extend(tokenizer.turn_ends(checkpoint.format == Format::Gguf));
    ids.retain(|&id| !tokenizer.ends_message_only(id));
    ids.sort_unstable();
    ids.dedup();
    ids
}

/// GGUF's RoPE frequency factors (divisors), which llama.cpp writes for Llama 3's scaling and LongRoPE.
pub async fn rope_factors(checkpoint: &Checkpoint) -> Result<RopeFactors> {
    Ok(RopeFactors {
        any: numbers(checkpoint, "rope_freqs.weight").await?,
        short: numbers(checkpoint, "rope_factors_short.weight").await?,
        long: numbers(checkpoint, "rope_factors_long.weight").await?,
    })
}

/// The values of a small tensor, if the checkpoint has it.
async fn numbers(checkpoint: &Checkpoint, name: &str) -> Result<Option<Vec<f32>>> {
    let Some(entry) = checkpoint.tensors.get(name) else { return Ok(None) };
    if entry.elements() > 4096 {
        let message = format!("{name} has {} values", entry.elements());
        return Err(Error::format(FormatKind::BadShape, &checkpoint.id, message));
    }
    let bytes = checkpoint.read_rows(entry, 0..entry.rows()).await?;
    let factors = dequantize_rows(entry.dtype, entry.k() as usize, &bytes);
    factors.map(Some).ok_or_else(|| Error::Dtype { tensor: entry.name.clone(), dtype: entry.dtype.name().to_owned() })
}
