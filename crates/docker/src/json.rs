//! JSON as Go's `encoding/json` understands it, from bytes that may be hostile or cut off.
//!
//! Unlike a strict reader it keeps what came before the damage: a daemon takes bodies that nest
//! deeper, repeat keys or differ in case, and none of that may hide what they ask for. Limits:
//! values nested deeper than [`MAX_DEPTH`] are skipped, not read; [`MAX_VALUES`] values in all.

/// Deeper values become [`Json::Null`] (every field that matters is far less deep).
const MAX_DEPTH: u32 = 16;
/// Values beyond this end the reading.
const MAX_VALUES: u32 = 50_000;

/// A value. Objects keep order and repeated keys.
pub(crate) enum Json {
    /// `null`, and what was skipped.
    Null,
    /// `true`, `false`.
    Bool(bool),
    /// A number; its value where it is a whole one that fits.
    Number(Option<u64>),
    /// A string.
    String(String),
    /// An array.
    Array(Vec<Self>),
    /// An object.
    Object(Vec<(String, Self)>),
}

/// A value and whether it was read to its end.
pub(crate) struct Parsed {
    /// What was there.
    pub(crate) value: Json,
    /// Nothing was missing, malformed or over a limit.
    pub(crate) whole: bool,
}

impl Json {
    /// RFC 8259. Reads the first value and ignores what follows it.
    pub(crate) fn read(bytes: &[u8]) -> Parsed {
        let mut reader = Reader { bytes, at: 0, values: 0, broken: false };
        let value = reader.value(0).unwrap_or(Self::Null);
        Parsed { value, whole: !reader.broken }
    }

    /// All values of `key` in an object; keys are compared without case, as Go does.
    pub(crate) fn fields<'j>(&'j self, key: &'j str) -> impl Iterator<Item = &'j Self> {
        let pairs: &[(String, Self)] = if let Self::Object(pairs) = self { pairs } else { &[] };
        pairs.iter().filter(move |(name, _)| same_key(name, key)).map(|(_, value)| value)
    }

    /// Last value of `key` that is not `null`.
    pub(crate) fn field<'j>(&'j self, key: &'j str) -> Option<&'j Self> {
        self.fields(key).filter(|value| !matches!(value, Self::Null)).last()
    }

    /// A string that is not empty.
    pub(crate) fn text(&self) -> Option<&str> {
        match self {
            Self::String(text) if !text.is_empty() => Some(text),
            _ => None,
        }
    }

    /// A whole number.
    pub(crate) const fn number(&self) -> Option<u64> {
        if let Self::Number(value) = self { *value } else { None }
    }

    /// `true`?
    pub(crate) const fn is_true(&self) -> bool {
        matches!(self, Self::Bool(true))
    }

    /// Elements of an array.
    pub(crate) fn elements(&self) -> &[Self] {
        if let Self::Array(elements) = self { elements } else { &[] }
    }

    /// Pairs of an object.
    pub(crate) fn pairs(&self) -> &[(String, Self)] {
        if let Self::Object(pairs) = self { pairs } else { &[] }
    }

    /// The strings of an array; a lone string counts as an array of one (Docker's `strslice`).
    pub(crate) fn texts(&self) -> Vec<&str> {
        match self {
            Self::String(text) => vec![text.as_str()],
            _ => self.elements().iter().filter_map(Self::text).collect(),
        }
    }
}

/// Go folds case by Unicode: besides ASCII, only `ſ` and the Kelvin sign fold to Latin letters.
fn same_key(name: &str, key: &str) -> bool {
    let fold = |c: char| match c {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        _ => c.to_ascii_lowercase(),
    };
    name.chars().map(fold).eq(key.chars().map(fold))
}

struct Reader<'b> {
    bytes: &'b [u8],
    at: usize,
    values: u32,
    broken: bool,
}

