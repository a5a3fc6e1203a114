//! URLs and bare hosts that a text fetches from.
//!
//! In: text of a Dockerfile, a command or a build argument. Out: what it names, in clear or under
//! up to two layers of base64, hexadecimal or escapes, user info and secret parameters replaced.
//! Nothing is resolved or fetched. Limits: 1 MiB of text, 2 MiB of decoded text, 1,000 results of
//! at most 4 KiB.

mod decode;
mod echo;
mod host;
mod shell;

use std::collections::HashSet;

use tw_model::{Secrets, redact_url};

pub(crate) use host::host_port;

use self::shell::{Joined, Split};
use super::expand::expand;

const MAX_TEXT_BYTES: usize = 1 << 20;
const MAX_DECODED_BYTES: usize = 2 << 20;
const MAX_URLS: usize = 1000;
const MAX_URL_BYTES: usize = 4096;

/// URLs looked for inside a URL, as mirrors and archives have them.
const MAX_URLS_IN_URL: usize = 3;

/// Encodings that are peeled off.
const MAX_LAYERS: u8 = 2;

/// Commands inside the quotes of commands.
const MAX_NESTING: u8 = 3;

/// Every URL, and every bare host (`host`, `host:port`, `host/path`, `user@host:path`) that a
/// command in the text fetches from; first come first, no duplicates.
pub(crate) fn find(text: &str) -> Vec<String> {
    let mut finder = Finder::default();
    finder.read(text);
    finder.into_urls()
}

/// [`find`] over several texts that share one set of limits.
#[derive(Clone)]
pub(crate) struct Finder {
    urls: Vec<String>,
    seen: HashSet<String>,
    decodable_bytes: usize,
}

impl Default for Finder {
    fn default() -> Self {
        Self { urls: Vec::new(), seen: HashSet::new(), decodable_bytes: MAX_DECODED_BYTES }
    }
}

impl Finder {
    /// Looks through one text.
    pub(crate) fn read(&mut self, text: &str) {
        let end = text.floor_char_boundary(MAX_TEXT_BYTES);
        self.text(text.get(..end).unwrap_or(text), MAX_LAYERS);
    }

    /// Adds what is known to be a URL or host, if it has a usable host.
    pub(crate) fn add(&mut self, url: &str) {
        let broken = url.len() > MAX_URL_BYTES
            || url.contains(|c: char| c.is_whitespace() || c.is_control());
        if broken || self.urls.len() >= MAX_URLS || host_port(url).is_none() {
            return;
        }
        let url = redact_url(url, Secrets::Redact);
        if self.seen.insert(url.clone()) {
            self.urls.push(url);
        }
    }

    /// What was found, first come first.
    pub(crate) fn into_urls(self) -> Vec<String> {
        self.urls
    }

    fn text(&mut self, text: &str, layers: u8) {
        self.clear_text(text);
        if layers == 0 {
            return;
        }
        for payload in decode::payloads(text, &mut self.decodable_bytes) {
            self.text(&payload, layers - 1);
        }
    }

    fn clear_text(&mut self, text: &str) {
        let substituted = echo::substituted(text);
        let text = substituted.as_deref().unwrap_or(text);
        let split = shell::split(text);
        let variables = shell::assignments(&split.commands);
        if variables.is_empty() || !text.contains('$') {
            self.with_scheme(text);
            self.sockets(text);
            self.commands(&split, MAX_NESTING);
            return;
        }
        let text = expand(text, '\\', MAX_TEXT_BYTES, &|name| variables.get(name).cloned());
        self.with_scheme(&text);
        self.sockets(&text);
        self.commands(&shell::split(&text), MAX_NESTING);
    }

    fn commands(&mut self, split: &Split, nesting: u8) {
        for joined in &split.joined {
            self.joined(joined);
        }
        for words in &split.commands {
            for host in shell::hosts(words) {
                self.add(&host);
            }
            for word in words.iter().filter(|word| nesting > 0 && word.contains([' ', '\n', '\t']))
            {
                self.commands(&shell::split(word), nesting - 1);
            }
        }
    }

    /// The URL of a word that was put together: `ht''tp://h`, `http://203.0.\` and a line end. Where all
    /// that was taken out stands behind the host, the text itself shows the URL.
    fn joined(&mut self, joined: &Joined) {
        let Some(scheme_end) = joined.word.find("://") else { return };
        let Some(start) = scheme_start(&joined.word, scheme_end) else { return };
        let url = cut(joined.word.get(start..).unwrap_or(""), Some('"'));
        let host = url.get(scheme_end - start + 3..).unwrap_or("");
        let host_end = scheme_end + 3 + host.find(['/', '?', '#']).unwrap_or(host.len());
        if joined.at.iter().any(|at| (start + 1..=host_end).contains(at)) {
            self.add(url);
        }
    }

