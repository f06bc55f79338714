//! Rewrites template source so that operators and attributes behave as in Python, with calls of filters and functions.
//!
//! - `a % b` becomes `a|python_percent(b)`: string formatting as well as remainders.
//! - `a ~ b` becomes `(a)|python_string ~ (b)|python_string`: floats are formatted as in Python.
//! - `a.items`, not called, becomes `(a)|python_attribute("items")`: a method takes precedence over an item of that name.
//! - Macros that use `varargs` or `kwargs` get them as parameters, and calls pass the surplus arguments in them.
//! - Strings with escapes that only Python supports get escapes that the engine supports (`escapes.rs`).
//!
//! All rewriting inserts text around existing text, in one pass over the brackets of each tag.

use std::collections::BTreeMap;
use std::ops::Range;

use super::super::chat_scan::{Tag, Tags, TokenKind, apply};
use super::escapes::with_plain_escapes;
use crate::Result;

/// The filter that implements `%`.
pub(super) const PERCENT: &str = "python_percent";
/// The filter that converts operands of `~`.
pub(super) const STRING: &str = "python_string";
/// The filter that looks up attributes that may be methods.
pub(super) const ATTRIBUTE: &str = "python_attribute";

/// Attributes that are methods of dicts or strings, except those that are also attributes of `loop`.
const METHODS: &[&str] = &[
    "clear",
    "copy",
    "fromkeys",
    "get",
    "items",
    "keys",
    "pop",
    "popitem",
    "setdefault",
    "update",
    "values",
    "upper",
    "lower",
    "strip",
    "lstrip",
    "rstrip",
    "split",
    "rsplit",
    "splitlines",
    "startswith",
    "endswith",
    "replace",
    "join",
    "title",
    "capitalize",
    "format",
    "encode",
    "count",
    "index",
    "find",
];

/// Words that separate expressions: they are never operands of `%` or `~`.
const SEPARATORS: &[&str] =
    &["and", "or", "not", "in", "if", "else", "recursive", "=", ",", ":", "==", "!=", "<", ">", "<=", ">="];
/// Operators that bind tighter than `~`.
const ARITHMETIC: &[&str] = &["+", "-", "*", "/", "//", "%", "**"];

/// Rewrites the source.
///
/// # Errors
/// [`Error::Template`](crate::Error::Template) for a `\N{…}` escape with an unknown character name.
pub(crate) fn rewritten(source: &str) -> Result<String> {
    let source = with_plain_escapes(source)?;
    let macros = macros(&source);
    let mut edits = Vec::new();
    for tag in Tags::new(&source) {
        let mut rewriter = Rewriter { source: &source, tag: &tag, macros: &macros, edits: Edits::default() };
        rewriter.tag();
        edits.extend(rewriter.edits.sorted());
    }
    Ok(apply(&source, edits))
}

/// Insertions and replacements.
#[derive(Default)]
struct Edits {
    /// The offset, whether it opens (and so follows insertions that close at the same offset), and the text.
    all: Vec<(Range<usize>, bool, String)>,
}

impl Edits {
    fn open(&mut self, at: usize, text: impl Into<String>) {
        self.all.push((at..at, true, text.into()));
    }

    fn close(&mut self, at: usize, text: impl Into<String>) {
        self.all.push((at..at, false, text.into()));
    }

    fn replace(&mut self, range: Range<usize>, text: impl Into<String>) {
        self.all.push((range, true, text.into()));
    }

    /// The edits in source order. At the same offset, opening insertions keep their order, the outermost first; closing
    /// ones are reversed.
    fn sorted(self) -> Vec<(Range<usize>, String)> {
        let mut all: Vec<_> = self.all.into_iter().enumerate().collect();
        all.sort_by_key(|(i, (range, opens, _))| {
            let order = if *opens { *i as isize } else { -(*i as isize) };
            (range.start, *opens, order)
        });
        all.into_iter().map(|(_, (range, _, text))| (range, text)).collect()
    }
}

/// A token, or a pair of brackets with its contents.
#[derive(Clone, Copy)]
enum Node {
    Leaf(usize),
    Group { open: usize, close: usize },
}

impl Node {
    fn first(self) -> usize {
        match self {
            Self::Leaf(token) | Self::Group { open: token, .. } => token,
        }
    }

    fn last(self) -> usize {
        match self {
            Self::Leaf(token) | Self::Group { close: token, .. } => token,
        }
    }
}

struct Rewriter<'a> {
    source: &'a str,
    tag: &'a Tag,
    /// Parameters of the macros that use `varargs` or `kwargs`.
    macros: &'a BTreeMap<String, Vec<String>>,
    edits: Edits,
}

