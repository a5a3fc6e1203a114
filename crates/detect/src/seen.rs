//! What the detector asks the seen-before store.

use std::net::IpAddr;

use tw_model::{Timestamp, Via};

/// What is remembered on one axis of one environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Key<'a> {
    /// Destination address.
    Address(IpAddr),
    /// Destination name, lower case.
    Name(&'a str),
    /// A DNS answer gave this name this address before.
    NameAddress(&'a str, IpAddr),
    /// Caller of the API of this daemon address; "known builder" when it has built there.
    Caller {
        /// Caller.
        client: IpAddr,
        /// Daemon host.
        daemon: IpAddr,
    },
    /// Caller that has built (made an image) on this daemon address.
    Builder {
        /// Caller.
        client: IpAddr,
        /// Daemon host.
        daemon: IpAddr,
    },
    /// Registry "host:port".
    Registry(&'a str),
    /// Repository, as "host:port/name".
    Repository(&'a str),
    /// Image or manifest digest.
    Digest(&'a str),
    /// First two path segments on a multi-tenant name, `name/seg1/seg2`, for a docker host.
    Tenant(&'a str),
}

/// How something stands in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Knowledge {
    /// Learned, imported, accepted, or observed on three days: it is known.
    Known,
    /// Seen, but not known.
    Touched {
        /// When first.
        first_seen: Timestamp,
        /// By whom.
        first_seen_by: Option<IpAddr>,
    },
    /// Never seen.
    Never,
    /// The axis has no baseline and was watched for less than `known_after`.
    Unwatched,
    /// The store could not be asked.
    Unavailable,
}

/// An answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// For the environment.
    pub environment: Knowledge,
    /// For the asking host (the same as `environment` where the axis has no host scope).
    pub host: Knowledge,
    /// Since when this axis of the environment has been watched.
    pub watched_since: Option<Timestamp>,
    /// Was anything learned or imported on this axis?
    pub baseline: bool,
    /// Probability that `Never` is wrong (a filter's false positive that was not settled): 0 where exact.
    pub error_probability: f64,
}

/// The seen-before store as the detector sees it: `ask` never fails.
pub trait Seen {
    /// How does this stand at that packet time, for that environment and that host?
    fn ask(&mut self, environment: &str, host: IpAddr, question: Key<'_>, at: Timestamp) -> Answer;
}

/// One thing that really happened and may be remembered, as the learner judged it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fact<'a> {
    /// The environment of the host.
    pub environment: &'a str,
    /// Who: the watched host that connected, or the daemon's host on the caller axis.
    pub host: IpAddr,
    /// What.
    pub key: Key<'a>,
    /// Packet time.
    pub at: Timestamp,
    /// What it was seen in.
    pub via: Via,
}
