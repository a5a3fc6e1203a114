//! Flow records: export datagrams from a capture or a socket, and what outlives a restart of them.

use std::net::IpAddr;

use tw_model::{Endpoint, Observation, ObservationBody, Timestamp};
use tw_netflow::{Datagram, ExporterState, NotAState, Told, Usage};
use tw_wire::Frame;

use super::{Engine, Rest};

/// Addresses of exporters that are not on the list, which are counted one by one.
const UNLISTED: usize = 64;

impl Engine {
    /// Takes one export datagram that came on a socket. Never fails.
    pub fn export(&mut self, datagram: &Datagram<'_>, sink: &mut dyn FnMut(Observation)) {
        self.rest.export(datagram, sink);
    }

    /// Export datagrams were dropped on their way here.
    pub fn exports_dropped(&mut self, count: u64, now: Timestamp) {
        self.rest.collector.dropped(count, now);
    }

    /// Time passed by the collector's clock: conversations that waited long enough are told.
    pub fn advance(&mut self, now: Timestamp, sink: &mut dyn FnMut(Observation)) {
        self.rest.collector.advance(now, &mut |told| sink(collected(told)));
    }

    /// What a restart must not lose of flow records.
    #[must_use]
    pub fn save_exports(&self) -> Vec<u8> {
        self.rest.collector.save()
    }

    /// Takes back what was saved, and tells it again.
    ///
    /// # Errors
    /// When it is no saved state.
    pub fn restore_exports(
        &mut self,
        saved: &[u8],
        sink: &mut dyn FnMut(Observation),
    ) -> Result<(), NotAState> {
        self.rest.collector.restore(saved, &mut |told| sink(collected(told)))
    }

    /// What is known of each exporter.
    #[must_use]
    pub fn exporters(&self) -> Vec<ExporterState> {
        self.rest.collector.decoder().exporters()
    }

    /// What is known of one exporter.
    #[must_use]
    pub fn exporter(&self, address: IpAddr) -> Option<ExporterState> {
        self.rest.collector.decoder().exporter(address)
    }

    /// What flow records hold at the moment.
    #[must_use]
    pub fn exports_usage(&self) -> Usage {
        self.rest.collector.usage()
    }
}

impl Rest {
    /// A datagram of somebody who is not on the list is not even decoded: a forged record with
    /// larger counters would otherwise take the place of the true one, and hide what it tells.
    pub(super) fn export(&mut self, datagram: &Datagram<'_>, sink: &mut dyn FnMut(Observation)) {
        let from = datagram.exporter.ip.to_canonical();
        if !self.exporters.takes(from) {
            self.unlisted_datagrams += 1;
            let room = self.unlisted_exporters.len() < UNLISTED;
            if let Some(count) = self.unlisted_exporters.get_mut(&from) {
                *count += 1;
            } else if room {
                self.unlisted_exporters.insert(from, 1);
            }
            return;
        }
        let Self { collector, records_wanted, .. } = self;
        let wanted = *records_wanted;
        collector.push(datagram, &mut |told| match told {
            Told::Record(..) if !wanted => {}
            told => sink(collected(told)),
        });
    }

    /// Takes a message of an IPFIX file, which does not say who sent it: each file counts as an exporter
    /// of its own.
    pub(super) fn message(&mut self, frame: &Frame<'_>, sink: &mut dyn FnMut(Observation)) {
        let [_, b, c, d] = frame.source.0.to_be_bytes();
        let exporter = Endpoint::new(IpAddr::from([0, b, c, d]), 0);
        let datagram = Datagram { exporter, bytes: frame.bytes, evidence: frame.evidence() };
        self.export(&datagram, sink);
    }

    /// End of input.
    pub(super) fn finish_exports(&mut self, sink: &mut dyn FnMut(Observation)) {
        self.collector.finish(&mut |told| sink(collected(told)));
    }
}

/// What the collector tells, as an observation.
fn collected(told: Told<'_>) -> Observation {
    match told {
        Told::Record(record, place) => Observation {
            at: place.timestamp,
            evidence: vec![place],
            body: ObservationBody::FlowRecord(Box::new(*record)),
        },
        Told::Connection(connection, evidence) => Observation {
            at: connection.last,
            evidence,
            body: ObservationBody::Connection(*connection),
        },
    }
}
