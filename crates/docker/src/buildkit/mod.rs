//! Modern builds: what crosses `/grpc`, `/session` and a buildkitd's own port, as [`BuildCall`]s.
//!
//! In: the HTTP events of every connection; only calls of BuildKit's services are looked at. Out:
//! builds, each put together from several calls on several connections by its `Ref` and its session.
//! Secrets, credentials and forwarded agents cross the same sessions: those calls are never read.
//! Limits: [`crate::Limits`], with their counters in [`crate::Counters`].

mod filesync;
mod grpc;
mod hub;
mod llb;
mod method;
mod progress;
mod protobuf;
mod rpc;
mod solve;
mod tunnel;

use std::collections::BTreeMap;
use std::sync::Arc;

use tw_model::{
    ApiCall, CallId, Caveat, Direction, Endpoint, Evidence, FlowId, Observation, Route, Secrets,
};
use tw_proto::{HttpEvent, HttpEventKind, HttpVersion, RequestHead};

pub(crate) use self::filesync::Synced;
use self::grpc::Room;
use self::hub::{Hub, Opened, SessionKey, UNNAMED};
pub(crate) use self::llb::Definition;
use self::method::Method;
pub(crate) use self::progress::Progress;
use self::rpc::Rpc;
use self::tunnel::Tunnel;
use crate::api::{ConnFacts, Counters, Limits};
use crate::bounded::Bounded;
use crate::memory::{HostKey, host_key};
use crate::query::bounded;
use crate::summary::user_agent;

/// Bytes of one message that are kept, and of all that are half read.
const MESSAGE_BYTES: usize = 1 << 20;
const HELD_BYTES: usize = 64 << 20;
/// Sessions inside calls that are read at once, and calls inside of one.
const MAX_TUNNELS: usize = 256;
const MAX_TUNNEL_CALLS: usize = 128;

/// What a `/build` call gets from its session: its connection and exchange, and the files.
pub(crate) type Delivery = ((FlowId, u64), Synced);

/// Reads BuildKit's calls.
///
/// Order of calls: as for [`crate::Api`].
pub(crate) struct Buildkit {
    conns: Bounded<FlowId, Conn>,
    calls_per_conn: usize,
    calls_dropped: u64,
    room: Room,
    hub: Hub,
    /// Every open session inside a call holds a clone.
    tunnels: Arc<()>,
}

/// A connection on which any of it was seen.
#[derive(Default)]
struct Conn {
    session: Option<SessionKey>,
    rpcs: BTreeMap<u64, Rpc>,
    /// Sessions inside calls.
    tunnels: BTreeMap<u64, Tunnel>,
    /// Above all that were seen.
    next_exchange: u64,
    /// Builds that end with it at the latest.
    builds: Vec<u64>,
}

impl Buildkit {
    pub(crate) fn new(limits: &Limits, secrets: Secrets) -> Self {
        Self {
            conns: Bounded::new(limits.connections),
            calls_per_conn: limits.exchanges.max(1),
            calls_dropped: 0,
            room: Room::new(HELD_BYTES, MESSAGE_BYTES),
            hub: Hub::new(limits, secrets),
            tunnels: Arc::new(()),
        }
    }

    /// One event of one exchange.
    pub(crate) fn http(
        &mut self,
        conn: &ConnFacts,
        event: &HttpEvent<'_>,
        at: Evidence,
        sink: &mut dyn FnMut(Observation),
    ) {
        match event.kind {
            HttpEventKind::RequestHead(head) => self.request_head(conn, event, head, at, sink),
            HttpEventKind::ResponseHead(head) if head.version == HttpVersion::Http2 => {
                let is_grpc = head.header("content-type").is_some_and(is_grpc);
                self.answer_alone(conn, event, is_grpc, at, sink);
            }
            HttpEventKind::ResponseBody(_) if conn.midstream && self.is_new(conn, event) => {
                self.answer_alone(conn, event, false, at, sink);
            }
            _ => {}
        }
        let Some(known) = self.conns.get_mut(&conn.flow) else { return };
        known.next_exchange = known.next_exchange.max(event.exchange.saturating_add(1));
        if let Some(rpc) = known.rpcs.get_mut(&event.exchange) {
            rpc.event(&event.kind, at, &mut self.room, &mut self.hub);
            if rpc.is_over() {
                known.rpcs.remove(&event.exchange);
            }
        } else if let Some(tunnel) = known.tunnels.get_mut(&event.exchange) {
            tunnel.event(&event.kind, at, &mut self.room, &mut self.hub);
            if tunnel.is_over() {
                known.builds.extend(tunnel.end(at, &mut self.room, &mut self.hub));
                known.tunnels.remove(&event.exchange);
            }
        } else {
            return;
        }
        known.builds.extend(self.hub.begun());
        self.hub.tell(at, sink);
    }

    /// A `/build` call names its session: what came through it is given at once, the rest by
    /// [`deliveries`](Self::deliveries).
    pub(crate) fn own(&mut self, host: HostKey, session: &str, build: (FlowId, u64)) {
        self.hub.own(&(host, session.to_owned()), build);
    }

