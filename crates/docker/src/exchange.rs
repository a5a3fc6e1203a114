//! One open exchange: its summary, the API call that it may be, the file that it may carry.

use std::net::IpAddr;

use tw_model::{CallId, Evidence, FlowId, Observation, ObservationBody};
use tw_proto::{BodyEnd, HttpEvent, HttpEventKind, HttpVersion, RequestHead, ResponseHead};

use crate::api::ConnFacts;
use crate::build::{BuildCall, Upload};
use crate::buildkit::{Synced, is_grpc};
use crate::call::{Call, Turn};
use crate::content::context::ContextFacts;
use crate::memory::HostKey;
use crate::registry::{Request, Step};
use crate::remote::{Fetch, redirected};
use crate::summary::Summary;

/// Places in the input that an observation names.
const MAX_EVIDENCE: usize = 8;

/// One open exchange.
pub(crate) struct Exchange {
    summary: Summary,
    call: Option<Box<Call>>,
    fetch: Option<Box<Fetch>>,
    /// The request of the registry protocol that it may be.
    registry: Option<Box<Request>>,
    /// As asked, secrets and all; kept only while a build waits for a file.
    url: Option<String>,
    redirect: Option<String>,
    evidence: Vec<Evidence>,
    request_seen: bool,
    request_over: bool,
    response_over: bool,
    response_ended: bool,
    /// The summary has changed since it was told.
    fresh: bool,
}

/// What came of a fetch.
pub(crate) enum Fetched {
    /// The file.
    File(Box<Fetch>),
    /// A redirect: the build waits for another URL.
    Elsewhere((FlowId, u64), String),
}

impl Exchange {
    /// `event` is the first of it: the answer where a server does not wait for the request, or where
    /// the capture's two directions are not in step.
    pub(crate) fn new(conn: &ConnFacts, event: &HttpEvent<'_>, at: Evidence) -> Self {
        let request_seen = matches!(event.kind, HttpEventKind::RequestHead(_));
        Self {
            summary: Summary::new(conn, event, at),
            call: None,
            fetch: None,
            registry: None,
            url: None,
            redirect: None,
            evidence: Vec::new(),
            request_seen,
            request_over: !request_seen && conn.midstream,
            response_over: false,
            response_ended: false,
            fresh: false,
        }
    }

    /// One event.
    pub(crate) fn event(
        &mut self,
        conn: &ConnFacts,
        event: &HttpEvent<'_>,
        at: Evidence,
        turn: &mut Turn<'_>,
    ) {
        let HttpEvent { ref kind, request_direction, .. } = *event;
        let now = at.timestamp;
        match *kind {
            HttpEventKind::RequestHead(head) => self.request_head(conn, head, at, turn),
            HttpEventKind::RequestBody(bytes) => {
                if let Some(request) = &mut self.registry {
                    request.request_body(bytes, turn.tokens);
                }
                self.with_call(|call| call.request_body(bytes, now));
            }
            HttpEventKind::RequestGap(bytes) => {
                if let Some(request) = &mut self.registry {
                    request.gap(bytes);
                }
                self.with_call(|call| call.request_gap(bytes));
            }
            HttpEventKind::RequestEnd(_) => {
                self.request_over = true;
                self.with_call(|call| call.request_end(turn));
            }
            HttpEventKind::ResponseHead(head) => self.response_head(conn, head, at, turn),
            HttpEventKind::ResponseBody(bytes) => {
                self.summary.body(bytes, at);
                if let Some(fetch) = &mut self.fetch {
                    fetch.reader.push(bytes);
                }
                if let Some(request) = &mut self.registry {
                    request.response_body(bytes, turn.tokens);
                }
                self.with_call(|call| call.response_body(bytes, now));
            }
            HttpEventKind::ResponseGap(bytes) => {
                self.summary.gap(at);
                if let Some(fetch) = &mut self.fetch {
                    fetch.reader.gap(bytes);
                }
                if let Some(request) = &mut self.registry {
                    request.gap(bytes);
                }
                self.with_call(|call| call.response_gap(bytes, now));
            }
            HttpEventKind::RequestUnread(_) => {}
            HttpEventKind::ResponseUnread(bytes) => self.summary.unread(bytes, at),
            HttpEventKind::ResponseEnd(end) => self.response_end(end, at, turn),
            HttpEventKind::Upstream { direction, bytes } => {
                let by_client = direction == request_direction;
                self.with_call(|call| call.running(by_client, bytes, turn));
            }
            HttpEventKind::Upgraded(_)
            | HttpEventKind::ResponseTrailers(_)
            | HttpEventKind::Reset(_) => {}
        }
    }

