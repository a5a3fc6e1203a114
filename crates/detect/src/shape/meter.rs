//! From the records of a connection to its shape.
//!
//! In go the records with their time, out comes a [`TlsShape`] where there is something to tell: when
//! a sign is seen first, from time to time as it grows, and when the exchange is over.

use std::time::Duration;

use tw_model::{Endpoint, FlowId, NetworkTag, Timestamp, TlsShape, Upgraded};

use super::lines::Reading;

/// Longest time after which what has grown is told again.
const TELL_EVERY: Duration = Duration::from_secs(5);
/// RFC 9113 §3.4: bytes of the preface that the client of HTTP/2 begins with.
const PREFACE_BYTES: u16 = 24;

/// Records of the answer that goes over to HTTP/2, as Go writes it: status line, then name, `: `,
/// value and CRLF of `Connection: Upgrade` and `Upgrade: h2c`, then CRLF.
const SWITCHING: [u16; 10] = [34, 10, 2, 7, 2, 7, 2, 3, 2, 2];

/// Measures the shape of one connection.
#[derive(Debug)]
pub struct ShapeMeter {
    flow: FlowId,
    client: Endpoint,
    server: Endpoint,
    tag: NetworkTag,
    ja4: Option<String>,
    next_exchange: u64,
    gaps: bool,
    current: Option<Exchange>,
}

/// One request and its answer.
#[derive(Debug)]
struct Exchange {
    ordinal: u64,
    started: Timestamp,
    asked: Timestamp,
    ended: Timestamp,
    request_bytes: u64,
    answer_bytes: u64,
    answer_records: u64,
    longest_silence: Duration,
    reading: Reading,
    /// Records of [`SWITCHING`] that came, as long as nothing else did.
    switching: Option<usize>,
    upgraded: Option<Upgraded>,
    told: Option<Timestamp>,
}

impl ShapeMeter {
    /// Of a connection between these two; `client` sent the `ClientHello`.
    #[must_use]
    pub const fn new(
        flow: FlowId,
        client: Endpoint,
        server: Endpoint,
        tag: NetworkTag,
        ja4: Option<String>,
    ) -> Self {
        Self { flow, client, server, tag, ja4, next_exchange: 0, gaps: false, current: None }
    }

    /// A record with so much content.
    pub fn record(
        &mut self,
        at: Timestamp,
        sender: Endpoint,
        content_bytes: u16,
        sink: &mut dyn FnMut(TlsShape),
    ) {
        let of_client = sender == self.client;
        if of_client && self.current.as_ref().is_some_and(Exchange::is_answered) {
            self.close(sink);
        }
        let ordinal = self.next_exchange;
        let exchange = self.current.get_or_insert_with(|| Exchange::new(ordinal, at));
        if of_client {
            exchange.client_record(at, content_bytes);
        } else {
            exchange.server_record(at, content_bytes);
        }
        self.tell(at, sink);
    }

    /// Records may be missing.
    pub const fn missing(&mut self) {
        self.gaps = true;
    }

    /// The connection ended, or the next request began.
    pub fn close(&mut self, sink: &mut dyn FnMut(TlsShape)) {
        if let Some(exchange) = self.current.take() {
            self.next_exchange = self.next_exchange.saturating_add(1);
            if exchange.is_of_interest() {
                sink(self.shape(&exchange, true));
            }
        }
    }

    /// Nobody looks any more: what is open stays so.
    pub fn forget(&mut self, sink: &mut dyn FnMut(TlsShape)) {
        if let Some(exchange) = self.current.take()
            && exchange.is_of_interest()
        {
            sink(self.shape(&exchange, false));
        }
    }

    fn tell(&mut self, at: Timestamp, sink: &mut dyn FnMut(TlsShape)) {
        let Some(exchange) = &mut self.current else { return };
        let due = exchange.told.is_none_or(|told| at.since(told) >= TELL_EVERY);
        if due && exchange.is_of_interest() {
            exchange.told = Some(at);
            if let Some(exchange) = &self.current {
                sink(self.shape(exchange, false));
            }
        }
    }

    fn shape(&self, exchange: &Exchange, end_seen: bool) -> TlsShape {
        TlsShape {
            flow: self.flow,
            exchange: exchange.ordinal,
            client: self.client,
            server: self.server,
            tag: self.tag,
            ja4: self.ja4.clone(),
            started: exchange.started,
            asked: exchange.asked,
            ended: exchange.ended,
            end_seen,
            request_bytes: exchange.request_bytes,
            answer_bytes: exchange.answer_bytes,
            answer_records: exchange.answer_records,
            longest_silence: exchange.longest_silence,
            lines: exchange.reading.lines,
            upgraded: exchange.upgraded,
            gaps: self.gaps,
        }
    }
}

impl Exchange {
    fn new(ordinal: u64, at: Timestamp) -> Self {
        Self {
            ordinal,
            started: at,
            asked: at,
            ended: at,
            request_bytes: 0,
            answer_bytes: 0,
            answer_records: 0,
            longest_silence: Duration::ZERO,
            reading: Reading::default(),
            switching: Some(0),
            upgraded: None,
            told: None,
        }
    }

    /// Has an answer begun? What comes from the client then is another request, unless the connection
    /// has become another protocol.
    const fn is_answered(&self) -> bool {
        self.answer_records > 0 && self.upgraded.is_none()
    }

    /// Only what may be a part of a build is told.
    fn is_of_interest(&self) -> bool {
        let conversation = |up: &Upgraded| up.by_server == Some(true) && up.client_records > 0;
        let lines = &self.reading.lines;
        lines.opening && lines.steps > 0 || self.upgraded.as_ref().is_some_and(conversation)
    }

    fn client_record(&mut self, at: Timestamp, content_bytes: u16) {
        self.ended = self.ended.max(at);
        match &mut self.upgraded {
            Some(upgraded) => {
                upgraded.client_records = upgraded.client_records.saturating_add(1);
                if content_bytes == PREFACE_BYTES {
                    upgraded.by_server.get_or_insert(false);
                }
            }
            None => {
                self.asked = self.asked.max(at);
                self.request_bytes = self.request_bytes.saturating_add(content_bytes.into());
            }
        }
    }

    fn server_record(&mut self, at: Timestamp, content_bytes: u16) {
        if self.answer_records > 0 {
            self.longest_silence = self.longest_silence.max(at.since(self.ended));
        }
        self.ended = self.ended.max(at);
        self.answer_bytes = self.answer_bytes.saturating_add(content_bytes.into());
        self.answer_records = self.answer_records.saturating_add(1);
        if let Some(upgraded) = &mut self.upgraded {
            upgraded.server_records = upgraded.server_records.saturating_add(1);
            if content_bytes == PREFACE_BYTES {
                upgraded.by_server.get_or_insert(true);
            }
            return;
        }
        self.reading.push(content_bytes);
        self.switching = self.switching.filter(|at| SWITCHING.get(*at) == Some(&content_bytes));
        self.switching = self.switching.map(|at| at + 1);
        if self.switching == Some(SWITCHING.len()) {
            self.upgraded = Some(Upgraded::default());
        }
    }
}