    /// Files for `/build` calls that have come since this was last asked.
    pub(crate) fn deliveries(&mut self) -> Vec<Delivery> {
        self.hub.deliveries()
    }

    /// Nothing more will come of the connection. `gone`: its end was seen.
    pub(crate) fn end(
        &mut self,
        flow: FlowId,
        gone: bool,
        at: Evidence,
        sink: &mut dyn FnMut(Observation),
    ) {
        if let Some(conn) = self.conns.remove(&flow) {
            self.end_conn(conn, gone, at, sink);
        }
    }

    /// The end of input.
    pub(crate) fn finish(&mut self, at: Evidence, sink: &mut dyn FnMut(Observation)) {
        let flows: Vec<FlowId> = self.conns.iter().map(|(flow, _)| *flow).collect();
        for flow in flows {
            self.end(flow, false, at, sink);
        }
    }

    /// Adds what the limits cost.
    pub(crate) const fn count(&self, counters: &mut Counters) {
        counters.grpc_cut = self.room.messages_cut;
        counters.buildkit_evicted = self
            .hub
            .evicted()
            .saturating_add(self.conns.evicted())
            .saturating_add(self.calls_dropped);
    }

    fn request_head(
        &mut self,
        conn: &ConnFacts,
        event: &HttpEvent<'_>,
        head: &RequestHead,
        at: Evidence,
        sink: &mut dyn FnMut(Observation),
    ) {
        let is_session = head.method == "POST" && head.target.ends_with("/session");
        if is_session && head.version != HttpVersion::Http2 {
            let api = api_call(conn, event, Some(head), at);
            let id = head.header("x-docker-expose-session-uuid");
            let id = id.map_or_else(|| unnamed_session(conn), |id| bounded(id, 128));
            let key = (host_key(api.daemon, api.tag), id);
            let opened = Opened { api, evidence: at };
            self.hub.open_session(&key, opened);
            if let Some(known) = self.conn(conn.flow, at, sink) {
                known.session = Some(key);
            }
            return;
        }
        if head.version != HttpVersion::Http2 {
            // Its answers are read even where no request on it is.
            if head.method == "POST" && head.target.ends_with("/grpc") {
                self.conn(conn.flow, at, sink);
            }
            return;
        }
        if head.target == tunnel::PATH {
            return self.begin_tunnel(conn, event, head, at, sink);
        }
        let Some(method) = Method::of(&head.target) else {
            return self.session_call(conn, event, &head.target, at);
        };
        let api = api_call(conn, event, Some(head), at);
        let missed = if conn.midstream { Caveat::Midstream } else { Caveat::Gaps };
        self.begin(conn, event, Rpc::new(method, api, missed, head), at, sink);
    }

    /// `Control/Session`: its fields are those of `POST /session`.
    fn begin_tunnel(
        &mut self,
        conn: &ConnFacts,
        event: &HttpEvent<'_>,
        head: &RequestHead,
        at: Evidence,
        sink: &mut dyn FnMut(Observation),
    ) {
        let api = ApiCall { route: Route::Session, ..api_call(conn, event, Some(head), at) };
        let Some(id) = head.header("x-docker-expose-session-uuid") else { return };
        let key = (host_key(api.daemon, api.tag), bounded(id, 128));
        let inside = ConnFacts { opener: api.client, responder: api.daemon, ..*conn };
        self.hub.open_session(&key, Opened { api, evidence: at });
        let is_full = Arc::strong_count(&self.tunnels) > MAX_TUNNELS;
        let (token, limit) = (Arc::clone(&self.tunnels), self.calls_per_conn);
        let Some(known) = self.conn(conn.flow, at, sink) else { return };
        if is_full || known.tunnels.len() >= limit {
            self.calls_dropped = self.calls_dropped.saturating_add(1);
            return;
        }
        known.tunnels.insert(event.exchange, Tunnel::new(inside, key, token));
    }

    /// A daemon asks its caller for something, whatever it is, only while it works for it; it asks
    /// whether it is still there at any time.
    fn session_call(&mut self, conn: &ConnFacts, event: &HttpEvent<'_>, path: &str, at: Evidence) {
        let Some(known) = self.conns.get_mut(&conn.flow) else { return };
        let by_daemon = event.request_direction == Direction::ToOpener;
        if let (Some(session), true, true) = (&known.session, by_daemon, path.starts_with("/moby."))
        {
            let missed = if conn.midstream { Caveat::Midstream } else { Caveat::Gaps };
            self.hub.session_is_used(session, false, missed, at);
        }
    }

    /// Where requests were not captured, or their heads refer to what was missed, only answers are
    /// readable. On a session's connection these are files; elsewhere BuildKit's progress is told by
    /// its shape.
    fn answer_alone(
        &mut self,
        conn: &ConnFacts,
        event: &HttpEvent<'_>,
        is_grpc: bool,
        at: Evidence,
        sink: &mut dyn FnMut(Observation),
    ) {
        let known = self.conns.get(&conn.flow);
        if known.is_some() && !self.is_new(conn, event) {
            return;
        }
        let on_session = known.is_some_and(|known| known.session.is_some());
        let to_daemon = event.request_direction == Direction::ToResponder;
        if to_daemon == on_session || known.is_none() && !conn.midstream && !is_grpc {
            return;
        }
        let api = api_call(conn, event, None, at);
        let missed = if conn.midstream { Caveat::Midstream } else { Caveat::OneDirection };
        let begun = matches!(event.kind, HttpEventKind::ResponseBody(_));
        self.begin(conn, event, Rpc::of_answer(api, missed, on_session, begun), at, sink);
    }

