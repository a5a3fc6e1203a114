//! Export datagrams.

use std::collections::BTreeSet;

use tw_model::RecordNumber;
use tw_netflow::{Collector, Datagram, Limits, Told, looks_like_export};

use crate::input::{Input, endpoint, evidence};

/// Datagrams: last octet of the exporter, seconds since the one before, bytes. Limits are kept, and
/// each conversation ends once, after everything else that is told of it.
pub fn exports(input: &[u8]) {
    let limits = Limits {
        exporters: 4,
        domains_per_exporter: 4,
        templates_per_domain: 16,
        fields: 512,
        held_bytes_per_domain: 1 << 12,
        held_bytes: 1 << 14,
        conversations: 64,
        ..Limits::default()
    };
    let mut collector = Collector::new(limits);
    let mut ended = BTreeSet::new();
    let mut check = |told: Told<'_>| match told {
        Told::Record(_, place) => assert!(matches!(place.record, RecordNumber::Record(1..))),
        Told::Connection(connection, evidence) => {
            assert!(!evidence.is_empty() && connection.first <= connection.last);
            assert!(!ended.contains(&connection.id), "after its end: {connection:?}");
            if connection.ended {
                ended.insert(connection.id);
            }
        }
    };
    let mut input = Input::new(input);
    let (mut number, mut millis) = (0, 0);
    while !input.is_empty() {
        let exporter = endpoint(input.u8(), 50_000);
        millis += u64::from(input.u8()) * 1_000;
        let bytes = input.block();
        number += 1;
        let _ = looks_like_export(bytes, 0);
        let datagram = Datagram { exporter, bytes, evidence: evidence(number, millis) };
        collector.push(&datagram, &mut check);
        let usage = collector.usage();
        assert!(usage.exporters <= limits.exporters && usage.fields <= limits.fields, "{usage:?}");
        assert!(usage.held_bytes <= limits.held_bytes + bytes.len() + 256, "{usage:?}");
        assert!(usage.conversations <= limits.conversations, "{usage:?}");
    }
    collector.finish(&mut check);
    assert_eq!(collector.usage().conversations, 0);
}
