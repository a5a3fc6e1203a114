//! Lives of containers, services and plugins, each tied to the maker of its image.

use std::collections::BTreeMap;
use std::time::Duration;

use tw_model::{ContainerAction, ContainerEvent, DeployKind, Outcome, Risk, Timestamp};

use crate::environment::Environments;
use crate::host::{HostId, HostMap};
use crate::image::{image_name, is_hex, short_id};
use crate::ledger::{Held, Ledger};
use crate::maker::Maker;

/// One container, service or plugin from its first action to its last, as far as seen.
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

    /// The image that it was made of, as written.
    pub(crate) fn image(&self) -> Option<&'a str> {
        self.events.iter().find_map(|e| e.value.image.as_deref())
    }

    /// What it is.
    pub(crate) fn kind(&self) -> DeployKind {
        self.first().map_or(DeployKind::Container, |held| held.value.kind)
    }

    /// What a person would call it: `container nx (image node-exporter)`, by its name or its id.
    pub(crate) fn title(&self) -> String {
        let name = self
            .events
            .iter()
            .find_map(|e| e.value.name.as_deref().or(e.value.container_id.as_deref()));
        let image = self.image();
        let name = crate::text::printable(name.unwrap_or("without a name"), 64);
        let noun = self.kind().noun();
        match image {
            // A plugin is called by where it is from, if it is given no other name.
            Some(image) if image != name => {
                let what = if self.kind() == DeployKind::Plugin { "from" } else { "image" };
                format!("{noun} {name} ({what} {})", crate::text::printable(image, 80))
            }
            _ => format!("{noun} {name}"),
        }
    }

    fn note(&mut self, event: &'a Held<ContainerEvent>) {
        let at = time_of(&event.value);
        let room = self.runs.len() < MAX_RUNS;
        let running = self.runs.last_mut().filter(|(_, stopped)| stopped.is_none());
        // A service runs once it is created, and anew when it is updated.
        let of_service = event.value.kind == DeployKind::Service;
        match (event.value.action, running) {
            (ContainerAction::Create, None) if of_service && room => self.runs.push((at, None)),
            (ContainerAction::Start, None) if room => self.runs.push((at, None)),
            (ContainerAction::Start, Some((_, stopped))) if of_service && room => {
                *stopped = Some(at);
                self.runs.push((at, None));
            }
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

    /// Its create call was seen, but not of what.
    fn is_of_unseen_image(&self) -> bool {
        let created = |e: &&Held<ContainerEvent>| e.value.action == ContainerAction::Create;
        self.image().is_none() && self.events.iter().any(created)
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
    deploy_window: Duration,
) -> Vec<Life<'a>> {
    let taken = ledger.containers.iter().filter(|(_, held)| !held.value.is_refused());
    let mut events: Vec<_> = taken.collect();
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
    for life in lives.iter().filter(|life| life.is_of_unseen_image()) {
        note_unseen_deployment(life, makers, deploy_window);
    }
    for maker in makers {
        tie_to_container(maker, &by_key, &lives);
    }
    lives
}

/// Makers of an image, in the order of their start, by its names and the beginning of its id.
pub(crate) struct Images(BTreeMap<(HostId, String), Vec<usize>>);

impl Images {
    /// The latest maker of an image of that id, else of that name, before `at`.
    pub(crate) fn made_before(
        &self,
        host: HostId,
        id: Option<&str>,
        name: &str,
        at: Timestamp,
        makers: &[Maker<'_>],
    ) -> Option<usize> {
        let before = |key: String| {
            let list = self.0.get(&(host, key))?;
            list.iter().rev().copied().find(|i| makers.get(*i).is_some_and(|m| m.started <= at))
        };
        id.and_then(short_id).and_then(before).or_else(|| before(image_name(name)))
    }
}

/// Who made which image.
pub(crate) fn images_by_name(makers: &[Maker<'_>]) -> Images {
    let mut images = BTreeMap::<_, Vec<usize>>::new();
    for (index, maker) in makers.iter().enumerate().filter(|(_, m)| m.outcome != Outcome::Failed) {
        let names = maker.tags.iter().map(|tag| image_name(tag));
        for name in names.chain(maker.image_id.and_then(short_id)) {
            images.entry((maker.host, name)).or_default().push(index);
        }
    }
    Images(images)
}

/// The latest maker of the life's image before the life began.
fn tie_to_image(life: &mut Life<'_>, images: &Images, makers: &mut [Maker<'_>]) {
    let Some(first) = life.first() else { return };
    let Some(image) = life.image() else { return };
    let born = first.value.started;
    let made = images.made_before(life.host, Some(image), image, born, makers);
    let Some(index) = made else { return };
    life.built_by = Some(index);
    if let Some(maker) = makers.get_mut(index) {
        note_deployment(maker, life);
    }
}

/// A container of which neither the image nor the name was readable is taken for one of the image
/// that the same caller made last, if that is not long ago: it says that one was deployed, not which.
fn note_unseen_deployment(life: &Life<'_>, makers: &mut [Maker<'_>], window: Duration) {
    let (Some(first), Some(ran)) = (life.first(), life.ran_from()) else { return };
    let maker = makers.iter_mut().rev().find(|maker| {
        let ended = maker.ended.max(maker.started);
        maker.host == life.host
            && maker.client == first.value.client
            && maker.started <= ran
            && ran <= ended.plus(window)
    });
    if let Some(maker) = maker {
        maker.deployed.started |= life.was_started();
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
    if maker.is_cut_commit() {
        let candidates = || lives.iter().rev().filter(|life| may_be_committed(life, maker));
        let latest = candidates().find(|life| life.was_started()).or_else(|| candidates().next());
        return latest.into_iter().for_each(|life| tie(maker, life));
    }
    let Some(container) = maker.commit_of() else { return };
    let named = |key: String| by_key.get(&(maker.host, key));
    let by_short_id = || short_id(container).and_then(named);
    let Some(candidates) = named(container.to_owned()).or_else(by_short_id) else { return };
    let lived = |index: &&usize| {
        let born = lives.get(**index).and_then(Life::first).map(|e| e.value.started);
        born.is_some_and(|born| born <= maker.started)
    };
    let Some(life) = candidates.iter().rev().find(lived).and_then(|index| lives.get(*index)) else {
        return;
    };
    tie(maker, life);
}

/// Of a commit whose container's name was cut off: one that the same caller handled before, and
/// that was still there.
fn may_be_committed(life: &Life<'_>, maker: &Maker<'_>) -> bool {
    let by_caller = |e: &Held<ContainerEvent>| {
        e.value.client == maker.client && e.value.started <= maker.started
    };
    let removed = |e: &&Held<ContainerEvent>| {
        e.value.action == ContainerAction::Remove && e.value.ended <= maker.started
    };
    let handled = life.first().is_some_and(by_caller);
    handled && life.host == maker.host && !life.events.iter().any(removed)
}

fn tie(maker: &mut Maker<'_>, life: &Life<'_>) {
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

/// What later calls may name a container by: its name, its id, the short id. A service may have the
/// name of a container.
fn keys_of(event: &ContainerEvent) -> Vec<String> {
    let mut keys = names_of(event);
    if event.kind != DeployKind::Container {
        keys.iter_mut().for_each(|key| key.insert_str(0, &format!("{} ", event.kind.noun())));
    }
    keys
}

fn names_of(event: &ContainerEvent) -> Vec<String> {
    let mut keys = Vec::new();
    if let Some(id) = event.container_id.as_deref() {
        keys.push(id.to_owned());
        if let Some(short) = id.get(..12)
            && (is_hex(id) || event.kind == DeployKind::Service)
        {
            keys.push(short.to_owned());
        }
    }
    if let Some(name) = event.name.as_deref() {
        keys.push(name.trim_start_matches('/').to_owned());
    }
    keys
}

const MAX_RUNS: usize = 64;
const MAX_EVENTS_OF_A_LIFE: usize = 256;
