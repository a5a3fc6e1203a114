//! Bodies of calls that bring a plugin to a daemon: the privileges that the caller grants, or the
//! plugin's own configuration. A plugin runs as root on the host, and with what it is granted.

use super::create::{named, text, texts};
use super::risk::{self, Mount};
use super::{Created, MAX_NAME};
use crate::json::Json;
use crate::query::bounded;

/// Docker Engine API v1.43, PluginPull and PluginUpgrade: an array of PluginPrivilege.
pub(crate) fn from_privileges(granted: &Json) -> Created {
    let mut asked = Asked::default();
    for privilege in granted.elements() {
        let values = texts(privilege.field("Value"));
        match text(privilege.field("Name")).unwrap_or("") {
            "network" => asked.network = values.first().copied(),
            "host ipc namespace" => asked.ipc = says_yes(&values),
            "host pid namespace" => asked.pid = says_yes(&values),
            "mount" => asked.mounts.extend(values.iter().map(|source| Mount::new(source, ""))),
            "device" => asked.devices |= !values.is_empty(),
            "allow-all-devices" => asked.devices |= says_yes(&values),
            "capabilities" => asked.capabilities.extend(values),
            _ => {}
        }
    }
    asked.created()
}

/// Docker Engine API v1.43, PluginCreate: `config.json` of the uploaded archive (PluginConfig).
pub(crate) fn from_config(config: &Json) -> Created {
    let linux = config.field("Linux");
    let linux = |key| linux.and_then(|linux| linux.field(key));
    let on = |key| config.field(key).is_some_and(Json::is_true);
    let mounts = config.field("Mounts").map(Json::elements).unwrap_or_default();
    let mounts = mounts.iter().filter_map(|mount| {
        let target = text(mount.field("Destination")).unwrap_or("");
        Some(Mount::new(text(mount.field("Source"))?, target))
    });
    let asked = Asked {
        network: text(config.field("Network").and_then(|network| network.field("Type"))),
        ipc: on("IpcHost"),
        pid: on("PidHost"),
        mounts: mounts.collect(),
        devices: linux("AllowAllDevices").is_some_and(Json::is_true)
            || !linux("Devices").map(Json::elements).unwrap_or_default().is_empty(),
        capabilities: texts(linux("Capabilities")),
    };
    Created {
        command: texts(config.field("Entrypoint")).into_iter().map(word).collect(),
        ..asked.created()
    }
}

/// Docker Engine API v1.43, TaskSpec `PluginSpec`: a plugin that a swarm brings to its nodes.
pub(crate) fn from_task(spec: &Json) -> Created {
    let granted = spec.field("PluginPrivilege").or_else(|| spec.field("PluginPrivileges"));
    let created = granted.map(from_privileges).unwrap_or_default();
    Created { image: text(spec.field("Remote")).map(named), ..created }
}

/// A plugin's name as the daemon keeps it: without the default registry, with a tag.
pub(crate) fn name_of(reference: &str) -> String {
    let name = reference.strip_prefix("docker.io/").unwrap_or(reference);
    let has_tag = name.rsplit('/').next().is_some_and(|last| last.contains([':', '@']));
    let name = bounded(name, MAX_NAME);
    if has_tag || name.is_empty() { name } else { format!("{name}:latest") }
}

/// What a plugin asks of the host.
#[derive(Default)]
struct Asked<'j> {
    network: Option<&'j str>,
    ipc: bool,
    pid: bool,
    mounts: Vec<Mount>,
    devices: bool,
    capabilities: Vec<&'j str>,
}

impl Asked<'_> {
    fn created(&self) -> Created {
        let host = |on: bool| on.then_some("host");
        let facts = risk::Facts {
            privileged: false,
            mounts: &self.mounts,
            pid_mode: host(self.pid),
            ipc_mode: host(self.ipc),
            userns_mode: None,
            network_mode: self.network,
            capabilities: &self.capabilities,
            devices: self.devices,
            security: &[],
            restart: None,
            user: None,
        };
        facts.created()
    }
}

fn says_yes(values: &[&str]) -> bool {
    values.first().is_some_and(|value| value.eq_ignore_ascii_case("true"))
}

fn word(text: &str) -> String {
    bounded(text, MAX_NAME)
}
