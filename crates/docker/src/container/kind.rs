//! Which calls are about a container, a service or a plugin, and what they do to it.

use tw_model::{ApiCall, ContainerAction, ContainerEvent, DeployKind, Route};

use super::{Created, MAX_NAME, plugin};
use crate::json::Json;
use crate::query::bounded;
use crate::route::Target;

/// Which call it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Create,
    Start,
    Stop,
    Wait,
    Remove,
    Copy,
    Rename,
    ExecCreate,
    ExecStart,
    ServiceCreate,
    ServiceUpdate,
    /// Pulled for the first time, or to replace what is there.
    PluginPull,
    PluginCreate,
    /// What is asked of the container was cut off; the answer may tell.
    Begun,
    /// Only the answer was seen, and may tell.
    Answered,
}

impl Kind {
    /// `None` for calls that do nothing to any of them.
    pub(super) fn of(api: &ApiCall, target: &Target) -> Option<(Self, DeployKind)> {
        let of = |kind| Some((kind, DeployKind::Container));
        match api.route {
            Route::ContainerCreate => of(Self::Create),
            Route::ContainerStart => of(Self::Start),
            Route::ContainerStop => match target.verb() {
                "stop" | "kill" => of(Self::Stop),
                "restart" => of(Self::Start),
                _ => None,
            },
            Route::ContainerWait => of(Self::Wait),
            Route::ContainerRemove => of(Self::Remove),
            Route::ArchivePut => of(Self::Copy),
            Route::ExecCreate => of(Self::ExecCreate),
            Route::ExecStart => of(Self::ExecStart),
            Route::Other if api.method == "POST" && target.is_begun_container() => of(Self::Begun),
            Route::Other if target.verb() == "rename" => of(Self::Rename),
            Route::Service => Some((Self::of_service(api, target)?, DeployKind::Service)),
            Route::Plugin => Some((Self::of_plugin(api, target)?, DeployKind::Plugin)),
            _ => None,
        }
    }

    /// Docker Engine API v1.43, ServiceCreate, ServiceUpdate, ServiceDelete.
    fn of_service(api: &ApiCall, target: &Target) -> Option<Self> {
        let path = target.path.strip_prefix("/services/")?;
        match (api.method.as_str(), path.rsplit_once('/')) {
            ("POST", None) if path == "create" => Some(Self::ServiceCreate),
            ("POST", Some((_, "update"))) => Some(Self::ServiceUpdate),
            ("DELETE", None) => Some(Self::Remove),
            _ => None,
        }
    }

    /// Docker Engine API v1.43, PluginPull, PluginCreate, PluginUpgrade, PluginEnable,
    /// PluginDisable, PluginDelete. A plugin's name may have slashes.
    fn of_plugin(api: &ApiCall, target: &Target) -> Option<Self> {
        let path = target.path.strip_prefix("/plugins/")?;
        match (api.method.as_str(), path.rsplit_once('/')) {
            ("POST", None) if path == "pull" => Some(Self::PluginPull),
            ("POST", None) if path == "create" => Some(Self::PluginCreate),
            ("POST", Some((_, "upgrade"))) => Some(Self::PluginPull),
            ("POST", Some((_, "enable"))) => Some(Self::Start),
            ("POST", Some((_, "disable"))) => Some(Self::Stop),
            ("DELETE", _) => Some(Self::Remove),
            _ => None,
        }
    }

    pub(super) const fn action(self) -> ContainerAction {
        match self {
            Self::Create
            | Self::Rename
            | Self::Answered
            | Self::ServiceCreate
            | Self::PluginPull
            | Self::PluginCreate => ContainerAction::Create,
            Self::Start | Self::Begun | Self::ServiceUpdate => ContainerAction::Start,
            Self::Stop | Self::Wait => ContainerAction::Stop,
            Self::Remove => ContainerAction::Remove,
            Self::Copy => ContainerAction::Copy,
            Self::ExecCreate | Self::ExecStart => ContainerAction::Exec,
        }
    }
}

/// What the path names; of a plugin as the daemon keeps it.
pub(super) fn object_of(kind: Kind, deploys: DeployKind, target: &Target) -> String {
    let path = |prefix| target.path.strip_prefix(prefix).unwrap_or("");
    match (deploys, kind) {
        (_, Kind::ServiceCreate | Kind::PluginCreate) => String::new(),
        (DeployKind::Service, Kind::Remove) => bounded(path("/services/"), MAX_NAME),
        (DeployKind::Plugin, Kind::Remove) => plugin::name_of(path("/plugins/")),
        (DeployKind::Plugin, _) => match path("/plugins/").rsplit_once('/') {
            Some((name, _)) => plugin::name_of(name),
            None => String::new(),
        },
        _ => bounded(target.object(), MAX_NAME),
    }
}

/// Docker Engine API v1.43, PluginPull: a stream of JSON objects, one of which tells of an error.
pub(super) fn tells_of_error(answer: &[u8]) -> bool {
    let mut lines = answer.split(|byte| *byte == b'\n').map(|line| Json::read(line).value);
    lines.any(|line| line.field("error").is_some() || line.field("errorDetail").is_some())
}

/// Docker Engine API v1.43, ContainerKill `signal`: any signal; only some of them end a container.
pub(super) fn ends_it(signal: Option<&str>) -> bool {
    let Some(signal) = signal else { return true };
    let name = signal.to_ascii_uppercase();
    let name = name.strip_prefix("SIG").unwrap_or(&name);
    matches!(name, "KILL" | "TERM" | "INT" | "QUIT" | "ABRT" | "9" | "15" | "2" | "3" | "6")
}

pub(super) fn blank_event(
    api: &ApiCall,
    action: ContainerAction,
    kind: DeployKind,
) -> ContainerEvent {
    ContainerEvent {
        call: api.id,
        action,
        kind,
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
        stream: None,
        risks: Vec::new(),
        started: api.started,
        ended: api.started,
        status: None,
    }
}

pub(super) fn fill(event: &mut ContainerEvent, created: &Created) {
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
