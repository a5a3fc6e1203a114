//! Query strings and url-encoded forms, as Go's `net/url` reads them.
//!
//! Takes text, gives pairs in order. Never fails: a pair that Go would refuse is kept as written, so
//! that a detector sees it. Limits: [`MAX_PAIRS`] pairs, [`MAX_VALUE`] bytes of each value.

use std::borrow::Cow;

/// Pairs beyond this are dropped.
const MAX_PAIRS: usize = 256;
/// Longer values are cut.
const MAX_VALUE: usize = 64 * 1024;

/// Key and value pairs in the order of the text.
#[derive(Clone, Default)]
pub(crate) struct Query {
    pairs: Vec<(String, String)>,
    /// Key of a last pair whose value was cut off.
    cut_key: Option<String>,
    cut: bool,
}

impl Query {
    /// WHATWG URL, application/x-www-form-urlencoded. Pairs are split at `&` only and at the first
    /// `=`, so that a URL that curl sent unescaped as a value stays whole up to its own `&`.
    pub(crate) fn read(text: &str) -> Self {
        let pairs = text.split('&').filter(|pair| !pair.is_empty()).take(MAX_PAIRS).map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (form_decoded(key), bounded(&form_decoded(value), MAX_VALUE))
        });
        Self { pairs: pairs.collect(), ..Self::default() }
    }

    /// The beginning of a query: of its last pair only the key counts, and only where it is whole.
    pub(crate) fn read_begun(text: &str) -> Self {
        let (whole, last) = text.rsplit_once('&').unwrap_or(("", text));
        let cut_key = last.split_once('=').filter(|(_, value)| !value.is_empty());
        let cut_key = cut_key.map(|(key, _)| form_decoded(key));
        Self { cut_key, cut: true, ..Self::read(whole) }
    }

    /// Was it cut off?
    pub(crate) const fn is_cut(&self) -> bool {
        self.cut
    }

    /// Has `key` a value, be it one that was cut off?
    pub(crate) fn says(&self, key: &str) -> bool {
        self.cut_key.as_deref() == Some(key) || self.first(key).is_some()
    }

    /// First value of `key`, if it is not empty: what Go's `FormValue` gives.
    pub(crate) fn first(&self, key: &str) -> Option<&str> {
        let (_, value) = self.pairs.iter().find(|(name, _)| name == key)?;
        Some(value.as_str()).filter(|value| !value.is_empty())
    }

    /// All values of `key` that are not empty.
    pub(crate) fn all<'q>(&'q self, key: &'q str) -> impl Iterator<Item = &'q str> {
        self.pairs
            .iter()
            .filter(move |(name, value)| name == key && !value.is_empty())
            .map(|(_, value)| value.as_str())
    }

    /// Does any of `keys` stand in it?
    pub(crate) fn has_any(&self, keys: &[&str]) -> bool {
        self.pairs.iter().any(|(name, _)| keys.contains(&name.as_str()))
    }

    /// Adds the pairs of `other` whose keys are not in it yet.
    pub(crate) fn fill_from(&mut self, other: Self) {
        let known = self.pairs.len();
        for (key, value) in other.pairs {
            let taken = self.pairs.iter().take(known).any(|(name, _)| *name == key);
            if !taken && self.pairs.len() < MAX_PAIRS {
                self.pairs.push((key, value));
            }
        }
    }
}

/// `+` is a blank, `%XX` a byte; text with a broken `%` stays as it is.
pub(crate) fn form_decoded(text: &str) -> String {
    let spaced = if text.contains('+') { Cow::Owned(text.replace('+', " ")) } else { text.into() };
    percent_decoded(&spaced).unwrap_or_else(|| spaced.into_owned())
}

/// RFC 3986 §2.1. `None` where a `%` is not followed by two hex digits; bytes that are no UTF-8
/// become U+FFFD.
pub(crate) fn percent_decoded(text: &str) -> Option<String> {
    if !text.contains('%') {
        return Some(text.to_owned());
    }
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let (high, low) = (hex_digit(bytes.next()?)?, hex_digit(bytes.next()?)?);
        decoded.push(high << 4 | low);
    }
    Some(String::from_utf8_lossy(&decoded).into_owned())
}

fn hex_digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

/// `text`, cut at the last character boundary within `limit_bytes`.
pub(crate) fn bounded(text: &str, limit_bytes: usize) -> String {
    if text.len() <= limit_bytes {
        return text.to_owned();
    }
    let cut = (0..=limit_bytes).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    text.get(..cut).unwrap_or("").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unescaped_url_value_stays_whole() {
        let query = Query::read("fromSrc=http://203.0.113.9/a?v=1&repo=x&tag=");
        assert_eq!(query.first("fromSrc"), Some("http://203.0.113.9/a?v=1"));
        assert_eq!(query.first("repo"), Some("x"));
        assert_eq!(query.first("tag"), None);
    }

    #[test]
    fn plus_percent_and_repetition() {
        let query = Query::read("t=a%3A1&t=b+c&t=&%74=d&bad=%zz");
        assert_eq!(query.all("t").collect::<Vec<_>>(), ["a:1", "b c", "d"]);
        assert_eq!(query.first("bad"), Some("%zz"));
    }

    #[test]
    fn form_never_overrides_the_query() {
        let mut query = Query::read("t=query");
        query.fill_from(Query::read("t=form&remote=http://h/D"));
        assert_eq!(query.all("t").collect::<Vec<_>>(), ["query"]);
        assert_eq!(query.first("remote"), Some("http://h/D"));
    }

    #[test]
    fn a_query_that_was_cut_tells_no_half_value() {
        let text = "fromImage=alpine&tag=3.18&repo=x";
        for at in 0..=text.len() {
            let query = Query::read_begun(&text[..at]);
            let image = query.first("fromImage");
            assert_eq!(image, (at > "fromImage=alpine".len()).then_some("alpine"), "{at}");
            assert_eq!(query.says("fromImage"), at > "fromImage=".len(), "{at}");
            assert_eq!(query.first("repo"), None);
        }
    }

    #[test]
    fn size_is_bounded() {
        let many = "a=1&".repeat(10_000);
        assert_eq!(Query::read(&many).all("a").count(), MAX_PAIRS);
        let long = format!("a={}", "é".repeat(MAX_VALUE));
        assert_eq!(Query::read(&long).first("a").map(str::len), Some(MAX_VALUE));
    }

    #[test]
    fn bounded_cuts_between_characters() {
        assert_eq!(bounded("aé", 2), "a");
        assert_eq!(bounded("aé", 3), "aé");
    }
}
