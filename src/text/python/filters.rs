//! Jinja's filters, tests and functions that minijinja lacks or implements differently from Python.

use minijinja::value::{Kwargs, Rest, ValueKind};
use minijinja::{Environment, Error, ErrorKind, State, Value};

use super::strings::is_space;
use super::{Arguments, charge, limit, percent, repr, views, wrong};

/// Registers the filters and tests of Python's Jinja.
pub(super) fn add(environment: &mut Environment<'_>) {
    environment.add_test("sequence", is_sequence);
    environment.add_test("iterable", is_iterable);
    environment.add_test("callable", is_callable);
    environment.add_filter("default", default);
    environment.add_filter("d", default);
    environment.add_filter("string", string);
    environment.add_filter("join", join);
    environment.add_filter("format", formatted);
    environment.add_filter("float", float);
    environment.add_filter("attr", attr);
    environment.add_filter("center", center);
    environment.add_filter("truncate", truncate);
    environment.add_filter("wordcount", |text: &Value| words_in(&repr::str(text)));
    environment.add_filter("wordwrap", wordwrap);
    environment.add_filter("indent", indent);
    environment.add_filter("striptags", striptags);
    environment.add_filter("urlencode", urlencode);
    environment.add_filter("filesizeformat", filesizeformat);
    environment.add_filter("xmlattr", xmlattr);
    environment.add_filter("pprint", |value: &Value| pretty(value, 0, 0));
    environment.add_filter("random", random);
    environment.add_filter("dictsort", dictsort);
    for name in ["escape", "e", "forceescape"] {
        environment.add_filter(name, |value: &Value| escaped(&repr::str(value)));
    }
    environment.add_filter("unique", unique);
    environment.add_function("dict", dict);
    environment.add_function("cycler", |items: Rest<Value>| minijinja_contrib::globals::cycler(items.0));
    environment.add_function("joiner", minijinja_contrib::globals::joiner);
}

/// Positional arguments followed by named ones, as methods receive them.
fn together(rest: Rest<Value>, named: Kwargs) -> Vec<Value> {
    let mut all = rest.0;
    if named.args().next().is_some() {
        all.push(Value::from(named));
    }
    all
}

/// The test `sequence`: in Python also true for strings, dicts and undefined values.
fn is_sequence(value: &Value) -> bool {
    matches!(value.kind(), ValueKind::String | ValueKind::Seq | ValueKind::Map | ValueKind::Undefined)
}

/// The test `iterable`: false for `none`, true for undefined values.
fn is_iterable(value: &Value) -> bool {
    !value.is_none() && (value.is_undefined() || value.as_str().is_some() || value.try_iter().is_ok())
}

/// The test `callable`: functions, macros and, as in Python, undefined values.
fn is_callable(value: &Value) -> bool {
    let is_macro = value.as_object().is_some_and(|object| object.type_name().ends_with("::Macro"));
    is_macro || matches!(value.kind(), ValueKind::Plain | ValueKind::Undefined)
}

/// `default(other, boolean)`, whose arguments may be named.
fn default(value: &Value, other: Option<Value>, boolean: Option<bool>, named: Kwargs) -> Result<Value, Error> {
    let other = other.or(named.get("default_value")?).unwrap_or_else(|| Value::from(""));
    let boolean = boolean.or(named.get("boolean")?).unwrap_or(false);
    named.assert_all_used()?;
    Ok(if value.is_undefined() || boolean && !value.is_true() { other } else { value.clone() })
}

/// `string`: Python's `str()`.
pub(super) fn string(state: &State<'_, '_>, value: &Value) -> Result<Value, Error> {
    if value.kind() == ValueKind::String {
        return Ok(value.clone());
    }
    let text = repr::str(value);
    charge(state, text.len())?;
    Ok(Value::from(text))
}

