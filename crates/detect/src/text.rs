//! Words for people, and ids: what came from the wire goes into a sentence only through [`printable`].

use std::fmt::Write as _;

use sha2::{Digest, Sha256};
use tw_model::{Timestamp, is_hidden};

/// Wire data for a sentence: control, bidirectional and invisible characters become U+FFFD, and
/// what is longer than `max_chars` ends in an ellipsis.
pub(crate) fn printable(text: &str, max_chars: usize) -> String {
    let mut out = String::new();
    for (i, c) in text.chars().enumerate() {
        if i == max_chars {
            out.push('…');
            break;
        }
        out.push(if is_hidden(c) { '\u{fffd}' } else { c });
    }
    out
}

/// At most `max_chars` characters of it, unmarked: for what is kept, not shown.
pub(crate) fn shortened(text: &str, max_chars: usize) -> String {
    text.chars().take(max_chars).collect()
}

/// `prefix` and 16 hex digits of the SHA-256 of the parts, each with its length before it.
pub(crate) fn stable_id(prefix: &str, parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(part.as_bytes());
    }
    let mut id = String::from(prefix);
    for byte in hash.finalize().iter().take(8) {
        let _ = write!(id, "{byte:02x}");
    }
    id
}

/// `2026-11-24 14:44:25 UTC`.
pub(crate) fn moment(at: Timestamp) -> String {
    let text = at.to_string();
    let (day, time) = text.split_once('T').unwrap_or((&text, ""));
    format!("{day} {} UTC", time.get(..8).unwrap_or(time))
}

/// `1 byte`, `1,234,567 bytes`.
pub(crate) fn bytes(count: u64) -> String {
    let digits = count.to_string();
    let mut out = String::new();
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len().saturating_sub(i)) % 3 == 0 {
            out.push(',');
        }
        out.push(c);
    }
    out.push_str(if count == 1 { " byte" } else { " bytes" });
    out
}

/// `a`, `a and b`, `a, b and 3 more`.
pub(crate) fn list<S: AsRef<str>>(items: &[S], shown: usize) -> String {
    let mut parts: Vec<String> =
        items.iter().take(shown).map(|item| printable(item.as_ref(), 120)).collect();
    let rest = items.len().saturating_sub(parts.len());
    if rest > 0 {
        parts.push(format!("{rest} more"));
    }
    match parts.split_last() {
        None => String::new(),
        Some((last, [])) => last.clone(),
        Some((last, before)) => format!("{} and {last}", before.join(", ")),
    }
}

/// With its first letter as one that begins a sentence.
pub(crate) fn capitalised(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |c| c.to_uppercase().chain(chars).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wire_data_cannot_move_the_cursor_or_turn_the_line() {
        assert_eq!(printable("a\u{1b}[2Jb\u{202e}c\nd", 99), "a\u{fffd}[2Jb\u{fffd}c\u{fffd}d");
        assert_eq!(printable("abcdef", 3), "abc…");
        assert_eq!(printable("abc", 3), "abc");
    }

    #[test]
    fn ids_depend_on_where_one_part_ends() {
        assert_eq!(stable_id("f-", &["a", "b"]), stable_id("f-", &["a", "b"]));
        assert_ne!(stable_id("f-", &["ab", ""]), stable_id("f-", &["a", "b"]));
        assert_eq!(stable_id("f-", &["a"]).len(), 18);
    }

    #[test]
    fn counts_and_lists_read_well() {
        assert_eq!(bytes(1), "1 byte");
        assert_eq!(bytes(1_234_567), "1,234,567 bytes");
        assert_eq!(list(&["a", "b", "c"], 2), "a, b and 1 more");
        assert_eq!(list(&["a", "b"], 5), "a and b");
        assert_eq!(list::<&str>(&[], 5), "");
    }
}
