//! Words of the report in each language, and texts that keep apart what is ours and what is data.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::sync::LazyLock;

use clap::ValueEnum;
use tw_evidence::visible;
use tw_model::Timestamp;

static ENGLISH: LazyLock<Catalog> =
    LazyLock::new(|| Catalog::read(include_str!("../../../data/report.en.toml")));
static JAPANESE: LazyLock<Catalog> =
    LazyLock::new(|| Catalog::read(include_str!("../../../data/report.ja.toml")));

/// Characters of one value; the JSON output has all.
const MAX_VALUE: usize = 2_000;

/// Language of a report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Lang {
    /// English
    #[default]
    En,
    /// Japanese
    Ja,
}

#[derive(Debug, Default)]
struct Catalog(BTreeMap<String, String>);

impl Catalog {
    fn read(text: &str) -> Self {
        Self(toml::from_str(text).unwrap_or_default())
    }
}

/// What is filled in for a name in braces.
#[derive(Clone, Debug)]
pub(crate) enum Arg {
    /// Data, set apart from the words around it.
    Data(String),
    Number(u64),
    Text(Text),
}

impl From<u64> for Arg {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

impl From<usize> for Arg {
    fn from(number: usize) -> Self {
        Self::Number(u64::try_from(number).unwrap_or(u64::MAX))
    }
}

impl From<Text> for Arg {
    fn from(text: Text) -> Self {
        Self::Text(text)
    }
}

impl From<String> for Arg {
    fn from(data: String) -> Self {
        Self::Data(data)
    }
}

impl From<&str> for Arg {
    fn from(data: &str) -> Self {
        Self::Data(data.to_owned())
    }
}

impl From<std::net::IpAddr> for Arg {
    fn from(ip: std::net::IpAddr) -> Self {
        Self::Data(ip.to_string())
    }
}

impl Lang {
    /// Tag for `lang=` (BCP 47).
    pub(crate) const fn tag(self) -> &'static str {
        match self {
            Self::En => "en",
            Self::Ja => "ja",
        }
    }

    fn pattern(self, key: &'static str) -> &'static str {
        let catalog: &'static Catalog = match self {
            Self::En => &ENGLISH,
            Self::Ja => &JAPANESE,
        };
        catalog.0.get(key).map_or(key, String::as_str)
    }

    /// The words of `key`, filled in. `{n|one|many}` is a number with its noun.
    pub(crate) fn say(self, key: &'static str, args: &[(&str, Arg)]) -> Text {
        let mut text = Text::default();
        let mut rest = self.pattern(key);
        while let Some((before, after)) = rest.split_once('{') {
            text.plain(before);
            let (inside, after) = after.split_once('}').unwrap_or((after, ""));
            rest = after;
            let (name, nouns) = inside.split_once('|').unwrap_or((inside, ""));
            match args.iter().find(|(known, _)| *known == name).map(|(_, arg)| arg) {
                Some(Arg::Data(data)) => text.data(data),
                Some(Arg::Text(inner)) => text.0.extend(inner.0.iter().cloned()),
                Some(Arg::Number(number)) => {
                    text.plain(&super::super::text::thousands(*number));
                    if let Some((one, many)) = nouns.split_once('|') {
                        text.plain(" ");
                        text.plain(if *number == 1 { one } else { many });
                    }
                }
                None => text.plain(name),
            }
        }
        text.plain(rest);
        text
    }

    /// The words of `key` as they are.
    pub(crate) fn word(self, key: &'static str) -> Text {
        self.say(key, &[])
    }

    /// The word for a value of a closed set, by the name that the output contract gives it.
    pub(crate) fn of(self, group: &str, name: &str) -> Text {
        let wanted = format!("{group}.{name}");
        let key = ENGLISH.0.get_key_value(&wanted).map(|(key, _)| key.as_str());
        key.map_or_else(|| Text::of_data(name), |key| self.word(key))
    }

    /// `24 November 2026, 14:44:25`, `2026年11月24日 14:44:25`.
    pub(crate) fn moment(self, at: Timestamp) -> Text {
        let iso = at.to_string();
        let part = |from: usize, to: usize| iso.get(from..to).unwrap_or("").to_owned();
        let (year, month, day, clock) = (part(0, 4), part(5, 7), part(8, 10), part(11, 19));
        let (month, day) = (month.parse::<usize>().unwrap_or(1), day.parse::<u8>().unwrap_or(1));
        let text = match self {
            Self::En => {
                let name = MONTHS.get(month.saturating_sub(1)).copied().unwrap_or("");
                format!("{day} {name} {year}, {clock} UTC")
            }
            Self::Ja => format!("{year}年{month}月{day}日 {clock} UTC"),
        };
        Text::of_plain(&text)
    }

    /// Data as a list, at most `most` of it.
    pub(crate) fn list<S: AsRef<str>>(
        self,
        items: impl IntoIterator<Item = S>,
        most: usize,
    ) -> Text {
        let mut text = Text::default();
        let mut left = 0_u64;
        for (index, item) in items.into_iter().enumerate() {
            if index >= most {
                left += 1;
                continue;
            }
            if index > 0 {
                text.plain(self.pattern("list.and"));
            }
            text.data(item.as_ref());
        }
        if left > 0 {
            text.plain(" ");
            text.0.extend(self.say("more", &[("count", left.into())]).0);
        }
        if text.0.is_empty() { self.word("none") } else { text }
    }
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Plain(String),
    Data(String),
}

/// A text of words and data. Nothing in it steers a terminal or turns the direction of writing;
/// printed, it is HTML.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Text(Vec<Piece>);

