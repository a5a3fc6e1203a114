//! One API call: its [`ApiCall`], and what else it means (a build, an image, a container).

use tw_model::{
    Anomaly, AnomalyKind, ApiCall, CallId, Caveat, FlowId, ObservationBody, Protocol, Route,
    Secrets, Timestamp,
};
use tw_proto::{BodyEnd, Extent, HttpVersion, RequestHead, ResponseHead};

use crate::api::{ConnFacts, Counters, Limits};
use crate::build::BuildCall;
use crate::memory::{HostKey, Memory, OpenRemote, host_key};
use crate::query::bounded;
use crate::recognise::{self, Proof};
use crate::registry::Tokens;
use crate::remote::comparable;
use crate::role::{RequestBody, Role};
use crate::route::Target;
use crate::software::SoftwareReader;
use crate::stream::StreamMeter;
use crate::summary::{Summary, literal, user_agent};

/// What a call may use and change besides itself.
pub(crate) struct Turn<'t> {
    pub(crate) now: Timestamp,
    pub(crate) secrets: Secrets,
    pub(crate) limits: &'t Limits,
    pub(crate) memory: &'t mut Memory,
    pub(crate) counters: &'t mut Counters,
    pub(crate) tokens: &'t mut Tokens,
}

/// One call. `tell` gives what has become known since it was last asked.
pub(crate) struct Call {
    api: ApiCall,
    proof: Proof,
    role: Role,
    software: SoftwareReader,
    stream: Option<Box<StreamMeter>>,
    /// dockerd would redirect this spelling.
    unclean: bool,
    request_over: bool,
    fresh: Fresh,
    told: Told,
    oddity: Option<AnomalyKind>,
}

/// What has changed since it was told.
#[derive(Clone, Copy, Default)]
struct Fresh {
    api: bool,
    role: bool,
}

/// What was told at least once, and so must be told again when it proves wrong.
#[derive(Clone, Copy, Default)]
struct Told {
    api: bool,
    role: bool,
}

impl Call {
    /// `None` where the request is for nothing that a Docker API has.
    pub(crate) fn from_request(
        head: &RequestHead,
        summary: &Summary,
        conn: &ConnFacts,
        turn: &mut Turn<'_>,
    ) -> Option<Self> {
        let target = match head.extent {
            Extent::Line => Target::read_begun(&head.target)?,
            Extent::Whole | Extent::Fields => Target::read(&head.target)?,
            Extent::Missing => return None,
        };
        let route = target.route(&head.method)?;
        let mut api = blank_api(summary, conn, turn.now);
        api.route = route;
        api.method = bounded(&head.method, 32);
        api.path.clone_from(&target.path);
        api.api_version.clone_from(&target.version);
        api.user_agent = user_agent(head);
        api.credentials = head.header("authorization").is_some();
        let proof = if turn.memory.is_daemon(api.daemon, api.tag) {
            Proof::Answer
        } else if recognise::is_docker_port(api.daemon.port)
            || recognise::is_specific(head, &target, route)
        {
            Proof::Request
        } else {
            Proof::Guess
        };
        api.certain = proof != Proof::Guess;
        let mut role = Role::of_request(&api, &target, head, turn);
        if summary.record().proxy.is_some() {
            role.add_caveat(Caveat::Proxied);
        }
        if head.extent != Extent::Whole {
            role.add_caveat(Caveat::Truncated);
        }
        let call = Self {
            software: SoftwareReader::new(route, &target.path),
            stream: None,
            unclean: target.unclean,
            request_over: false,
            fresh: Fresh { api: true, role: true },
            told: Told::default(),
            oddity: None,
            api,
            proof,
            role,
        };
        if let (Route::Session, Some(id)) = (route, head.header("x-docker-expose-session-uuid")) {
            let host = host_key(call.api.daemon, call.api.tag);
            turn.memory.learn_session(host, bounded(id, 128), call.api.id);
        }
        call.wait_for_remote(turn);
        Some(call)
    }

    /// A call of which only the answer is seen; `None` unless a daemon answers.
    pub(crate) fn from_answer(
        head: &ResponseHead,
        summary: &Summary,
        conn: &ConnFacts,
        turn: &mut Turn<'_>,
    ) -> Option<Self> {
        // Daemons answer their own API with HTTP/1; HTTP/2 is what they speak inside of it.
        if head.version == HttpVersion::Http2 {
            return None;
        }
        let api = blank_api(summary, conn, turn.now);
        let proof =
            if recognise::is_daemon_answer(head) || turn.memory.is_daemon(api.daemon, api.tag) {
                Proof::Answer
            } else if recognise::is_docker_port(api.daemon.port) {
                Proof::Guess
            } else {
                return None;
            };
        let caveat = if conn.midstream && api.id.index == 0 {
            Caveat::Midstream
        } else {
            Caveat::OneDirection
        };
        let mut role = Role::of_answer(&api, turn.secrets);
        role.add_caveat(caveat);
        Some(Self {
            api,
            proof,
            role,
            software: SoftwareReader::new(Route::Other, ""),
            stream: None,
            unclean: false,
            request_over: true,
            fresh: Fresh::default(),
            told: Told::default(),
            oddity: None,
        })
    }

