//! A position in a text whose end may not have arrived.

use super::Stop;

#[derive(Debug, Clone)]
pub(super) struct Cursor<'a> {
    text: &'a str,
    pub(super) at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    pub(super) fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    /// The text from `start` to the position.
    pub(super) fn since(&self, start: usize) -> &'a str {
        &self.text[start..self.at]
    }

    /// The next character.
    pub(super) fn peek(&self) -> Result<char, Stop> {
        self.rest().chars().next().ok_or(Stop::More)
    }

    /// Passes the next character.
    pub(super) fn next(&mut self) -> Result<char, Stop> {
        let next = self.peek()?;
        self.at += next.len_utf8();
        Ok(next)
    }

    /// Passes white space.
    pub(super) fn space(&mut self) {
        self.at = self.text.len() - self.rest().trim_start().len();
    }

    /// Passes `pattern` if it follows; [`Stop::More`] if the text ends within it.
    pub(super) fn eat(&mut self, pattern: &str) -> Result<bool, Stop> {
        let rest = self.rest();
        if rest.starts_with(pattern) {
            self.at += pattern.len();
            return Ok(true);
        }
        if pattern.starts_with(rest) { Err(Stop::More) } else { Ok(false) }
    }

    /// Passes the first of `patterns` that follows.
    pub(super) fn eat_any(&mut self, patterns: &[&str]) -> Result<bool, Stop> {
        let mut more = false;
        for pattern in patterns {
            match self.eat(pattern) {
                Ok(true) => return Ok(true),
                Ok(false) => {}
                Err(_) => more = true,
            }
        }
        if more { Err(Stop::More) } else { Ok(false) }
    }

    /// Passes `pattern`, which must follow.
    pub(super) fn expect(&mut self, pattern: &str) -> Result<(), Stop> {
        if self.eat(pattern)? { Ok(()) } else { Err(Stop::Bad) }
    }

    /// Passes the text before `pattern`, and the pattern, and returns the text.
    pub(super) fn until(&mut self, pattern: &str) -> Result<&'a str, Stop> {
        let rest = self.rest();
        let found = rest.find(pattern).ok_or(Stop::More)?;
        self.at += found + pattern.len();
        Ok(&rest[..found])
    }

    /// As [`Self::until`], within a line.
    pub(super) fn label(&mut self, pattern: &str) -> Result<&'a str, Stop> {
        let (start, rest) = (self.at, self.rest());
        let found = self.until(pattern);
        let label = if found.is_ok() { self.since(start) } else { rest };
        if label.trim_start().contains('\n') { Err(Stop::Bad) } else { found }
    }

    /// Passes characters while they satisfy `of`, and returns them; [`Stop::More`] at the end of the text.
    pub(super) fn run(&mut self, of: impl Fn(char) -> bool) -> Result<&'a str, Stop> {
        let rest = self.rest();
        let end = rest.find(|c| !of(c)).ok_or(Stop::More)?;
        self.at += end;
        Ok(&rest[..end])
    }
}

/// Whether a character may stand in a tool's name.
pub(super) fn in_name(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '-' | '.')
}
