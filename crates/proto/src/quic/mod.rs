//! QUIC (RFC 9000, RFC 9001, RFC 9369), as far as it is in clear to anybody: the `ClientHello` in
//! its Initial packets.
//!
//! In go the datagrams of one UDP conversation, in any order and with any of them missing; out comes
//! one `TlsHello`. Initial packets are sealed with a key that their own header tells, so that
//! nothing has to be known beforehand. Everything else (0-RTT, Handshake, 1-RTT, Retry and Version
//! Negotiation) is stepped over. How many packets are opened and how much of a hello is held are
//! bounded ([`Limits`](crate::Limits)).

mod crypto;
mod frames;
mod keys;
mod packet;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

use tw_model::{AnomalyKind, Direction};

use self::crypto::{Crypto, Pushed};
use self::keys::InitialKeys;
use self::packet::{LongHeader, PacketType};
use crate::out::Out;
use crate::reader::Ends;
use crate::tls::{Carrier, ClientHello};
use crate::{Event, Limits};

/// Packets of one datagram that are looked at (RFC 9000 §12.2 coalesces four types).
const MAX_COALESCED: usize = 8;

/// Smallest datagram with an Initial packet of a client; servers drop shorter ones (RFC 9000 §14.1).
const MIN_INITIAL_DATAGRAM_BYTES: usize = 1200;

/// Is it a datagram that begins with a long header of a version that is read? Four bytes of the
/// version have to be right, which no DNS message with a plausible count of questions has.
pub(crate) fn looks_like_quic(bytes: &[u8]) -> bool {
    LongHeader::parse(bytes).is_some()
}

/// One QUIC connection. Which side is the client's is told by whose Initial packets open.
pub(crate) struct Quic {
    ends: Ends,
    /// By `Direction::index`, as long as it may be the client's.
    sides: [Side; 2],
    client: Option<Direction>,
    /// Packets that may still be opened.
    attempts: u32,
    over: bool,
}

/// What a client's direction has brought.
#[derive(Default)]
struct Side {
    keys: Option<Box<InitialKeys>>,
    /// Largest packet number that was opened.
    largest: Option<u64>,
    crypto: Crypto,
}

/// What came of one packet.
enum Opened {
    /// It is not the client's, or was tampered with.
    Sealed,
    /// It brought nothing that completes a hello.
    More,
    /// The first message of the handshake: its type and body.
    Message(u8, Vec<u8>),
    /// No client sends this, or it is more than is held.
    Failed(AnomalyKind),
}

impl Quic {
    pub(crate) fn new(ends: Ends, limits: &Limits) -> Self {
        Self {
            ends,
            sides: Default::default(),
            client: None,
            attempts: limits.quic_initials,
            over: false,
        }
    }

    pub(crate) const fn client_direction(&self) -> Option<Direction> {
        self.client
    }

    pub(crate) const fn wants_more(&self) -> bool {
        !self.over
    }

    /// RFC 9000 §12.2: the packets of a datagram, one after the other.
    pub(crate) fn datagram(&mut self, direction: Direction, bytes: &[u8], out: &mut Out<'_>) {
        let is_short = bytes.len() < MIN_INITIAL_DATAGRAM_BYTES;
        if is_short || self.client.is_some_and(|client| client != direction) {
            return;
        }
        let mut rest = bytes;
        for _ in 0..MAX_COALESCED {
            let Some(header) = LongHeader::parse(rest).filter(|_| !self.over) else { return };
            let Some((packet, after)) = rest.split_at_checked(header.packet_bytes) else { return };
            if header.kind == PacketType::Initial {
                self.initial(direction, &header, packet, out);
            }
            rest = after;
        }
    }

    fn initial(
        &mut self,
        direction: Direction,
        header: &LongHeader<'_>,
        packet: &[u8],
        out: &mut Out<'_>,
    ) {
        let Some(left) = self.attempts.checked_sub(1) else {
            self.over = true;
            return out.anomaly(AnomalyKind::QuicLimit);
        };
        self.attempts = left;
        let Some(side) = self.sides.get_mut(direction.index()) else { return };
        let opened = side.open(header, packet, out.limits);
        if !matches!(opened, Opened::Sealed) {
            self.client = Some(direction);
        }
        match opened {
            Opened::Sealed | Opened::More => {}
            Opened::Message(kind, body) => {
                self.over = true;
                self.hello(direction, kind, &body, out);
            }
            Opened::Failed(kind) => {
                self.over = true;
                out.anomaly(kind);
            }
        }
    }

    /// RFC 9001 §4.3: a client's first message is its hello.
    fn hello(&self, direction: Direction, kind: u8, body: &[u8], out: &mut Out<'_>) {
        let hello = ClientHello::parse(body).filter(|_| kind == ClientHello::KIND);
        let Some(hello) = hello else {
            return out.anomaly(AnomalyKind::TlsMalformed);
        };
        let told = hello.told(&self.ends, direction, Carrier::Quic, out.fingerprints);
        out.event(Event::Tls(told));
    }
}

impl Side {
    fn open(&mut self, header: &LongHeader<'_>, packet: &[u8], limits: &Limits) -> Opened {
        let Some(plain) = self.unseal(header, packet) else { return Opened::Sealed };
        let mut pushed = Pushed::More;
        let sound = frames::each_crypto(&plain, &mut |offset, bytes| {
            if matches!(pushed, Pushed::More) {
                pushed = self.crypto.push(offset, bytes, limits);
            }
        });
        match pushed {
            Pushed::Message(kind, body) => Opened::Message(kind, body),
            Pushed::TooMuch => Opened::Failed(AnomalyKind::QuicLimit),
            Pushed::More if !sound => Opened::Failed(AnomalyKind::TlsMalformed),
            Pushed::More => Opened::More,
        }
    }

    /// The keys go by the destination that the client chose for its very first packet (RFC 9001
    /// §5.2), which it keeps to until the server answers. Another destination under which a packet
    /// opens is that of a new beginning: after a Retry, or because the first packets were not
    /// captured.
    fn unseal(&mut self, header: &LongHeader<'_>, packet: &[u8]) -> Option<Vec<u8>> {
        let largest = self.largest;
        if let Some(keys) = self.keys.as_ref().filter(|keys| keys.version() == header.version)
            && let Some((number, plain)) = keys.open(header, packet, largest)
        {
            self.largest = self.largest.max(Some(number));
            return Some(plain);
        }
        let keys = InitialKeys::of_client(header.version, header.destination)?;
        let (number, plain) = keys.open(header, packet, None)?;
        *self =
            Self { keys: Some(Box::new(keys)), largest: Some(number), crypto: Crypto::default() };
        Some(plain)
    }
}