/// `join(d, attribute)`
fn join(state: &State<'_, '_>, value: &Value, rest: Rest<Value>, named: Kwargs) -> Result<Value, Error> {
    let all = together(rest, named);
    let args = Arguments::new("join", &all)?;
    args.most(2)?;
    if value.is_undefined() {
        return Ok(Value::from(""));
    }
    let between = args.get(0, "d")?.map(|d| repr::str(&d)).unwrap_or_default();
    let attribute = args.get(1, "attribute")?;
    let mut out = String::new();
    for (i, item) in value.try_iter()?.enumerate() {
        if i > 0 {
            out.push_str(&between);
        }
        let item = match &attribute {
            Some(attribute) => path(&item, attribute)?,
            None => item,
        };
        match item.as_str() {
            Some(text) => out.push_str(text),
            None => out.push_str(&repr::str(&item)),
        }
        if out.len() > super::MAX_MADE {
            return Err(limit("the result of join is too long"));
        }
    }
    charge(state, out.len())?;
    Ok(Value::from(out))
}

/// The value at a path such as `a.b.0`.
fn path(value: &Value, attribute: &Value) -> Result<Value, Error> {
    let Some(path) = attribute.as_str() else { return value.get_item(attribute) };
    path.split('.').try_fold(value.clone(), |value, part| match part.parse::<i64>() {
        Ok(index) => value.get_item(&Value::from(index)),
        Err(_) => value.get_attr(part),
    })
}

/// `format(*values)` or `format(**values)`
fn formatted(state: &State<'_, '_>, text: &Value, rest: Rest<Value>, named: Kwargs) -> Result<Value, Error> {
    let all = together(rest, named);
    let args = Arguments::new("format", &all)?;
    let values = match args.named {
        Some(named) if !args.positional.is_empty() => {
            let _ = named;
            return Err(wrong("format takes values by position or by name, not both"));
        }
        Some(named) => named.clone(),
        None => Value::from_object(minijinja::value::Tuple::from(args.positional.to_vec())),
    };
    let made = percent::printf(&repr::str(text), &values)?;
    charge(state, made.len())?;
    Ok(Value::from(made))
}

/// `float(default)`
fn float(value: &Value, rest: Rest<Value>, named: Kwargs) -> Result<Value, Error> {
    let all = together(rest, named);
    let args = Arguments::new("float", &all)?;
    let default = || args.get(0, "default").map(|default| default.unwrap_or_else(|| Value::from(0.0)));
    let number = match value.kind() {
        ValueKind::Bool => Some(f64::from(u8::from(value.is_true()))),
        ValueKind::Number => f64::try_from(value.clone()).ok().or_else(|| value.to_string().parse().ok()),
        ValueKind::String => value.as_str().and_then(|text| text.trim_matches(is_space).replace('_', "").parse().ok()),
        _ => None,
    };
    number.map_or_else(default, |number| Ok(Value::from(number)))
}

/// `attr(name)`: an attribute, never an item.
fn attr(value: &Value, name: &str) -> Result<Value, Error> {
    match value.kind() {
        ValueKind::Map if !repr::is_namespace(value) => {
            let found = views::attribute(value, name)?;
            let is_item = value.get_item(&Value::from(name)).is_ok_and(|item| item == found);
            Ok(if is_item { Value::UNDEFINED } else { found })
        }
        _ => views::attribute(value, name),
    }
}

fn center(state: &mut State<'_, '_>, value: &Value, width: Option<i64>) -> Result<Value, Error> {
    super::method(state, &Value::from(repr::str(value)), "center", &[Value::from(width.unwrap_or(80))])
}

