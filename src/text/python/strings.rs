//! Python's string methods. Positions count characters, as in Python.

use minijinja::value::{Tuple, ValueKind};
use minijinja::{Error, State, Value};
use unicode_categories::UnicodeCategories as _;

use super::format::formatted;
use super::{Arguments, charge, limit, wrong};

/// All supported string methods, and those of Python's that are only known as uncalled attributes.
pub(super) const METHODS: &[&str] = &[
    "capitalize",
    "casefold",
    "center",
    "count",
    "encode",
    "endswith",
    "expandtabs",
    "find",
    "format",
    "format_map",
    "index",
    "isalnum",
    "isalpha",
    "isascii",
    "isdecimal",
    "isdigit",
    "isidentifier",
    "islower",
    "isnumeric",
    "isprintable",
    "isspace",
    "istitle",
    "isupper",
    "join",
    "ljust",
    "lower",
    "lstrip",
    "maketrans",
    "partition",
    "removeprefix",
    "removesuffix",
    "replace",
    "rfind",
    "rindex",
    "rjust",
    "rpartition",
    "rsplit",
    "rstrip",
    "split",
    "splitlines",
    "startswith",
    "strip",
    "swapcase",
    "title",
    "translate",
    "upper",
    "zfill",
];

/// Maximum characters of a padded text.
const MAX_WIDTH: usize = 1 << 20;

/// Calls a method; `None` if strings have no method of this name.
pub(super) fn method(state: &State, text: &str, name: &str, args: &[Value]) -> Option<Result<Value, Error>> {
    if !METHODS.contains(&name) || name == "maketrans" {
        return None;
    }
    Some(Arguments::new(name, args).and_then(|args| {
        charge(state, text.len())?;
        let value = call(text, name, &args)?;
        charge(state, value.as_str().map_or(0, str::len))?;
        Ok(value)
    }))
}

fn call(text: &str, name: &str, args: &Arguments<'_>) -> Result<Value, Error> {
    let none = || args.most(0);
    let is = |all: fn(char) -> bool| none().map(|()| Value::from(!text.is_empty() && text.chars().all(all)));
    let made = |text: String| Ok(Value::from(text));
    match name {
        "upper" => none().and_then(|()| made(text.to_uppercase())),
        "lower" => none().and_then(|()| made(text.to_lowercase())),
        "capitalize" => none().and_then(|()| made(capitalize(text))),
        "casefold" => none().and_then(|()| made(text.chars().map(folded).collect())),
        "swapcase" => none().and_then(|()| made(swapped(text))),
        "title" => none().and_then(|()| made(title(text))),
        "strip" => Ok(Value::from(strip(text, args, true, true)?)),
        "lstrip" => Ok(Value::from(strip(text, args, true, false)?)),
        "rstrip" => Ok(Value::from(strip(text, args, false, true)?)),
        "split" => split(text, args, false),
        "rsplit" => split(text, args, true),
        "splitlines" => {
            let keep = args.get(0, "keepends")?.is_some_and(|keep| keep.is_true());
            Ok(lines(text, keep).into_iter().map(Value::from).collect())
        }
        "partition" => partition(text, args, false),
        "rpartition" => partition(text, args, true),
        "removeprefix" => affix(args).map(|it| Value::from(text.strip_prefix(&it as &str).unwrap_or(text))),
        "removesuffix" => affix(args).map(|it| Value::from(text.strip_suffix(&it as &str).unwrap_or(text))),
        "startswith" => begins(text, args, |part, affix| part.starts_with(affix)),
        "endswith" => begins(text, args, |part, affix| part.ends_with(affix)),
        "find" | "rfind" | "index" | "rindex" => find(text, name, args),
        "count" => {
            let Search { range, needle } = Search::new(text, args)?;
            let count = match range {
                None => 0,
                Some((_, part)) if needle.is_empty() => part.chars().count() + 1,
                Some((_, part)) => part.matches(&needle as &str).count(),
            };
            Ok(Value::from(count))
        }
        "replace" => replace(text, args),
        "join" => join(text, args),
        "ljust" | "rjust" | "center" => justified(text, name, args),
        "zfill" => zfill(text, args),
        "expandtabs" => made(expanded(text, args.int(0, "tabsize")?.unwrap_or(8))?),
        "format" => made(formatted(text, args)?),
        "format_map" => {
            args.most(1)?;
            let map = args.get(0, "mapping")?.ok_or_else(|| wrong("format_map takes a dict"))?;
            made(formatted(text, &Arguments { method: name, positional: &[], named: Some(&map) })?)
        }
        "encode" => Ok(Value::from_bytes(text.as_bytes().to_vec())),
        "translate" => translated(text, args),
        "isalpha" => is(is_alpha),
        "isalnum" => is(|c| is_alpha(c) || c.is_numeric()),
        "isdecimal" => is(|c| c.is_number_decimal_digit()),
        "isdigit" => is(|c| c.is_number_decimal_digit() || is_small_digit(c)),
        "isnumeric" => is(char::is_numeric),
        "isspace" => is(is_space),
        "isascii" => none().map(|()| Value::from(text.is_ascii())),
        "isprintable" => none().map(|()| Value::from(text.chars().all(super::repr::is_printable))),
        "islower" => none().map(|()| Value::from(is_cased(text, char::is_lowercase, char::is_uppercase))),
        "isupper" => none().map(|()| Value::from(is_cased(text, char::is_uppercase, char::is_lowercase))),
        "istitle" => none().map(|()| Value::from(is_title(text))),
        "isidentifier" => none().map(|()| Value::from(is_identifier(text))),
        _ => Err(wrong("strings have no such method")),
    }
}

