//! What is printed in the place of a secret, and what counts as one.
//!
//! In: names, values, URLs and command lines as they were sent. Out: the same with each secret
//! replaced by [`redacted`]. A name that says secret and a value of a well-known shape are enough;
//! long hexadecimal or base64 text alone is not, because image ids, digests and encoded payloads
//! must stay readable. Redacting twice changes nothing.

mod command;
mod shape;

use sha2::{Digest, Sha256};

pub use command::{redact_command, redact_words};
pub use shape::looks_secret;

/// Whether secrets are kept as they are. Only `replay`'s text output on a terminal asks for
/// [`Secrets::Keep`]; everything else redacts where the bytes are first read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Secrets {
    /// Replace each secret with [`redacted`].
    #[default]
    Redact,
    /// Keep each secret.
    Keep,
}

/// `<redacted:1a2b3c4d>`: the first 8 hex digits of the SHA-256, so that equal secrets can be told
/// to be equal.
#[must_use]
pub fn redacted(secret: &[u8]) -> String {
    let digest = Sha256::digest(secret);
    let mut text = String::from("<redacted:");
    for byte in digest.iter().take(4) {
        text.push_str(&format!("{byte:02x}"));
    }
    text.push('>');
    text
}

/// Does the name of a variable, option, header or query parameter say that its value is a secret?
///
/// Judged by words (`_`, `-`, `.` and case changes separate them), so `KEYBOARD` and `AUTHOR` are
/// none. `PWD` alone is the working directory; anything with `PUBLIC` in it is meant to be seen.
#[must_use]
pub fn is_secret_name(name: &str) -> bool {
    if name.len() < SHORTEST_NAME {
        return false;
    }
    let words = words_of(name);
    if words.iter().any(|word| matches!(word.as_str(), "PUBLIC" | "PUB" | "PUBKEY")) {
        return false;
    }
    words.iter().any(|word| is_secret_word(word, words.len()))
}

/// As [`is_secret_name`], but only the last word counts: `--auth-token` takes a secret,
/// `--auth-no-challenge` takes nothing.
fn ends_in_secret_word(name: &str) -> bool {
    is_secret_name(name) && words_of(name).last().is_some_and(|word| is_secret_word(word, 2))
}

/// The value of a variable: wholly replaced where its name or its shape says secret, else with the
/// URLs and tokens inside it replaced.
#[must_use]
pub fn redact_value(name: &str, value: &str, secrets: Secrets) -> String {
    if secrets == Secrets::Keep || value.is_empty() || is_redacted(value) {
        return value.to_owned();
    }
    if is_secret_name(name) || looks_secret(value) {
        return redacted(value.as_bytes());
    }
    // Letters and digits alone have nothing inside that could be told from the rest.
    if value.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return value.to_owned();
    }
    redact_command(value, secrets)
}

/// A URL with its user info, and the query parameters and path segments that are secrets, replaced.
///
/// A URL inside it, as mirrors and proxies have them, is treated alike. The user `git` without a password is a convention and no secret, and stays. Text that is no URL
/// comes back as it was.
#[must_use]
pub fn redact_url(url: &str, secrets: Secrets) -> String {
    if secrets == Secrets::Keep {
        return url.to_owned();
    }
    let mut out = String::with_capacity(url.len());
    let mut rest = url;
    while let Some(at) = rest.find("://") {
        let next = rest.get(at + 3..).and_then(|tail| tail.find("://")).map(|next| at + 3 + next);
        let end = next.map_or(rest.len(), |next| scheme_start(rest, next).max(at + 3));
        let (one, tail) = rest.split_at_checked(end).unwrap_or((rest, ""));
        push_url(&mut out, one);
        rest = tail;
    }
    out.push_str(rest);
    out
}

/// Where the scheme before the `://` at `at` starts; schemes are short.
fn scheme_start(text: &str, at: usize) -> usize {
    let is_scheme = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'.' | b'-');
    let before = text.as_bytes().get(at.saturating_sub(16)..at).unwrap_or(&[]);
    at - before.iter().rev().take_while(|b| is_scheme(b)).count()
}

fn push_url(out: &mut String, url: &str) {
    let Some((scheme, rest)) = url.split_once("://") else { return out.push_str(url) };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at_checked(end).unwrap_or((rest, ""));
    out.push_str(scheme);
    out.push_str("://");
    match authority.rsplit_once('@') {
        Some((user, host)) if user != "git" && !is_redacted(user) => {
            out.push_str(&redacted(user.as_bytes()));
            out.push('@');
            out.push_str(host);
        }
        _ => out.push_str(authority),
    }
    let (tail, fragment) =
        tail.split_at_checked(tail.find('#').unwrap_or(tail.len())).unwrap_or((tail, ""));
    let (path, query) = tail.split_once('?').map_or((tail, None), |(path, q)| (path, Some(q)));
    for (index, segment) in path.split('/').enumerate() {
        if index > 0 {
            out.push('/');
        }
        push_unless_secret(out, segment);
    }
    if let Some(query) = query {
        out.push('?');
        push_query(out, query);
    }
    out.push_str(fragment);
}

fn push_unless_secret(out: &mut String, value: &str) {
    if looks_secret(value) {
        out.push_str(&redacted(value.as_bytes()));
    } else {
        out.push_str(value);
    }
}

