//! Looks up characters by Unicode name, for `\N{…}` in strings: a small subset of Unicode's 30,000 names.

/// Characters other than letters with accents.
const NAMES: &[(&str, char)] = &[
    ("SPACE", ' '),
    ("NO-BREAK SPACE", '\u{a0}'),
    ("EM SPACE", '\u{2003}'),
    ("EN SPACE", '\u{2002}'),
    ("THIN SPACE", '\u{2009}'),
    ("ZERO WIDTH SPACE", '\u{200b}'),
    ("ZERO WIDTH JOINER", '\u{200d}'),
    ("ZERO WIDTH NON-JOINER", '\u{200c}'),
    ("ZERO WIDTH NO-BREAK SPACE", '\u{feff}'),
    ("IDEOGRAPHIC SPACE", '\u{3000}'),
    ("LINE SEPARATOR", '\u{2028}'),
    ("PARAGRAPH SEPARATOR", '\u{2029}'),
    ("SOFT HYPHEN", '\u{ad}'),
    ("BULLET", '•'),
    ("MIDDLE DOT", '·'),
    ("HORIZONTAL ELLIPSIS", '…'),
    ("EN DASH", '–'),
    ("EM DASH", '—'),
    ("HYPHEN", '‐'),
    ("NON-BREAKING HYPHEN", '‑'),
    ("FIGURE DASH", '‒'),
    ("MINUS SIGN", '−'),
    ("HYPHEN-MINUS", '-'),
    ("LEFT SINGLE QUOTATION MARK", '‘'),
    ("RIGHT SINGLE QUOTATION MARK", '’'),
    ("LEFT DOUBLE QUOTATION MARK", '“'),
    ("RIGHT DOUBLE QUOTATION MARK", '”'),
    ("QUOTATION MARK", '"'),
    ("APOSTROPHE", '\''),
    ("GRAVE ACCENT", '`'),
    ("LEFT-POINTING DOUBLE ANGLE QUOTATION MARK", '«'),
    ("RIGHT-POINTING DOUBLE ANGLE QUOTATION MARK", '»'),
    ("FULLWIDTH VERTICAL LINE", '｜'),
    ("LOWER ONE EIGHTH BLOCK", '▁'),
    ("VERTICAL LINE", '|'),
    ("LOW LINE", '_'),
    ("LESS-THAN SIGN", '<'),
    ("GREATER-THAN SIGN", '>'),
    ("AMPERSAND", '&'),
    ("NUMBER SIGN", '#'),
    ("ASTERISK", '*'),
    ("COMMERCIAL AT", '@'),
    ("PERCENT SIGN", '%'),
    ("DOLLAR SIGN", '$'),
    ("EURO SIGN", '€'),
    ("POUND SIGN", '£'),
    ("YEN SIGN", '¥'),
    ("COPYRIGHT SIGN", '©'),
    ("REGISTERED SIGN", '®'),
    ("TRADE MARK SIGN", '™'),
    ("DEGREE SIGN", '°'),
    ("MICRO SIGN", 'µ'),
    ("SECTION SIGN", '§'),
    ("PILCROW SIGN", '¶'),
    ("PLUS-MINUS SIGN", '±'),
    ("MULTIPLICATION SIGN", '×'),
    ("DIVISION SIGN", '÷'),
    ("ALMOST EQUAL TO", '≈'),
    ("NOT EQUAL TO", '≠'),
    ("LESS-THAN OR EQUAL TO", '≤'),
    ("GREATER-THAN OR EQUAL TO", '≥'),
    ("INFINITY", '∞'),
    ("SQUARE ROOT", '√'),
    ("LEFTWARDS ARROW", '←'),
    ("UPWARDS ARROW", '↑'),
    ("RIGHTWARDS ARROW", '→'),
    ("DOWNWARDS ARROW", '↓'),
    ("RIGHTWARDS DOUBLE ARROW", '⇒'),
    ("CHECK MARK", '✓'),
    ("HEAVY CHECK MARK", '✔'),
    ("BALLOT X", '✗'),
    ("WHITE HEAVY CHECK MARK", '✅'),
    ("CROSS MARK", '❌'),
    ("WARNING SIGN", '⚠'),
    ("BLACK STAR", '★'),
    ("SPARKLES", '✨'),
    ("ROCKET", '🚀'),
    ("ROBOT FACE", '🤖'),
    ("THINKING FACE", '🤔'),
    ("GRINNING FACE", '😀'),
    ("INVERTED QUESTION MARK", '¿'),
    ("INVERTED EXCLAMATION MARK", '¡'),
    ("REPLACEMENT CHARACTER", '\u{fffd}'),
    ("LATIN SMALL LETTER SHARP S", 'ß'),
    ("LATIN SMALL LETTER AE", 'æ'),
    ("LATIN CAPITAL LETTER AE", 'Æ'),
    ("LATIN SMALL LETTER O WITH STROKE", 'ø'),
    ("LATIN CAPITAL LETTER O WITH STROKE", 'Ø'),
    ("LATIN SMALL LIGATURE OE", 'œ'),
    ("LATIN CAPITAL LIGATURE OE", 'Œ'),
    ("LATIN SMALL LETTER DOTLESS I", 'ı'),
];