impl Text {
    pub(crate) fn of_plain(words: &str) -> Self {
        let mut text = Self::default();
        text.plain(words);
        text
    }

    pub(crate) fn of_data(data: &str) -> Self {
        let mut text = Self::default();
        text.data(data);
        text
    }

    fn plain(&mut self, words: &str) {
        if !words.is_empty() {
            self.0.push(Piece::Plain(visible(words)));
        }
    }

    fn data(&mut self, data: &str) {
        let mut shown = visible(&data.replace('\t', " "));
        if let Some((end, _)) = shown.char_indices().nth(MAX_VALUE) {
            shown.truncate(end);
            shown.push('…');
        }
        self.0.push(Piece::Data(shown));
    }

    pub(crate) fn push(&mut self, other: &Self) {
        self.0.extend(other.0.iter().cloned());
    }

    /// For a drawing or a title: no markup at all, but escaped for HTML.
    pub(crate) fn flat(&self) -> Flat {
        let mut text = String::new();
        for piece in &self.0 {
            let (Piece::Plain(part) | Piece::Data(part)) = piece;
            text.push_str(part);
        }
        Flat(text)
    }

    /// As Markdown: words with what has a meaning there escaped, data as code.
    pub(crate) fn markdown(&self) -> String {
        let mut out = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Plain(words) => {
                    for c in words.chars() {
                        if MARKDOWN.contains(c) {
                            out.push('\\');
                        }
                        out.push(c);
                    }
                }
                Piece::Data(data) => out.push_str(&code_span(data)),
            }
        }
        out
    }
}

/// What Markdown gives a meaning to inside a line.
const MARKDOWN: &str = "\\`*_[]<>|#~&!$";

/// CommonMark 0.31 §6.1: the fence is longer than any run inside. A bar would end a table's cell, also in
/// code (GFM §4.10), and so would be shown in another shape.
fn code_span(data: &str) -> String {
    let data = data.replace('|', "\\|");
    let longest = data.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest + 1);
    let pad =
        if data.starts_with('`') || data.ends_with('`') || data.is_empty() { " " } else { "" };
    format!("{fence}{pad}{data}{pad}{fence}")
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for piece in &self.0 {
            match piece {
                Piece::Plain(words) => escape(f, words)?,
                Piece::Data(data) => {
                    f.write_str("<code>")?;
                    escape(f, data)?;
                    f.write_str("</code>")?;
                }
            }
        }
        Ok(())
    }
}

impl askama::filters::HtmlSafe for Text {}

/// A text without markup; printed, it is HTML.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Flat(pub(crate) String);

impl fmt::Display for Flat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        escape(f, &self.0)
    }
}

impl askama::filters::HtmlSafe for Flat {}

fn escape(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    for c in text.chars() {
        match c {
            '<' => f.write_str("&lt;")?,
            '>' => f.write_str("&gt;")?,
            '&' => f.write_str("&amp;")?,
            '"' => f.write_str("&quot;")?,
            '\'' => f.write_str("&#39;")?,
            c => f.write_char(c)?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(pattern: &str) -> Vec<&str> {
        let inside = pattern.split('{').skip(1).filter_map(|part| part.split('}').next());
        let mut names: Vec<&str> = inside.filter_map(|part| part.split('|').next()).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn both_languages_have_every_key_with_the_same_names() {
        assert!(ENGLISH.0.len() > 150);
        let keys = |catalog: &Catalog| catalog.0.keys().cloned().collect::<Vec<_>>();
        assert_eq!(keys(&ENGLISH), keys(&JAPANESE));
        for (key, english) in &ENGLISH.0 {
            assert_eq!(names(english), names(&JAPANESE.0[key]), "{key}");
            assert!(!english.is_empty() && !JAPANESE.0[key].is_empty(), "{key}");
        }
    }

    #[test]
    fn every_key_that_is_asked_for_is_there() {
        let sources = [
            include_str!("mod.rs"),
            include_str!("incident.rs"),
            include_str!("exposure.rs"),
            include_str!("drawing.rs"),
            include_str!("happening.rs"),
            include_str!("tables.rs"),
        ];
        let all = sources.join("\n");
        let mut asked = 0;
        for call in ["say(\"", "word(\"", "fact(\"", "section(\"", "heads(&[\""] {
            for after in all.split(call).skip(1) {
                let key = after.split('"').next().expect("a part");
                let known = ENGLISH.0.contains_key(key)
                    || ["fact", "section", "head"]
                        .iter()
                        .any(|group| ENGLISH.0.contains_key(&format!("{group}.{key}")));
                assert!(known, "{key}");
                asked += 1;
            }
        }
        assert!(asked > 50);
    }

    #[test]
    fn numbers_have_their_nouns_and_data_is_set_apart_and_harmless() {
        let said = Lang::En
            .say("fact.frames.value", &[("frames", 1_u64.into()), ("bytes", 27_291_u64.into())]);
        assert_eq!(said.to_string(), "1 frame, 27,291 bytes");
        let said = Lang::En
            .say("time.start", &[("client", "<b>\u{202e}".into()), ("container", "a|`b".into())]);
        assert_eq!(said.to_string(), "<code>&lt;b&gt;\\u{202e}</code> started <code>a|`b</code>");
        assert_eq!(said.markdown(), "`<b>\\u{202e}` started ``a\\|`b``");
    }

    #[test]
    fn dates_are_those_of_the_language() {
        let at = Timestamp::from_secs_nanos(1_795_558_894, 0);
        assert_eq!(Lang::En.moment(at).to_string(), "24 November 2026, 22:21:34 UTC");
        assert_eq!(Lang::Ja.moment(at).to_string(), "2026年11月24日 22:21:34 UTC");
    }
}
