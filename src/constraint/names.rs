//! Follows JSON as it is written, so that no name comes twice in an object. A grammar cannot say that of names that a schema does
//! not list.

/// Where JSON text has come to. Names have one spelling, so their bytes can be compared as they are.
#[derive(Debug, Clone, Default)]
pub(crate) struct Names {
    /// The names of each open object, the innermost last; none for arrays.
    open: Vec<Option<Vec<Vec<u8>>>>,
    /// Whether the next string is a name.
    name_next: bool,
    /// The text of the name that is being written.
    name: Option<Vec<u8>>,
    /// Whether a string is being written that is no name.
    in_string: bool,
    /// Whether the last byte was a backslash that escapes the next.
    escaped: bool,
}

impl Names {
    /// Takes a byte of the text; `false` if it completes a name that its object has already.
    pub fn push(&mut self, byte: u8) -> bool {
        if self.in_string || self.name.is_some() {
            let closes = byte == b'"' && !self.escaped;
            self.escaped = byte == b'\\' && !self.escaped;
            if !closes {
                self.name.iter_mut().for_each(|name| name.push(byte));
                return true;
            }
            self.in_string = false;
            let (Some(name), Some(Some(names))) = (self.name.take(), self.open.last_mut()) else { return true };
            self.name_next = false;
            let known = names.contains(&name);
            names.push(name);
            return !known;
        }
        match byte {
            b'{' => self.open.push(Some(Vec::new())),
            b'[' => self.open.push(None),
            b'}' | b']' => drop(self.open.pop()),
            b'"' if self.name_next => self.name = Some(Vec::new()),
            b'"' => self.in_string = true,
            _ => {}
        }
        match byte {
            b'{' => self.name_next = true,
            b',' => self.name_next = matches!(self.open.last(), Some(Some(_))),
            b'[' | b'}' | b']' => self.name_next = false,
            _ => {}
        }
        true
    }

    /// Whether a token with so many quotation marks may complete a name that could be known.
    pub fn concerns(&self, quotes: usize) -> bool {
        let needed = if self.name.is_some() { 1 } else { 2 + usize::from(self.in_string) };
        quotes >= needed && self.open.iter().flatten().any(|names| !names.is_empty())
    }

    /// Whether a token's bytes complete no name twice.
    pub fn allows(&self, bytes: &[u8]) -> bool {
        // Most tokens that get here close the name that is being written, and nothing else.
        if let (Some(name), Some(Some(names)), Some((b'"', rest))) = (&self.name, self.open.last(), bytes.split_last())
            && !rest.contains(&b'"')
            && !rest.contains(&b'\\')
            && !self.escaped
        {
            return !names.iter().any(|known| known.strip_prefix(name.as_slice()) == Some(rest));
        }
        let mut after = self.clone();
        bytes.iter().all(|&byte| after.push(byte))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first_repeated(text: &str) -> Option<usize> {
        let mut names = Names::default();
        text.bytes().position(|byte| !names.push(byte))
    }

    #[test]
    fn a_name_is_repeated_within_its_object_only() {
        for text in [
            r#"{"a": {"a": ["a", "a"]}, "b": "a"}"#,
            r#"[{"a": 1}, {"a": 2}]"#,
            r#"{"a\"": 1, "a": 2}"#,
            r#"["a", "a"]"#,
        ] {
            assert_eq!(first_repeated(text), None, "{text}");
        }
        for (text, before) in [
            (r#"{"a": 1, "a": 2}"#, r#"{"a": 1, "a"#),
            (r#"{"a": {"b": 1, "b": 2}}"#, r#"{"a": {"b": 1, "b"#),
            (r#"{"x": [{}], "y\\": "}", "x": 1}"#, r#"{"x": [{}], "y\\": "}", "x"#),
        ] {
            assert_eq!(first_repeated(text), Some(before.len()), "{text}");
            for cut in 0..before.len() {
                let mut names = Names::default();
                text.bytes().take(cut).for_each(|byte| assert!(names.push(byte)));
                let rest = &text.as_bytes()[cut..=before.len()];
                let quotes = rest.iter().filter(|&&byte| byte == b'"').count();
                assert!(!names.allows(rest), "{text} from {cut}");
                assert!(names.concerns(quotes) || !names.open.iter().flatten().any(|known| !known.is_empty()));
            }
        }
    }
}
