//! Which of the tools a model may or must call, and what tools may be.

use serde::Deserialize;

use super::rules::RULES;
use crate::text::ToolSpec;
use crate::{Error, Result};

/// Which tools a model calls.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub enum ToolChoice {
    /// `"auto"`, `"none"` or `"required"`.
    Named(ToolChoiceMode),
    /// This one.
    #[serde(rename_all = "camelCase")]
    Tool {
        /// The tool's name.
        tool_name: String,
    },
}

impl Default for ToolChoice {
    fn default() -> Self {
        Self::Named(ToolChoiceMode::Auto)
    }
}

impl ToolChoice {
    /// Whether no tool is called.
    pub(super) fn is_none(&self) -> bool {
        *self == Self::Named(ToolChoiceMode::None)
    }
}

/// See [`ToolChoice`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ToolChoiceMode {
    /// The model decides.
    Auto,
    /// The model calls no tool: the prompt describes the tools, and what looks like a call is text.
    None,
    /// The model calls at least one tool.
    Required,
}

/// Checks the tools and the choice among them.
pub(super) fn check(tools: &[ToolSpec], choice: &ToolChoice) -> Result<()> {
    for (i, tool) in tools.iter().enumerate() {
        let letters = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        if !(1..=64).contains(&tool.name.len()) || !tool.name.chars().all(letters) {
            let message = format!("expected names of 1 to 64 letters, digits, _, - and ., got {:?}", tool.name);
            return Err(Error::invalid("tools", message));
        }
        if !tool.input_schema.is_object() {
            let argument = format!("tools.{}.inputSchema", tool.name);
            return Err(Error::invalid(&argument, format!("expected an object, got {}", tool.input_schema)));
        }
        if tools[..i].iter().any(|other| other.name == tool.name) {
            return Err(Error::invalid("tools", format!("there are two named {}", tool.name)));
        }
    }
    match choice {
        ToolChoice::Tool { tool_name } if tool_name.is_empty() => {
            Err(RULES.generate.refused("toolChoice.toolName", tool_name))
        }
        ToolChoice::Tool { tool_name } if !tools.iter().any(|tool| tool.name == *tool_name) => {
            Err(Error::invalid("toolChoice", format!("there is no tool named {tool_name:?}")))
        }
        ToolChoice::Named(ToolChoiceMode::Required) if tools.is_empty() => {
            Err(Error::invalid("toolChoice", "there are no tools"))
        }
        _ => Ok(()),
    }
}