    /// Bytes of the request's body.
    pub(crate) fn request_body(&mut self, bytes: &[u8], now: Timestamp) {
        self.api.ended = now;
        self.role.request_body(bytes, now);
    }

    /// Missing bytes of the request's body.
    pub(crate) fn request_gap(&mut self, bytes: u64) {
        self.role.request_gap(bytes);
    }

    /// No more of the request will come.
    pub(crate) fn request_end(&mut self, turn: &mut Turn<'_>) {
        if std::mem::replace(&mut self.request_over, true) {
            return;
        }
        let body = self.role.request_end(turn);
        if let Role::Container(call) = &self.role {
            call.announce(turn.memory);
        }
        match body {
            RequestBody::None => return,
            RequestBody::OddContext => {
                self.oddity = Some(AnomalyKind::ContextMalformed);
                turn.counters.contexts_malformed += 1;
            }
            RequestBody::OddJson => turn.counters.json_malformed += 1,
            RequestBody::Whole => {}
        }
        let unanswered = self.proof == Proof::Guess && self.api.status.is_none();
        if unanswered && self.role.is_proven_by_request() {
            self.prove(Proof::Request);
        }
        self.fresh.role = true;
        // A form may have named what the daemon fetches.
        self.wait_for_remote(turn);
    }

    /// RFC 9112 §4, and what the answer says about who answers.
    pub(crate) fn response_head(&mut self, head: &ResponseHead, turn: &mut Turn<'_>) {
        self.api.software = SoftwareReader::head(head);
        self.api.ended = turn.now;
        if head.extent != Extent::Whole {
            self.role.add_caveat(Caveat::Truncated);
        }
        if head.extent == Extent::Missing {
            // Progress in chunks is what only success is answered with.
            self.role.response_head(head.status, turn.now);
            self.fresh.role = true;
            return;
        }
        self.api.status = Some(head.status);
        if recognise::is_daemon_answer(head) {
            turn.memory.learn_daemon(self.api.daemon, self.api.tag);
            self.prove(Proof::Answer);
        } else {
            self.prove(recognise::weighed(self.proof, head.status));
        }
        self.fresh = Fresh { api: true, role: true };
        self.role.response_head(head.status, turn.now);
    }

    /// Bytes of the answer's body.
    pub(crate) fn response_body(&mut self, bytes: &[u8], now: Timestamp) {
        self.api.ended = now;
        self.software.body(bytes);
        self.fresh.role |= self.role.response_body(bytes, now);
        self.recognise_answer();
    }

    /// Missing bytes of the answer's body.
    pub(crate) fn response_gap(&mut self, bytes: u64, now: Timestamp) {
        self.api.ended = now;
        self.software.gap();
        self.role.response_gap(bytes, now);
    }

    /// The answer is over.
    pub(crate) fn response_end(&mut self, end: BodyEnd, turn: &mut Turn<'_>) {
        if end != BodyEnd::Cut {
            self.api.ended = turn.now;
        }
        self.api.complete = end == BodyEnd::Complete;
        match (self.api.route, self.software.end()) {
            (Route::Network, Some(id)) => turn.memory.learn_host_network(self.host(), id),
            (_, Some(version)) => {
                self.api.software.get_or_insert_default().version = Some(version);
            }
            (_, None) => {}
        }
        self.role.response_end(end, turn);
        self.recognise_answer();
        self.fresh = Fresh { api: true, role: true };
    }

    /// Is it one that is answered with a stream?
    pub(crate) const fn streams(&self) -> bool {
        matches!(self.api.route, Route::ExecStart | Route::ContainerAttach)
    }

    /// Bytes on a connection that this call hijacked.
    pub(crate) fn running(&mut self, by_client: bool, bytes: &[u8], turn: &Turn<'_>) {
        self.api.ended = turn.now;
        self.role.running(turn.now);
        if !self.streams() {
            return;
        }
        let blank = || Box::new(StreamMeter::new(turn.secrets));
        let meter = self.stream.get_or_insert_with(blank);
        if by_client { meter.sent(bytes) } else { meter.received(bytes) }
    }

    /// Nothing more will come. `client_gone`: the connection was seen to end.
    pub(crate) fn over(&mut self, client_gone: bool, turn: &mut Turn<'_>) {
        self.request_end(turn);
        // What might have belonged to another call does not.
        let waited = self.only_gives();
        if let Some(meter) = self.stream.take() {
            let seen = meter.into_seen();
            self.role.streamed(&seen);
            self.api.stream = Some(seen);
            self.fresh = Fresh { api: true, role: true };
        }
        self.role.over(client_gone, turn);
        self.fresh.role |= waited && !self.only_gives();
        self.recognise_answer();
        self.refute_stranger();
        turn.memory.stop_waiting(self.key());
        // A hijacked connection has its whole answer long before its end.
        if !self.api.complete || self.api.status == Some(101) || self.streams() {
            self.fresh = Fresh { api: true, role: true };
        }
    }

