//! Joins calls into builds: by the `Ref` that Solve, Status and the gateway's calls share, and by the
//! session through which the files come.

use std::net::IpAddr;

use tw_model::{ApiCall, Caveat, Endpoint, Evidence, FlowId, Observation, Secrets, Timestamp};
use tw_proto::BodyEnd;

use super::Delivery;
use super::filesync::{DiffCopy, Synced};
use super::solve::SolveRequest;
use crate::api::Limits;
use crate::bounded::Bounded;
use crate::build::BuildCall;
use crate::memory::{HostKey, host_key};

/// Places in the input that an observation names.
const MAX_EVIDENCE: usize = 8;

/// A session: its daemon's host and its id, which the client makes up.
pub(crate) type SessionKey = (HostKey, String);

/// Whose files come through a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// A build of this hub.
    Grpc(u64),
    /// A `/build` call: its connection and exchange.
    Engine((FlowId, u64)),
}

/// See the module.
pub(crate) struct Hub {
    builds: Bounded<u64, GrpcBuild>,
    references: Bounded<(HostKey, String), u64>,
    sessions: Bounded<SessionKey, Session>,
    secrets: Secrets,
    max_file_bytes: usize,
    last: u64,
    /// Builds that have begun, have changed, or are over since it was last asked.
    begun: Vec<u64>,
    changed: Vec<u64>,
    ended: Vec<u64>,
    /// Builds that had to go and have not been told for the last time.
    evicted: Vec<GrpcBuild>,
    deliveries: Vec<Delivery>,
}

#[derive(Default)]
struct Session {
    /// Not there yet where the build that names it came first: clients send both at once.
    opened: Option<Opened>,
    owner: Option<Owner>,
    synced: Synced,
}

/// The call that opened a session.
#[derive(Clone)]
pub(crate) struct Opened {
    pub(crate) api: ApiCall,
    pub(crate) evidence: Evidence,
}

/// Begins ids that stand for those that were not seen.
pub(crate) const UNNAMED: char = '\0';

/// A build that grows.
pub(crate) struct GrpcBuild {
    pub(crate) call: BuildCall,
    flow: FlowId,
    client: IpAddr,
    daemon: Endpoint,
    evidence: Vec<Evidence>,
    /// Known to be a build; capability probes never are.
    real: bool,
    /// Only sources were looked into so far: the build itself may follow.
    prelude: Option<Prelude>,
    /// Its request was seen.
    requested: bool,
    /// Its session is known.
    has_session: bool,
    fresh: bool,
    over: bool,
}

/// How a look into the sources ended, kept back because the build goes on.
#[derive(Clone, Copy, Default)]
struct Prelude {
    status: Option<u32>,
    ended: bool,
}

impl Hub {
    pub(crate) fn new(limits: &Limits, secrets: Secrets) -> Self {
        Self {
            builds: Bounded::new(limits.open_builds),
            references: Bounded::new(limits.execs),
            sessions: Bounded::new(limits.execs),
            secrets,
            max_file_bytes: limits.dockerfile_bytes,
            last: 0,
            begun: Vec::new(),
            changed: Vec::new(),
            ended: Vec::new(),
            evicted: Vec::new(),
            deliveries: Vec::new(),
        }
    }

    /// Entries that had to go, of all tables.
    pub(crate) const fn evicted(&self) -> u64 {
        self.builds
            .evicted()
            .saturating_add(self.references.evicted())
            .saturating_add(self.sessions.evicted())
    }

    /// `POST /session`, or the same over gRPC.
    pub(crate) fn open_session(&mut self, key: &SessionKey, opened: Opened) {
        let call = opened.api.id;
        let session = self.sessions.entry(key);
        session.opened = Some(opened);
        let Some(Owner::Grpc(serial)) = session.owner else { return };
        if let Some(build) = self.builds.get_mut(&serial) {
            build.has_session = true;
            build.call.join(call);
        }
    }

    /// A `/build` call names the session.
    pub(crate) fn own(&mut self, key: &SessionKey, build: (FlowId, u64)) {
        let session = self.sessions.entry(key);
        session.owner = Some(Owner::Engine(build));
        if !session.synced.is_empty() {
            let synced = session.synced.clone();
            self.deliveries.push((build, synced));
        }
    }

