//! Translates JavaScript's regular expressions to the syntax of `regex-syntax`, for a match of a whole text.
//!
//! What depends on more than the text that it takes has no counterpart in an automaton and is refused: look-around, `\b`, back
//! references, anchors in the middle.

use crate::Refusal;

/// Characters of a pattern, at most.
const MAX_LENGTH: usize = 1 << 16;
/// Groups within groups, at most.
const MAX_DEPTH: usize = 200;
/// What JavaScript's `\s` takes.
const SPACES: &str = r"\t-\r\x{20}\x{A0}\x{1680}\x{2000}-\x{200A}\x{2028}\x{2029}\x{202F}\x{205F}\x{3000}\x{FEFF}";

/// A regular expression for whole texts that `source` matches from end to end; anchors at its ends add nothing.
pub(crate) fn whole(source: &str, flags: &str) -> Result<String, Refusal> {
    translate(source, flags, Edge::Closed)
}

/// A regular expression for whole texts in which `source` matches somewhere, as JSON Schema's `pattern` does.
pub(crate) fn anywhere(source: &str) -> Result<String, Refusal> {
    translate(source, "u", Edge::Open)
}

/// What is beside a part of the pattern.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Edge {
    /// Another part: an anchor cannot be honoured.
    Part,
    /// The text's end: an anchor adds nothing.
    Closed,
    /// Any text, unless there is an anchor.
    Open,
}

/// A sequence of terms for each alternative.
type Alternatives = Vec<Vec<Term>>;

enum Term {
    /// An expression that takes some text.
    Text(String),
    /// A group: what it begins with, and its alternatives.
    Group(String, Alternatives, String),
    Start,
    End,
}

struct Flags {
    ignore_case: bool,
    dot_all: bool,
    unicode: bool,
    sets: bool,
}

fn translate(source: &str, flags: &str, edge: Edge) -> Result<String, Refusal> {
    if source.len() > MAX_LENGTH {
        return Err(Refusal::new(format!("the pattern has {} bytes; at most {MAX_LENGTH} are possible", source.len())));
    }
    let (inline, source) = inline_flags(source);
    let mut set = Flags { ignore_case: false, dot_all: false, unicode: false, sets: false };
    for flag in flags.chars().chain(inline.chars()) {
        match flag {
            'i' => set.ignore_case = true,
            's' => set.dot_all = true,
            'u' => set.unicode = true,
            'v' => (set.unicode, set.sets) = (true, true),
            // Of a whole text, `m` changes anchors in its middle only, and those are refused.
            'd' | 'g' | 'm' | 'y' => {}
            _ => return Err(Refusal::at(&flag.to_string(), format!("the flag {flag:?} is not known"))),
        }
    }
    let mut parser = Parser { rest: source.chars().collect(), at: 0, flags: &set, depth: 0 };
    let alternatives = parser.alternatives()?;
    if parser.at < parser.rest.len() {
        return Err(Refusal::at(")", "the pattern closes a group that it did not open"));
    }
    let body = write(&alternatives, edge, edge)?;
    let pattern = if set.ignore_case { format!("(?i:{body})") } else { body };
    match regex_syntax::Parser::new().parse(&pattern) {
        Ok(_) => Ok(pattern),
        Err(error) => {
            let text = error.to_string();
            let last = text.lines().last().unwrap_or_default().trim().trim_start_matches("error: ").to_owned();
            Err(Refusal::new(format!("the pattern {source:?} cannot be used: {last}")))
        }
    }
}

/// Flags at the start, as other dialects write them: `(?is)`.
fn inline_flags(source: &str) -> (&str, &str) {
    let inline = source.strip_prefix("(?").and_then(|rest| rest.split_once(')'));
    match inline {
        Some((flags, rest)) if !flags.is_empty() && flags.chars().all(|c| "ism".contains(c)) => (flags, rest),
        _ => ("", source),
    }
}

