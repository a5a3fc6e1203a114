//! Bodies of calls that deploy a service on a swarm.
//!
//! In: a service's specification as the daemon reads it. Out: [`Created`], with secrets removed. What
//! a service cannot ask for (the host's processes, full privileges) is not looked for.

use tw_model::Secrets;

use super::create::{named, shown_words, text, texts, urls_of};
use super::risk::{self, Mount};
use super::{Created, create, plugin};
use crate::json::Json;

/// Docker Engine API v1.43, ServiceCreate and ServiceUpdate (ServiceSpec). `host_network` is the id
/// under which the daemon's network `host` was told.
pub(crate) fn from_spec(spec: &Json, host_network: Option<&str>, secrets: Secrets) -> Created {
    let Some(task) = spec.field("TaskTemplate") else {
        return Created { name: text(spec.field("Name")).map(named), ..Created::default() };
    };
    let created = match task.field("PluginSpec") {
        Some(plugin) => plugin::from_task(plugin),
        None => from_task(spec, task, host_network, secrets),
    };
    Created { name: text(spec.field("Name")).map(named), ..created }
}

fn from_task(spec: &Json, task: &Json, host_network: Option<&str>, secrets: Secrets) -> Created {
    let none = Json::Null;
    let container = task.field("ContainerSpec").unwrap_or(&none);
    let words = [container.field("Command"), container.field("Args")];
    let words: Vec<&str> = words.into_iter().flatten().flat_map(Json::texts).collect();
    let health = container.field("Healthcheck").and_then(|check| check.field("Test"));
    let mounts = container.field("Mounts").map(Json::elements).unwrap_or_default();
    let mounts: Vec<Mount> = mounts.iter().filter_map(create::mount_of).collect();
    let networks = [task.field("Networks"), spec.field("Networks")];
    let targets = networks.into_iter().flatten().flat_map(Json::elements);
    let on_host = targets
        .filter_map(|network| text(network.field("Target")))
        .any(|target| target == "host" || Some(target) == host_network);
    let restart = task.field("RestartPolicy").and_then(|policy| policy.field("Condition"));
    let facts = risk::Facts {
        privileged: false,
        mounts: &mounts,
        pid_mode: None,
        ipc_mode: None,
        userns_mode: None,
        network_mode: on_host.then_some("host"),
        capabilities: &texts(container.field("CapabilityAdd")),
        devices: false,
        security: &security_of(container),
        restart: text(restart).filter(|condition| *condition == "any").map(|_| "always"),
        user: text(container.field("User")),
    };
    let env = texts(container.field("Env"));
    let sources = words.iter().copied().chain(env).chain(texts(health));
    Created {
        image: text(container.field("Image")).map(named),
        urls: urls_of(sources, secrets),
        command: shown_words(&words, secrets),
        ..facts.created()
    }
}

/// Docker Engine API v1.44, TaskSpec `ContainerSpec.Privileges`.
fn security_of(container: &Json) -> Vec<&'static str> {
    let Some(privileges) = container.field("Privileges") else { return Vec::new() };
    let mode = |key| privileges.field(key).and_then(|part| text(part.field("Mode")));
    let selinux = privileges.field("SELinuxContext").and_then(|part| part.field("Disable"));
    [
        (mode("Seccomp") == Some("unconfined"), "seccomp=unconfined"),
        (mode("AppArmor") == Some("disabled"), "apparmor=unconfined"),
        (selinux.is_some_and(Json::is_true), "label=disable"),
    ]
    .into_iter()
    .filter_map(|(is_off, option)| is_off.then_some(option))
    .collect()
}