    pub(crate) fn deliveries(&mut self) -> Vec<Delivery> {
        std::mem::take(&mut self.deliveries)
    }

    /// Builds that have begun since this was last asked.
    pub(crate) fn begun(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.begun)
    }

    /// The build of that `Ref`.
    pub(crate) fn build(&mut self, api: &ApiCall, reference: &str) -> Option<&mut GrpcBuild> {
        let serial = self.serial(api, reference)?;
        self.changed.push(serial);
        self.builds.get_mut(&serial)
    }

    /// The build of that `Ref`, or one whose request was missed.
    pub(crate) fn build_or_new(
        &mut self,
        api: &ApiCall,
        missed: Caveat,
        reference: &str,
        at: Evidence,
    ) -> Option<&mut GrpcBuild> {
        if self.serial(api, reference).is_none() {
            let known = if reference.starts_with(UNNAMED) {
                // Each build's progress is one call: what has some is another.
                self.latest(|build| build.lacks_progress(api))
            } else {
                self.latest(|build| !build.requested && build.lacks_progress(api))
            };
            let serial = known.unwrap_or_else(|| self.begin(api, at));
            self.name(api, reference, serial);
            self.builds.get_mut(&serial)?.call.add_caveat(missed);
        }
        self.build(api, reference)
    }

    /// `Control/Solve`.
    pub(crate) fn solve(
        &mut self,
        api: &ApiCall,
        missed: Caveat,
        solve: SolveRequest,
        at: Evidence,
    ) {
        let reference = solve.reference.clone().unwrap_or_default();
        let key = solve.session.clone().map(|id| (host_key(api.daemon, api.tag), id));
        let is_build = solve.is_build();
        let known = self.serial(api, &reference);
        let known = known.or_else(|| self.of_session(key.as_ref()));
        let known = known.or_else(|| self.prelude_of(api, &solve));
        let serial = known.unwrap_or_else(|| self.begin(api, at));
        self.name(api, &reference, serial);
        self.changed.push(serial);
        let Some(build) = self.builds.get_mut(&serial) else { return };
        build.requested = true;
        build.prelude = (!is_build).then(Prelude::default);
        build.call.add_attributes(&solve.attributes, solve.name.as_deref());
        build.call.define(solve.definition);
        if missed == Caveat::Midstream {
            build.call.add_caveat(missed);
        }
        if is_build {
            build.is_build(at);
        }
        if let Some(key) = key {
            let session = self.sessions.entry(&key);
            session.owner = Some(Owner::Grpc(serial));
            if let Some(opened) = &session.opened {
                build.has_session = true;
                build.call.join(opened.api.id);
            }
            if !session.synced.is_empty() {
                build.call.synced(&session.synced);
            }
        }
    }

    /// One message of `Control/Status`.
    pub(crate) fn progress(
        &mut self,
        api: &ApiCall,
        missed: Caveat,
        reference: &str,
        message: &[u8],
        at: Evidence,
    ) {
        let Some(build) = self.build_or_new(api, missed, reference, at) else { return };
        let fresh = build.call.progress(message, at.timestamp);
        if build.call.is_proven_by_progress() {
            build.fresh |= fresh;
            build.real |= fresh;
        }
    }

    /// A message of `Control/Status` of which only the beginning was captured: that something is
    /// built, not what.
    pub(crate) fn progress_begun(
        &mut self,
        api: &ApiCall,
        missed: Caveat,
        reference: &str,
        at: Evidence,
    ) {
        let Some(build) = self.build_or_new(api, missed, reference, at) else { return };
        build.call.add_caveat(Caveat::Truncated);
        if !build.real {
            build.is_build(at);
        }
    }

    /// `grpc-status` of Solve's answer.
    pub(crate) fn status(&mut self, api: &ApiCall, reference: &str, status: u32) {
        let Some(build) = self.build(api, reference) else { return };
        match &mut build.prelude {
            Some(prelude) => prelude.status = Some(status),
            None => build.call.grpc_status(status),
        }
    }

    /// Solve's answer is over.
    pub(crate) fn solved(&mut self, api: &ApiCall, reference: &str, end: BodyEnd, at: Evidence) {
        let Some(build) = self.build(api, reference) else { return };
        if let Some(prelude) = &mut build.prelude {
            prelude.ended = end == BodyEnd::Complete;
            return build.call.alive(at.timestamp);
        }
        build.call.grpc_end(end, at.timestamp);
        build.note(at);
        build.fresh = true;
    }

    /// The client took its Solve back.
    pub(crate) fn canceled(&mut self, api: &ApiCall, reference: &str, at: Evidence) {
        let Some(build) = self.build(api, reference) else { return };
        build.call.grpc_cancel(at.timestamp);
        build.note(at);
        build.fresh = true;
    }

    /// The daemon asks its caller for something, `copies`: for files. So it builds, whether its
    /// request was read or not.
    pub(crate) fn session_is_used(
        &mut self,
        key: &SessionKey,
        copies: bool,
        missed: Caveat,
        at: Evidence,
    ) {
        let Some(Session { opened: Some(opened), owner: None, .. }) = self.sessions.get(key) else {
            return;
        };
        let Opened { api, evidence: began } = opened.clone();
        // One build may have two sessions, of which files come through one.
        let unjoined = |build: &GrpcBuild| {
            build.is_between(&api) && (!build.has_session || !copies && !build.requested)
        };
        let known = if key.1.starts_with(UNNAMED) {
            self.latest(unjoined)
        } else {
            self.latest(|build| !build.requested && unjoined(build))
        };
        let serial = known.unwrap_or_else(|| self.begin(&api, began));
        if let Some(session) = self.sessions.get_mut(key) {
            session.owner = Some(Owner::Grpc(serial));
        }
        self.changed.push(serial);
        let Some(build) = self.builds.get_mut(&serial) else { return };
        build.has_session = true;
        if !build.requested {
            build.call.add_caveat(missed);
        }
        build.is_build(began);
        build.note(at);
    }

    /// A packet of a folder that a client copies.
    pub(crate) fn packet(
        &mut self,
        key: &SessionKey,
        copy: &mut DiffCopy,
        message: &[u8],
        whole: bool,
    ) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        if !copy.packet(message, whole, self.max_file_bytes, &mut session.synced) {
            return;
        }
        match session.owner {
            Some(Owner::Grpc(serial)) => {
                self.changed.push(serial);
                if let Some(build) = self.builds.get_mut(&serial) {
                    build.call.synced(&session.synced);
                    build.fresh = true;
                }
            }
            Some(Owner::Engine(build)) => self.deliveries.push((build, session.synced.clone())),
            None => {}
        }
    }

    /// The session is over; gives the build of which nothing else was seen.
    pub(crate) fn end_session(&mut self, key: &SessionKey) -> Option<u64> {
        let session = self.sessions.remove(key)?;
        let Some(Owner::Grpc(serial)) = session.owner else { return None };
        self.builds.get(&serial).is_some_and(|build| !build.requested).then_some(serial)
    }

    /// Nothing more will come of a build. `gone`: when its connection was seen to end.
    pub(crate) fn end_build(&mut self, serial: u64, gone: Option<Timestamp>) {
        let Some(build) = self.builds.get_mut(&serial) else { return };
        build.end(gone);
        self.changed.push(serial);
        self.ended.push(serial);
    }

    /// Tells what has become known.
    pub(crate) fn tell(&mut self, at: Evidence, sink: &mut dyn FnMut(Observation)) {
        for mut build in std::mem::take(&mut self.evicted) {
            build.end(None);
            build.tell(at, sink);
        }
        for serial in std::mem::take(&mut self.changed) {
            if let Some(build) = self.builds.get_mut(&serial) {
                build.tell(at, sink);
            }
        }
    }

    /// After the last telling.
    pub(crate) fn forget_ended(&mut self) {
        for serial in std::mem::take(&mut self.ended) {
            self.builds.remove(&serial);
        }
    }

    fn serial(&self, api: &ApiCall, reference: &str) -> Option<u64> {
        let key = (host_key(api.daemon, api.tag), reference.to_owned());
        self.references.get(&key).copied().filter(|serial| self.builds.contains(serial))
    }

    fn name(&mut self, api: &ApiCall, reference: &str, serial: u64) {
        let key = (host_key(api.daemon, api.tag), reference.to_owned());
        self.references.insert(key, serial);
    }

    fn begin(&mut self, api: &ApiCall, at: Evidence) -> u64 {
        self.last = self.last.wrapping_add(1);
        let serial = self.last;
        let build = GrpcBuild {
            call: BuildCall::from_grpc(api, self.secrets),
            flow: api.id.flow,
            client: api.client.ip,
            daemon: api.daemon,
            evidence: vec![at],
            real: false,
            prelude: None,
            requested: false,
            has_session: false,
            fresh: false,
            over: false,
        };
        if let Some((_, evicted)) = self.builds.insert(serial, build) {
            self.evicted.push(evicted);
        }
        self.begun.push(serial);
        serial
    }

    /// The build that began last of the open ones that fit; for calls that lost their names.
    fn latest(&self, fits: impl Fn(&GrpcBuild) -> bool) -> Option<u64> {
        let open = self.builds.iter().filter(|(_, build)| build.is_open() && fits(build));
        open.last().map(|(serial, _)| *serial)
    }

    /// A build that its session alone told of.
    fn of_session(&self, key: Option<&SessionKey>) -> Option<u64> {
        let Some(Owner::Grpc(serial)) = self.sessions.get(key?)?.owner else { return None };
        self.builds.get(&serial).is_some_and(|build| !build.requested).then_some(serial)
    }

    /// buildx has a remote context looked into, by a Solve of its own on the same connection, before
    /// it asks for the build (observed: buildx 0.32): the daemon fetches it then.
    fn prelude_of(&self, api: &ApiCall, solve: &SolveRequest) -> Option<u64> {
        let context = solve.attributes.get("context")?;
        let mut of_flow = self.builds.iter().filter(|(_, build)| build.flow == api.id.flow);
        of_flow.find(|(_, build)| build.is_prelude_for(context)).map(|(serial, _)| *serial)
    }
}