/// Writes alternatives that have `left` and `right` beside them.
fn write(alternatives: &Alternatives, left: Edge, right: Edge) -> Result<String, Refusal> {
    const ANY: &str = "(?s:.*)";
    let mut written = Vec::with_capacity(alternatives.len());
    for terms in alternatives {
        let (mut left, mut right) = (left, right);
        let mut terms = terms.as_slice();
        while let [Term::Start, rest @ ..] = terms {
            if left == Edge::Part {
                break;
            }
            (left, terms) = (Edge::Closed, rest);
        }
        while let [rest @ .., Term::End] = terms {
            if right == Edge::Part {
                break;
            }
            (right, terms) = (Edge::Closed, rest);
        }
        let mut text = String::new();
        let group = |term: Option<&Term>| matches!(term, Some(Term::Group(_, _, times)) if times.is_empty());
        if left == Edge::Open && !group(terms.first()) {
            text += ANY;
        }
        for (i, term) in terms.iter().enumerate() {
            match term {
                Term::Text(expression) => text += expression,
                Term::Group(begin, inner, times) => {
                    let outer = times.is_empty();
                    let left = if outer && i == 0 { left } else { Edge::Part };
                    let right = if outer && i + 1 == terms.len() { right } else { Edge::Part };
                    text += &format!("{begin}{}){times}", write(inner, left, right)?);
                }
                Term::Start => {
                    return Err(Refusal::at("^", "the anchor ^ is supported at the start of a pattern only"));
                }
                Term::End => return Err(Refusal::at("$", "the anchor $ is supported at the end of a pattern only")),
            }
        }
        if right == Edge::Open && !group(terms.last()) && !(terms.is_empty() && left == Edge::Open) {
            text += ANY;
        }
        written.push(text);
    }
    Ok(match <[String; 1]>::try_from(written) {
        Ok([one]) => one,
        Err(several) => format!("(?:{})", several.join("|")),
    })
}

struct Parser<'a> {
    rest: Vec<char>,
    at: usize,
    flags: &'a Flags,
    depth: usize,
}

