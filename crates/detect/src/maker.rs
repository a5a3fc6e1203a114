//! Makers: what makes an image on a host (builds, imports, commits, loads).

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use tw_model::{
    ApiCall, Build, BuildId, CallId, Caveat, CreationKind, Endpoint, Evidence, Frontend,
    ImageCreation, Inference, Outcome, Timestamp,
};

use crate::destination::{Contact, is_unread};
use crate::environment::{EnvironmentId, Environments};
use crate::host::{HostId, HostMap};
use crate::image::registry_of;
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
    /// Proxies that it was given, as host and port.
    pub(crate) proxies: Vec<(String, Option<u16>)>,
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

impl<'a> Maker<'a> {
    pub(crate) fn inference(&self) -> Option<&'a Inference> {
        match self.source {
            Source::Build(held) => held.value.inference.as_ref(),
            Source::Creation(_) => None,
        }
    }

    pub(crate) fn is_inferred(&self) -> bool {
        matches!(self.source, Source::Build(held) if held.value.frontend == Frontend::Inferred)
    }

    /// A call that may have been a run, a copy or a commit as well: no build to tell of.
    pub(crate) fn is_doubtful(&self) -> bool {
        match self.source {
            Source::Build(held) => held.value.inference.as_ref().is_some_and(|i| i.doubtful),
            Source::Creation(_) => false,
        }
    }

    pub(crate) fn commit_of(&self) -> Option<&str> {
        match self.source {
            Source::Creation(held) if held.value.kind == CreationKind::Commit => {
                held.value.container.as_deref()
            }
            _ => None,
        }
    }

    /// A commit of which the container's name was cut off, or its request not seen.
    pub(crate) fn is_cut_commit(&self) -> bool {
        let Source::Creation(held) = self.source else { return false };
        held.value.kind == CreationKind::Commit
            && held.value.container.is_none()
            && self.caveats.iter().any(|caveat| is_partial(*caveat))
    }

    /// Did it go to a proxy that it was given, and could not be read what it asked for there?
    pub(crate) fn has_opaque_proxy(&self, contact: &Contact<'_>) -> bool {
        let is_there = |(host, port): &(String, Option<u16>)| {
            port.is_none_or(|port| port == contact.port)
                && (host.parse().ok() == contact.ip
                    || contact.names.iter().any(|n| n.name == *host))
        };
        let hidden = is_unread(contact.sighting) && !contact.sighting.is_proxied();
        hidden && self.proxies.iter().any(is_there)
    }

    /// `build of "evil:1"`, `commit of container "job1"`.
    pub(crate) fn title(&self) -> String {
        let tag = self.tags.first().map(|tag| crate::text::printable(tag, 80));
        let what = match self.source {
            Source::Build(_) if self.is_doubtful() => "what may be a run, a copy or a commit",
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

/// Makers in the order of their start. `window`: how long before an answer its request may have been
/// sent, where that was not seen.
pub(crate) fn makers<'a>(
    ledger: &'a Ledger,
    hosts: &HostMap,
    environments: &Environments,
    window: Duration,
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
            opened: opened(ledger, b.calls.first(), b.started, window),
            started: b.started,
            ended: ended(ledger, b.calls.first(), b.ended, b.end_seen),
            end_seen: b.end_seen,
            outcome: b.outcome,
            tags: &b.tags,
            image_id: b.image_id.as_deref(),
            named,
            proxies: b.proxies.iter().filter_map(|proxy| host_of(proxy)).collect(),
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
            opened: opened(ledger, Some(&c.call), c.started, window),
            started: c.started,
            ended: ended(ledger, Some(&c.call), c.ended, c.end_seen),
            end_seen: c.end_seen,
            outcome: c.outcome,
            tags: &c.tags,
            image_id: c.image_id.as_deref(),
            named,
            proxies: Vec::new(),
            registries: Vec::new(),
            caveats: &c.caveats,
            evidence: &held.evidence,
            deployed: Deployed::default(),
        });
    }
    drop_what_is_read(&mut makers);
    makers.sort_by(|a, b| (a.started, a.id).cmp(&(b.started, b.id)));
    makers
}

/// What was inferred of one connection, while on another of the same client the build itself could be
/// read, is the same build.
fn drop_what_is_read(makers: &mut Vec<Maker<'_>>) {
    let (inferred, read): (Vec<_>, Vec<_>) =
        std::mem::take(makers).into_iter().partition(Maker::is_inferred);
    let mut spans: BTreeMap<(IpAddr, Endpoint), Vec<(Timestamp, Timestamp)>> = BTreeMap::new();
    for maker in &read {
        spans.entry((maker.client, maker.daemon)).or_default().push((maker.started, maker.ended));
    }
    *makers = read;
    makers.extend(inferred.into_iter().filter(|maker| {
        let spans = spans.get(&(maker.client, maker.daemon));
        let meets =
            |(from, to): &(Timestamp, Timestamp)| *from <= maker.ended && maker.started <= *to;
        !spans.is_some_and(|spans| spans.iter().take(MAX_SPANS).any(meets))
    }));
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

/// Does this say that a request may not have been seen whole?
const fn is_partial(caveat: Caveat) -> bool {
    matches!(caveat, Caveat::Truncated | Caveat::OneDirection | Caveat::Midstream | Caveat::Gaps)
}

/// When a trigger may have begun of which only the answer was seen: its request came after what was
/// said before on the connection, and not longer ago than `window`.
fn opened(
    ledger: &Ledger,
    call: Option<&CallId>,
    started: Timestamp,
    window: Duration,
) -> Timestamp {
    let Some(call) = call else { return started };
    let answered_alone = |held: &Held<ApiCall>| held.value.method.is_empty();
    if !ledger.calls.get(call).is_some_and(answered_alone) {
        return started;
    }
    let first = CallId { flow: call.flow, index: 0 };
    let before = ledger.calls.range(first..*call).next_back().map(|(_, held)| held.value.ended);
    let since = before.or_else(|| ledger.connection_of(call.flow).map(|c| c.first));
    since.map_or(started, |since| since.max(started.minus(window)).min(started))
}

const MAX_URLS: usize = 1_024;
const MAX_SPANS: usize = 1_024;