/// `str.isalpha` for a character: letters, without the marks and numbers that Unicode also calls alphabetic.
fn is_alpha(c: char) -> bool {
    if c.is_ascii() { c.is_ascii_alphabetic() } else { c.is_letter() }
}

/// White space in Python: Unicode's, and the information separators.
pub(super) fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

/// Whether a character is a superscript, a subscript or a circled digit.
fn is_small_digit(c: char) -> bool {
    matches!(c, '²' | '³' | '¹' | '⁰' | '⁴'..='⁹' | '₀'..='₉' | '①'..='⑨' | '⑴'..='⑼' | '⒈'..='⒐' | '⓪' | '⓵'..='⓽' | '⓿' | '❶'..='❾' | '➀'..='➈' | '➊'..='➒')
}

fn capitalize(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| titled(first) + &chars.as_str().to_lowercase())
}

/// The title case of a character.
fn titled(c: char) -> String {
    let upper: String = c.to_uppercase().collect();
    // Only the first character of an expanded ligature is upper case.
    let mut chars = upper.chars();
    chars.next().map_or_else(String::new, |first| first.to_string() + &chars.as_str().to_lowercase())
}

fn folded(c: char) -> String {
    match c {
        'ı' => "ı".into(),
        'ẞ' => "ss".into(),
        'Ꭰ'..='Ᏽ' => c.into(), // Cherokee is folded to capitals
        'ᏸ'..='ᏽ' | 'ꭰ'..='ꮿ' => c.to_uppercase().collect(),
        _ => c.to_uppercase().flat_map(char::to_lowercase).collect(),
    }
}

fn swapped(text: &str) -> String {
    let swap =
        |c: char| if c.is_uppercase() { c.to_lowercase().collect() } else { c.to_uppercase().collect::<String>() };
    text.chars().map(swap).collect()
}

fn cased(c: char) -> bool {
    c.is_lowercase() || c.is_uppercase() || c.is_letter_titlecase()
}

fn title(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut within = false;
    for c in text.chars() {
        if within {
            out.extend(c.to_lowercase())
        } else {
            out.push_str(&titled(c))
        }
        within = cased(c);
    }
    out
}

