//! Client certificates, as far as the handshake shows them in clear: TLS 1.2 and before (RFC 5246
//! §7.3). In TLS 1.3 they are sealed, and in a resumed session there are none.
//!
//! In go the bytes of both directions, which need not be in step; out comes one answer or none.
//! Nothing is held but the message header that has begun, and the server's hello.

use tw_model::{ClientCertificate, Direction};

use super::hello::ServerHello;
use super::messages::Messages;
use crate::limits::length;

const HANDSHAKE: u8 = 22;
const ALERT: u8 = 21;
const SERVER_HELLO: u8 = 2;
const CERTIFICATE: u8 = 11;
const CERTIFICATE_REQUEST: u8 = 13;
const SERVER_HELLO_DONE: u8 = 14;
const CLIENT_KEY_EXCHANGE: u8 = 16;
/// RFC 5246 §7.4.2: a certificate list without an entry is its length.
const NO_CERTIFICATE_BYTES: usize = 3;
const TLS13: u16 = 0x0304;

/// Reads one handshake.
#[derive(Debug, Default)]
pub(super) struct ClientAuthReader {
    /// By `Direction::index`.
    sides: [Side; 2],
    server: Option<Direction>,
    asked: Option<bool>,
    /// What the client sent, by who it would be.
    given: [Option<bool>; 2],
}

#[derive(Debug, Default)]
struct Side {
    header: Vec<u8>,
    left: usize,
    skipping: bool,
    messages: Messages,
    over: bool,
}

/// Does more have to come?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    More,
    /// The handshake shows nothing.
    Nothing,
    This(ClientCertificate),
}

impl ClientAuthReader {
    pub(super) fn data(
        &mut self,
        direction: Direction,
        bytes: &[u8],
        limits: &crate::Limits,
    ) -> Shown {
        let limit = length(limits.hello_bytes);
        let Some(side) = self.sides.get_mut(direction.index()) else { return Shown::Nothing };
        let mut messages: Vec<(u8, usize, Option<u16>)> = Vec::new();
        side.push(bytes, limit, &mut |kind, len, body| {
            let version = if kind == SERVER_HELLO { ServerHello::parse(body) } else { None };
            if messages.len() < MAX_MESSAGES {
                messages.push((kind, len, version.map(|hello| hello.version)));
            }
        });
        for (kind, len, version) in messages {
            if version.is_some_and(|version| version >= TLS13) {
                return Shown::Nothing;
            }
            self.message(direction, kind, len);
        }
        self.shown()
    }

    /// The direction of the client, once the server's hello has come.
    pub(super) fn client(&self) -> Option<Direction> {
        self.server.map(Direction::reversed)
    }

    /// Bytes are missing, or no more will come that way.
    pub(super) fn end(&mut self, direction: Direction) -> Shown {
        if let Some(side) = self.sides.get_mut(direction.index()) {
            side.over = true;
        }
        self.shown()
    }

    fn message(&mut self, direction: Direction, kind: u8, len: usize) {
        let slot = self.given.get_mut(direction.index());
        match kind {
            SERVER_HELLO => self.server = Some(direction),
            CERTIFICATE_REQUEST if self.server == Some(direction) => self.asked = Some(true),
            SERVER_HELLO_DONE if self.server == Some(direction) => {
                self.asked = self.asked.or(Some(false));
            }
            CERTIFICATE => {
                if let Some(given) = slot {
                    *given = Some(len > NO_CERTIFICATE_BYTES);
                }
            }
            CLIENT_KEY_EXCHANGE => {
                if let Some(given) = slot {
                    *given = given.or(Some(false));
                }
            }
            _ => {}
        }
    }

    fn shown(&self) -> Shown {
        let is_over =
            |direction: Direction| self.sides.get(direction.index()).is_none_or(|s| s.over);
        let Some(server) = self.server else {
            let both = is_over(Direction::ToResponder) && is_over(Direction::ToOpener);
            return if both { Shown::Nothing } else { Shown::More };
        };
        let client = server.reversed();
        let given = self.given.get(client.index()).copied().flatten();
        match (self.asked, given) {
            (Some(false), _) => Shown::This(ClientCertificate::NotAsked),
            (Some(true), Some(true)) => Shown::This(ClientCertificate::Given),
            (Some(true), Some(false)) => Shown::This(ClientCertificate::Withheld),
            (Some(true), None) if is_over(client) => Shown::This(ClientCertificate::Asked),
            (None, _) if is_over(server) => Shown::Nothing,
            _ => Shown::More,
        }
    }
}