impl Reader<'_> {
    /// One value; `None` and `broken` where there is none. Containers return what they have.
    fn value(&mut self, depth: u32) -> Option<Json> {
        self.values += 1;
        if self.values > MAX_VALUES {
            return self.fail();
        }
        match self.peek()? {
            b'{' if depth >= MAX_DEPTH => self.skipped(),
            b'[' if depth >= MAX_DEPTH => self.skipped(),
            b'{' => Some(self.object(depth)),
            b'[' => Some(self.array(depth)),
            b'"' => self.string().map(Json::String),
            b't' => self.word("true", Json::Bool(true)),
            b'f' => self.word("false", Json::Bool(false)),
            b'n' => self.word("null", Json::Null),
            b'-' | b'0'..=b'9' => self.number(),
            _ => self.fail(),
        }
    }

    fn object(&mut self, depth: u32) -> Json {
        let mut pairs = Vec::new();
        self.at += 1;
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Json::Object(pairs);
        }
        loop {
            if self.peek() != Some(b'"') {
                self.broken = true;
                break;
            }
            let Some(key) = self.string() else { break };
            if self.peek() != Some(b':') {
                self.broken = true;
                break;
            }
            self.at += 1;
            let Some(value) = self.value(depth + 1) else { break };
            pairs.push((key, value));
            if self.broken || !self.another(b'}') {
                break;
            }
        }
        Json::Object(pairs)
    }

    fn array(&mut self, depth: u32) -> Json {
        let mut elements = Vec::new();
        self.at += 1;
        if self.peek() == Some(b']') {
            self.at += 1;
            return Json::Array(elements);
        }
        while let Some(value) = self.value(depth + 1) {
            elements.push(value);
            if self.broken || !self.another(b']') {
                break;
            }
        }
        Json::Array(elements)
    }

    /// After an element: a comma (true), or the end (false).
    fn another(&mut self, end: u8) -> bool {
        match self.peek() {
            Some(b',') => {
                self.at += 1;
                true
            }
            Some(byte) if byte == end => {
                self.at += 1;
                false
            }
            _ => {
                self.broken = true;
                false
            }
        }
    }

    /// Steps over a container that is too deep, without reading it and without recursion.
    fn skipped(&mut self) -> Option<Json> {
        let mut open = 0_u64;
        while let Some(byte) = self.peek() {
            match byte {
                b'"' => {
                    self.string()?;
                    continue;
                }
                b'{' | b'[' => open += 1,
                b'}' | b']' => open = open.saturating_sub(1),
                _ => {}
            }
            self.at += 1;
            if open == 0 {
                return Some(Json::Null);
            }
        }
        self.fail()
    }

    fn string(&mut self) -> Option<String> {
        self.at += 1;
        let mut text = Vec::new();
        loop {
            let Some(byte) = self.next() else { return self.fail() };
            match byte {
                b'"' => return Some(String::from_utf8_lossy(&text).into_owned()),
                b'\\' => {
                    let Some(character) = self.escape() else { return self.fail() };
                    text.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                }
                _ => text.push(byte),
            }
        }
    }

    fn escape(&mut self) -> Option<char> {
        Some(match self.next()? {
            b'n' => '\n',
            b't' => '\t',
            b'r' => '\r',
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'u' => return self.unicode(),
            byte @ (b'"' | b'\\' | b'/') => char::from(byte),
            _ => return None,
        })
    }

    /// `\uXXXX`, with its low surrogate where it is a high one; a lone surrogate is U+FFFD.
    fn unicode(&mut self) -> Option<char> {
        let first = self.hex4()?;
        if !(0xd800..0xdc00).contains(&first) {
            return Some(char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER));
        }
        let start = self.at;
        if self.next() == Some(b'\\') && self.next() == Some(b'u') {
            let second = self.hex4()?;
            if (0xdc00..0xe000).contains(&second) {
                let scalar = 0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00);
                return Some(char::from_u32(scalar).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
        }
        self.at = start;
        Some(char::REPLACEMENT_CHARACTER)
    }

    fn hex4(&mut self) -> Option<u32> {
        let mut value = 0;
        for _ in 0..4 {
            value = value << 4 | char::from(self.next()?).to_digit(16)?;
        }
        Some(value)
    }

    fn number(&mut self) -> Option<Json> {
        let start = self.at;
        while let Some(b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9') = self.bytes.get(self.at) {
            self.at += 1;
        }
        let text = self.bytes.get(start..self.at).and_then(|text| std::str::from_utf8(text).ok());
        Some(Json::Number(text.and_then(|text| text.parse().ok())))
    }

    fn word(&mut self, word: &str, value: Json) -> Option<Json> {
        if !self.bytes.get(self.at..).is_some_and(|rest| rest.starts_with(word.as_bytes())) {
            return self.fail();
        }
        self.at += word.len();
        Some(value)
    }

    /// The next byte that is no blank.
    fn peek(&mut self) -> Option<u8> {
        while let Some(b' ' | b'\t' | b'\r' | b'\n') = self.bytes.get(self.at) {
            self.at += 1;
        }
        let byte = self.bytes.get(self.at).copied();
        self.broken |= byte.is_none();
        byte
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.bytes.get(self.at).copied()?;
        self.at += 1;
        Some(byte)
    }

    fn fail<T>(&mut self) -> Option<T> {
        self.broken = true;
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(text: &str) -> (Option<String>, bool) {
        let parsed = Json::read(text.as_bytes());
        (parsed.value.field("Image").and_then(Json::text).map(str::to_owned), parsed.whole)
    }

    #[test]
    fn keys_are_compared_as_go_does() {
        for key in ["Image", "image", "IMAGE"] {
            assert_eq!(image(&format!("{{\"{key}\":\"a\"}}")), (Some("a".into()), true));
        }
        let parsed = Json::read("{\"uſer\":\"root\",\"\u{212a}ey\":true}".as_bytes());
        assert_eq!(parsed.value.field("User").and_then(Json::text), Some("root"));
        assert!(parsed.value.field("key").is_some_and(Json::is_true));
    }

    #[test]
    fn last_of_repeated_keys_counts_and_null_does_not() {
        assert_eq!(image(r#"{"Image":"a","image":"b","Image":null}"#), (Some("b".into()), true));
    }

    #[test]
    fn deep_nesting_is_skipped_and_hides_nothing() {
        for depth in [10, 100, 5_000, 200_000] {
            let body =
                format!("{{\"x\":{}{},\"Image\":\"a\"}}", "[".repeat(depth), "]".repeat(depth));
            assert_eq!(image(&body), (Some("a".into()), true), "{depth}");
        }
        assert_eq!(
            image(&format!("{{\"Image\":\"a\",\"x\":{}", "[".repeat(90_000))).0.as_deref(),
            Some("a")
        );
    }

    #[test]
    fn every_cut_gives_a_prefix_and_says_so() {
        let body = r#"{"Image":"alpine","Cmd":["a\u00e9","\ud83d\ude00"],"n":-1.5e3,"t":true}"#;
        assert!(Json::read(body.as_bytes()).whole);
        for cut in 0..body.len() {
            let parsed = Json::read(&body.as_bytes()[..cut]);
            assert!(!parsed.whole, "{cut}");
            if let Some(text) = parsed.value.field("Image") {
                assert_eq!(text.text(), Some("alpine"), "never half a string");
            }
        }
    }

    #[test]
    fn escapes() {
        let parsed = Json::read(br#"["\u0041\n\"\\","\ud83d\ude00","\ud83dx","\ud83d\u0041"]"#);
        assert_eq!(parsed.value.texts(), ["A\n\"\\", "😀", "\u{fffd}x", "\u{fffd}A"]);
        assert!(!Json::read(br#""\q""#).whole);
    }

    #[test]
    fn malformed_is_told() {
        for text in ["", "{", "{]", "{\"a\"}", "[1 2]", "tru", "{\"a\":1,}", "\"", "{a:1}", "\u{1}"]
        {
            assert!(!Json::read(text.as_bytes()).whole, "{text:?}");
        }
    }

    #[test]
    fn number_of_values_is_bounded() {
        let body = format!("[{}1]", "1,".repeat(100_000));
        let parsed = Json::read(body.as_bytes());
        assert!(!parsed.whole);
        assert!(parsed.value.elements().len() <= 50_000);
    }

    #[test]
    fn random_bytes_never_panic() {
        let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
        let alphabet = br#"{}[]",:\u0d8tfn1-. "#;
        for _ in 0..20_000 {
            let mut bytes = Vec::new();
            for _ in 0..seed % 40 {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                bytes.push(alphabet[usize::try_from(seed >> 33).unwrap() % alphabet.len()]);
            }
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let _ = Json::read(&bytes);
        }
    }
}