/// `truncate(length, killwords, end, leeway)`
fn truncate(value: &Value, rest: Rest<Value>, named: Kwargs) -> Result<Value, Error> {
    let all = together(rest, named);
    let args = Arguments::new("truncate", &all)?;
    args.most(4)?;
    let text = repr::str(value);
    let count = |n: i64| usize::try_from(n).map_err(|_| wrong("truncate takes lengths of at least 0"));
    let length = count(args.int(0, "length")?.unwrap_or(255))?;
    let end = args.text(2, "end")?.unwrap_or_else(|| "...".into());
    let leeway = count(args.int(3, "leeway")?.unwrap_or(5))?;
    let kept = length.checked_sub(end.chars().count());
    let kept = kept.ok_or_else(|| wrong("truncate: the length is below that of the end"))?;
    if text.chars().count() <= length.saturating_add(leeway) {
        return Ok(Value::from(text));
    }
    let cut: String = text.chars().take(kept).collect();
    let whole = args.get(1, "killwords")?.is_some_and(|kill| kill.is_true());
    let cut = if whole { cut.as_str() } else { cut.rsplit_once(' ').map_or(cut.as_str(), |(words, _)| words) };
    Ok(Value::from(format!("{cut}{end}")))
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn words_in(text: &str) -> usize {
    text.split(|c: char| !is_word(c)).filter(|word| !word.is_empty()).count()
}

/// `wordwrap(width, break_long_words, wrapstring, break_on_hyphens)`, with textwrap's rules.
fn wordwrap(state: &State<'_, '_>, value: &Value, rest: Rest<Value>, named: Kwargs) -> Result<Value, Error> {
    let all = together(rest, named);
    let args = Arguments::new("wordwrap", &all)?;
    args.most(4)?;
    let text = repr::str(value);
    let width = usize::try_from(args.int(0, "width")?.unwrap_or(79)).unwrap_or(0);
    let on = |i, name| Ok::<_, Error>(args.get(i, name)?.is_none_or(|value| value.is_true()));
    let (long, hyphens) = (on(1, "break_long_words")?, on(3, "break_on_hyphens")?);
    let line_end = args.text(2, "wrapstring")?.unwrap_or_else(|| "\n".into());
    if width == 0 {
        return Err(wrong("wordwrap takes a width above 0"));
    }
    let mut lines = Vec::new();
    for line in super::strings::lines(&text, false) {
        let wrapped = wrap(line, width, long, hyphens);
        lines.push(wrapped.join(&line_end));
    }
    let made = lines.join(&line_end);
    charge(state, made.len())?;
    if made.len() > super::MAX_MADE {
        return Err(limit("the result of wordwrap is too long"));
    }
    Ok(Value::from(made))
}

/// Wraps a line to at most `width` characters. White space at line ends is dropped; at the beginning of the first line
/// it is kept.
fn wrap(line: &str, width: usize, break_long: bool, hyphens: bool) -> Vec<String> {
    let mut chunks: Vec<String> = chunks(line, hyphens);
    chunks.reverse();
    let mut lines: Vec<String> = Vec::new();
    let size = |text: &str| text.chars().count();
    let blank = |text: &str| text.trim_matches(is_space).is_empty();
    while !chunks.is_empty() {
        let (mut current, mut length) = (Vec::new(), 0);
        if !lines.is_empty() && chunks.last().is_some_and(|chunk| blank(chunk)) {
            chunks.pop();
        }
        while let Some(chunk) = chunks.pop_if(|chunk| length + size(chunk) <= width) {
            length += size(&chunk);
            current.push(chunk);
        }
        if let Some(chunk) = chunks.pop_if(|chunk| size(chunk) > width) {
            let room = width - length;
            if break_long && room > 0 {
                current.push(chunk.chars().take(room).collect());
                chunks.push(chunk.chars().skip(room).collect());
            } else if current.is_empty() {
                current.push(chunk);
            } else {
                chunks.push(chunk);
            }
        }
        if current.last().is_some_and(|chunk| blank(chunk)) {
            current.pop();
        }
        if !current.is_empty() {
            lines.push(current.concat());
        }
    }
    lines
}

/// Splits a line into words and white space; with `hyphens`, words are also split after hyphens.
fn chunks(line: &str, hyphens: bool) -> Vec<String> {
    let mut chunks: Vec<String> = Vec::new();
    let mut chars: Vec<char> = Vec::new();
    let letters = |part: &[char]| {
        part.len() >= 2 && part.iter().rev().take(2).all(|c| is_word(*c)) && !part[part.len() - 1].is_numeric()
    };
    let mut flush = |word: &mut Vec<char>| {
        let mut start = 0;
        for at in 0..word.len() {
            let breaks = hyphens && word[at] == '-' && letters(&word[start..at]);
            let next: Vec<char> = word[at + 1..].iter().copied().take_while(|c| is_word(*c)).collect();
            if breaks && next.len() >= 2 && !next[1].is_numeric() {
                chunks.push(word[start..=at].iter().collect());
                start = at + 1;
            }
        }
        if start < word.len() {
            chunks.push(word[start..].iter().collect());
        }
        word.clear();
    };
    for c in line.chars() {
        if chars.last().is_some_and(|last| is_space(*last) != is_space(c)) {
            flush(&mut chars);
        }
        chars.push(c);
    }
    flush(&mut chars);
    chunks
}

/// `indent(width, first, blank)`; the width may be a text.
fn indent(state: &State<'_, '_>, value: &Value, rest: Rest<Value>, named: Kwargs) -> Result<Value, Error> {
    let all = together(rest, named);
    let args = Arguments::new("indent", &all)?;
    args.most(3)?;
    let indention = match args.get(0, "width")? {
        None => "    ".to_owned(),
        Some(width) => match (width.as_str(), width.as_i64()) {
            (Some(text), _) => text.to_owned(),
            (None, Some(n)) if n > 10_000 => return Err(limit("an indent of more than 10000 columns")),
            (None, Some(n)) => " ".repeat(usize::try_from(n).unwrap_or(0)),
            _ => return Err(wrong("indent takes a number or a text")),
        },
    };
    let on = |i, name| Ok::<_, Error>(args.get(i, name)?.is_some_and(|value| value.is_true()));
    let (first, blank) = (on(1, "first")?, on(2, "blank")?);
    let text = repr::str(value) + "\n"; // as Jinja, so that an empty last line counts
    let mut out = String::new();
    for (i, line) in super::strings::lines(&text, false).into_iter().enumerate() {
        if i > 0 {
            out.push('\n');
        }
        let wanted = if i == 0 { first } else { blank || !line.is_empty() };
        out.push_str(if wanted { &indention } else { "" });
        out.push_str(line);
        if out.len() > super::MAX_MADE {
            return Err(limit("the result of indent is too long"));
        }
    }
    charge(state, out.len())?;
    Ok(Value::from(out))
}

/// Removes tags and comments, decodes entities, and collapses white space.
fn striptags(value: &Value) -> String {
    let text = repr::str(value);
    let (mut out, mut rest) = (String::new(), text.as_str());
    while let Some(at) = rest.find('<') {
        let comment = rest[at..].starts_with("<!--");
        let end = if comment {
            rest[at + 4..].find("-->").map(|end| at + 4 + end + 3)
        } else {
            rest[at..].find('>').map(|end| at + end + 1)
        };
        let Some(end) = end else { break };
        out.push_str(&rest[..at]);
        rest = &rest[end..];
    }
    out.push_str(rest);
    let words: Vec<&str> = out.split(is_space).filter(|word| !word.is_empty()).collect();
    unescaped(&words.join(" "))
}

const ENTITIES: &[(&str, &str)] = &[
    ("amp", "&"),
    ("lt", "<"),
    ("gt", ">"),
    ("quot", "\""),
    ("apos", "'"),
    ("nbsp", "\u{a0}"),
    ("copy", "©"),
    ("hellip", "…"),
    ("mdash", "—"),
    ("ndash", "–"),
];

fn unescaped(text: &str) -> String {
    let (mut out, mut rest) = (String::new(), text);
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        let inner = &rest[at + 1..];
        let end = inner.find(';').filter(|end| *end <= 10);
        let read = end.and_then(|end| {
            let name = &inner[..end];
            let number = |digits: &str, radix| {
                u32::from_str_radix(digits, radix).ok().and_then(char::from_u32).map(String::from)
            };
            let named = || ENTITIES.iter().find(|(known, _)| *known == name).map(|(_, text)| (*text).to_owned());
            let text = match name.strip_prefix('#') {
                Some(digits) => match digits.strip_prefix(['x', 'X']) {
                    Some(digits) => number(digits, 16),
                    None => number(digits, 10),
                },
                None => named(),
            };
            text.map(|text| (text, end))
        });
        match read {
            Some((text, end)) => {
                out.push_str(&text);
                rest = &inner[end + 1..];
            }
            None => {
                out.push('&');
                rest = inner;
            }
        }
    }
    out + rest
}

