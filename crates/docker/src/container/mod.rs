//! Calls about containers and execs: [`ContainerEvent`]s.
//!
//! A create call is read from its JSON body; start, stop, copy and the like repeat what the create
//! call of the same container said. Limits: 1 MiB of a request body, 64 KiB of an answer.

mod create;
mod risk;

use std::sync::Arc;

use tw_model::{
    ApiCall, ContainerAction, ContainerEvent, ObservationBody, Risk, Route, Secrets, Timestamp,
};

use crate::collected::Collected;
use crate::json::Json;
use crate::memory::{HostKey, Memory, host_key};
use crate::query::bounded;
use crate::route::Target;

/// Longest create or exec body that is read.
const MAX_BODY: usize = 1024 * 1024;
/// Longest answer that is read.
const MAX_ANSWER: usize = 64 * 1024;
/// Longest name or id.
const MAX_NAME: usize = 256;
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

/// Which call it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Create,
    Start,
    Stop,
    Wait,
    Remove,
    Copy,
    Rename,
    ExecCreate,
    ExecStart,
    /// What is asked of the container was cut off; the answer may tell.
    Begun,
    /// Only the answer was seen, and may tell.
    Answered,
}

/// One call about a container.
pub(crate) struct ContainerCall {
    kind: Kind,
    libpod: bool,
    host: HostKey,
    reference: String,
    /// The reference was cut off.
    cut: bool,
    new_name: Option<String>,
    body: Collected,
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
        let kind = kind_of(api, target)?;
        let host = host_key(api.daemon, api.tag);
        let query = |key| target.query.first(key);
        let mut call = Self {
            kind,
            libpod: target.libpod,
            host,
            reference: bounded(target.object(), MAX_NAME),
            cut: target.is_object_cut(),
            new_name: None,
            body: Collected::new(MAX_BODY),
            answer: Collected::new(MAX_ANSWER),
            event: blank_event(api, action_of(kind)),
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
            host: host_key(api.daemon, api.tag),
            reference: String::new(),
            cut: false,
            new_name: None,
            body: Collected::new(0),
            answer: Collected::new(MAX_ANSWER),
            event: blank_event(api, ContainerAction::Create),
            created: None,
            request_read: true,
            ready: false,
            settled: false,
        }
    }

    /// Bytes of the request's body.
    pub(crate) fn request_body(&mut self, bytes: &[u8]) {
        match self.kind {
            Kind::Create | Kind::ExecCreate => self.body.push(bytes),
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
        if let Some(copied) = &mut self.event.copied_bytes {
            *copied = copied.saturating_add(bytes);
        }
    }

    /// The request is over, or no more of it will come: what came of the body is read. Says whether
    /// the body was damaged.
    pub(crate) fn request_end(&mut self, secrets: Secrets) -> bool {
        if self.request_read {
            return false;
        }
        self.request_read = true;
        let bytes = self.body.take();
        let parsed = Json::read(&bytes);
        match self.kind {
            Kind::Create => self.read_create(&parsed.value, parsed.whole, secrets),
            Kind::ExecCreate => self.read_exec(&parsed.value, secrets),
            _ => return false,
        }
        self.ready = true;
        !bytes.is_empty() && !parsed.whole
    }

    /// The request is over: its answer may not come before other calls name the container.
    pub(crate) fn announce(&self, memory: &mut Memory) {
        if let (Some(created), false) = (&self.created, self.settled) {
            memory.learn_container(self.host, None, Arc::clone(created));
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
        if told || matches!(self.kind, Kind::Create | Kind::ExecCreate | Kind::Wait) {
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
                memory.unlearn_container(self.host, created);
            }
            return;
        }
        let answer = Json::read(&self.answer.take()).value;
        let id = answer.field("Id").and_then(Json::text).map(|id| bounded(id, MAX_NAME));
        match self.kind {
            Kind::Create => {
                self.event.container_id.clone_from(&id);
                if let Some(created) = self.created.clone() {
                    memory.learn_container(self.host, id, created);
                }
            }
            Kind::ExecCreate => {
                if let Some(id) = id {
                    memory.learn_exec(self.host, id, self.event.clone());
                }
            }
            Kind::Start => memory.note_start(self.host, &self.reference),
            Kind::Remove if status.is_some() => memory.forget_container(self.host, &self.reference),
            Kind::Rename if status.is_some() => {
                if let Some(name) = &self.new_name {
                    memory.rename_container(self.host, &self.reference, name);
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
            memory.learn_container(self.host, Some(id.clone()), Arc::default());
            self.event.container_id = Some(id);
        } else {
            self.event.action = ContainerAction::Exec;
        }
    }

    /// Docker Engine API v1.43: of the calls about a container that are sent with POST, only
    /// ContainerExec is answered with 201. With 204 are start and what needs a running container,
    /// and ContainerRename: for a container that has not been started yet it is taken for its start.
    fn settle_begun(&mut self, status: Option<u16>, memory: &mut Memory) {
        let known = memory.begun(self.host, &self.reference, self.cut);
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
                memory.note_start(self.host, &self.reference);
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
            if let Some((created, _)) = memory.begun(self.host, &self.reference, true) {
                fill(&mut self.event, &created);
            }
            return;
        }
        self.event.container_id = Some(self.reference.trim_start_matches('/').to_owned());
        if !memory.knows(self.host, &self.reference) {
            memory.adopt(self.host, &self.reference);
        }
        let Some((id, created)) = memory.container(self.host, &self.reference) else { return };
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
        let Some(event) = memory.exec(self.host, &self.reference) else { return };
        self.event = ContainerEvent { status: None, ended: api.started, ..event };
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

fn kind_of(api: &ApiCall, target: &Target) -> Option<Kind> {
    Some(match api.route {
        Route::ContainerCreate => Kind::Create,
        Route::ContainerStart => Kind::Start,
        Route::ContainerStop => match target.verb() {
            "stop" | "kill" => Kind::Stop,
            "restart" => Kind::Start,
            _ => return None,
        },
        Route::ContainerWait => Kind::Wait,
        Route::ContainerRemove => Kind::Remove,
        Route::ArchivePut => Kind::Copy,
        Route::ExecCreate => Kind::ExecCreate,
        Route::ExecStart => Kind::ExecStart,
        Route::Other if api.method == "POST" && target.is_begun_container() => Kind::Begun,
        Route::Other if target.verb() == "rename" => Kind::Rename,
        _ => return None,
    })
}

const fn action_of(kind: Kind) -> ContainerAction {
    match kind {
        Kind::Create | Kind::Rename | Kind::Answered => ContainerAction::Create,
        Kind::Start | Kind::Begun => ContainerAction::Start,
        Kind::Stop | Kind::Wait => ContainerAction::Stop,
        Kind::Remove => ContainerAction::Remove,
        Kind::Copy => ContainerAction::Copy,
        Kind::ExecCreate | Kind::ExecStart => ContainerAction::Exec,
    }
}

/// Docker Engine API v1.43, ContainerKill `signal`: any signal; only some of them end a container.
fn ends_it(signal: Option<&str>) -> bool {
    let Some(signal) = signal else { return true };
    let name = signal.to_ascii_uppercase();
    let name = name.strip_prefix("SIG").unwrap_or(&name);
    matches!(name, "KILL" | "TERM" | "INT" | "QUIT" | "ABRT" | "9" | "15" | "2" | "3" | "6")
}

fn blank_event(api: &ApiCall, action: ContainerAction) -> ContainerEvent {
    ContainerEvent {
        call: api.id,
        action,
        daemon: api.daemon,
        client: api.client.ip,
        client_port: api.client.port,
        tag: api.tag,
        user_agent: api.user_agent.clone(),
        container_id: None,
        name: None,
        image: None,
        command: Vec::new(),
        urls: Vec::new(),
        privileged: false,
        binds: Vec::new(),
        pid_mode: None,
        network_mode: None,
        cap_add: Vec::new(),
        user: None,
        path: None,
        copied_bytes: (action == ContainerAction::Copy).then_some(0),
        risks: Vec::new(),
        started: api.started,
        ended: api.started,
        status: None,
    }
}

fn fill(event: &mut ContainerEvent, created: &Created) {
    let created = created.clone();
    event.name = created.name;
    event.image = created.image;
    event.command = created.command;
    event.urls = created.urls;
    event.privileged = created.privileged;
    event.binds = created.binds;
    event.pid_mode = created.pid_mode;
    event.network_mode = created.network_mode;
    event.cap_add = created.cap_add;
    event.user = created.user;
    event.risks = created.risks;
}

/// Docker Engine API v1.41, `ContainerWait`: -1 is no exit status.
fn is_exit_status(value: &Json) -> bool {
    value.number().is_some()
}
