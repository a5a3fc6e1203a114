//! The words of one instruction.

/// Pairs of one instruction that are looked at.
const MAX_PAIRS: usize = 1000;

/// `--flag`s at the start, and what follows them.
pub(super) fn leading_flags(body: &str) -> (Vec<&str>, &str) {
    let mut flags = Vec::new();
    let mut rest = body.trim_start();
    while rest.starts_with("--") {
        let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
        let (flag, tail) = rest.split_at_checked(end).unwrap_or((rest, ""));
        flags.push(flag);
        rest = tail.trim_start();
    }
    (flags, rest)
}

/// The exec form, a JSON array of strings.
pub(super) fn json_words(text: &str) -> Option<Vec<String>> {
    let text = text.trim();
    if !text.starts_with('[') {
        return None;
    }
    serde_json::from_str(text).ok()
}

/// `NAME=value NAME="value"` and `NAME`, quotes and escapes removed.
pub(super) fn pairs(body: &str, escape: char) -> Vec<(String, Option<String>)> {
    let mut pairs = Vec::new();
    let mut word = String::new();
    let mut quote = None;
    let mut chars = body.chars();
    loop {
        let c = chars.next();
        match (quote, c) {
            (None, None) | (Some(_), None) => {
                push_pair(&mut pairs, &word);
                return pairs;
            }
            (None, Some(c)) if c.is_whitespace() => {
                push_pair(&mut pairs, &word);
                word.clear();
            }
            (None, Some(c @ ('"' | '\''))) => quote = Some(c),
            (Some(open), Some(c)) if c == open => quote = None,
            (open, Some(c)) if c == escape && open != Some('\'') => match chars.next() {
                // The dollar is still to be looked at by the substitution.
                Some('$') => word.extend([escape, '$']),
                next => word.extend(next),
            },
            (_, Some(c)) => word.push(c),
        }
    }
}

fn push_pair(pairs: &mut Vec<(String, Option<String>)>, word: &str) {
    if word.is_empty() || pairs.len() >= MAX_PAIRS {
        return;
    }
    match word.split_once('=') {
        Some((name, value)) => pairs.push((name.to_owned(), Some(value.to_owned()))),
        None => pairs.push((word.to_owned(), None)),
    }
}