fn push_query(out: &mut String, query: &str) {
    for (index, pair) in query.split('&').enumerate() {
        if index > 0 {
            out.push('&');
        }
        let Some((name, value)) = pair.split_once('=') else {
            push_unless_secret(out, pair);
            continue;
        };
        out.push_str(name);
        out.push('=');
        let signs = name.len() >= SHORTEST_NAME
            && words_of(name).iter().any(|word| matches!(word.as_str(), "SIG" | "SIGNATURE"));
        if !value.is_empty() && !is_redacted(value) && (signs || is_secret_name(name)) {
            out.push_str(&redacted(value.as_bytes()));
        } else {
            push_unless_secret(out, value);
        }
    }
}

/// The shortest names that say secret: `key`, `sig`.
const SHORTEST_NAME: usize = 3;

/// Is it what [`redacted`] prints?
fn is_redacted(value: &str) -> bool {
    value
        .strip_prefix("<redacted:")
        .and_then(|rest| rest.strip_suffix('>'))
        .is_some_and(|hex| hex.len() == 8 && hex.bytes().all(|b| b.is_ascii_hexdigit()))
}

fn is_secret_word(word: &str, words_in_name: usize) -> bool {
    const WHOLE: [&str; 14] = [
        "KEY",
        "PASS",
        "CREDENTIAL",
        "CREDENTIALS",
        "CREDS",
        "AUTH",
        "AUTHORIZATION",
        "PRIVATE",
        "DSN",
        "COOKIE",
        "TOKENS",
        "SECRETS",
        "PASSWORDS",
        "APITOKEN",
    ];
    const ENDINGS: [&str; 10] = [
        "TOKEN",
        "PASSWORD",
        "PASSWD",
        "PASSPHRASE",
        "SECRET",
        "APIKEY",
        "ACCESSKEY",
        "SECRETKEY",
        "PRIVATEKEY",
        "AUTHKEY",
    ];
    WHOLE.contains(&word)
        || ENDINGS.iter().any(|ending| word.ends_with(ending))
        || (word == "PWD" && words_in_name > 1)
}

/// The words of a name, in upper case. Only the first 256 bytes are looked at.
fn words_of(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut before = '_';
    for c in name.chars().take(256) {
        let boundary = before.is_ascii_lowercase() && c.is_ascii_uppercase();
        if !c.is_ascii_alphanumeric() || boundary {
            words.push(String::new());
        }
        if let (true, Some(word)) = (c.is_ascii_alphanumeric(), words.last_mut()) {
            word.push(c.to_ascii_uppercase());
        }
        before = c;
    }
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use super::{Secrets, is_secret_name, redact_url, redact_value, redacted};

    #[test]
    fn equal_secrets_look_equal_and_show_nothing() {
        assert_eq!(redacted(b"hunter2"), "<redacted:f52fbd32>");
        assert_eq!(redacted(b"hunter2"), redacted(b"hunter2"));
        assert_ne!(redacted(b"hunter2"), redacted(b"hunter3"));
    }

    #[test]
    fn names_are_judged_by_their_words() {
        for name in [
            "TOKEN",
            "GITHUB_TOKEN",
            "githubToken",
            "DB_PASSWORD",
            "MYSQLPASSWORD",
            "db.pwd",
            "API_KEY",
            "apikey",
            "AWS_SECRET_ACCESS_KEY",
            "SENTRY_DSN",
            "X-Registry-Auth",
            "NPM_AUTH",
            "privateKey",
            "CREDENTIALS",
        ] {
            assert!(is_secret_name(name), "{name}");
        }
        for name in ["KEYBOARD", "AUTHOR", "PWD", "OLDPWD", "PUBLIC_KEY", "MONKEY", "PATH", "", "é"]
        {
            assert!(!is_secret_name(name), "{name}");
        }
    }

    #[test]
    fn url_loses_user_info_and_secret_parameters_only() {
        let redact = |url| redact_url(url, Secrets::Redact);
        assert_eq!(
            redact("https://u:hunter2@host:8443/p?token=hunter2&v=1#x"),
            format!(
                "https://{}@host:8443/p?token={}&v=1#x",
                redacted(b"u:hunter2"),
                redacted(b"hunter2")
            )
        );
        assert_eq!(redact("ssh://git@host/r.git"), "ssh://git@host/r.git");
        assert_eq!(redact("http://203.0.113.9/a?b=c"), "http://203.0.113.9/a?b=c");
        assert_eq!(
            redact("http://p/?u=http://me:pw@h/a"),
            format!("http://p/?u=http://{}@h/a", redacted(b"me:pw"))
        );
        assert_eq!(redact_url(&"://".repeat(100_000), Secrets::Redact).len(), 300_000);
        assert_eq!(redact("no url at all"), "no url at all");
        assert_eq!(redact_url("http://u:p@h/", Secrets::Keep), "http://u:p@h/");
    }

    #[test]
    fn redacting_twice_changes_nothing() {
        for (name, value) in [
            ("TOKEN", "hunter2"),
            ("URL", "https://u:p@host/?sig=abc"),
            ("CMD", "curl -u me:secret https://host/"),
        ] {
            let once = redact_value(name, value, Secrets::Redact);
            assert_ne!(once, value);
            assert_eq!(redact_value(name, &once, Secrets::Redact), once);
        }
    }

    #[test]
    fn digests_and_ids_are_no_secrets() {
        let digest = "sha256:7e09446e19599751dbbd6ee3dc8b9bf8ce2009781eb10b4d269b99b8e8b20a37";
        assert_eq!(redact_value("IMAGE", digest, Secrets::Redact), digest);
    }
}
