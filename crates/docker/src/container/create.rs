//! Bodies of create calls.
//!
//! In: JSON as the daemon reads it, damaged or not. Out: [`Created`], with secrets removed. Keys are
//! found in any case and repeated objects are all searched, because that is what the daemon's decoder
//! does with them.

use tw_model::{Secrets, redact_url, redact_words};

use super::risk::{self, Mount};
use super::{Created, MAX_NAME};
use crate::content::urls;
use crate::json::Json;
use crate::query::bounded;

/// Elements of a list that are kept.
const MAX_ITEMS: usize = 128;
/// Longest element of a command.
const MAX_WORD: usize = 8 * 1024;
/// URLs that are kept.
const MAX_URLS: usize = 64;

/// Docker Engine API v1.43, ContainerCreate (ContainerConfig with HostConfig).
pub(crate) fn from_config(spec: &Json, secrets: Secrets) -> Created {
    let hosts: Vec<&Json> = spec.fields("HostConfig").collect();
    let host = |key| last_of(&hosts, key);
    let words = [spec.field("Entrypoint"), spec.field("Cmd")];
    let words: Vec<&str> = words.into_iter().flatten().flat_map(Json::texts).collect();
    let env = texts(spec.field("Env"));
    let health = spec.field("Healthcheck").and_then(|check| check.field("Test"));
    let mut mounts: Vec<Mount> =
        texts(host("Binds")).iter().filter_map(|bind| Mount::from_bind(bind)).collect();
    for mount in host("Mounts").map(Json::elements).unwrap_or_default() {
        mounts.extend(mount_of(mount));
    }
    let facts = risk::Facts {
        privileged: host("Privileged").is_some_and(Json::is_true),
        mounts: &mounts,
        pid_mode: text(host("PidMode")),
        ipc_mode: text(host("IpcMode")),
        userns_mode: text(host("UsernsMode")),
        network_mode: text(host("NetworkMode")),
        capabilities: &texts(host("CapAdd")),
        devices: !host("Devices").map(Json::elements).unwrap_or_default().is_empty()
            || !texts(host("DeviceCgroupRules")).is_empty(),
        security: &texts(host("SecurityOpt")),
        restart: text(host("RestartPolicy").and_then(|policy| policy.field("Name"))),
        user: text(spec.field("User")),
    };
    let sources = words.iter().copied().chain(env).chain(texts(health));
    Created {
        image: text(spec.field("Image")).map(named),
        urls: urls_of(sources, secrets),
        command: shown_words(&words, secrets),
        ..facts.created()
    }
}

/// Podman's libpod API v4, ContainerCreateLibpod (SpecGenerator).
pub(crate) fn from_specgen(spec: &Json, secrets: Secrets) -> Created {
    let namespace = |key| text(spec.field(key).and_then(|space| space.field("nsmode")));
    let words = [spec.field("entrypoint"), spec.field("command")];
    let words: Vec<&str> = words.into_iter().flatten().flat_map(Json::texts).collect();
    let env = spec.field("env").map(Json::pairs).unwrap_or_default();
    let env = env.iter().filter_map(|(_, value)| value.text());
    let health = spec.field("healthconfig").and_then(|check| check.field("Test"));
    let mounts: Vec<Mount> = spec
        .field("mounts")
        .map(Json::elements)
        .unwrap_or_default()
        .iter()
        .filter_map(mount_of)
        .collect();
    let mut security: Vec<&str> = Vec::new();
    if text(spec.field("seccomp_profile_path")) == Some("unconfined") {
        security.push("seccomp=unconfined");
    }
    if text(spec.field("apparmor_profile")) == Some("unconfined") {
        security.push("apparmor=unconfined");
    }
    if texts(spec.field("selinux_opts")).contains(&"disable") {
        security.push("label=disable");
    }
    let facts = risk::Facts {
        privileged: spec.field("privileged").is_some_and(Json::is_true),
        mounts: &mounts,
        pid_mode: namespace("pidns"),
        ipc_mode: namespace("ipcns"),
        userns_mode: namespace("userns"),
        network_mode: namespace("netns"),
        capabilities: &texts(spec.field("cap_add")),
        devices: !spec.field("devices").map(Json::elements).unwrap_or_default().is_empty(),
        security: &security,
        restart: text(spec.field("restart_policy")),
        user: text(spec.field("user")),
    };
    let sources = words.iter().copied().chain(env).chain(texts(health));
    Created {
        name: text(spec.field("name")).map(named),
        image: text(spec.field("image")).map(named),
        urls: urls_of(sources, secrets),
        command: shown_words(&words, secrets),
        ..facts.created()
    }
}

/// What a command or an environment names, user info removed.
pub(crate) fn urls_of<'t>(texts: impl Iterator<Item = &'t str>, secrets: Secrets) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for text in texts.take(MAX_ITEMS) {
        for url in urls::find(text) {
            let url = redact_url(&url, secrets);
            if found.len() < MAX_URLS && !found.contains(&url) {
                found.push(url);
            }
        }
    }
    found
}

/// A command for a reader: bounded, secrets removed.
pub(crate) fn shown_words(words: &[&str], secrets: Secrets) -> Vec<String> {
    let words: Vec<String> = words.iter().take(MAX_ITEMS).map(|word| (*word).to_owned()).collect();
    let shown = redact_words(&words, secrets);
    shown.into_iter().map(|word| bounded(&word, MAX_WORD)).collect()
}

/// Docker Engine API v1.43, Mount: a bind, or a volume of the local driver that binds a device.
pub(crate) fn mount_of(mount: &Json) -> Option<Mount> {
    let kind = text(mount.field("Type")).unwrap_or("");
    let target = text(mount.field("Target")).or_else(|| text(mount.field("destination")));
    if kind.eq_ignore_ascii_case("bind") {
        return Some(Mount::new(text(mount.field("Source"))?, target.unwrap_or("")));
    }
    let driver = mount.field("VolumeOptions")?.field("DriverConfig")?;
    let options = driver.field("Options")?;
    Some(Mount::new(text(options.field("device"))?, target.unwrap_or("")))
        .filter(|mount| mount.source.starts_with('/'))
}

fn last_of<'j>(parents: &[&'j Json], key: &'j str) -> Option<&'j Json> {
    parents.iter().rev().find_map(|parent| parent.field(key))
}

pub(crate) fn text(value: Option<&Json>) -> Option<&str> {
    value.and_then(Json::text)
}

pub(crate) fn texts(value: Option<&Json>) -> Vec<&str> {
    let mut texts = value.map(Json::texts).unwrap_or_default();
    texts.truncate(MAX_ITEMS);
    texts
}

pub(crate) fn named(text: &str) -> String {
    bounded(text, MAX_NAME)
}
