//! Calls about containers, execs, services and plugins: [`ContainerEvent`]s.
//!
//! A create call is read from its JSON body; start, stop, copy and the like repeat what the create
//! call of the same container said. Limits: 1 MiB of a request body, 64 KiB of an answer.

mod create;
mod kind;
mod plugin;
mod risk;
mod service;

use std::sync::Arc;

use tw_model::{
    ApiCall, ContainerAction, ContainerEvent, DeployKind, ObservationBody, Risk, Secrets,
    StreamUse, Timestamp,
};

use self::kind::{Kind, blank_event, ends_it, fill, object_of};
use crate::collected::Collected;
use crate::content::context::{ContextLimits, ContextReader};
use crate::json::Json;
use crate::memory::{Memory, Scope, host_key};
use crate::query::bounded;
use crate::route::Target;

/// Longest create or exec body that is read.
const MAX_BODY: usize = 1024 * 1024;
/// Longest answer that is read.
const MAX_ANSWER: usize = 64 * 1024;
/// Longest name or id.
const MAX_NAME: usize = 256;
/// Decoded bytes of a plugin's archive in which its configuration is looked for.
const MAX_ARCHIVE: u64 = 4 * 1024 * 1024;
/// What the daemon answers where it fails before it has begun to.
const INTERNAL_SERVER_ERROR: u16 = 500;
/// Longest path of a copy.
const MAX_PATH: usize = 8 * 1024;

/// What a create call said.
#[derive(Clone, Debug, Default)]
pub(crate) struct Created {
    pub(crate) name: Option<String>,
    pub(crate) image: Option<String>,
    pub(crate) command: Vec<String>,
    pub(crate) urls: Vec<String>,
    pub(crate) privileged: bool,
    pub(crate) binds: Vec<String>,
    pub(crate) pid_mode: Option<String>,
    pub(crate) network_mode: Option<String>,
    pub(crate) cap_add: Vec<String>,
    pub(crate) user: Option<String>,
    pub(crate) risks: Vec<Risk>,
}

/// One call about a container.
pub(crate) struct ContainerCall {
    kind: Kind,
    libpod: bool,
    scope: Scope,
    reference: String,
    /// The reference was cut off.
    cut: bool,
    new_name: Option<String>,
    body: Collected,
    /// The archive of a plugin.
    archive: Option<Box<ContextReader>>,
    answer: Collected,
    event: ContainerEvent,
    created: Option<Arc<Created>>,
    request_read: bool,
    /// The event says something.
    ready: bool,
    settled: bool,
}

impl ContainerCall {
    /// `None` for calls that do nothing to a container.
    pub(crate) fn new(api: &ApiCall, target: &Target, memory: &mut Memory) -> Option<Self> {
        let (kind, deploys) = Kind::of(api, target)?;
        let scope = (host_key(api.daemon, api.tag), deploys);
        let query = |key| target.query.first(key);
        let mut call = Self {
            kind,
            libpod: target.libpod,
            scope,
            reference: object_of(kind, deploys, target),
            cut: target.is_object_cut(),
            new_name: None,
            body: Collected::new(MAX_BODY),
            archive: None,
            answer: Collected::new(MAX_ANSWER),
            event: blank_event(api, kind.action(), deploys),
            created: None,
            request_read: false,
            ready: matches!(
                kind,
                Kind::Start | Kind::Stop | Kind::Remove | Kind::Copy | Kind::ExecStart
            ),
            settled: false,
        };
        match kind {
            Kind::Create => {
                call.event.name = query("name").map(|name| bounded(name, MAX_NAME));
            }
            Kind::PluginPull => call.name_plugin(query("name"), query("remote")),
            Kind::PluginCreate => {
                call.name_plugin(query("name"), None);
                let limits =
                    ContextLimits { max_decoded_bytes: MAX_ARCHIVE, ..ContextLimits::default() };
                call.archive = Some(Box::new(ContextReader::new("config.json", limits)));
            }
            Kind::ServiceCreate => {}
            Kind::ServiceUpdate => call.event.container_id = Some(call.reference.clone()),
            Kind::Rename => call.new_name = query("name").map(|name| bounded(name, MAX_NAME)),
            Kind::ExecStart => call.join_exec(api, memory),
            Kind::Copy => {
                call.event.path = query("path").map(|path| bounded(path, MAX_PATH));
                call.repeat(memory);
            }
            Kind::Stop if !ends_it(query("signal")) => return None,
            Kind::Begun => {}
            _ => call.repeat(memory),
        }
        Some(call)
    }

