//! The reader of Docker APIs: HTTP events in, observations out.

mod upload;

use std::collections::BTreeMap;

use tw_model::{Direction, Endpoint, Evidence, FlowId, NetworkTag, Observation, Secrets};
use tw_proto::{HttpEvent, HttpEventKind};

use crate::bounded::Bounded;
use crate::buildkit::Buildkit;
use crate::call::Turn;
use crate::content::context::ContextLimits;
use crate::exchange::{Exchange, Fetched};
use crate::memory::{Memory, OpenRemote};
use crate::registry::Registries;
use crate::remote::{Fetch, comparable};

/// What must not grow without bound. Each limit has its counter in [`Counters`].
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections with open HTTP exchanges.
    pub connections: usize,
    /// Open exchanges of one connection.
    pub exchanges: usize,
    /// Build contexts that are being read at once.
    pub open_builds: usize,
    /// Daemons, and hosts of daemons, that are remembered.
    pub daemons: usize,
    /// Containers that are remembered of each host.
    pub containers_per_host: usize,
    /// Execs that were created and not yet started; also BuildKit sessions.
    pub execs: usize,
    /// Repositories that hosts pull from or push to, followed at once.
    pub repositories: usize,
    /// Manifests that are being read at once, of up to 4 MiB each.
    pub open_manifests: usize,
    /// Decoded bytes that are read of each build context.
    pub context_bytes: u64,
    /// Bytes of each Dockerfile.
    pub dockerfile_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 65_536,
            exchanges: 128,
            open_builds: 256,
            daemons: 4_096,
            containers_per_host: 256,
            execs: 4_096,
            repositories: 4_096,
            open_manifests: 64,
            context_bytes: 512 << 20,
            dockerfile_bytes: 1 << 20,
        }
    }
}

impl Limits {
    /// Those of one context.
    pub(crate) fn context(&self) -> ContextLimits {
        ContextLimits {
            max_decoded_bytes: self.context_bytes,
            max_dockerfile_bytes: self.dockerfile_bytes,
            ..ContextLimits::default()
        }
    }
}

/// What the limits cost, and what could not be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Connections that were given up to stay within [`Limits::connections`].
    pub connections_evicted: u64,
    /// Exchanges that were given up to stay within [`Limits::exchanges`].
    pub exchanges_evicted: u64,
    /// Build contexts that were not read because of [`Limits::open_builds`].
    pub contexts_unread: u64,
    /// Build contexts that do not parse, or are over a limit.
    pub contexts_malformed: u64,
    /// Create and exec bodies that are cut off, too large or no JSON; read as far as possible.
    pub json_malformed: u64,
    /// Manifests that were not read because of [`Limits::open_manifests`].
    pub manifests_unread: u64,
    /// Repositories and images that were told before their end to stay within
    /// [`Limits::repositories`].
    pub repositories_evicted: u64,
    /// Remembered daemons, containers, execs, sessions and awaited files that had to go.
    pub memory_evicted: u64,
    /// Messages of BuildKit that were cut because they, or all together, are over a limit.
    pub grpc_cut: u64,
    /// Builds, sessions, connections and calls of BuildKit that were given up to stay within limits.
    pub buildkit_evicted: u64,
}

/// What the owner of a connection knows of it. Given with every event.
#[derive(Clone, Copy, Debug)]
pub struct ConnFacts {
    /// Identity.
    pub flow: FlowId,
    /// Who opened it.
    pub opener: Endpoint,
    /// The other side.
    pub responder: Endpoint,
    /// Which network it is on.
    pub tag: NetworkTag,
    /// Decrypted TLS?
    pub tls: bool,
    /// Its beginning was not seen.
    pub midstream: bool,
    /// Is it a docker host that asks? Then digests of response bodies are wanted, and exchanges are told
    /// as soon as they are answered. Read when a response's head comes.
    pub hash: bool,
}

/// Gives HTTP its Docker meaning.
///
/// Order of calls: [`http`](Self::http) for every event of every HTTP connection, in packet order;
/// then for each connection one of [`close`](Self::close) (its end was seen) or
/// [`forget`](Self::forget) (nobody looks any more); [`finish`](Self::finish) at the end of input.
/// Observations of one identity replace earlier ones. A build or creation is open until `end_seen`
/// is set or it carries the caveat `end-unseen`.
///
/// Never panics and never fails. Costs one map look-up an event, and for API calls what reading
/// their bodies costs.
pub struct Api {
    limits: Limits,
    secrets: Secrets,
    conns: Bounded<FlowId, Exchanges>,
    memory: Memory,
    buildkit: Buildkit,
    registries: Registries,
    counters: Counters,
    latest: Option<Evidence>,
}

/// Boxed, as most connections have one open and a map makes room for eleven.
type Exchanges = BTreeMap<u64, Box<Exchange>>;

/// Connection and exchange.
type Key = (FlowId, u64);

/// Answers of one connection whose requests may still come.
const MAX_UNASKED: usize = 4;

