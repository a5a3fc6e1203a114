//! Connections that nobody has asked for yet: as they were told, unread, the latest of them.
//!
//! Most hosts are no docker hosts, and most connections lie in no window. What is told of them is
//! only moved here. It is read, and the store is asked, once the connection turns out to matter: see
//! `Ledger::promote`. The store answers as of the time asked about, so that it does not matter when
//! that is.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;

use tw_model::{Connection, Evidence, FlowId, HttpExchange, KeyedHash, Timestamp, TlsHello};

use crate::names::normalised;
use crate::sighting::{Exchange, MAX_EVIDENCE};

/// What was told of one connection.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) flow: FlowId,
    pub(super) connection: Option<Connection>,
    pub(super) evidence: Vec<Evidence>,
    pub(super) hello: Option<Box<Named>>,
    pub(super) exchanges: Vec<(Box<HttpExchange>, Vec<Evidence>)>,
}

/// What the first hello says of the server.
#[derive(Debug)]
pub(super) struct Named {
    pub(super) client: IpAddr,
    pub(super) server: IpAddr,
    pub(super) name: Box<str>,
    pub(super) at: Timestamp,
}

impl Named {
    /// `None` where it names nothing.
    pub(super) fn of(hello: &TlsHello, at: Timestamp) -> Option<Self> {
        let name = normalised(hello.sni.as_deref()?)?.into();
        Some(Self { client: hello.client.ip, server: hello.server.ip, name, at })
    }
}

/// Connections in the order in which they were first told of.
#[derive(Debug, Default)]
pub(super) struct Recent {
    told: VecDeque<Told>,
    /// Numbers of connections, counted from the first ever.
    numbers: HashMap<FlowId, u64, KeyedHash>,
    /// Number of the oldest that is here.
    oldest: u64,
}

impl Recent {
    pub(super) fn len(&self) -> usize {
        self.told.len()
    }

    pub(super) fn has(&self, flow: FlowId) -> bool {
        self.numbers.contains_key(&flow)
    }

    /// The connection of that identity, or a new one.
    pub(super) fn told(&mut self, flow: FlowId) -> Option<&mut Told> {
        let next = self.oldest.saturating_add(u64::try_from(self.told.len()).ok()?);
        let number = *self.numbers.entry(flow).or_insert(next);
        if number == next {
            // Not twice as much at once: there are many of them.
            if self.told.len() == self.told.capacity() {
                self.told.reserve_exact((self.told.len() / 8).max(64));
            }
            self.told.push_back(Told::new(flow));
        }
        self.told.get_mut(usize::try_from(number.checked_sub(self.oldest)?).ok()?)
    }

    /// Takes out the connection that was told of first.
    pub(super) fn pop_oldest(&mut self) -> Option<Told> {
        let told = self.told.pop_front()?;
        self.numbers.remove(&told.flow);
        self.oldest = self.oldest.saturating_add(1);
        Some(told)
    }

    /// Takes out all that are wanted; the others stay in their order.
    pub(super) fn take(&mut self, wanted: impl Fn(&Told) -> bool) -> Vec<Told> {
        if !self.told.iter().any(&wanted) {
            return Vec::new();
        }
        let (taken, left): (Vec<_>, Vec<_>) = self.told.drain(..).partition(wanted);
        self.told = left.into();
        self.numbers = (self.oldest..).zip(&self.told).map(|(n, told)| (told.flow, n)).collect();
        taken
    }
}

impl Told {
    const fn new(flow: FlowId) -> Self {
        Self { flow, connection: None, evidence: Vec::new(), hello: None, exchanges: Vec::new() }
    }

    /// Takes the connection if it tells more than what is there.
    pub(super) fn update(&mut self, c: Connection, evidence: Vec<Evidence>) {
        let newer =
            self.connection.as_ref().is_none_or(|old| (c.ended, c.last) >= (old.ended, old.last));
        if newer {
            self.connection = Some(c);
        }
        if self.evidence.is_empty() {
            self.evidence = evidence;
            return;
        }
        for e in evidence {
            if self.evidence.len() < MAX_EVIDENCE && !self.evidence.contains(&e) {
                self.evidence.reserve_exact(1);
                self.evidence.push(e);
            }
        }
    }

    /// Takes an exchange, or what is newer of one; false where there is no room.
    pub(super) fn exchange(
        &mut self,
        exchange: Box<HttpExchange>,
        evidence: Vec<Evidence>,
        limit: usize,
    ) -> bool {
        let is_full = self.exchanges.len() >= limit;
        let mut latest_first = self.exchanges.iter_mut().rev();
        match latest_first.find(|(known, _)| known.index == exchange.index) {
            Some(known) if exchange.ended >= known.0.ended => *known = (exchange, evidence),
            Some(_) => {}
            None if is_full => return false,
            None => self.exchanges.push((exchange, evidence)),
        }
        true
    }

    /// Does it show that a registry or a proxy is at its other end?
    pub(super) fn tells_of_its_place(&self) -> bool {
        self.connection.as_ref().is_some_and(|c| c.tunnel.is_some())
            || self.exchanges.iter().any(|(x, _)| x.proxy.is_some() || Exchange::may_be_registry(x))
    }
}
