//! Names of addresses, as DNS answers gave them, and the dated lists of names that mean something.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;

use serde::Deserialize;
use tw_model::{KeyedHash, NameAnswer, NetworkTag, Timestamp};

use crate::Answer;
use crate::environment::EnvironmentId;
use crate::policy::{Counters, Limits};

/// One DNS answer for one address.
#[derive(Clone, Debug)]
pub(crate) struct NameRecord {
    /// Who asked.
    pub(crate) client: IpAddr,
    pub(crate) tag: NetworkTag,
    /// First and latest time of this answer.
    pub(crate) at: Timestamp,
    pub(crate) last: Timestamp,
    /// The name that was asked, then the canonical names on the way.
    pub(crate) names: Arc<[String]>,
    /// Once somebody asks for that address.
    pub(crate) standing: Option<Box<Standing>>,
}

/// How an answer stood before it came.
#[derive(Clone, Debug)]
pub(crate) struct Standing {
    pub(crate) environment: EnvironmentId,
    /// The docker host that the client belongs to, else the client.
    pub(crate) client: IpAddr,
    /// The asked name.
    pub(crate) name: Answer,
    /// "This name has this address".
    pub(crate) mapping: Answer,
}

/// DNS answers by address, within limits; the address that was named first is forgotten first.
#[derive(Debug, Default)]
pub(crate) struct NameTable {
    by_address: HashMap<IpAddr, Vec<NameRecord>, KeyedHash>,
    order: VecDeque<IpAddr>,
    /// First answer that was seen in each environment.
    since: BTreeMap<EnvironmentId, Timestamp>,
}

impl NameTable {
    pub(crate) fn insert(
        &mut self,
        ip: IpAddr,
        mut record: NameRecord,
        limits: &Limits,
        counters: &mut Counters,
    ) {
        let records = self.by_address.entry(ip).or_insert_with(|| {
            self.order.push_back(ip);
            Vec::new()
        });
        let asked = record.names.first();
        let same = |r: &&mut NameRecord| r.client == record.client && r.names.first() == asked;
        if let Some(known) = records.iter_mut().find(same) {
            known.merge(record);
        } else if records.len() < limits.names_per_address {
            // Many ask for the same.
            if let Some(known) = records.iter().find(|known| known.names == record.names) {
                record.names = Arc::clone(&known.names);
            }
            records.push(record);
        } else {
            counters.names_lost += 1;
        }
        while self.by_address.len() > limits.named_addresses {
            let Some(oldest) = self.order.pop_front() else { return };
            let lost = self.by_address.remove(&oldest).map_or(0, |records| records.len());
            counters.names_lost += u64::try_from(lost).unwrap_or(u64::MAX);
        }
    }

    /// Notes that an answer was seen in that environment.
    pub(crate) fn note(&mut self, environment: EnvironmentId, at: Timestamp) {
        let since = self.since.entry(environment).or_insert(at);
        *since = at.min(*since);
    }

    /// Since when answers have been seen in that environment.
    pub(crate) fn seen_since(&self, environment: EnvironmentId) -> Option<Timestamp> {
        self.since.get(&environment).copied()
    }

    /// Answers for that address of which nobody has asked yet how they stood.
    pub(crate) fn unsettled(&mut self, ip: IpAddr) -> impl Iterator<Item = &mut NameRecord> {
        let records = self.by_address.get_mut(&ip);
        records.into_iter().flatten().filter(|record| record.standing.is_none())
    }

    /// Answers for that address in that environment.
    pub(crate) fn of(
        &self,
        environment: EnvironmentId,
        ip: IpAddr,
    ) -> impl Iterator<Item = Settled<'_>> {
        let records = self.by_address.get(&ip.to_canonical());
        let settled = records.into_iter().flatten().filter_map(NameRecord::settled);
        settled.filter(move |settled| settled.standing.environment == environment)
    }
}

/// An answer of which it is known how it stood.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settled<'a> {
    pub(crate) at: Timestamp,
    pub(crate) last: Timestamp,
    pub(crate) names: &'a [String],
    pub(crate) standing: &'a Standing,
}

