//! Variable substitution as a Dockerfile and, closely enough, a shell does it.
//!
//! What has no value stays as it is written, so that nothing is completed by guess.

/// How deep `${A:-${B:-…}}` nests.
const MAX_DEPTH: u8 = 8;

/// Replaces `$NAME`, `${NAME}`, `${NAME:-d}`, `${NAME-d}`, `${NAME:+d}` and `${NAME+d}`.
///
/// Dockerfile reference, "Environment replacement"; `${NAME-d}` and `${NAME+d}` as in POSIX.1-2017
/// XCU 2.6.2. `escape` before `$` keeps the dollar; quotes are not looked at, because a download in
/// single quotes that a later shell expands is still a download. The result is cut at `limit` bytes:
/// variables that double themselves would otherwise grow without end.
pub(crate) fn expand(
    text: &str,
    escape: char,
    limit: usize,
    lookup: &dyn Fn(&str) -> Option<String>,
) -> String {
    let mut output = Output { text: String::new(), limit };
    expand_into(&mut output, text, escape, lookup, MAX_DEPTH);
    output.text
}

struct Output {
    text: String,
    limit: usize,
}

impl Output {
    fn push(&mut self, text: &str) {
        let room = self.limit.saturating_sub(self.text.len());
        self.text.push_str(text.get(..text.floor_char_boundary(room)).unwrap_or(text));
    }
}

fn expand_into(
    out: &mut Output,
    text: &str,
    escape: char,
    lookup: &dyn Fn(&str) -> Option<String>,
    depth: u8,
) {
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        if out.text.len() >= out.limit {
            return;
        }
        let (before, from_dollar) = rest.split_at_checked(at).unwrap_or((rest, ""));
        let reference = match before.strip_suffix(escape) {
            Some(kept) if !kept.ends_with(escape) => {
                out.push(kept);
                out.push("$");
                rest = from_dollar.get(1..).unwrap_or("");
                continue;
            }
            _ => Reference::read(from_dollar),
        };
        out.push(before);
        let Some(reference) = reference else {
            out.push("$");
            rest = from_dollar.get(1..).unwrap_or("");
            continue;
        };
        let value = lookup(reference.name);
        match reference.choose(value) {
            Choice::Text(value) => out.push(&value),
            Choice::Word(word) if depth > 0 => expand_into(out, word, escape, lookup, depth - 1),
            Choice::Word(_) | Choice::Unknown => {
                out.push(from_dollar.get(..reference.length).unwrap_or(""));
            }
        }
        rest = from_dollar.get(reference.length..).unwrap_or("");
    }
    out.push(rest);
}

/// One `$…` of the text.
struct Reference<'a> {
    name: &'a str,
    modifier: Modifier<'a>,
    length: usize,
}

#[derive(Clone, Copy)]
enum Modifier<'a> {
    None,
    Default { word: &'a str, empty_counts: bool },
    Alternative { word: &'a str, empty_counts: bool },
    Other,
}

enum Choice<'a> {
    Text(String),
    Word(&'a str),
    Unknown,
}

impl<'a> Reference<'a> {
    /// `text` begins with `$`. `None` where no name follows.
    fn read(text: &'a str) -> Option<Self> {
        let after = text.get(1..)?;
        let Some(inner) = after.strip_prefix('{') else {
            let length = name_len(after);
            let name = after.get(..length).filter(|name| !name.is_empty())?;
            return Some(Self { name, modifier: Modifier::None, length: length + 1 });
        };
        let close = closing_brace(inner)?;
        let inner = inner.get(..close)?;
        let (name, tail) = inner.split_at_checked(name_len(inner))?;
        if name.is_empty() {
            return None;
        }
        let modifier = if tail.is_empty() { Modifier::None } else { Modifier::read(tail) };
        Some(Self { name, modifier, length: close + 3 })
    }

    fn choose(&self, value: Option<String>) -> Choice<'a> {
        let given = |empty_counts: bool| {
            value.as_ref().is_some_and(|value| empty_counts || !value.is_empty())
        };
        match self.modifier {
            Modifier::None => value.map_or(Choice::Unknown, Choice::Text),
            Modifier::Default { word, empty_counts } if !given(empty_counts) => Choice::Word(word),
            Modifier::Default { .. } => value.map_or(Choice::Unknown, Choice::Text),
            Modifier::Alternative { word, empty_counts } if given(empty_counts) => {
                Choice::Word(word)
            }
            Modifier::Alternative { .. } => Choice::Text(String::new()),
            Modifier::Other => Choice::Unknown,
        }
    }
}

impl<'a> Modifier<'a> {
    fn read(tail: &'a str) -> Self {
        let (colon, rest) = tail.strip_prefix(':').map_or((false, tail), |rest| (true, rest));
        let empty_counts = !colon;
        match (rest.strip_prefix('-'), rest.strip_prefix('+')) {
            (Some(word), _) => Self::Default { word, empty_counts },
            (_, Some(word)) => Self::Alternative { word, empty_counts },
            _ => Self::Other,
        }
    }
}

/// Length of the name at the start, at most 256: letters, digits and underscores.
fn name_len(text: &str) -> usize {
    text.bytes().take(256).take_while(|b| b.is_ascii_alphanumeric() || *b == b'_').count()
}

/// Position of the brace that closes one already opened; looked for in the next 4 KiB.
fn closing_brace(text: &str) -> Option<usize> {
    let mut open = 1_u32;
    for (at, byte) in text.bytes().enumerate().take(4096) {
        match byte {
            b'{' => open += 1,
            b'}' => open -= 1,
            _ => {}
        }
        if open == 0 {
            return Some(at);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::expand;

    fn with_values(text: &str) -> String {
        expand(text, '\\', 1 << 20, &|name| match name {
            "H" => Some("203.0.113.9".to_owned()),
            "E" => Some(String::new()),
            _ => None,
        })
    }

    #[test]
    fn every_form_of_the_reference_is_replaced() {
        for (text, expected) in [
            ("$H/x", "203.0.113.9/x"),
            ("http://${H}:80/", "http://203.0.113.9:80/"),
            ("${X:-d}", "d"),
            ("${E:-d}", "d"),
            ("${E-d}", ""),
            ("${X-d}", "d"),
            ("${H:-d}", "203.0.113.9"),
            ("${H:+d}", "d"),
            ("${E:+d}", ""),
            ("${E+d}", "d"),
            ("${X+d}", ""),
            ("${X:-${H}}", "203.0.113.9"),
            ("\\$H", "$H"),
            ("\\\\$H", "\\\\203.0.113.9"),
        ] {
            assert_eq!(with_values(text), expected, "{text}");
        }
    }

    #[test]
    fn what_has_no_value_stays() {
        for text in ["$X", "${X}", "${H#a}", "$", "${", "${}", "$(id)", "${X:-", "é$é", "$$"] {
            assert_eq!(with_values(text), text);
        }
    }

    #[test]
    fn output_is_bounded() {
        let big = "x".repeat(1 << 16);
        let out = expand(&"$A".repeat(1000), '\\', 100_000, &|_| Some(big.clone()));
        assert_eq!(out.len(), 100_000);
        let deep = "${A:-".repeat(5000);
        assert_eq!(expand(&deep, '\\', 1 << 20, &|_| None), deep);
    }
}
