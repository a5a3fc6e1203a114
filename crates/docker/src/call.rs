//! One API call: its [`ApiCall`], and what else it means (a build, an image, a container).

use std::sync::Arc;

use tw_model::{
    Anomaly, AnomalyKind, ApiCall, CallId, Caveat, FlowId, ObservationBody, Protocol, Route,
    Secrets, Timestamp,
};
use tw_proto::{BodyEnd, RequestHead, ResponseHead};

use crate::api::{ConnFacts, Counters, Limits};
use crate::build::BuildCall;
use crate::container::ContainerCall;
use crate::content::context::ContextLimits;
use crate::creation::CreationCall;
use crate::memory::{Memory, OpenRemote, host_key};
use crate::query::bounded;
use crate::recognise::{self, Proof};
use crate::remote::comparable;
use crate::route::Target;
use crate::summary::{Summary, literal, user_agent};

/// What a call may use and change besides itself.
pub(crate) struct Turn<'t> {
    pub(crate) now: Timestamp,
    pub(crate) secrets: Secrets,
    pub(crate) limits: &'t Limits,
    pub(crate) memory: &'t mut Memory,
    pub(crate) counters: &'t mut Counters,
}

/// One call. `tell` gives what has become known since it was last asked.
pub(crate) struct Call {
    api: ApiCall,
    proof: Proof,
    role: Role,
    /// dockerd would redirect this spelling.
    unclean: bool,
    request_over: bool,
    fresh: Fresh,
    told: Told,
    oddity: Option<AnomalyKind>,
}