impl Api {
    /// Nothing is known yet.
    #[must_use]
    pub fn new(limits: Limits, secrets: Secrets) -> Self {
        Self {
            conns: Bounded::new(limits.connections),
            memory: Memory::new(&limits),
            buildkit: Buildkit::new(&limits, secrets),
            registries: Registries::new(limits.repositories, limits.open_manifests),
            counters: Counters::default(),
            latest: None,
            limits,
            secrets,
        }
    }

    /// One event of one exchange of one connection.
    pub fn http(
        &mut self,
        conn: &ConnFacts,
        event: &HttpEvent<'_>,
        at: Evidence,
        sink: &mut dyn FnMut(Observation),
    ) {
        self.latest = Some(at);
        self.buildkit.http(conn, event, at, sink);
        self.exchange_event(conn, event, at, sink);
        self.deliver(at, sink);
    }

    fn exchange_event(
        &mut self,
        conn: &ConnFacts,
        event: &HttpEvent<'_>,
        at: Evidence,
        sink: &mut dyn FnMut(Observation),
    ) {
        let begins =
            matches!(event.kind, HttpEventKind::RequestHead(_) | HttpEventKind::ResponseHead(_));
        if begins {
            self.open(conn, event, at, sink);
        }
        let Some(open) = self.conns.get_mut(&conn.flow) else { return };
        let Some(exchange) = open.get_mut(&event.exchange) else { return };
        let turn = &mut Turn {
            now: at.timestamp,
            secrets: self.secrets,
            limits: &self.limits,
            memory: &mut self.memory,
            counters: &mut self.counters,
            tokens: &mut self.registries.tokens,
        };
        exchange.event(conn, event, at, turn);
        exchange.tell(at, sink);
        let fetched = exchange.fetched(&event.kind);
        let step = exchange.registry_step(at);
        let has_brought =
            matches!(event.kind, HttpEventKind::RequestEnd(_)) && exchange.upload().is_some();
        let mut gone = None;
        if exchange.is_over() {
            exchange.over(false, at, turn, sink);
            gone = open.remove(&event.exchange);
            if open.is_empty() {
                self.conns.remove(&conn.flow);
            }
        }
        if let Some(step) = step {
            self.registries.step(&step, sink);
        }
        if let HttpEventKind::RequestHead(_) = event.kind {
            self.begin_fetch(conn.flow, event.exchange);
            self.own_session(conn.flow, event.exchange);
            self.join_upload((conn.flow, event.exchange), at, sink);
        }
        match gone {
            Some(mut gone) => self.hand_over(&mut gone, at, sink),
            None if has_brought => self.deliver_upload((conn.flow, event.exchange), at, sink),
            None => {}
        }
        match fetched {
            Some(Fetched::File(fetch)) => self.end_fetch(*fetch, at, sink),
            Some(Fetched::Elsewhere(build, url)) => {
                let host = conn_client(conn, event);
                self.memory.wait_for(build, OpenRemote { url, host });
            }
            None => {}
        }
    }

    /// Does anybody look at what the body of this exchange that goes in `direction` says, other than
    /// at its length? A body is either read to its end or not from some place on: what is decided
    /// after the head stays.
    #[must_use]
    pub fn reads_body(&self, flow: FlowId, exchange: u64, of_request: bool) -> bool {
        let open = self.conns.get(&flow).and_then(|open| open.get(&exchange));
        open.is_some_and(|exchange| exchange.reads_body(of_request))
    }

    /// The connection was seen to end: FIN or RST. What it had not answered by then is canceled.
    pub fn close(&mut self, flow: FlowId, at: Evidence, sink: &mut dyn FnMut(Observation)) {
        self.end(flow, true, at, sink);
    }

    /// The connection is given up: idle, evicted, its ports used anew. Its end was not seen.
    pub fn forget(&mut self, flow: FlowId, at: Evidence, sink: &mut dyn FnMut(Observation)) {
        self.end(flow, false, at, sink);
    }

    /// The end of input: everything that is open is told for the last time.
    pub fn finish(&mut self, sink: &mut dyn FnMut(Observation)) {
        let Some(at) = self.latest else { return };
        self.buildkit.finish(at, sink);
        let flows: Vec<FlowId> = self.conns.iter().map(|(flow, _)| *flow).collect();
        for flow in flows {
            self.end(flow, false, at, sink);
        }
        self.registries.finish(at, sink);
    }

    /// What the limits cost so far.
    #[must_use]
    pub const fn counters(&self) -> Counters {
        let mut counters = self.counters;
        counters.connections_evicted = self.conns.evicted();
        counters.memory_evicted = self.memory.evicted();
        self.buildkit.count(&mut counters);
        counters.manifests_unread = self.registries.tokens.refused;
        counters.repositories_evicted = self.registries.evicted();
        counters
    }

