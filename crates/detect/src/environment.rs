//! Environments: named sets of networks, and which one an address belongs to.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use tw_model::NetworkTag;

/// A network in CIDR notation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Network {
    base: IpAddr,
    prefix_bits: u8,
}

/// Why a text is no network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotANetwork;

impl std::fmt::Display for NotANetwork {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("not a network in CIDR notation")
    }
}

impl std::error::Error for NotANetwork {}

impl Network {
    /// A network; `None` where the prefix is longer than the address.
    #[must_use]
    pub fn new(base: IpAddr, prefix_bits: u8) -> Option<Self> {
        let width = if base.is_ipv4() { 32 } else { 128 };
        (prefix_bits <= width).then_some(Self { base: base.to_canonical(), prefix_bits })
    }

    /// Is the address in it? An IPv4-mapped address counts as the IPv4 address.
    #[must_use]
    pub fn contains(&self, ip: IpAddr) -> bool {
        match (self.base, ip.to_canonical()) {
            (IpAddr::V4(base), IpAddr::V4(ip)) => {
                let shift = 32u32.saturating_sub(u32::from(self.prefix_bits));
                let cut = |ip: Ipv4Addr| ip.to_bits().checked_shr(shift).unwrap_or(0);
                cut(base) == cut(ip)
            }
            (IpAddr::V6(base), IpAddr::V6(ip)) => {
                let shift = 128u32.saturating_sub(u32::from(self.prefix_bits));
                let cut = |ip: Ipv6Addr| ip.to_bits().checked_shr(shift).unwrap_or(0);
                cut(base) == cut(ip)
            }
            _ => false,
        }
    }
}

/// `10.0.0.0/8`.
impl std::fmt::Display for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.base, self.prefix_bits)
    }
}

/// `10.0.0.0/8`, `fd00::/8`, or a bare address.
impl FromStr for Network {
    type Err = NotANetwork;

    fn from_str(text: &str) -> Result<Self, NotANetwork> {
        let (ip, bits) = match text.split_once('/') {
            Some((ip, bits)) => (ip, Some(bits)),
            None => (text, None),
        };
        let ip: IpAddr = ip.trim().parse().map_err(|_| NotANetwork)?;
        let bits = match bits {
            Some(bits) => bits.trim().parse().map_err(|_| NotANetwork)?,
            None if ip.is_ipv4() => 32,
            None => 128,
        };
        Self::new(ip, bits).ok_or(NotANetwork)
    }
}

/// One environment as configured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment {
    /// Its name.
    pub name: String,
    /// Its networks.
    pub networks: Vec<Network>,
    /// Only on these VLANs; empty for any.
    pub vlans: Vec<u16>,
    /// Only in these VXLAN or GENEVE networks; empty for any.
    pub vnis: Vec<u32>,
    /// Only on these capture interfaces; empty for any.
    pub interfaces: Vec<u32>,
}

impl Environment {
    fn takes(&self, tag: NetworkTag) -> bool {
        let vlan = self.vlans.is_empty() || tag.vlan.is_some_and(|vlan| self.vlans.contains(&vlan));
        let vni = self.vnis.is_empty() || tag.vni.is_some_and(|vni| self.vnis.contains(&vni));
        let interface = self.interfaces.is_empty() || self.interfaces.contains(&tag.interface);
        vlan && vni && interface
    }

    fn is_tagged(&self) -> bool {
        !(self.vlans.is_empty() && self.vnis.is_empty() && self.interfaces.is_empty())
    }

    fn longest_match(&self, ip: IpAddr) -> Option<u8> {
        self.networks.iter().filter(|n| n.contains(ip)).map(|n| n.prefix_bits).max()
    }
}

/// Index of an environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct EnvironmentId(usize);

/// Whose flow records are taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ExporterList {
    /// Anybody's; only those of exporters inside an environment teach.
    #[default]
    Anybody,
    /// Only theirs, and they all teach.
    Only(Vec<Network>),
}

impl ExporterList {
    /// Are records of this exporter looked at?
    #[must_use]
    pub fn takes(&self, ip: IpAddr) -> bool {
        match self {
            _ if is_file(ip) => true,
            Self::Anybody => true,
            Self::Only(list) => list.iter().any(|network| network.contains(ip)),
        }
    }
}

/// All environments. There is always one called `default`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Environments {
    list: Vec<Environment>,
    default: usize,
    aliases: BTreeMap<(usize, IpAddr), IpAddr>,
    exporters: ExporterList,
}

impl Default for Environments {
    fn default() -> Self {
        Self::new(Vec::new())
    }
}

impl Environments {
    /// The configured environments; `default` with the private ranges is added where it is missing.
    #[must_use]
    pub fn new(mut list: Vec<Environment>) -> Self {
        let default = list.iter().position(|e| e.name == DEFAULT).unwrap_or_else(|| {
            list.push(Environment {
                name: DEFAULT.to_owned(),
                networks: private_networks(),
                ..Environment::default()
            });
            list.len().saturating_sub(1)
        });
        Self { list, default, aliases: BTreeMap::new(), exporters: ExporterList::Anybody }
    }

    /// Says that `alias` is another address of the docker host `host`, both in environment `name`.
    /// An unknown name is ignored: the configuration was checked before.
    pub fn add_alias(&mut self, name: &str, alias: IpAddr, host: IpAddr) {
        if let Some(index) = self.list.iter().position(|e| e.name == name) {
            self.aliases.insert((index, alias.to_canonical()), host.to_canonical());
        }
    }

    /// Says whose flow records are taken.
    pub fn set_exporters(&mut self, exporters: ExporterList) {
        self.exporters = exporters;
    }

