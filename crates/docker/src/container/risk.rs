//! What is dangerous about a container, by what its create call asks for.

use tw_model::Risk;

use super::{Created, MAX_NAME, MAX_PATH};
use crate::query::bounded;

/// A host directory inside a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mount {
    pub(crate) source: String,
    pub(crate) target: String,
}

impl Mount {
    pub(crate) fn new(source: &str, target: &str) -> Self {
        Self { source: bounded(source, MAX_PATH), target: bounded(target, MAX_PATH) }
    }

    /// Docker Engine API v1.43, HostConfig `Binds`: `source:target[:options]`.
    pub(crate) fn from_bind(bind: &str) -> Option<Self> {
        let (source, rest) = bind.split_once(':')?;
        let target = rest.split(':').next().unwrap_or(rest);
        Some(Self::new(source, target))
    }
}

/// What the risks follow from.
pub(crate) struct Facts<'f> {
    pub(crate) privileged: bool,
    pub(crate) mounts: &'f [Mount],
    pub(crate) pid_mode: Option<&'f str>,
    pub(crate) ipc_mode: Option<&'f str>,
    pub(crate) userns_mode: Option<&'f str>,
    pub(crate) network_mode: Option<&'f str>,
    pub(crate) capabilities: &'f [&'f str],
    pub(crate) devices: bool,
    pub(crate) security: &'f [&'f str],
    pub(crate) restart: Option<&'f str>,
    pub(crate) user: Option<&'f str>,
}

impl Facts<'_> {
    /// The facts as a reader wants them, with their risks.
    pub(crate) fn created(&self) -> Created {
        let named = |text: Option<&str>| text.map(|text| bounded(text, MAX_NAME));
        Created {
            privileged: self.privileged,
            binds: self
                .mounts
                .iter()
                .map(|mount| format!("{}:{}", mount.source, mount.target))
                .collect(),
            pid_mode: named(self.pid_mode),
            network_mode: named(self.network_mode),
            cap_add: self.capabilities.iter().map(|name| bounded(name, MAX_NAME)).collect(),
            user: named(self.user),
            risks: self.risks(),
            ..Created::default()
        }
    }

    /// Sorted, each once.
    pub(crate) fn risks(&self) -> Vec<Risk> {
        let mut risks: Vec<Risk> =
            self.mounts.iter().flat_map(|mount| mount_risks(&mount.source)).collect();
        let is_host = |mode: Option<&str>| mode == Some("host");
        let switches = [
            (self.privileged, Risk::Privileged),
            (is_host(self.pid_mode), Risk::HostPid),
            (is_host(self.network_mode), Risk::HostNetwork),
            (is_host(self.ipc_mode), Risk::HostIpc),
            (is_host(self.userns_mode), Risk::HostUserns),
            (self.capabilities.iter().any(|name| is_dangerous(name)), Risk::DangerousCapability),
            (self.devices, Risk::Device),
            (self.has_option("seccomp", "unconfined"), Risk::NoSeccomp),
            (
                self.has_option("apparmor", "unconfined") || self.has_option("label", "disable"),
                Risk::NoApparmor,
            ),
            (matches!(self.restart, Some("always" | "unless-stopped")), Risk::RestartAlways),
            (is_root(self.user), Risk::RootUser),
        ];
        risks.extend(switches.into_iter().filter(|(on, _)| *on).map(|(_, risk)| risk));
        risks.sort_unstable();
        risks.dedup();
        risks
    }

    /// `key=value`, or `key:value` as older clients wrote it.
    fn has_option(&self, key: &str, value: &str) -> bool {
        self.security.iter().any(|option| {
            option.split_once(['=', ':']).is_some_and(|(k, v)| k.trim() == key && v.trim() == value)
        })
    }
}

fn is_root(user: Option<&str>) -> bool {
    let name = user.unwrap_or("").split(':').next().unwrap_or("");
    matches!(name, "" | "0" | "root")
}

fn is_dangerous(capability: &str) -> bool {
    let name = capability.to_ascii_uppercase();
    let name = name.strip_prefix("CAP_").unwrap_or(&name);
    DANGEROUS_CAPABILITIES.contains(&name)
}

