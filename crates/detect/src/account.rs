//! Puts one finding about a destination together: the contacts of one docker host with one
//! destination, the owner of the window, the ladder, and the words.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use tw_model::{
    Axis, Caveat, Client, DestinationName, Finding, FindingDestination, NameOrigin, Novelty, Rule,
    Scope, Severity, Verdict,
};

use crate::destination::Contact;
use crate::draft::{Draft, merge_evidence};
use crate::environment::EnvironmentId;
use crate::freshness::Level;
use crate::host::HostId;
use crate::scene::{Caller, OwnerView, Scene};
use crate::severity::{Case, is_loss, is_sampling, severity};
use crate::text::{bytes, list, moment, printable, stable_id};
use crate::window::{Attribution, Owner, names};

/// Contacts that are one finding.
pub(crate) struct Group<'s, 'a> {
    pub(crate) docker_host: IpAddr,
    pub(crate) environment: EnvironmentId,
    pub(crate) host: HostId,
    /// In the order of time; never empty.
    pub(crate) contacts: Vec<(&'s Contact<'a>, &'s Attribution)>,
}

/// What tells one finding about a destination from another.
type GroupKey = (EnvironmentId, IpAddr, Option<IpAddr>, String);

/// Attributed contacts that `wanted` takes, by docker host and destination.
pub(crate) fn groups<'s, 'a>(
    scene: &'s Scene<'a>,
    wanted: impl Fn(&Contact<'_>, &Attribution) -> bool,
) -> Vec<Group<'s, 'a>> {
    let mut groups: BTreeMap<GroupKey, Group<'s, 'a>> = BTreeMap::new();
    for (contact, attribution) in &scene.contacts {
        let Some(attribution) = attribution else { continue };
        if !wanted(contact, attribution) {
            continue;
        }
        let Some(owner) = attribution.owners.first() else { continue };
        let Some(view) = scene.owner_view(*owner, attribution.phase, contact.at) else { continue };
        let key = (view.environment, view.daemon.ip, contact.ip, key_of(contact));
        let group = groups.entry(key).or_insert_with(|| Group {
            docker_host: view.daemon.ip,
            environment: view.environment,
            host: contact.host,
            contacts: Vec::new(),
        });
        group.contacts.push((contact, attribution));
    }
    let mut groups: Vec<_> = groups.into_values().collect();
    groups.sort_by_key(|g| g.contacts.first().map(|(c, _)| (c.at, c.flow)));
    groups
}

/// The destination of a finding's identity: the address, or the name where a proxy was asked for it.
fn key_of(contact: &Contact<'_>) -> String {
    match (contact.ip, contact.names.first()) {
        (Some(ip), _) => ip.to_string(),
        (None, Some(name)) => name.name.clone(),
        (None, None) => String::new(),
    }
}

/// What a rule adds to the common account.
pub(crate) struct Frame<'f> {
    pub(crate) rule: Rule,
    pub(crate) techniques: Vec<&'static str>,
    /// Further destinations that are told in the same finding.
    pub(crate) others: &'f [String],
}

/// The parts of a finding about a destination, gathered once.
struct Account<'s, 'a> {
    group: &'s Group<'s, 'a>,
    contact: &'s Contact<'a>,
    attribution: &'s Attribution,
    view: OwnerView<'a>,
    caller: Caller,
    verdict: Verdict,
    caveats: BTreeSet<Caveat>,
}

/// The finding, or nothing where the group has no owner.
pub(crate) fn draft(scene: &Scene<'_>, group: &Group<'_, '_>, frame: &Frame<'_>) -> Option<Draft> {
    let account = Account::new(scene, group)?;
    let environment = scene.environments.name(group.environment).to_owned();
    let severity = account.severity(scene);
    let key = key_of(account.contact);
    let id = finding_id(frame.rule, &environment, group.docker_host, &key);
    let owners: BTreeSet<Owner> =
        group.contacts.iter().flat_map(|(_, a)| a.owners.iter().copied()).collect();
    let mut evidence = Vec::new();
    for (contact, _) in &group.contacts {
        merge_evidence(&mut evidence, &contact.sighting.evidence);
        for exchange in &contact.exchanges {
            merge_evidence(&mut evidence, &exchange.evidence);
        }
    }
    merge_evidence(&mut evidence, account.view.evidence);
    let finding = Finding {
        id,
        incident: String::new(),
        environment,
        timestamp: account.contact.at.max(account.view.started),
        rule: frame.rule,
        title: account.title(frame),
        summary: account.summary(scene, frame),
        severity,
        verdict: Some(account.verdict),
        techniques: frame.techniques.iter().map(|t| (*t).to_owned()).collect(),
        docker_host: group.docker_host,
        client: Some(client(account.view.client, account.view.client_port)),
        destination: Some(account.destination(scene)),
        novelty: Some(account.novelty()),
        builds: account.builds(scene),
        caveats: account.caveats.iter().copied().collect(),
        evidence,
    };
    let clients = owners
        .iter()
        .filter_map(|o| scene.owner_view(*o, account.attribution.phase, account.contact.at))
        .map(|view| view.client)
        .collect();
    let last = group.contacts.iter().map(|(c, _)| c.connection.last).max();
    Some(Draft {
        last: last.unwrap_or(finding.timestamp),
        host: group.host,
        clients,
        owners,
        conversations: Vec::new(),
        finding,
    })
}

/// `f-` and a hash of what identifies a finding.
pub(crate) fn finding_id(
    rule: Rule,
    environment: &str,
    docker_host: IpAddr,
    subject: &str,
) -> String {
    let rule = format!("{rule:?}");
    stable_id("f-", &[&rule, environment, &docker_host.to_string(), subject])
}

/// A caller as findings carry it.
pub(crate) fn client(ip: IpAddr, port: u16) -> Client {
    Client { ip, port: (port != 0).then_some(port), country: None, asn: None }
}

impl<'s, 'a> Account<'s, 'a> {
    fn new(scene: &Scene<'a>, group: &'s Group<'s, 'a>) -> Option<Self> {
        let named = group.contacts.iter().find(|(_, a)| a.named);
        let (contact, _) = group.contacts.first()?;
        let (deciding, attribution) = named.or_else(|| group.contacts.first())?;
        let owner = attribution.owners.first()?;
        let view = scene.owner_view(*owner, attribution.phase, deciding.at)?;
        let caller = scene.caller(view.environment, view.client, view.daemon.ip);
        let verdict = match (view.inferred, attribution.named) {
            (true, _) if view.doubtful => Verdict::Noted,
            (true, _) => Verdict::Inferred,
            (false, true) => Verdict::Observed,
            (false, false) => Verdict::Correlated,
        };
        let mut caveats = view.caveats.clone();
        for (contact, attribution) in &group.contacts {
            caveats.extend(&contact.caveats);
            if attribution.is_ambiguous() && !attribution.named {
                caveats.insert(Caveat::AmbiguousBuild);
            }
        }
        match (contact.freshness.level, contact.freshness.unavailable) {
            (_, true) => drop(caveats.insert(Caveat::StoreUnavailable)),
            (Level::Unknown, false) => drop(caveats.insert(Caveat::NoBaseline)),
            _ => {}
        }
        Some(Self { group, contact, attribution, view, caller, verdict, caveats })
    }