impl Rewriter<'_> {
    fn word(&self, token: usize) -> &str {
        self.tag.word(self.source, token).unwrap_or("")
    }

    fn is(&self, node: Node, words: &[&str]) -> bool {
        matches!(node, Node::Leaf(token) if words.contains(&self.word(token)))
    }

    /// The offset at which a token begins, including its quote.
    fn start(&self, token: usize) -> usize {
        let token = &self.tag.tokens[token];
        token.range.start - usize::from(token.kind == TokenKind::Text)
    }

    fn end(&self, token: usize) -> usize {
        let token = &self.tag.tokens[token];
        (token.range.end + usize::from(token.kind == TokenKind::Text)).min(self.source.len())
    }

    fn tag(&mut self) {
        let keyword = usize::from(self.tag.statement);
        let count = self.tag.tokens.len();
        let mut first = keyword.min(count);
        // The target of a `set` is not an expression.
        if self.tag.statement && self.word(0) == "set" {
            first = (first..count).find(|i| self.word(*i) == "=").map_or(count, |sign| sign + 1);
        }
        if self.tag.statement && self.word(0) == "macro" {
            self.parameters();
        }
        self.level(first, count);
    }

    /// Adds `varargs` and `kwargs`, which Jinja provides implicitly, to a macro's parameters.
    fn parameters(&mut self) {
        let count = self.tag.tokens.len();
        if !self.macros.contains_key(self.word(1)) || count < 4 || self.word(count - 1) != ")" {
            return;
        }
        let comma = if self.word(count - 2) == "(" || self.word(count - 2) == "," { "" } else { ", " };
        self.edits.close(self.start(count - 1), format!("{comma}varargs=(), kwargs={{}}"));
    }

    /// Rewrites the tokens of one nesting level, and recursively the contents of brackets.
    fn level(&mut self, from: usize, to: usize) {
        let nodes = self.nodes(from, to);
        let mut start = 0;
        for at in 0..=nodes.len() {
            if at < nodes.len() && !self.separates(&nodes, at) {
                continue;
            }
            self.concatenation(&nodes[start..at]);
            start = at + 1;
        }
    }

    fn nodes(&self, from: usize, to: usize) -> Vec<Node> {
        let mut nodes = Vec::new();
        let mut at = from;
        while at < to {
            let node = if ["(", "[", "{"].contains(&self.word(at)) {
                Node::Group { open: at, close: self.closing(at, to) }
            } else {
                Node::Leaf(at)
            };
            nodes.push(node);
            at = node.last() + 1;
        }
        nodes
    }

    /// The bracket that closes the one at a token; the last token if there is none.
    fn closing(&self, open: usize, to: usize) -> usize {
        let mut depth = 0usize;
        for at in open..to {
            match self.word(at) {
                "(" | "[" | "{" => depth += 1,
                ")" | "]" | "}" => {
                    depth -= 1;
                    if depth == 0 {
                        return at;
                    }
                }
                _ => {}
            }
        }
        to - 1
    }

    fn separates(&self, nodes: &[Node], at: usize) -> bool {
        if !self.is(nodes[at], SEPARATORS) {
            return false;
        }
        // `x is not none` and `x is in y` are tests.
        let tests = |back: usize| at >= back && self.is(nodes[at - back], &["is"]);
        let word = self.word(nodes[at].first());
        !(["not", "in"].contains(&word) && (tests(1) || tests(2) && self.is(nodes[at - 1], &["not"])))
    }

    /// Rewrites operands of `~`.
    fn concatenation(&mut self, nodes: &[Node]) {
        let joins: Vec<usize> = (0..nodes.len()).filter(|i| self.is(nodes[*i], &["~"])).collect();
        let mut start = 0;
        for end in joins.iter().copied().chain([nodes.len()]) {
            let operand = &nodes[start..end];
            let literal =
                operand.iter().all(|node| matches!(node, Node::Leaf(t) if self.tag.tokens[*t].kind == TokenKind::Text));
            if !joins.is_empty() && !literal && !operand.is_empty() {
                self.edits.open(self.start(operand[0].first()), "(");
                self.edits.close(self.end(operand[operand.len() - 1].last()), format!(")|{STRING}"));
            }
            self.arithmetic(operand);
            start = end + 1;
        }
    }

    /// Rewrites operands of arithmetic operators.
    fn arithmetic(&mut self, nodes: &[Node]) {
        let mut operands: Vec<&[Node]> = Vec::new();
        let mut operators: Vec<usize> = Vec::new();
        let mut start = 0;
        for at in 0..nodes.len() {
            if self.is(nodes[at], ARITHMETIC) && !self.in_number(nodes, at) {
                operands.push(&nodes[start..at]);
                operators.push(at);
                start = at + 1;
            }
        }
        operands.push(&nodes[start..]);
        // A `%` whose left side is a single operand, or the result of such operators: `a % b % c`.
        let mut alone = true;
        for (i, &operator) in operators.iter().enumerate() {
            let (left, right) = (operands[i], operands[i + 1]);
            let signed =
                right.is_empty() && operators.get(i + 1).is_some_and(|next| self.is(nodes[*next], &["-", "+"]));
            let right = if signed { operands.get(i + 2).copied().unwrap_or(&[]) } else { right };
            if alone && self.is(nodes[operator], &["%"]) && !(left.is_empty() && i == 0) && !right.is_empty() {
                let sign = nodes[operator].first();
                self.edits.replace(self.start(sign)..self.end(sign), format!("|{PERCENT}("));
                self.edits.close(self.end(right[right.len() - 1].last()), ")");
            } else {
                // A sum ends the preceding term; other operators extend it.
                alone = self.is(nodes[operator], &["+", "-"]) && !left.is_empty();
            }
        }
        for operand in operands {
            self.operand(operand);
        }
    }

    /// Whether a sign belongs to the exponent of a number: `1e-7`.
    fn in_number(&self, nodes: &[Node], at: usize) -> bool {
        let Some(Node::Leaf(before)) = at.checked_sub(1).map(|i| nodes[i]) else { return false };
        let (token, sign) = (&self.tag.tokens[before], nodes[at].first());
        let text = &self.source[token.range.clone()];
        token.kind == TokenKind::Number
            && text.ends_with(['e', 'E'])
            && !text.starts_with("0x")
            && token.range.end == self.tag.tokens[sign].range.start
    }

    /// Rewrites an operand with its attributes, calls, filters and tests.
    fn operand(&mut self, nodes: &[Node]) {
        for (at, &node) in nodes.iter().enumerate() {
            match node {
                Node::Group { open, close } => {
                    let called = at.checked_sub(1).map(|i| nodes[i]).filter(|_| self.word(open) == "(");
                    match called {
                        Some(Node::Leaf(name)) if at < 2 || !self.is(nodes[at - 2], &[".", "|"]) => {
                            self.call(name, open, close)
                        }
                        _ => {}
                    }
                    self.level(open + 1, close.max(open + 1));
                }
                Node::Leaf(dot) if self.word(dot) == "." => self.attribute(nodes, at),
                Node::Leaf(_) => {}
            }
        }
    }

    fn attribute(&mut self, nodes: &[Node], at: usize) {
        let (Some(&Node::Leaf(name)), Some(before)) = (nodes.get(at + 1), nodes[..at].last()) else { return };
        let called = matches!(nodes.get(at + 2), Some(Node::Group { open, .. }) if self.word(*open) == "(");
        let of_loop = at == 1 && self.is(*before, &["loop"]);
        if called || of_loop || !METHODS.contains(&self.word(name)) {
            return;
        }
        self.edits.open(self.start(nodes[0].first()), "(");
        let dot = nodes[at].first();
        let text = format!("|{ATTRIBUTE}(\"{}\"))", self.word(name));
        self.edits.replace(self.start(dot)..self.end(name), text);
    }

    /// Passes arguments that a macro does not declare as `varargs` and `kwargs`.
    fn call(&mut self, name: usize, open: usize, close: usize) {
        let Some(parameters) = self.macros.get(self.word(name)) else { return };
        if self.tag.statement && self.word(0) == "macro" {
            return;
        }
        let nodes = self.nodes(open + 1, close);
        let arguments: Vec<&[Node]> =
            nodes.split(|node| self.is(*node, &[","])).filter(|argument| !argument.is_empty()).collect();
        let named = |argument: &[Node]| argument.len() > 2 && self.is(argument[1], &["="]);
        let unknown =
            |argument: &[Node]| named(argument) && !parameters.iter().any(|p| p == self.word(argument[0].first()));
        let bytes = |run: &[&[Node]]| {
            let (first, last) = (run.first()?.first()?, run.last()?.last()?);
            Some(self.start(first.first())..self.end(last.last()))
        };
        let positional = arguments.iter().take_while(|argument| !named(argument)).count();
        let extra = bytes(arguments[..positional].get(parameters.len()..).unwrap_or(&[]));
        // Named arguments that the macro does not declare are passed in one dict.
        let first = arguments.iter().position(|argument| unknown(argument)).unwrap_or(arguments.len());
        let run: Vec<&[Node]> = arguments[first..].iter().copied().take_while(|argument| unknown(argument)).collect();
        let keywords = bytes(&run);
        let pairs: Vec<(usize, usize)> =
            run.iter().map(|argument| (argument[0].first(), argument[1].first())).collect();
        if let Some(bytes) = extra {
            self.edits.open(bytes.start, "varargs=(");
            self.edits.close(bytes.end, ",)");
        }
        if let Some(bytes) = keywords {
            self.edits.open(bytes.start, "kwargs={");
            self.edits.close(bytes.end, "}");
        }
        for (name, sign) in pairs {
            let key = format!("\"{}\"", self.word(name));
            self.edits.replace(self.start(name)..self.end(name), key);
            self.edits.replace(self.start(sign)..self.end(sign), ":");
        }
    }
}

