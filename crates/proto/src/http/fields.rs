//! Header fields of a head that may be of any size (RFC 9112 §5).

use std::borrow::Cow;

use crate::limits::{Limits, length};
use crate::{Header, HttpVersion};

/// Fields that say where a message ends, or what the connection becomes: kept beyond the limit,
/// or a long head would hide them from us and not from the server.
const ESSENTIAL: [&str; 8] = [
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "host",
    "transfer-encoding",
    "upgrade",
];
/// How many of those.
const ESSENTIAL_MAX: usize = 64;

/// The fields of one head as they come in.
#[derive(Debug, Default)]
pub(crate) struct Fields {
    pub(crate) headers: Vec<Header>,
    bytes: usize,
    beyond: usize,
    /// Some were dropped.
    pub(crate) over: bool,
    /// The last line was dropped, so that its continuation is too.
    dropped: bool,
}

impl Fields {
    /// Takes one line of the head. A line without a colon is passed over, as lenient servers do.
    pub(crate) fn line(&mut self, line: &[u8], cut: bool, limits: &Limits) {
        if matches!(line.first(), Some(b' ' | b'\t')) {
            return self.fold(line, limits);
        }
        let colon = line.iter().position(|&byte| byte == b':');
        let Some((name, [_, value @ ..])) = colon.and_then(|at| line.split_at_checked(at)) else {
            self.dropped = true;
            return;
        };
        let name = lower(trim(name));
        let value = trim(value);
        let full = cut
            || self.headers.len() >= length(limits.headers)
            || self.bytes.saturating_add(line.len()) > length(limits.head_bytes);
        if full {
            self.over = true;
            let essential = ESSENTIAL.contains(&&*name) && self.beyond < ESSENTIAL_MAX;
            if cut || !essential {
                self.dropped = true;
                return;
            }
            self.beyond += 1;
        }
        self.dropped = false;
        self.bytes = self.bytes.saturating_add(line.len());
        self.headers.push(Header { name, value: text(value) });
    }

    /// RFC 9112 §5.2: a line that begins with a blank goes on with the value before it.
    fn fold(&mut self, line: &[u8], limits: &Limits) {
        let Some(last) = self.headers.last_mut() else {
            return;
        };
        self.bytes = self.bytes.saturating_add(line.len());
        if self.dropped || self.bytes > length(limits.head_bytes) {
            self.over = true;
            return;
        }
        last.value.push(' ');
        last.value.push_str(&text(trim(line)));
    }
}

/// The values of the fields of that name, split at commas, blanks removed, empty ones left out.
pub(crate) fn list<'h>(headers: &'h [Header], name: &'h str) -> impl Iterator<Item = &'h str> {
    headers
        .iter()
        .filter(move |header| header.name == name)
        .flat_map(|header| header.value.split(','))
        .map(str::trim)
        .filter(|value| !value.is_empty())
}

/// The authority of a request (RFC 9112 §3.3): first `Host` field, else that of the target.
pub(crate) fn authority(headers: &[Header], method: &str, target: &str) -> Option<String> {
    if let Some(host) = headers.iter().find(|header| header.name == "host") {
        return Some(host.value.clone());
    }
    if method == "CONNECT" {
        return Some(target.to_owned());
    }
    let (_, rest) = target.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let host = authority.rsplit('@').next()?;
    (!host.is_empty()).then(|| host.to_owned())
}

/// Names that most messages have, and that need no memory of their own.
const COMMON: [&str; 30] = [
    "accept",
    "accept-encoding",
    "accept-language",
    "accept-ranges",
    "api-version",
    "authorization",
    "cache-control",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "cookie",
    "date",
    "docker-experimental",
    "etag",
    "expect",
    "expires",
    "host",
    "if-modified-since",
    "if-none-match",
    "last-modified",
    "location",
    "ostype",
    "referer",
    "server",
    "set-cookie",
    "transfer-encoding",
    "user-agent",
    "vary",
    "x-registry-auth",
];

/// A name in lower case.
fn lower(name: &[u8]) -> Cow<'static, str> {
    let is_it = |common: &&&str| common.as_bytes().eq_ignore_ascii_case(name);
    if let Some(common) = COMMON.iter().find(is_it) {
        return Cow::Borrowed(common);
    }
    let mut name = text(name);
    name.make_ascii_lowercase();
    Cow::Owned(name)
}

/// Bytes as text, what is no UTF-8 replaced.
pub(crate) fn text(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => String::from_utf8_lossy(bytes).into_owned(),
    }
}

/// Without blanks at both ends.
pub(crate) const fn trim(bytes: &[u8]) -> &[u8] {
    bytes.trim_ascii()
}

/// `HTTP/1.0` and `HTTP/1.1`; a higher minor version is read as 1.1 (RFC 9110 §2.5).
pub(crate) const fn version(bytes: &[u8]) -> Option<HttpVersion> {
    match bytes {
        b"HTTP/1.0" => Some(HttpVersion::Http10),
        [b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'1'..=b'9'] => Some(HttpVersion::Http11),
        _ => None,
    }
}
