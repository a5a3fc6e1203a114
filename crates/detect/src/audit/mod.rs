//! The audit: which Docker APIs there are, who calls them and how, which images were made, moved and
//! deployed, and what that says for and against the mitigations that ATT&CK names for T1612.
//!
//! In go observations, each kind and identity as often as it is told, and what the detector judged of
//! images and containers; out comes an [`Inventory`]. Nothing is asked of a store: what is new is the
//! findings' business. Bounded by [`AuditLimits`]; what a limit left out is in [`AuditCounters`].

mod containers;
mod daemons;
mod images;
mod inventory;
mod mitigations;
mod operation;

pub use inventory::{
    Attempts, AuditCounters, CallerUse, Certificates, ContainerUse, Daemon, ImageUse, ImageVerb,
    Inventory, KnownBy, Mitigation, TransportUse,
};
pub use operation::{Operation, Operations, Tally};

use tw_model::{Observation, ObservationBody, Via};

use self::containers::Containers;
use self::daemons::Daemons;
use self::images::Images;
use crate::detector::Judgement;
use crate::environment::Environments;

/// How much an audit keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditLimits {
    /// Daemons. Default 4,096.
    pub daemons: usize,
    /// Callers of one daemon. Default 4,096.
    pub callers_per_daemon: usize,
    /// Calls and handshakes that may still be told again; older ones are counted as they are then.
    /// Default 65,536 of each.
    pub open: usize,
    /// Images. Default 16,384.
    pub images: usize,
    /// Containers. Default 16,384.
    pub containers: usize,
}

impl Default for AuditLimits {
    fn default() -> Self {
        Self {
            daemons: 4_096,
            callers_per_daemon: 4_096,
            open: 65_536,
            images: 16_384,
            containers: 16_384,
        }
    }
}

/// Takes an inventory. Order of calls: any number of [`push`](Self::push) and
/// [`judged`](Self::judged), in any order; [`finish`](Self::finish) last.
#[derive(Debug)]
pub struct Audit {
    daemons: Daemons,
    images: Images,
    containers: Containers,
}

impl Audit {
    /// An audit that has seen nothing. `docker_ports`: where a Docker API is expected.
    #[must_use]
    pub fn new(environments: Environments, docker_ports: Vec<u16>, limits: AuditLimits) -> Self {
        Self {
            daemons: Daemons::new(environments, docker_ports, limits),
            images: Images::new(limits.images),
            containers: Containers::new(limits.containers),
        }
    }

    /// Takes one observation.
    pub fn push(&mut self, observation: &Observation) {
        let at = observation.at;
        let evidence = &observation.evidence;
        match &observation.body {
            ObservationBody::ApiCall(call) => self.daemons.call(call, evidence),
            ObservationBody::Tls(hello) => self.daemons.hello(hello, at, evidence),
            ObservationBody::ClientAuth(auth) => self.daemons.client_auth(auth),
            ObservationBody::Connection(c) if c.via == Via::Netflow => {
                self.daemons.recorded(c, evidence);
            }
            ObservationBody::Connection(c) => self.daemons.connection(c),
            _ => {}
        }
    }

    /// Takes what the detector judged: images and containers.
    pub fn judged(&mut self, judgement: &Judgement) {
        self.images.judged(judgement);
        if let Judgement::Container { environment, event, evidence } = judgement {
            self.containers.act(environment, event, evidence);
        }
    }

    /// What was found.
    #[must_use]
    pub fn finish(self) -> Inventory {
        let (mut daemons, mut counters) = self.daemons.finish();
        let (images, images_lost) = self.images.finish();
        let (containers, containers_lost) = self.containers.finish();
        counters.images_lost = images_lost;
        counters.containers_lost = containers_lost;
        for daemon in &mut daemons {
            daemon.mitigations = mitigations::of(daemon, &images, &containers);
        }
        Inventory { daemons, images, containers, counters }
    }
}
