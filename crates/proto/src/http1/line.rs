//! First lines of HTTP/1 messages (RFC 9112 §3, §4), whole or as far as they have come.

use crate::HttpVersion;
use crate::http::fields::{text, version};

/// Longest method that is believed.
const METHOD_MAX: usize = 64;

/// A request line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RequestLine {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) version: HttpVersion,
}

/// RFC 9112 §3: `method SP request-target SP HTTP-version`. The target may hold blanks: clients
/// leave them unescaped, and the version at the end says where it ends.
pub(crate) fn request_line(line: &[u8]) -> Option<RequestLine> {
    let line = line.trim_ascii_end();
    let space = line.iter().position(|&byte| byte == b' ')?;
    let last = line.iter().rposition(|&byte| byte == b' ')?;
    let method = line.get(..space)?;
    let target = line.get(space.checked_add(1)?..last)?.trim_ascii();
    let version = version(line.get(last.checked_add(1)?..)?)?;
    let plausible = is_method(method) && !target.is_empty() && !target.iter().any(is_control);
    plausible.then(|| RequestLine { method: text(method), target: text(target), version })
}

/// The beginning of a request line whose end is missing, where it can be nothing else: a method that
/// is in use, and a target that has begun. Says whether the target is whole, because the version
/// has begun behind it.
pub(crate) fn begun_request_line(start: &[u8]) -> Option<(RequestLine, bool)> {
    const METHODS: [&[u8]; 7] = [b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"PATCH", b"OPTIONS"];
    let start = start.strip_suffix(b"\r").unwrap_or(start);
    let space = start.iter().position(|&byte| byte == b' ')?;
    let (method, rest) = start.split_at_checked(space)?;
    let rest = rest.get(1..)?;
    let begins = matches!(rest.first(), Some(b'/')) || rest.starts_with(b"http");
    if !METHODS.contains(&method) || !begins || rest.len() < 2 || rest.iter().any(is_control) {
        return None;
    }
    let (target, whole) = match rest.iter().position(|&byte| byte == b' ') {
        Some(end) if may_become_version(rest.get(end..)?.get(1..)?) => (rest.get(..end)?, true),
        _ => (rest, false),
    };
    let line =
        RequestLine { method: text(method), target: text(target), version: HttpVersion::Http11 };
    Some((line, whole))
}

fn may_become_version(start: &[u8]) -> bool {
    let digit = start.get(7).is_none_or(u8::is_ascii_digit);
    start.len() <= 8 && digit && b"HTTP/1.".iter().zip(start).all(|(wanted, byte)| wanted == byte)
}

/// The beginning of a status line whose end is missing.
pub(crate) fn started_status_line(start: &[u8]) -> Option<(HttpVersion, u16)> {
    let code = start.get(9..13)?;
    (start.starts_with(b"HTTP/1.") && is_blank(code.last()?)).then_some(())?;
    status_line(start)
}

/// RFC 9112 §4: `HTTP-version SP status-code SP [reason]`. Clients take any version, and a NUL for
/// a blank; so do we, where a response is due.
pub(crate) fn status_line(line: &[u8]) -> Option<(HttpVersion, u16)> {
    let end = line.iter().position(is_blank)?;
    let (begin, rest) = line.split_at_checked(end)?;
    if !may_become_status(begin) {
        return None;
    }
    let version = version(begin).unwrap_or(HttpVersion::Http11);
    let code = rest.get(rest.iter().take_while(|byte| is_blank(byte)).count()..)?;
    let (digits, after) = code.split_at_checked(3)?;
    if !after.first().is_none_or(is_blank) {
        return None;
    }
    let status = std::str::from_utf8(digits).ok()?.parse().ok()?;
    (100..=999).contains(&status).then_some((version, status))
}

const fn is_blank(byte: &u8) -> bool {
    matches!(byte, b' ' | b'\t' | 0)
}

/// Can these bytes, of which no line has ended yet, become a request line?
pub(crate) fn may_become_request(start: &[u8]) -> bool {
    let Some(space) = start.iter().take(METHOD_MAX + 1).position(|&byte| byte == b' ') else {
        return start.len() <= METHOD_MAX
            && start.iter().all(|byte| is_token(byte) || *byte == b'\r');
    };
    let (method, rest) = start.split_at_checked(space).unwrap_or_default();
    is_method(method) && !rest.iter().any(|byte| is_control(byte) && *byte != b'\r')
}