fn is_cased(text: &str, wanted: fn(char) -> bool, other: fn(char) -> bool) -> bool {
    text.chars().any(wanted) && !text.chars().any(|c| other(c) || c.is_letter_titlecase())
}

fn is_title(text: &str) -> bool {
    let (mut within, mut any) = (false, false);
    for c in text.chars() {
        let large = c.is_uppercase() || c.is_letter_titlecase();
        if large && within || c.is_lowercase() && !within {
            return false;
        }
        any |= large;
        within = cased(c);
    }
    any
}

fn is_identifier(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next().is_some_and(|c| c == '_' || c.is_alphabetic())
        && chars.all(|c| c.is_alphanumeric() || c == '_' || c.is_mark() || c.is_punctuation_connector())
}

fn strip<'a>(text: &'a str, args: &Arguments<'_>, start: bool, end: bool) -> Result<&'a str, Error> {
    args.most(1)?;
    let set = args.text(0, "chars")?;
    let inside = |c: char| set.as_ref().map_or_else(|| is_space(c), |set| set.contains(c));
    let text = if start { text.trim_start_matches(inside) } else { text };
    Ok(if end { text.trim_end_matches(inside) } else { text })
}

fn split(text: &str, args: &Arguments<'_>, from_end: bool) -> Result<Value, Error> {
    args.most(2)?;
    let most = args.int(1, "maxsplit")?.unwrap_or(-1);
    let most = usize::try_from(most).unwrap_or(usize::MAX - 1);
    let separator = args.text(0, "sep")?;
    let mut parts: Vec<&str> = match separator.as_deref() {
        Some("") => return Err(wrong("empty separator")),
        Some(separator) if from_end => text.rsplitn(most + 1, separator).collect(),
        Some(separator) => text.splitn(most + 1, separator).collect(),
        None if from_end => words_from_end(text, most),
        None => words(text, most),
    };
    if from_end {
        parts.reverse();
    }
    Ok(parts.into_iter().map(Value::from).collect())
}

/// Splits at white space at most `most` times; the last item is the rest.
fn words(text: &str, most: usize) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut rest = text.trim_start_matches(is_space);
    while !rest.is_empty() {
        let cut = rest.find(is_space).filter(|_| parts.len() < most);
        let Some(cut) = cut else {
            // The rest keeps its white space, including trailing white space.
            parts.push(rest);
            break;
        };
        parts.push(&rest[..cut]);
        rest = rest[cut..].trim_start_matches(is_space);
    }
    parts
}

fn words_from_end(text: &str, most: usize) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut rest = text.trim_end_matches(is_space);
    while !rest.is_empty() {
        let last = rest.char_indices().rev().find(|(_, c)| is_space(*c)).filter(|_| parts.len() < most);
        let Some((at, space)) = last else {
            parts.push(rest);
            break;
        };
        parts.push(&rest[at + space.len_utf8()..]);
        rest = rest[..at].trim_end_matches(is_space);
    }
    parts
}

/// Splits at all line boundaries that Python recognises.
pub(super) fn lines(text: &str, keep_ends: bool) -> Vec<&str> {
    let mut lines = Vec::new();
    let mut start = 0;
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        if !matches!(c, '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{1c}'..='\u{1e}' | '\u{85}' | '\u{2028}' | '\u{2029}') {
            continue;
        }
        let mut end = at + c.len_utf8();
        if c == '\r' && chars.next_if(|(_, c)| *c == '\n').is_some() {
            end += 1;
        }
        lines.push(&text[start..if keep_ends { end } else { at }]);
        start = end;
    }
    if start < text.len() {
        lines.push(&text[start..]);
    }
    lines
}

fn affix(args: &Arguments<'_>) -> Result<String, Error> {
    args.most(1)?;
    args.text(0, "prefix")?.ok_or_else(|| wrong("a string is expected"))
}

