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

/// RFC 9112 §4: `HTTP-version SP status-code SP [reason]`.
pub(crate) fn status_line(line: &[u8]) -> Option<(HttpVersion, u16)> {
    let version = version(line.get(..8)?)?;
    let rest = line.get(8..)?;
    let code = rest.trim_ascii_start();
    if code.len() == rest.len() {
        return None;
    }
    let (digits, after) = code.split_at_checked(3)?;
    if !matches!(after.first(), None | Some(b' ' | b'\t')) {
        return None;
    }
    let status = std::str::from_utf8(digits).ok()?.parse().ok()?;
    (100..=999).contains(&status).then_some((version, status))
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
    const BEGIN: &[u8] = b"HTTP/1.";
    let len = start.len().min(BEGIN.len());
    start.get(..len) == BEGIN.get(..len)
        && start.get(7).is_none_or(u8::is_ascii_digit)
        && start.get(8).is_none_or(|&byte| byte == b' ' || byte == b'\t')
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
        for bad in [&b"HTTP/1.1 2000 x"[..], b"HTTP/1.1 20", b"HTTP/2 200", b"HTTP/1.1200 x"] {
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
        assert!(!may_become_status(b"HTTP/2"));
    }
}