    fn open(
        &mut self,
        conn: &ConnFacts,
        event: &HttpEvent<'_>,
        at: Evidence,
        sink: &mut dyn FnMut(Observation),
    ) {
        if !self.conns.contains(&conn.flow)
            && let Some((_, evicted)) = self.conns.insert(conn.flow, Exchanges::new())
        {
            self.end_conn(evicted, false, at, sink);
        }
        let Some(open) = self.conns.get_mut(&conn.flow) else { return };
        let is_request = matches!(event.kind, HttpEventKind::RequestHead(_));
        let known = open.get(&event.exchange);
        if known.is_some_and(|known| !is_request || known.awaits_request()) {
            return;
        }
        let known = known.is_some();
        let unasked = || open.iter().filter(|(_, exchange)| exchange.awaits_request());
        let displaced = if known {
            open.remove(&event.exchange)
        } else if !is_request && unasked().count() >= MAX_UNASKED {
            let oldest = unasked().map(|(index, _)| *index).next();
            oldest.and_then(|index| open.remove(&index))
        } else if open.len() >= self.limits.exchanges.max(1) {
            self.counters.exchanges_evicted = self.counters.exchanges_evicted.saturating_add(1);
            open.pop_first().map(|(_, exchange)| exchange)
        } else {
            None
        };
        open.insert(event.exchange, Box::new(Exchange::new(conn, event, at)));
        if let Some(mut exchange) = displaced {
            self.end_exchange(&mut exchange, false, at, sink);
        }
    }

    fn end(
        &mut self,
        flow: FlowId,
        client_gone: bool,
        at: Evidence,
        sink: &mut dyn FnMut(Observation),
    ) {
        self.buildkit.end(flow, client_gone, at, sink);
        self.deliver(at, sink);
        if let Some(conn) = self.conns.remove(&flow) {
            self.end_conn(conn, client_gone, at, sink);
        }
    }

    fn end_conn(
        &mut self,
        exchanges: Exchanges,
        client_gone: bool,
        at: Evidence,
        sink: &mut dyn FnMut(Observation),
    ) {
        for (_, mut exchange) in exchanges {
            self.end_exchange(&mut exchange, client_gone, at, sink);
        }
    }

    fn end_exchange(
        &mut self,
        exchange: &mut Exchange,
        client_gone: bool,
        at: Evidence,
        sink: &mut dyn FnMut(Observation),
    ) {
        let turn = &mut Turn {
            now: at.timestamp,
            secrets: self.secrets,
            limits: &self.limits,
            memory: &mut self.memory,
            counters: &mut self.counters,
            tokens: &mut self.registries.tokens,
        };
        exchange.over(client_gone, at, turn, sink);
        if let Some(step) = exchange.last_registry_step(at) {
            self.registries.step(&step, sink);
        }
        self.hand_over(exchange, at, sink);
    }

    /// Does this request fetch what an open build waits for?
    fn begin_fetch(&mut self, flow: FlowId, index: u64) {
        if !self.memory.any_waiting() {
            return;
        }
        let Some(exchange) = self.exchange(flow, index) else { return };
        let client = exchange.client();
        let Some(url) = exchange.url().and_then(comparable) else { return };
        let Some(build) = self.memory.waiting(client, &url) else { return };
        let limits = self.limits.context();
        let Some(waiting) = self.exchange(build.0, build.1).and_then(Exchange::build_mut) else {
            return;
        };
        let reader = waiting.fetched_context(limits);
        if let Some(exchange) = self.exchange(flow, index) {
            exchange.begin_fetch(Fetch { build, reader });
        }
    }

    /// The file is there: it is part of the build.
    fn end_fetch(&mut self, fetch: Fetch, at: Evidence, sink: &mut dyn FnMut(Observation)) {
        let Some(exchange) = self.exchange(fetch.build.0, fetch.build.1) else { return };
        exchange.take_file(fetch.reader.finish(), at, sink);
        self.memory.stop_waiting(fetch.build);
    }

    /// Does this request name the session that carries the rest of its build?
    fn own_session(&mut self, flow: FlowId, index: u64) {
        let Some(exchange) = self.exchange(flow, index) else { return };
        let Some((host, session)) = exchange.build_session() else { return };
        self.buildkit.own(host, &session, (flow, index));
    }

    /// Gives builds the files that came through their sessions.
    fn deliver(&mut self, at: Evidence, sink: &mut dyn FnMut(Observation)) {
        for ((flow, index), synced) in self.buildkit.deliveries() {
            if let Some(exchange) = self.exchange(flow, index) {
                exchange.take_synced(&synced, at, sink);
            }
        }
    }

    fn exchange(&mut self, flow: FlowId, index: u64) -> Option<&mut Exchange> {
        self.conns.get_mut(&flow)?.get_mut(&index).map(|exchange| &mut **exchange)
    }
}

const fn conn_client(conn: &ConnFacts, event: &HttpEvent<'_>) -> std::net::IpAddr {
    match event.request_direction {
        Direction::ToResponder => conn.opener.ip,
        Direction::ToOpener => conn.responder.ip,
    }
}

#[cfg(test)]
mod tests;
