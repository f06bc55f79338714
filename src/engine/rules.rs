//! The table of options: kinds, ranges, defaults, and what a refusal says. `options.json` states them for the engine and
//! for `pkg/src/options.ts`, so both refuse a value with the same message.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;
use serde_json::Value;

use crate::{Error, Result};

/// The table.
pub(super) static RULES: LazyLock<Table> =
    LazyLock::new(|| serde_json::from_str(include_str!("options.json")).expect("options.json is such a table"));

/// The options of each call that are checked on both sides.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Table {
    /// `generate`, `stream`, and the defaults of a session.
    pub(super) generate: Rules,
    /// `load`, and the calls that take its options.
    pub(super) load: Rules,
    /// `score`
    pub(super) score: Rules,
    /// `forward`
    pub(super) forward: Rules,
}

/// The rules of one call's options, by name.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub(super) struct Rules(BTreeMap<String, Rule>);

/// What an option accepts.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rule {
    kind: Kind,
    /// What is accepted whatever the kind.
    #[allow(dead_code)] // for JavaScript: here the types of the options have these values
    #[serde(default)]
    values: Vec<Value>,
    least: Option<f64>,
    above: Option<f64>,
    most: Option<f64>,
    below: Option<f64>,
    /// The value of an absent option, unless the model or the device decides.
    #[serde(default)]
    default: Value,
    /// The words for all of the above in "expected …, got …".
    expected: String,
    /// Fields, all of them required, of the object that is accepted as well.
    #[serde(default)]
    fields: BTreeMap<String, Rule>,
    /// What each value of the object must be.
    items: Option<Box<Rule>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    /// A finite number within the range.
    Number,
    /// A whole number within the range.
    Whole,
    /// One of `values`.
    Choice,
    /// A list of texts, none of them empty.
    Texts,
    /// An object with token ids as keys.
    ByToken,
    /// An object.
    Object,
    /// A text that is not empty.
    Text,
}

impl Rules {
    /// The rule of an option, or of a field of one (`reasoning.maxTokens`). Panics if the table has none.
    pub(super) fn rule(&self, path: &str) -> &Rule {
        let mut names = path.split('.');
        let first = names.next().and_then(|name| self.0.get(name));
        let found = names.fold(first, |rule, name| rule?.fields.get(name));
        found.unwrap_or_else(|| panic!("options.json has no {path}"))
    }

    /// Checks a number.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`]
    pub(super) fn number(&self, path: &str, value: f64) -> Result<()> {
        self.rule(path).number(path, value)
    }

    /// The error for a value that is not one of an option's.
    pub(super) fn refused(&self, path: &str, value: &impl serde::Serialize) -> Error {
        self.rule(path).refused(path, &json(value))
    }

    /// The default of an option that has a number as its default.
    pub(super) fn default(&self, path: &str) -> f64 {
        self.rule(path).default.as_f64().unwrap_or_else(|| panic!("options.json has no default for {path}"))
    }
}

impl Rule {
    /// Checks a number that the caller knows as `argument`.
    pub(super) fn number(&self, argument: &str, value: f64) -> Result<()> {
        let whole = self.kind != Kind::Whole || value.fract() == 0.0;
        let within = self.least.is_none_or(|least| value >= least)
            && self.above.is_none_or(|above| value > above)
            && self.most.is_none_or(|most| value <= most)
            && self.below.is_none_or(|below| value < below);
        if value.is_finite() && whole && within { Ok(()) } else { Err(self.refused(argument, &number(value))) }
    }

    /// The rule of an object's values.
    pub(super) fn items(&self) -> &Rule {
        self.items.as_deref().expect("a rule for what the object has")
    }

    /// The error for a value, as JavaScript writes it, shortened if it is long.
    fn refused(&self, argument: &str, value: &str) -> Error {
        const SHOWN: usize = 200; // characters, as in pkg/src/options.ts
        let (shown, mark) = match value.char_indices().nth(SHOWN) {
            Some((end, _)) => (&value[..end], "…"),
            None => (value, ""),
        };
        Error::invalid(argument, format!("expected {}, got {shown}{mark}", self.expected))
    }
}

/// A value as `JSON.stringify` writes it.
fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("texts and lists of texts have JSON")
}

/// A number as JavaScript's `String` writes it.
fn number(value: f64) -> String {
    if value.is_infinite() {
        return if value > 0.0 { "Infinity" } else { "-Infinity" }.to_owned();
    }
    if value == 0.0 || value.is_nan() || (1e-6..1e21).contains(&value.abs()) {
        return (value + 0.0).to_string(); // no -0
    }
    let text = format!("{value:e}");
    if value.abs() < 1.0 { text } else { text.replace('e', "e+") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::MAX_TOP;

    #[test]
    fn numbers_are_written_as_javascript_writes_them() {
        for (value, text) in [
            (1.5, "1.5"),
            (-0.0, "0"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-Infinity"),
            (9_007_199_254_740_992.0, "9007199254740992"),
            (1e20, "100000000000000000000"),
            (1e21, "1e+21"),
            (-2.5e-7, "-2.5e-7"),
            (1e-6, "0.000001"),
        ] {
            assert_eq!(number(value), text);
        }
    }

    /// Words that stand beside a range or a list of values name all of it.
    #[test]
    fn the_words_are_those_of_the_range() {
        fn all(rules: &BTreeMap<String, Rule>) -> Vec<(&str, &Rule)> {
            let nested = rules.values().flat_map(|rule| all(&rule.fields));
            rules.iter().map(|(name, rule)| (name.as_str(), rule)).chain(nested).collect()
        }
        let Table { generate, load, score, forward } = &*RULES;
        for (name, rule) in [generate, load, score, forward].into_iter().flat_map(|rules| all(&rules.0)) {
            let bounds = [("", rule.least), ("above ", rule.above), ("", rule.most), ("below ", rule.below)];
            for (word, bound) in bounds.into_iter().filter_map(|(word, bound)| Some((word, bound?))) {
                let words = format!("{word}{}", number(bound));
                assert!(rule.expected.contains(&words), "{name}: {words:?} is missing in {:?}", rule.expected);
            }
            assert_eq!(rule.expected.contains("whole number"), rule.kind == Kind::Whole, "{name}");
            assert_eq!(rule.items.is_some(), rule.kind == Kind::ByToken, "{name}");
            for value in &rule.values {
                assert!(
                    rule.expected.contains(&value.to_string()),
                    "{name}: {value} is missing in {:?}",
                    rule.expected
                );
            }
        }
    }

    #[test]
    fn the_sampler_has_room_for_the_most_probable_tokens() {
        assert_eq!(RULES.generate.rule("logprobs").most, Some(f64::from(MAX_TOP)));
    }
}
