//! Recognises tokens that end a turn by their text, as llama.cpp does, whatever a file declares.

/// Texts of tokens that end a turn in published vocabularies.
const ENDS: &[&str] = &[
    "<|eot_id|>",
    "<|eom_id|>",
    "<|im_end|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<|calls|>",
    "<|flush|>",
    "<|endoftext|>",
    "<|end_of_text|>",
    "<end_of_turn>",
    "<end_of_utterance>",
    "<turn|>",
    "<|tool_response>",
    "<eos>",
    "</s>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "[EOS]",
    "[e~[",
    "<｜end▁of▁sentence｜>",
    // Separators and padding of files in the training data of code models.
    "<|fim_pad|>",
    "<fim-pad>",
    "<fim_pad>",
    "<|fim_repo|>",
    "<|repo_name|>",
    "<fim-repo>",
    "<|file_sep|>",
];

/// Texts that end a message but not the turn if a vocabulary also has both of the listed tokens: harmony's and Solar
/// Open's messages, and Gemma 4's unused `</s>`.
const EXCEPT: &[(&str, [&str; 2])] = &[
    ("<|end|>", ["<|return|>", "<|channel|>"]),
    ("<|end|>", ["<|return|>", "<|call|>"]),
    ("<|end|>", ["<|calls|>", "<|flush|>"]),
    ("</s>", ["<turn|>", "<|tool_response>"]),
];

/// Whether a token with this text ends a message but not the turn, in a vocabulary with the tokens that `has` accepts.
pub(super) fn ends_message_only(token: &str, has: &dyn Fn(&str) -> bool) -> bool {
    EXCEPT.iter().any(|(text, others)| *text == token && others.iter().all(|other| has(other)))
}

/// The end-of-turn texts that a vocabulary has.
pub(super) fn turn_ends(has: &dyn Fn(&str) -> bool) -> Vec<&'static str> {
    ENDS.iter().copied().filter(|token| has(token) && !ends_message_only(token, has)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_message_is_not_the_end_of_a_turn() {
        let ends = |tokens: &[&str]| turn_ends(&|token| tokens.contains(&token));
        assert_eq!(ends(&["<|end|>", "<|user|>"]), ["<|end|>"]);
        assert_eq!(ends(&["<|end|>", "<|return|>", "<|channel|>", "<|call|>"]), ["<|return|>", "<|call|>"]);
        assert_eq!(ends(&["<|end|>", "<|calls|>", "<|flush|>"]), ["<|calls|>", "<|flush|>"]);
        assert_eq!(ends(&["</s>", "<turn|>", "<|tool_response>"]), ["<turn|>", "<|tool_response>"]);
    }
}
