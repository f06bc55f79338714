//! Values written as in Python, or between a model's own quotation marks, converted to JSON while they are read.

use std::borrow::Cow;

use super::super::stop::partial_suffix;
use super::Stop;
use super::cursor::Cursor;

/// Levels of nesting that are read.
const DEPTH: usize = 128;

/// Reads values; what is certain of their JSON is appended to `out`, also if the text ends within a value.
pub(super) struct Literals<'a, 'o> {
    pub(super) cursor: Cursor<'a>,
    pub(super) out: &'o mut String,
    /// A quotation mark of the model's own, around text that has no escapes; "" if there is none.
    pub(super) quote: &'a str,
}

impl Literals<'_, '_> {
    /// A value: a string, a number, a word, a list, a tuple or a dictionary.
    pub(super) fn value(&mut self) -> Result<(), Stop> {
        self.nested(DEPTH)
    }

    fn nested(&mut self, depth: usize) -> Result<(), Stop> {
        let depth = depth.checked_sub(1).ok_or(Stop::Bad)?;
        self.cursor.space();
        if self.quoted()? {
            return Ok(());
        }
        match self.cursor.peek()? {
            quote @ ('"' | '\'') => self.string(quote),
            '{' => {
                self.cursor.next()?;
                self.pairs('}', ':', |literals| literals.nested(depth))
            }
            '[' => self.list(']', depth),
            '(' => self.list(')', depth),
            _ => self.word(),
        }
    }

    /// `key SIGN value` pairs up to `end`, as a JSON object. The opening bracket has been passed.
    pub(super) fn pairs(
        &mut self,
        end: char,
        sign: char,
        mut value: impl FnMut(&mut Self) -> Result<(), Stop>,
    ) -> Result<(), Stop> {
        self.out.push('{');
        self.items(end, '}', |literals| {
            if !literals.quoted()? {
                match literals.cursor.peek()? {
                    quote @ ('"' | '\'') => literals.string(quote)?,
                    _ => {
                        let key = literals.cursor.run(|c| c != sign && !",{}[]()\"'\n".contains(c))?.trim_end();
                        if key.is_empty() {
                            return Err(Stop::Bad);
                        }
                        push_string(literals.out, key);
                    }
                }
            }
            literals.cursor.space();
            if literals.cursor.next()? != sign {
                return Err(Stop::Bad);
            }
            literals.out.push(':');
            value(literals)
        })
    }

    fn list(&mut self, end: char, depth: usize) -> Result<(), Stop> {
        self.cursor.next()?;
        self.out.push('[');
        self.items(end, ']', |literals| literals.nested(depth))
    }

    /// Items with commas between them, one of which may follow the last.
    fn items(
        &mut self,
        end: char,
        close: char,
        mut item: impl FnMut(&mut Self) -> Result<(), Stop>,
    ) -> Result<(), Stop> {
        let mut first = true;
        loop {
            self.cursor.space();
            if self.cursor.peek()? == end {
                break;
            }
            if !first {
                self.out.push(',');
            }
            first = false;
            item(self)?;
            self.cursor.space();
            match self.cursor.peek()? {
                ',' => self.cursor.next().map(drop)?,
                c if c == end => {}
                _ => return Err(Stop::Bad),
            }
        }
        self.cursor.next()?;
        self.out.push(close);
        Ok(())
    }

    /// Text between the model's own quotation marks; `false` if another value follows.
    fn quoted(&mut self) -> Result<bool, Stop> {
        if self.quote.is_empty() || !self.cursor.eat(self.quote)? {
            return Ok(false);
        }
        let rest = self.cursor.rest();
        self.out.push('"');
        match self.cursor.until(self.quote) {
            Ok(text) => {
                push_escaped(self.out, text);
                self.out.push('"');
                Ok(true)
            }
            Err(stop) => {
                push_escaped(self.out, &rest[..rest.len() - partial_suffix(rest, self.quote)]);
                Err(stop)
            }
        }
    }

    /// A Python string, with escapes; also one of three quotation marks.
    fn string(&mut self, quote: char) -> Result<(), Stop> {
        self.cursor.next()?;
        let mark = [quote; 3].iter().collect::<String>();
        let long = self.cursor.eat(&mark[1..])?;
        let end = if long { &mark[..] } else { &mark[..1] };
        self.out.push('"');
        loop {
            if self.cursor.eat(end)? {
                self.out.push('"');
                return Ok(());
            }
            match self.cursor.next()? {
                '\\' => {
                    let text = self.escape()?;
                    push_escaped(self.out, &text);
                }
                c => push_escaped(self.out, c.encode_utf8(&mut [0; 4])),
            }
        }
    }

