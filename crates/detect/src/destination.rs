//! Contacts: what a docker host, or a container of it, connected to, with names, novelty and
//! whether it is a registry. Nothing here knows of builds.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use tw_model::{
    AppProtocol, Caveat, Connection, ConnectionState, DestinationName, FlowId, NameOrigin, Opener,
    Protocol, Timestamp, Via,
};

use crate::environment::{EnvironmentId, Environments};
use crate::freshness::{Freshness, Level, freshness, name_freshness};
use crate::host::{HostId, HostMap, is_unicast};
use crate::ledger::Ledger;
use crate::names::{HostList, Settled, host_of};
use crate::policy::Policy;
use crate::sighting::{Asked, Exchange, Sighting};
use crate::transfer::{AskedRegistries, was_asked};
use crate::{Answer, Knowledge};

/// A conversation that a docker host opened, or one authority that it asked a proxy for.
#[derive(Clone, Debug)]
pub(crate) struct Contact<'a> {
    pub(crate) flow: FlowId,
    pub(crate) host: HostId,
    pub(crate) connection: &'a Connection,
    pub(crate) sighting: &'a Sighting,
    pub(crate) at: Timestamp,
    /// Absent where a proxy was asked for a name.
    pub(crate) ip: Option<IpAddr>,
    pub(crate) port: u16,
    pub(crate) names: Vec<DestinationName>,
    pub(crate) via_proxy: Option<String>,
    pub(crate) exchanges: Vec<&'a Exchange>,
    pub(crate) registry: Registry,
    /// An unfamiliar registry under a listed name that DNS does not bear out.
    pub(crate) claimed: Option<Claimed>,
    pub(crate) freshness: Freshness,
    /// A known name by the strict rule: DNS had given it this address before.
    pub(crate) name_is_known: bool,
    pub(crate) multi_tenant: bool,
    pub(crate) caveats: BTreeSet<Caveat>,
}

/// Is a registry spoken to?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Registry {
    /// None that we recognise.
    No,
    /// Known, allow-listed or public.
    Trusted,
    /// The registry protocol with a place that is none of these, or a public name that DNS does
    /// not bear out.
    Unfamiliar,
}

/// Places at which something is spoken, by what could be read.
#[derive(Debug, Default)]
struct Endpoints {
    /// The registry protocol in clear: a TLS attempt at the same place is the same registry.
    registries: BTreeSet<(IpAddr, u16)>,
    /// A proxy's: what cannot be read there hides its destination.
    proxies: BTreeSet<(EnvironmentId, (IpAddr, u16))>,
}

/// A listed name that a client gave a registry, and that is not believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Claimed {
    pub(crate) name: String,
    pub(crate) doubt: Doubt,
}

/// Why a listed name is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Doubt {
    /// DNS gave the address other names.
    Contradicted,
    /// No answer for it was seen, where answers have been seen for so long that it ought to be there.
    Unseen,
    /// No answer for it was seen, and none could be expected: the network's name service is out of
    /// sight, or an answer from before the watch was still good.
    Unverifiable,
}

/// What contacts are read out of.
pub(crate) struct Reading<'r, 'a> {
    pub(crate) ledger: &'a Ledger,
    pub(crate) policy: &'r Policy,
    pub(crate) environments: &'r Environments,
    pub(crate) hosts: &'r HostMap,
    pub(crate) public_registries: &'r HostList,
    pub(crate) allowed_registries: &'r HostList,
    pub(crate) multi_tenant: &'r HostList,
    /// Proxies that the configuration names.
    pub(crate) proxies: &'r HostList,
    /// Registries that base images of this case are from.
    pub(crate) base_registries: &'r BTreeSet<String>,
    /// Registries that a daemon was asked to pull from or push to, and when.
    pub(crate) asked_registries: &'r AskedRegistries,
    /// Registries, by name and port, that are known.
    pub(crate) known_registries: &'r BTreeSet<(String, u16)>,
}

