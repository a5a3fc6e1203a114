//! The decoder: export datagrams to flow records.

use std::net::IpAddr;

use tw_model::{Endpoint, Evidence, FlowRecord, RecordNumber, Sampling, Timestamp};

use crate::domain::Domain;
use crate::element::Slot;
use crate::exporter::{ExporterState, Exporters};
use crate::header::{self, Header};
use crate::options::Told;
use crate::values::{Clock, TRANSLATED, Values};
use crate::{Counters, Limits, Usage, fixed};

/// One export datagram, from a socket or cut out of a packet.
#[derive(Clone, Copy, Debug)]
pub struct Datagram<'a> {
    /// Who sent it. Templates are kept apart by address, not by port.
    pub exporter: Endpoint,
    /// Its bytes.
    pub bytes: &'a [u8],
    /// Where it stands in the input and when it arrived.
    pub evidence: Evidence,
}

/// Decodes datagrams of any number of exporters. Never fails: what cannot be read is counted.
#[derive(Debug)]
pub struct Decoder {
    limits: Limits,
    counters: Counters,
    pub(crate) exporters: Exporters,
    pub(crate) fields: usize,
    pub(crate) held: usize,
}

/// What all domains share.
#[derive(Debug)]
pub(crate) struct Budget<'a> {
    pub(crate) limits: &'a Limits,
    pub(crate) counters: &'a mut Counters,
    pub(crate) fields: &'a mut usize,
    pub(crate) held: &'a mut usize,
}

impl Decoder {
    /// A decoder that has seen nothing.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            counters: Counters::default(),
            exporters: Exporters::default(),
            fields: 0,
            held: 0,
        }
    }

    /// Takes one datagram; `sink` gets each flow record, with its number among the exporter's.
    pub fn push(&mut self, datagram: &Datagram<'_>, sink: &mut dyn FnMut(&FlowRecord, Evidence)) {
        let Self { limits, counters, exporters, fields, held } = self;
        counters.datagrams += 1;
        let Some((header, body)) = header::read(datagram.bytes) else {
            counters.malformed += 1;
            return;
        };
        let mut budget = Budget { limits, counters, fields, held };
        let address = datagram.exporter.ip.to_canonical();
        let exporter = exporters.entry(address, &mut budget);
        exporter.note_clock(datagram.evidence.timestamp, header.export);
        let mut number = exporter.records;
        let domain = exporter.domain((header.version, header.domain), &mut budget);
        let mut emit =
            |values: &Values, clock: &Clock, told: &Told, at: Evidence, header: &Header| {
                number += 1;
                let record = record(datagram.exporter, header, values, clock, told);
                let timestamp = record.first.or(record.last).unwrap_or(at.timestamp);
                let place = RecordNumber::Record(number);
                sink(&record, Evidence { timestamp, source: at.source, record: place });
            };
        let (at, port) = (datagram.evidence, datagram.exporter.port);
        domain.push(&header, body, at, port, &mut budget, &mut emit);
        exporter.records = number;
    }

    /// What was counted so far. Sets that still wait for their template are not lost yet.
    #[must_use]
    pub const fn counters(&self) -> Counters {
        self.counters
    }

    /// What is held at the moment, conversations apart.
    #[must_use]
    pub fn usage(&self) -> Usage {
        Usage {
            exporters: self.exporters.iter().count(),
            fields: self.fields,
            held_bytes: self.held,
            conversations: 0,
        }
    }

    /// Data sets that wait for their template.
    #[must_use]
    pub fn waiting(&self) -> u64 {
        self.exporters.iter().flat_map(|(_, e)| e.domains.values()).map(Domain::waiting).sum()
    }

    /// What is known of each exporter, in the order of their addresses.
    #[must_use]
    pub fn exporters(&self) -> Vec<ExporterState> {
        let mut all: Vec<_> = self.exporters.iter().map(|(ip, e)| e.state(*ip)).collect();
        all.sort_unstable_by_key(|exporter| exporter.address);
        all
    }

    /// What is known of one exporter.
    #[must_use]
    pub fn exporter(&self, address: IpAddr) -> Option<ExporterState> {
        let address = address.to_canonical();
        self.exporters.get(address).map(|exporter| exporter.state(address))
    }

    /// A time of the collector's clock as that exporter's clock has it.
    pub(crate) fn exporters_time(&self, exporter: IpAddr, at: Timestamp) -> Timestamp {
        let behind = self.exporters.get(exporter).and_then(|e| e.lag_nanos).unwrap_or(0);
        Timestamp::from_nanos(at.as_nanos().saturating_sub(behind))
    }

    /// When the domain that this record came from last missed records, and templates.
    pub(crate) fn losses(
        &self,
        exporter: IpAddr,
        key: (u16, u32),
    ) -> (Option<Timestamp>, Option<Timestamp>) {
        let domain = self.exporters.get(exporter).and_then(|e| e.domains.get(&key));
        domain.map_or((None, None), |domain| (domain.last_gap, domain.last_missing))
    }
}

fn record(
    exporter: Endpoint,
    header: &Header,
    values: &Values,
    clock: &Clock,
    told: &Told,
) -> FlowRecord {
    let (first, last) = values.span(clock);
    let sampling = match header.sampling {
        Some(word) => Sampling::OneIn(fixed::rate(word)),
        None => told.sampling(values),
    };
    let (translated_source, translated_destination) = if values.has_any(TRANSLATED) {
        let source = values.address(Slot::NatSource4, Slot::NatSource6);
        let destination = values.address(Slot::NatDestination4, Slot::NatDestination6);
        (
            (source, values.small(Slot::NatSourcePort)),
            (destination, values.small(Slot::NatDestinationPort)),
        )
    } else {
        ((None, None), (None, None))
    };
    FlowRecord {
        version: header.version,
        exporter,
        domain: header.domain,
        source: values.address(Slot::Source4, Slot::Source6),
        destination: values.address(Slot::Destination4, Slot::Destination6),
        source_port: values.small(Slot::SourcePort),
        destination_port: values.small(Slot::DestinationPort),
        protocol: values.small(Slot::Protocol),
        forward: values.forward(),
        reverse: values.reverse(),
        first,
        last,
        source_opened: match values.number(Slot::BiflowDirection) {
            Some(1) => Some(true),
            Some(2) => Some(false),
            _ => None,
        },
        translated_source,
        translated_destination,
        sampling,
    }
}