    fn severity(&self, scene: &Scene<'_>) -> Severity {
        let contacts = || self.group.contacts.iter().map(|(contact, _)| contact);
        let exchanges = || contacts().flat_map(|c| c.exchanges.iter());
        let fresh = &self.contact.freshness;
        let watched = fresh
            .watched_since
            .is_some_and(|since| self.contact.at.since(since) >= scene.policy.learning_period);
        severity(&Case {
            verdict: self.verdict,
            level: fresh.level,
            new_caller: self.caller.is_new(),
            known_builder: self.caller.is_known_builder,
            caller_outside: self.caller.outside,
            loss: self.caveats.iter().copied().any(is_loss),
            sampled: self.caveats.iter().copied().any(is_sampling),
            known_name: contacts().all(|c| c.name_is_known),
            multi_tenant: contacts().any(|c| c.multi_tenant),
            bare_address_in_url: self.is_named_by_address(scene)
                || exchanges().any(|x| {
                    x.host
                        .as_deref()
                        .and_then(crate::names::host_of)
                        .is_none_or(|(host, _)| host.parse::<IpAddr>().is_ok())
                }),
            executable: exchanges().any(|x| x.executable),
            learning: scene.policy.live && !fresh.baseline && !watched,
            critical: self.view.deployed.critical,
        })
    }

    /// Does the build name it by its bare address?
    fn is_named_by_address(&self, scene: &Scene<'_>) -> bool {
        let makers = self.attribution.owners.iter().filter_map(|o| scene.maker(*o));
        makers.into_iter().any(|m| self.contact.ip.is_some_and(|ip| m.named.ips.contains(&ip)))
    }

    fn builds(&self, scene: &Scene<'_>) -> Vec<tw_model::BuildId> {
        let mut ids = Vec::new();
        let rest = self.group.contacts.iter().flat_map(|(_, a)| &a.owners);
        for owner in self.attribution.owners.iter().chain(rest) {
            if let Some(maker) = scene.maker(*owner)
                && !maker.is_doubtful()
                && !ids.contains(maker.id)
            {
                ids.push(maker.id.clone());
            }
        }
        ids
    }

