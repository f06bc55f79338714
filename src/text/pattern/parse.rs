//! Groups, quantifiers, anchors and escapes.

use std::collections::BTreeMap;

use super::class::Escape;
use super::{Fault, bad, class, fold, unsupported};
use crate::FormatKind;

/// Groups in groups; `fancy-regex` has 64.
const MAX_DEPTH: usize = 32;

/// What `\R` is.
const LINE_BREAK: &str = r"(?>\r\n|[\n-\r\x{85}\x{2028}\x{2029}])";
/// What `\X` is: an extended grapheme cluster (UAX #29, without its rule GB9c).
const CLUSTER: &str = concat!(
    r"(?>\r\n|\p{gcb=PP}*(?:\p{gcb=RI}{2}|\p{gcb=L}*(?:\p{gcb=V}+|\p{gcb=LV}\p{gcb=V}*|\p{gcb=LVT})\p{gcb=T}*",
    r"|\p{gcb=L}+|\p{gcb=T}+|\p{ExtPict}(?:\p{gcb=EX}*\p{gcb=ZWJ}\p{ExtPict})*|[^\p{gcb=CN}\r\n])",
    r"[\p{gcb=EX}\p{gcb=ZWJ}\p{gcb=SM}]*|(?s:.))"
);

/// The groups of a pattern that capture.
#[derive(Default)]
pub(super) struct Groups {
    /// Each name's groups, by number.
    named: BTreeMap<String, Vec<usize>>,
    unnamed: usize,
    /// Whether any is referred to.
    referred: bool,
}

impl Groups {
    /// Where there are names, only they capture.
    fn count(&self) -> usize {
        if self.named.is_empty() { self.unnamed } else { self.named.values().map(Vec::len).sum() }
    }
}

/// What a branch consists of.
enum Item {
    /// Characters as they are, or in any case; `whole` where a quantifier takes all of them.
    Letters { letters: Vec<char>, fold: bool, whole: bool },
    /// One thing that a quantifier may follow.
    Atom(String),
    /// Something with a quantifier.
    Repeated(String),
    /// A place between characters.
    Anchor(String),
}

type Branch = Vec<Item>;

/// Options that hold up to a group's end.
#[derive(Clone, Copy, Default)]
struct Flags {
    fold: bool,
    /// The dot is any character.
    dot_all: bool,
    extended: bool,
}

/// A pattern being read.
pub(super) struct Parser<'a> {
    rest: &'a str,
    flags: Flags,
    depth: usize,
    /// All groups, known on the second reading.
    known: Option<&'a Groups>,
    /// The groups so far.
    groups: Groups,
    /// In a look-behind, and in a negated one.
    behind: Option<bool>,
    folds: Option<Vec<(char, String)>>,
}

