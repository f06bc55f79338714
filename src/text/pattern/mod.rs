//! Translates the regular expressions of tokenizer.json from Oniguruma (Ruby's syntax) to `fancy-regex`.
//!
//! A pattern is read once for its groups and once for its meaning. What the two engines read differently is rewritten. What
//! has no counterpart is refused: `\G`, `\K`, absence operators, calls, conditionals and callouts. Source: Oniguruma's
//! doc/RE and, where that is silent, what Oniguruma 6.9 does.

mod class;
mod fold;
mod parse;
mod write;

use crate::FormatKind;

/// Why a pattern is rejected: the kind of fault and a message.
pub(super) type Fault = (FormatKind, String);

/// Translates a pattern to the syntax of `fancy-regex`.
///
/// # Errors
/// `BadTokenizer` for patterns that Oniguruma rejects, too; `UnsupportedFeature` for constructs without a counterpart
/// (absence operators, calls of groups, conditionals, callouts, text segments); `RegexLimit` for groups nested too
/// deeply.
pub(super) fn translate(pattern: &str) -> Result<String, Fault> {
    let groups = parse::groups(pattern)?;
    parse::translate(pattern, &groups)
}

fn bad<T>(message: impl Into<String>) -> Result<T, Fault> {
    Err((FormatKind::BadTokenizer, message.into()))
}

fn unsupported<T>(message: impl Into<String>) -> Result<T, Fault> {
    Err((FormatKind::UnsupportedFeature, message.into()))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use tokenizers::{OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer};

    use super::*;
    use crate::text::tokenizer_json::pre_tokenizer;

    /// The pieces into which a pattern splits a text.
    fn pieces(pattern: &str, text: &str) -> crate::Result<Vec<String>> {
        let split = serde_json::json!({
            "type": "Split", "pattern": { "Regex": pattern }, "behavior": "Isolated", "invert": false,
        });
        let split = pre_tokenizer("t", split)?.expect("a stage");
        let mut text = PreTokenizedString::from(text);
        split.pre_tokenize(&mut text).expect("it splits");
        let splits = text.get_splits(OffsetReferential::Original, OffsetType::Byte);
        Ok(splits.into_iter().map(|(piece, _, _)| piece.to_owned()).collect())
    }

    /// Handwritten and random patterns split text as Hugging Face's tokenizers (Oniguruma) do; cases made by
    /// tests/patterns.py.
    #[test]
    fn patterns_split_as_with_oniguruma() {
        let path = std::env::var("MINKE_PATTERNS").unwrap_or_else(|_| "tests/patterns.json".into());
        let cases: Value = serde_json::from_slice(&std::fs::read(path).expect("the cases")).expect("JSON");
        let (mut faults, mut refused) = (Vec::new(), 0);
        let cases = cases.as_array().expect("a list");
        for case in cases {
            let pattern = case["pattern"].as_str().expect("a pattern");
            let splits: Vec<_> = case["texts"]
                .as_array()
                .into_iter()
                .flatten()
                .zip(case["splits"].as_array().into_iter().flatten())
                .collect();
            if splits.is_empty() {
                if let Ok(found) = pieces(pattern, "ab") {
                    faults.push(format!("{pattern:?}: {found:?}, where Oniguruma says {}", case["error"]));
                }
                continue;
            }
            for (text, expected) in splits {
                let text = text.as_str().expect("a text");
                match pieces(pattern, text) {
                    Ok(found) if serde_json::json!(found) == *expected => {}
                    Err(error) if error.to_string().contains("UnsupportedFeature") => {
                        refused += 1;
                        break;
                    }
                    found => faults
                        .push(format!("{pattern:?} of {text:?}: {found:?}, not {expected}; {:?}", translate(pattern))),
                }
            }
        }
        println!("{} of {} patterns have no counterpart", refused, cases.len());
        assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
    }
}
