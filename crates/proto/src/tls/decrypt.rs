//! Decryption of a TLS connection whose secrets are known (RFC 8446, RFC 5246).
//!
//! In go the bytes of both directions and the secrets, out comes what was said inside. The two
//! directions need not be in step: one that needs what the other says waits, up to a limit. A
//! direction that cannot be read any more (wrong secrets, an unreadable cipher suite, a
//! renegotiation, a hole that is not found the end of) is given up, and what was missing is said.

use tw_model::{ClientCertificate, Direction};

use super::hello::{ClientHello, EncryptedExtensions, ServerHello};
use super::keylog::{ClientRandom, Secret, SessionSecrets};
use super::protection::{Protection, Suite};
use super::side::{Front, Phase, Record, Side};
use crate::Limits;
use crate::limits::length;

const CHANGE_CIPHER_SPEC: u8 = 20;
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const APPLICATION_DATA: u8 = 23;

const END_OF_EARLY_DATA: u8 = 5;
const CERTIFICATE: u8 = 11;
const CERTIFICATE_REQUEST: u8 = 13;
const FINISHED: u8 = 20;
const KEY_UPDATE: u8 = 24;

const NO_CERTIFICATE_BYTES: usize = 4;

/// What follows a direction that is given up in the midst of its data: all of it is missing.
const ALL_THE_REST: u64 = u32::MAX as u64;

/// What came out.
pub(super) enum Piece<'a> {
    /// Application data.
    Data(Direction, &'a [u8]),
    /// Application data that is missing.
    Gap(Direction, u64),
    /// What the handshake shows of client certificates.
    ClientAuth(ClientCertificate),
}

type Sink<'s> = dyn FnMut(Piece<'_>) + 's;

/// What the server chose.
struct Chosen {
    suite: Option<Suite>,
    random: [u8; 32],
}

/// What the server's sealed handshake said of certificates so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Certificates {
    None,
    /// It sent its own.
    Server,
    /// It asked for the client's.
    Asked,
}

/// Decrypts one connection.
pub(super) struct Decryption {
    client: Option<(Direction, ClientRandom)>,
    chosen: Option<Chosen>,
    early_offered: bool,
    /// Did the server take the early data? Once it is known.
    early_taken: Option<bool>,
    /// Something came that the other direction may have waited for.
    news: bool,
    certificates: Certificates,
    secrets: Option<SessionSecrets>,
    /// By `Direction::index`.
    sides: [Side; 2],
    limits: Limits,
}

