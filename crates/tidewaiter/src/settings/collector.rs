//! `[collector]`: sockets, exporters, and how long records may be under way.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use toml::Spanned;

use super::SettingsError;
use super::checked::Check;
use super::raw;

/// Ports that exporters are configured to by custom: NetFlow, IPFIX (IANA), NetFlow.
const PORTS: [u16; 3] = [2055, 4739, 9995];

/// How flow records are collected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collector {
    /// UDP addresses to listen on. Default: ports 2055, 4739 and 9995 of all addresses.
    pub listen: Vec<SocketAddr>,
    /// Are those the default? Then one that this host cannot have is no error.
    pub listen_is_default: bool,
    /// TCP addresses to listen on for IPFIX. Default: none.
    pub listen_tcp: Vec<SocketAddr>,
    /// How long after the end of a build's window records of what happened in it may still come: as
    /// long as the active timeout of the exporters. Default 2 min.
    pub lateness: Duration,
    /// Time between two `stats` events. Default 1 min.
    pub stats_every: Duration,
    /// Time between two savings of what a restart must not lose. Default 1 min.
    pub save_every: Duration,
    /// Receive buffer of each UDP socket that the kernel is asked for. Default 64 MiB.
    pub receive_buffer_bytes: usize,
    /// TCP connections at a time. Default 64.
    pub tcp_connections: usize,
}

impl Default for Collector {
    fn default() -> Self {
        Self {
            listen: PORTS.into_iter().flat_map(on_all).collect(),
            listen_is_default: true,
            listen_tcp: Vec::new(),
            lateness: Duration::from_secs(120),
            stats_every: Duration::from_secs(60),
            save_every: Duration::from_secs(60),
            receive_buffer_bytes: 64 << 20,
            tcp_connections: 64,
        }
    }
}

fn on_all(port: u16) -> [SocketAddr; 2] {
    let all: [IpAddr; 2] = [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()];
    all.map(|ip| SocketAddr::new(ip, port))
}

/// `192.0.2.1:2055`, `[::1]:2055`, or a port of all addresses.
pub(crate) fn listen_on(text: &str) -> Option<Vec<SocketAddr>> {
    if let Ok(port) = text.parse() {
        return Some(on_all(port).into());
    }
    text.parse().ok().map(|address| vec![address])
}

impl Check {
    pub(super) fn collector(&self, raw: &raw::Collector) -> Result<Collector, SettingsError> {
        let mut collector = Collector::default();
        if let Some(list) = &raw.listen {
            collector.listen = self.sockets("listen", list)?;
            collector.listen_is_default = false;
        }
        if let Some(list) = &raw.listen_tcp {
            collector.listen_tcp = self.sockets("listen_tcp", list)?;
        }
        for (key, value, target) in [
            ("lateness", &raw.lateness, &mut collector.lateness),
            ("stats_every", &raw.stats_every, &mut collector.stats_every),
            ("save_every", &raw.save_every, &mut collector.save_every),
        ] {
            let Some(value) = value else { continue };
            *target = self.duration(key, value)?;
            if key != "lateness" && target.is_zero() {
                return Err(self.value(key, value.span(), "must be longer than nothing".into()));
            }
        }
        if let Some(bytes) = &raw.receive_buffer_bytes {
            let within = usize::try_from(*bytes.get_ref()).ok().filter(|n| *n <= i32::MAX as usize);
            collector.receive_buffer_bytes = within.ok_or_else(|| {
                let message = format!("at most {} bytes", i32::MAX);
                self.value("receive_buffer_bytes", bytes.span(), message)
            })?;
        }
        if let Some(most) = &raw.tcp_connections {
            collector.tcp_connections = usize::try_from(*most.get_ref()).unwrap_or(usize::MAX);
        }
        Ok(collector)
    }

    fn sockets(
        &self,
        key: &str,
        list: &[Spanned<String>],
    ) -> Result<Vec<SocketAddr>, SettingsError> {
        let mut all = Vec::new();
        for text in list {
            let parsed = listen_on(text.get_ref()).ok_or_else(|| {
                let message = format!(
                    "\"{}\" is no address and port such as 0.0.0.0:2055, and no port",
                    text.get_ref()
                );
                self.value(key, text.span(), message)
            })?;
            all.extend(parsed);
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_alone_is_that_of_all_addresses() {
        let both = listen_on("2055").unwrap();
        assert_eq!(
            both.iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["0.0.0.0:2055", "[::]:2055"]
        );
        assert_eq!(listen_on("[::1]:9").unwrap().len(), 1);
        for wrong in ["", "0.0.0.0", "host:2055", "70000"] {
            assert_eq!(listen_on(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn by_default_three_ports_of_both_families() {
        let listen = Collector::default().listen;
        assert_eq!((listen.len(), listen.iter().filter(|a| a.is_ipv4()).count()), (6, 3));
    }
}
