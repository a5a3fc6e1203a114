//! Exporters by address, each with its observation domains and its count of records.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::IpAddr;

use tw_model::Timestamp;

use crate::decoder::Budget;
use crate::domain::Domain;

/// Version and observation domain: NetFlow's source ids and IPFIX's domains are apart.
pub(crate) type DomainKey = (u16, u32);

/// One exporter.
#[derive(Clone, Debug, Default)]
pub(crate) struct Exporter {
    pub(crate) domains: BTreeMap<DomainKey, Domain>,
    /// Flow records so far, for evidence.
    pub(crate) records: u64,
    /// Least of what its datagrams' time of arrival was behind (or, negative, before) their time of
    /// export, in nanoseconds.
    pub(crate) lag_nanos: Option<i64>,
    pub(crate) recent: bool,
}

/// What is known of one exporter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExporterState {
    /// Its address.
    pub address: IpAddr,
    /// Flow records so far.
    pub records: u64,
    /// How far its clock is behind the collector's (negative: ahead), in nanoseconds: the least lag
    /// of any of its datagrams, as that one was sent at once. Nothing for an exporter that was only
    /// restored.
    pub behind_nanos: Option<i64>,
    /// When it was heard last, by the collector's clock.
    pub heard: Timestamp,
}

/// All exporters, within a limit.
#[derive(Debug, Default)]
pub(crate) struct Exporters {
    pub(crate) by_address: HashMap<IpAddr, Exporter>,
    pub(crate) order: VecDeque<IpAddr>,
}

impl Exporters {
    pub(crate) fn get(&self, address: IpAddr) -> Option<&Exporter> {
        self.by_address.get(&address)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&IpAddr, &Exporter)> {
        self.by_address.iter()
    }

    /// The exporter, made where it is new; then one that was silent of late may be forgotten.
    pub(crate) fn entry(&mut self, address: IpAddr, budget: &mut Budget<'_>) -> &mut Exporter {
        if !self.by_address.contains_key(&address) {
            while self.by_address.len() >= budget.limits.exporters.max(1) {
                self.forget_one(budget);
            }
            self.order.push_back(address);
        }
        let exporter = self.by_address.entry(address).or_default();
        exporter.recent = true;
        exporter
    }

    /// Second chance: who was heard since the last round stays.
    fn forget_one(&mut self, budget: &mut Budget<'_>) {
        for round in 0..=MAX_CHANCES {
            let Some(address) = self.order.pop_front() else { return };
            let Some(exporter) = self.by_address.get_mut(&address) else { continue };
            if exporter.recent && round < MAX_CHANCES {
                exporter.recent = false;
                self.order.push_back(address);
                continue;
            }
            exporter.domains.values_mut().for_each(|domain| domain.drop_all(budget));
            self.by_address.remove(&address);
            budget.counters.exporters_lost += 1;
            return;
        }
    }
}

impl Exporter {
    /// The domain, made where it is new; then the one that was silent longest may be forgotten.
    pub(crate) fn domain(&mut self, key: DomainKey, budget: &mut Budget<'_>) -> &mut Domain {
        if !self.domains.contains_key(&key) {
            while self.domains.len() >= budget.limits.domains_per_exporter.max(1) {
                let oldest = self.domains.iter().min_by_key(|(key, domain)| (domain.used, **key));
                let Some(oldest) = oldest.map(|(key, _)| *key) else { break };
                if let Some(mut domain) = self.domains.remove(&oldest) {
                    domain.drop_all(budget);
                }
                budget.counters.exporters_lost += 1;
            }
        }
        self.domains.entry(key).or_default()
    }

    /// Notes how far its clock is off: the least lag is that of a datagram sent at once.
    pub(crate) fn note_clock(&mut self, arrived: Timestamp, export: Timestamp) {
        let lag = arrived.as_nanos().saturating_sub(export.as_nanos());
        self.lag_nanos = Some(self.lag_nanos.map_or(lag, |least| least.min(lag)));
    }

    pub(crate) fn state(&self, address: IpAddr) -> ExporterState {
        let heard = self.domains.values().map(|domain| domain.used).max();
        ExporterState {
            address,
            records: self.records,
            behind_nanos: self.lag_nanos,
            heard: heard.unwrap_or_default(),
        }
    }
}

const MAX_CHANCES: usize = 64;
