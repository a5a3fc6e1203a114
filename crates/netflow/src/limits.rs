//! What one [`Collector`](crate::Collector) may use, and what it counted.

use std::time::Duration;

/// Limits of every table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Exporter addresses; beyond it one that was silent of late is forgotten. Default 4,096.
    pub exporters: usize,
    /// Observation domains of one exporter. Default 64.
    pub domains_per_exporter: usize,
    /// Templates of one observation domain. Default 1,024.
    pub templates_per_domain: usize,
    /// Fields of one template; a longer one is refused. Default 512.
    pub fields_per_template: usize,
    /// Fields of all templates together. Default 1,048,576.
    pub fields: usize,
    /// Age at which a template that was not sent again is no longer used. Default 24 h.
    pub template_age: Duration,
    /// Bytes of data sets that wait for their template, of one domain. Default 256 KiB.
    pub held_bytes_per_domain: usize,
    /// Bytes of data sets that wait for their template, in all. Default 16 MiB.
    pub held_bytes: usize,
    /// How long a data set waits for its template. Default 30 min.
    pub held_age: Duration,
    /// Samplers of one domain. Default 256.
    pub samplers: usize,
    /// Conversations under way. Default 1,048,576.
    pub conversations: usize,
    /// How long a one-way record waits for the other way before it is told alone. Default 2 min.
    pub pair_wait: Duration,
    /// How long more records of a conversation that was told are gathered before it is told again, on
    /// a port that matters. Default 10 s.
    pub tell_every: Duration,
    /// The same on all other ports. Default 5 min.
    pub tell_others_every: Duration,
    /// Ports that matter, 0 for none: those of a Docker API, where what a conversation is shows in how
    /// it grows.
    pub eager_ports: [u16; 8],
    /// How long after its last record a conversation is complete. Default 40 min, more than the
    /// active timeout of any exporter by default.
    pub linger: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            exporters: 4_096,
            domains_per_exporter: 64,
            templates_per_domain: 1_024,
            fields_per_template: 512,
            fields: 1 << 20,
            template_age: Duration::from_secs(86_400),
            held_bytes_per_domain: 256 << 10,
            held_bytes: 16 << 20,
            held_age: Duration::from_secs(1_800),
            samplers: 256,
            conversations: 1 << 20,
            pair_wait: Duration::from_secs(120),
            tell_every: Duration::from_secs(10),
            tell_others_every: Duration::from_secs(300),
            eager_ports: [2375, 2376, 4243, 4244, 1234, 0, 0, 0],
            linger: Duration::from_secs(2_400),
        }
    }
}

impl Limits {
    /// Is one of these a port that matters?
    pub(crate) fn matter(&self, ports: [u16; 2]) -> bool {
        ports.iter().any(|port| *port != 0 && self.eager_ports.contains(port))
    }
}

/// What is held at the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Exporter addresses.
    pub exporters: usize,
    /// Fields of all templates.
    pub fields: usize,
    /// Bytes of data sets that wait for their template.
    pub held_bytes: usize,
    /// Conversations under way.
    pub conversations: usize,
}

/// What was done and what was given up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Export datagrams.
    pub datagrams: u64,
    /// Datagrams of which some part contradicts itself or is cut off.
    pub malformed: u64,
    /// Flow records.
    pub records: u64,
    /// Options records.
    pub options: u64,
    /// Templates taken, repeats not counted.
    pub templates: u64,
    /// Templates that changed under their id.
    pub templates_changed: u64,
    /// Templates withdrawn.
    pub templates_withdrawn: u64,
    /// Templates refused or dropped for a limit.
    pub templates_lost: u64,
    /// Data sets that came before their template.
    pub sets_held: u64,
    /// Data sets whose template never came, or not in time.
    pub sets_lost: u64,
    /// Exporters and domains forgotten for a limit.
    pub exporters_lost: u64,
    /// Breaks in sequence numbers.
    pub gaps: u64,
    /// Records (v5, v7, IPFIX) or datagrams (v9) that are missing by the sequence numbers.
    pub missing: u64,
    /// Exporters that began anew.
    pub restarts: u64,
    /// Datagrams that came late or twice, by the sequence numbers.
    pub reordered: u64,
    /// Records that say what another record of the same exporter had said.
    pub repeated: u64,
    /// Records that lack an address: no part of any connection.
    pub unjoined: u64,
    /// Conversations told before their time for a limit.
    pub conversations_lost: u64,
    /// Datagrams dropped before they got here, as far as whoever read the socket said so.
    pub dropped: u64,
}
