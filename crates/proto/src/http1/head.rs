//! The head of a message, line by line (RFC 9112 §2.1): of any size, of which only so much is kept.

use super::line::{RequestLine, request_line, status_line};
use crate::http::fields::{Fields, authority};
use crate::limits::{Limits, length};
use crate::line::{Line, LineBuffer};
use crate::{HttpVersion, RequestHead, ResponseHead};

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

    /// The rest of the head is missing: what came of it, as far as it is whole. Of a request line
    /// that is cut off in its query, the parameters that came.
    pub(crate) fn cut_off(&mut self, role: Role) -> Option<Complete> {
        if self.first.is_none() && role == Role::Request {
            self.first = cut_request_line(self.line.partial()).map(First::Request);
        }
        match self.complete() {
            HeadStep::Complete(complete, _) => Some(complete),
            _ => None,
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
        let fields = std::mem::take(&mut self.fields);
        let headers = fields.headers;
        self.line.clear();
        let complete = match self.first.take() {
            Some(First::Request(RequestLine { method, target, version })) => {
                let authority = authority(&headers, &method, &target);
                Complete::Request(RequestHead { method, target, version, authority, headers })
            }
            Some(First::Status(version, status)) => {
                Complete::Response(ResponseHead { status, version, headers })
            }
            None => return HeadStep::Junk,
        };
        HeadStep::Complete(complete, fields.over)
    }
}

/// A method, and a target of which at least the path is whole.
fn cut_request_line(partial: &[u8]) -> Option<RequestLine> {
    let text = std::str::from_utf8(partial).ok()?;
    let (_, target) = text.split_once(' ')?;
    let whole = match target.split_once(' ') {
        Some((target, _)) => target,
        None => target.get(..target.rfind(['?', '&'])?)?,
    };
    let end = text.len().saturating_sub(target.len()).saturating_add(whole.len());
    let line = format!("{} HTTP/1.1", text.get(..end)?);
    request_line(line.as_bytes()).filter(|_| super::line::looks_like_request(line.as_bytes()))
}

fn first(role: Role, line: Line<'_>) -> Option<First> {
    match role {
        Role::Request => request_line(line.bytes).map(First::Request),
        Role::Response => {
            status_line(line.bytes).map(|(version, status)| First::Status(version, status))
        }
    }
}
