//! Writes the items of a pattern for `fancy-regex`, neighbouring letters together, so that foldings to several characters are found.

use super::fold;

/// An item of a branch.
pub(super) enum Item {
    /// Literal characters, case-insensitive with `fold`; with `whole`, a quantifier applies to all of them.
    Letters { letters: Vec<char>, fold: bool, whole: bool },
    /// An atom, which a quantifier may follow.
    Atom(String),
    /// An atom with a quantifier.
    Repeated(String),
    /// A zero-width assertion.
    Anchor(String),
}

pub(super) type Branch = Vec<Item>;

/// Writes branches of items.
#[derive(Default)]
pub(super) struct Writer {
    folds: Option<Vec<(char, String)>>,
}

impl Writer {
    /// Alternatives, with a bar between two of them.
    pub(super) fn join(&mut self, branches: Vec<Branch>) -> String {
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

    /// Literal characters; with `fold`, case-insensitive, including multi-character foldings.
    pub(super) fn letters(&mut self, letters: &[char], fold: bool) -> String {
        let mut out = String::new();
        if !fold {
            letters.iter().for_each(|&c| push_letter(&mut out, c));
            return out;
        }
        let folds = self.folds();
        let mut rest = letters;
        while let [first, more @ ..] = rest {
            // The longest multi-character folding that begins here takes precedence.
            let several = [3, 2].iter().find_map(|&count| {
                let text: String = rest.get(..count)?.iter().map(|&c| fold::single(c)).collect();
                let same: Vec<char> = folds.iter().filter(|(_, several)| *several == text).map(|(c, _)| *c).collect();
                (!same.is_empty()).then_some((count, text, same))
            });
            if let Some((count, text, same)) = several {
                out += "(?:";
                same.iter().for_each(|&c| out.extend([c, '|']));
                text.chars().for_each(|c| push_letter(&mut out, c));
                out.push(')');
                rest = &rest[count..];
                continue;
            }
            match fold::several(*first) {
                Some(several) => out += &format!("(?:{first}|{several})"),
                None => push_letter(&mut out, *first),
            }
            rest = more;
        }
        format!("(?i:{out})")
    }

    /// All foldings to several characters, made when they are first asked for.
    pub(super) fn folds(&mut self) -> &[(char, String)] {
        self.folds.get_or_insert_with(|| fold::all().collect())
    }
}

/// Appends a literal character, escaped if it has a special meaning in or outside a class.
pub(super) fn push_letter(out: &mut String, c: char) {
    match c {
        '\0'..='\u{1f}' | '\u{7f}' => *out += &format!("\\x{{{:x}}}", c as u32),
        c if r"\.+*?()|[]{}^$#&-~".contains(c) => out.extend(['\\', c]),
        c => out.push(c),
    }
}