/// `partition`: the text before the first (or last) separator, the separator, and the text after it; without a
/// separator, all text is on one side.
fn partition(text: &str, args: &Arguments<'_>, last: bool) -> Result<Value, Error> {
    args.most(1)?;
    let separator = args.text(0, "sep")?.filter(|by| !by.is_empty()).ok_or_else(|| wrong("empty separator"))?;
    let separator = separator.as_str();
    let found = if last { text.rsplit_once(separator) } else { text.split_once(separator) };
    let parts = match found {
        Some((before, after)) => [before, separator, after],
        None if last => ["", "", text],
        None => [text, "", ""],
    };
    Ok(Value::from_object(Tuple::from(parts.map(Value::from))))
}

/// The part of a text between two slice positions, with its start in characters; `None` if the first position is
/// beyond the end.
fn between(text: &str, start: Option<i64>, end: Option<i64>) -> Option<(usize, &str)> {
    let length = text.chars().count() as i64;
    let place = |at: i64| if at < 0 { (at + length).max(0) } else { at };
    let (start, end) = (place(start.unwrap_or(0)), place(end.unwrap_or(length)).min(length));
    if start > end {
        return None;
    }
    let byte = |at: i64| text.char_indices().nth(at as usize).map_or(text.len(), |(byte, _)| byte);
    Some((start as usize, &text[byte(start)..byte(end)]))
}

/// The arguments of a search: where, and for what.
struct Search<'a> {
    /// The result of [`between`].
    range: Option<(usize, &'a str)>,
    needle: String,
}

impl<'a> Search<'a> {
    fn new(text: &'a str, args: &Arguments<'_>) -> Result<Self, Error> {
        args.most(3)?;
        let needle = args.text(0, "sub")?.ok_or_else(|| wrong("a string is expected"))?;
        Ok(Self { range: between(text, args.int(1, "start")?, args.int(2, "end")?), needle })
    }
}

fn find(text: &str, name: &str, args: &Arguments<'_>) -> Result<Value, Error> {
    let Search { range, needle } = Search::new(text, args)?;
    let found = range.and_then(|(start, part)| {
        let at = if name.starts_with('r') { part.rfind(&needle as &str) } else { part.find(&needle as &str) };
        at.map(|at| start + part[..at].chars().count())
    });
    match found {
        Some(at) => Ok(Value::from(at)),
        None if name.ends_with("find") => Ok(Value::from(-1)),
        None => Err(wrong("substring not found")),
    }
}

fn begins(text: &str, args: &Arguments<'_>, is: fn(&str, &str) -> bool) -> Result<Value, Error> {
    args.most(3)?;
    let affixes = args.get(0, "prefix")?.ok_or_else(|| wrong("a string is expected"))?;
    let Some((_, part)) = between(text, args.int(1, "start")?, args.int(2, "end")?) else {
        return Ok(Value::from(false));
    };
    let one = |affix: &Value| {
        affix.as_str().map(|affix| is(part, affix)).ok_or_else(|| wrong("a string or a tuple of them is expected"))
    };
    if !affixes.is_tuple() {
        return one(&affixes).map(Value::from);
    }
    let mut any = false;
    for affix in affixes.try_iter()? {
        any |= one(&affix)?;
    }
    Ok(Value::from(any))
}

fn replace(text: &str, args: &Arguments<'_>) -> Result<Value, Error> {
    args.most(3)?;
    let text_of = |i, name| args.text(i, name)?.ok_or_else(|| wrong("a string is expected"));
    let (old, new) = (text_of(0, "old")?, text_of(1, "new")?);
    let count = args.int(2, "count")?.and_then(|count| usize::try_from(count).ok());
    let places = if old.is_empty() { text.chars().count() + 1 } else { text.matches(&old as &str).count() };
    if places.saturating_mul(new.len()) > super::MAX_MADE {
        return Err(limit("the result of a replacement is too long"));
    }
    Ok(Value::from(match count {
        Some(count) => text.replacen(&old, &new, count),
        None => text.replace(&old, &new),
    }))
}

