//! What `$(echo …)` and `` `echo …` `` stand for, where it can be told from the text alone: words, under base64 or
//! reversed. Nothing is run.

use base64::Engine;

use super::decode::BASE64;
use super::shell;

/// Substitutions in one text, bytes of one, and depth of one in another.
const MAX_SUBSTITUTIONS: usize = 1000;
const MAX_INNER_BYTES: usize = 4096;
const MAX_DEPTH: u8 = 3;

/// The text with what can be told put in; `None` where there is nothing of the kind.
pub(super) fn substituted(text: &str) -> Option<String> {
    let mut left = MAX_SUBSTITUTIONS;
    replaced(text, MAX_DEPTH, &mut left)
}

fn replaced(text: &str, depth: u8, left: &mut usize) -> Option<String> {
    let mut out: Option<String> = None;
    let mut copied = 0;
    let mut at = 0;
    while let Some(begin) = next(text, at).filter(|_| *left > 0) {
        *left -= 1;
        let Some((inner, end)) = inner(text, begin) else {
            at = begin + 1;
            continue;
        };
        let deeper = if depth > 0 { replaced(inner, depth - 1, left) } else { None };
        let Some(words) = said(deeper.as_deref().unwrap_or(inner)) else {
            at = begin + 1;
            continue;
        };
        let out = out.get_or_insert_default();
        out.push_str(text.get(copied..begin).unwrap_or(""));
        out.push_str(&words);
        (copied, at) = (end, end);
    }
    let mut out = out?;
    out.push_str(text.get(copied..).unwrap_or(""));
    Some(out)
}

/// Where the next substitution begins.
fn next(text: &str, from: usize) -> Option<usize> {
    let rest = text.get(from..)?;
    let mut marks = rest.match_indices(['$', '`']);
    marks
        .find(|(at, mark)| *mark == "`" || rest.get(*at + 1..).is_some_and(|r| r.starts_with('(')))
        .map(|(at, _)| from + at)
}

/// What is between the brackets of the one that begins there, and where it ends.
fn inner(text: &str, begin: usize) -> Option<(&str, usize)> {
    let rest = text.get(begin..)?;
    let window = rest.get(..rest.floor_char_boundary(MAX_INNER_BYTES))?;
    if let Some(after) = window.strip_prefix("$(") {
        let mut open = 1_u32;
        for (at, byte) in after.bytes().enumerate() {
            match byte {
                b'(' => open += 1,
                b')' => open -= 1,
                _ => {}
            }
            if open == 0 {
                return Some((after.get(..at)?, begin + 2 + at + 1));
            }
        }
        return None;
    }
    let after = window.strip_prefix('`')?;
    let end = after.find('`')?;
    Some((after.get(..end)?, begin + 1 + end + 1))
}

/// What a pipe of `echo` or `printf` and what undoes codings says; `None` for every other command.
fn said(inner: &str) -> Option<String> {
    if inner.contains([';', '&', '<', '>', '\n', '$', '`', '(']) {
        return None;
    }
    let mut commands = shell::split(inner).commands.into_iter();
    let first = commands.next()?;
    let (program, words) = first.split_first()?;
    let mut text = match (program.as_str(), words) {
        ("echo", [option, words @ ..]) if matches!(option.as_str(), "-n" | "-e" | "-ne") => {
            words.join(" ")
        }
        ("echo", words) => words.join(" "),
        ("printf", [format, word]) if format == "%s" => word.clone(),
        ("printf", [word]) if !word.contains(['%', '\\']) => word.clone(),
        _ => return None,
    };
    for command in commands {
        let words: Vec<&str> = command.iter().map(String::as_str).collect();
        text = match words.as_slice() {
            ["rev"] => text.chars().rev().collect(),
            ["base64", "-d" | "-D" | "--decode"] | ["openssl", "base64" | "enc", ..] => {
                String::from_utf8(BASE64.decode(text.trim()).ok()?).ok()?
            }
            _ => return None,
        };
    }
    Some(text.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::substituted;

    #[test]
    fn what_can_be_told_is_put_in() {
        for (text, expected) in [
            ("curl $(echo ht)tp://h/x", "curl http://h/x"),
            ("curl `echo ht`tp://h/x", "curl http://h/x"),
            ("curl $(printf %s 'ht')tp://h", "curl http://h"),
            ("curl $(echo $(echo h)ttp)://h", "curl http://h"),
            ("U=$(echo aHR0cDovLw==|base64 -d)", "U=http://"),
            ("U=$(echo x/9.311.0.302//:ptth | rev)", "U=http://203.0.113.9/x"),
        ] {
            assert_eq!(substituted(text).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_told_stays() {
        for text in [
            "curl http://h/$(uname -m)",
            "$(echo $HOME)",
            "$(echo a; id)",
            "$(cat /etc/x)",
            "$(echo a | tr a b)",
            "$((1+2))",
            "$(",
            "`",
            "$(echo",
            "",
        ] {
            assert_eq!(substituted(text), None, "{text}");
        }
    }

    #[test]
    fn hostile_nesting_is_bounded() {
        let deep = format!("{}x{}", "$(echo ".repeat(20_000), ")".repeat(20_000));
        let _ = substituted(&deep);
        let wide = "$(echo a)".repeat(20_000);
        assert!(substituted(&wide).is_some_and(|text| text.len() < wide.len()));
    }
}
