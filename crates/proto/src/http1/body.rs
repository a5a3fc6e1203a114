//! One body on its way to the sink: framing, codings, holes.

use tw_model::{AnomalyKind, Direction};

use super::chunk::Step;
use super::framing::Framing;
use super::head::Role;
use crate::http::coding::{Codings, Failure};
use crate::out::Out;
use crate::{BodyEnd, HttpEvent, HttpEventKind};

/// A body that is being read.
pub(crate) struct Body {
    pub(crate) framing: Framing,
    pub(crate) codings: Option<Box<Codings>>,
    /// The exchange it belongs to.
    pub(crate) exchange: u64,
    /// Nothing of it has come yet.
    pub(crate) untouched: bool,
    /// Its coding cannot be undone from here on.
    pub(crate) lost: bool,
}

/// What a side is, for the events of its bodies.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) role: Role,
    pub(crate) request_direction: Direction,
}

impl Body {
    /// Reads what belongs to the body off the front of `input`; the last step that was no piece.
    pub(crate) fn read(
        &mut self,
        place: Place,
        input: &mut &[u8],
        out: &mut Out<'_>,
    ) -> Step<'static> {
        loop {
            match self.framing.step(input, out.limits) {
                Step::Piece(bytes) => {
                    self.untouched = false;
                    self.deliver(place, bytes, out);
                }
                Step::More => return Step::More,
                Step::End => return Step::End,
                Step::Malformed => return Step::Malformed,
            }
        }
    }

    fn deliver(&mut self, place: Place, bytes: &[u8], out: &mut Out<'_>) {
        if self.lost {
            return;
        }
        let Some(codings) = &mut self.codings else {
            return out.http(self.exchange, place.request_direction, place.piece(bytes));
        };
        let exchange = self.exchange;
        let Out { sink, via, decrypted, limits, totals, .. } = out;
        let mut emit = |bytes: &[u8]| {
            let request_direction = place.request_direction;
            let kind = place.piece(bytes);
            let (via, decrypted) = (*via, *decrypted);
            let event = HttpEvent { exchange, request_direction, via, decrypted, kind };
            sink(crate::Event::Http(event));
        };
        let Err(failure) = codings.push(bytes, totals, limits, &mut emit) else {
            return;
        };
        self.lost = true;
        self.codings = None;
        out.anomaly(match failure {
            Failure::Corrupt => AnomalyKind::HttpMalformed,
            Failure::Limit => AnomalyKind::DecompressionLimit,
        });
    }

    /// Bytes that come next, are data of this body as they stand, and are not its last: the last
    /// byte is always read, so that the end is told with the packet that brought it.
    pub(crate) const fn plain_left(&self) -> u64 {
        if self.untouched || self.lost || self.codings.is_some() {
            return 0;
        }
        self.framing.left().saturating_sub(1)
    }

    /// Bytes that were there and that nobody wanted to see; at most `plain_left`.
    pub(crate) fn unread(&mut self, place: Place, len: u64, out: &mut Out<'_>) {
        let (inside, _) = self.framing.skip(len);
        out.http(self.exchange, place.request_direction, place.unread(inside));
    }

    /// Missing bytes. Returns those that come after this body, and whether the end is still known.
    pub(crate) fn gap(&mut self, place: Place, len: u64, out: &mut Out<'_>) -> (u64, bool) {
        let (inside, known) = self.framing.skip(len);
        if inside > 0 {
            self.untouched = false;
            self.lost |= self.codings.take().is_some();
            out.http(self.exchange, place.request_direction, place.gap(inside));
        }
        (len.saturating_sub(inside), known)
    }

    /// Bytes that may be of the body, of which nothing can be made.
    pub(crate) fn pass_over(&mut self, place: Place, bytes: &[u8], out: &mut Out<'_>) {
        self.untouched = false;
        let len = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        out.http(self.exchange, place.request_direction, place.gap(len));
    }

    /// The body is over.
    pub(crate) fn end(mut self, place: Place, end: BodyEnd, out: &mut Out<'_>) {
        if let Some(mut codings) = self.codings.take() {
            let mut start = Vec::new();
            codings.finish(&mut |bytes| start.extend_from_slice(bytes));
            if !start.is_empty() {
                out.http(self.exchange, place.request_direction, place.piece(&start));
            }
        }
        let end = if self.lost { BodyEnd::Cut } else { end };
        out.http(self.exchange, place.request_direction, place.end(end));
    }
}

impl Place {
    const fn piece(self, bytes: &[u8]) -> HttpEventKind<'_> {
        match self.role {
            Role::Request => HttpEventKind::RequestBody(bytes),
            Role::Response => HttpEventKind::ResponseBody(bytes),
        }
    }

    const fn gap(self, len: u64) -> HttpEventKind<'static> {
        match self.role {
            Role::Request => HttpEventKind::RequestGap(len),
            Role::Response => HttpEventKind::ResponseGap(len),
        }
    }

    const fn unread(self, len: u64) -> HttpEventKind<'static> {
        match self.role {
            Role::Request => HttpEventKind::RequestUnread(len),
            Role::Response => HttpEventKind::ResponseUnread(len),
        }
    }

    pub(crate) const fn end(self, end: BodyEnd) -> HttpEventKind<'static> {
        match self.role {
            Role::Request => HttpEventKind::RequestEnd(end),
            Role::Response => HttpEventKind::ResponseEnd(end),
        }
    }
}