    /// A call of which only the answer is seen.
    pub(crate) fn from_answer(api: &ApiCall) -> Self {
        Self {
            kind: Kind::Answered,
            libpod: false,
            scope: (host_key(api.daemon, api.tag), DeployKind::Container),
            reference: String::new(),
            cut: false,
            new_name: None,
            body: Collected::new(0),
            archive: None,
            answer: Collected::new(MAX_ANSWER),
            event: blank_event(api, ContainerAction::Create, DeployKind::Container),
            created: None,
            request_read: true,
            ready: false,
            settled: false,
        }
    }

    /// Bytes of the request's body.
    pub(crate) fn request_body(&mut self, bytes: &[u8]) {
        match self.kind {
            Kind::Create
            | Kind::ExecCreate
            | Kind::ServiceCreate
            | Kind::ServiceUpdate
            | Kind::PluginPull => self.body.push(bytes),
            Kind::PluginCreate => {
                if let Some(archive) = &mut self.archive {
                    archive.push(bytes);
                }
            }
            Kind::Copy => {
                let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
                let copied = self.event.copied_bytes.get_or_insert(0);
                *copied = copied.saturating_add(length);
            }
            _ => {}
        }
    }

    /// Missing bytes of the request's body.
    pub(crate) fn request_gap(&mut self, bytes: u64) {
        self.body.cut();
        if let Some(archive) = &mut self.archive {
            archive.gap(bytes);
        }
        if let Some(copied) = &mut self.event.copied_bytes {
            *copied = copied.saturating_add(bytes);
        }
    }

    /// The request is over, or no more of it will come: what came of the body is read. Says whether
    /// the body was damaged.
    pub(crate) fn request_end(&mut self, secrets: Secrets, memory: &Memory) -> bool {
        if self.request_read {
            return false;
        }
        self.request_read = true;
        let bytes = self.body.take();
        let parsed = Json::read(&bytes);
        match self.kind {
            Kind::Create => self.read_create(&parsed.value, parsed.whole, secrets),
            Kind::ExecCreate => self.read_exec(&parsed.value, secrets),
            Kind::ServiceCreate | Kind::ServiceUpdate => {
                let network = memory.host_network(self.scope.0);
                self.take(service::from_spec(&parsed.value, network, secrets));
            }
            Kind::PluginPull => self.take(plugin::from_privileges(&parsed.value)),
            Kind::PluginCreate => {
                self.read_archive();
                self.ready = true;
                return false;
            }
            _ => return false,
        }
        self.ready = true;
        !bytes.is_empty() && !parsed.whole
    }

    /// The request is over: its answer may not come before other calls name the container.
    pub(crate) fn announce(&self, memory: &mut Memory) {
        if let (Some(created), false) = (&self.created, self.settled) {
            memory.learn_container(self.scope, None, Arc::clone(created));
        }
    }

    /// The answer's status.
    pub(crate) fn response_head(&mut self, status: u16, at: Timestamp) {
        self.event.status = Some(status);
        self.event.ended = at;
    }

    /// Bytes of the answer's body.
    pub(crate) fn response_body(&mut self, bytes: &[u8], at: Timestamp) {
        self.event.ended = at;
        let told = self.kind == Kind::Answered && self.event.status == Some(201);
        let tells = matches!(
            self.kind,
            Kind::Create
                | Kind::ExecCreate
                | Kind::ServiceCreate
                | Kind::ServiceUpdate
                | Kind::PluginPull
                | Kind::Wait
        );
        if told || tells {
            self.answer.push(bytes);
        }
    }

