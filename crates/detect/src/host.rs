//! Which addresses are one docker host: its second address by the link layer where that is proof,
//! and by configuration otherwise.
//!
//! A link-layer address proves something only where nobody else is behind it. It ties the
//! addresses that were seen with it when they hold exactly one IPv4 address, container networks
//! apart, and few IPv6 addresses; a router's address is seen with many and ties nothing.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

use tw_model::{Connection, KeyedHash, MacAddress};

use crate::environment::{EnvironmentId, Environments};
use crate::policy::{Counters, Limits};

/// An address in an environment.
pub(crate) type HostAddress = (EnvironmentId, IpAddr);

/// Addresses by link-layer address.
#[derive(Debug, Default)]
pub(crate) struct LinkTable {
    by_mac: HashMap<MacAddress, Neighbour, KeyedHash>,
    by_ip: HashMap<IpAddr, Few<MacAddress>, KeyedHash>,
    pairs: usize,
}

/// A list that hardly ever has more than one thing in it, which then needs no memory of its own.
#[derive(Debug, Default)]
enum Few<T> {
    #[default]
    None,
    One(T),
    More(Vec<T>),
}

impl<T: Copy> Few<T> {
    fn as_slice(&self) -> &[T] {
        match self {
            Self::None => &[],
            Self::One(one) => std::slice::from_ref(one),
            Self::More(all) => all,
        }
    }

    fn push(&mut self, new: T) {
        match self {
            Self::None => *self = Self::One(new),
            Self::One(one) => *self = Self::More(vec![*one, new]),
            Self::More(all) => all.push(new),
        }
    }
}

/// Addresses seen with one link-layer address.
#[derive(Debug, Default)]
struct Neighbour {
    ips: Few<IpAddr>,
    /// More were seen than are kept: certainly not one host.
    overflow: bool,
}

impl LinkTable {
    pub(crate) fn insert(&mut self, c: &Connection, limits: &Limits, counters: &mut Counters) {
        let Some((source, destination)) = c.macs else { return };
        for (mac, ip) in [(source, c.opener.ip), (destination, c.responder.ip)] {
            self.insert_one(mac, ip.to_canonical(), limits, counters);
        }
    }

    fn insert_one(
        &mut self,
        mac: MacAddress,
        ip: IpAddr,
        limits: &Limits,
        counters: &mut Counters,
    ) {
        if is_group(mac) || !is_unicast(ip) {
            return;
        }
        let room = self.by_mac.len() < limits.mac_addresses;
        let neighbour = match self.by_mac.entry(mac) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) if room => new.insert(Neighbour::default()),
            Entry::Vacant(_) => {
                counters.mac_addresses_lost += 1;
                return;
            }
        };
        if neighbour.overflow || neighbour.ips.as_slice().contains(&ip) {
            return;
        }
        let full = self.pairs >= limits.mac_addresses.saturating_mul(4);
        if neighbour.ips.as_slice().len() >= MAX_ADDRESSES_OF_ONE_MAC || full {
            neighbour.overflow = true;
            counters.mac_addresses_lost += u64::from(full);
            return;
        }
        neighbour.ips.push(ip);
        self.pairs += 1;
        let macs = self.by_ip.entry(ip).or_default();
        if macs.as_slice().len() < MAX_MACS_OF_ONE_ADDRESS && !macs.as_slice().contains(&mac) {
            macs.push(mac);
        }
    }

    /// Other addresses that the link layer proves to be those of the host that has `ip`.
    pub(crate) fn tied_to(&self, ip: IpAddr) -> Vec<IpAddr> {
        let mut tied = Vec::new();
        for mac in self.by_ip.get(&ip).map_or(&[][..], Few::as_slice) {
            let Some(neighbour) = self.by_mac.get(mac) else { continue };
            let ips = neighbour.ips.as_slice();
            if ips.len() > 1 && !neighbour.overflow && is_one_host(ip, ips) {
                tied.extend(ips.iter().copied().filter(|other| *other != ip));
            }
        }
        tied.sort_unstable();
        tied.dedup();
        tied
    }
}

