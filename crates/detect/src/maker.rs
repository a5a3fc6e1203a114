//! Makers: what makes an image on a host (builds, imports, commits, loads), and the lives of
//! containers, each tied to the image that it was made of.

use std::collections::BTreeMap;
use std::net::IpAddr;

use tw_model::{
    Build, BuildId, CallId, Caveat, ContainerAction, ContainerEvent, CreationKind, Endpoint,
    Evidence, Frontend, ImageCreation, Outcome, Risk, Timestamp,
};

use crate::environment::{EnvironmentId, Environments};
use crate::host::{HostId, HostMap};
use crate::ledger::{Held, Ledger};
use crate::names::host_of;

/// Where a maker came from.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Source<'a> {
    Build(&'a Held<Build>),
    Creation(&'a Held<ImageCreation>),
}

/// Hosts that something names, as they can be compared with what was contacted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Named {
    pub(crate) ips: Vec<IpAddr>,
    pub(crate) names: Vec<String>,
}

impl Named {
    pub(crate) fn add_urls<'a>(&mut self, urls: impl Iterator<Item = &'a String>) {
        for (host, _) in urls.take(MAX_URLS).filter_map(|url| host_of(url)) {
            match host.parse::<IpAddr>() {
                Ok(ip) if !self.ips.contains(&ip.to_canonical()) => {
                    self.ips.push(ip.to_canonical())
                }
                Ok(_) => {}
                Err(_) if !self.names.contains(&host) => self.names.push(host),
                Err(_) => {}
            }
        }
    }
}

/// What makes an image.
#[derive(Clone, Debug)]
pub(crate) struct Maker<'a> {
    pub(crate) source: Source<'a>,
    pub(crate) id: &'a BuildId,
    pub(crate) host: HostId,
    pub(crate) environment: EnvironmentId,
    pub(crate) daemon: Endpoint,
    pub(crate) client: IpAddr,
    pub(crate) client_port: u16,
    /// Start of the window: for a commit, of the life of the container that it froze.
    pub(crate) opened: Timestamp,
    pub(crate) started: Timestamp,
    pub(crate) ended: Timestamp,
    pub(crate) end_seen: bool,
    pub(crate) outcome: Outcome,
    pub(crate) tags: &'a [String],
    pub(crate) image_id: Option<&'a str>,
    pub(crate) named: Named,
    /// Registries that the base images are from.
    pub(crate) registries: Vec<String>,
    pub(crate) caveats: &'a [Caveat],
    pub(crate) evidence: &'a [Evidence],
    /// What was done with containers of the image, or with the container that was committed.
    pub(crate) deployed: Deployed,
}

/// What became of an image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Deployed {
    pub(crate) started: bool,
    pub(crate) exec: bool,
    /// A privileged or host-mounting container of it was started.
    pub(crate) critical: bool,
}

impl Maker<'_> {
    pub(crate) fn is_inferred(&self) -> bool {
        matches!(self.source, Source::Build(held) if held.value.frontend == Frontend::Inferred)
    }

    pub(crate) fn commit_of(&self) -> Option<&str> {
        match self.source {
            Source::Creation(held) if held.value.kind == CreationKind::Commit => {
                held.value.container.as_deref()
            }
            _ => None,
        }
    }

    /// `build of "evil:1"`, `commit of container "job1"`.
    pub(crate) fn title(&self) -> String {
        let tag = self.tags.first().map(|tag| crate::text::printable(tag, 80));
        let what = match self.source {
            Source::Build(_) if self.is_inferred() => "what looks like a build",
            Source::Build(_) => "the build",
            Source::Creation(held) => match held.value.kind {
                CreationKind::Import => "the import",
                CreationKind::Commit => "the commit",
                CreationKind::Load => "the load",
            },
        };
        match tag {
            Some(tag) => format!("{what} of {tag}"),
            None if self.is_inferred() => what.to_owned(),
            None => format!("{what} of an image without a name"),
        }
    }
}