    /// Nothing more will come.
    pub(crate) fn over(
        &mut self,
        client_gone: bool,
        at: Evidence,
        turn: &mut Turn<'_>,
        sink: &mut dyn FnMut(Observation),
    ) {
        self.fresh |= !self.response_ended;
        self.summary.over();
        self.with_call(|call| call.over(client_gone, turn));
        self.tell(at, sink);
    }

    /// Tells what has become known.
    pub(crate) fn tell(&mut self, at: Evidence, sink: &mut dyn FnMut(Observation)) {
        let evidence = &self.evidence;
        let mut tell = |body: ObservationBody| {
            sink(Observation { at: at.timestamp, evidence: evidence.clone(), body });
        };
        if std::mem::take(&mut self.fresh) {
            tell(self.summary.observation());
        }
        if let Some(call) = &mut self.call {
            call.tell(&mut tell);
        }
    }

    /// Does anything here look at the body that goes in that direction?
    pub(crate) fn reads_body(&self, of_request: bool) -> bool {
        let answer_counts = self.fetch.is_some() || self.summary.reads_body();
        self.call.is_some() || self.registry.is_some() || (!of_request && answer_counts)
    }

    /// Were both sides seen to their ends?
    pub(crate) const fn is_over(&self) -> bool {
        self.request_over && self.response_over
    }

    /// Is it an answer that its request may still follow? Not one that was taken for a daemon's.
    pub(crate) const fn awaits_request(&self) -> bool {
        !self.request_seen && self.call.is_none()
    }

    /// Who sent the request.
    pub(crate) const fn client(&self) -> IpAddr {
        self.summary.record().client.ip
    }

    /// What was asked for, while any build waits for a file.
    pub(crate) fn url(&self) -> Option<&str> {
        self.url.as_deref()
    }

    /// The build that it is.
    pub(crate) fn build_mut(&mut self) -> Option<&mut BuildCall> {
        self.call.as_mut()?.build_mut()
    }

    /// It carries a file that a build waits for.
    pub(crate) fn begin_fetch(&mut self, fetch: Fetch) {
        self.fetch = Some(Box::new(fetch));
    }

    /// After its last event: what came of the fetch.
    pub(crate) fn fetched(&mut self, kind: &HttpEventKind<'_>) -> Option<Fetched> {
        if !matches!(kind, HttpEventKind::ResponseEnd(_)) {
            return None;
        }
        let fetch = self.fetch.take()?;
        match (self.summary.record().status?, self.redirect.take()) {
            (200, _) => Some(Fetched::File(fetch)),
            (300..=399, Some(url)) => Some(Fetched::Elsewhere(fetch.build, url)),
            _ => None,
        }
    }

    /// After its last event: what it did as a request to a registry.
    pub(crate) fn registry_step(&mut self, at: Evidence) -> Option<Step> {
        if !self.response_ended {
            return None;
        }
        self.registry.take()?.answered(self.summary.record(), at)
    }

    /// When nothing more will come: the same.
    pub(crate) fn last_registry_step(&mut self, at: Evidence) -> Option<Step> {
        self.registry.take()?.over(self.summary.record(), at)
    }

    /// The file that this build waited for is there.
    pub(crate) fn take_file(
        &mut self,
        facts: ContextFacts,
        at: Evidence,
        sink: &mut dyn FnMut(Observation),
    ) {
        let Some(call) = &mut self.call else { return };
        let Some(build) = call.build_mut() else { return };
        build.fetched(facts);
        call.refresh();
        self.note(at);
        self.tell(at, sink);
    }

