//! The reader of one connection.

use tw_model::{
    AnomalyKind, AppProtocol, Direction, Endpoint, FlowId, Protocol, ProxyKind, Timestamp,
};

use crate::Event;
use crate::dns::{self, DnsStream};
use crate::http1::Http1;
use crate::http2::Http2;
use crate::level::{Level, Next, Switch};
use crate::limits::Limits;
use crate::out::{Out, Totals};
use crate::probe::Probing;
use crate::quic::{self, Quic};
use crate::socks::Socks;
use crate::tls::{ClientRandom, SessionSecrets, Tls};

/// Changes of protocol on one connection, tunnels in tunnels included; after more it is not read on.
const MAX_SWITCHES: u32 = 32;

/// Reads whatever one connection carries.
///
/// Order of calls: [`joined_midstream`](Self::joined_midstream) at once, if at all; then `data`,
/// `gap` and `half_close` for TCP in the order of each direction, or `datagram` for UDP; `close`
/// last. The two directions need not be in step with each other. Nothing here fails or panics,
/// whatever comes; a call costs time in proportion to its bytes and to what they decompress to,
/// which [`Limits`] bounds.
pub struct Reader {
    ends: Ends,
    protocol: Protocol,
    limits: Limits,
    level: Level,
    via: Option<Box<(String, ProxyKind)>>,
    tunnels: u32,
    switches: u32,
    totals: Totals,
    /// Datagrams in which QUIC is still looked for.
    datagrams_left: u8,
    midstream: bool,
    closed: [bool; 2],
    app: Option<AppProtocol>,
    client_direction: Option<Direction>,
    /// Are secrets to be asked for?
    decrypt: bool,
    /// All of it was inside TLS.
    decrypted: bool,
    /// Are TLS records to be told of?
    tell_records: bool,
    /// Are ALPN and JA4 of hellos asked for?
    fingerprints: bool,
}

/// Whose connection it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ends {
    pub(crate) flow: FlowId,
    pub(crate) opener: Endpoint,
    pub(crate) responder: Endpoint,
}

impl Ends {
    /// Sender and receiver of what goes in that direction.
    pub(crate) const fn sender_and_receiver(&self, direction: Direction) -> (Endpoint, Endpoint) {
        match direction {
            Direction::ToResponder => (self.opener, self.responder),
            Direction::ToOpener => (self.responder, self.opener),
        }
    }
}

impl Reader {
    /// A reader for a connection between `opener` and `responder`. Nothing is on
    /// the heap until bytes come.
    #[must_use]
    pub fn new(
        flow: FlowId,
        opener: Endpoint,
        responder: Endpoint,
        protocol: Protocol,
        limits: Limits,
    ) -> Self {
        let dns = dns::is_port(opener.port) || dns::is_port(responder.port);
        let level = match protocol {
            Protocol::TCP => Level::Probing(Probing::new(false, dns)),
            _ => Level::Opaque,
        };
        let app = (protocol == Protocol::UDP && dns).then_some(AppProtocol::Dns);
        Self {
            ends: Ends { flow, opener, responder },
            protocol,
            limits,
            level,
            via: None,
            tunnels: 0,
            switches: 0,
            totals: Totals::default(),
            datagrams_left: limits.quic_datagrams,
            midstream: false,
            closed: [false; 2],
            app,
            client_direction: None,
            decrypt: false,
            decrypted: false,
            tell_records: false,
            fingerprints: false,
        }
    }

    /// A reader for an HTTP/2 connection that something else carries, seen from its start; its client is
    /// who sends the preface.
    #[must_use]
    pub fn of_http2(flow: FlowId, opener: Endpoint, responder: Endpoint, limits: Limits) -> Self {
        let mut reader = Self::new(flow, opener, responder, Protocol::TCP, limits);
        reader.level = Level::Http2(Box::new(Http2::new(false, &limits)));
        reader.note_protocol();
        reader
    }

    /// A reader for what is said inside TLS on a connection.
    pub(crate) fn inside_tls(ends: Ends, tunnels: u32, out: &Out<'_>) -> Self {
        let Ends { flow, opener, responder } = ends;
        Self {
            via: out.via.map(|(target, kind)| Box::new((target.to_owned(), kind))),
            tunnels: tunnels.saturating_add(1),
            decrypt: true,
            decrypted: true,
            fingerprints: out.fingerprints,
            ..Self::new(flow, opener, responder, Protocol::TCP, *out.limits)
        }
    }

    /// Says that there are, or may be, TLS secrets for this connection: see
    /// [`wants_secrets`](Self::wants_secrets). To be called before any bytes.
    pub const fn decrypt(&mut self) {
        self.decrypt = true;
    }

    /// Asks for the records of TLS that is not decrypted ([`Event::TlsRecord`]): the reader then
    /// wants all of it. To be called before any bytes.
    pub const fn tell_records(&mut self) {
        self.tell_records = true;
    }

    /// Asks for the ALPN and JA4 of TLS clients, which take time. To be called before any bytes.
    pub const fn fingerprint(&mut self) {
        self.fingerprints = true;
    }