/// Makers in the order of their start.
pub(crate) fn makers<'a>(
    ledger: &'a Ledger,
    hosts: &HostMap,
    environments: &Environments,
) -> Vec<Maker<'a>> {
    let mut makers: Vec<Maker<'a>> = Vec::new();
    for held in ledger.builds.values() {
        let b = &held.value;
        let Some(host) = hosts.find(environments, held.environment, b.daemon.ip) else { continue };
        let mut named = Named::default();
        named.add_urls(b.urls.iter().chain(b.remote.as_ref()));
        makers.push(Maker {
            source: Source::Build(held),
            id: &b.id,
            host,
            environment: held.environment,
            daemon: b.daemon,
            client: b.client,
            client_port: b.client_port,
            opened: b.started,
            started: b.started,
            ended: ended(ledger, b.calls.first(), b.ended, b.end_seen),
            end_seen: b.end_seen,
            outcome: b.outcome,
            tags: &b.tags,
            image_id: b.image_id.as_deref(),
            named,
            registries: b.base_images.iter().map(|image| registry_of(image)).collect(),
            caveats: &b.caveats,
            evidence: &held.evidence,
            deployed: Deployed::default(),
        });
    }
    for held in ledger.creations.values() {
        let c = &held.value;
        let Some(host) = hosts.find(environments, held.environment, c.daemon.ip) else { continue };
        let mut named = Named::default();
        named.add_urls(c.source.iter().filter(|source| *source != "-"));
        makers.push(Maker {
            source: Source::Creation(held),
            id: &c.id,
            host,
            environment: held.environment,
            daemon: c.daemon,
            client: c.client,
            client_port: c.client_port,
            opened: c.started,
            started: c.started,
            ended: ended(ledger, Some(&c.call), c.ended, c.end_seen),
            end_seen: c.end_seen,
            outcome: c.outcome,
            tags: &c.tags,
            image_id: c.image_id.as_deref(),
            named,
            registries: Vec::new(),
            caveats: &c.caveats,
            evidence: &held.evidence,
            deployed: Deployed::default(),
        });
    }
    makers.sort_by(|a, b| (a.started, a.id).cmp(&(b.started, b.id)));
    makers
}

/// The end of a trigger; where it was not seen, the last packet of its connection, but for what
/// belongs to the next call there.
fn ended(ledger: &Ledger, call: Option<&CallId>, ended: Timestamp, seen: bool) -> Timestamp {
    let Some(call) = call.filter(|_| !seen) else { return ended };
    let Some(last) = ledger.connection_of(call.flow).map(|c| c.last) else { return ended };
    let next = CallId { flow: call.flow, index: call.index.saturating_add(1) };
    let until = CallId { flow: call.flow, index: u64::MAX };
    let next = ledger.calls.range(next..=until).next().map(|(_, held)| held.value.started);
    ended.max(next.map_or(last, |next| next.min(last)))
}

/// One container from its first action to its last, as far as seen.
#[derive(Clone, Debug)]
pub(crate) struct Life<'a> {
    pub(crate) host: HostId,
    pub(crate) events: Vec<&'a Held<ContainerEvent>>,
    /// When it was started, and stopped, each time.
    pub(crate) runs: Vec<(Timestamp, Option<Timestamp>)>,
    /// The maker of its image.
    pub(crate) built_by: Option<usize>,
}

impl<'a> Life<'a> {
    pub(crate) fn first(&self) -> Option<&'a Held<ContainerEvent>> {
        self.events.first().copied()
    }

    /// The name that a person would use: name, image or id.
    pub(crate) fn title(&self) -> String {
        let name = self
            .events
            .iter()
            .find_map(|e| e.value.name.as_deref().or(e.value.container_id.as_deref()));
        let image = self.events.iter().find_map(|e| e.value.image.as_deref());
        let name = crate::text::printable(name.unwrap_or("without a name"), 64);
        match image {
            Some(image) => format!("{name} (image {})", crate::text::printable(image, 80)),
            None => name,
        }
    }

    fn note(&mut self, event: &'a Held<ContainerEvent>) {
        let at = time_of(&event.value);
        let room = self.runs.len() < MAX_RUNS;
        let running = self.runs.last_mut().filter(|(_, stopped)| stopped.is_none());
        match (event.value.action, running) {
            (ContainerAction::Start, None) if room => self.runs.push((at, None)),
            (ContainerAction::Stop | ContainerAction::Remove, Some((_, stopped))) => {
                *stopped = Some(at)
            }
            _ => {}
        }
        if self.events.len() < MAX_EVENTS_OF_A_LIFE {
            self.events.push(event);
        }
    }

    pub(crate) fn was_started(&self) -> bool {
        !self.runs.is_empty()
    }

    /// When it came to run: the start, or else the first exec, if its creation was not seen.
    fn ran_from(&self) -> Option<Timestamp> {
        let exec = self.events.iter().find(|e| e.value.action == ContainerAction::Exec);
        self.runs.first().map(|(start, _)| *start).or_else(|| exec.map(|e| e.value.started))
    }

    pub(crate) fn risks(&self) -> Vec<Risk> {
        let mut risks: Vec<Risk> =
            self.events.iter().flat_map(|e| e.value.risks.iter().copied()).collect();
        risks.sort_unstable();
        risks.dedup();
        risks
    }
}

