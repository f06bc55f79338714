//! Jinja's filters that read and write markup and URLs: `striptags`, `escape`, `xmlattr` and `urlencode`.

use minijinja::value::ValueKind;
use minijinja::{Error, ErrorKind, Value};

use super::repr;
use super::strings::is_space;

/// Removes tags and comments, decodes entities, and collapses white space.
pub(super) fn striptags(value: &Value) -> String {
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
pub(super) fn escaped(text: &str) -> String {
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
pub(super) fn urlencode(value: &Value) -> Result<String, Error> {
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

/// `xmlattr(autospace)`
pub(super) fn xmlattr(value: &Value, autospace: Option<bool>) -> Result<String, Error> {
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