/// Escapes text as MarkupSafe does.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&#34;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

/// Encodes a text for a URL path, or pairs for a query.
fn urlencode(value: &Value) -> Result<String, Error> {
    let pairs = match value.kind() {
        ValueKind::Map => {
            let pair = |key: Value| Ok((repr::str(&key), repr::str(&value.get_item(&key)?)));
            value.try_iter()?.map(pair).collect::<Result<Vec<_>, Error>>()?
        }
        ValueKind::Seq | ValueKind::Iterable => {
            let pair =
                |pair: Value| Ok((repr::str(&pair.get_item_by_index(0)?), repr::str(&pair.get_item_by_index(1)?)));
            value.try_iter()?.map(pair).collect::<Result<Vec<_>, Error>>()?
        }
        _ => return Ok(quoted(&repr::str(value), "/")),
    };
    let query = |text: &str| quoted(text, "").replace("%20", "+");
    Ok(pairs.iter().map(|(key, value)| format!("{}={}", query(key), query(value))).collect::<Vec<_>>().join("&"))
}

fn quoted(text: &str, safe: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match char::from(byte) {
            c if c.is_ascii_alphanumeric() || "_.-~".contains(c) || safe.contains(c) => out.push(c),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// `filesizeformat(binary)`
fn filesizeformat(value: &Value, rest: Rest<Value>, named: Kwargs) -> Result<String, Error> {
    let all = together(rest, named);
    let args = Arguments::new("filesizeformat", &all)?;
    let binary = args.get(0, "binary")?.is_some_and(|value| value.is_true());
    let bytes = value.as_str().and_then(|text| text.parse().ok()).or_else(|| f64::try_from(value.clone()).ok());
    let bytes: f64 = bytes.ok_or_else(|| wrong("a number of bytes is expected"))?;
    let (base, names) = match binary {
        true => (1024.0, ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB"]),
        false => (1000.0, ["kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"]),
    };
    if bytes == 1.0 {
        return Ok("1 Byte".into());
    }
    if bytes < base {
        return Ok(format!("{} Bytes", bytes.trunc()));
    }
    let fits = (0..names.len()).find(|i| bytes < f64::powi(base, *i as i32 + 2)).unwrap_or(names.len() - 1);
    Ok(format!("{:.1} {}", base * bytes / f64::powi(base, fits as i32 + 2), names[fits]))
}

/// `xmlattr(autospace)`
fn xmlattr(value: &Value, autospace: Option<bool>) -> Result<String, Error> {
    let mut attributes = Vec::new();
    for key in value.try_iter()? {
        let item = value.get_item(&key)?;
        if item.is_none() || item.is_undefined() {
            continue;
        }
        let key = repr::str(&key);
        if key.contains(|c: char| is_space(c) || matches!(c, '/' | '>' | '=')) {
            return Err(Error::new(
                ErrorKind::InvalidOperation,
                format!("invalid character in attribute name: {key:?}"),
            ));
        }
        attributes.push(format!("{}=\"{}\"", escaped(&key), escaped(&repr::str(&item))));
    }
    let all = attributes.join(" ");
    Ok(if autospace.unwrap_or(true) && !all.is_empty() { format!(" {all}") } else { all })
}

/// `pprint.pformat`: 80 columns, dicts sorted by key. Long strings are not wrapped.
fn pretty(value: &Value, column: usize, after: usize) -> String {
    const WIDTH: usize = 80;
    let sorted = sorted(value);
    let line = repr::repr(&sorted);
    if line.chars().count() <= WIDTH.saturating_sub(column + after) {
        return line;
    }
    let inner = format!(",\n{}", " ".repeat(column + 1));
    let items: Vec<Value> = sorted.try_iter().into_iter().flatten().collect();
    let after_item = |i: usize| if i + 1 == items.len() { after + 1 } else { 1 };
    match sorted.kind() {
        ValueKind::Map if !items.is_empty() => {
            let item = |(i, key): (usize, &Value)| {
                let name = repr::repr(key);
                let value = sorted.get_item(key).unwrap_or_default();
                format!("{name}: {}", pretty(&value, column + name.chars().count() + 3, after_item(i)))
            };
            format!("{{{}}}", items.iter().enumerate().map(item).collect::<Vec<_>>().join(&inner))
        }
        ValueKind::Seq if !items.is_empty() => {
            let parts: Vec<String> =
                items.iter().enumerate().map(|(i, item)| pretty(item, column + 1, after_item(i))).collect();
            match (sorted.is_tuple(), parts.len()) {
                (true, 1) => format!("({},)", parts[0]),
                (true, _) => format!("({})", parts.join(&inner)),
                _ => format!("[{}]", parts.join(&inner)),
            }
        }
        _ => line,
    }
}

/// A value with the keys of all dicts sorted.
fn sorted(value: &Value) -> Value {
    match value.kind() {
        ValueKind::Map if !repr::is_namespace(value) => {
            let mut keys: Vec<Value> = value.try_iter().into_iter().flatten().collect();
            keys.sort();
            Value::from_pairs(keys.into_iter().map(|key| {
                let item = sorted(&value.get_item(&key).unwrap_or_default());
                (key, item)
            }))
        }
        ValueKind::Seq => {
            let items: Vec<Value> = value.try_iter().into_iter().flatten().map(|item| sorted(&item)).collect();
            if value.is_tuple() { Value::from_object(minijinja::value::Tuple::from(items)) } else { Value::from(items) }
        }
        _ => value.clone(),
    }
}

/// `unique(case_sensitive, attribute)`
fn unique(value: &Value, rest: Rest<Value>, named: Kwargs) -> Result<Value, Error> {
    let all = together(rest, named);
    let args = Arguments::new("unique", &all)?;
    args.most(2)?;
    let sensitive = args.get(0, "case_sensitive")?.is_some_and(|value| value.is_true());
    let attribute = args.get(1, "attribute")?;
    let mut seen = std::collections::BTreeSet::new();
    let mut kept = Vec::new();
    for item in value.try_iter()? {
        let key = match &attribute {
            Some(attribute) => path(&item, attribute)?,
            None => item.clone(),
        };
        let key = match key.as_str() {
            Some(text) if !sensitive => Value::from(text.to_lowercase()),
            _ => key,
        };
        if seen.insert(key) {
            kept.push(item);
        }
    }
    Ok(Value::from(kept))
}

/// `dict(mapping_or_pairs, **named)`
fn dict(given: Option<Value>, named: Kwargs) -> Result<Value, Error> {
    let mut pairs = Vec::new();
    match given {
        Some(map) if map.kind() == ValueKind::Map => {
            for key in map.try_iter()? {
                pairs.push((key.clone(), map.get_item(&key)?));
            }
        }
        Some(list) => {
            for pair in list.try_iter()? {
                pairs.push((pair.get_item_by_index(0)?, pair.get_item_by_index(1)?));
            }
        }
        None => {}
    }
    for name in named.args() {
        pairs.push((Value::from(name), named.get(name)?));
    }
    named.assert_all_used()?;
    Ok(Value::from_pairs(pairs))
}

/// `random`: always the first item, because the KV cache could not be reused for a prompt that changes between
/// renderings.
fn random(value: &Value) -> Result<Value, Error> {
    Ok(value.try_iter()?.next().unwrap_or_default())
}

/// `dictsort(case_sensitive, by, reverse)`
fn dictsort(value: &Value, rest: Rest<Value>, named: Kwargs) -> Result<Value, Error> {
    let all = together(rest, named);
    let args = Arguments::new("dictsort", &all)?;
    args.most(3)?;
    let on = |i, name| Ok::<_, Error>(args.get(i, name)?.is_some_and(|value| value.is_true()));
    let (sensitive, reverse) = (on(0, "case_sensitive")?, on(2, "reverse")?);
    let by = match args.text(1, "by")?.as_deref() {
        None | Some("key") => 0,
        Some("value") => 1,
        Some(_) => return Err(wrong("dictsort: by is \"key\" or \"value\"")),
    };
    let pair = |key: Value| value.get_item(&key).map(|item| [key, item]);
    let mut pairs: Vec<[Value; 2]> = value.try_iter()?.map(pair).collect::<Result<_, _>>()?;
    let order = |value: &Value| match value.as_str() {
        Some(text) if !sensitive => Value::from(text.to_lowercase()),
        _ => value.clone(),
    };
    pairs.sort_by_cached_key(|pair| order(&pair[by]));
    if reverse {
        pairs.reverse();
    }
    Ok(pairs.into_iter().map(|pair| Value::from_object(minijinja::value::Tuple::from(pair))).collect())
}