/// Do all addresses seen with one link-layer address belong to the host that has `ip`?
fn is_one_host(ip: IpAddr, ips: &[IpAddr]) -> bool {
    let own_is_container = is_container_network(ip);
    let v4 = ips.iter().filter(|ip| ip.is_ipv4());
    let others = v4.filter(|other| own_is_container || !is_container_network(**other));
    let global_v6 =
        ips.iter().filter(|ip| matches!(ip, IpAddr::V6(v6) if !v6.is_unicast_link_local()));
    others.count() <= 1 && global_v6.count() <= MAX_V6_OF_ONE_HOST
}

/// 172.17.0.0/16 to 172.31.0.0/16: the pools that docker takes bridge networks from first.
fn is_container_network(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V4(v4) if matches!(v4.octets(), [172, 17..=31, _, _]))
}

/// The group bit (IEEE 802) or no address at all.
fn is_group(mac: MacAddress) -> bool {
    let MacAddress([first, ..]) = mac;
    first & 1 == 1 || mac == MacAddress([0; 6])
}

/// Can a host have this address?
pub(crate) fn is_unicast(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(v4) => {
            !(v4.is_multicast() || v4.is_broadcast() || v4.is_unspecified() || v4.is_loopback())
        }
        IpAddr::V6(v6) => !(v6.is_multicast() || v6.is_unspecified() || v6.is_loopback()),
    }
}

const MAX_ADDRESSES_OF_ONE_MAC: usize = 64;
const MAX_MACS_OF_ONE_ADDRESS: usize = 16;
const MAX_V6_OF_ONE_HOST: usize = 4;

/// Index of a docker host within one judgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct HostId(pub(crate) usize);

/// Docker hosts with all their addresses, as one judgement sees them.
#[derive(Debug, Default)]
pub(crate) struct HostMap {
    ids: BTreeMap<HostAddress, HostId>,
    by_ip: BTreeMap<IpAddr, BTreeSet<HostId>>,
    addresses: Vec<Vec<IpAddr>>,
}

impl HostMap {
    /// Hosts of these daemons; daemons whose addresses are tied to each other are one host.
    pub(crate) fn new(
        daemons: &BTreeSet<HostAddress>,
        links: &LinkTable,
        environments: &Environments,
    ) -> Self {
        let mut map = Self::default();
        for &(environment, ip) in daemons {
            let configured = environments.alias(environment, ip).unwrap_or(ip);
            let known = map.ids.get(&(environment, configured)).copied();
            // It may be called by an address outside the networks that its other one is in.
            let id = match map.find(environments, environment, ip).or(known) {
                Some(id) => id,
                None => {
                    map.addresses.push(Vec::new());
                    HostId(map.addresses.len().saturating_sub(1))
                }
            };
            map.claim(id, environment, ip);
            map.claim(id, environment, configured);
            for other in links.tied_to(ip) {
                map.claim(id, environment, other);
            }
        }
        map
    }

    fn claim(&mut self, id: HostId, environment: EnvironmentId, ip: IpAddr) {
        if self.ids.contains_key(&(environment, ip)) {
            return;
        }
        self.ids.insert((environment, ip), id);
        self.by_ip.entry(ip).or_default().insert(id);
        if let Some(list) = self.addresses.get_mut(id.0) {
            list.push(ip);
        }
    }

    /// The docker host that has this address, asked in the address's own environment, by
    /// configuration, and, where it is outside every network, in any environment that ties it.
    pub(crate) fn find(
        &self,
        environments: &Environments,
        environment: EnvironmentId,
        ip: IpAddr,
    ) -> Option<HostId> {
        let ip = ip.to_canonical();
        if let Some(id) = self.ids.get(&(environment, ip)) {
            return Some(*id);
        }
        if let Some(host) = environments.alias(environment, ip) {
            return self.ids.get(&(environment, host)).copied();
        }
        if environments.has(environment, ip) {
            return None;
        }
        let tied = self.by_ip.get(&ip)?;
        tied.first().copied().filter(|_| tied.len() == 1)
    }

    /// May the address be one that [`find`](Self::find) finds? By configuration, it may be one more.
    pub(crate) fn may_have(&self, ip: IpAddr) -> bool {
        self.by_ip.contains_key(&ip)
    }

    pub(crate) fn addresses(&self, id: HostId) -> &[IpAddr] {
        self.addresses.get(id.0).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn len(&self) -> usize {
        self.addresses.len()
    }
}
