//! A session inside a call: `moby.buildkit.v1.Control/Session`, by which clients of a buildkitd of its
//! own open what is `POST /session` with dockerd.
//!
//! Both directions carry messages of bytes (`api/services/control/control.proto`, `BytesMessage`), and
//! these are an HTTP/2 connection whose client is the daemon (`session/grpchijack`). It is read as one, and
//! nothing that is inside of it is looked into for another session.

use std::collections::BTreeMap;
use std::sync::Arc;

use tw_model::{Caveat, Direction, Evidence};
use tw_proto::{Event, HttpEvent, HttpEventKind, Reader};

use super::grpc::{Messages, Room};
use super::hub::{Hub, SessionKey};
use super::method::Method;
use super::protobuf::{Fields, Value};
use super::rpc::Rpc;
use super::{MAX_TUNNEL_CALLS, api_call};
use crate::api::ConnFacts;

/// Path of the call.
pub(crate) const PATH: &str = "/moby.buildkit.v1.Control/Session";

/// More than any frame: after a hole of unknown length nothing is where it would have been.
const UNKNOWN_LENGTH: u64 = 1 << 40;

/// One session.
pub(crate) struct Tunnel {
    /// By `Direction::index`: what the client sends, what the daemon sends.
    messages: [Messages; 2],
    request_over: bool,
    response_over: bool,
    reader: Reader,
    inner: Inner,
    /// By which those that are open are counted.
    _token: Arc<()>,
}

/// What is said inside.
struct Inner {
    /// Opened by the client.
    conn: ConnFacts,
    session: SessionKey,
    rpcs: BTreeMap<u64, Rpc>,
}

impl Tunnel {
    /// `conn` has the client as its opener.
    pub(crate) fn new(conn: ConnFacts, session: SessionKey, token: Arc<()>) -> Self {
        // Many of these may be open beside each other, inside of what has limits of its own.
        let limits = tw_proto::Limits {
            header_block_bytes: 64 << 10,
            hpack_table_bytes: 64 << 10,
            streams: 256,
            ..tw_proto::Limits::default()
        };
        Self {
            messages: Default::default(),
            request_over: false,
            response_over: false,
            reader: Reader::of_http2(conn.flow, conn.opener, conn.responder, limits),
            inner: Inner { conn, session, rpcs: BTreeMap::new() },
            _token: token,
        }
    }

    /// One event of the call.
    pub(crate) fn event(
        &mut self,
        kind: &HttpEventKind<'_>,
        at: Evidence,
        room: &mut Room,
        hub: &mut Hub,
    ) {
        let (up, down) = (Direction::ToResponder, Direction::ToOpener);
        match *kind {
            HttpEventKind::RequestHead(head) => self.coding(up, head.header("grpc-encoding")),
            HttpEventKind::ResponseHead(head) => self.coding(down, head.header("grpc-encoding")),
            HttpEventKind::RequestBody(bytes) => self.bytes(up, bytes, at, room, hub),
            HttpEventKind::ResponseBody(bytes) => self.bytes(down, bytes, at, room, hub),
            HttpEventKind::RequestGap(len) | HttpEventKind::RequestUnread(len) => {
                self.gap(up, len, at, room, hub);
            }
            HttpEventKind::ResponseGap(len) | HttpEventKind::ResponseUnread(len) => {
                self.gap(down, len, at, room, hub);
            }
            HttpEventKind::RequestEnd(_) => self.request_over = true,
            HttpEventKind::ResponseEnd(_) => self.response_over = true,
            HttpEventKind::Reset(_) => {
                self.request_over = true;
                self.response_over = true;
            }
            HttpEventKind::ResponseTrailers(_)
            | HttpEventKind::Upgraded(_)
            | HttpEventKind::Upstream { .. } => {}
        }
    }

    /// Were both directions seen to their ends?
    pub(crate) const fn is_over(&self) -> bool {
        self.request_over && self.response_over
    }

    /// Nothing more will come; gives the build of which nothing but the session was seen.
    pub(crate) fn end(&mut self, at: Evidence, room: &mut Room, hub: &mut Hub) -> Option<u64> {
        for (_, mut rpc) in std::mem::take(&mut self.inner.rpcs) {
            rpc.over(at, room, hub);
        }
        hub.end_session(&self.inner.session)
    }

    fn coding(&mut self, direction: Direction, name: Option<&str>) {
        if let Some(messages) = self.messages.get_mut(direction.index()) {
            messages.coding(name);
        }
    }

    fn bytes(
        &mut self,
        direction: Direction,
        bytes: &[u8],
        at: Evidence,
        room: &mut Room,
        hub: &mut Hub,
    ) {
        let Some(messages) = self.messages.get_mut(direction.index()) else { return };
        let mut pieces = Vec::new();
        messages.push(bytes, room, &mut |message, whole| pieces.push(Piece::read(message, whole)));
        self.pieces(direction, &pieces, at, room, hub);
    }