    /// The answer is over (or the connection): what follows from it for other calls.
    pub(crate) fn settle(&mut self, memory: &mut Memory) {
        if self.settled {
            return;
        }
        self.settled = true;
        let status = self.event.status;
        if status.is_some_and(|status| status >= 400) {
            if let Some(created) = &self.created {
                memory.unlearn_container(self.scope, created);
            }
            return;
        }
        let bytes = self.answer.take();
        if self.kind == Kind::PluginPull && kind::tells_of_error(&bytes) {
            // The status went out before the registry was asked: it failed all the same.
            self.event.status = Some(INTERNAL_SERVER_ERROR);
            if let Some(created) = &self.created {
                memory.unlearn_container(self.scope, created);
            }
            return;
        }
        let answer = Json::read(&bytes).value;
        let id = answer.field("Id").and_then(Json::text).map(|id| bounded(id, MAX_NAME));
        match self.kind {
            Kind::Create | Kind::ServiceCreate | Kind::PluginPull | Kind::PluginCreate => {
                if id.is_some() {
                    self.event.container_id.clone_from(&id);
                }
                if let Some(created) = self.created.clone() {
                    memory.learn_container(self.scope, id, created);
                }
            }
            Kind::ExecCreate => {
                if let Some(id) = id {
                    memory.learn_exec(self.scope.0, id, self.event.clone());
                }
            }
            Kind::Start => memory.note_start(self.scope, &self.reference),
            Kind::Remove if status.is_some() => {
                memory.forget_container(self.scope, &self.reference)
            }
            Kind::Rename if status.is_some() => {
                if let Some(name) = &self.new_name {
                    memory.rename_container(self.scope, &self.reference, name);
                }
            }
            Kind::Begun => self.settle_begun(status, memory),
            Kind::Answered => self.settle_answered(id, answer.field("Warnings").is_some(), memory),
            Kind::Wait => {
                // The head of this answer comes at once; its body when the container has ended, or
                // with -1 and an error when the caller waits no longer.
                let exited = answer.field("StatusCode").is_some_and(is_exit_status)
                    || (self.libpod && is_exit_status(&answer));
                self.event.started = self.event.ended;
                self.ready = exited;
            }
            _ => {}
        }
    }

    /// Docker Engine API v1.43, ContainerCreate (`Id` and `Warnings`) and ContainerExec (`Id`).
    fn settle_answered(&mut self, id: Option<String>, warnings: bool, memory: &mut Memory) {
        let is_id = |id: &String| id.len() == 64 && id.bytes().all(|b| b.is_ascii_hexdigit());
        let Some(id) = id.filter(is_id) else { return };
        self.ready = true;
        if warnings {
            memory.learn_container(self.scope, Some(id.clone()), Arc::default());
            self.event.container_id = Some(id);
        } else {
            self.event.action = ContainerAction::Exec;
        }
    }

    /// Docker Engine API v1.43: of the calls about a container that are sent with POST, only
    /// ContainerExec is answered with 201. With 204 are start and what needs a running container,
    /// and ContainerRename: for a container that has not been started yet it is taken for its start.
    fn settle_begun(&mut self, status: Option<u16>, memory: &mut Memory) {
        let known = memory.begun(self.scope, &self.reference, self.cut);
        match (status, known) {
            (Some(201), known) => {
                self.event.action = ContainerAction::Exec;
                if let Some((created, _)) = known {
                    self.event.name.clone_from(&created.name);
                    self.event.image.clone_from(&created.image);
                }
            }
            (Some(204), Some((created, false))) => {
                fill(&mut self.event, &created);
                memory.note_start(self.scope, &self.reference);
            }
            _ => return,
        }
        if !self.cut {
            self.event.container_id = Some(self.reference.trim_start_matches('/').to_owned());
        }
        self.ready = true;
    }

    /// Nothing more will come. `gone`: when the connection was seen to end, if it was; an exec that
    /// it carried has ended then.
    pub(crate) fn over(&mut self, gone: Option<Timestamp>, memory: &mut Memory) {
        if let (Kind::ExecStart, Some(at)) = (self.kind, gone) {
            self.event.ended = at;
        }
        self.settle(memory);
    }

    /// Bytes on a hijacked connection: the exec is still running.
    pub(crate) fn running(&mut self, at: Timestamp) {
        self.event.ended = at;
    }

    /// How much that connection carried.
    pub(crate) fn streamed(&mut self, stream: &StreamUse) {
        self.event.stream = Some(stream.clone());
    }

