//! Parses Oniguruma patterns: groups, quantifiers, anchors, references.

use std::collections::BTreeMap;

use super::class::Escape;
use super::write::{Branch, Item, Writer};
use super::{Fault, bad, class, unsupported};
use crate::FormatKind;

/// Maximum nesting of groups; `fancy-regex` allows 64.
const MAX_DEPTH: usize = 32;

/// The expansion of `\R`, a line break.
const LINE_BREAK: &str = r"(?>\r\n|[\n-\r\x{85}\x{2028}\x{2029}])";
/// The expansion of `\X`, an extended grapheme cluster (UAX #29, without its rule GB9c).
const CLUSTER: &str = concat!(
    r"(?>\r\n|\p{gcb=PP}*(?:\p{gcb=RI}{2}|\p{gcb=L}*(?:\p{gcb=V}+|\p{gcb=LV}\p{gcb=V}*|\p{gcb=LVT})\p{gcb=T}*",
    r"|\p{gcb=L}+|\p{gcb=T}+|\p{ExtPict}(?:\p{gcb=EX}*\p{gcb=ZWJ}\p{ExtPict})*|[^\p{gcb=CN}\r\n])",
    r"[\p{gcb=EX}\p{gcb=ZWJ}\p{gcb=SM}]*|(?s:.))"
);

/// The capture groups of a pattern.
#[derive(Default)]
pub(super) struct Groups {
    /// The numbers of the groups with each name.
    named: BTreeMap<String, Vec<usize>>,
    unnamed: usize,
    /// Whether any group is referred to.
    referred: bool,
}

impl Groups {
    /// The number of capture groups: if there are named groups, only these capture.
    fn count(&self) -> usize {
        if self.named.is_empty() { self.unnamed } else { self.named.values().map(Vec::len).sum() }
    }
}

/// Options that apply up to the end of a group.
#[derive(Clone, Copy, Default)]
struct Flags {
    fold: bool,
    /// Whether the dot matches line breaks.
    dot_all: bool,
    extended: bool,
}

/// The parser of a pattern.
pub(super) struct Parser<'a> {
    rest: &'a str,
    flags: Flags,
    depth: usize,
    /// All groups, known in the second pass.
    known: Option<&'a Groups>,
    /// The groups parsed so far.
    groups: Groups,
    /// Whether the parser is in a look-behind, and whether in a negated one.
    behind: Option<bool>,
    writer: Writer,
}

/// The groups, from a first pass: the meaning of a number depends on groups that follow it.
pub(super) fn groups(pattern: &str) -> Result<Groups, Fault> {
    let mut parser = Parser::new(pattern, None);
    parser.pattern()?;
    Ok(parser.groups)
}

pub(super) fn translate(pattern: &str, groups: &Groups) -> Result<String, Fault> {
    Parser::new(pattern, Some(groups)).pattern()
}

impl<'a> Parser<'a> {
    fn new(pattern: &'a str, known: Option<&'a Groups>) -> Self {
        let (flags, groups) = (Flags::default(), Groups::default());
        Self { rest: pattern, flags, depth: 0, known, groups, behind: None, writer: Writer::default() }
    }