impl Parser<'_> {
    fn peek(&self) -> Option<char> {
        self.rest.get(self.at).copied()
    }

    fn next(&mut self) -> Option<char> {
        self.at += 1;
        self.rest.get(self.at - 1).copied()
    }

    /// Whether `text` follows; then it is passed.
    fn eat(&mut self, text: &str) -> bool {
        let follows = self.ahead(text);
        if follows {
            self.at += text.chars().count();
        }
        follows
    }

    fn ahead(&self, text: &str) -> bool {
        self.rest[self.at.min(self.rest.len())..].iter().take(text.chars().count()).copied().eq(text.chars())
    }

    fn alternatives(&mut self) -> Result<Alternatives, Refusal> {
        let mut alternatives = vec![Vec::new()];
        while let Some(c) = self.peek() {
            match c {
                ')' => break,
                '|' => {
                    self.at += 1;
                    alternatives.push(Vec::new());
                }
                _ => {
                    let term = self.term()?;
                    alternatives.last_mut().expect("there is one").push(term);
                }
            }
        }
        Ok(alternatives)
    }

    fn term(&mut self) -> Result<Term, Refusal> {
        match self.next().expect("the caller looked") {
            '^' => Ok(Term::Start),
            '$' => Ok(Term::End),
            '(' => self.group(),
            c => {
                let atom = match c {
                    '.' if self.flags.dot_all => "(?s:.)".to_owned(),
                    '.' => r"[^\n\r\x{2028}\x{2029}]".to_owned(),
                    '[' => self.class()?,
                    '\\' => self.escape()?,
                    '*' | '+' | '?' => return Err(Refusal::at(&c.to_string(), format!("{c} has nothing to repeat"))),
                    c => literal(c),
                };
                let times = self.times();
                Ok(Term::Text(atom + &times))
            }
        }
    }

    fn group(&mut self) -> Result<Term, Refusal> {
        let around = [
            ("(?=", "?=", "look-ahead"),
            ("(?!", "?!", "look-ahead"),
            ("(?<=", "?<=", "look-behind"),
            ("(?<!", "?<!", "look-behind"),
            ("(?>", "?>", "an atomic group"),
        ];
        for (keyword, text, what) in around {
            if self.ahead(text) {
                return Err(Refusal::at(keyword, format!("{what} {keyword}…) is not supported")));
            }
        }
        let mut begin = "(?:".to_owned();
        if self.eat("?<") || self.eat("?P<") {
            while self.next().is_some_and(|c| c != '>') {}
        } else if self.eat("?:") {
        } else if self.eat("?") {
            begin = "(?".to_owned();
            loop {
                match self.next() {
                    Some(c @ ('i' | 's' | '-')) => begin.push(c),
                    Some('m') => {}
                    Some(':') => break,
                    _ => return Err(Refusal::at("(?", "the pattern has a group of an unknown kind")),
                }
            }
            begin.push(':');
        }
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(Refusal::new(format!("the pattern has more than {MAX_DEPTH} groups within groups")));
        }
        let inner = self.alternatives()?;
        self.depth -= 1;
        if !self.eat(")") {
            return Err(Refusal::at("(", "the pattern leaves a group open"));
        }
        Ok(Term::Group(begin, inner, self.times()))
    }

    /// A quantifier, if one follows. Which match is preferred does not change what is matched.
    fn times(&mut self) -> String {
        let from = self.at;
        match self.peek() {
            Some('*' | '+' | '?') => self.at += 1,
            Some('{') => {
                let close = self.rest[from..].iter().position(|&c| c == '}');
                let inside: String = self.rest[from + 1..from + close.unwrap_or(1)].iter().collect();
                let numbers: Vec<&str> = inside.split(',').collect();
                let digits = |text: &str| text.chars().all(|c| c.is_ascii_digit());
                let known = !numbers[0].is_empty() && numbers.len() <= 2 && numbers.iter().all(|n| digits(n));
                let Some(close) = close.filter(|_| known) else { return String::new() };
                self.at = from + close + 1;
            }
            _ => return String::new(),
        }
        let times = self.rest[from..self.at].iter().collect();
        self.eat("?");
        times
    }

    /// What follows a backslash outside of a class.
    fn escape(&mut self) -> Result<String, Refusal> {
        match self.peek() {
            Some(c @ ('b' | 'B')) => {
                let keyword = format!("\\{c}");
                Err(Refusal::at(&keyword, format!("the word boundary {keyword} is not supported")))
            }
            Some(c @ ('1'..='9' | 'k')) => {
                let keyword = format!("\\{c}");
                Err(Refusal::at(&keyword, format!("the back reference {keyword} is not supported")))
            }
            _ => Ok(match self.escaped()? {
                Item::Char(c) => literal(c),
                Item::Class(inside) => format!("[{inside}]"),
            }),
        }
    }

    /// What follows a backslash anywhere.
    fn escaped(&mut self) -> Result<Item, Refusal> {
        let c = self.next().ok_or_else(|| Refusal::at("\\", "the pattern ends in a backslash"))?;
        let class = |text: &str| Ok(Item::Class(text.to_owned()));
        match c {
            'd' => class("0-9"),
            'D' => class("[^0-9]"),
            'w' => class("0-9A-Za-z_"),
            'W' => class("[^0-9A-Za-z_]"),
            's' => class(SPACES),
            'S' => class(&format!("[^{SPACES}]")),
            'p' | 'P' if self.flags.unicode => {
                let from = self.at;
                if !self.eat("{") {
                    return Err(Refusal::at("\\p", "a property needs braces: \\p{L}"));
                }
                while self.next().is_some_and(|c| c != '}') {}
                let name: String = self.rest[from..self.at.min(self.rest.len())].iter().collect();
                class(&format!("\\{c}{name}"))
            }
            'q' if self.flags.sets => Err(Refusal::at("\\q", "strings in classes, \\q{…}, are not supported")),
            't' => Ok(Item::Char('\t')),
            'n' => Ok(Item::Char('\n')),
            'v' => Ok(Item::Char('\u{b}')),
            'f' => Ok(Item::Char('\u{c}')),
            'r' => Ok(Item::Char('\r')),
            '0' => Ok(Item::Char('\0')),
            'c' if self.peek().is_some_and(|c| c.is_ascii_alphabetic()) => {
                let letter = self.next().expect("one was seen");
                Ok(Item::Char(char::from(letter as u8 % 32)))
            }
            'x' => Ok(Item::Char(self.hex(2).and_then(char::from_u32).unwrap_or('x'))),
            'u' => self.unicode(),
            c => Ok(Item::Char(c)),
        }
    }

    /// After `\u`.
    fn unicode(&mut self) -> Result<Item, Refusal> {
        let bad = || Refusal::at("\\u", "the pattern names a code point that is not a character");
        if self.flags.unicode && self.ahead("{") {
            let close = self.rest[self.at..].iter().position(|&c| c == '}').ok_or_else(bad)?;
            let digits: String = self.rest[self.at + 1..self.at + close].iter().collect();
            self.at += close + 1;
            let code = u32::from_str_radix(&digits, 16).ok().and_then(char::from_u32);
            return code.map(Item::Char).ok_or_else(bad);
        }
        let Some(first) = self.hex(4) else { return Ok(Item::Char('u')) };
        if (0xd800..0xdc00).contains(&first) && self.eat("\\u") {
            let second = self.hex(4).filter(|second| (0xdc00..0xe000).contains(second)).ok_or_else(bad)?;
            let code = 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
            return char::from_u32(code).map(Item::Char).ok_or_else(bad);
        }
        char::from_u32(first).map(Item::Char).ok_or_else(bad)
    }

    /// So many hexadecimal digits, if they follow.
    fn hex(&mut self, count: usize) -> Option<u32> {
        let digits: String = self.rest.get(self.at..self.at + count)?.iter().collect();
        let value = digits.chars().all(|c| c.is_ascii_hexdigit()).then(|| u32::from_str_radix(&digits, 16).ok())??;
        self.at += count;
        Some(value)
    }

    /// After `[`.
    fn class(&mut self) -> Result<String, Refusal> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(Refusal::new(format!("the pattern has more than {MAX_DEPTH} classes within classes")));
        }
        let mut out = String::from(if self.eat("^") { "[^" } else { "[" });
        let start = out.len();
        loop {
            if self.peek().is_none() {
                return Err(Refusal::at("[", "the pattern leaves a class open"));
            }
            if self.eat("]") {
                break;
            }
            if self.flags.sets && (self.ahead("--") || self.ahead("&&")) {
                out.extend([self.next(), self.next()].into_iter().flatten());
                continue;
            }
            let item = self.class_item()?;
            let ranged = self.ahead("-") && !self.ahead("-]") && !(self.flags.sets && self.ahead("--"));
            match item {
                Item::Char(low) if ranged => {
                    self.at += 1;
                    match self.class_item()? {
                        Item::Char(high) => out += &format!("{}-{}", literal(low), literal(high)),
                        Item::Class(class) => out += &format!("{}{}{class}", literal(low), literal('-')),
                    }
                }
                Item::Char(c) => out += &literal(c),
                Item::Class(class) => out += &class,
            }
        }
        self.depth -= 1;
        if out.len() == start {
            return Ok(if start == 2 { "(?s:.)" } else { r"[^\x{0}-\x{10FFFF}]" }.to_owned());
        }
        out.push(']');
        Ok(out)
    }

    fn class_item(&mut self) -> Result<Item, Refusal> {
        match self.next() {
            None => Err(Refusal::at("[", "the pattern leaves a class open")),
            Some('\\') if self.eat("b") => Ok(Item::Char('\u{8}')),
            Some('\\') => self.escaped(),
            Some('[') if self.flags.sets => self.class().map(Item::Class),
            Some(c) => Ok(Item::Char(c)),
        }
    }
}

