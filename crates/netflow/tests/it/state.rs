//! What is saved and taken back: a restart in mid-stream is as if there had been none.

use std::collections::BTreeMap;

use tw_model::{Connection, FlowId, Sampling};
use tw_netflow::{Collector, Limits, NotAState, Told};

use crate::message::*;

/// Templates once, then data only; a conversation cut into pieces, one that waits for its answer, a
/// set that waits for its template, and a sampler.
fn stream() -> Vec<Vec<u8>> {
    let piece = |first: u32, flags| Way { first, last: first + 1_000, flags, ..WAY };
    let options = [257u16, 4, 8, 1, 4, 48, 1, 50, 4].map(u16::to_be_bytes).concat();
    let data = |ways: &[Way]| set(256, &ways.iter().flat_map(flow).collect::<Vec<u8>>());
    vec![
        v9(1, 1, 0, &[set(0, &template(256, &FLOW)), data(&[piece(0, 2)])]),
        v9(1, 2, 0, &[set(1, &options), set(257, &[0, 0, 0, 1, 1, 0, 0, 0, 10])]),
        v9(1, 3, 0, &[data(&[piece(0, 0x12).back()])]),
        v9(1, 4, 0, &[set(300, &flow(&Way { from: (9, 50_000), ..WAY }))]),
        v9(1, 5, 0, &[data(&[piece(2_000, 0x18), Way { from: (7, 41_000), ..WAY }])]),
        v9(1, 6, 0, &[data(&[piece(2_000, 0x18).back(), piece(4_000, 0x11)])]),
        v9(1, 8, 0, &[set(0, &template(300, &FLOW)), data(&[piece(4_000, 0x11).back()])]),
        fixed(5, 1, 0, &[Way { from: (3, 40_001), ..WAY }]),
        fixed(5, 2, 0, &[Way { from: (3, 40_001), ..WAY }.back()]),
    ]
}

/// The last word on each connection, and the records in all.
type Outcome = (BTreeMap<FlowId, Connection>, u64);

fn run(restart_before: Option<usize>) -> Outcome {
    let mut collector = collector();
    let mut last = BTreeMap::new();
    let mut records = 0;
    let mut keep = |told: Told<'_>| match told {
        Told::Connection(connection, _) => drop(last.insert(connection.id, *connection)),
        Told::Record(_, place) => {
            let tw_model::RecordNumber::Record(number) = place.record else { panic!("{place:?}") };
            records = records.max(number);
        }
    };
    for (index, bytes) in stream().iter().enumerate() {
        if restart_before == Some(index) {
            let saved = collector.save();
            collector = Collector::new(Limits::default());
            collector.restore(&saved, &mut keep).unwrap();
            assert_eq!(collector.save(), saved, "before {index}");
        }
        let number = u64::try_from(index).unwrap() + 1;
        collector.push(&datagram(bytes, number), &mut keep);
    }
    collector.finish(&mut keep);
    (last, records)
}

#[test]
fn a_restart_anywhere_in_the_stream_changes_nothing() {
    let whole = run(None);
    assert_eq!(whole.0.len(), 4);
    for index in 0..stream().len() {
        assert_eq!(run(Some(index)), whole, "restarted before datagram {index}");
    }
}

#[test]
fn sequence_numbers_go_on_over_a_restart() {
    let mut before = collector();
    before.push(&datagram(&v9_flows(7, &[WAY]), 1), &mut |_| {});
    let mut after = collector();
    after.restore(&before.save(), &mut |_| {}).unwrap();
    after.push(&datagram(&v9_flows(10, &[WAY]), 2), &mut |_| {});
    assert_eq!((after.counters().gaps, after.counters().missing), (1, 2));
}

#[test]
fn a_state_that_is_cut_off_or_another_is_refused_whole() {
    let mut full = collector();
    for (number, bytes) in (1..).zip(stream()) {
        full.push(&datagram(&bytes, number), &mut |_| {});
    }
    let saved = full.save();
    for end in 0..saved.len() {
        let mut collector = collector();
        assert_eq!(collector.restore(&saved[..end], &mut |_| {}), Err(NotAState), "{end}");
        assert_eq!((collector.usage().exporters, collector.usage().conversations), (0, 0));
    }
    let mut other = saved.clone();
    other[7] ^= 2;
    assert_eq!(collector().restore(&other, &mut |_| {}), Err(NotAState));
    // Any octet may be wrong: refused or read, but never a panic or more than the limits.
    for index in 8..saved.len() {
        let mut bent = saved.clone();
        bent[index] ^= 0xff;
        let mut collector = collector();
        let _ = collector.restore(&bent, &mut |_| {});
        collector.finish(&mut |_| {});
    }
}

#[test]
fn what_was_saved_is_taken_back_within_the_limits() {
    let mut full = collector();
    for last in 1..60 {
        let bytes = v9(1, 1, 0, &[set(0, &template(256, &FLOW)), set(300, &[0; 64])]);
        full.push(&datagram_from(&bytes, 1, exporter(last)), &mut |_| {});
        let way = Way { from: (last, 40_000), ..WAY };
        full.push(&datagram(&fixed(5, u32::from(last), 0, &[way]), 1), &mut |_| {});
    }
    let limits =
        Limits { exporters: 5, fields: 25, held_bytes: 500, conversations: 7, ..Limits::default() };
    let mut small = Collector::new(limits);
    small.restore(&full.save(), &mut |_| {}).unwrap();
    let usage = small.usage();
    assert_eq!((usage.exporters, usage.conversations), (5, 7));
    assert!(usage.fields <= 25 && usage.held_bytes <= 500, "{usage:?}");
}

#[test]
fn sampling_that_options_told_is_known_after_a_restart() {
    let mut before = collector();
    let options = [257u16, 4, 4, 1, 4, 34, 4].map(u16::to_be_bytes).concat();
    let told = set(257, &[0, 0, 0, 1, 0, 0, 0, 100]);
    before.push(&datagram(&v9(2, 1, 0, &[set(1, &options), told]), 1), &mut |_| {});
    let mut after = collector();
    after.restore(&before.save(), &mut |_| {}).unwrap();
    let mut sampling = None;
    after.push(&datagram(&v9_flows(2, &[WAY]), 2), &mut |told| {
        if let Told::Record(record, _) = told {
            sampling = Some(record.sampling);
        }
    });
    assert_eq!(sampling, Some(Sampling::OneIn(100)));
}
