//! What every protocol's reader needs to say something.

use tw_model::{AnomalyKind, Direction, ProxyKind, Timestamp};

use crate::{Event, HttpEvent, HttpEventKind, Limits};

/// The sink, and what is the same for every event of the connection.
pub(crate) struct Out<'r> {
    pub(crate) sink: &'r mut dyn FnMut(Event<'_>),
    /// The tunnel that the events are inside of.
    pub(crate) via: Option<(&'r str, ProxyKind)>,
    /// They were inside TLS.
    pub(crate) decrypted: bool,
    /// Are ALPN and JA4 of TLS clients asked for?
    pub(crate) fingerprints: bool,
    pub(crate) limits: &'r Limits,
    pub(crate) totals: &'r mut Totals,
}

/// What is counted over all levels of a connection.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    /// Ordinal of the next exchange.
    pub(crate) exchanges: u64,
    /// Bytes that went into decompression.
    pub(crate) coded_bytes: u64,
    /// Bytes that came out of it.
    pub(crate) decoded_bytes: u64,
    /// When what is being read was captured, as far as that is told.
    pub(crate) now: Timestamp,
}

impl Totals {
    /// The next exchange's ordinal.
    pub(crate) const fn next_exchange(&mut self) -> u64 {
        let exchange = self.exchanges;
        self.exchanges = exchange.wrapping_add(1);
        exchange
    }

    /// May decompression go on?
    pub(crate) fn may_decode(&self, limits: &Limits) -> bool {
        let earned = self.coded_bytes.saturating_mul(u64::from(limits.decoded_ratio));
        self.decoded_bytes <= earned.saturating_add(u64::from(limits.decoded_bytes))
    }
}

impl Out<'_> {
    pub(crate) fn event(&mut self, event: Event<'_>) {
        (self.sink)(event);
    }

    pub(crate) fn anomaly(&mut self, kind: AnomalyKind) {
        (self.sink)(Event::Anomaly(kind));
    }

    pub(crate) fn http(
        &mut self,
        exchange: u64,
        request_direction: Direction,
        kind: HttpEventKind<'_>,
    ) {
        let (via, decrypted) = (self.via, self.decrypted);
        (self.sink)(Event::Http(HttpEvent { exchange, request_direction, via, decrypted, kind }));
    }
}