impl GrpcBuild {
    /// It is one, and worth telling.
    pub(crate) fn is_build(&mut self, at: Evidence) {
        self.real = true;
        self.fresh = true;
        self.note(at);
    }

    /// Names this place in the input.
    pub(crate) fn note(&mut self, at: Evidence) {
        if self.evidence.len() < MAX_EVIDENCE && !self.evidence.contains(&at) {
            self.evidence.push(at);
        }
    }

    /// Bytes of it are missing.
    pub(crate) fn gap(&mut self) {
        self.call.add_caveat(Caveat::Gaps);
    }

    /// May more come of it?
    fn is_open(&self) -> bool {
        let is_probe = !self.real && self.prelude.is_some_and(|prelude| prelude.ended);
        !self.over && !is_probe && !self.call.has_ended()
    }

    fn is_between(&self, api: &ApiCall) -> bool {
        self.client == api.client.ip && self.daemon == api.daemon
    }

    fn lacks_progress(&self, api: &ApiCall) -> bool {
        self.is_between(api) && !self.call.is_proven_by_progress()
    }

    fn is_prelude_for(&self, context: &str) -> bool {
        self.real && self.prelude.is_some() && self.call.fetches(context)
    }

    fn end(&mut self, gone: Option<Timestamp>) {
        if std::mem::replace(&mut self.over, true) {
            return;
        }
        if let Some(Prelude { status: Some(status), ended: true }) = self.prelude.take() {
            self.call.grpc_status(status);
            self.call.grpc_end(BodyEnd::Complete, self.call.ended());
        }
        self.call.grpc_over(gone, self.requested);
        self.fresh = true;
    }

    fn tell(&mut self, at: Evidence, sink: &mut dyn FnMut(Observation)) {
        if self.real && std::mem::take(&mut self.fresh) {
            let (evidence, body) = (self.evidence.clone(), self.call.observation());
            sink(Observation { at: at.timestamp, evidence, body });
        }
    }
}
