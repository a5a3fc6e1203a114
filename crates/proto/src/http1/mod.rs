//! HTTP/1.0 and HTTP/1.1 (RFC 9112), passively.
//!
//! In go both directions of a connection; out come the exchanges on it. The directions are read
//! apart from each other and meet only where a response is paired with its request: first to
//! first. Bodies pass through undone and are never held. After CONNECT and Upgrade the request
//! direction waits for the answer, which says what its bytes are.

mod body;
mod chunk;
mod framing;
mod head;
mod line;
mod pairing;
mod side;
mod switch;

#[cfg(test)]
mod tests;

use tw_model::{AnomalyKind, Direction};

use self::body::{Body, Place};
use self::chunk::{Chunked, Step};
pub(crate) use self::chunk::{begins_with_progress, take_up_to};
use self::framing::Framing;
use self::head::{Complete, Head, HeadStep, Role};
pub(crate) use self::line::{
    begun_request_line, looks_like_request, may_become_request, may_become_status, request_line,
    started_status_line,
};
use self::pairing::{Pairing, Pending};
use self::side::{Held, Phase, Side, resync};
use crate::http::coding::Listed;
use crate::level::Switch;
use crate::limits::length;
use crate::out::Out;
use crate::{BodyEnd, Extent, Header, HttpEventKind, HttpVersion, RequestHead, ResponseHead};

/// One HTTP/1 connection.
pub(crate) struct Http1 {
    request_direction: Direction,
    requests: Side,
    responses: Side,
    pairing: Pairing,
    /// The answer that the request direction waits for has come: it goes on as HTTP.
    released: bool,
    /// A final answer came before any byte of a body that `Expect: 100-continue` announced: the
    /// client may never send it.
    doubtful: bool,
    switch: Option<Switch>,
}

impl Http1 {
    /// A connection on which requests go in `request_direction`; `lost` says for which directions
    /// (by `Direction::index`) something else came before.
    pub(crate) fn new(request_direction: Direction, lost: [bool; 2], midstream: bool) -> Self {
        let [to_responder, to_opener] = lost;
        let (requests, responses) = match request_direction {
            Direction::ToResponder => (to_responder, to_opener),
            Direction::ToOpener => (to_opener, to_responder),
        };
        Self {
            request_direction,
            requests: Side::new(requests),
            responses: Side::new(responses),
            pairing: Pairing::new(midstream || requests),
            released: false,
            doubtful: false,
            switch: None,
        }
    }

    pub(crate) const fn request_direction(&self) -> Direction {
        self.request_direction
    }

    pub(crate) const fn wants_more(&self) -> bool {
        !matches!((&self.requests.phase, &self.responses.phase), (Phase::Done, Phase::Done))
    }

    pub(crate) fn data(
        &mut self,
        direction: Direction,
        bytes: &[u8],
        out: &mut Out<'_>,
    ) -> Option<Switch> {
        let role = self.role(direction);
        let mut input = bytes;
        self.read(role, &mut input, out);
        if let Some(mut switch) = self.switch.take() {
            switch.replay(direction, input);
            return Some(switch);
        }
        self.resume_requests(out);
        self.switch.take()
    }

    pub(crate) fn gap(&mut self, direction: Direction, len: u64, out: &mut Out<'_>) {
        let role = self.role(direction);
        if role == Role::Request {
            self.pairing.requests_missed();
        }
        let place = self.place(role);
        let side = self.side(role);
        match &mut side.phase {
            Phase::Body(body) => {
                let (beyond, known) = body.gap(place, len, out);
                let over = matches!(body.framing, Framing::Length(0));
                let chunked = body.framing.chunked().filter(|_| role == Role::Response);
                if let (Some(chunked), false) = (chunked, known) {
                    chunked.lose();
                    side.lost = true;
                } else if !known {
                    self.end_body(role, BodyEnd::Cut, out);
                    self.side(role).lose();
                } else if over {
                    self.end_body(role, BodyEnd::Complete, out);
                    if beyond > 0 {
                        self.gap(direction, beyond, out);
                    }
                }
            }
            Phase::Held(held) => held.missing = held.missing.saturating_add(len),
            Phase::Head(head) => match head.cut(role) {
                Some(head) => self.begin_cut(head, len, out),
                None => side.lose(),
            },
            Phase::Resync(_) => side.lose(),
            Phase::Upstream(_) | Phase::Done => {}
        }
    }