/// Lives of containers in the order of their first action, each tied to the maker of its image;
/// what became of an image is noted in its maker, and a commit's window opens with the life of
/// its container.
pub(crate) fn lives<'a>(
    ledger: &'a Ledger,
    hosts: &HostMap,
    environments: &Environments,
    makers: &mut [Maker<'a>],
) -> Vec<Life<'a>> {
    let mut events: Vec<_> = ledger.containers.iter().collect();
    events.sort_by_key(|(call, held)| (time_of(&held.value), **call));
    let mut lives: Vec<Life<'a>> = Vec::new();
    let mut by_key: BTreeMap<(HostId, String), Vec<usize>> = BTreeMap::new();
    for (_, held) in events {
        let event = &held.value;
        let Some(host) = hosts.find(environments, held.environment, event.daemon.ip) else {
            continue;
        };
        let keys = keys_of(event);
        let known = keys.iter().find_map(|key| by_key.get(&(host, key.clone()))?.last().copied());
        let index = match known {
            Some(index) if event.action != ContainerAction::Create => index,
            _ => {
                lives.push(Life { host, events: Vec::new(), runs: Vec::new(), built_by: None });
                lives.len().saturating_sub(1)
            }
        };
        for key in keys {
            let list = by_key.entry((host, key)).or_default();
            if list.last() != Some(&index) {
                list.push(index);
            }
        }
        if let Some(life) = lives.get_mut(index) {
            life.note(held);
        }
    }
    let images = images_by_name(makers);
    for life in &mut lives {
        tie_to_image(life, &images, makers);
    }
    for maker in makers {
        tie_to_container(maker, &by_key, &lives);
    }
    lives
}

/// Makers of an image, in the order of their start, by its names and the beginning of its id.
type Images = BTreeMap<(HostId, String), Vec<usize>>;

fn images_by_name(makers: &[Maker<'_>]) -> Images {
    let mut images = Images::new();
    for (index, maker) in makers.iter().enumerate().filter(|(_, m)| m.outcome != Outcome::Failed) {
        let names = maker.tags.iter().map(|tag| image_name(tag));
        for name in names.chain(maker.image_id.and_then(short_id)) {
            images.entry((maker.host, name)).or_default().push(index);
        }
    }
    images
}

/// The latest maker of the life's image before the life began.
fn tie_to_image(life: &mut Life<'_>, images: &Images, makers: &mut [Maker<'_>]) {
    let Some(first) = life.first() else { return };
    let Some(image) = life.events.iter().find_map(|e| e.value.image.as_deref()) else { return };
    let born = first.value.started;
    let before = |name: String| {
        let list = images.get(&(life.host, name))?;
        list.iter().rev().copied().find(|i| makers.get(*i).is_some_and(|m| m.started <= born))
    };
    let by_id = short_id(image).and_then(before);
    let Some(index) = by_id.or_else(|| before(image_name(image))) else { return };
    life.built_by = Some(index);
    if let Some(maker) = makers.get_mut(index) {
        note_deployment(maker, life);
    }
}

fn note_deployment(maker: &mut Maker<'_>, life: &Life<'_>) {
    let started = life.was_started();
    maker.deployed.started |= started;
    maker.deployed.exec |= life.events.iter().any(|e| e.value.action == ContainerAction::Exec);
    maker.deployed.critical |= started && life.risks().iter().any(|risk| gives_the_host(*risk));
}

