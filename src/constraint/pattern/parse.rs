//! Parses JavaScript's regular expressions.

use crate::Refusal;

/// Groups within groups, at most.
const MAX_DEPTH: usize = 200;
/// What JavaScript's `\s` takes.
const SPACES: &str = r"\t-\r\x{20}\x{A0}\x{1680}\x{2000}-\x{200A}\x{2028}\x{2029}\x{202F}\x{205F}\x{3000}\x{FEFF}";

/// A sequence of terms for each alternative.
pub type Alternatives = Vec<Vec<Term>>;

pub enum Term {
    /// An expression that takes some text.
    Text(String),
    /// A group: what it begins with, and its alternatives.
    Group(String, Alternatives, String),
    Start,
    End,
}

pub struct Flags {
    pub ignore_case: bool,
    pub dot_all: bool,
    pub unicode: bool,
    pub sets: bool,
    /// Whether the text is part of JSON.
    pub json: bool,
}

/// Parses a pattern.
pub fn parse(source: &str, flags: &Flags) -> Result<Alternatives, Refusal> {
    let mut parser = Parser { rest: source.chars().collect(), at: 0, flags, depth: 0 };
    let alternatives = parser.alternatives()?;
    if parser.at < parser.rest.len() {
        return Err(Refusal::at(")", "the pattern closes a group that it did not open"));
    }
    Ok(alternatives)
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
        // derivre lets every escape through where a class has all control characters, and JSON here has no way to write U+0000.
        Ok(if self.flags.json { format!(r"[{out}&&[^\x00]]") } else { out })
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
pub fn literal(c: char) -> String {
    if c.is_ascii_alphanumeric() { c.to_string() } else { format!("\\x{{{:X}}}", u32::from(c)) }
}