    /// The exchange whose body comes next in that direction, and how much of it need not be read
    /// to read on.
    pub(crate) fn plain_body(&self, direction: Direction) -> Option<(u64, u64)> {
        let side = match self.role(direction) {
            Role::Request => &self.requests,
            Role::Response => &self.responses,
        };
        let Phase::Body(body) = &side.phase else { return None };
        Some((body.exchange, body.plain_left())).filter(|(_, left)| *left > 0)
    }

    /// So many bytes of what `plain_body` told were there and not handed in.
    pub(crate) fn unread(&mut self, direction: Direction, len: u64, out: &mut Out<'_>) {
        let role = self.role(direction);
        let place = self.place(role);
        if let Phase::Body(body) = &mut self.side(role).phase {
            body.unread(place, len, out);
        }
    }

    pub(crate) fn half_close(&mut self, direction: Direction, out: &mut Out<'_>) {
        let role = self.role(direction);
        let side = self.side(role);
        side.closed = true;
        match &side.phase {
            Phase::Body(body) => {
                let end = match body.framing {
                    Framing::UntilClose => BodyEnd::Closed,
                    _ => BodyEnd::Cut,
                };
                self.end_body(role, end, out);
                self.side(role).phase = Phase::Done;
            }
            Phase::Held(_) => {}
            _ => side.phase = Phase::Done,
        }
    }

    /// The end of the connection: bytes that still wait for an answer may yet tell what they are.
    pub(crate) fn close(&mut self, out: &mut Out<'_>) -> Option<Switch> {
        self.half_close(Direction::ToResponder, out);
        self.half_close(Direction::ToOpener, out);
        self.guess_held(out);
        self.resume_requests(out);
        self.requests.phase = Phase::Done;
        self.switch.take()
    }

    fn read(&mut self, role: Role, input: &mut &[u8], out: &mut Out<'_>) {
        let segment = *input;
        while !input.is_empty() && self.switch.is_none() {
            match &mut self.side(role).phase {
                Phase::Head(_) => self.read_head(role, input, segment, out),
                Phase::Body(body) => match body.framing.chunked() {
                    Some(chunked) if chunked.is_lost() => {
                        let at_start = input.len() == segment.len();
                        self.search_body(role, at_start, input, out);
                    }
                    _ => self.read_body(role, input, out),
                },
                Phase::Resync(skip_line) => {
                    let skip_line = std::mem::take(skip_line);
                    let at_start = !skip_line && input.len() == segment.len();
                    let may_join = role == Role::Response && !self.pairing.next_decides();
                    if may_join && at_start && begins_with_progress(input) {
                        self.join_answer(out);
                        continue;
                    }
                    if resync(role, skip_line, input) {
                        let side = self.side(role);
                        let at_start = input.len() == segment.len();
                        if at_start { side.next_head() } else { side.next_doubtful_head() }
                    }
                }
                Phase::Held(held) => {
                    if !held.hold(input, length(out.limits.held_bytes)) {
                        self.guess_held(out);
                        self.resume_requests(out);
                        continue;
                    }
                    *input = &[];
                    self.guess_h2c(out);
                }
                Phase::Upstream(exchange) => {
                    let exchange = *exchange;
                    let direction = self.direction(role);
                    let bytes = std::mem::take(input);
                    let kind = HttpEventKind::Upstream { direction, bytes };
                    out.http(exchange, self.request_direction, kind);
                }
                Phase::Done => *input = &[],
            }
        }
    }

