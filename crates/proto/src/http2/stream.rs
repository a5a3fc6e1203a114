//! Streams (RFC 9113 §5): an exchange each.

use std::collections::BTreeMap;

use tw_model::{AnomalyKind, Direction};

use crate::http::coding::{Codings, Failure, Listed};
use crate::http::fields::list;
use crate::limits::length;
use crate::out::Out;
use crate::{BodyEnd, Event, Header, HttpEvent, HttpEventKind};

/// The two messages of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Request,
    Response,
}

/// One exchange.
pub(super) struct Stream {
    pub(super) exchange: u64,
    pub(super) request: Message,
    pub(super) response: Message,
}

/// Where a message stands.
#[derive(Default)]
pub(super) enum Message {
    /// Its head has not come.
    #[default]
    Due,
    /// Its head has come.
    Body {
        codings: Option<Box<Codings>>,
        lost: bool,
    },
    Ended,
}

/// The streams of one connection that have not ended, at most `Limits::streams`.
#[derive(Default)]
pub(super) struct Streams(BTreeMap<u32, Stream>);

impl Streams {
    pub(super) fn get_mut(&mut self, id: u32) -> Option<&mut Stream> {
        self.0.get_mut(&id)
    }

    /// Opens a stream; the oldest goes where there are too many. True when one had to go that
    /// still was under way (where only requests were captured, none ever ends).
    pub(super) fn open(&mut self, id: u32, direction: Direction, out: &mut Out<'_>) -> bool {
        let mut busy = false;
        if self.0.len() >= length(out.limits.streams)
            && let Some((_, mut oldest)) = self.0.pop_first()
        {
            busy = !matches!((&oldest.request, &oldest.response), (Message::Ended, Message::Due));
            oldest.cut(direction, out);
        }
        let exchange = out.totals.next_exchange();
        let stream = Stream { exchange, request: Message::Due, response: Message::Due };
        self.0.insert(id, stream);
        busy
    }

    /// Forgets a stream both of whose messages have ended, or whose request was not captured.
    pub(super) fn forget_ended(&mut self, id: u32) {
        let ended = |stream: &Stream| {
            matches!(stream.response, Message::Ended)
                && matches!(stream.request, Message::Ended | Message::Due)
        };
        if self.0.get(&id).is_some_and(ended) {
            self.0.remove(&id);
        }
    }

    pub(super) fn remove(&mut self, id: u32) {
        self.0.remove(&id);
    }

    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut Stream> {
        self.0.values_mut()
    }
}

impl Stream {
    pub(super) const fn message(&mut self, part: Part) -> &mut Message {
        match part {
            Part::Request => &mut self.request,
            Part::Response => &mut self.response,
        }
    }

    /// The head of a message has come.
    pub(super) fn begin(&mut self, part: Part, headers: &[Header], out: &Out<'_>) {
        let codings = match Codings::listed(list(headers, "content-encoding"), out.limits) {
            Listed::Coded(codings) => Some(Box::new(codings)),
            Listed::Plain | Listed::Unknown => None,
        };
        *self.message(part) = Message::Body { codings, lost: false };
    }

    pub(super) fn data(
        &mut self,
        part: Part,
        direction: Direction,
        bytes: &[u8],
        out: &mut Out<'_>,
    ) {
        let exchange = self.exchange;
        let message = self.message(part);
        if matches!(message, Message::Due) {
            *message = Message::Body { codings: None, lost: false };
        }
        let Message::Body { codings, lost: lost @ false } = message else {
            return;
        };
        let Some(coded) = codings else {
            return out.http(exchange, direction, piece(part, bytes));
        };
        let Out { sink, via, decrypted, limits, totals, .. } = out;
        let mut emit = |bytes: &[u8]| {
            let kind = piece(part, bytes);
            sink(Event::Http(HttpEvent {
                exchange,
                request_direction: direction,
                via: *via,
                decrypted: *decrypted,
                kind,
            }));
        };
        let Err(failure) = coded.push(bytes, totals, limits, &mut emit) else {
            return;
        };
        *lost = true;
        *codings = None;
        out.anomaly(match failure {
            Failure::Corrupt => AnomalyKind::HttpMalformed,
            Failure::Limit => AnomalyKind::DecompressionLimit,
        });
    }

    /// Missing bytes of a message's body.
    pub(super) fn gap(&mut self, part: Part, direction: Direction, len: u64, out: &mut Out<'_>) {
        let exchange = self.exchange;
        if let Message::Body { codings, lost } = self.message(part) {
            *lost |= codings.take().is_some();
            let kind = match part {
                Part::Request => HttpEventKind::RequestGap(len),
                Part::Response => HttpEventKind::ResponseGap(len),
            };
            out.http(exchange, direction, kind);
        }
    }

    pub(super) fn end(
        &mut self,
        part: Part,
        direction: Direction,
        end: BodyEnd,
        out: &mut Out<'_>,
    ) {
        let exchange = self.exchange;
        let message = self.message(part);
        let Message::Body { codings, lost } = message else {
            return;
        };
        let (codings, lost) = (codings.take(), *lost);
        *message = Message::Ended;
        if let Some(mut codings) = codings {
            let mut start = Vec::new();
            codings.finish(&mut |bytes| start.extend_from_slice(bytes));
            if !start.is_empty() {
                out.http(exchange, direction, piece(part, &start));
            }
        }
        let end = if lost { BodyEnd::Cut } else { end };
        let kind = match part {
            Part::Request => HttpEventKind::RequestEnd(end),
            Part::Response => HttpEventKind::ResponseEnd(end),
        };
        out.http(exchange, direction, kind);
    }

    /// Ends what has not ended.
    pub(super) fn cut(&mut self, direction: Direction, out: &mut Out<'_>) {
        self.end(Part::Request, direction, BodyEnd::Cut, out);
        self.end(Part::Response, direction, BodyEnd::Cut, out);
    }
}

const fn piece(part: Part, bytes: &[u8]) -> HttpEventKind<'_> {
    match part {
        Part::Request => HttpEventKind::RequestBody(bytes),
        Part::Response => HttpEventKind::ResponseBody(bytes),
    }
}