impl Side {
    /// RFC 5246 §6.2.1: records of the handshake, up to the first of another kind.
    fn push(&mut self, mut bytes: &[u8], limit: usize, each: &mut dyn FnMut(u8, usize, &[u8])) {
        while !bytes.is_empty() && !self.over {
            if self.left == 0 {
                let wanted = 5_usize.saturating_sub(self.header.len()).min(bytes.len());
                let (taken, rest) = bytes.split_at_checked(wanted).unwrap_or_default();
                self.header.extend_from_slice(taken);
                bytes = rest;
                let [kind, major, _, high, low] = *self.header else { return };
                self.header.clear();
                self.left = usize::from(u16::from_be_bytes([high, low]));
                self.skipping = kind == ALERT;
                if major != 3 || !(self.skipping || kind == HANDSHAKE) {
                    self.over = true;
                    return;
                }
            }
            let (taken, rest) =
                bytes.split_at_checked(self.left.min(bytes.len())).unwrap_or_default();
            self.left = self.left.saturating_sub(taken.len());
            bytes = rest;
            if !self.skipping {
                self.messages.push(taken, limit, each);
            }
        }
    }
}

/// Messages of one piece that are looked at: a handshake has ten.
const MAX_MESSAGES: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Limits;

    fn record(kind: u8, messages: &[(u8, &[u8])]) -> Vec<u8> {
        let mut content = Vec::new();
        for (kind, body) in messages {
            content.push(*kind);
            content.extend_from_slice(&u32::try_from(body.len()).unwrap().to_be_bytes()[1..]);
            content.extend_from_slice(body);
        }
        let mut record = vec![kind, 3, 3];
        record.extend_from_slice(&u16::try_from(content.len()).unwrap().to_be_bytes());
        record.extend_from_slice(&content);
        record
    }

    fn server_hello(version: u16) -> Vec<u8> {
        let mut body = 0x0303_u16.to_be_bytes().to_vec();
        body.extend_from_slice(&[7; 32]);
        body.extend_from_slice(&[0, 0xc0, 0x2f, 0]);
        if version == TLS13 {
            body.extend_from_slice(&[0, 6, 0, 43, 0, 2, 3, 4]);
        }
        body
    }

    /// What a handshake shows, whole and in every cut.
    fn shown(server: &[u8], client: &[u8]) -> Shown {
        let limits = Limits::default();
        let run = |cut: usize| {
            let mut reader = ClientAuthReader::default();
            let mut last = Shown::More;
            for (direction, bytes) in
                [(Direction::ToOpener, server), (Direction::ToResponder, client)]
            {
                for piece in bytes.chunks(cut.max(1)) {
                    if last == Shown::More {
                        last = reader.data(direction, piece, &limits);
                    }
                }
            }
            for direction in [Direction::ToOpener, Direction::ToResponder] {
                if last == Shown::More {
                    last = reader.end(direction);
                }
            }
            last
        };
        let whole = run(usize::MAX);
        for cut in 1..40 {
            assert_eq!(run(cut), whole, "cut at {cut}");
        }
        whole
    }

    #[test]
    fn what_a_handshake_shows() {
        let hello = server_hello(0x0303);
        let asks = record(22, &[(2, &hello), (11, &[0; 9]), (13, &[1, 1]), (14, &[])]);
        let quiet = record(22, &[(2, &hello), (11, &[0; 9]), (14, &[])]);
        let gives = record(22, &[(1, &[0; 40]), (11, &[0; 600]), (16, &[0; 33])]);
        let empty = record(22, &[(1, &[0; 40]), (11, &[0; 3]), (16, &[0; 33])]);
        let none = record(22, &[(1, &[0; 40]), (16, &[0; 33])]);
        let gone = record(22, &[(1, &[0; 40])]);
        let sealed = record(22, &[(2, &server_hello(TLS13))]);
        let mut resumed = record(22, &[(2, &hello)]);
        resumed.extend_from_slice(&[20, 3, 3, 0, 1, 1]);
        let mut warned = vec![21, 3, 3, 0, 2, 1, 112];
        warned.extend_from_slice(&asks);
        for (server, client, what) in [
            (&asks, &gives, Shown::This(ClientCertificate::Given)),
            (&warned, &gives, Shown::This(ClientCertificate::Given)),
            (&asks, &empty, Shown::This(ClientCertificate::Withheld)),
            (&asks, &none, Shown::This(ClientCertificate::Withheld)),
            (&asks, &gone, Shown::This(ClientCertificate::Asked)),
            (&quiet, &none, Shown::This(ClientCertificate::NotAsked)),
            (&sealed, &gone, Shown::Nothing),
            (&resumed, &gone, Shown::Nothing),
        ] {
            assert_eq!(shown(server, client), what);
        }
    }

    #[test]
    fn what_is_no_handshake_shows_nothing() {
        for bytes in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[22, 3, 3, 0, 0], &[22, 9, 9, 1, 1], &[]] {
            assert_eq!(shown(bytes, bytes), Shown::Nothing, "{bytes:?}");
        }
        let limits = Limits::default();
        let mut reader = ClientAuthReader::default();
        let asks = record(22, &[(2, &server_hello(0x0303)), (13, &[1, 1])]);
        assert_eq!(reader.data(Direction::ToOpener, &asks, &limits), Shown::More);
        assert_eq!(reader.end(Direction::ToOpener), Shown::More);
        let end = reader.end(Direction::ToResponder);
        assert_eq!(end, Shown::This(ClientCertificate::Asked), "a hole hides what was answered");
    }
}
