//! What binds an answer: a constraint, the form of a model's calls where one is forced, and calls from where the model begins them.

use std::rc::Rc;

use super::constraint::{Constraint, Either, Grammars, Matcher, has_meaning};
use super::output::Output;
use super::tool_choice::ToolChoice;
use super::tools::forced_tools;
use super::{Engine, GenerateOptions};
use crate::text::{Beginning, CallRules, ToolFormat, ToolSpec};
use crate::{Error, Result};

/// What binds an answer.
#[derive(Default)]
pub(super) struct Binding {
    /// What all of it must be, if it is bound as a whole.
    pub answer: Option<Box<dyn Matcher>>,
    /// What binds calls that the model begins in it.
    pub calls: Option<BoundCalls>,
}

impl Engine {
    /// What binds the answer of a generation with tools, of which `constraint` binds what is no call.
    ///
    /// # Errors
    /// [`Error::Constraint`], for a tool's schema too.
    pub(super) async fn binding(&self, options: &GenerateOptions) -> Result<Option<Binding>> {
        let constraint = options.response_constraint.as_ref();
        let none = options.tools.is_empty() || options.tool_choice.is_none() || options.raw;
        if none && constraint.is_none() {
            return Ok(None);
        }
        let grammars = self.grammars().await?;
        let answer = constraint.map(|constraint| grammars.compile(constraint)).transpose()?;
        if none {
            return Ok(Some(Binding { answer, calls: None }));
        }
        let forced = forced_tools(options);
        let is_forced = forced.is_some();
        let calls = BoundCalls {
            grammars,
            format: self.tool_format,
            tools: forced.unwrap_or_else(|| options.tools.clone()),
            // A tool that is named is called once.
            parallel: !matches!(options.tool_choice, ToolChoice::Tool { .. }),
            special: self.tokens_with_meaning(),
            tried: false,
        };
        // Compiled ahead, so that a schema that cannot be honoured is refused before anything is generated.
        let harmony = self.tool_format.is_harmony();
        let whole = is_forced && !harmony;
        let by_themselves = harmony || answer.is_none() && !is_forced;
        let matcher = calls.compile(by_themselves.then_some(""))?;
        Ok(Some(match answer {
            // Nothing is left for the constraint to bind.
            _ if whole => Binding { answer: Some(matcher), calls: None },
            Some(answer) if !harmony => {
                Binding { answer: Some(Box::new(Either::new(vec![answer, matcher]))), calls: None }
            }
            answer => Binding { answer, calls: Some(calls) },
        }))
    }

    /// The tokens that are no text in grammars.
    fn tokens_with_meaning(&self) -> Vec<(String, u32)> {
        let meant = |token: String| {
            let id = self.tokenizer.id(&token).filter(|&id| has_meaning(&self.tokenizer, id))?;
            Some((token, id))
        };
        self.tokenizer.added_tokens().into_iter().filter_map(meant).collect()
    }
}

/// What binds calls from where the model begins them.
pub(super) struct BoundCalls {
    grammars: Rc<dyn Grammars>,
    format: ToolFormat,
    tools: Vec<ToolSpec>,
    parallel: bool,
    special: Vec<(String, u32)>,
    /// Whether what the output has begun was looked at.
    tried: bool,
}

impl BoundCalls {
    /// The match of calls that the output has just begun. `None` if there are none, or if they are not of the model's own form.
    pub fn begun(&mut self, output: &Output<'_>) -> Result<Option<Box<dyn Matcher>>> {
        let Some(Beginning { text, is_marker }) = output.beginning_of_calls() else {
            self.tried = false;
            return Ok(None);
        };
        let is_special = |id: &u32| self.special.iter().any(|(_, special)| special == id);
        // A marker that is no token of its own may also be spoken of: what follows it decides.
        if self.tried || is_marker && !output.ids.last().is_some_and(is_special) {
            return Ok(None);
        }
        let Some((before, ids)) = output.tokens_of(&text) else { return Ok(None) };
        self.tried = true;
        let mut matcher = self.compile(Some(&before))?;
        let fits = ids.iter().all(|&id| matcher.consume(id).is_ok());
        Ok(fits.then_some(matcher))
    }

    /// Whether an answer ends with the calls that have begun; otherwise it goes on.
    pub fn end_the_answer(&self) -> bool {
        self.format.is_harmony()
    }

    /// Begins a match of calls; see [`CallRules::after`].
    fn compile(&self, after: Option<&str>) -> Result<Box<dyn Matcher>> {
        let compiled = self.compiled(&self.tools, after);
        let Err(Error::Constraint { .. }) = compiled else { return compiled };
        // Which of the tools it is.
        for tool in &self.tools {
            if let Err(Error::Constraint { message, keyword, path }) = self.compiled(std::slice::from_ref(tool), after)
            {
                let message = format!("the input schema of the tool {}: {message}", tool.name);
                return Err(Error::Constraint { message, keyword, path });
            }
        }
        compiled
    }

    fn compiled(&self, tools: &[ToolSpec], after: Option<&str>) -> Result<Box<dyn Matcher>> {
        let rules = CallRules { tools, parallel: self.parallel, after, special: &self.special };
        self.grammars.compile(&Constraint::Grammar { grammar: self.format.grammar(&rules) })
    }
}