/// Can these bytes become a status line?
pub(crate) fn may_become_status(start: &[u8]) -> bool {
    const BEGIN: &[u8] = b"HTTP/";
    let Some(version) = start.strip_prefix(BEGIN) else {
        return BEGIN.starts_with(start);
    };
    let len = version.iter().take_while(|byte| !is_blank(byte)).count();
    let digits = |byte: &u8| byte.is_ascii_digit() || *byte == b'.';
    len <= 6
        && version.iter().take(len).all(digits)
        && version.first().is_none_or(|byte| *byte != b'.')
}

/// As [`may_become_request`], for a place where a message need not begin: only what ordinary
/// clients send, so that text in a body is rarely taken for a request.
pub(crate) fn looks_like_request(start: &[u8]) -> bool {
    let len = start.iter().take(24).take_while(|&&byte| is_method_letter(byte)).count();
    let target = match (start.get(len), start.get(len.saturating_add(1))) {
        (None, _) => return (1..=20).contains(&len),
        (Some(b' '), target) => target,
        _ => return false,
    };
    let begins = target.is_none_or(|&byte| matches!(byte, b'/' | b'*' | b'h' | b'H'));
    let connect = start.starts_with(b"CONNECT ");
    (3..=20).contains(&len) && (begins || connect) && may_become_request(start_of_line(start))
}

fn start_of_line(bytes: &[u8]) -> &[u8] {
    bytes.split(|&byte| byte == b'\n').next().unwrap_or(bytes)
}

const fn is_method_letter(byte: u8) -> bool {
    byte.is_ascii_uppercase() || matches!(byte, b'-' | b'_')
}

fn is_method(method: &[u8]) -> bool {
    (1..=METHOD_MAX).contains(&method.len()) && method.iter().all(is_token)
}

/// RFC 9110 §5.6.2 (tchar).
fn is_token(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte)
}

const fn is_control(byte: &u8) -> bool {
    matches!(byte, 0..=8 | 10..=31 | 127)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_lines() {
        let line = request_line(b"GET /a b HTTP/1.1").unwrap();
        assert_eq!((line.method.as_str(), line.target.as_str()), ("GET", "/a b"));
        assert_eq!(request_line(b"m-x * HTTP/1.0").unwrap().version, HttpVersion::Http10);
        for bad in [
            &b"GET / RTSP/1.0"[..],
            b"INVITE sip:a SIP/2.0",
            b"REQMOD icap://x ICAP/1.0",
            b"GET /",
            b"GET  HTTP/1.1",
            b" GET / HTTP/1.1",
            b"GET / HTTP/2.0",
            b"G\x01T / HTTP/1.1",
        ] {
            assert_eq!(request_line(bad), None, "{}", text(bad));
        }
    }

    #[test]
    fn status_lines() {
        assert_eq!(status_line(b"HTTP/1.1 101 UPGRADED"), Some((HttpVersion::Http11, 101)));
        assert_eq!(status_line(b"HTTP/1.0 200"), Some((HttpVersion::Http10, 200)));
        assert_eq!(status_line(b"HTTP/2.0\0 200\0ok"), Some((HttpVersion::Http11, 200)));
        for bad in [&b"HTTP/1.1 2000 x"[..], b"HTTP/1.1 20", b"HTTP/x 200 x", b"HTTP/1.1200 x"] {
            assert_eq!(status_line(bad), None, "{}", text(bad));
        }
    }

    #[test]
    fn every_prefix_of_a_line_may_become_it() {
        for len in 0..=b"GET /x HTTP/1.1\r".len() {
            assert!(may_become_request(&b"GET /x HTTP/1.1\r"[..len]));
        }
        for len in 0..=b"HTTP/1.1 200 OK".len() {
            assert!(may_become_status(&b"HTTP/1.1 200 OK"[..len]));
        }
        assert!(!may_become_request(b"\x16\x03\x01"));
        assert!(!may_become_status(b"HTTX"));
    }
}
