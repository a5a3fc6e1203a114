//! What options records tell of an exporter: when it started, and how it samples.

use std::collections::BTreeMap;

use tw_model::{Sampling, Timestamp};

use crate::element::Slot;
use crate::values::Values;

/// What options records said.
#[derive(Clone, Debug, Default)]
pub(crate) struct Told {
    /// systemInitTimeMilliseconds.
    pub(crate) booted: Option<Timestamp>,
    /// One packet in so many, where no sampler is named.
    pub(crate) rate: Option<u32>,
    /// By sampler or selector.
    pub(crate) samplers: BTreeMap<u64, u32>,
}

impl Told {
    /// RFC 3954 §6.1 and RFC 5476 §6.5: takes an options record.
    pub(crate) fn take(&mut self, values: &Values, samplers: usize) {
        if let Some(booted) = values.number(Slot::BootMillis) {
            let ms = i64::try_from(booted).unwrap_or(i64::MAX);
            self.booted = Some(Timestamp::from_nanos(ms.saturating_mul(1_000_000)));
        }
        let Some(rate) = values.rate() else { return };
        match sampler(values) {
            None => self.rate = Some(rate),
            Some(id) if self.samplers.len() < samplers || self.samplers.contains_key(&id) => {
                self.samplers.insert(id, rate);
            }
            Some(_) => {}
        }
    }

    /// The sampling behind a flow record: what it says itself, else by the sampler that it names,
    /// else the exporter's.
    pub(crate) fn sampling(&self, values: &Values) -> Sampling {
        if let Some(rate) = values.rate() {
            return Sampling::OneIn(rate);
        }
        match (sampler(values).filter(|id| *id != 0), self.rate) {
            (Some(id), rate) => {
                let known = self.samplers.get(&id).copied().or(rate);
                known.map_or(Sampling::UnknownRate, Sampling::OneIn)
            }
            (None, Some(rate)) => Sampling::OneIn(rate),
            (None, None) => Sampling::Untold,
        }
    }
}

fn sampler(values: &Values) -> Option<u64> {
    values.number(Slot::SamplerId).or_else(|| values.number(Slot::SelectorId))
}