const ACCENTS: &[(&str, char)] = &[
    ("GRAVE", '\u{300}'),
    ("ACUTE", '\u{301}'),
    ("CIRCUMFLEX", '\u{302}'),
    ("TILDE", '\u{303}'),
    ("MACRON", '\u{304}'),
    ("BREVE", '\u{306}'),
    ("DOT ABOVE", '\u{307}'),
    ("DIAERESIS", '\u{308}'),
    ("RING ABOVE", '\u{30a}'),
    ("DOUBLE ACUTE", '\u{30b}'),
    ("CARON", '\u{30c}'),
    ("CEDILLA", '\u{327}'),
    ("OGONEK", '\u{328}'),
];

const GREEK: [&str; 24] = [
    "ALPHA", "BETA", "GAMMA", "DELTA", "EPSILON", "ZETA", "ETA", "THETA", "IOTA", "KAPPA", "LAMDA", "MU", "NU", "XI",
    "OMICRON", "PI", "RHO", "SIGMA", "TAU", "UPSILON", "PHI", "CHI", "PSI", "OMEGA",
];

/// The character with a name, if this module knows it.
pub(super) fn character(name: &str) -> Option<char> {
    let name = name.to_uppercase();
    if let Some((_, c)) = NAMES.iter().find(|(known, _)| *known == name) {
        return Some(*c);
    }
    if let Some(digits) = name.strip_prefix("CJK UNIFIED IDEOGRAPH-") {
        return u32::from_str_radix(digits, 16).ok().and_then(char::from_u32);
    }
    let (capital, letter) = match name.split_once(" LETTER ")? {
        ("LATIN CAPITAL" | "GREEK CAPITAL", letter) => (true, letter),
        ("LATIN SMALL" | "GREEK SMALL", letter) => (false, letter),
        _ => return None,
    };
    let sized = |c: char| if capital { c } else { c.to_ascii_lowercase() };
    if name.starts_with("GREEK") {
        let at = GREEK.iter().position(|known| *known == letter)? as u32;
        let after_sigma = u32::from(at > 16); // skips the position of the final sigma
        return char::from_u32(if capital { 0x391 } else { 0x3b1 } + at + after_sigma);
    }
    let (base, accent) = letter.split_once(" WITH ").map_or((letter, None), |(base, accent)| (base, Some(accent)));
    let mut chars = base.chars();
    let (Some(base), None) = (chars.next(), chars.next()) else { return None };
    let Some(accent) = accent else { return Some(sized(base)) };
    let mark = ACCENTS.iter().find(|(known, _)| *known == accent)?.1;
    let composed: Vec<char> = unicode_normalization(sized(base), mark);
    match composed[..] {
        [one] => Some(one),
        _ => None,
    }
}

/// The composition of a letter and a combining mark, if there is one.
fn unicode_normalization(base: char, mark: char) -> Vec<char> {
    let mut text = tokenizers::NormalizedString::from(format!("{base}{mark}"));
    text.nfc();
    text.get().chars().collect()
}

#[cfg(test)]
mod tests {
    use super::character;

    #[test]
    fn letters_and_signs() {
        let cases = [
            ("BULLET", Some('•')),
            ("latin small letter e with acute", Some('é')),
            ("LATIN CAPITAL LETTER Q", Some('Q')),
            ("LATIN CAPITAL LETTER S WITH CARON", Some('Š')),
            ("GREEK SMALL LETTER OMEGA", Some('ω')),
            ("GREEK CAPITAL LETTER SIGMA", Some('Σ')),
            ("CJK UNIFIED IDEOGRAPH-4E00", Some('一')),
            ("NO SUCH NAME", None),
            ("LATIN SMALL LETTER Q WITH ACUTE", None),
        ];
        for (name, expected) in cases {
            assert_eq!(character(name), expected, "{name}");
        }
    }
}
