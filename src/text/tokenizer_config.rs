//! Parses `tokenizer_config.json` and `chat_template.jinja`: special tokens and chat templates.

use serde_json::Value;

use super::tokenizer_parts::json_error;
use crate::{Error, FormatKind, Result, TemplateKind};

/// The fields of a `tokenizer_config.json` that the engine uses.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TokenizerConfig {
    /// The beginning-of-sequence token's text.
    pub bos_token: Option<String>,
    /// The end-of-sequence token's text.
    pub eos_token: Option<String>,
    /// The padding token's text.
    pub pad_token: Option<String>,
    /// The unknown token's text.
    pub unk_token: Option<String>,
    /// Whether encoding adds the beginning-of-sequence token.
    pub add_bos_token: Option<bool>,
    /// Whether encoding adds the end-of-sequence token.
    pub add_eos_token: Option<bool>,
    /// Chat templates by name; a single one is named "default".
    pub chat_templates: Vec<(String, String)>,
}

impl TokenizerConfig {
    /// Parses the file; `file` names it in errors.
    pub fn from_json(bytes: &[u8], file: &str) -> Result<Self> {
        let value: Value = serde_json::from_slice(bytes).map_err(|e| json_error(file, &e, FormatKind::BadConfig))?;
        if !value.is_object() {
            return Err(Error::format(FormatKind::BadConfig, file, "not a JSON object"));
        }
        // A token is a string, or an object with the string as "content".
        let token = |key: &str| value[key].as_str().or_else(|| value[key]["content"].as_str()).map(str::to_owned);
        Ok(Self {
            bos_token: token("bos_token"),
            eos_token: token("eos_token"),
            pad_token: token("pad_token"),
            unk_token: token("unk_token"),
            add_bos_token: value["add_bos_token"].as_bool(),
            add_eos_token: value["add_eos_token"].as_bool(),
            chat_templates: chat_templates(&value["chat_template"], file)?,
        })
    }

    /// Sets the template of a separate file (`chat_template.jinja`), which replaces all others.
    pub fn set_chat_template(&mut self, source: impl Into<String>) {
        self.chat_templates = vec![("default".into(), source.into())];
    }

    /// The template to use: "tool_use" if tools are given and it exists, else "default".
    pub fn chat_template(&self, with_tools: bool) -> Result<&str> {
        let find = |name: &str| self.chat_templates.iter().find(|(n, _)| n == name).map(|(_, source)| source.as_str());
        let chosen = with_tools.then(|| find("tool_use")).flatten().or_else(|| find("default"));
        chosen.ok_or_else(|| {
            let names: Vec<&str> = self.chat_templates.iter().map(|(n, _)| n.as_str()).collect();
            let message = if names.is_empty() {
                "the model has no chat template".to_owned()
            } else {
                format!("no template named \"default\" among {names:?}")
            };
            Error::Template { kind: TemplateKind::Missing, message }
        })
    }
}

fn chat_templates(value: &Value, file: &str) -> Result<Vec<(String, String)>> {
    let bad = |message: String| Err(Error::format(FormatKind::BadConfig, file, format!("chat_template: {message}")));
    match value {
        Value::Null => Ok(Vec::new()),
        Value::String(source) => Ok(vec![("default".into(), source.clone())]),
        Value::Array(items) => {
            let mut templates = Vec::with_capacity(items.len());
            for (i, item) in items.iter().enumerate() {
                match (item["name"].as_str(), item["template"].as_str()) {
                    (Some(name), Some(source)) => templates.push((name.to_owned(), source.to_owned())),
                    _ => return bad(format!("entry {i} needs \"name\" and \"template\", both strings")),
                }
            }
            Ok(templates)
        }
        // Some exporters write an object of templates by name.
        Value::Object(named) => {
            let source = |(name, source): (&String, &Value)| Some((name.clone(), source.as_str()?.to_owned()));
            let sources: Option<Vec<_>> = named.iter().map(source).collect();
            sources.map_or_else(|| bad("a template is not a string".into()), Ok)
        }
        _ => bad("neither a string, a list nor an object".into()),
    }
}
