//! What is spoken on a connection, or inside a tunnel on it, and how one becomes another.

use tw_model::{AppProtocol, Direction, ProxyKind};

use crate::dns::DnsStream;
use crate::http1::Http1;
use crate::http2::Http2;
use crate::out::Out;
use crate::probe::Probing;
use crate::quic::Quic;
use crate::socks::Socks;
use crate::tls::{ClientRandom, SessionSecrets, Tls};

/// The protocol that the bytes of a connection belong to.
pub(crate) enum Level {
    /// In place: most connections of a scan never get further, and should cost nothing more.
    Probing(Probing),
    Http1(Box<Http1>),
    Http2(Box<Http2>),
    Tls(Box<Tls>),
    Socks(Box<Socks>),
    Dns(Box<DnsStream>),
    Quic(Box<Quic>),
    Ssh,
    /// Nothing that can be read.
    Opaque,
}

/// What a level goes over to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// HTTP/1 with requests in that direction; which directions had other bytes before.
    Http1(Direction, [bool; 2]),
    /// HTTP/2; set where it was joined in mid-stream.
    Http2(bool),
    Tls,
    /// SOCKS with the client's bytes in that direction.
    Socks(Direction),
    Dns,
    Ssh,
    /// Anything, to be recognised afresh inside a tunnel.
    Tunnel(String, ProxyKind),
    /// Anything, to be recognised afresh.
    Unknown,
}

/// A change of protocol, with the bytes that the new one begins with.
#[derive(Debug)]
pub(crate) struct Switch {
    pub(crate) next: Next,
    pub(crate) bytes: [Vec<u8>; 2],
    pub(crate) missing: [u64; 2],
}

impl Switch {
    pub(crate) const fn new(next: Next) -> Self {
        Self { next, bytes: [Vec::new(), Vec::new()], missing: [0; 2] }
    }

    /// These bytes of that direction come next.
    pub(crate) fn replay(&mut self, direction: Direction, bytes: &[u8]) {
        self.replay_with_gap(direction, bytes, 0);
    }

    /// As `replay`, and after them so many are missing.
    pub(crate) fn replay_with_gap(&mut self, direction: Direction, bytes: &[u8], missing: u64) {
        if let Some(held) = self.bytes.get_mut(direction.index()) {
            held.extend_from_slice(bytes);
        }
        if let Some(held) = self.missing.get_mut(direction.index()) {
            *held = held.saturating_add(missing);
        }
    }
}

impl Level {
    pub(crate) fn data(
        &mut self,
        direction: Direction,
        bytes: &[u8],
        out: &mut Out<'_>,
    ) -> Option<Switch> {
        match self {
            Self::Probing(probing) => probing.data(direction, bytes, out.limits),
            Self::Http1(http) => http.data(direction, bytes, out),
            Self::Http2(http) => {
                http.data(direction, bytes, out);
                None
            }
            Self::Tls(tls) => {
                tls.data(direction, bytes, out);
                None
            }
            Self::Socks(socks) => socks.data(direction, bytes, out),
            Self::Dns(dns) => {
                dns.data(direction, bytes, out);
                None
            }
            Self::Quic(_) | Self::Ssh | Self::Opaque => None,
        }
    }

    pub(crate) fn gap(
        &mut self,
        direction: Direction,
        len: u64,
        out: &mut Out<'_>,
    ) -> Option<Switch> {
        match self {
            Self::Probing(probing) => return probing.gap(direction, len),
            Self::Http1(http) => http.gap(direction, len, out),
            Self::Http2(http) => http.gap(direction, len, out),
            Self::Tls(tls) => tls.gap(direction, len, out),
            Self::Socks(_) => return Some(Switch::new(Next::Unknown)),
            Self::Dns(dns) => dns.gap(direction, len),
            Self::Quic(_) | Self::Ssh | Self::Opaque => {}
        }
        None
    }

    pub(crate) fn half_close(&mut self, direction: Direction, out: &mut Out<'_>) {
        match self {
            Self::Http1(http) => http.half_close(direction, out),
            Self::Tls(tls) => tls.half_close(direction, out),
            _ => {}
        }
    }

    pub(crate) fn close(&mut self, out: &mut Out<'_>) -> Option<Switch> {
        match self {
            Self::Http1(http) => http.close(out),
            Self::Http2(http) => {
                http.close(out);
                None
            }
            Self::Tls(tls) => {
                tls.close(out);
                None
            }
            _ => None,
        }
    }

    /// Set where the secrets of this TLS client would open what comes next.
    pub(crate) fn wants_secrets(&self) -> Option<ClientRandom> {
        match self {
            Self::Tls(tls) => tls.wants_secrets(),
            _ => None,
        }
    }

    pub(crate) fn unlock(&mut self, secrets: &SessionSecrets, out: &mut Out<'_>) {
        if let Self::Tls(tls) = self {
            tls.unlock(secrets, out);
        }
    }

    /// Can anything more come of this connection?
    pub(crate) fn wants_more(&self, limits: &crate::Limits) -> bool {
        match self {
            Self::Probing(probing) => probing.wants_more(limits),
            Self::Http1(http) => http.wants_more(),
            Self::Tls(tls) => tls.wants_more(),
            Self::Socks(_) | Self::Dns(_) => true,
            Self::Http2(http) => http.wants_more(),
            Self::Quic(quic) => quic.wants_more(),
            Self::Ssh | Self::Opaque => false,
        }
    }

    pub(crate) const fn app(&self) -> Option<AppProtocol> {
        match self {
            Self::Http1(_) => Some(AppProtocol::Http),
            Self::Http2(_) => Some(AppProtocol::Http2),
            Self::Tls(_) => Some(AppProtocol::Tls),
            Self::Socks(_) => Some(AppProtocol::Socks),
            Self::Dns(_) => Some(AppProtocol::Dns),
            Self::Quic(_) => Some(AppProtocol::Quic),
            Self::Ssh => Some(AppProtocol::Ssh),
            Self::Probing(_) | Self::Opaque => None,
        }
    }

    pub(crate) const fn client_direction(&self) -> Option<Direction> {
        match self {
            Self::Http1(http) => Some(http.request_direction()),
            Self::Http2(http) => http.request_direction(),
            Self::Tls(tls) => tls.client_direction(),
            Self::Quic(quic) => quic.client_direction(),
            Self::Socks(socks) => Some(socks.client_direction()),
            _ => None,
        }
    }
}
