//! Detects stop sequences in a stream of text.

/// Watches streamed text for stop sequences, and holds back what may be the start of one.
#[derive(Debug, Clone, Default)]
pub struct StopSequences {
    stops: Vec<String>,
    held: String,
    hit: bool,
}

impl StopSequences {
    /// Watches for any of `stops`; empty ones are ignored.
    pub fn new(stops: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let stops = stops.into_iter().map(Into::into).filter(|s: &String| !s.is_empty()).collect();
        Self { stops, held: String::new(), hit: false }
    }

    /// Whether a stop sequence was matched; the text ends before it.
    pub fn hit(&self) -> bool {
        self.hit
    }

    /// Processes the next piece and returns the text that cannot be part of a stop sequence; after a match, nothing.
    pub fn push(&mut self, piece: &str) -> String {
        if self.hit {
            return String::new();
        }
        self.held.push_str(piece);
        // The earliest match wins; for several at the same position the text before them is the same.
        if let Some(at) = self.stops.iter().filter_map(|s| self.held.find(s.as_str())).min() {
            self.hit = true;
            self.held.truncate(at);
            return std::mem::take(&mut self.held);
        }
        let keep = self.stops.iter().map(|s| partial_suffix(&self.held, s)).max().unwrap_or(0);
        let rest = self.held.split_off(self.held.len() - keep);
        std::mem::replace(&mut self.held, rest)
    }

    /// Ends the stream and returns the text held back.
    pub fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }
}

/// The length in bytes of the longest suffix of `text` that is a proper prefix of `pattern`; always at a character
/// boundary.
pub(super) fn partial_suffix(text: &str, pattern: &str) -> usize {
    pattern.char_indices().rev().map(|(n, _)| n).find(|&n| text.ends_with(&pattern[..n])).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pushes `text` a character at a time.
    fn run(stops: &[&str], text: &str) -> (String, bool) {
        let mut scanner = StopSequences::new(stops.iter().copied());
        let mut out = String::new();
        for c in text.chars() {
            out.push_str(&scanner.push(c.encode_utf8(&mut [0; 4])));
        }
        out.push_str(&scanner.finish());
        (out, scanner.hit())
    }

    #[test]
    fn text_ends_before_a_stop_however_it_is_cut() {
        assert_eq!(run(&["</s>"], "a<b</s>c"), ("a<b".into(), true));
        assert_eq!(run(&["STOP", "OP"], "xSTOPy"), ("x".into(), true));
        assert_eq!(run(&["aab"], "aaab"), ("a".into(), true));
        assert_eq!(run(&["終わり"], "これで終わ"), ("これで終わ".into(), false));
        assert_eq!(run(&[], "plain"), ("plain".into(), false));
        let mut whole = StopSequences::new(["STOP", "OP"]);
        assert_eq!((whole.push("xSTOPy"), whole.hit()), ("x".into(), true));
    }

    #[test]
    fn what_cannot_be_a_stop_is_not_held() {
        let mut scanner = StopSequences::new(["\n\n"]);
        assert_eq!(scanner.push("line\n"), "line");
        assert_eq!(scanner.push("next"), "\nnext");
    }
}