    /// What is known so far; `None` while it says nothing yet.
    pub(crate) fn observation(&self) -> Option<ObservationBody> {
        self.ready.then(|| ObservationBody::Container(Box::new(self.event.clone())))
    }

    /// Does the body name an image? Then the request was no web form.
    pub(crate) const fn names_image(&self) -> bool {
        matches!(self.kind, Kind::Create) && self.event.image.is_some()
    }

    /// Does the answer give the id of a container or an exec?
    pub(crate) fn is_proven_by_answer(&self) -> bool {
        let id = self.event.container_id.as_deref().unwrap_or("");
        matches!(self.kind, Kind::Create) && id.len() == 64
    }

    fn repeat(&mut self, memory: &mut Memory) {
        if self.cut {
            if let Some((created, _)) = memory.begun(self.scope, &self.reference, true) {
                fill(&mut self.event, &created);
            }
            return;
        }
        self.event.container_id = Some(self.reference.trim_start_matches('/').to_owned());
        if !memory.knows(self.scope, &self.reference) {
            memory.adopt(self.scope, &self.reference);
        }
        let Some((id, created)) = memory.container(self.scope, &self.reference) else { return };
        if let Some(id) = id {
            self.event.container_id = Some(id);
        }
        if matches!(self.kind, Kind::ExecCreate) {
            self.event.name.clone_from(&created.name);
            self.event.image.clone_from(&created.image);
        } else {
            fill(&mut self.event, &created);
        }
    }

    fn join_exec(&mut self, api: &ApiCall, memory: &mut Memory) {
        let Some(event) = memory.exec(self.scope.0, &self.reference) else { return };
        self.event = ContainerEvent { status: None, ended: api.started, ..event };
    }

    /// Docker Engine API v1.43, PluginPull `remote` and `name`, PluginCreate `name`.
    fn name_plugin(&mut self, name: Option<&str>, remote: Option<&str>) {
        let upgraded = (!self.reference.is_empty()).then(|| self.reference.clone());
        let name = name.or(remote).map(plugin::name_of);
        self.event.name = upgraded.or(name);
        self.event.image = remote.map(|remote| bounded(remote, MAX_NAME));
    }

    fn read_archive(&mut self) {
        let Some(archive) = self.archive.take() else { return };
        let config = archive.finish().dockerfile.unwrap_or_default();
        self.take(plugin::from_config(&Json::read(config.as_bytes()).value));
    }

    /// What a service or a plugin asks for; what the query named stays.
    fn take(&mut self, mut created: Created) {
        created.name = created.name.or_else(|| self.event.name.take());
        created.image = created.image.or_else(|| self.event.image.take());
        fill(&mut self.event, &created);
        self.created = Some(Arc::new(created));
    }

    fn read_create(&mut self, spec: &Json, whole: bool, secrets: Secrets) {
        let mut created = if self.libpod {
            create::from_specgen(spec, secrets)
        } else {
            create::from_config(spec, secrets)
        };
        if self.event.name.is_some() {
            created.name.clone_from(&self.event.name);
        }
        if !whole {
            // That no user is named was not seen.
            created.risks.retain(|risk| *risk != Risk::RootUser);
        }
        fill(&mut self.event, &created);
        self.created = Some(Arc::new(created));
    }

    /// Docker Engine API v1.43, ContainerExec.
    fn read_exec(&mut self, spec: &Json, secrets: Secrets) {
        let text = |key| spec.field(key).and_then(Json::text);
        let words = spec.field("Cmd").map(Json::texts).unwrap_or_default();
        let env = spec.field("Env").map(Json::texts).unwrap_or_default();
        self.event.urls = create::urls_of(words.iter().chain(&env).copied(), secrets);
        self.event.command = create::shown_words(&words, secrets);
        self.event.privileged = spec.field("Privileged").is_some_and(Json::is_true);
        self.event.user = text("User").map(|user| bounded(user, MAX_NAME));
        self.event.risks = if self.event.privileged { vec![Risk::Privileged] } else { Vec::new() };
    }
}

/// Docker Engine API v1.41, `ContainerWait`: -1 is no exit status.
fn is_exit_status(value: &Json) -> bool {
    value.number().is_some()
}
