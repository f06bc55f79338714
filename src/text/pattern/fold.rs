//! Case foldings to several characters: ß to ss, the ligature ﬁ to fi.

/// The case folding of `c` if it has several characters (Unicode's CaseFolding, status F).
pub(super) fn several(c: char) -> Option<String> {
    if c == 'ẞ' {
        return Some("ss".into());
    }
    let upper = c.to_uppercase();
    let folded: String = match c.to_lowercase() {
        lower if lower.len() > 1 => lower.collect(),
        _ if upper.len() > 1 => upper.flat_map(char::to_lowercase).collect(),
        _ => return None,
    };
    Some(folded)
}

/// The simple case folding of a character.
pub(super) fn single(c: char) -> char {
    let mut upper = c.to_uppercase();
    match (upper.next(), upper.next()) {
        // A dotless i has no counterpart without a locale.
        (Some(up), None) if c != 'ı' => up.to_lowercase().next().unwrap_or(c),
        _ => c,
    }
}

/// All characters that fold to several, with their foldings.
pub(super) fn all() -> impl Iterator<Item = (char, String)> {
    ('\u{df}'..='\u{1ff}')
        .chain('\u{390}'..='\u{587}')
        .chain('\u{1e96}'..='\u{1ffc}')
        .chain('\u{fb00}'..='\u{fb17}')
        .filter_map(|c| Some((c, several(c)?)))
}