    fn gap(
        &mut self,
        direction: Direction,
        len: u64,
        at: Evidence,
        room: &mut Room,
        hub: &mut Hub,
    ) {
        let Some(messages) = self.messages.get_mut(direction.index()) else { return };
        let was_lost = messages.is_lost();
        let mut pieces = Vec::new();
        messages.gap(len, room, &mut |message, whole| pieces.push(Piece::read(message, whole)));
        if messages.is_lost() && !was_lost {
            pieces.push(Piece { bytes: Vec::new(), missing: UNKNOWN_LENGTH });
        }
        self.pieces(direction, &pieces, at, room, hub);
    }

    fn pieces(
        &mut self,
        direction: Direction,
        pieces: &[Piece],
        at: Evidence,
        room: &mut Room,
        hub: &mut Hub,
    ) {
        let Self { reader, inner, .. } = self;
        let mut each = |event: Event<'_>| match event {
            Event::Http(http) => inner.http(&http, at, room, hub),
            Event::Anomaly(_) => room.messages_cut = room.messages_cut.saturating_add(1),
            _ => {}
        };
        for piece in pieces {
            reader.data(direction, &piece.bytes, &mut each);
            if piece.missing > 0 {
                reader.gap(direction, piece.missing, &mut each);
            }
        }
    }
}

impl Inner {
    /// As on the connection of a `POST /session`: files are read, and anything else that the daemon
    /// asks for says that it works.
    fn http(&mut self, event: &HttpEvent<'_>, at: Evidence, room: &mut Room, hub: &mut Hub) {
        if let HttpEventKind::RequestHead(head) = event.kind
            && event.request_direction == Direction::ToOpener
        {
            let missed = if self.conn.midstream { Caveat::Midstream } else { Caveat::Gaps };
            match Method::of(&head.target) {
                Some(Method::DiffCopy) => {
                    let api = api_call(&self.conn, event, Some(head), at);
                    let mut rpc = Rpc::new(Method::DiffCopy, api, missed, head);
                    rpc.join_session(Some(&self.session));
                    self.begin(event.exchange, rpc, at, room, hub);
                }
                None if head.target.starts_with("/moby.") => {
                    hub.session_is_used(&self.session, false, missed, at);
                }
                _ => {}
            }
        }
        let Some(rpc) = self.rpcs.get_mut(&event.exchange) else { return };
        rpc.event(&event.kind, at, room, hub);
        if rpc.is_over() {
            self.rpcs.remove(&event.exchange);
        }
    }

    fn begin(&mut self, exchange: u64, rpc: Rpc, at: Evidence, room: &mut Room, hub: &mut Hub) {
        if self.rpcs.len() >= MAX_TUNNEL_CALLS
            && let Some((_, mut oldest)) = self.rpcs.pop_first()
        {
            oldest.over(at, room, hub);
            room.messages_cut = room.messages_cut.saturating_add(1);
        }
        self.rpcs.insert(exchange, rpc);
    }
}

/// Bytes of the inner connection, and how many are missing after them.
struct Piece {
    bytes: Vec<u8>,
    missing: u64,
}

impl Piece {
    /// `BytesMessage`: 1 {data}.
    fn read(message: &[u8], whole: bool) -> Self {
        if whole {
            let data = Fields::new(message).find_map(|field| match field {
                (1, Value::Bytes(bytes)) => Some(bytes.to_vec()),
                _ => None,
            });
            return Self { bytes: data.unwrap_or_default(), missing: 0 };
        }
        begun(message).unwrap_or(Self { bytes: Vec::new(), missing: UNKNOWN_LENGTH })
    }
}

/// The beginning of a message: tag and length of its field, and as much of it as there is.
fn begun(message: &[u8]) -> Option<Piece> {
    let mut rest = message.strip_prefix(b"\x0a")?;
    let mut len = 0;
    for shift in (0..35).step_by(7) {
        let (&byte, after) = rest.split_first()?;
        rest = after;
        len |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            let missing = len.checked_sub(u64::try_from(rest.len()).ok()?)?;
            return Some(Piece { bytes: rest.to_vec(), missing });
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_beginning_of_a_message_says_what_is_missing() {
        let whole = [b"\x0a\xac\x02".as_slice(), &[7; 300]].concat();
        let piece = Piece::read(&whole, true);
        assert_eq!((piece.bytes.len(), piece.missing), (300, 0));
        for at in 3..whole.len() {
            let piece = Piece::read(&whole[..at], false);
            assert_eq!((piece.bytes.len(), piece.missing), (at - 3, 303 - at as u64));
        }
        for odd in [&b""[..], b"\x0a", b"\x0a\xac", b"\x12\x01", b"\x0a\x01ab", &[0xff; 20]] {
            assert_eq!(Piece::read(odd, false).missing, UNKNOWN_LENGTH, "{odd:?}");
        }
    }
}