impl NameRecord {
    pub(crate) const fn new(
        client: IpAddr,
        tag: NetworkTag,
        at: Timestamp,
        names: Arc<[String]>,
    ) -> Self {
        Self { client, tag, at, last: at, names, standing: None }
    }

    fn settled(&self) -> Option<Settled<'_>> {
        let standing = self.standing.as_deref()?;
        Some(Settled { at: self.at, last: self.last, names: &self.names, standing })
    }

    /// The earliest answer counts.
    fn merge(&mut self, other: Self) {
        let last = self.last.max(other.last);
        if other.at < self.at {
            *self = other;
        }
        self.last = last;
    }
}

/// The names of an answer: asked first, then canonical, without repetition, at most 8.
pub(crate) fn names_of(answer: &NameAnswer) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for name in std::iter::once(&answer.query).chain(&answer.cnames) {
        let Some(name) = normalised(name) else { continue };
        if !names.contains(&name) && names.len() < 8 {
            names.push(name);
        }
    }
    names
}

/// Lower case, without the final dot; `None` for an address, an empty or an overlong name.
pub(crate) fn normalised(name: &str) -> Option<String> {
    let name = name.trim_end_matches('.');
    if name.is_empty() || name.len() > 255 || name.parse::<IpAddr>().is_ok() {
        return None;
    }
    Some(name.to_ascii_lowercase())
}

/// Host and port of a URL, an authority, or a bare host with or without a path. User info is
/// skipped; `git@host:path` is understood, and an IPv4 address in every form.
pub(crate) fn host_of(url: &str) -> Option<(String, Option<u16>)> {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#', '\\']).next().unwrap_or(rest);
    let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let (host, port) = if let Some(v6) = authority.strip_prefix('[') {
        let (host, after) = v6.split_once(']')?;
        (host, after.strip_prefix(':'))
    } else if authority.parse::<std::net::Ipv6Addr>().is_ok() {
        (authority, None)
    } else {
        match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        }
    };
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    if host.is_empty() || host.len() > 255 || host.contains(char::is_whitespace) {
        return None;
    }
    let host = tw_model::inet_aton(&host).map_or(host, |address| address.to_string());
    Some((host, port.and_then(|port| port.parse().ok())))
}

/// `name/seg1/seg2` of a URL on a multi-tenant name; shorter where the path is.
pub(crate) fn tenant_of(host: &str, target: &str) -> String {
    let path = match target.split_once("://") {
        Some((_, rest)) => rest.split_once('/').map_or("", |(_, path)| path),
        None => target,
    };
    let path = path.split(['?', '#']).next().unwrap_or("");
    let mut key = String::from(host);
    for segment in path.split('/').filter(|s| !s.is_empty()).take(2) {
        key.push('/');
        key.extend(segment.chars().take(200));
    }
    key
}

/// A list of host patterns: exact names, and `*` for one or more labels (or part of one).
#[derive(Clone, Debug, Default)]
pub(crate) struct HostList {
    as_of: String,
    exact: HashSet<String, KeyedHash>,
    /// What stands behind a `*` that begins a pattern and is followed by a dot.
    domains: HashSet<String, KeyedHash>,
    /// What stands before and behind the `*` of other patterns.
    others: Vec<(String, String)>,
}

/// A list as it stands in a data file.
#[derive(Default, Deserialize)]
struct HostFile {
    as_of: String,
    hosts: Vec<String>,
}

impl HostList {
    /// Public registries, by the data file.
    pub(crate) fn public_registries() -> Self {
        Self::from_file(include_str!("../data/public-registries.json"))
    }

    /// Names under which anybody may publish, by the data file.
    pub(crate) fn multi_tenant() -> Self {
        Self::from_file(include_str!("../data/multi-tenant.json"))
    }

    fn from_file(text: &str) -> Self {
        let HostFile { as_of, hosts } = serde_json::from_str(text).unwrap_or_default();
        Self { as_of, ..Self::from_patterns(&hosts) }
    }

    pub(crate) fn from_patterns(patterns: &[String]) -> Self {
        let mut list = Self::default();
        for pattern in patterns.iter().map(|pattern| pattern.to_ascii_lowercase()) {
            match pattern.split_once('*') {
                None => {
                    list.exact.insert(pattern);
                }
                Some(("", tail)) if tail.starts_with('.') => {
                    list.domains.insert(tail.to_owned());
                }
                Some((head, tail)) => list.others.push((head.to_owned(), tail.to_owned())),
            }
        }
        list
    }