enum Item {
    Char(char),
    /// What stands between the brackets of a class.
    Class(String),
}

/// A character that means itself, inside of classes and outside.
fn literal(c: char) -> String {
    if c.is_ascii_alphanumeric() { c.to_string() } else { format!("\\x{{{:X}}}", u32::from(c)) }
}

/// An expression for one of some texts.
pub(crate) fn one_of(texts: &[String]) -> String {
    let each: Vec<String> = texts.iter().map(|text| text.chars().map(literal).collect()).collect();
    format!("(?:{})", each.join("|"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(source: &str, flags: &str) -> String {
        whole(source, flags).expect_err(source).keyword.unwrap_or_default()
    }

    #[test]
    fn what_an_automaton_lacks_is_refused_by_name() {
        for (source, keyword) in [
            ("(?=.*[0-9])[a-z]+", "(?="),
            ("a(?!b)", "(?!"),
            ("(?<=x)y", "(?<="),
            ("(?<!x)y", "(?<!"),
            (r"\bword\b", r"\b"),
            (r"(a|b)\1", r"\1"),
            (r"(?<n>a)\k<n>", r"\k"),
            ("a^b", "^"),
            ("(a$)+", "$"),
            ("(ab", "("),
            ("ab)", ")"),
            ("[ab", "["),
            ("*a", "*"),
        ] {
            assert_eq!(refused(source, ""), keyword, "{source}");
        }
        assert_eq!(refused("a", "x"), "x");
        assert!(whole("a++", "").is_err());
        assert!(whole(r"\p{Nonsense}", "u").is_err());
        assert!(whole(&"(".repeat(5000), "").is_err());
    }

    /// Compares with the `regex` syntax written by hand.
    #[test]
    fn dialects_are_translated_by_meaning() {
        for (source, flags, want) in [
            ("^[a-z]+$", "", "[a-z]+"),
            ("^a|b$", "", "(?:a|b)"),
            ("(^a$|^b$)", "", "(?:(?:a|b))"),
            ("a+?b*?", "", "a+b*"),
            ("a{2,3}?", "", "a{2,3}"),
            ("a{x", "", r"a\x{7B}x"),
            ("(?<year>[0-9]{4})", "", "(?:[0-9]{4})"),
            (r"\d\w", "", "[0-9][0-9A-Za-z_]"),
            (r"\p{L}", "", r"p\x{7B}L\x{7D}"),
            (r"\p{L}", "u", r"[\p{L}]"),
            (r"\u{1F600}", "u", r"\x{1F600}"),
            (r"\uD83D\uDE00", "", r"\x{1F600}"),
            (r"[^]", "", "(?s:.)"),
            (r"[\]\-^]", "", r"[\x{5D}\x{2D}\x{5E}]"),
            (r"[\p{L}--[a-z]]", "v", r"[\p{L}--[a-z]]"),
            ("a.b", "s", "a(?s:.)b"),
            ("a", "i", "(?i:a)"),
            ("(?i)a", "", "(?i:a)"),
            ("", "", ""),
        ] {
            assert_eq!(whole(source, flags).map_err(|r| r.message).as_deref(), Ok(want), "{source}");
        }
        for (source, want) in [
            ("[0-9]+", "(?s:.*)[0-9]+(?s:.*)"),
            ("^a", "a(?s:.*)"),
            ("a$", "(?s:.*)a"),
            ("^$|^a$", "(?:|a)"),
            ("(^a$)", "(?:a)"),
            ("^(a|b)c", "(?:(?:a|b))c(?s:.*)"),
            ("", "(?s:.*)"),
        ] {
            assert_eq!(anywhere(source).map_err(|r| r.message).as_deref(), Ok(want), "{source}");
        }
    }
}
