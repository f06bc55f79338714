//! Letters that become several when their case is folded: ß and ss, the ligature ﬁ and fi.

/// The case folding of `c` where it has several characters (Unicode's CaseFolding, status F).
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

/// One character's folding where that is one, too.
pub(super) fn single(c: char) -> char {
    let mut upper = c.to_uppercase();
    match (upper.next(), upper.next()) {
        // A dotless i has no partner without a locale.
        (Some(up), None) if c != 'ı' => up.to_lowercase().next().unwrap_or(c),
        _ => c,
    }
}

/// Every character that folds to several, with them.
pub(super) fn all() -> impl Iterator<Item = (char, String)> {
    ('\u{df}'..='\u{1ff}')
        .chain('\u{390}'..='\u{587}')
        .chain('\u{1e96}'..='\u{1ffc}')
        .chain('\u{fb00}'..='\u{fb17}')
        .filter_map(|c| Some((c, several(c)?)))
}