    /// Date of the list.
    pub(crate) fn as_of(&self) -> &str {
        &self.as_of
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        let mut dots = name.match_indices('.').filter(|(at, _)| *at > 0);
        self.exact.contains(name)
            || dots.any(|(at, _)| name.get(at..).is_some_and(|tail| self.domains.contains(tail)))
            || self.others.iter().any(|(head, tail)| matches_pattern(head, tail, name))
    }
}

/// One `*` at most is understood; it stands for at least one character.
fn matches_pattern(head: &str, tail: &str, name: &str) -> bool {
    name.strip_prefix(head).is_some_and(|rest| rest.len() > tail.len() && rest.ends_with(tail))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_found_in_every_spelling_of_a_url() {
        let host = |url: &str| host_of(url).map(|(h, p)| format!("{h} {p:?}")).unwrap_or_default();
        assert_eq!(host("http://203.0.113.77/xmrig"), "203.0.113.77 None");
        assert_eq!(host("https://u:p@Evil.Example.:8443/x?y#z"), "evil.example Some(8443)");
        assert_eq!(host("http://[2001:db8::1]:80/"), "2001:db8::1 Some(80)");
        assert_eq!(host("git@git.example:ops/agent.git"), "git.example None");
        assert_eq!(host("evil.example/x"), "evil.example None");
        assert_eq!(host("2001:db8::1"), "2001:db8::1 None");
        assert_eq!(host("http://0xcb007109:80/x"), "203.0.113.9 Some(80)");
        assert_eq!(host_of("http:///x"), None);
        assert_eq!(host_of("http://[::1"), None);
    }

    #[test]
    fn the_data_files_parse_and_are_dated() {
        for list in [HostList::public_registries(), HostList::multi_tenant()] {
            assert_eq!(list.as_of().len(), 10);
            assert!(list.exact.len() + list.domains.len() + list.others.len() > 20);
            let tails = list.domains.iter().chain(list.others.iter().map(|(_, tail)| tail));
            assert!(tails.into_iter().all(|tail| !tail.contains('*')));
        }
    }

    #[test]
    fn patterns_match_whole_labels_only_below_their_domain() {
        let list = HostList::multi_tenant();
        assert!(list.has("raw.githubusercontent.com"));
        assert!(list.has("bucket.s3.eu-west-1.amazonaws.com"));
        assert!(!list.has("notgithub.com"));
        assert!(!list.has("github.com.evil.example"));
        let registries = HostList::public_registries();
        assert!(registries.has("docker-images-prod.6aa30f8b.r2.cloudflarestorage.com"));
        assert!(!registries.has("docker.io.evil.example"));
    }

    #[test]
    fn a_tenant_is_the_name_and_two_segments() {
        assert_eq!(tenant_of("github.com", "/a/b/c?d"), "github.com/a/b");
        assert_eq!(tenant_of("github.com", "https://github.com//a"), "github.com/a");
        assert_eq!(tenant_of("github.com", "/"), "github.com");
    }

    #[test]
    fn no_text_from_the_wire_upsets_the_readers() {
        let alphabet: Vec<char> = "a.:/@[]?#*\\%é\u{202e}0-".chars().collect();
        let mut seed = 0x2545_f491_4f6c_dd1du64;
        for _ in 0..20_000 {
            let mut text = String::new();
            for _ in 0..seed % 24 {
                seed ^= seed << 13;
                seed ^= seed >> 7;
                seed ^= seed << 17;
                text.extend(alphabet.get(usize::try_from(seed % 64).unwrap() % alphabet.len()));
            }
            if let Some((host, _)) = host_of(&text) {
                assert!(!host.is_empty() && !host.contains('/'), "{text:?}");
                assert!(tenant_of(&host, &text).starts_with(&host));
            }
            assert!(normalised(&text).is_none_or(|name| !name.ends_with('.')));
            seed = seed.wrapping_add(1);
        }
    }
}