impl<'a> Reading<'_, 'a> {
    /// All contacts of docker hosts in the order of their first packet.
    pub(crate) fn contacts(&self) -> Vec<Contact<'a>> {
        let endpoints = self.endpoints();
        let mut contacts = Vec::new();
        for (flow, sighting) in self.ledger.sightings() {
            let Some((connection, environment, host)) = self.opened_by_docker_host(sighting) else {
                continue;
            };
            self.direct(*flow, connection, sighting, environment, host, &endpoints, &mut contacts);
            self.proxied(*flow, connection, sighting, host, &mut contacts);
        }
        contacts.sort_by_key(|c| (c.at, c.flow, c.ip, c.port));
        contacts
    }

    fn opened_by_docker_host(
        &self,
        sighting: &'a Sighting,
    ) -> Option<(&'a Connection, EnvironmentId, HostId)> {
        let c = sighting.connection.as_ref()?;
        let environment = sighting.environment?;
        if !is_download(c) || !is_unicast(c.responder.ip) {
            return None;
        }
        let opener = c.opener.ip.to_canonical();
        if self.ledger.daemon_ports.contains(&(environment, opener, c.opener.port)) {
            return None;
        }
        let host = self.hosts.find(self.environments, environment, opener)?;
        let own = self.hosts.addresses(host).contains(&c.responder.ip.to_canonical());
        (!own).then_some((c, environment, host))
    }

    /// What connections that could be read say of those to the same place that could not.
    fn endpoints(&self) -> Endpoints {
        let mut endpoints = Endpoints::default();
        for (_, sighting) in self.ledger.sightings() {
            let Some(c) = sighting.connection.as_ref() else { continue };
            let place = (c.responder.ip.to_canonical(), c.responder.port);
            if is_registry_only(sighting) {
                endpoints.registries.insert(place);
            }
            if let (true, Some(environment)) = (sighting.is_proxied(), sighting.environment) {
                endpoints.proxies.insert((environment, place));
            }
        }
        endpoints
    }

    /// Is it a conversation with a proxy in which nothing that was asked of it could be read?
    fn is_opaque_proxy(
        &self,
        environment: EnvironmentId,
        c: &Connection,
        sighting: &Sighting,
        names: &[DestinationName],
        endpoints: &Endpoints,
    ) -> bool {
        let place = (c.responder.ip.to_canonical(), c.responder.port);
        let listed = |host: &str| {
            self.proxies.has(host) || self.proxies.has(&authority(host, c.responder.port))
        };
        is_unread(sighting)
            && !sighting.is_proxied()
            && (endpoints.proxies.contains(&(environment, place))
                || listed(&place.0.to_string())
                || names.iter().any(|n| listed(&n.name)))
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one sighting, taken apart once")]
    fn direct(
        &self,
        flow: FlowId,
        c: &'a Connection,
        sighting: &'a Sighting,
        environment: EnvironmentId,
        host: HostId,
        endpoints: &Endpoints,
        contacts: &mut Vec<Contact<'a>>,
    ) {
        let ip = c.responder.ip.to_canonical();
        let (records, own) = self.name_records(environment, host, ip, c.first);
        let names = all_names(&records, sighting);
        let exchanges: Vec<&Exchange> = sighting.exchanges().filter(|x| !x.proxied).collect();
        let multi_tenant = names.iter().any(|n| self.multi_tenant.has(&n.name));
        let tenants: Vec<&Answer> = exchanges.iter().filter_map(|x| x.tenant.as_ref()).collect();
        let dns: Vec<&Answer> = records.iter().map(|r| &r.standing.name).collect();
        let claims: Vec<&Answer> = claimed(sighting).map(|name| &name.standing).collect();
        let freshness = freshness(sighting.address.as_ref(), &dns, own, &claims, &tenants);
        let known_by = |name: &Answer, mapping: &Answer| {
            name.environment == Knowledge::Known && mapping.environment == Knowledge::Known
        };
        let name_is_known = records.iter().any(|r| known_by(&r.standing.name, &r.standing.mapping))
            || claimed(sighting).any(|n| known_by(&n.standing, &n.mapping));
        let spoken = is_registry_only(sighting)
            || is_unread(sighting)
                && (endpoints.registries.contains(&(ip, c.responder.port))
                    || self.is_asked(host, ip, &names, c));
        let mut registry =
            self.registry(spoken, ip, c.responder.port, &records, sighting, &freshness);
        if registry == Registry::Unfamiliar && self.is_known_registry(&records, c.responder.port) {
            registry = Registry::Trusted;
        }
        let mut caveats = caveats_of(c, sighting);
        if self.is_opaque_proxy(environment, c, sighting, &names, endpoints) {
            caveats.insert(Caveat::Proxied);
        }
        let claim =
            || self.listed_claim(environment, c.first, c.responder.port, &records, sighting);
        let claimed = if registry == Registry::Unfamiliar { claim() } else { None };
        contacts.push(Contact {
            flow,
            host,
            connection: c,
            sighting,
            at: c.first,
            ip: Some(ip),
            port: c.responder.port,
            names,
            via_proxy: None,
            exchanges,
            registry,
            claimed,
            freshness,
            name_is_known,
            multi_tenant,
            caveats,
        });
    }

    /// One contact for each authority that was asked of a proxy on this connection.
    fn proxied(
        &self,
        flow: FlowId,
        c: &'a Connection,
        sighting: &'a Sighting,
        host: HostId,
        contacts: &mut Vec<Contact<'a>>,
    ) {
        for asked in asked_of_proxy(c, sighting) {
            let Authority { host: name, port, at, address, standing, exchanges } = asked;
            let tenants: Vec<&Answer> =
                exchanges.iter().filter_map(|x| x.tenant.as_ref()).collect();
            let freshness = match address {
                Some(_) => freshness(standing, &[], false, &[], &[]),
                None => name_freshness(standing.as_slice(), &tenants),
            };
            let mut caveats = caveats_of(c, sighting);
            caveats.insert(Caveat::Proxied);
            let names = match address {
                Some(_) => Vec::new(),
                None => vec![DestinationName { name: name.clone(), from: NameOrigin::Http }],
            };
            let spoken = !exchanges.is_empty() && exchanges.iter().all(|x| x.is_registry());
            contacts.push(Contact {
                flow,
                host,
                connection: c,
                sighting,
                at,
                ip: address,
                port: port.unwrap_or(80),
                multi_tenant: self.multi_tenant.has(&name),
                names,
                via_proxy: Some(c.responder.to_string()),
                registry: self.registry_by_name(&name, port, spoken),
                claimed: None,
                exchanges,
                freshness,
                name_is_known: false,
                caveats,
            });
        }
    }

    /// DNS answers that name the address: those that this host got, else those that others of the
    /// environment got (its resolver asks for it).
    fn name_records(
        &self,
        environment: EnvironmentId,
        host: HostId,
        ip: IpAddr,
        at: Timestamp,
    ) -> (Vec<Settled<'a>>, bool) {
        let oldest = at.minus(self.policy.name_memory);
        let addresses = self.hosts.addresses(host);
        let all: Vec<Settled<'a>> = self
            .ledger
            .names
            .of(environment, ip)
            .filter(|r| r.at <= at && r.last >= oldest)
            .collect();
        let own: Vec<Settled<'a>> =
            all.iter().copied().filter(|r| addresses.contains(&r.standing.client)).collect();
        if own.is_empty() { (all, false) } else { (own, true) }
    }

    /// A registry by what is spoken, or by the name of a TLS server. The name is the client's
    /// claim: it is believed where DNS gave it this address, in this run or before, or where the
    /// address itself is known.
    fn registry(
        &self,
        spoken: bool,
        ip: IpAddr,
        port: u16,
        records: &[Settled<'_>],
        sighting: &Sighting,
        freshness: &Freshness,
    ) -> Registry {
        let claims: Vec<&str> = claimed(sighting).map(|n| n.name.as_str()).collect();
        let named = records.iter().filter_map(|r| r.names.first().map(String::as_str));
        let borne_out = |name: &str| {
            records.iter().any(|r| r.names.first().is_some_and(|n| n == name))
                || claimed(sighting).any(|asked| asked.name == name && was_mapped(asked))
        };
        let address = ip.to_string();
        let listed_address = self.is_listed(&address, Some(port)) || freshness.level <= Level::Host;
        let listed = |name: &str| self.is_listed(name, Some(port));
        let base = |name: &str| self.base_registries.contains(name);
        if spoken {
            let trusted =
                listed_address || claims.iter().any(|name| listed(name) && borne_out(name));
            return if trusted { Registry::Trusted } else { Registry::Unfamiliar };
        }
        let by_name: Vec<&str> = claims.into_iter().chain(named).collect();
        if sighting.exchanges.is_empty() && by_name.iter().any(|name| listed(name)) {
            let address_is_known =
                sighting.address.as_ref().is_some_and(|a| a.environment == Knowledge::Known);
            let trusted = listed_address
                || address_is_known
                || by_name.iter().any(|name| listed(name) && borne_out(name));
            return if trusted { Registry::Trusted } else { Registry::Unfamiliar };
        }
        let from_base =
            sighting.exchanges.is_empty() && (base(&address) || by_name.iter().any(|n| base(n)));
        match (from_base, listed_address) {
            (true, true) => Registry::Trusted,
            (true, false) => Registry::Unfamiliar,
            (false, _) => Registry::No,
        }
    }

    fn listed_claim(
        &self,
        environment: EnvironmentId,
        at: Timestamp,
        port: u16,
        records: &[Settled<'_>],
        sighting: &Sighting,
    ) -> Option<Claimed> {
        let listed = claimed(sighting).find(|asked| self.is_listed(&asked.name, Some(port)))?;
        let settled = self
            .ledger
            .names
            .seen_since(environment)
            .is_some_and(|since| since.plus(DNS_SETTLES) <= at);
        let doubt = match (records.is_empty(), settled) {
            (false, _) => Doubt::Contradicted,
            (true, true) => Doubt::Unseen,
            (true, false) => Doubt::Unverifiable,
        };
        Some(Claimed { name: listed.name.clone(), doubt })
    }

    /// Was the daemon just asked for an image from there, and is it on no list?
    fn is_asked(
        &self,
        host: HostId,
        ip: IpAddr,
        names: &[DestinationName],
        c: &Connection,
    ) -> bool {
        let is_listed = names.iter().any(|n| self.is_listed(&n.name, Some(c.responder.port)));
        !is_listed && was_asked(self.asked_registries, host, Some(ip), names, c.first)
    }

    /// A registry that the store knows by the name that DNS gives this address.
    fn is_known_registry(&self, records: &[Settled<'_>], port: u16) -> bool {
        let names = records.iter().filter_map(|r| r.names.first());
        names.into_iter().any(|name| self.known_registries.contains(&(name.clone(), port)))
    }

    fn registry_by_name(&self, name: &str, port: Option<u16>, spoken: bool) -> Registry {
        match (self.is_listed(name, port), spoken || self.base_registries.contains(name)) {
            (true, _) => Registry::Trusted,
            (false, true) => Registry::Unfamiliar,
            (false, false) => Registry::No,
        }
    }

    fn is_listed(&self, name: &str, port: Option<u16>) -> bool {
        self.public_registries.has(name)
            || self.allowed_registries.has(name)
            || port.is_some_and(|port| self.allowed_registries.has(&format!("{name}:{port}")))
    }
}

/// What a proxy was asked for.
struct Authority<'a> {
    host: String,
    port: Option<u16>,
    at: Timestamp,
    /// Where the host is one.
    address: Option<IpAddr>,
    standing: Option<&'a Answer>,
    exchanges: Vec<&'a Exchange>,
}

/// Each authority that a proxy was asked for on this connection, once.
fn asked_of_proxy<'a>(c: &Connection, sighting: &'a Sighting) -> Vec<Authority<'a>> {
    let mut asked: Vec<Authority<'a>> = Vec::new();
    for x in sighting.exchanges().filter(|x| x.proxied) {
        let Some((host, port)) = x.host.as_deref().and_then(host_of) else { continue };
        if let Some(known) = asked.iter_mut().find(|a| a.host == host && a.port == port) {
            known.exchanges.push(x);
            continue;
        }
        let address = x.address.as_ref();
        let by_name = || x.name.as_ref().map(|name| &name.standing);
        asked.push(Authority {
            host,
            port,
            at: x.started,
            address: address.map(|(ip, _)| *ip),
            standing: address.map(|(_, answer)| answer).or_else(by_name),
            exchanges: vec![x],
        });
    }
    if let Some(tunnel) = &sighting.tunnel
        && asked.iter().all(|a| a.host != tunnel.host)
    {
        asked.push(Authority {
            host: tunnel.host.clone(),
            port: tunnel.port,
            at: c.first,
            address: tunnel.host.parse().ok(),
            standing: Some(&tunnel.standing),
            exchanges: Vec::new(),
        });
    }
    asked
}