    /// Whose flow records are taken.
    #[must_use]
    pub const fn exporters(&self) -> &ExporterList {
        &self.exporters
    }

    /// May records of this exporter teach what is known in that environment? A datagram from
    /// elsewhere says nothing of what happened here, unless the operator says so.
    pub(crate) fn may_teach(&self, id: EnvironmentId, exporter: IpAddr) -> bool {
        match &self.exporters {
            ExporterList::Anybody => is_file(exporter) || self.has(id, exporter),
            list @ ExporterList::Only(_) => list.takes(exporter),
        }
    }

    /// Name of the environment of an address: tagged environments first, then the longest prefix;
    /// `default` where none has it.
    #[must_use]
    pub fn of(&self, ip: IpAddr, tag: NetworkTag) -> &str {
        self.name(self.id_of(ip, tag))
    }

    /// Is there an environment of that name?
    #[must_use]
    pub fn has_name(&self, name: &str) -> bool {
        self.list.iter().any(|environment| environment.name == name)
    }

    /// Is the address in one of the networks of that environment?
    #[must_use]
    pub fn contains(&self, name: &str, ip: IpAddr) -> bool {
        self.list.iter().any(|e| e.name == name && e.longest_match(ip).is_some())
    }

    pub(crate) fn id_of(&self, ip: IpAddr, tag: NetworkTag) -> EnvironmentId {
        if self.list.len() <= 1 {
            return EnvironmentId(self.default);
        }
        let best = self
            .list
            .iter()
            .enumerate()
            .filter(|(_, e)| e.takes(tag))
            .filter_map(|(i, e)| Some((e.is_tagged(), e.longest_match(ip)?, i)))
            .max_by_key(|&(tagged, bits, i)| (tagged, bits, std::cmp::Reverse(i)));
        EnvironmentId(best.map_or(self.default, |(_, _, i)| i))
    }

    pub(crate) fn name(&self, id: EnvironmentId) -> &str {
        self.list.get(id.0).map_or(DEFAULT, |e| e.name.as_str())
    }

    pub(crate) fn has(&self, id: EnvironmentId, ip: IpAddr) -> bool {
        self.list.get(id.0).is_some_and(|e| e.networks.iter().any(|n| n.contains(ip)))
    }

    /// The narrowest network of that environment that has the address.
    pub(crate) fn network_of(&self, id: EnvironmentId, ip: IpAddr) -> Option<Network> {
        let networks = self.list.get(id.0)?.networks.iter().filter(|n| n.contains(ip));
        networks.max_by_key(|n| n.prefix_bits).copied()
    }

    pub(crate) fn alias(&self, id: EnvironmentId, ip: IpAddr) -> Option<IpAddr> {
        self.aliases.get(&(id.0, ip.to_canonical())).copied()
    }
}

/// Does this stand for a file of flow records instead of an exporter? "This network" (RFC 1122 §3.2.1.3)
/// is no source of any datagram. A file that the operator gives may teach as a capture may.
#[must_use]
pub fn is_file(exporter: IpAddr) -> bool {
    matches!(exporter, IpAddr::V4(v4) if v4.octets().first() == Some(&0))
}

const DEFAULT: &str = "default";

/// RFC 1918, RFC 6598, RFC 4193 (unique local), link-local and loopback addresses.
/// The networks of `default` where nothing is configured.
#[must_use]
pub fn private_networks() -> Vec<Network> {
    [
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "100.64.0.0/10",
        "169.254.0.0/16",
        "127.0.0.0/8",
        "fc00::/7",
        "fe80::/10",
        "::1/128",
    ]
    .iter()
    .filter_map(|text| text.parse().ok())
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_network_has_its_addresses_and_no_others() {
        let network: Network = "10.10.0.0/15".parse().unwrap();
        assert!(network.contains(ip("10.11.255.255")));
        assert!(network.contains(ip("::ffff:10.10.0.1")));
        assert!(!network.contains(ip("10.12.0.0")));
        assert!("0.0.0.0/0".parse::<Network>().unwrap().contains(ip("203.0.113.1")));
        assert_eq!("10.0.0.0/33".parse::<Network>(), Err(NotANetwork));
        assert_eq!("ten/8".parse::<Network>(), Err(NotANetwork));
        assert_eq!(private_networks().len(), 9);
    }

    #[test]
    fn a_docker_host_outside_every_network_belongs_to_default() {
        let environments = Environments::new(vec![Environment {
            name: "prod".into(),
            networks: vec!["10.10.0.0/16".parse().unwrap()],
            ..Environment::default()
        }]);
        let tag = NetworkTag::default();
        assert_eq!(environments.of(ip("10.10.1.5"), tag), "prod");
        assert_eq!(environments.of(ip("10.20.1.5"), tag), "default");
        assert_eq!(environments.of(ip("203.0.113.7"), tag), "default");
        assert!(!environments.contains("default", ip("203.0.113.7")));
    }

    #[test]
    fn overlapping_networks_are_told_apart_by_vlan_vni_and_interface() {
        let on = |name: &str, vlan: &[u16], vni: &[u32]| Environment {
            name: name.into(),
            networks: vec!["10.0.0.0/8".parse().unwrap()],
            vlans: vlan.to_vec(),
            vnis: vni.to_vec(),
            interfaces: Vec::new(),
        };
        let environments = Environments::new(vec![on("red", &[7], &[]), on("blue", &[], &[42])]);
        let of =
            |vlan, vni| environments.of(ip("10.1.1.1"), NetworkTag { vlan, vni, interface: 0 });
        assert_eq!(of(Some(7), None), "red");
        assert_eq!(of(None, Some(42)), "blue");
        assert_eq!(of(None, None), "default");
    }
}
