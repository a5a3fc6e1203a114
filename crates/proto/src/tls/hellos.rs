//! The hellos of a TLS connection: name, fingerprint and version. One `TlsHello` a connection, for the
//! first `ClientHello`.

use tw_model::{AnomalyKind, Direction, TlsHello};

use super::hello::{ClientHello, ServerHello, version_name};
use super::ja4::Carrier;
use super::protection::Suite;
use super::record::{Handshake, Message};
use crate::Event;
use crate::limits::length;
use crate::out::Out;
use crate::reader::Ends;

/// The hellos of one TLS connection.
pub(super) struct Hellos {
    ends: Ends,
    /// By `Direction::index`: `None` once the direction can bring no hello any more.
    directions: [Option<Handshake>; 2],
    client: Option<(Direction, TlsHello)>,
    client_direction: Option<Direction>,
    server: Option<(Direction, Option<String>)>,
    told: bool,
    suite: Option<Suite>,
}

impl Hellos {
    pub(super) fn new(ends: Ends) -> Self {
        Self {
            ends,
            directions: [Some(Handshake::default()), Some(Handshake::default())],
            client: None,
            client_direction: None,
            server: None,
            told: false,
            suite: None,
        }
    }

    pub(super) const fn client_direction(&self) -> Option<Direction> {
        self.client_direction
    }

    /// The cipher suite that the server chose, where it is one whose records can be measured.
    pub(super) const fn suite(&self) -> Option<Suite> {
        self.suite
    }

    pub(super) const fn wants_more(&self) -> bool {
        let [one, other] = &self.directions;
        !self.told && (one.is_some() || other.is_some())
    }

    pub(super) fn data(&mut self, direction: Direction, bytes: &[u8], out: &mut Out<'_>) {
        let Some(slot) = self.directions.get_mut(direction.index()) else {
            return;
        };
        let Some(mut handshake) = slot.take() else {
            return;
        };
        match handshake.push(bytes, length(out.limits.hello_bytes)) {
            Message::More => {
                *slot = Some(handshake);
                return;
            }
            Message::Whole(kind, body) => {
                let known = self.hello(direction, kind, body, out.fingerprints);
                if !known {
                    out.anomaly(AnomalyKind::TlsMalformed);
                }
            }
            // Before its hello, anything else is what the other side did not expect.
            Message::Other => {}
            Message::TooLong => out.anomaly(AnomalyKind::TlsMalformed),
        }
        self.end(direction, out);
    }

    /// No hello can come from that direction any more.
    pub(super) fn end(&mut self, direction: Direction, out: &mut Out<'_>) {
        if let Some(slot) = self.directions.get_mut(direction.index()) {
            *slot = None;
        }
        let Some((client, _)) = &self.client else {
            return;
        };
        let server_open =
            self.directions.get(client.reversed().index()).is_some_and(Option::is_some);
        if !server_open {
            self.tell(out);
        }
    }

    pub(super) fn close(&mut self, out: &mut Out<'_>) {
        self.tell(out);
    }

    fn hello(&mut self, direction: Direction, kind: u8, body: &[u8], fingerprints: bool) -> bool {
        match kind {
            ClientHello::KIND => {
                let Some(hello) = ClientHello::parse(body) else {
                    return false;
                };
                let told = hello.told(&self.ends, direction, Carrier::Tcp, fingerprints);
                self.client_direction = Some(direction);
                self.client = Some((direction, told));
                true
            }
            2 => {
                let hello = ServerHello::parse(body);
                self.suite = hello.as_ref().and_then(|hello| Suite::find(hello.cipher));
                let version = hello.as_ref().map(|hello| version_name(hello.version));
                self.server = Some((direction, version));
                hello.is_some()
            }
            // HelloRequest and the like: no hello will be the first any more.
            _ => true,
        }
    }

    fn tell(&mut self, out: &mut Out<'_>) {
        let Some((direction, mut hello)) = self.client.take() else {
            return;
        };
        if let Some((from, version)) = self.server.take()
            && from == direction.reversed()
        {
            hello.version = version;
        }
        self.told = true;
        out.event(Event::Tls(hello));
    }
}