    /// What has become known, if anyone may know it.
    pub(crate) fn tell(&mut self, sink: &mut dyn FnMut(ObservationBody)) {
        let shown = match self.proof {
            Proof::Guess => return,
            Proof::Request | Proof::Answer => true,
            Proof::Refuted => false,
        };
        let fresh = std::mem::take(&mut self.fresh);
        if fresh.api && (shown || self.told.api) {
            self.told.api = true;
            sink(ObservationBody::ApiCall(self.api.clone()));
        }
        if fresh.role
            && (shown && self.role_may_show() || self.told.role)
            && let Some(body) = self.role.observation()
        {
            self.told.role = true;
            sink(body);
        }
        if let (true, Some(kind)) = (shown, self.oddity.take()) {
            sink(ObservationBody::Anomaly(Anomaly {
                kind,
                endpoints: Some((self.api.client, self.api.daemon)),
                protocol: Some(Protocol::TCP),
                detail: "build context",
            }));
        }
    }

    /// The build, if it is one.
    pub(crate) fn build_mut(&mut self) -> Option<&mut BuildCall> {
        if let Role::Build(build) = &mut self.role { Some(build) } else { None }
    }

    /// Its identity.
    pub(crate) const fn id(&self) -> CallId {
        self.api.id
    }

    fn only_gives(&self) -> bool {
        matches!(&self.role, Role::Build(build) if build.only_gives())
    }

    /// The daemon's host.
    pub(crate) const fn host(&self) -> HostKey {
        host_key(self.api.daemon, self.api.tag)
    }

    /// A fetched context has come.
    pub(crate) const fn refresh(&mut self) {
        self.fresh.role = true;
    }

    fn key(&self) -> (FlowId, u64) {
        (self.api.id.flow, self.api.id.index)
    }

    fn prove(&mut self, proof: Proof) {
        self.proof = proof;
        let certain = matches!(proof, Proof::Request | Proof::Answer);
        self.fresh.api |= certain != self.api.certain;
        self.fresh.role |= certain != self.api.certain;
        self.api.certain = certain;
    }

    /// An answer that stood alone shows by its lines what was asked for.
    fn recognise_answer(&mut self) {
        let Role::Answer(build, creation, transfer, _) = &self.role else { return };
        let route = if build.is_proven_by_answer() {
            Route::Build
        } else if let Some(route) = transfer.recognised().or_else(|| creation.recognised()) {
            route
        } else {
            return;
        };
        if self.api.route != route {
            self.api.route = route;
            self.prove(Proof::Answer);
            self.fresh = Fresh { api: true, role: true };
        }
    }

    /// A request alone made it a Docker API; its whole answer did not, on a port that is no
    /// daemon's.
    fn refute_stranger(&mut self) {
        let answered = self.api.status.is_some() && self.api.complete;
        let hijacks = matches!(
            self.api.route,
            Route::Session | Route::Grpc | Route::ExecStart | Route::ContainerAttach
        );
        if self.proof != Proof::Request
            || !answered
            || hijacks
            || recognise::is_docker_port(self.api.daemon.port)
            || self.role.is_proven_by_answer()
        {
            return;
        }
        self.prove(Proof::Refuted);
        self.role.refuse();
    }

    fn role_may_show(&self) -> bool {
        let status = self.api.status;
        if self.unclean && !status.is_some_and(|status| (200..300).contains(&status)) {
            return false;
        }
        match &self.role {
            Role::Plain => false,
            Role::Build(build) => !build.was_not_taken() && !build.only_gives(),
            Role::Creation(creation) => !creation.was_not_taken(),
            Role::Container(_) => status.is_none_or(|status| status < 300 || status == 304),
            Role::Transfer(_) => !status.is_some_and(|status| (300..400).contains(&status)),
            Role::Answer(..) => true,
        }
    }

    fn wait_for_remote(&self, turn: &mut Turn<'_>) {
        let Role::Build(build) = &self.role else { return };
        if self.api.status.is_some() {
            return;
        }
        let Some(url) = build.remote().and_then(comparable) else { return };
        turn.memory.wait_for(self.key(), OpenRemote { url, host: self.api.daemon.ip });
    }
}

fn blank_api(summary: &Summary, conn: &ConnFacts, now: Timestamp) -> ApiCall {
    let record = summary.record();
    // Behind a proxy the daemon is whom the caller asked for, where that is an address.
    let asked = record.host.as_deref().filter(|_| record.proxy.is_some()).and_then(literal);
    ApiCall {
        id: CallId { flow: record.flow, index: record.index },
        client: record.client,
        daemon: asked.unwrap_or(record.server),
        tag: conn.tag,
        route: Route::Other,
        method: String::new(),
        path: String::new(),
        api_version: None,
        user_agent: None,
        credentials: false,
        software: None,
        stream: None,
        status: None,
        certain: true,
        tls: conn.tls,
        started: now,
        ended: now,
        complete: false,
    }
}