fn mount_risks(source: &str) -> Vec<Risk> {
    if !source.starts_with('/') {
        return Vec::new();
    }
    let path = clean(source);
    let within = |dir: &str| {
        path.strip_prefix(dir).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    if path == "/" {
        return vec![Risk::HostRootMount];
    }
    let socket = path.rsplit('/').next().is_some_and(|name| SOCKETS.contains(&name));
    if socket || matches!(path.as_str(), "/run" | "/var/run") {
        return vec![Risk::HostPathMount, Risk::DockerSocket];
    }
    let harmless = HARMLESS_PATHS.iter().any(|dir| within(dir));
    let sensitive = SENSITIVE_TREES.iter().any(|dir| within(dir))
        || SENSITIVE_DIRS.contains(&path.as_str())
        || path.ends_with("/.ssh");
    if sensitive && !harmless { vec![Risk::HostPathMount] } else { Vec::new() }
}

/// Dot segments and doubled slashes away, as the kernel reads a path.
fn clean(path: &str) -> String {
    let mut segments: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            _ => segments.push(segment),
        }
    }
    format!("/{}", segments.join("/"))
}

/// Capabilities that lead out of a container or into the host's network.
const DANGEROUS_CAPABILITIES: &[&str] = &[
    "ALL",
    "SYS_ADMIN",
    "SYS_PTRACE",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_BOOT",
    "DAC_READ_SEARCH",
    "NET_ADMIN",
    "MAC_ADMIN",
    "MAC_OVERRIDE",
    "BPF",
    "PERFMON",
];
const SOCKETS: &[&str] = &["docker.sock", "podman.sock", "containerd.sock", "crio.sock"];
const SENSITIVE_TREES: &[&str] = &[
    "/etc",
    "/root",
    "/proc",
    "/sys",
    "/dev",
    "/boot",
    "/bin",
    "/sbin",
    "/lib",
    "/lib64",
    "/usr",
    "/run",
    "/var/run",
    "/var/spool",
    "/var/lib/docker",
    "/var/lib/containers",
    "/var/lib/kubelet",
];
const SENSITIVE_DIRS: &[&str] = &["/home", "/opt", "/var", "/var/lib", "/var/log"];
/// Mounted by ordinary programs for the time of day and for certificates.
const HARMLESS_PATHS: &[&str] = &[
    "/etc/localtime",
    "/etc/timezone",
    "/etc/ssl/certs",
    "/usr/share/zoneinfo",
    "/usr/share/ca-certificates",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts() {
        use Risk::{DockerSocket, HostPathMount, HostRootMount};
        let table: &[(&str, &[Risk])] = &[
            ("/", &[HostRootMount]),
            ("//", &[HostRootMount]),
            ("/.", &[HostRootMount]),
            ("/etc/..", &[HostRootMount]),
            ("/../..", &[HostRootMount]),
            ("/var/run/docker.sock", &[HostPathMount, DockerSocket]),
            ("/run//docker.sock", &[HostPathMount, DockerSocket]),
            ("/var/run", &[HostPathMount, DockerSocket]),
            ("/etc", &[HostPathMount]),
            ("/etc/cron.d", &[HostPathMount]),
            ("/root/.ssh", &[HostPathMount]),
            ("/home/dev/.ssh", &[HostPathMount]),
            ("/proc", &[HostPathMount]),
            ("/home", &[HostPathMount]),
            ("/etc/localtime", &[]),
            ("/etcetera", &[]),
            ("/home/dev/project", &[]),
            ("/srv/data", &[]),
            ("named-volume", &[]),
        ];
        for (source, risks) in table {
            assert_eq!(&mount_risks(source), risks, "{source}");
        }
    }

    #[test]
    fn binds() {
        assert_eq!(Mount::from_bind("/:/host:ro"), Some(Mount::new("/", "/host")));
        assert_eq!(Mount::from_bind("/only"), None);
    }

    #[test]
    fn capabilities_and_users() {
        for name in ["ALL", "all", "SYS_ADMIN", "CAP_SYS_ADMIN", "cap_sys_module", "NET_ADMIN"] {
            assert!(is_dangerous(name), "{name}");
        }
        for name in ["CHOWN", "NET_BIND_SERVICE", "", "CAP_"] {
            assert!(!is_dangerous(name), "{name}");
        }
        for (user, root) in [
            (None, true),
            (Some("0:0"), true),
            (Some("root:root"), true),
            (Some("0"), true),
            (Some("1000"), false),
            (Some("nobody:0"), false),
        ] {
            assert_eq!(is_root(user), root, "{user:?}");
        }
    }
}
