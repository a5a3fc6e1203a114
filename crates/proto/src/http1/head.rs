//! The head of a message, line by line (RFC 9112 §2.1): of any size, of which only so much is kept.

use super::line::{
    RequestLine, begun_request_line, request_line, started_status_line, status_line,
};
use crate::http::fields::{Fields, authority};
use crate::limits::{Limits, length};
use crate::line::{Line, LineBuffer};
use crate::{Extent, HttpVersion, RequestHead, ResponseHead};

/// Which of the two messages of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Request,
    Response,
}

/// A head as it comes in.
#[derive(Debug, Default)]
pub(crate) struct Head {
    first: Option<First>,
    fields: Fields,
    pub(crate) line: LineBuffer,
    /// It begins in the middle of a segment after bytes that were nothing.
    doubtful: bool,
}

#[derive(Debug)]
enum First {
    Request(RequestLine),
    Status(HttpVersion, u16),
}

/// A head that is complete.
#[derive(Debug)]
pub(crate) enum Complete {
    Request(RequestHead),
    Response(ResponseHead),
}

/// What came of the input.
#[derive(Debug)]
pub(crate) enum HeadStep {
    /// All was used and the head goes on.
    More,
    /// No head begins here.
    Junk,
    /// The first line is over the limit.
    TooLong,
    /// Here it is, and whether fields of it were dropped.
    Complete(Complete, bool),
}

impl Head {
    /// One that may be the middle of something: nothing is made of its beginning alone.
    pub(crate) fn doubtful() -> Self {
        Self { doubtful: true, ..Self::default() }
    }

    /// Nothing of the head has come yet.
    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_none() && self.line.partial().is_empty()
    }

    /// Takes what belongs to the head off the front of `input`.
    pub(crate) fn step(&mut self, role: Role, input: &mut &[u8], limits: &Limits) -> HeadStep {
        loop {
            let limit = if self.first.is_none() {
                length(limits.request_line_bytes)
            } else {
                length(limits.head_bytes)
            };
            let Some(line) = self.line.take(input, limit) else {
                return self.unfinished(role);
            };
            match &self.first {
                None if line.cut => return HeadStep::TooLong,
                None if line.bytes.is_empty() => {}
                None => match first(role, line) {
                    None => return HeadStep::Junk,
                    found => self.first = found,
                },
                Some(_) if line.bytes.is_empty() => return self.complete(),
                Some(_) => self.fields.line(line.bytes, line.cut, limits),
            }
        }
    }

    fn unfinished(&self, role: Role) -> HeadStep {
        if self.first.is_some() {
            return HeadStep::More;
        }
        if self.line.is_cut() {
            return HeadStep::TooLong;
        }
        // Only the beginning is looked at, or a long line that comes byte by byte costs its square.
        let partial = self.line.partial();
        let start = partial.get(..128).unwrap_or(partial);
        let plausible = match role {
            Role::Request => super::line::may_become_request(start),
            Role::Response => super::line::may_become_status(start),
        };
        if plausible { HeadStep::More } else { HeadStep::Junk }
    }

    fn complete(&mut self) -> HeadStep {
        self.line.clear();
        let over = self.fields.over;
        match self.made(Extent::Whole) {
            Some(complete) => HeadStep::Complete(complete, over),
            None => HeadStep::Junk,
        }
    }

    /// The rest of it is missing: what can be said of it for certain, if its first line says enough.
    pub(crate) fn cut(&mut self, role: Role) -> Option<Complete> {
        if self.doubtful {
            return None;
        }
        if self.first.is_some() {
            return self.made(Extent::Fields);
        }
        let partial = self.line.partial();
        let (first, extent) = match role {
            Role::Request => {
                let (line, whole) = begun_request_line(partial)?;
                (First::Request(line), if whole { Extent::Fields } else { Extent::Line })
            }
            Role::Response => {
                let (version, status) = started_status_line(partial)?;
                (First::Status(version, status), Extent::Fields)
            }
        };
        self.first = Some(first);
        self.made(extent)
    }

    fn made(&mut self, extent: Extent) -> Option<Complete> {
        let headers = std::mem::take(&mut self.fields).headers;
        Some(match self.first.take()? {
            First::Request(RequestLine { method, target, version }) => {
                let authority = match extent {
                    Extent::Line => None,
                    _ => authority(&headers, &method, &target),
                };
                let head = RequestHead { method, target, version, authority, headers, extent };
                Complete::Request(head)
            }
            First::Status(version, status) => {
                Complete::Response(ResponseHead { status, version, headers, extent })
            }
        })
    }
}

fn first(role: Role, line: Line<'_>) -> Option<First> {
    match role {
        Role::Request => request_line(line.bytes).map(First::Request),
        Role::Response => {
            status_line(line.bytes).map(|(version, status)| First::Status(version, status))
        }
    }
}