/// Names that the client itself claimed for the responder: SNI and Host, and what came with the
/// connection.
fn claimed(sighting: &Sighting) -> impl Iterator<Item = &Asked> {
    let hosts = sighting.exchanges().filter_map(|x| x.name.as_ref());
    let all = sighting.sni.as_deref().into_iter().chain(hosts).chain(&sighting.names);
    all.filter(|_| !sighting.is_proxied())
}

/// Did DNS give this name this address before, as far as the store remembers?
fn was_mapped(asked: &Asked) -> bool {
    matches!(asked.mapping.environment, Knowledge::Known | Knowledge::Touched { .. })
}

fn all_names(records: &[Settled<'_>], sighting: &Sighting) -> Vec<DestinationName> {
    let mut records = records.to_vec();
    records.sort_by(|a, b| (b.last, a.names).cmp(&(a.last, b.names)));
    let mut names: Vec<DestinationName> = Vec::new();
    let dns = records.iter().flat_map(|r| r.names.iter()).map(|name| (name, NameOrigin::Dns));
    let claimed = claimed(sighting).map(|asked| (&asked.name, asked.origin));
    for (name, from) in dns.chain(claimed) {
        let name = DestinationName { name: name.clone(), from };
        if !names.contains(&name) && names.len() < MAX_NAMES {
            names.push(name);
        }
    }
    names
}

/// `host:port`, an IPv6 address in brackets.
fn authority(host: &str, port: u16) -> String {
    match host.contains(':') {
        true => format!("[{host}]:{port}"),
        false => format!("{host}:{port}"),
    }
}

/// Was nothing read that a client asked for on it?
pub(crate) fn is_unread(sighting: &Sighting) -> bool {
    sighting.exchanges().all(|x| x.target.is_empty())
}

/// Is every exchange on it the registry protocol, and is there one?
fn is_registry_only(sighting: &Sighting) -> bool {
    !sighting.exchanges.is_empty() && sighting.exchanges().all(|x| !x.proxied && x.is_registry())
}

/// A conversation that carried payload and is neither DNS, NTP nor DHCP. What speaks another
/// protocol on port 53 is no DNS.
pub(crate) fn is_download(c: &Connection) -> bool {
    let transport = matches!(c.protocol, Protocol::TCP | Protocol::UDP | Protocol::SCTP);
    let refused = matches!(c.state, ConnectionState::Attempted | ConnectionState::Refused);
    transport && !refused && has_carried(c) && !is_service(c)
}

/// Did it carry payload? Mere attempts outnumber conversations where somebody scans, and are no
/// downloads.
pub(crate) fn has_carried(c: &Connection) -> bool {
    c.first_payload.is_some() || c.payload_bytes.iter().any(|bytes| *bytes > 0)
}

/// DNS (in clear: RFC 1035, over TLS: RFC 7858, over QUIC: RFC 9250), NTP and DHCP. What says more
/// than a resolver would, or was read from its first byte and was not understood, is none of them.
pub(crate) fn is_service(c: &Connection) -> bool {
    let port = c.responder.port;
    let whole = c.via == Via::Packets && !c.midstream && c.gap_bytes == 0 && !c.truncated;
    let small = c.payload_bytes.iter().sum::<u64>() <= MAX_SERVICE_BYTES;
    match c.app {
        Some(AppProtocol::Dns | AppProtocol::Netflow) => true,
        Some(AppProtocol::Tls | AppProtocol::Quic) => port == 853 && small,
        Some(_) => false,
        None if c.protocol == Protocol::UDP => {
            small && matches!(port, 53 | 67 | 68 | 123 | 546 | 547 | 853 | 5353 | 5355)
        }
        None => small && (port == 853 || port == 53 && !whole),
    }
}

fn caveats_of(c: &Connection, sighting: &Sighting) -> BTreeSet<Caveat> {
    let opaque = c.app == Some(AppProtocol::Tls) && sighting.exchanges.is_empty();
    let one_way = c.one_direction();
    [
        (c.midstream, Caveat::Midstream),
        (c.gap_bytes > 0, Caveat::Gaps),
        (opaque || c.app == Some(AppProtocol::Quic), Caveat::TlsOpaque),
        (one_way, Caveat::OneDirection),
        (c.truncated, Caveat::Truncated),
        (c.opener_known != Opener::Seen, Caveat::OpenerInferred),
    ]
    .into_iter()
    .filter_map(|(is, caveat)| is.then_some(caveat))
    .chain(c.exported.iter().flat_map(|exported| exported.caveats.iter().copied()))
    .collect()
}

const MAX_NAMES: usize = 16;
/// After so long every answer that a host may still have had from before has run out.
const DNS_SETTLES: Duration = Duration::from_secs(3600);
const MAX_SERVICE_BYTES: u64 = 4 << 20;