fn tie_to_container(
    maker: &mut Maker<'_>,
    by_key: &BTreeMap<(HostId, String), Vec<usize>>,
    lives: &[Life<'_>],
) {
    let Some(container) = maker.commit_of() else { return };
    let Some(candidates) = by_key.get(&(maker.host, container.to_owned())) else { return };
    let lived = |index: &&usize| {
        let born = lives.get(**index).and_then(Life::first).map(|e| e.value.started);
        born.is_some_and(|born| born <= maker.started)
    };
    let Some(life) = candidates.iter().rev().find(lived).and_then(|index| lives.get(*index)) else {
        return;
    };
    if let Some(ran) = life.ran_from() {
        maker.opened = maker.opened.min(ran);
    }
    maker.deployed.started |= life.was_started();
    maker.deployed.exec |= life.events.iter().any(|e| e.value.action == ContainerAction::Exec);
    maker.named.add_urls(life.events.iter().flat_map(|e| &e.value.urls));
}

/// Is a container with that as good as the host? Privileged or host-mounting.
pub(crate) const fn gives_the_host(risk: Risk) -> bool {
    matches!(
        risk,
        Risk::Privileged | Risk::HostRootMount | Risk::HostPathMount | Risk::DockerSocket
    )
}

/// When an action took effect: a stop, which may be the answer to a `wait` that was sent before the
/// start, when it was answered.
const fn time_of(event: &ContainerEvent) -> Timestamp {
    match event.action {
        ContainerAction::Stop | ContainerAction::Remove => event.ended,
        _ => event.started,
    }
}

/// What later calls may name a container by: its name, its id, the short id.
fn keys_of(event: &ContainerEvent) -> Vec<String> {
    let mut keys = Vec::new();
    if let Some(id) = event.container_id.as_deref() {
        keys.push(id.to_owned());
        if let Some(short) = id.get(..12)
            && is_hex(id)
        {
            keys.push(short.to_owned());
        }
    }
    if let Some(name) = event.name.as_deref() {
        keys.push(name.trim_start_matches('/').to_owned());
    }
    keys
}

/// `alpine` and `docker.io/library/alpine:latest` are one image.
fn image_name(image: &str) -> String {
    let mut rest = image;
    for prefix in ["docker.io/", "index.docker.io/", "localhost/", "library/"] {
        rest = rest.strip_prefix(prefix).unwrap_or(rest);
    }
    let last = rest.rsplit('/').next().unwrap_or(rest);
    if last.contains(':') || rest.contains('@') {
        rest.to_owned()
    } else {
        format!("{rest}:latest")
    }
}

/// The first 12 digits of an image id; `None` for what is none.
fn short_id(text: &str) -> Option<String> {
    let digits = text.strip_prefix("sha256:").unwrap_or(text);
    digits.get(..12).filter(|_| is_hex(digits)).map(str::to_owned)
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// Host of the registry that an image name means; `docker.io` where it names none.
fn registry_of(image: &str) -> String {
    match image.split_once('/') {
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => {
            host_of(host).map_or_else(String::new, |(host, _)| host)
        }
        _ => "docker.io".to_owned(),
    }
}

const MAX_URLS: usize = 1_024;
const MAX_RUNS: usize = 64;
const MAX_EVENTS_OF_A_LIFE: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_has_one_name_in_every_spelling() {
        for spelling in
            ["alpine", "alpine:latest", "docker.io/library/alpine", "library/alpine:latest"]
        {
            assert_eq!(image_name(spelling), "alpine:latest");
        }
        assert_eq!(image_name("reg.example:5000/a/b"), "reg.example:5000/a/b:latest");
        assert_ne!(image_name("evil:1"), image_name("evil:2"));
    }

    #[test]
    fn a_short_id_is_an_id_but_a_word_is_none() {
        let id = "sha256:88ee6f066361466764023ad791f6a30cff86285a372c1f524257a6ef853fd692";
        assert_eq!(short_id(id).as_deref(), Some("88ee6f066361"));
        assert_eq!(short_id("88ee6f066361"), short_id(id));
        assert_eq!(short_id("88ee6f"), None);
        assert_eq!(short_id("alpine:latest"), None);
    }

    #[test]
    fn the_registry_of_an_image_is_what_docker_would_ask() {
        assert_eq!(registry_of("alpine:3.18"), "docker.io");
        assert_eq!(registry_of("team/app"), "docker.io");
        assert_eq!(registry_of("registry.corp.example:5000/base/alpine"), "registry.corp.example");
    }
}