impl Decryption {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            client: None,
            chosen: None,
            early_offered: false,
            early_taken: None,
            news: false,
            certificates: Certificates::None,
            secrets: None,
            sides: [Side::new(), Side::new()],
            limits: *limits,
        }
    }

    /// Set while all waits for the secrets of this client.
    pub(super) const fn wants_secrets(&self) -> Option<ClientRandom> {
        match (&self.client, &self.secrets) {
            (Some((_, random)), None) => Some(*random),
            _ => None,
        }
    }

    pub(super) fn unlock(&mut self, secrets: &SessionSecrets, sink: &mut Sink<'_>) {
        if self.secrets.is_none() {
            self.secrets = Some(secrets.clone());
            self.run(sink);
        }
    }

    /// Can anything still be read?
    pub(super) fn is_over(&self) -> bool {
        self.sides.iter().all(|side| side.phase == Phase::Lost)
    }

    pub(super) fn data(&mut self, direction: Direction, bytes: &[u8], sink: &mut Sink<'_>) {
        self.side(direction).push(bytes);
        self.run(sink);
    }

    pub(super) fn gap(&mut self, direction: Direction, len: u64, sink: &mut Sink<'_>) {
        // What is lost of a handshake is of no use; the data after it may still be read.
        match self.side(direction).phase {
            Phase::Hello => self.enter_application(direction, sink),
            Phase::Early | Phase::Handshake => self.enter(direction, Phase::Application, sink),
            Phase::Application | Phase::Lost => {}
        }
        let side = self.side(direction);
        if side.phase != Phase::Lost {
            side.gap(len);
        }
    }

    fn side(&mut self, direction: Direction) -> &mut Side {
        let [up, down] = &mut self.sides;
        match direction {
            Direction::ToResponder => up,
            Direction::ToOpener => down,
        }
    }

    fn is_client(&self, direction: Direction) -> bool {
        self.client.is_some_and(|(client, _)| client == direction)
    }

    fn is_tls13(&self) -> bool {
        let suite = self.chosen.as_ref().and_then(|chosen| chosen.suite);
        suite.is_some_and(|suite| suite.tls13)
    }

    /// Reads on in both directions, as long as one of them gets somewhere.
    fn run(&mut self, sink: &mut Sink<'_>) {
        // The client first: what it asked comes before the answer.
        let first = self.client.map_or(Direction::ToResponder, |(client, _)| client);
        let both = [first, first.reversed()];
        while both.into_iter().any(|direction| self.advance(direction, sink)) {}
        for direction in both {
            let limit = length(self.limits.ciphertext_bytes);
            let side = self.side(direction);
            side.compact();
            if side.held_bytes() > limit {
                self.lose(direction, sink);
            }
        }
    }

    /// Reads the records that are there; true where there was one.
    fn advance(&mut self, direction: Direction, sink: &mut Sink<'_>) -> bool {
        let mut any = false;
        while self.wants_secrets().is_none() {
            if self.side(direction).is_searching() {
                if !self.find_again(direction, sink) {
                    break;
                }
            } else {
                match self.side(direction).front() {
                    Front::Record(kind) if self.is_ready(direction, kind, sink) => {
                        let Some(mut record) = self.side(direction).take() else { break };
                        self.record(direction, &mut record, sink);
                        self.side(direction).put_back(record);
                        if std::mem::take(&mut self.news) {
                            return true;
                        }
                    }
                    Front::Malformed => {
                        self.lose(direction, sink);
                        break;
                    }
                    Front::Record(_) | Front::More => break,
                }
            }
            any = true;
        }
        any
    }

    fn find_again(&mut self, direction: Direction, sink: &mut Sink<'_>) -> bool {
        let side = self.side(direction);
        let Some(found) = side.search() else {
            if side.phase == Phase::Lost && side.delivered {
                sink(Piece::Gap(direction, ALL_THE_REST));
            }
            return false;
        };
        if found.lost_bytes > 0 {
            sink(Piece::Gap(direction, found.lost_bytes));
        }
        self.opened(direction, found.kind, &found.plain, sink);
        true
    }

    /// Is all known that this record needs? Asked of a whole record at the front.
    fn is_ready(&mut self, direction: Direction, kind: u8, sink: &mut Sink<'_>) -> bool {
        let phase = self.side(direction).phase;
        if phase == Phase::Hello && self.secrets.is_none() {
            return matches!(kind, HANDSHAKE | ALERT);
        }
        if phase == Phase::Hello && kind == APPLICATION_DATA && self.chosen.is_some() {
            self.leave_hello(direction, sink);
        }
        match self.side(direction).phase {
            Phase::Early => match self.early_taken {
                Some(false) => {
                    self.enter(direction, Phase::Handshake, sink);
                    self.side(direction).expect_others();
                    true
                }
                taken => taken.is_some(),
            },
            // The server's stands before its hello only after a HelloRetryRequest (RFC 8446 §D.4).
            Phase::Hello if kind == CHANGE_CIPHER_SPEC => {
                !self.is_client(direction) || self.chosen.is_some()
            }
            Phase::Hello => matches!(kind, HANDSHAKE | ALERT),
            Phase::Handshake | Phase::Application => true,
            Phase::Lost => false,
        }
    }

    fn record(&mut self, direction: Direction, record: &mut Record, sink: &mut Sink<'_>) {
        let tls13 = self.is_tls13();
        match (self.side(direction).phase, record.kind()) {
            (Phase::Hello, HANDSHAKE) => self.hellos(direction, &record.body),
            (Phase::Hello, CHANGE_CIPHER_SPEC) if self.chosen.is_some() => {
                self.leave_hello(direction, sink);
            }
            (Phase::Hello, _) => {}
            (_, CHANGE_CIPHER_SPEC) if !tls13 => self.lose(direction, sink),
            (_, APPLICATION_DATA) => self.sealed(direction, record, sink),
            (_, HANDSHAKE | ALERT) if !tls13 => self.sealed(direction, record, sink),
            // TLS 1.3 sends nothing else but what is sealed: second hellos, alerts from before the keys.
            _ => {}
        }
    }

    fn sealed(&mut self, direction: Direction, record: &mut Record, sink: &mut Sink<'_>) {
        let side = self.side(direction);
        let Some(mut protection) = side.protection.take() else { return };
        // A record that does not open is overwritten by the attempt; none is looked at twice.
        match protection.open(record.header, &mut record.body) {
            Some(plain) => {
                side.skips = 0;
                side.protection = Some(protection);
                self.opened(direction, record.header[0], plain, sink);
            }
            None if side.skips > 0 => {
                side.skips -= 1;
                side.protection = Some(protection);
            }
            None => self.lose(direction, sink),
        }
    }

    /// Content of an opened record.
    fn opened(&mut self, direction: Direction, kind: u8, plain: &[u8], sink: &mut Sink<'_>) {
        let (kind, content) = if self.is_tls13() {
            // RFC 8446 §5.4: zeros pad; the last other byte is the type.
            let Some(end) = plain.iter().rposition(|&byte| byte != 0) else { return };
            let (content, rest) = plain.split_at_checked(end).unwrap_or_default();
            (rest.first().copied().unwrap_or_default(), content)
        } else {
            (kind, plain)
        };
        match kind {
            APPLICATION_DATA if !content.is_empty() => {
                self.side(direction).delivered = true;
                sink(Piece::Data(direction, content));
            }
            HANDSHAKE if self.is_tls13() => self.sealed_messages(direction, content, sink),
            _ => {}
        }
    }

    fn hellos(&mut self, direction: Direction, content: &[u8]) {
        let limit = length(self.limits.hello_bytes);
        let mut messages = std::mem::take(&mut self.side(direction).messages);
        messages.push(content, limit, &mut |kind, _, body| match kind {
            1 if self.client.is_none() => {
                if let Some(hello) = ClientHello::parse(body) {
                    self.client = Some((direction, ClientRandom(hello.random)));
                    self.early_offered = hello.offers_early_data();
                }
            }
            2 if self.chosen.is_none() => match ServerHello::parse(body) {
                // A retry means that early data is not taken (RFC 8446 §4.2.10).
                Some(hello) if hello.is_retry() => self.early_taken = Some(false),
                Some(hello) => {
                    let suite = Suite::find(hello.cipher);
                    self.chosen = Some(Chosen { suite, random: hello.random });
                    self.news = true;
                }
                None => {}
            },
            _ => {}
        });
        self.side(direction).messages = messages;
    }

    fn sealed_messages(&mut self, direction: Direction, content: &[u8], sink: &mut Sink<'_>) {
        let limit = length(self.limits.hello_bytes);
        let mut messages = std::mem::take(&mut self.side(direction).messages);
        messages.push(content, limit, &mut |kind, len, body| match (
            self.side(direction).phase,
            kind,
        ) {
            (Phase::Handshake, CERTIFICATE | CERTIFICATE_REQUEST) => {
                self.certificates(direction, kind, len, sink);
            }
            (Phase::Early, END_OF_EARLY_DATA) => self.enter(direction, Phase::Handshake, sink),
            (Phase::Handshake, EncryptedExtensions::KIND) if !self.is_client(direction) => {
                self.early_taken = Some(EncryptedExtensions::takes_early_data(body));
                self.news = true;
            }
            (Phase::Handshake, FINISHED) => {
                if !self.is_client(direction) && self.certificates == Certificates::Server {
                    sink(Piece::ClientAuth(ClientCertificate::NotAsked));
                }
                self.enter(direction, Phase::Application, sink);
            }
            (Phase::Application, KEY_UPDATE) => {
                let side = self.side(direction);
                side.protection = side.protection.as_ref().and_then(Protection::next);
            }
            _ => {}
        });
        self.side(direction).messages = messages;
    }

    /// RFC 8446 §4.3.2, §4.4.2. A certificate without an entry is the lengths of an empty context
    /// and of an empty list. A resumed session has neither of the server's messages.
    fn certificates(&mut self, direction: Direction, kind: u8, len: usize, sink: &mut Sink<'_>) {
        match (self.is_client(direction), kind) {
            (false, CERTIFICATE_REQUEST) => self.certificates = Certificates::Asked,
            (false, _) if self.certificates == Certificates::None => {
                self.certificates = Certificates::Server;
            }
            (true, CERTIFICATE) => {
                let given = len > NO_CERTIFICATE_BYTES;
                let shown =
                    if given { ClientCertificate::Given } else { ClientCertificate::Withheld };
                sink(Piece::ClientAuth(shown));
            }
            _ => {}
        }
    }

    /// Both hellos are there: on to the first key.
    fn leave_hello(&mut self, direction: Direction, sink: &mut Sink<'_>) {
        let phase = match self.is_tls13() {
            false => Phase::Application,
            true if self.early_offered && self.is_client(direction) => Phase::Early,
            true => Phase::Handshake,
        };
        self.enter(direction, phase, sink);
    }

    fn enter_application(&mut self, direction: Direction, sink: &mut Sink<'_>) {
        if self.chosen.is_some() && self.secrets.is_some() {
            self.enter(direction, Phase::Application, sink);
        } else {
            self.lose(direction, sink);
        }
    }

    /// On to the keys of a phase. Where those of the handshake are not known, those of the data
    /// wait until a record opens.
    fn enter(&mut self, direction: Direction, phase: Phase, sink: &mut Sink<'_>) {
        let (phase, others) = match (phase, self.protection(direction, phase)) {
            (_, Some(protection)) => {
                self.side(direction).protection = Some(protection);
                (phase, false)
            }
            (Phase::Early | Phase::Handshake, None) => {
                let next =
                    if phase == Phase::Early { Phase::Handshake } else { Phase::Application };
                self.enter(direction, next, sink);
                (self.side(direction).phase, true)
            }
            (_, None) => return self.lose(direction, sink),
        };
        let side = self.side(direction);
        if side.phase != Phase::Lost {
            side.phase = phase;
        }
        if others {
            side.expect_others();
        }
    }

    fn protection(&self, direction: Direction, phase: Phase) -> Option<Protection> {
        let (secrets, chosen) = (self.secrets.as_ref()?, self.chosen.as_ref()?);
        let (suite, (_, random)) = (chosen.suite?, self.client.as_ref()?);
        let of_client = self.is_client(direction);
        if !suite.tls13 {
            let master = secrets.master.as_ref()?;
            return Protection::tls12(suite, master, random, &chosen.random, of_client);
        }
        let secret: &Option<Secret> = match (phase, of_client) {
            (Phase::Early, true) => &secrets.client_early,
            (Phase::Handshake, true) => &secrets.client_handshake,
            (Phase::Handshake, false) => &secrets.server_handshake,
            (Phase::Application, true) => &secrets.client_application,
            (Phase::Application, false) => &secrets.server_application,
            _ => return None,
        };
        Protection::tls13(suite, secret.as_ref()?)
    }

    fn lose(&mut self, direction: Direction, sink: &mut Sink<'_>) {
        let side = self.side(direction);
        let told = side.phase == Phase::Lost || !side.delivered;
        side.lose();
        if !told {
            sink(Piece::Gap(direction, ALL_THE_REST));
        }
    }
}