/// The groups, from a first reading: what a number means depends on those that come later.
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
        Self { rest: pattern, flags, depth: 0, known, groups, behind: None, folds: None }
    }

    pub(super) fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    pub(super) fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.rest = &self.rest[c.len_utf8()..];
        Some(c)
    }

    /// Passes over `text` if it is next.
    pub(super) fn eat(&mut self, text: &str) -> bool {
        let rest = self.rest.strip_prefix(text);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    pub(super) fn rest(&self) -> &'a str {
        self.rest
    }

    /// What comes before the next `end`, both passed over.
    pub(super) fn until(&mut self, end: char) -> Option<&'a str> {
        let (text, rest) = self.rest.split_once(end)?;
        self.rest = rest;
        Some(text)
    }

    /// At most so many digits.
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
        Ok(self.join(branches))
    }

    /// Enters something nested, in which options set hold.
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

    /// Alternatives up to the end or a closing parenthesis.
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
                None => return bad("a comment without an end"),
            }
        }
    }

    /// Puts a quantifier, if one is next, on what came last.
    fn quantifier(&mut self, branch: &mut Branch) -> Result<bool, Fault> {
        // Where no mark may follow, what looks like one is a quantifier of its own.
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
            Some(Item::Anchor(_)) => return bad("a quantifier of something that has no width"),
            Some(Item::Letters { mut letters, fold, whole }) => {
                let last = if whole { std::mem::take(&mut letters) } else { letters.split_off(letters.len() - 1) };
                if !letters.is_empty() {
                    branch.push(Item::Letters { letters, fold, whole: false });
                }
                let text = self.letters(&last, fold);
                if last.len() == 1 && !fold { text } else { format!("(?:{text})") }
            }
            Some(Item::Atom(atom)) => atom,
            Some(Item::Repeated(text)) => format!("(?:{text})"),
        };
        branch.push(Item::Repeated(format!("{target}{text}{mark}")));
        Ok(true)
    }

    /// `{2}`, `{2,}`, `{2,3}` or `{,3}`, and whether it takes no mark; anything else in braces is text. Bounds the wrong
    /// way round give nothing back.
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

    /// One thing that is no quantifier.
    fn piece(&mut self, branch: &mut Branch) -> Result<(), Fault> {
        let Some(c) = self.next() else { return Ok(()) };
        match c {
            '(' => return self.group(branch),
            '[' => {
                let class = self.nested(class::read)?;
                let fold = self.flags.fold;
                let text = match class.only {
                    Some(letter) => self.letters(&[letter], fold),
                    None => class.text(fold, self.folds())?,
                };
                branch.push(Item::Atom(text));
            }
            '.' => branch.push(Item::Atom(if self.flags.dot_all { "(?s:.)".into() } else { ".".into() })),
            // At the very end, after a line break, no line begins.
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
        let Some(c) = self.next() else { return bad("a backslash with nothing behind it") };
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

    /// The number of a group, behind its first digit; otherwise the digits are a character's.
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
        let Some(name) = self.until(end) else { return bad("\\k without an end") };
        if let Ok(number) = name.parse::<isize>() {
            let number = if number < 0 { self.groups.unnamed as isize + 1 + number } else { number };
            return self.reference(number.try_into().unwrap_or(0));
        }
        self.groups.referred = true;
        match self.groups.named.get(name).map(Vec::as_slice) {
            None => bad(format!("\\k<{name}>: no group before it has that name")),
            Some([number]) => Ok(self.back(*number)),
            Some(_) => unsupported(format!("\\k<{name}>: several groups have that name")),
        }
    }

    /// What a group matched, by its number.
    fn reference(&mut self, number: usize) -> Result<String, Fault> {
        self.groups.referred = true;
        match self.known {
            Some(known) if !known.named.is_empty() => bad("groups have names, and one is referred to by number"),
            Some(known) if number == 0 || number > known.unnamed => bad(format!("there is no group {number}")),
            _ => Ok(self.back(number)),
        }
    }

    fn back(&self, number: usize) -> String {
        format!("(?{}:\\{number})", if self.flags.fold { "i" } else { "" })
    }

    /// What follows an opening parenthesis.
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
            // Letters of one group and the next make one word.
            if let [one] = &mut branches[..]
                && let [Item::Letters { whole, .. }] = &mut one[..]
            {
                *whole = true;
                branch.append(one);
                return self.closed();
            }
            self.closed()?;
            // A place is not repeated by way of a group that does nothing else, either.
            let places = branches.iter().any(|branch| matches!(branch[..], [Item::Anchor(_)]));
            let text = format!("(?:{})", self.join(branches));
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
                branch.push(Item::Anchor(format!("(?{mark}{})", self.join(branches))));
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

    /// The inside of a group that may capture.
    fn capture(&mut self, count: impl FnOnce(&mut Groups)) -> Result<Vec<Branch>, Fault> {
        if self.behind == Some(true) {
            return bad("a group that captures in a negated look-behind");
        }
        count(&mut self.groups);
        self.nested(Self::branches)
    }

    /// Whether groups capture, those with names or those without: only where one is referred to.
    fn captures(&self, named: bool) -> bool {
        self.known.is_some_and(|known| known.referred && known.named.is_empty() != named)
    }

    fn closed(&mut self) -> Result<(), Fault> {
        if self.eat(")") { Ok(()) } else { bad("a group without an end") }
    }

    fn close(&mut self, branch: &mut Branch, opening: &str, branches: Vec<Branch>) -> Result<(), Fault> {
        self.closed()?;
        let text = format!("{opening}{})", self.join(branches));
        branch.push(Item::Atom(text));
        Ok(())
    }

    /// Alternatives may have different lengths: each looks for itself.
    fn look_behind(&mut self, branch: &mut Branch, mark: &str, branches: Vec<Branch>) -> Result<(), Fault> {
        self.closed()?;
        let each: Vec<String> = branches.into_iter().map(|b| format!("(?{mark}{})", self.join(vec![b]))).collect();
        branch.push(Item::Anchor(format!("(?:{})", each.join(if mark == "<!" { "" } else { "|" }))));
        Ok(())
    }

    /// `(?i)`, which holds to the end of the group that it is in, or `(?i:…)`.
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
                        let text = self.join(branches);
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

    fn join(&mut self, branches: Vec<Branch>) -> String {
        let texts: Vec<String> = branches.into_iter().map(|branch| self.text(branch)).collect();
        texts.join("|")
    }

    fn text(&mut self, branch: Branch) -> String {
        let mut out = String::new();
        let mut items = branch.into_iter().peekable();
        while let Some(item) = items.next() {
            match item {
                Item::Letters { mut letters, fold, .. } => {
                    while let Some(Item::Letters { letters: more, .. }) =
                        items.next_if(|next| matches!(next, Item::Letters { fold: same, .. } if *same == fold))
                    {
                        letters.extend(more);
                    }
                    out += &self.letters(&letters, fold);
                }
                Item::Atom(text) | Item::Repeated(text) | Item::Anchor(text) => out += &text,
            }
        }
        out
    }

    /// Letters as they are; or in any case, with those that stand for several.
    fn letters(&mut self, letters: &[char], fold: bool) -> String {
        let mut out = String::new();
        if !fold {
            letters.iter().for_each(|&c| class::push_letter(&mut out, c));
            return out;
        }
        let folds = self.folds();
        let mut rest = letters;
        while let [first, more @ ..] = rest {
            // Of those that begin here the longest counts.
            let several = [3, 2].iter().find_map(|&count| {
                let text: String = rest.get(..count)?.iter().map(|&c| fold::single(c)).collect();
                let same: Vec<char> = folds.iter().filter(|(_, several)| *several == text).map(|(c, _)| *c).collect();
                (!same.is_empty()).then_some((count, text, same))
            });
            if let Some((count, text, same)) = several {
                out += "(?:";
                same.iter().for_each(|&c| out.extend([c, '|']));
                text.chars().for_each(|c| class::push_letter(&mut out, c));
                out.push(')');
                rest = &rest[count..];
                continue;
            }
            match fold::several(*first) {
                Some(several) => out += &format!("(?:{first}|{several})"),
                None => class::push_letter(&mut out, *first),
            }
            rest = more;
        }
        format!("(?i:{out})")
    }

    fn folds(&mut self) -> &[(char, String)] {
        self.folds.get_or_insert_with(|| fold::all().collect())
    }
}
