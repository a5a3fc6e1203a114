//! What an operator may tune, and the limits of every table.

use std::time::Duration;

/// Tunables of the join, checked by who reads the configuration. `default()` is what the
/// documentation promises.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// How long after a trigger's last answered byte a connection still belongs to it, when no
    /// trigger is open. Default 5 s.
    pub time_window: Duration,
    /// How long after the start of a container its host's new connections belong to it. Default 10 min.
    pub deploy_window: Duration,
    /// Longest window of a build that was only inferred. Default 30 min.
    pub inferred_window_max: Duration,
    /// More new destinations than this in an inferred build become one finding. Default 5.
    pub inferred_list_at: usize,
    /// How long ago a DNS answer may have been to give a connection its name. Default 24 h.
    pub name_memory: Duration,
    /// Live only: how long CORRELATED and INFERRED stay at low on a docker host that has no
    /// baseline. Default 24 h.
    pub learning_period: Duration,
    /// Is `learning_period` applied? `replay` does not. Default false.
    pub live: bool,
    /// Images made on one host within 24 h by callers that are no known builders, at which
    /// `image-created` becomes medium. Default 1.
    pub new_image_threshold: usize,
    /// Things of one caller on one host that lie no further apart belong to one incident. Default 1 h.
    pub incident_gap: Duration,
    /// Registries that base images may come from, `host`, `host:port`, an address, or `*.domain`.
    pub registry_allow_list: Vec<String>,
    /// Proxies that cannot be read: hosts, addresses, or either with a port.
    pub proxies: Vec<String>,
    /// Ports that a Docker API is expected on. Default 2375, 2376, 4243, 4244, 1234.
    pub docker_ports: Vec<u16>,
    /// Limits of the tables.
    pub limits: Limits,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            time_window: Duration::from_secs(5),
            deploy_window: Duration::from_secs(600),
            inferred_window_max: Duration::from_secs(1800),
            inferred_list_at: 5,
            name_memory: Duration::from_secs(86_400),
            learning_period: Duration::from_secs(86_400),
            live: false,
            new_image_threshold: 1,
            incident_gap: Duration::from_secs(3600),
            registry_allow_list: Vec::new(),
            proxies: Vec::new(),
            docker_ports: vec![2375, 2376, 4243, 4244, 1234],
            limits: Limits::default(),
        }
    }
}

/// How much is remembered. What goes beyond is counted in [`Counters`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections of any host, most recent ones, DNS left out. Default 40,960.
    pub recent_connections: usize,
    /// Connections of docker hosts inside a window, kept beyond the recent ones. Default 65,536.
    pub held_connections: usize,
    /// Connections that flow records tell of, to destinations that are not known: the record of a build
    /// may come half an hour after those of what it fetched. Default 262,144.
    pub late_connections: usize,
    /// Connections to docker hosts inside a window, kept beyond the recent ones, and as many ports of
    /// theirs. Default 4,096.
    pub inbound_connections: usize,
    /// HTTP exchanges kept of one connection. Default 64.
    pub exchanges_per_connection: usize,
    /// API calls. Default 65,536.
    pub calls: usize,
    /// Builds, and as many image creations. Default 8,192.
    pub builds: usize,
    /// Container actions. Default 32,768.
    pub containers: usize,
    /// Images pulled from and pushed to registries. Default 16,384.
    pub registry_actions: usize,
    /// Addresses that have names. Default 65,536.
    pub named_addresses: usize,
    /// Names of one address. Default 16.
    pub names_per_address: usize,
    /// Link-layer addresses. Default 65,536.
    pub mac_addresses: usize,
    /// Pairs of caller and daemon. Default 65,536.
    pub callers: usize,
    /// Destinations listed in one build. Default 256.
    pub destinations_per_build: usize,
    /// Findings in one judgement. Default 65,536.
    pub findings: usize,
    /// Lines of one incident's timeline. Default 500.
    pub timeline: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            recent_connections: 40_960,
            held_connections: 65_536,
            late_connections: 262_144,
            inbound_connections: 4_096,
            exchanges_per_connection: 64,
            calls: 65_536,
            builds: 8_192,
            containers: 32_768,
            registry_actions: 16_384,
            named_addresses: 65_536,
            names_per_address: 16,
            mac_addresses: 65_536,
            callers: 65_536,
            destinations_per_build: 256,
            findings: 65_536,
            timeline: 500,
        }
    }
}

/// What the detector did and what it had to leave out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Observations pushed.
    pub observations: u64,
    /// Questions asked of the store.
    pub questions: u64,
    /// Connections forgotten in the normal course: outside every window.
    pub connections_forgotten: u64,
    /// Connections forgotten inside a window because the tables were full: these may hide a finding.
    pub connections_lost: u64,
    /// Connections of flow records to destinations that are not known, forgotten because the table was
    /// full: a build of which a record comes later lacks them.
    pub late_lost: u64,
    /// Connections to docker hosts, and ports of theirs, beyond the limit: these may hide a finding.
    pub inbound_lost: u64,
    /// HTTP exchanges beyond the limit of one connection.
    pub exchanges_lost: u64,
    /// API calls forgotten.
    pub calls_lost: u64,
    /// Builds and image creations forgotten.
    pub builds_lost: u64,
    /// Container actions forgotten.
    pub containers_lost: u64,
    /// Images pulled or pushed that were forgotten.
    pub registry_actions_lost: u64,
    /// Names forgotten.
    pub names_lost: u64,
    /// Link-layer addresses not recorded.
    pub mac_addresses_lost: u64,
    /// Caller pairs not recorded.
    pub callers_lost: u64,
    /// Destinations not listed in their build.
    pub destinations_lost: u64,
    /// Findings not told.
    pub findings_lost: u64,
}
