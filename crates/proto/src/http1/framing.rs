//! Where a message body ends (RFC 9112 §6.3), as Go's net/http, which Docker daemons use, has it.

use super::chunk::{Chunked, Step, take_up_to};
use crate::http::coding::{Codings, Listed};
use crate::http::fields::list;
use crate::limits::{Limits, length};
use crate::{Header, HttpVersion};

/// How the end of a body is known.
#[derive(Debug)]
pub(crate) enum Framing {
    /// There is none.
    None,
    /// That many bytes are left.
    Length(u64),
    /// By the last chunk.
    Chunked(Box<Chunked>),
    /// By the end of the connection.
    UntilClose,
}

impl Framing {
    /// Takes the next step off the front of `input`.
    pub(crate) fn step<'a>(&mut self, input: &mut &'a [u8], limits: &Limits) -> Step<'a> {
        match self {
            Self::None | Self::Length(0) => Step::End,
            Self::Length(_) | Self::UntilClose if input.is_empty() => Step::More,
            Self::Length(left) => {
                let piece = take_up_to(input, *left);
                *left = left.saturating_sub(u64::try_from(piece.len()).unwrap_or(u64::MAX));
                Step::Piece(piece)
            }
            Self::UntilClose => Step::Piece(std::mem::take(input)),
            Self::Chunked(chunked) => chunked.step(input, length(limits.chunk_line_bytes)),
        }
    }

    /// The chunks that it consists of, if it does.
    pub(crate) fn chunked(&mut self) -> Option<&mut Chunked> {
        if let Self::Chunked(chunked) = self { Some(chunked) } else { None }
    }

    /// Bytes that come next and are certainly plain data of this body.
    pub(crate) const fn left(&self) -> u64 {
        match self {
            Self::None => 0,
            Self::Length(left) => *left,
            Self::Chunked(chunked) => chunked.left(),
            Self::UntilClose => u64::MAX,
        }
    }

    /// Missing bytes: how many of them certainly belong to this body, and whether the body's end
    /// is still known.
    pub(crate) fn skip(&mut self, len: u64) -> (u64, bool) {
        match self {
            Self::None => (0, true),
            Self::Length(left) => {
                let inside = len.min(*left);
                *left -= inside;
                (inside, true)
            }
            Self::UntilClose => (len, true),
            Self::Chunked(chunked) => (len, chunked.skip(len)),
        }
    }
}

/// A framing that no server would take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// A request's. `Transfer-Encoding` beats `Content-Length`; in HTTP/1.0 it means nothing to Go.
pub(crate) fn of_request(headers: &[Header], version: HttpVersion) -> Result<Framing, Malformed> {
    if version != HttpVersion::Http10 && has(headers, "transfer-encoding") {
        let chunked = last_is_chunked(headers);
        return if chunked { Ok(Framing::Chunked(Box::default())) } else { Err(Malformed) };
    }
    Ok(content_length(headers)?.map_or(Framing::None, Framing::Length))
}

/// A response's, where it may have a body. Clients take chunks in HTTP/1.0 too.
pub(crate) fn of_response(headers: &[Header]) -> Result<Framing, Malformed> {
    if has(headers, "transfer-encoding") {
        let chunked = last_is_chunked(headers);
        return Ok(if chunked { Framing::Chunked(Box::default()) } else { Framing::UntilClose });
    }
    Ok(content_length(headers)?.map_or(Framing::UntilClose, Framing::Length))
}

/// The codings of a body: content codings first, transfer codings outside of them.
pub(crate) fn codings(headers: &[Header], framing: &Framing, limits: &Limits) -> Listed {
    let transfer = list(headers, "transfer-encoding")
        .filter(|_| !matches!(framing, Framing::Length(_)))
        .filter(|name| !name.eq_ignore_ascii_case("chunked"));
    Codings::listed(list(headers, "content-encoding").chain(transfer), limits)
}

fn has(headers: &[Header], name: &str) -> bool {
    headers.iter().any(|header| header.name == name)
}

fn last_is_chunked(headers: &[Header]) -> bool {
    list(headers, "transfer-encoding")
        .last()
        .is_some_and(|name| name.eq_ignore_ascii_case("chunked"))
}

/// RFC 9110 §8.6: several equal values are one; different ones, signs and the like are refused.
fn content_length(headers: &[Header]) -> Result<Option<u64>, Malformed> {
    let mut found = None;
    for value in list(headers, "content-length") {
        let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
        let len = value.parse().ok().filter(|_| digits).ok_or(Malformed)?;
        if found.replace(len).is_some_and(|before: u64| before != len) {
            return Err(Malformed);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&str, &str)]) -> Vec<Header> {
        let header = |(name, value): &(&str, &str)| Header {
            name: (*name).to_owned().into(),
            value: (*value).to_owned(),
        };
        fields.iter().map(header).collect()
    }

    #[test]
    fn transfer_encoding_beats_content_length() {
        let both = headers(&[("content-length", "3"), ("transfer-encoding", "gzip, Chunked")]);
        assert!(matches!(of_request(&both, HttpVersion::Http11), Ok(Framing::Chunked(_))));
        assert!(matches!(of_request(&both, HttpVersion::Http10), Ok(Framing::Length(3))));
        assert!(matches!(of_response(&both), Ok(Framing::Chunked(_))));
        let odd = headers(&[("transfer-encoding", "chunked, gzip")]);
        assert!(of_request(&odd, HttpVersion::Http11).is_err());
        assert!(matches!(of_response(&odd), Ok(Framing::UntilClose)));
    }

    #[test]
    fn content_lengths() {
        let same = headers(&[("content-length", "7, 7"), ("content-length", "7")]);
        assert!(matches!(of_request(&same, HttpVersion::Http11), Ok(Framing::Length(7))));
        for bad in ["+7", "7x", "-1", "7, 8", "99999999999999999999", "0x7"] {
            let bad = headers(&[("content-length", bad)]);
            assert!(of_request(&bad, HttpVersion::Http11).is_err(), "{bad:?}");
        }
    }
}