    /// The daemon's host and the session that its build names.
    pub(crate) fn build_session(&mut self) -> Option<(HostKey, String)> {
        let call = self.call.as_mut()?;
        let host = call.host();
        let session = call.build_mut()?.session()?.to_owned();
        Some((host, session))
    }

    /// The daemon's host, and how its build takes part in an upload.
    pub(crate) fn upload(&mut self) -> Option<(HostKey, Upload)> {
        let call = self.call.as_mut()?;
        let host = call.host();
        Some((host, call.build_mut()?.upload()?.clone()))
    }

    /// The call that it is.
    pub(crate) fn call_id(&self) -> Option<CallId> {
        self.call.as_ref().map(|call| call.id())
    }

    /// Files came through the session of its build.
    pub(crate) fn take_synced(
        &mut self,
        synced: &Synced,
        at: Evidence,
        sink: &mut dyn FnMut(Observation),
    ) {
        let Some(call) = &mut self.call else { return };
        let Some(build) = call.build_mut() else { return };
        build.synced(synced);
        call.refresh();
        self.note(at);
        self.tell(at, sink);
    }

    fn request_head(
        &mut self,
        conn: &ConnFacts,
        head: &RequestHead,
        at: Evidence,
        turn: &mut Turn<'_>,
    ) {
        self.note(at);
        self.request_seen = true;
        self.fresh |= self.response_ended;
        let url = self.summary.request(head, conn.tls, turn.secrets);
        self.url = url.filter(|_| turn.memory.any_waiting());
        self.registry = Request::new(head, self.summary.record(), conn, at).map(Box::new);
        self.call = Call::from_request(head, &self.summary, conn, turn).map(Box::new);
    }

    fn response_head(
        &mut self,
        conn: &ConnFacts,
        head: &ResponseHead,
        at: Evidence,
        turn: &mut Turn<'_>,
    ) {
        self.note(at);
        // Secrets cross gRPC calls: nothing of their bodies is kept, not even a digest.
        let is_grpc = head.header("content-type").is_some_and(is_grpc)
            || head.version == HttpVersion::Http2 && !self.request_seen;
        self.summary.response(head, conn.hash && !is_grpc, turn.secrets, at);
        // Of others it is soon enough to hear of it when it is over.
        self.fresh |= conn.hash;
        if let (Some(url), Some(location)) = (&self.url, head.header("location")) {
            self.redirect = redirected(url, location);
        }
        if !self.request_seen && self.call.is_none() {
            self.call = Call::from_answer(head, &self.summary, conn, turn).map(Box::new);
            self.request_over |= self.call.is_some();
        }
        if let Some(request) = &mut self.registry {
            request.response_head(head);
        }
        self.with_call(|call| call.response_head(head, turn));
    }

    fn response_end(&mut self, end: BodyEnd, at: Evidence, turn: &mut Turn<'_>) {
        self.note(at);
        self.summary.end(end, at);
        self.fresh = true;
        self.response_ended = true;
        // Only the end of the connection says what a cut means, and when a hijacked stream is over.
        let hijacked = self.is_hijacked();
        self.response_over = end == BodyEnd::Complete && !hijacked;
        self.with_call(|call| call.response_end(end, turn));
    }

    /// Has the answer handed the connection over? Attach and exec start do so with 200 too, where no
    /// upgrade was asked for (Docker Engine API v1.43, ContainerAttach, "Hijacking").
    fn is_hijacked(&self) -> bool {
        let record = self.summary.record();
        let streams = self.call.as_ref().is_some_and(|call| call.streams());
        let is_stream = record.content_type.as_deref().is_some_and(|kind| {
            kind.starts_with("application/vnd.docker.") && kind.contains("-stream")
        });
        record.status == Some(101) || record.status == Some(200) && streams && is_stream
    }

    fn note(&mut self, at: Evidence) {
        if self.evidence.len() < MAX_EVIDENCE && !self.evidence.contains(&at) {
            self.evidence.push(at);
        }
    }

    fn with_call(&mut self, act: impl FnOnce(&mut Call)) {
        if let Some(call) = &mut self.call {
            act(call);
        }
    }
}