/// What the call means besides itself.
enum Role {
    Plain,
    Build(Box<BuildCall>),
    Creation(Box<CreationCall>),
    Container(Box<ContainerCall>),
    /// The request was not captured: either, as its lines will show.
    Answer(Box<BuildCall>, Box<CreationCall>),
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
        let target = Target::read(&head.target)?;
        let route = target.route(&head.method)?;
        let mut api = blank_api(summary, conn, turn.now);
        api.route = route;
        api.method = bounded(&head.method, 32);
        api.path.clone_from(&target.path);
        api.api_version.clone_from(&target.version);
        api.user_agent = user_agent(head);
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
        let call = Self {
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
        let build = BuildCall::from_answer(&api, turn.secrets);
        let creation = CreationCall::from_answer(&api, turn.secrets);
        let mut role = Role::Answer(Box::new(build), Box::new(creation));
        role.add_caveat(caveat);
        Some(Self {
            api,
            proof,
            role,
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
        match &mut self.role {
            Role::Build(build) => build.request_body(bytes),
            Role::Container(call) => call.request_body(bytes),
            _ => {}
        }
    }

    /// Missing bytes of the request's body.
    pub(crate) fn request_gap(&mut self, bytes: u64) {
        match &mut self.role {
            Role::Build(build) => build.request_gap(bytes),
            Role::Container(call) => call.request_gap(bytes),
            Role::Creation(creation) if bytes > 0 => creation.add_caveat(Caveat::Gaps),
            _ => {}
        }
    }

    /// No more of the request will come.
    pub(crate) fn request_end(&mut self, turn: &mut Turn<'_>) {
        if std::mem::replace(&mut self.request_over, true) {
            return;
        }
        let proven = match &mut self.role {
            Role::Build(build) => {
                if build.request_end() {
                    self.oddity = Some(AnomalyKind::ContextMalformed);
                    turn.counters.contexts_malformed += 1;
                }
                build.is_proven_by_context()
            }
            Role::Container(call) => {
                if call.request_end(turn.secrets) {
                    turn.counters.json_malformed += 1;
                }
                call.names_image()
            }
            _ => return,
        };
        if proven && self.proof == Proof::Guess && self.api.status.is_none() {
            self.prove(Proof::Request);
        }
        self.fresh.role = true;
        // A form may have named what the daemon fetches.
        self.wait_for_remote(turn);
    }

    /// RFC 9112 §4, and what the answer says about who answers.
    pub(crate) fn response_head(&mut self, head: &ResponseHead, turn: &mut Turn<'_>) {
        let now = turn.now;
        self.api.status = Some(head.status);
        self.api.ended = now;
        if recognise::is_daemon_answer(head) {
            turn.memory.learn_daemon(self.api.daemon, self.api.tag);
            self.prove(Proof::Answer);
        } else {
            self.prove(recognise::weighed(self.proof, head.status));
        }
        self.fresh = Fresh { api: true, role: true };
        match &mut self.role {
            Role::Plain => {}
            Role::Build(build) => build.response_head(head.status, now),
            Role::Creation(creation) => creation.response_head(head.status, now),
            Role::Container(call) => call.response_head(head.status, now),
            Role::Answer(build, creation) => {
                build.response_head(head.status, now);
                creation.response_head(head.status, now);
            }
        }
    }

    /// Bytes of the answer's body.
    pub(crate) fn response_body(&mut self, bytes: &[u8], now: Timestamp) {
        self.api.ended = now;
        let grown = match &mut self.role {
            Role::Plain => false,
            Role::Build(build) => build.response_body(bytes, now),
            Role::Creation(creation) => {
                creation.response_body(bytes, now);
                false
            }
            Role::Container(call) => {
                call.response_body(bytes, now);
                false
            }
            Role::Answer(build, creation) => {
                creation.response_body(bytes, now);
                build.response_body(bytes, now)
            }
        };
        self.fresh.role |= grown;
        self.recognise_answer();
    }

    /// Missing bytes of the answer's body.
    pub(crate) fn response_gap(&mut self, bytes: u64, now: Timestamp) {
        self.api.ended = now;
        match &mut self.role {
            Role::Build(build) => build.response_gap(bytes, now),
            Role::Creation(creation) => creation.response_gap(now),
            Role::Answer(build, creation) => {
                build.response_gap(bytes, now);
                creation.response_gap(now);
            }
            Role::Plain | Role::Container(_) => {}
        }
    }

    /// The answer is over.
    pub(crate) fn response_end(&mut self, end: BodyEnd, turn: &mut Turn<'_>) {
        let now = turn.now;
        if end != BodyEnd::Cut {
            self.api.ended = now;
        }
        self.api.complete = end == BodyEnd::Complete;
        match &mut self.role {
            Role::Plain => {}
            Role::Build(build) => build.response_end(end, now),
            Role::Creation(creation) => creation.response_end(end, now),
            Role::Container(call) => {
                if end == BodyEnd::Complete {
                    call.settle(turn.memory);
                }
            }
            Role::Answer(build, creation) => {
                build.response_end(end, now);
                creation.response_end(end, now);
            }
        }
        self.recognise_answer();
        self.fresh = Fresh { api: true, role: true };
    }

    /// Bytes on a connection that this call hijacked.
    pub(crate) fn running(&mut self, now: Timestamp) {
        self.api.ended = now;
        if let Role::Container(call) = &mut self.role {
            call.running(now);
        }
    }

    /// Nothing more will come. `client_gone`: the connection was seen to end.
    pub(crate) fn over(&mut self, client_gone: bool, turn: &mut Turn<'_>) {
        self.request_end(turn);
        let at = client_gone.then_some(turn.now);
        match &mut self.role {
            Role::Plain => {}
            Role::Build(build) => build.over(client_gone, at),
            Role::Creation(creation) => creation.over(client_gone, at),
            Role::Container(call) => call.settle(turn.memory),
            Role::Answer(build, creation) => {
                build.over(client_gone, at);
                creation.over(client_gone, at);
            }
        }
        self.refute_stranger();
        turn.memory.stop_waiting(self.key());
        if !self.api.complete {
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
        let Role::Answer(build, creation) = &self.role else { return };
        let route = if build.is_proven_by_answer() {
            Route::Build
        } else if let Some(route) = creation.recognised() {
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
        match &mut self.role {
            Role::Build(build) => build.refuse(),
            Role::Creation(creation) => creation.refuse(),
            _ => {}
        }
    }

    fn role_may_show(&self) -> bool {
        let status = self.api.status;
        if self.unclean && !status.is_some_and(|status| (200..300).contains(&status)) {
            return false;
        }
        match &self.role {
            Role::Plain => false,
            Role::Build(build) => !build.was_not_taken(),
            Role::Creation(creation) => !creation.was_not_taken(),
            Role::Container(_) => status.is_none_or(|status| status < 300 || status == 304),
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

impl Role {
    fn of_request(api: &ApiCall, target: &Target, head: &RequestHead, turn: &mut Turn<'_>) -> Self {
        match api.route {
            Route::Build => {
                let limits = context_limits(turn);
                let media = head.header("content-type");
                let mut build = BuildCall::from_request(api, target, media, limits, turn.secrets);
                let host = host_key(api.daemon, api.tag);
                if let Some(call) = build.session().and_then(|id| turn.memory.session(host, id)) {
                    build.join(call);
                }
                Self::Build(Box::new(build))
            }
            Route::Commit | Route::ImageImport | Route::ImageLoad => {
                let creation = CreationCall::new(api, target, turn.secrets);
                creation.map_or(Self::Plain, |creation| Self::Creation(Box::new(creation)))
            }
            _ => {
                let call = ContainerCall::new(api, target, turn.memory);
                call.map_or(Self::Plain, |call| Self::Container(Box::new(call)))
            }
        }
    }

    fn add_caveat(&mut self, caveat: Caveat) {
        match self {
            Self::Build(build) => build.add_caveat(caveat),
            Self::Creation(creation) => creation.add_caveat(caveat),
            Self::Answer(build, creation) => {
                build.add_caveat(caveat);
                creation.add_caveat(caveat);
            }
            Self::Plain | Self::Container(_) => {}
        }
    }

    fn observation(&self) -> Option<ObservationBody> {
        match self {
            Self::Plain => None,
            Self::Build(build) => Some(build.observation()),
            Self::Creation(creation) => Some(creation.observation()),
            Self::Container(call) => call.observation(),
            Self::Answer(build, _) if build.is_proven_by_answer() => Some(build.observation()),
            Self::Answer(_, creation) => creation.recognised().map(|_| creation.observation()),
        }
    }

    fn is_proven_by_answer(&self) -> bool {
        match self {
            Self::Plain => false,
            Self::Build(build) | Self::Answer(build, _) => build.is_proven_by_answer(),
            Self::Creation(creation) => creation.is_proven_by_answer(),
            Self::Container(call) => call.is_proven_by_answer(),
        }
    }
}

fn context_limits(turn: &mut Turn<'_>) -> Option<(ContextLimits, Arc<()>)> {
    let token = turn.memory.context_token(turn.limits.open_builds);
    if token.is_none() {
        turn.counters.contexts_unread += 1;
    }
    Some((turn.limits.context(), token?))
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
        status: None,
        certain: true,
        tls: conn.tls,
        started: now,
        ended: now,
        complete: false,
    }
}