    /// What an escape stands for, after its backslash. An unknown one stands for itself.
    fn escape(&mut self) -> Result<Cow<'static, str>, Stop> {
        let c = self.cursor.next()?;
        let digits = match c {
            'n' => return Ok("\n".into()),
            't' => return Ok("\t".into()),
            'r' => return Ok("\r".into()),
            'b' => return Ok("\u{8}".into()),
            'f' => return Ok("\u{c}".into()),
            'a' => return Ok("\u{7}".into()),
            'v' => return Ok("\u{b}".into()),
            '\n' => return Ok("".into()),
            '\\' | '\'' | '"' | '/' => return Ok(c.to_string().into()),
            'x' => 2,
            'u' => 4,
            'U' => 8,
            '0'..='7' => return self.octal(c),
            other => return Ok(format!("\\{other}").into()),
        };
        let mut code = self.hexadecimal(digits)?;
        if (0xd800..0xdc00).contains(&code) && self.cursor.eat("\\u")? {
            // A pair of surrogates, as JSON writes characters beyond 16 bits.
            let low = self.hexadecimal(4)?;
            code = 0x10000 + ((code - 0xd800) << 10) + (low.wrapping_sub(0xdc00) & 0x3ff);
        }
        char::from_u32(code).map(|c| c.to_string().into()).ok_or(Stop::Bad)
    }

    fn hexadecimal(&mut self, digits: usize) -> Result<u32, Stop> {
        let mut code = 0;
        for _ in 0..digits {
            code = code * 16 + self.cursor.next()?.to_digit(16).ok_or(Stop::Bad)?;
        }
        Ok(code)
    }

    fn octal(&mut self, first: char) -> Result<Cow<'static, str>, Stop> {
        let mut code = first.to_digit(8).unwrap_or(0);
        for _ in 0..2 {
            let Some(digit) = self.cursor.peek()?.to_digit(8) else { break };
            self.cursor.next()?;
            code = code * 8 + digit;
        }
        char::from_u32(code).map(|c| c.to_string().into()).ok_or(Stop::Bad)
    }

    /// A number, or one of the words for true, false and null.
    fn word(&mut self) -> Result<(), Stop> {
        let word = self.cursor.run(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.' | '_'))?;
        self.out.push_str(&match word {
            "True" | "true" => Cow::from("true"),
            "False" | "false" => "false".into(),
            "None" | "null" => "null".into(),
            number => json_number(number).ok_or(Stop::Bad)?.into(),
        });
        Ok(())
    }
}

/// A Python number as JSON writes it: without a plus sign and underscores, with digits around the point.
fn json_number(text: &str) -> Option<String> {
    let plain = text.strip_prefix('+').unwrap_or(text).replace('_', "");
    let (sign, digits) = plain.strip_prefix('-').map_or(("", plain.as_str()), |digits| ("-", digits));
    if !digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return None;
    }
    let zero = if digits.starts_with('.') { "0" } else { "" };
    let exponent = digits.find(['e', 'E']).unwrap_or(digits.len());
    let (mantissa, exponent) = digits.split_at(exponent);
    let after = if mantissa.ends_with('.') { "0" } else { "" };
    let number = format!("{sign}{zero}{mantissa}{after}{exponent}");
    serde_json::from_str::<serde_json::Number>(&number).is_ok().then_some(number)
}

/// Appends a text as a JSON string.
pub(super) fn push_string(out: &mut String, text: &str) {
    out.push('"');
    push_escaped(out, text);
    out.push('"');
}

/// Appends a text as it stands inside a JSON string.
pub(super) fn push_escaped(out: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c < ' ' => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
}

/// The JSON of a whole text that is one value.
pub(super) fn json(text: &str) -> Option<String> {
    // A word ends at what follows it.
    let text = format!("{} ", text.trim());
    let mut out = String::new();
    let mut literals = Literals { cursor: Cursor::new(&text), out: &mut out, quote: "" };
    let whole = literals.value().is_ok() && literals.cursor.rest() == " ";
    whole.then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_those_of_python() {
        for (text, want) in [
            ("'it\\'s'", r#""it's""#),
            (r#""a\n\x41\u00e9\U0001F600\d""#, "\"a\\nAé😀\\\\d\""),
            (r"'\ud83d\ude00'", "\"😀\""),
            ("\"\"\"two\nlines\"\"\"", r#""two\nlines""#),
            ("''", r#""""#),
            ("[1, +2, -3.5e2, .5, 5., 1_000]", "[1,2,-3.5e2,0.5,5.0,1000]"),
            ("(True, None, false, null,)", "[true,null,false,null]"),
            ("{'a': {\"b\": []}, 'c': {}}", r#"{"a":{"b":[]},"c":{}}"#),
        ] {
            assert_eq!(json(text).as_deref(), Some(want), "{text}");
        }
        for text in ["", "x", "[1,, 2]", "{'a' 1}", "nan", "1 2", "f()", "'open", "{1, 2}"] {
            assert_eq!(json(text), None, "{text}");
        }
    }
}