fn join(text: &str, args: &Arguments<'_>) -> Result<Value, Error> {
    args.most(1)?;
    let items = args.get(0, "iterable")?.ok_or_else(|| wrong("join takes an iterable"))?;
    let mut out = String::new();
    for (i, item) in items.try_iter()?.enumerate() {
        if item.kind() != ValueKind::String {
            return Err(wrong("join takes strings only"));
        }
        if i > 0 {
            out.push_str(text);
        }
        out.push_str(item.as_str().unwrap_or_default());
        if out.len() > super::MAX_MADE {
            return Err(limit("the result of join is too long"));
        }
    }
    Ok(Value::from(out))
}

fn width(args: &Arguments<'_>) -> Result<usize, Error> {
    let width = args.int(0, "width")?.ok_or_else(|| wrong("a width is expected"))?;
    match usize::try_from(width) {
        Ok(width) if width > MAX_WIDTH => Err(limit("a width of more than a million characters")),
        width => Ok(width.unwrap_or(0)),
    }
}

fn justified(text: &str, name: &str, args: &Arguments<'_>) -> Result<Value, Error> {
    args.most(2)?;
    let fill = args.text(1, "fillchar")?.unwrap_or_else(|| " ".to_owned());
    if fill.chars().count() != 1 {
        return Err(wrong("the fill character must be exactly one character long"));
    }
    let width = width(args)?;
    let missing = width.saturating_sub(text.chars().count());
    let left = match name {
        "ljust" => 0,
        "rjust" => missing,
        _ => missing / 2 + (missing & width & 1), // an odd pad character goes to the left if the width is odd, too
    };
    Ok(Value::from(format!("{}{text}{}", fill.repeat(left), fill.repeat(missing - left))))
}

fn zfill(text: &str, args: &Arguments<'_>) -> Result<Value, Error> {
    args.most(1)?;
    let missing = width(args)?.saturating_sub(text.chars().count());
    let (sign, digits) = text.split_at(usize::from(text.starts_with(['+', '-'])));
    Ok(Value::from(format!("{sign}{}{digits}", "0".repeat(missing))))
}

fn expanded(text: &str, size: i64) -> Result<String, Error> {
    if size > 10_000 {
        return Err(limit("tabs of more than 10000 columns"));
    }
    let size = usize::try_from(size).unwrap_or(0);
    let (mut out, mut column) = (String::new(), 0);
    for c in text.chars() {
        match c {
            '\t' if size == 0 => {}
            '\t' => {
                let next = size - column % size;
                out.extend(std::iter::repeat_n(' ', next));
                column += next;
            }
            c => {
                out.push(c);
                column = if matches!(c, '\n' | '\r') { 0 } else { column + 1 };
            }
        }
        if out.len() > super::MAX_MADE {
            return Err(limit("the result of expandtabs is too long"));
        }
    }
    Ok(out)
}

fn translated(text: &str, args: &Arguments<'_>) -> Result<Value, Error> {
    args.most(1)?;
    let table = args.get(0, "table")?.ok_or_else(|| wrong("translate takes a table"))?;
    let mut out = String::new();
    for c in text.chars() {
        let to = table.get_item(&Value::from(u32::from(c)))?;
        match (to.as_str(), to.as_i64()) {
            (Some(to), _) => out.push_str(to),
            (None, Some(to)) => out.extend(u32::try_from(to).ok().and_then(char::from_u32)),
            _ if to.is_undefined() => out.push(c),
            _ => {} // None deletes
        }
        if out.len() > super::MAX_MADE {
            return Err(limit("the result of a translation is too long"));
        }
    }
    Ok(Value::from(out))
}