    /// Is this the first event of its exchange, on a connection where BuildKit was seen before?
    fn is_new(&self, conn: &ConnFacts, event: &HttpEvent<'_>) -> bool {
        let known = self.conns.get(&conn.flow);
        known.is_some_and(|known| event.exchange >= known.next_exchange)
    }

    fn begin(
        &mut self,
        conn: &ConnFacts,
        event: &HttpEvent<'_>,
        mut rpc: Rpc,
        at: Evidence,
        sink: &mut dyn FnMut(Observation),
    ) {
        let limit = self.calls_per_conn;
        if rpc.is_file_copy() && event.request_direction == Direction::ToOpener {
            self.ensure_session(conn, rpc.api(), at, sink);
        }
        let Some(known) = self.conn(conn.flow, at, sink) else { return };
        rpc.join_session(known.session.as_ref());
        let oldest = if known.rpcs.len() >= limit { known.rpcs.pop_first() } else { None };
        known.rpcs.insert(event.exchange, rpc);
        if let Some((_, mut oldest)) = oldest {
            oldest.over(at, &mut self.room, &mut self.hub);
            self.calls_dropped = self.calls_dropped.saturating_add(1);
        }
    }

    /// A daemon asks its caller for files: the connection is a session, though the call that made it
    /// one was missed.
    fn ensure_session(
        &mut self,
        conn: &ConnFacts,
        api: &ApiCall,
        at: Evidence,
        sink: &mut dyn FnMut(Observation),
    ) {
        let Some(known) = self.conn(conn.flow, at, sink) else { return };
        if known.session.is_some() {
            return;
        }
        let (client, daemon) = (api.daemon, api.client);
        let key = (host_key(daemon, api.tag), unnamed_session(conn));
        known.session = Some(key.clone());
        let api = ApiCall { client, daemon, route: Route::Session, ..api.clone() };
        self.hub.open_session(&key, Opened { api, evidence: at });
    }

    fn conn(
        &mut self,
        flow: FlowId,
        at: Evidence,
        sink: &mut dyn FnMut(Observation),
    ) -> Option<&mut Conn> {
        if !self.conns.contains(&flow)
            && let Some((_, evicted)) = self.conns.insert(flow, Conn::default())
        {
            self.end_conn(evicted, false, at, sink);
        }
        self.conns.get_mut(&flow)
    }

    fn end_conn(
        &mut self,
        mut conn: Conn,
        gone: bool,
        at: Evidence,
        sink: &mut dyn FnMut(Observation),
    ) {
        for (_, mut rpc) in std::mem::take(&mut conn.rpcs) {
            rpc.over(at, &mut self.room, &mut self.hub);
        }
        for (_, mut tunnel) in std::mem::take(&mut conn.tunnels) {
            conn.builds.extend(tunnel.end(at, &mut self.room, &mut self.hub));
        }
        conn.builds.extend(self.hub.begun());
        if let Some(session) = &conn.session {
            conn.builds.extend(self.hub.end_session(session));
        }
        for build in conn.builds {
            self.hub.end_build(build, gone.then_some(at.timestamp));
        }
        self.hub.tell(at, sink);
        self.hub.forget_ended();
    }
}

/// Stands for a session's id that was not seen; no client's can begin so.
fn unnamed_session(conn: &ConnFacts) -> String {
    format!("{UNNAMED}{}", conn.flow.0)
}

/// gRPC over HTTP/2, "Requests": `application/grpc`, `application/grpc+proto` and so on.
pub(crate) fn is_grpc(content_type: &str) -> bool {
    content_type.starts_with("application/grpc")
}

/// The call as every call is told; `head` is missing where only the answer was seen.
fn api_call(
    conn: &ConnFacts,
    event: &HttpEvent<'_>,
    head: Option<&RequestHead>,
    at: Evidence,
) -> ApiCall {
    let (client, daemon): (Endpoint, Endpoint) = match event.request_direction {
        Direction::ToResponder => (conn.opener, conn.responder),
        Direction::ToOpener => (conn.responder, conn.opener),
    };
    ApiCall {
        id: CallId { flow: conn.flow, index: event.exchange },
        client,
        daemon,
        tag: conn.tag,
        route: Route::Grpc,
        method: String::new(),
        path: String::new(),
        api_version: None,
        user_agent: head.and_then(user_agent),
        credentials: head.is_some_and(|head| head.header("authorization").is_some()),
        software: None,
        stream: None,
        status: None,
        certain: true,
        tls: conn.tls,
        started: at.timestamp,
        ended: at.timestamp,
        complete: false,
    }
}
