//! Jinja's filters that lay out text: `center`, `truncate`, `wordcount`, `wordwrap` and `indent`.

use minijinja::value::{Kwargs, Rest};
use minijinja::{Error, State, Value};

use super::strings::is_space;
use super::{Arguments, charge, limit, repr, together, wrong};

/// `center(width)`
pub(super) fn center(state: &mut State<'_, '_>, value: &Value, width: Option<i64>) -> Result<Value, Error> {
    super::method(state, &Value::from(repr::str(value)), "center", &[Value::from(width.unwrap_or(80))])
}

/// `truncate(length, killwords, end, leeway)`
pub(super) fn truncate(value: &Value, rest: Rest<Value>, named: Kwargs) -> Result<Value, Error> {
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

/// How many words a text has.
pub(super) fn words_in(text: &str) -> usize {
    text.split(|c: char| !is_word(c)).filter(|word| !word.is_empty()).count()
}

/// `wordwrap(width, break_long_words, wrapstring, break_on_hyphens)`, with textwrap's rules.
pub(super) fn wordwrap(state: &State<'_, '_>, value: &Value, rest: Rest<Value>, named: Kwargs) -> Result<Value, Error> {
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
pub(super) fn indent(state: &State<'_, '_>, value: &Value, rest: Rest<Value>, named: Kwargs) -> Result<Value, Error> {
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