    /// Set where the secrets of this TLS client would open what comes next. To be asked after each
    /// call, until it is `None`; where [`unlock`](Self::unlock) does not follow before the next
    /// bytes, the connection stays opaque.
    #[must_use]
    pub fn wants_secrets(&self) -> Option<ClientRandom> {
        if self.decrypt { self.level.wants_secrets() } else { None }
    }

    /// Gives the secrets that were wanted. Wrong ones open nothing.
    pub fn unlock(&mut self, secrets: &SessionSecrets, sink: &mut dyn FnMut(Event<'_>)) {
        let (level, mut out) = self.split(sink);
        level.unlock(secrets, &mut out);
    }

    /// Calls a reader that is inside a connection; what is counted is counted for all of it.
    pub(crate) fn inside(
        &mut self,
        out: &mut Out<'_>,
        act: impl FnOnce(&mut Self, &mut dyn FnMut(Event<'_>)),
    ) {
        std::mem::swap(&mut self.totals, out.totals);
        act(self, &mut *out.sink);
        std::mem::swap(&mut self.totals, out.totals);
    }

    /// Says that the start of the connection was not seen: its first bytes may be the middle of
    /// anything, and a response may belong to a request that was not captured. To be called before
    /// any bytes.
    pub fn joined_midstream(&mut self) {
        self.midstream = true;
        if matches!(self.level, Level::Probing(_)) {
            self.level = self.probing();
        }
    }

    /// Says when the bytes that come next were captured. What fills a hole, or waited behind one,
    /// comes late: with that told, an answer is never paired with a request that was sent after it.
    pub const fn at(&mut self, at: Timestamp) {
        self.totals.now = at;
    }

    /// TCP payload of one direction, in order.
    pub fn data(&mut self, direction: Direction, bytes: &[u8], sink: &mut dyn FnMut(Event<'_>)) {
        let next = match &self.level {
            Level::Probing(probing) if self.closed == [false; 2] => {
                probing.at_once(direction, bytes)
            }
            _ => None,
        };
        if let Some(next) = next {
            self.follow(Switch::new(next), sink);
        }
        let (level, mut out) = self.split(sink);
        if let Some(switch) = level.data(direction, bytes, &mut out) {
            self.follow(switch, sink);
        }
        self.note_protocol();
    }

    /// TCP payload of one direction that is missing.
    pub fn gap(&mut self, direction: Direction, len: u64, sink: &mut dyn FnMut(Event<'_>)) {
        let (level, mut out) = self.split(sink);
        if let Some(switch) = level.gap(direction, len, &mut out) {
            self.follow(switch, sink);
        }
    }

    /// The exchange whose body goes on in that direction, and how many of the next bytes are
    /// certainly its data, uncoded. The caller may hand in as many of them as it likes, and give the
    /// number of the others to [`unread`](Self::unread) in their place.
    #[must_use]
    pub fn plain_body(&self, direction: Direction) -> Option<(u64, u64)> {
        match &self.level {
            Level::Http1(http) => http.plain_body(direction),
            _ => None,
        }
    }

    /// TCP payload of one direction that was there, that [`plain_body`](Self::plain_body) called
    /// plain, and that nobody wanted to see.
    pub fn unread(&mut self, direction: Direction, len: u64, sink: &mut dyn FnMut(Event<'_>)) {
        let (level, mut out) = self.split(sink);
        if let Level::Http1(http) = level {
            http.unread(direction, len, &mut out);
        }
    }

    /// One direction has ended.
    pub fn half_close(&mut self, direction: Direction, sink: &mut dyn FnMut(Event<'_>)) {
        if let Some(closed) = self.closed.get_mut(direction.index()) {
            *closed = true;
        }
        let (level, mut out) = self.split(sink);
        level.half_close(direction, &mut out);
    }

    /// One UDP payload, of which `missing` bytes at the end were cut off by the snap length.
    pub fn datagram(
        &mut self,
        direction: Direction,
        bytes: &[u8],
        missing: u32,
        sink: &mut dyn FnMut(Event<'_>),
    ) {
        if self.protocol != Protocol::UDP {
            return;
        }
        self.look_for_quic(bytes);
        let (ends, is_dns) = (self.ends, self.app == Some(AppProtocol::Dns));
        let (level, mut out) = self.split(sink);
        match level {
            Level::Quic(quic) => quic.datagram(direction, bytes, &mut out),
            _ if is_dns => dns::message(&ends, direction, bytes, missing > 0, &mut out),
            _ => {}
        }
        self.note_protocol();
    }

    /// Goes by what is said, not by the port: QUIC on port 53 is no DNS.
    fn look_for_quic(&mut self, bytes: &[u8]) {
        let Some(left) = self.datagrams_left.checked_sub(1) else { return };
        self.datagrams_left = left;
        if quic::looks_like_quic(bytes) {
            self.datagrams_left = 0;
            self.app = Some(AppProtocol::Quic);
            self.level = Level::Quic(Box::new(Quic::new(self.ends, &self.limits)));
        }
    }

    /// The last call: what is unfinished is reported as such.
    pub fn close(&mut self, sink: &mut dyn FnMut(Event<'_>)) {
        // The last bytes of a level may open another, as often as tunnels may nest.
        for _ in 0..=self.limits.tunnels.saturating_add(1) {
            let (level, mut out) = self.split(sink);
            let Some(switch) = level.close(&mut out) else {
                break;
            };
            self.closed = [true; 2];
            self.follow(switch, sink);
        }
        self.note_protocol();
        self.level = Level::Opaque;
    }

    /// False once nothing more can come of the connection's bytes: TLS after the hellos, a
    /// protocol that is not read, too many bytes that are nothing. Never turns true again.
    #[must_use]
    pub fn wants_more(&self) -> bool {
        match self.protocol {
            Protocol::UDP if !matches!(self.level, Level::Quic(_)) => {
                self.app == Some(AppProtocol::Dns) || self.datagrams_left > 0
            }
            _ => self.level.wants_more(&self.limits),
        }
    }

    /// What is spoken, as far as it was recognised: of a proxied connection the proxy's protocol,
    /// of an upgraded one what it was upgraded to.
    #[must_use]
    pub const fn app(&self) -> Option<AppProtocol> {
        self.app
    }

    /// Which way requests go, or the `ClientHello` or the SOCKS greeting went, once it is known.
    #[must_use]
    pub const fn client_direction(&self) -> Option<Direction> {
        self.client_direction
    }

    fn split<'r>(&'r mut self, sink: &'r mut dyn FnMut(Event<'_>)) -> (&'r mut Level, Out<'r>) {
        let via = self.via.as_deref().map(|(target, kind)| (target.as_str(), *kind));
        let Self { level, limits, totals, decrypted, fingerprints, .. } = self;
        let (decrypted, fingerprints) = (*decrypted, *fingerprints);
        (level, Out { sink, via, decrypted, fingerprints, limits, totals })
    }

    fn probing(&self) -> Level {
        Level::Probing(Probing::new(self.midstream, self.may_be_dns()))
    }

    fn may_be_dns(&self) -> bool {
        let dns = dns::is_port(self.ends.opener.port) || dns::is_port(self.ends.responder.port);
        dns && self.via.is_none()
    }

    /// Goes over to another protocol and hands it the bytes that it begins with.
    fn follow(&mut self, switch: Switch, sink: &mut dyn FnMut(Event<'_>)) {
        let Switch { next, bytes, missing } = switch;
        self.note_protocol();
        self.switches = self.switches.saturating_add(1);
        if self.switches > MAX_SWITCHES {
            self.level = Level::Opaque;
            return;
        }
        self.level = match next {
            Next::Http1(direction, lost) => {
                Level::Http1(Box::new(Http1::new(direction, lost, self.midstream)))
            }
            Next::Http2(joined) => Level::Http2(Box::new(Http2::new(joined, &self.limits))),
            Next::Tls => {
                let mut tls = Tls::new(self.ends, self.tunnels, self.decrypt, &self.limits);
                if self.tell_records && self.tunnels == 0 {
                    tls.tell_records();
                }
                Level::Tls(Box::new(tls))
            }
            Next::Socks(client) => Level::Socks(Box::new(Socks::new(client))),
            Next::Dns => Level::Dns(Box::new(DnsStream::new(self.ends))),
            Next::Ssh => Level::Ssh,
            Next::Unknown => {
                // What looked like a beginning was none: from here on only clear ones count.
                self.midstream = true;
                Level::Probing(Probing::misled(self.may_be_dns()))
            }
            Next::Tunnel(target, kind) => self.tunnel(target, kind, sink),
        };
        self.note_protocol();
        for direction in [Direction::ToResponder, Direction::ToOpener] {
            let index = direction.index();
            if let Some(bytes) = bytes.get(index).filter(|bytes| !bytes.is_empty()) {
                self.data(direction, bytes, sink);
            }
            if let Some(&len) = missing.get(index).filter(|len| **len > 0) {
                self.gap(direction, len, sink);
            }
            if self.closed.get(index).copied().unwrap_or(false) {
                self.half_close(direction, sink);
            }
        }
    }

    fn tunnel(
        &mut self,
        target: String,
        kind: ProxyKind,
        sink: &mut dyn FnMut(Event<'_>),
    ) -> Level {
        if self.tunnels >= self.limits.tunnels {
            sink(Event::Anomaly(AnomalyKind::NestingLimit));
            return Level::Opaque;
        }
        self.tunnels += 1;
        sink(Event::Tunnel(&target, kind));
        self.via = Some(Box::new((target, kind)));
        self.probing()
    }

    fn note_protocol(&mut self) {
        let app = self.level.app();
        let upgraded = app == Some(AppProtocol::Http2) && self.via.is_none();
        if self.app.is_none() || upgraded {
            self.app = app.or(self.app);
        }
        if self.client_direction.is_none() {
            self.client_direction = self.level.client_direction();
        }
    }
}

#[cfg(test)]
mod tests;
