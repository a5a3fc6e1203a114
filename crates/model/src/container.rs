//! What an API caller did with a container.

use std::net::IpAddr;

use serde::Serialize;

use crate::{CallId, Endpoint, NetworkTag, StreamUse, Timestamp};

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ContainerAction {
    /// `POST /containers/create`.
    Create,
    /// `POST /containers/ID/start`.
    Start,
    /// `POST /containers/ID/exec` and `POST /exec/ID/start`, as one.
    Exec,
    /// `PUT /containers/ID/archive`.
    Copy,
    /// `POST /containers/ID/stop|kill`, or the answer to `/wait`.
    Stop,
    /// `DELETE /containers/ID`.
    Remove,
}

/// What is deployed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DeployKind {
    /// A container.
    #[default]
    Container,
    /// A service of a swarm: containers that the swarm makes, on any of its nodes.
    Service,
    /// A plugin of the daemon, which runs as root on its host.
    Plugin,
}

impl DeployKind {
    /// For a sentence: "container", "service", "plugin".
    #[must_use]
    pub const fn noun(self) -> &'static str {
        match self {
            Self::Container => "container",
            Self::Service => "service",
            Self::Plugin => "plugin",
        }
    }

    /// Is it a container? What is none is said in the output.
    #[must_use]
    pub fn is_container(&self) -> bool {
        *self == Self::Container
    }
}

/// What is dangerous about a container, by its create call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the names of the output contract say all there is to say")]
pub enum Risk {
    Privileged,
    HostRootMount,
    HostPathMount,
    DockerSocket,
    HostPid,
    HostNetwork,
    HostIpc,
    HostUserns,
    DangerousCapability,
    Device,
    NoSeccomp,
    NoApparmor,
    RestartAlways,
    RootUser,
}

impl Risk {
    /// For a sentence: "with …".
    #[must_use]
    pub const fn phrase(self) -> &'static str {
        match self {
            Self::Privileged => "full privileges",
            Self::HostRootMount => "the host's root directory mounted",
            Self::HostPathMount => "a directory of the host mounted",
            Self::DockerSocket => "the Docker socket mounted",
            Self::HostPid => "the host's processes",
            Self::HostNetwork => "the host's network",
            Self::HostIpc => "the host's IPC",
            Self::HostUserns => "the host's user namespace",
            Self::DangerousCapability => "a dangerous capability",
            Self::Device => "a device of the host",
            Self::NoSeccomp => "seccomp off",
            Self::NoApparmor => "AppArmor off",
            Self::RestartAlways => "restart always",
            Self::RootUser => "the user root",
        }
    }
}

/// One action on a container that the daemon accepted, or whose answer was not seen. Start, stop and so on repeat what the create call of the same
/// container said, where that was seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ContainerEvent {
    /// The API call.
    #[serde(skip)]
    pub call: CallId,
    /// What was done.
    pub action: ContainerAction,
    /// To what, where it is no container.
    #[serde(skip_serializing_if = "DeployKind::is_container")]
    pub kind: DeployKind,
    /// The daemon as it was called.
    pub daemon: Endpoint,
    /// The caller's address.
    pub client: IpAddr,
    /// The caller's port.
    #[serde(skip)]
    pub client_port: u16,
    /// Which network it was seen on.
    #[serde(skip)]
    pub tag: NetworkTag,
    /// `User-Agent` of the request.
    #[serde(skip)]
    pub user_agent: Option<String>,
    /// Full id where known, else as the call named it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container_id: Option<String>,
    /// Name, where known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Image that it was made of, as written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Entrypoint and command, or the exec's command, secrets removed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// URLs and hosts that the command and the environment name, base64 layers decoded.
    #[serde(skip)]
    pub urls: Vec<String>,
    /// `HostConfig.Privileged`, or the exec's.
    pub privileged: bool,
    /// `HostConfig.Binds` and bind mounts as `source:target`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub binds: Vec<String>,
    /// `HostConfig.PidMode`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid_mode: Option<String>,
    /// `HostConfig.NetworkMode`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network_mode: Option<String>,
    /// `HostConfig.CapAdd`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cap_add: Vec<String>,
    /// `User`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Target path of a copy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Bytes that were copied in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub copied_bytes: Option<u64>,
    /// The stream of an exec: how much was said, not what.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream: Option<StreamUse>,
    /// What is dangerous about it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub risks: Vec<Risk>,
    /// First byte of the request.
    pub started: Timestamp,
    /// Last byte of the answer.
    #[serde(skip)]
    pub ended: Timestamp,
    /// Status of the answer, where seen.
    #[serde(skip)]
    pub status: Option<u16>,
}

impl ContainerEvent {
    /// Did the daemon refuse it? What was announced when it was asked is then taken back.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        self.status.is_some_and(|status| status >= 400)
    }
}
