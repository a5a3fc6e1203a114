//! The collector: export datagrams to flow records and connections.

use tw_model::{Evidence, FlowRecord};

use crate::{Counters, Datagram, Decoder, Limits};

/// What the collector tells.
#[derive(Clone, Debug)]
pub enum Told<'a> {
    /// A flow record, as exported.
    Record(&'a FlowRecord, Evidence),
}

/// Turns the datagrams of any number of exporters into connections.
///
/// Order of calls: any number of [`push`](Self::push) and [`advance`](Self::advance), then one
/// [`finish`](Self::finish).
#[derive(Debug)]
pub struct Collector {
    decoder: Decoder,
}

impl Collector {
    /// A collector that has seen nothing.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { decoder: Decoder::new(limits) }
    }

    /// Takes one datagram. Never fails.
    pub fn push(&mut self, datagram: &Datagram<'_>, sink: &mut dyn FnMut(Told<'_>)) {
        self.decoder.push(datagram, &mut |record, at| {
            sink(Told::Record(record, at));
        });
    }

    /// What was counted so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.decoder.counters()
    }
}