    pub(super) fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    pub(super) fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.rest = &self.rest[c.len_utf8()..];
        Some(c)
    }

    /// Consumes `text` if it is next.
    pub(super) fn eat(&mut self, text: &str) -> bool {
        let rest = self.rest.strip_prefix(text);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    pub(super) fn rest(&self) -> &'a str {
        self.rest
    }

    /// Consumes and returns the text before the next `end`, and consumes `end`.
    pub(super) fn until(&mut self, end: char) -> Option<&'a str> {
        let (text, rest) = self.rest.split_once(end)?;
        self.rest = rest;
        Some(text)
    }

    /// Consumes at most `most` digits.
    pub(super) fn digits(&mut self, radix: u32, most: usize) -> &'a str {
        let count = self.rest.chars().take(most).take_while(|c| c.is_digit(radix)).count(); // one byte each
        let (digits, rest) = self.rest.split_at(count);
        self.rest = rest;
        digits
    }

    fn pattern(&mut self) -> Result<String, Fault> {
        let branches = self.branches()?;
        if self.peek().is_some() {
            return bad("a closing parenthesis without an opening one");
        }
        Ok(self.writer.join(branches))
    }

    /// Parses a nested construct; options set inside apply up to its end.
    pub(super) fn nested<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, Fault>) -> Result<T, Fault> {
        if self.depth == MAX_DEPTH {
            return Err((FormatKind::RegexLimit, format!("nested more than {MAX_DEPTH} deep")));
        }
        let flags = self.flags;
        self.depth += 1;
        let value = read(self);
        self.depth -= 1;
        self.flags = flags;
        value
    }

    /// Parses alternatives up to the end or a closing parenthesis.
    fn branches(&mut self) -> Result<Vec<Branch>, Fault> {
        let mut branches = vec![Branch::new()];
        while let Some(c) = self.peek().filter(|&c| c != ')') {
            let branch = branches.last_mut().expect("there is one");
            if self.flags.extended && (c.is_whitespace() || c == '#') {
                self.next();
                if c == '#' && self.until('\n').is_none() {
                    self.rest = "";
                }
            } else if self.eat("|") {
                branches.push(Branch::new());
            } else if self.eat("(?#") {
                self.comment()?;
            } else if !self.quantifier(branch)? {
                self.piece(branch)?;
            }
        }
        Ok(branches)
    }

    fn comment(&mut self) -> Result<(), Fault> {
        loop {
            match self.next() {
                Some(')') => return Ok(()),
                Some('\\') => drop(self.next()),
                Some(_) => {}
                None => return bad("an unterminated comment"),
            }
        }
    }

    /// Applies a quantifier, if one is next, to the last item.
    fn quantifier(&mut self, branch: &mut Branch) -> Result<bool, Fault> {
        // If no lazy or possessive mark may follow, what looks like one is a separate quantifier.
        let (text, marks) = match self.peek() {
            Some(c @ ('*' | '+' | '?')) => {
                self.next();
                (c.to_string(), "?+")
            }
            Some('{') => match self.bounds() {
                Some((text, exact)) => (text, if exact { "" } else { "?" }),
                None => return Ok(false),
            },
            _ => return Ok(false),
        };
        let mark = ["?", "+"].into_iter().find(|mark| marks.contains(*mark) && self.eat(mark)).unwrap_or("");
        let target = match branch.pop() {
            None => return bad("a quantifier with nothing before it"),
            Some(Item::Anchor(_)) => return bad("a quantifier on a zero-width assertion"),
            Some(Item::Letters { mut letters, fold, whole }) => {
                let last = if whole { std::mem::take(&mut letters) } else { letters.split_off(letters.len() - 1) };
                if !letters.is_empty() {
                    branch.push(Item::Letters { letters, fold, whole: false });
                }
                let text = self.writer.letters(&last, fold);
                if last.len() == 1 && !fold { text } else { format!("(?:{text})") }
            }
            Some(Item::Atom(atom)) => atom,
            Some(Item::Repeated(text)) => format!("(?:{text})"),
        };
        branch.push(Item::Repeated(format!("{target}{text}{mark}")));
        Ok(true)
    }

    /// Parses `{2}`, `{2,}`, `{2,3}` or `{,3}`, and whether no mark may follow; anything else in braces is literal.
    /// Reversed bounds are possessive.
    fn bounds(&mut self) -> Option<(String, bool)> {
        let inner = self.rest.strip_prefix('{')?.split_once('}')?.0;
        let number =
            |text: &str| if text.bytes().all(|b| b.is_ascii_digit()) { Some(text.parse::<u32>().ok()) } else { None };
        let (text, exact) = match inner.split_once(',') {
            None => (format!("{{{}}}", number(inner)??), true),
            Some((low, high)) => match (number(low)?, number(high)?) {
                (None, None) => return None,
                (low, None) => (format!("{{{},}}", low?), false),
                (low, Some(high)) => {
                    let low = low.unwrap_or(0);
                    let possessive = if low > high { "+" } else { "" };
                    (format!("{{{},{}}}{possessive}", low.min(high), low.max(high)), low > high)
                }
            },
        };
        self.rest = &self.rest[inner.len() + 2..];
        Some((text, exact))
    }

    /// Parses an item other than a quantifier.
    fn piece(&mut self, branch: &mut Branch) -> Result<(), Fault> {
        let Some(c) = self.next() else { return Ok(()) };
        match c {
            '(' => return self.group(branch),
            '[' => {
                let class = self.nested(class::read)?;
                let fold = self.flags.fold;
                let text = match class.only {
                    Some(letter) => self.writer.letters(&[letter], fold),
                    None => class.text(fold, self.writer.folds())?,
                };
                branch.push(Item::Atom(text));
            }
            '.' => branch.push(Item::Atom(if self.flags.dot_all { "(?s:.)".into() } else { ".".into() })),
            // No line begins after a line break at the end of the text.
            '^' => branch.push(Item::Anchor(r"(?:\A|(?m:^)(?!\z))".into())),
            '$' => branch.push(Item::Anchor("(?m:$)".into())),
            '\\' => return self.escape(branch),
            _ => return self.letter(branch, c),
        }
        Ok(())
    }

    fn letter(&self, branch: &mut Branch, letter: char) -> Result<(), Fault> {
        let fold = self.flags.fold;
        match branch.last_mut() {
            Some(Item::Letters { letters, fold: same, whole: false }) if *same == fold => letters.push(letter),
            _ => branch.push(Item::Letters { letters: vec![letter], fold, whole: false }),
        }
        Ok(())
    }

    fn escape(&mut self, branch: &mut Branch) -> Result<(), Fault> {
        let word = format!("[{}]", class::WORD);
        let Some(c) = self.next() else { return bad("a backslash at the end of the pattern") };
        let item = match c {
            'A' | 'z' => Item::Anchor(format!("\\{c}")),
            'Z' => Item::Anchor(r"(?=\n?\z)".into()),
            'b' => Item::Anchor(format!("(?:(?<={word})(?!{word})|(?<!{word})(?={word}))")),
            'B' => Item::Anchor(format!("(?:(?<={word})(?={word})|(?<!{word})(?!{word}))")),
            'R' => Item::Atom(LINE_BREAK.into()),
            'X' => Item::Atom(CLUSTER.into()),
            'N' => Item::Atom(".".into()),
            'O' => Item::Atom("(?s:.)".into()),
            'y' | 'Y' | 'g' | 'G' | 'K' => return unsupported(format!("\\{c}")),
            'k' => self.reference_by_name().map(Item::Atom)?,
            '1'..='9' if let Some(number) = self.reference_by_number(c) => self.reference(number).map(Item::Atom)?,
            _ => match class::escape(self, c, class::WORD)? {
                Escape::Letter(letter) => return self.letter(branch, letter),
                Escape::Set(set) => Item::Atom(set),
            },
        };
        branch.push(item);
        Ok(())
    }

    /// Parses the number of a group after its first digit; `None` if the digits are a character code.
    fn reference_by_number(&mut self, first: char) -> Option<usize> {
        let more = self.rest.bytes().take_while(u8::is_ascii_digit).count();
        let (digits, rest) = self.rest.split_at(more);
        let number = format!("{first}{digits}").parse().ok()?;
        let is_group = number <= 9 || self.known.is_some_and(|known| number <= known.count());
        is_group.then(|| {
            self.rest = rest;
            number
        })
    }

    fn reference_by_name(&mut self) -> Result<String, Fault> {
        let end = if self.eat("<") {
            '>'
        } else if self.eat("'") {
            '\''
        } else {
            return bad("\\k without a name");
        };
        let Some(name) = self.until(end) else { return bad("an unterminated \\k") };
        if let Ok(number) = name.parse::<isize>() {
            let number = if number < 0 { self.groups.unnamed as isize + 1 + number } else { number };
            return self.reference(number.try_into().unwrap_or(0));
        }
        self.groups.referred = true;
        match self.groups.named.get(name).map(Vec::as_slice) {
            None => bad(format!("\\k<{name}>: no preceding group has that name")),
            Some([number]) => Ok(self.back(*number)),
            Some(_) => unsupported(format!("\\k<{name}>: several groups have that name")),
        }
    }

    /// A back-reference by group number.
    fn reference(&mut self, number: usize) -> Result<String, Fault> {
        self.groups.referred = true;
        match self.known {
            Some(known) if !known.named.is_empty() => bad("a numbered reference in a pattern with named groups"),
            Some(known) if number == 0 || number > known.unnamed => bad(format!("unknown group {number}")),
            _ => Ok(self.back(number)),
        }
    }

    fn back(&self, number: usize) -> String {
        format!("(?{}:\\{number})", if self.flags.fold { "i" } else { "" })
    }

    /// Parses a group after its opening parenthesis.
    fn group(&mut self, branch: &mut Branch) -> Result<(), Fault> {
        if self.rest.starts_with('*') {
            return unsupported("callouts");
        }
        if !self.eat("?") {
            let branches = self.capture(|groups| groups.unnamed += 1)?;
            let opening = if self.captures(false) { "(" } else { "(?:" };
            return self.close(branch, opening, branches);
        }
        if self.eat(":") {
            let mut branches = self.nested(Self::branches)?;
            // Literals of adjacent groups are merged, for multi-character case folding.
            if let [one] = &mut branches[..]
                && let [Item::Letters { whole, .. }] = &mut one[..]
            {
                *whole = true;
                branch.append(one);
                return self.closed();
            }
            self.closed()?;
            // A group that only contains a zero-width assertion cannot be repeated, either.
            let places = branches.iter().any(|branch| matches!(branch[..], [Item::Anchor(_)]));
            let text = format!("(?:{})", self.writer.join(branches));
            branch.push(if places { Item::Anchor(text) } else { Item::Atom(text) });
            return Ok(());
        }
        if self.eat(">") {
            let branches = self.nested(Self::branches)?;
            return self.close(branch, "(?>", branches);
        }
        for (mark, negated) in [("<=", false), ("<!", true)] {
            if self.eat(mark) {
                let before = self.behind.replace(negated || self.behind == Some(true));
                let branches = self.nested(Self::branches);
                self.behind = before;
                return self.look_behind(branch, mark, branches?);
            }
        }
        for mark in ["=", "!"] {
            if self.eat(mark) {
                if self.behind.is_some() {
                    return bad("a look-ahead in a look-behind");
                }
                let branches = self.nested(Self::branches)?;
                self.closed()?;
                branch.push(Item::Anchor(format!("(?{mark}{})", self.writer.join(branches))));
                return Ok(());
            }
        }
        for (mark, end) in [("<", '>'), ("'", '\'')] {
            if self.eat(mark) {
                let name = self.until(end).filter(|name| name.starts_with(|c: char| c.is_alphabetic() || c == '_'));
                let Some(name) = name else { return bad("a group's name is expected") };
                let branches = self.capture(|groups| {
                    let number = groups.count() * usize::from(!groups.named.is_empty()) + 1;
                    groups.named.entry(name.to_owned()).or_default().push(number);
                })?;
                let opening = if self.captures(true) { "(" } else { "(?:" };
                return self.close(branch, opening, branches);
            }
        }
        match self.peek() {
            Some('~') => unsupported("absence operators"),
            Some('(') => unsupported("conditionals"),
            Some('{') => unsupported("callouts"),
            _ => self.options(branch),
        }
    }

    /// Parses the contents of a group that may capture.
    fn capture(&mut self, count: impl FnOnce(&mut Groups)) -> Result<Vec<Branch>, Fault> {
        if self.behind == Some(true) {
            return bad("a group that captures in a negated look-behind");
        }
        count(&mut self.groups);
        self.nested(Self::branches)
    }

    /// Whether named or unnamed groups are translated to capture groups: only if one of them is referred to.
    fn captures(&self, named: bool) -> bool {
        self.known.is_some_and(|known| known.referred && known.named.is_empty() != named)
    }

    fn closed(&mut self) -> Result<(), Fault> {
        if self.eat(")") { Ok(()) } else { bad("an unterminated group") }
    }

    fn close(&mut self, branch: &mut Branch, opening: &str, branches: Vec<Branch>) -> Result<(), Fault> {
        self.closed()?;
        let text = format!("{opening}{})", self.writer.join(branches));
        branch.push(Item::Atom(text));
        Ok(())
    }

    /// Alternatives of a look-behind may have different lengths: each becomes a separate assertion.
    fn look_behind(&mut self, branch: &mut Branch, mark: &str, branches: Vec<Branch>) -> Result<(), Fault> {
        self.closed()?;
        let each: Vec<String> =
            branches.into_iter().map(|b| format!("(?{mark}{})", self.writer.join(vec![b]))).collect();
        branch.push(Item::Anchor(format!("(?:{})", each.join(if mark == "<!" { "" } else { "|" }))));
        Ok(())
    }

    /// Parses `(?i)`, which applies to the end of the enclosing group, or `(?i:…)`.
    fn options(&mut self, branch: &mut Branch) -> Result<(), Fault> {
        let mut flags = self.flags;
        let mut on = true;
        let mut any = false;
        loop {
            match self.next() {
                Some('i') => flags.fold = on,
                Some('m') => flags.dot_all = on,
                Some('x') => flags.extended = on,
                Some('-') => on = false,
                Some(end @ (')' | ':')) if any => {
                    let mut branches = self.nested(|parser| {
                        parser.flags = flags;
                        parser.branches()
                    })?;
                    if end == ':' {
                        return self.close(branch, "(?:", branches);
                    }
                    if let [one] = &mut branches[..] {
                        branch.append(one);
                    } else {
                        let text = self.writer.join(branches);
                        branch.push(Item::Atom(format!("(?:{text})")));
                    }
                    return Ok(());
                }
                Some(c @ ('W' | 'D' | 'S' | 'P' | 'y' | 'I' | 'L' | 'C')) => {
                    return unsupported(format!("the option {c}"));
                }
                _ => return bad("a group begins with (? and something unknown"),
            }
            any = true;
        }
    }
}