    fn destination(&self, scene: &Scene<'_>) -> FindingDestination {
        let mut all: Vec<DestinationName> = Vec::new();
        for (contact, _) in &self.group.contacts {
            for name in &contact.names {
                if !all.contains(name) {
                    all.push(name.clone());
                }
            }
        }
        for maker in self.attribution.owners.iter().filter_map(|o| scene.maker(*o)) {
            let said =
                maker.named.names.iter().filter(|n| all.iter().any(|known| known.name == **n));
            let said: Vec<_> = said
                .map(|name| DestinationName { name: name.clone(), from: NameOrigin::Dockerfile })
                .collect();
            all.extend(said.into_iter().filter(|_| names(&maker.named, self.contact)));
        }
        all.truncate(32);
        FindingDestination {
            ip: self.contact.ip,
            port: Some(self.contact.port),
            names: all,
            country: None,
            asn: None,
            via_proxy: self.contact.via_proxy.clone(),
        }
    }

    fn novelty(&self) -> Novelty {
        let fresh = &self.contact.freshness;
        let mut axes = fresh.axes.clone();
        if self.caller.is_new() {
            axes.push(Axis::Caller);
        }
        Novelty {
            axes,
            scope: if fresh.level == Level::Host { Scope::Host } else { Scope::Environment },
            first_seen: fresh.first_seen.map(|(at, _)| at),
            first_seen_by: fresh.first_seen.and_then(|(_, by)| by),
            watched_since: fresh.watched_since,
            baseline: fresh.baseline,
        }
    }

    fn title(&self, frame: &Frame<'_>) -> String {
        let new = match self.contact.freshness.level {
            Level::Environment => "never seen before",
            Level::Host => "new to this host",
            Level::Unknown | Level::Known => "which may be new",
        };
        let others = match frame.others.len() {
            0 => String::new(),
            n => format!(" and {n} other destinations"),
        };
        let when = if self.view.is_commit { "before" } else { "during" };
        format!(
            "Docker host {} contacted {}{others}, {new}, {when} {}",
            self.group.docker_host,
            self.place(),
            self.view.title
        )
    }

    /// `203.0.113.77:80 (evil.example)`.
    fn place(&self) -> String {
        let name = self.contact.names.first().map(|n| printable(&n.name, 100));
        match (self.contact.ip, name) {
            (Some(ip), name) => {
                let endpoint = tw_model::Endpoint::new(ip, self.contact.port);
                name.map_or_else(|| endpoint.to_string(), |name| format!("{endpoint} ({name})"))
            }
            (None, Some(name)) => format!("{name}:{}", self.contact.port),
            (None, None) => "an unnamed destination".to_owned(),
        }
    }

    fn summary(&self, scene: &Scene<'_>, frame: &Frame<'_>) -> String {
        let mut sentences = vec![self.what_was_asked(scene), self.what_was_fetched()];
        if !frame.others.is_empty() {
            sentences.push(format!(
                "Within the same window it also contacted {}.",
                list(frame.others, 20)
            ));
        }
        sentences.push(self.what_is_new(scene));
        if self.view.deployed.started {
            let sentence = match (self.view.is_commit, self.view.deployed.critical) {
                (true, true) => {
                    "The container that was made an image of had access to the host itself."
                }
                (true, false) => "It did so while the container ran that was made an image of.",
                (false, true) => {
                    "A container of the image was then started with access to the host itself."
                }
                (false, false) => "A container of the image was started.",
            };
            sentences.push(sentence.to_owned());
        }
        if let Some(sentence) = unseen(&self.caveats) {
            sentences.push(sentence);
        }
        sentences.join(" ")
    }

    fn what_was_asked(&self, scene: &Scene<'_>) -> String {
        let known = match (self.caller.level, self.caller.is_known_builder) {
            (_, true) => "a known builder there",
            (Level::Environment, _) => "a caller never seen there",
            (Level::Known | Level::Host, _) if self.view.inferred => {
                "a known caller; whether it had built there is not to be told"
            }
            (Level::Known | Level::Host, _) => "a known caller that had not built there",
            (Level::Unknown, _) => "a caller of which nothing is known",
        };
        let others: Vec<String> = self
            .attribution
            .owners
            .iter()
            .skip(1)
            .filter_map(|o| scene.maker(*o))
            .map(crate::maker::Maker::title)
            .collect();
        let ja4 = self.view.ja4.map_or_else(String::new, |ja4| format!(" with JA4 {ja4}"));
        let ambiguous = if others.is_empty() {
            String::new()
        } else {
            format!("; {} was open too", list(&others, 3))
        };
        let inferred = if self.view.inferred {
            "; the call itself could not be read and is inferred from the shape of the conversation"
        } else {
            ""
        };
        format!(
            "{}{ja4} ({known}) asked the Docker API at {} for {} at {}{inferred}{ambiguous}.",
            self.view.client,
            self.view.daemon,
            self.view.title,
            moment(self.view.started)
        )
    }