/// The parameters of each macro whose body uses `varargs` or `kwargs`.
fn macros(source: &str) -> BTreeMap<String, Vec<String>> {
    let mut found = BTreeMap::new();
    let mut open: Vec<(String, Vec<String>, bool)> = Vec::new();
    for tag in Tags::new(source) {
        let words: Vec<&str> = (0..tag.tokens.len()).map(|i| tag.word(source, i).unwrap_or("")).collect();
        match tag.first_word(source).filter(|_| tag.statement) {
            Some("macro") => {
                let name = words.get(1).copied().unwrap_or_default().to_owned();
                let mut depth = 0;
                let mut parameters = Vec::new();
                for pair in words[2.min(words.len())..].windows(2) {
                    match pair[0] {
                        "(" | "[" | "{" => depth += 1,
                        ")" | "]" | "}" => depth -= 1,
                        _ => {}
                    }
                    if depth == 1 && ["(", ","].contains(&pair[0]) && !pair[1].is_empty() && pair[1] != ")" {
                        parameters.push(pair[1].to_owned());
                    }
                }
                open.push((name, parameters, false));
            }
            Some("endmacro") => {
                if let Some((name, parameters, true)) = open.pop() {
                    found.insert(name, parameters);
                }
            }
            _ => {
                let asks = words.iter().any(|word| ["varargs", "kwargs"].contains(word));
                if let Some(last) = open.last_mut() {
                    last.2 |= asks;
                }
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::rewritten;

    fn expression(text: &str) -> String {
        let source = rewritten(&format!("{{{{ {text} }}}}")).expect("no bad escape");
        source[3..source.len() - 3].to_owned()
    }

    #[test]
    fn percent_signs() {
        assert_eq!(expression("'%s' % x"), "'%s' |python_percent( x)");
        assert_eq!(expression("a % b % c"), "a |python_percent( b) |python_percent( c)");
        assert_eq!(expression("a * b % c"), "a * b % c");
        assert_eq!(expression("1 + a % (b, c)|x == 2"), "1 + a |python_percent( (b, c)|x) == 2");
        assert_eq!(expression("f(a % b)[c % d]"), "f(a |python_percent( b))[c |python_percent( d)]");
        assert_eq!(expression("a % -b"), "a |python_percent( -b)");
    }

    #[test]
    fn joined_texts() {
        assert_eq!(expression("'a' ~ b ~ 1e-7"), "'a' ~ (b)|python_string ~ (1e-7)|python_string");
        assert_eq!(expression("a + b ~ c if d else e"), "(a + b)|python_string ~ (c)|python_string if d else e");
        assert_eq!(expression("'x' ~ (a ~ b)"), "'x' ~ (((a)|python_string ~ (b)|python_string))|python_string");
        assert_eq!(expression("a ~ b is not none"), "(a)|python_string ~ (b is not none)|python_string");
    }

    #[test]
    fn attributes_that_are_methods() {
        assert_eq!(expression("a.items.b"), "(a|python_attribute(\"items\")).b");
        assert_eq!(expression("a.items() ~ 'x'"), "(a.items())|python_string ~ 'x'");
        assert_eq!(expression("x[0].keys is defined"), "(x[0]|python_attribute(\"keys\")) is defined");
        assert_eq!(expression("loop.index + ns.x"), "loop.index + ns.x");
    }

    #[test]
    fn macros_with_more_arguments_than_they_name() {
        let source = "{% macro f(a) %}{{ varargs }}{% endmacro %}{{ f(1, 2, 3, x=4) }}{{ g(1, 2) }}";
        let expected = "{% macro f(a, varargs=(), kwargs={}) %}{{ varargs }}{% endmacro %}{{ f(1, varargs=(2, 3,), kwargs={\"x\":4}) }}{{ g(1, 2) }}";
        assert_eq!(rewritten(source).expect("no bad escape"), expected);
    }

    #[test]
    fn escapes() {
        assert_eq!(expression(r"'\U0001F600\a\N{BULLET}\x41'"), "'😀\\u0007•A'");
        assert_eq!(expression(r"'\d\n'"), r"'\d\n'");
        assert!(rewritten(r"{{ '\N{NOTHING}' }}").is_err());
    }
}
