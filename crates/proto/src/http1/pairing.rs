//! Which response belongs to which request: first to first (RFC 9112 §9.3.2).

use std::collections::VecDeque;

use tw_model::{AnomalyKind, Timestamp};

use crate::http::fields::list;
use crate::limits::length;
use crate::out::Out;
use crate::{Extent, RequestHead, Upgrade};

/// A request without its response, as far as the response's meaning depends on it.
#[derive(Clone, Debug)]
pub(crate) struct Pending {
    pub(crate) exchange: u64,
    /// `HEAD`: the response has no body.
    pub(crate) head: bool,
    pub(crate) connect: bool,
    pub(crate) post: bool,
    /// What it asked to become.
    pub(crate) upgrade: Option<Upgrade>,
    /// `Expect: 100-continue`, and no interim response yet.
    pub(crate) expects_continue: bool,
    /// Of a CONNECT: where to.
    pub(crate) target: Option<String>,
    /// When it was captured.
    asked: Timestamp,
}

impl Pending {
    fn new(exchange: u64, head: &RequestHead, asked: Timestamp) -> Self {
        let connect = head.method == "CONNECT";
        let expects = |value: &str| value.eq_ignore_ascii_case("100-continue");
        Self {
            exchange,
            head: head.method == "HEAD",
            connect,
            post: head.method == "POST",
            upgrade: upgrade(list(&head.headers, "upgrade")).or_else(|| cut_upgrade(head)),
            expects_continue: list(&head.headers, "expect").any(expects),
            target: connect.then(|| head.target.clone()),
            asked,
        }
    }

    /// Does the answer say what follows the request?
    pub(crate) const fn decides(&self) -> bool {
        self.connect || self.upgrade.is_some()
    }
}

/// Where the fields were cut off: two calls of Docker always become HTTP/2 (Docker Engine API v1.43,
/// Session; observed: buildx 0.32, `/grpc`). What the answer itself says comes first.
fn cut_upgrade(head: &RequestHead) -> Option<Upgrade> {
    let is_session = head.target.ends_with("/session") || head.target.ends_with("/grpc");
    let becomes_http2 = head.extent == Extent::Fields && head.method == "POST" && is_session;
    becomes_http2.then_some(Upgrade::H2c)
}

/// RFC 9110 §7.8: the first protocol of the `Upgrade` field that is known here.
pub(crate) fn upgrade<'h>(names: impl Iterator<Item = &'h str>) -> Option<Upgrade> {
    let mut found = None;
    for name in names {
        let upgrade = match name.to_ascii_lowercase().as_str() {
            "h2c" => Upgrade::H2c,
            "tcp" => Upgrade::Tcp,
            "websocket" => Upgrade::Websocket,
            _ => Upgrade::Other,
        };
        if upgrade != Upgrade::Other {
            return Some(upgrade);
        }
        found = Some(upgrade);
    }
    found
}

/// The requests of a connection that wait for responses, and the other way round.
#[derive(Debug, Default)]
pub(crate) struct Pairing {
    waiting: VecDeque<Pending>,
    /// Exchanges whose response was captured before its request: two taps, two clocks.
    early: VecDeque<u64>,
    /// Requests may have been missed, so that a response without one does not wait for it.
    requests_missed: bool,
    /// Bytes are missing, so that first to first is no longer certain.
    missed: bool,
    pipelined: bool,
}

impl Pairing {
    pub(crate) fn new(requests_missed: bool) -> Self {
        Self { requests_missed, ..Self::default() }
    }

    /// A request's head is complete.
    pub(crate) fn request(&mut self, head: &RequestHead, out: &mut Out<'_>) -> Pending {
        if let Some(exchange) = self.early.pop_front() {
            return Pending::new(exchange, head, out.totals.now);
        }
        let pending = Pending::new(out.totals.next_exchange(), head, out.totals.now);
        if self.waiting.len() >= length(out.limits.pipelined) {
            self.waiting.pop_front();
            out.anomaly(AnomalyKind::HttpLimit);
        }
        self.waiting.push_back(pending.clone());
        pending
    }

    /// A final response's head is complete: its exchange, and the request where it is known.
    ///
    /// A client that does not pipeline waits for the answer to its latest request, so where messages
    /// may have been missed it is that one. Whether it does shows only here: a request that follows
    /// another may also follow an answer that was lost and is not missed yet.
    pub(crate) fn response(&mut self, out: &mut Out<'_>) -> (u64, Option<Pending>) {
        let now = out.totals.now;
        let asked = self.waiting.iter().take_while(|pending| pending.asked <= now).count();
        if !self.missed {
            self.pipelined |= asked > 1;
        } else if !self.pipelined {
            self.waiting.drain(..asked.saturating_sub(1));
        }
        let is_its_own = |front: &Pending| !self.missed || front.asked <= now;
        if self.waiting.front().is_some_and(is_its_own)
            && let Some(pending) = self.waiting.pop_front()
        {
            return (pending.exchange, Some(pending));
        }
        let exchange = out.totals.next_exchange();
        if !self.requests_missed && self.early.len() < length(out.limits.pipelined) {
            self.early.push_back(exchange);
        }
        (exchange, None)
    }

    /// A response that is not the last one of its exchange.
    pub(crate) fn interim(&mut self) {
        if let Some(pending) = self.waiting.front_mut() {
            pending.expects_continue = false;
        }
    }

    /// The request of that exchange, while it has no response.
    pub(crate) fn pending(&self, exchange: u64) -> Option<&Pending> {
        self.waiting.iter().rev().find(|pending| pending.exchange == exchange)
    }

    /// Does the next answer say what follows the request?
    pub(crate) fn next_decides(&self) -> bool {
        self.waiting.front().is_some_and(Pending::decides)
    }

    /// Bytes of the request direction are missing.
    pub(crate) fn requests_missed(&mut self) {
        self.requests_missed = true;
        self.missed = true;
        self.early.clear();
    }

    /// Responses may have been missed.
    pub(crate) const fn responses_missed(&mut self) {
        self.missed = true;
    }
}