    /// `scheme://…` anywhere.
    fn with_scheme(&mut self, text: &str) {
        let (mut covered, mut nested) = (0, 0);
        for (at, _) in text.match_indices("://") {
            nested = if at < covered { nested + 1 } else { 0 };
            if nested > MAX_URLS_IN_URL {
                continue;
            }
            let Some(start) = scheme_start(text, at) else { continue };
            let quoted = text.get(..start).and_then(|before| before.chars().next_back());
            let Some(from) = text.get(start..) else { continue };
            let url = cut(from, quoted);
            covered = start + url.len();
            if url.len() > at - start + 3 {
                self.add(url);
            }
        }
    }

    /// Bash's `/dev/tcp/HOST/PORT`, and `connect(("HOST", PORT))` of scripting languages.
    fn sockets(&mut self, text: &str) {
        for device in ["/dev/tcp/", "/dev/udp/"] {
            for (at, _) in text.match_indices(device) {
                let tail = text.get(at + device.len()..).unwrap_or("");
                let mut parts = tail.splitn(2, '/');
                let (Some(host), Some(port)) = (parts.next(), parts.next()) else { continue };
                let digits = port.bytes().take(5).take_while(u8::is_ascii_digit).count();
                if host.len() <= 255 && digits > 0 {
                    self.add(&format!("{host}:{}", port.get(..digits).unwrap_or("")));
                }
            }
        }
        for (at, _) in text.match_indices("connect(") {
            let end = text.floor_char_boundary(at + 320);
            let call = text.get(at + 8..end).unwrap_or("");
            let call = call.trim_start_matches(['(', '[', ' ']);
            let Some(quote) = call.chars().next().filter(|c| matches!(c, '"' | '\'')) else {
                continue;
            };
            let Some((host, tail)) = call.get(1..).and_then(|c| c.split_once(quote)) else {
                continue;
            };
            let tail = tail.trim_start_matches([',', ' ']);
            let digits = tail.bytes().take(5).take_while(u8::is_ascii_digit).count();
            if digits > 0 {
                self.add(&format!("{host}:{}", tail.get(..digits).unwrap_or("")));
            }
        }
    }
}

/// Where the scheme that ends at `at` starts, if it is one over which a build fetches.
fn scheme_start(text: &str, at: usize) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut start = at;
    while start > 0 && at - start < 16 {
        let byte = *bytes.get(start - 1)?;
        if !byte.is_ascii_alphanumeric() && !matches!(byte, b'+' | b'.' | b'-') {
            break;
        }
        start -= 1;
    }
    let run = text.get(start..at)?;
    let known = SCHEMES.iter().filter(|scheme| ends_with_ignore_case(run, scheme));
    known.map(|scheme| at - scheme.len()).min()
}

/// Longest first does not matter: the earliest start wins. `file`, `unix` and the like fetch nothing.
const SCHEMES: [&str; 27] = [
    "http",
    "https",
    "ftp",
    "ftps",
    "sftp",
    "tftp",
    "git",
    "ssh",
    "git+https",
    "git+http",
    "git+ssh",
    "ws",
    "wss",
    "docker",
    "docker-image",
    "oci",
    "svn",
    "rsync",
    "socks4",
    "socks5",
    "socks5h",
    "stratum+tcp",
    "stratum+ssl",
    "tcp",
    "tls",
    "ldap",
    "hkp",
];

fn ends_with_ignore_case(text: &str, ending: &str) -> bool {
    text.len()
        .checked_sub(ending.len())
        .and_then(|at| text.get(at..))
        .is_some_and(|tail| tail.eq_ignore_ascii_case(ending))
}

/// The URL at the start of `text`, without what only surrounds it: quotes, the brackets that it did
/// not open, shell operators, and the punctuation of a sentence.
fn cut(text: &str, before: Option<char>) -> &str {
    let quote = before.filter(|c| matches!(c, '"' | '\'' | '`'));
    let mut open: [i32; 3] = [0; 3];
    let mut end = text.len();
    let mut last = ' ';
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        let next = chars.peek().map_or(' ', |(_, next)| *next);
        let bracket = "()[]{}".find(c);
        let unbalanced = bracket.is_some_and(|index| {
            let Some(count) = open.get_mut(index / 2) else { return true };
            *count += if index % 2 == 0 { 1 } else { -1 };
            *count < 0
        });
        let stops = c.is_whitespace()
            || c.is_control()
            || matches!(c, '"' | '\'' | '`' | '<' | '>' | '|' | '\\')
            || (c == ';' && quote.is_none())
            || (c == '&' && quote.is_none() && (next == '&' || next.is_whitespace()))
            || (c == '(' && last == '$')
            || unbalanced;
        if stops || at >= MAX_URL_BYTES {
            end = at;
            break;
        }
        last = c;
    }
    let url = text.get(..end).unwrap_or(text);
    let url = url.trim_end_matches(['.', ',', ';', ':', '!', '?', '*']);
    url.strip_suffix('$').unwrap_or(url)
}

#[cfg(test)]
mod tests;