    fn read_head<'i>(
        &mut self,
        role: Role,
        input: &mut &'i [u8],
        segment: &'i [u8],
        out: &mut Out<'_>,
    ) {
        let side = self.side(role);
        let Phase::Head(head) = &mut side.phase else {
            return;
        };
        let began_earlier = !head.is_empty();
        match head.step(role, input, out.limits) {
            HeadStep::More => {}
            HeadStep::Junk => {
                // What began in an earlier segment was nothing; this segment has not been looked at.
                if began_earlier {
                    *input = segment;
                }
                side.lose();
                side.phase = Phase::Resync(!began_earlier);
            }
            HeadStep::TooLong => {
                side.phase = Phase::Done;
                out.anomaly(AnomalyKind::HttpLimit);
            }
            HeadStep::Complete(complete, over) => {
                if over {
                    out.anomaly(AnomalyKind::HttpLimit);
                }
                match complete {
                    Complete::Request(head) => self.begin_request(&head, out),
                    Complete::Response(head) => self.begin_response(&head, out),
                }
            }
        }
    }

    fn read_body(&mut self, role: Role, input: &mut &[u8], out: &mut Out<'_>) {
        let place = self.place(role);
        let doubtful = role == Role::Request && std::mem::take(&mut self.doubtful);
        let Phase::Body(body) = &mut self.side(role).phase else {
            return;
        };
        if doubtful && body.untouched && begins_with_request(input) {
            return self.end_body(role, BodyEnd::Cut, out);
        }
        match body.read(place, input, out) {
            Step::Piece(_) | Step::More => {}
            Step::Malformed if body.framing.chunked().is_some_and(|c| c.is_found_again()) => {
                body.framing = Framing::Chunked(Box::new(Chunked::lost()));
                self.search_body(role, false, input, out);
            }
            Step::Malformed => {
                self.end_body(role, BodyEnd::Cut, out);
                self.side(role).phase = Phase::Done;
                out.anomaly(AnomalyKind::HttpMalformed);
            }
            Step::End => self.end_body(role, BodyEnd::Complete, out),
        }
    }

    /// Looks for where a response goes on whose chunks were lost: at the start of a segment only,
    /// so that text inside of one is not taken for it.
    fn search_body(&mut self, role: Role, at_start: bool, input: &mut &[u8], out: &mut Out<'_>) {
        let place = self.place(role);
        let Phase::Body(body) = &mut self.side(role).phase else {
            return;
        };
        if at_start && started_status_line(input.get(..64).unwrap_or(input)).is_some() {
            self.end_body(role, BodyEnd::Cut, out);
            return self.side(role).lose();
        }
        let found = body.framing.chunked().is_some_and(|c| at_start && c.find_again(input));
        if !found {
            body.pass_over(place, std::mem::take(input), out);
        }
    }

    /// Ends the body that is being read; the next head is due.
    fn end_body(&mut self, role: Role, end: BodyEnd, out: &mut Out<'_>) {
        let place = self.place(role);
        let side = self.side(role);
        let phase = std::mem::replace(&mut side.phase, Phase::Head(Head::default()));
        let Phase::Body(body) = phase else {
            side.phase = phase;
            return;
        };
        let exchange = body.exchange;
        body.end(place, end, out);
        if role == Role::Request {
            self.after_request(exchange);
        }
    }

    fn begin_request(&mut self, head: &RequestHead, out: &mut Out<'_>) {
        self.end_lost_response(out);
        let pending = self.pairing.request(head, out);
        let exchange = pending.exchange;
        self.requests.lost = false;
        let framing = if pending.connect {
            Ok(Framing::None)
        } else {
            framing::of_request(&head.headers, head.version)
        };
        out.http(exchange, self.request_direction, HttpEventKind::RequestHead(head));
        self.begin_body(Role::Request, exchange, &head.headers, framing, out);
    }

    /// A head of which `len` bytes, or those and more of what follows it, are missing.
    fn begin_cut(&mut self, head: Complete, len: u64, out: &mut Out<'_>) {
        match head {
            Complete::Request(head) => {
                self.end_lost_response(out);
                let exchange = self.pairing.request(&head, out).exchange;
                out.http(exchange, self.request_direction, HttpEventKind::RequestHead(&head));
                let place = self.place(Role::Request);
                out.http(exchange, self.request_direction, HttpEventKind::RequestGap(len));
                out.http(exchange, self.request_direction, place.end(BodyEnd::Cut));
                self.requests.lose();
            }
            Complete::Response(head) => {
                self.begin_response(&head, out);
                let place = self.place(Role::Response);
                if let Phase::Body(body) = &mut self.responses.phase {
                    body.gap(place, len, out);
                }
            }
        }
    }

    /// A client that has its next request answered has had the answer before.
    fn end_lost_response(&mut self, out: &mut Out<'_>) {
        let Phase::Body(body) = &mut self.responses.phase else {
            return;
        };
        if body.framing.chunked().is_some_and(|chunked| chunked.is_lost()) {
            self.end_body(Role::Response, BodyEnd::Cut, out);
            self.responses.lose();
        }
    }

    fn begin_body(
        &mut self,
        role: Role,
        exchange: u64,
        headers: &[Header],
        framing: Result<Framing, framing::Malformed>,
        out: &mut Out<'_>,
    ) {
        let place = self.place(role);
        let Ok(framing) = framing else {
            self.side(role).phase = Phase::Done;
            out.http(exchange, self.request_direction, place.end(BodyEnd::Cut));
            return out.anomaly(AnomalyKind::HttpMalformed);
        };
        let codings = match framing {
            Framing::None => Listed::Plain,
            _ => framing::codings(headers, &framing, out.limits),
        };
        let codings = match codings {
            Listed::Coded(codings) => Some(Box::new(codings)),
            Listed::Plain | Listed::Unknown => None,
        };
        let ended = matches!(framing, Framing::None | Framing::Length(0));
        let body = Body { framing, codings, exchange, untouched: true, lost: false };
        self.side(role).phase = Phase::Body(Box::new(body));
        if ended {
            self.end_body(role, BodyEnd::Complete, out);
        }
    }

    /// A request is over: does what follows depend on the answer?
    fn after_request(&mut self, exchange: u64) {
        let waits = self.pairing.pending(exchange).filter(|pending| pending.decides());
        self.requests.phase = match waits {
            Some(pending) => {
                Phase::Held(Held { exchange, connect: pending.connect, ..Held::default() })
            }
            None => Phase::Head(Head::default()),
        };
    }

    fn begin_response(&mut self, head: &ResponseHead, out: &mut Out<'_>) {
        if self.responses.lost {
            self.responses.lost = false;
            self.pairing.responses_missed();
        }
        // 1xx is interim, but for 101 (RFC 9110 §15.2).
        if head.status < 200 && head.status != 101 {
            self.pairing.interim();
            self.responses.next_head();
            if head.extent != Extent::Whole {
                self.responses.lose();
            }
            return;
        }
        let (exchange, pending) = self.pairing.response(out);
        out.http(exchange, self.request_direction, HttpEventKind::ResponseHead(head));
        if self.switches(exchange, head, pending.as_ref(), out) {
            return;
        }
        let framing = if has_no_body(head.status, pending.as_ref()) {
            Ok(Framing::None)
        } else if head.extent == Extent::Whole {
            framing::of_response(&head.headers)
        } else {
            Ok(Framing::Chunked(Box::new(Chunked::lost())))
        };
        self.answered(exchange, pending.as_ref());
        let headers = if head.extent == Extent::Whole { head.headers.as_slice() } else { &[] };
        self.begin_body(Role::Response, exchange, headers, framing, out);
        if head.extent != Extent::Whole {
            match self.responses.phase {
                Phase::Body(_) => self.responses.lost = true,
                _ => self.responses.lose(),
            }
        }
    }

    /// A daemon's answer goes on of which the head is missing.
    fn join_answer(&mut self, out: &mut Out<'_>) {
        let head = ResponseHead {
            status: 200,
            version: HttpVersion::Http11,
            headers: Vec::new(),
            extent: Extent::Missing,
        };
        self.begin_response(&head, out);
    }

    /// A final answer came that keeps the connection HTTP.
    fn answered(&mut self, exchange: u64, pending: Option<&Pending>) {
        match &self.requests.phase {
            Phase::Held(held) if held.exchange == exchange => self.released = true,
            Phase::Body(body) if body.exchange == exchange && body.untouched => {
                self.doubtful = pending.is_some_and(|pending| pending.expects_continue);
            }
            _ => {}
        }
    }

    /// Reads what the request direction held back.
    fn resume_requests(&mut self, out: &mut Out<'_>) {
        if !std::mem::take(&mut self.released) {
            return;
        }
        let phase = std::mem::replace(&mut self.requests.phase, Phase::Head(Head::default()));
        let Phase::Held(held) = phase else {
            self.requests.phase = phase;
            return;
        };
        self.read(Role::Request, &mut held.bytes.as_slice(), out);
        if held.missing > 0 {
            self.gap(self.request_direction, held.missing, out);
        }
        if self.requests.closed {
            self.half_close(self.request_direction, out);
        }
    }

    fn role(&self, direction: Direction) -> Role {
        if direction == self.request_direction { Role::Request } else { Role::Response }
    }

    const fn direction(&self, role: Role) -> Direction {
        match role {
            Role::Request => self.request_direction,
            Role::Response => self.request_direction.reversed(),
        }
    }

    const fn side(&mut self, role: Role) -> &mut Side {
        match role {
            Role::Request => &mut self.requests,
            Role::Response => &mut self.responses,
        }
    }

    const fn place(&self, role: Role) -> Place {
        Place { role, request_direction: self.request_direction }
    }
}

/// RFC 9112 §6.3, rules 1 and 2.
fn has_no_body(status: u16, pending: Option<&Pending>) -> bool {
    matches!(status, 204 | 304) || pending.is_some_and(|pending| pending.head)
}

fn begins_with_request(input: &[u8]) -> bool {
    let line = input.split(|&byte| byte == b'\n').next().unwrap_or_default();
    line.len() < input.len() && looks_like_request(line) && request_line(line).is_some()
}