    fn what_was_fetched(&self) -> String {
        let mut received = 0u64;
        let (mut urls, mut hashes) = (Vec::new(), Vec::new());
        for (contact, _) in &self.group.contacts {
            received = received.saturating_add(contact.connection.payload_bytes[1]);
            for x in &contact.exchanges {
                urls.extend(x.url.clone());
                hashes.extend(x.sha256.clone());
            }
        }
        let count = self.group.contacts.len();
        let times = if count == 1 { "once".to_owned() } else { format!("{count} times") };
        let what =
            if urls.is_empty() { String::new() } else { format!(", for {}", list(&urls, 3)) };
        let hash = if hashes.is_empty() {
            String::new()
        } else {
            format!(" (SHA-256 {})", list(&hashes, 2))
        };
        let about = about(&self.caveats);
        let proxy = self
            .contact
            .via_proxy
            .as_ref()
            .map_or_else(String::new, |p| format!(" by the proxy {p}"));
        format!(
            "From {} on, the host connected to {}{proxy} {times} and received {about}{}{what}{hash}{}.",
            moment(self.contact.at),
            self.place(),
            bytes(received),
            self.what_names_it()
        )
    }

    fn what_names_it(&self) -> &'static str {
        match (self.view.inferred, self.attribution.named) {
            (true, _) => "",
            (false, true) => "; what was asked for names this destination",
            (false, false) => {
                "; what was asked for, as far as it could be read, does not name this destination"
            }
        }
    }

    fn what_is_new(&self, scene: &Scene<'_>) -> String {
        let fresh = &self.contact.freshness;
        let environment = printable(scene.environments.name(self.group.environment), 64);
        let since = match (fresh.watched_since, fresh.baseline) {
            (Some(at), true) => format!(" (watched since {}, with a baseline)", moment(at)),
            (Some(at), false) => format!(" (watched since {}, without a baseline)", moment(at)),
            (None, true) => " (with a baseline)".to_owned(),
            (None, false) => " (without a baseline)".to_owned(),
        };
        let by_name = fresh.axes == [Axis::Name];
        let mut text = match fresh.level {
            Level::Environment if by_name => {
                format!(
                    "The address is shared and known; the name is new to the environment {environment}{since}."
                )
            }
            Level::Environment => {
                format!(
                    "Nobody in the environment {environment} is known to have contacted it{since}."
                )
            }
            Level::Host => format!(
                "Other hosts of the environment {environment} use it; this one never did{since}."
            ),
            Level::Unknown if fresh.unavailable => {
                "The store could not be asked whether it is new.".to_owned()
            }
            Level::Unknown | Level::Known => {
                "Without a baseline nothing can be said on whether it is new.".to_owned()
            }
        };
        if let Some((at, by)) = fresh.first_seen {
            let by = by.map_or_else(String::new, |by| format!(" by {by}"));
            text.push_str(&format!(
                " It was first touched at {}{by}, too lately to be known.",
                moment(at)
            ));
        }
        text
    }
}

/// Before a number of bytes: what sampled records tell is an estimate.
pub(crate) fn about(caveats: &BTreeSet<Caveat>) -> &'static str {
    if caveats.iter().copied().any(is_sampling) { "about " } else { "" }
}

/// What could not be seen, in one sentence.
pub(crate) fn unseen(caveats: &BTreeSet<Caveat>) -> Option<String> {
    let words: Vec<&str> = caveats.iter().filter_map(|c| words_for(*c)).collect();
    (!words.is_empty()).then(|| format!("Bear in mind: {}.", words.join("; ")))
}

fn words_for(caveat: Caveat) -> Option<&'static str> {
    Some(match caveat {
        Caveat::NoBaseline | Caveat::StoreUnavailable => return None,
        Caveat::Midstream => "a connection was joined in mid-stream",
        Caveat::Gaps => "bytes are missing from the capture",
        Caveat::Drops => "the capture dropped packets meanwhile",
        Caveat::Sampled => "the flow records are sampled",
        Caveat::SamplingUnknown => "the flow records may be sampled",
        Caveat::TemplatesMissing => "flow templates were missing",
        Caveat::ExporterGaps => "the exporter's records have gaps",
        Caveat::TlsOpaque => "TLS hid the content",
        Caveat::OneDirection => "only one direction was seen",
        Caveat::Truncated => "values were cut off",
        Caveat::EndUnseen => "the end of the build was not seen",
        Caveat::AmbiguousBuild => "several builds were open and none names it",
        Caveat::OpenerInferred => "who opened the connection is inferred",
        Caveat::Proxied => "a proxy stands between",
    })
}
