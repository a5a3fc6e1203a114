//! From records to connections: pairs, pieces, repeats, several exporters, and who opened them.

use std::net::IpAddr;
use std::time::Duration;

use tw_model::{Caveat, Connection, ConnectionState, FlowId, Opener, RecordNumber};
use tw_netflow::{Collector, Limits, Told};

use crate::message::*;

/// The last word on each connection.
fn connections(collector: &mut Collector, datagrams: &[Vec<u8>]) -> Vec<Connection> {
    let numbered = (1..).zip(datagrams).map(|(n, bytes)| (n, bytes.clone(), 1)).collect::<Vec<_>>();
    connections_from(collector, &numbered)
}

fn connections_from(
    collector: &mut Collector,
    datagrams: &[(u64, Vec<u8>, u8)],
) -> Vec<Connection> {
    let mut last = std::collections::BTreeMap::<FlowId, Connection>::new();
    let mut keep = |told: Told<'_>| {
        if let Told::Connection(connection, _) = told {
            last.insert(connection.id, *connection);
        }
    };
    for (number, bytes, from) in datagrams {
        collector.push(&datagram_from(bytes, *number, exporter(*from)), &mut keep);
    }
    collector.finish(&mut keep);
    last.into_values().collect()
}

fn one(datagrams: &[Vec<u8>]) -> Connection {
    let mut all = connections(&mut collector(), datagrams);
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0)
}

#[test]
fn one_way_records_are_paired_whichever_comes_first() {
    for ways in [[WAY, WAY.back()], [WAY.back(), WAY]] {
        let c = one(&[fixed(5, 1, 0, &ways[..1]), fixed(5, 2, 0, &ways[1..])]);
        assert_eq!((c.opener.ip, c.responder.port), (IpAddr::from(ip(1)), 80));
        assert_eq!((c.packets, c.bytes), ([10, 10], [1_000, 1_000]));
        assert_eq!(c.payload_bytes, [472, 472], "what is more than headers");
        assert_eq!((c.state, c.midstream, c.ended), (ConnectionState::Closed, false, true));
        assert_eq!(c.opener_known, Opener::ByPorts, "both ways began at once");
    }
}

#[test]
fn pieces_cut_by_the_active_timeout_are_one_connection_in_any_order() {
    let cut = |first, last, flags| Way { first, last, flags, ..WAY };
    let pieces = [cut(0, 30_000, 0x1a), cut(30_500, 60_000, 0x18), cut(140_000, 150_000, 0x19)];
    let orders = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
    let mut outcomes = Vec::new();
    for order in orders {
        let datagrams: Vec<_> = order
            .iter()
            .flat_map(|i| [fixed(5, 1, 0, &[pieces[*i]]), fixed(5, 1, 0, &[pieces[*i].back()])])
            .collect();
        let c = one(&datagrams);
        outcomes.push((c.first, c.last, c.packets, c.bytes, c.state, c.opener, c.payload_bytes));
    }
    assert_eq!(outcomes[0].2, [30, 30]);
    assert_eq!(outcomes[0].1.since(outcomes[0].0), Duration::from_secs(150));
    assert!(outcomes.iter().all(|outcome| *outcome == outcomes[0]), "{outcomes:?}");
}

#[test]
fn a_syn_after_silence_is_another_connection() {
    let again = Way { first: 950_000, last: 951_000, ..WAY };
    let ways = [WAY, WAY.back(), again, again.back()];
    for datagrams in
        [[fixed(5, 1, 0, &ways)], [fixed(5, 1, 0, &[again.back(), again, WAY, WAY.back()])]]
    {
        assert_eq!(connections(&mut collector(), &datagrams).len(), 2);
    }
}

#[test]
fn repeats_and_other_exporters_change_nothing() {
    let both = v9_flows(1, &[WAY, WAY.back()]);
    let alone = connections(&mut collector(), std::slice::from_ref(&both));
    let mut repeated = collector();
    let more = vec![(1, both.clone(), 1), (2, both.clone(), 1), (3, both, 2)];
    let all = connections_from(&mut repeated, &more);
    assert_eq!(all.len(), 1);
    assert_eq!((all[0].packets, all[0].bytes), (alone[0].packets, alone[0].bytes));
    assert_eq!(repeated.counters().repeated, 2);
}

#[test]
fn who_began_first_opened_it_where_the_beginning_was_seen() {
    let answer = Way { first: WAY.first + 2, ..WAY.back() };
    let c = one(&[v9_flows(1, &[answer, WAY])]);
    assert_eq!((c.opener.port, c.opener_known), (40_000, Opener::Seen));
    let from_port_80 = Way { first: WAY.first + 2, ..WAY };
    let c = one(&[v9_flows(1, &[from_port_80, WAY.back()])]);
    assert_eq!((c.opener.port, c.opener_known), (80, Opener::Seen), "times before ports");
    let joined = |way: Way| Way { flags: 0x18, ..way };
    let c = one(&[v9_flows(1, &[joined(from_port_80), joined(WAY.back())])]);
    assert_eq!((c.opener.port, c.opener_known), (40_000, Opener::ByPorts));
    assert!(c.midstream);
}

#[test]
fn a_scan_is_an_attempt_and_a_reset_a_refusal() {
    let syn = Way { packets: 1, bytes: 60, flags: 0x02, last: WAY.first, ..WAY };
    let c = one(&[v9_flows(1, &[syn])]);
    assert_eq!(
        (c.state, c.opener.port, c.opener_known),
        (ConnectionState::Attempted, 40_000, Opener::Seen)
    );
    assert!(!c.both_ways());
    let reset = Way { bytes: 40, flags: 0x14, ..syn.back() };
    assert_eq!(one(&[v9_flows(1, &[syn, reset])]).state, ConnectionState::Refused);
}

#[test]
fn sampled_counts_are_scaled_and_said_to_be_sampled() {
    let c = one(&[fixed(5, 1, 0x4000 | 10, &[WAY, WAY.back()])]);
    assert_eq!((c.packets, c.bytes), ([100, 100], [10_000, 10_000]));
    let exported = c.exported.unwrap();
    assert_eq!((exported.one_in, exported.caveats), (10, vec![Caveat::Sampled]));
    let untold = one(&[v9_flows(1, &[WAY, WAY.back()])]).exported.unwrap();
    assert_eq!(untold.caveats, [Caveat::SamplingUnknown]);
}

#[test]
fn gaps_and_missing_templates_stand_with_what_they_may_have_touched() {
    let recent = Way { first: 999_000, last: 999_500, ..WAY };
    let c = one(&[v9_flows(1, &[recent]), v9_flows(9, &[recent.back()])]);
    assert!(c.exported.unwrap().caveats.contains(&Caveat::ExporterGaps));
    let unread = v9(1, 2, 0, &[set(300, &[0; 40])]);
    let c = one(&[v9_flows(1, &[recent, recent.back()]), unread]);
    assert!(c.exported.unwrap().caveats.contains(&Caveat::TemplatesMissing));
}

#[test]
fn translated_addresses_are_those_of_the_inside() {
    let mut fields = FLOW.to_vec();
    fields.extend([(225, 4, 0), (227, 2, 0)]);
    let mut there = flow(&WAY);
    there[..4].copy_from_slice(&[172, 17, 0, 2]);
    there.extend(ip(9).octets());
    there.extend(55_000u16.to_be_bytes());
    let back = flow(&Way { from: (2, 80), to: (9, 55_000), ..WAY });
    let sets = [
        set(0, &[template(256, &fields), template(257, &FLOW)].concat()),
        set(256, &there),
        set(257, &back),
    ];
    let c = one(&[v9(4, 1, 0, &sets)]);
    assert_eq!(c.opener, tw_model::Endpoint::new(ip(9).into(), 55_000));
}

#[test]
fn a_lonely_record_is_told_after_its_wait_and_a_conversation_ends_after_its_own() {
    let limits = Limits {
        pair_wait: Duration::from_secs(5),
        linger: Duration::from_secs(60),
        ..Limits::default()
    };
    let mut collector = Collector::new(limits);
    let mut told = Vec::new();
    let keep = |told: &mut Vec<bool>, it: Told<'_>| {
        if let Told::Connection(connection, evidence) = it {
            assert!(matches!(evidence[0].record, RecordNumber::Record(1)));
            told.push(connection.ended);
        }
    };
    collector.push(&datagram(&v9_flows(1, &[WAY]), 1), &mut |it| keep(&mut told, it));
    collector.advance(at(NOW + 3), &mut |it| keep(&mut told, it));
    assert_eq!(told, [] as [bool; 0]);
    collector.advance(at(NOW + 7), &mut |it| keep(&mut told, it));
    assert_eq!(told, [false]);
    collector.advance(at(NOW + 62), &mut |it| keep(&mut told, it));
    assert_eq!(told, [false, true]);
    assert_eq!(collector.usage().conversations, 0);
}

#[test]
fn a_biflow_is_one_connection() {
    let mut fields = FLOW.to_vec();
    fields.extend([(1, 4, 29_305), (2, 4, 29_305), (6, 1, 29_305), (239, 1, 0)]);
    let mut data = flow(&WAY);
    data.extend(2_000u32.to_be_bytes());
    data.extend(20u32.to_be_bytes());
    data.extend([0x1b, 1]);
    let c = one(&[ipfix(1, 0, &[set(2, &template(256, &fields)), set(256, &data)])]);
    assert_eq!((c.packets, c.bytes), ([10, 20], [1_000, 2_000]));
    assert_eq!((c.opener.port, c.opener_known), (40_000, Opener::Seen));
}

#[test]
fn an_exporter_that_began_anew_is_told_from_a_gap_and_said_of_what_was_under_way() {
    let begun = Way { first: 999_000, last: 1_000_000, ..WAY };
    let before = v9(1, 900, 0, &[set(0, &template(256, &FLOW)), set(256, &flow(&begun))]);
    let back = v9(1, 3, 0, &[set(256, &flow(&begun.back()))]);
    let mut collector = collector();
    let mut last = None;
    let mut keep = |told: Told<'_>| {
        if let Told::Connection(connection, _) = told {
            last = Some(*connection);
        }
    };
    let mut other_port = exporter(1);
    other_port.port += 1;
    collector.push(&datagram(&before, 1), &mut keep);
    collector.push(&datagram_from(&back, 2, other_port), &mut keep);
    let counters = collector.counters();
    assert_eq!((counters.restarts, counters.gaps), (1, 0));
    let caveats =
        last.and_then(|c| c.exported).map(|exported| exported.caveats).unwrap_or_default();
    assert!(caveats.contains(&Caveat::ExporterGaps), "{caveats:?}");
}

#[test]
fn conversations_between_the_same_ports_end_one_by_one() {
    let limits = Limits { linger: Duration::from_secs(100), ..Limits::default() };
    let mut collector = Collector::new(limits);
    let way = |number: u32| Way { first: number * 100_000, last: number * 100_000 + 500, ..WAY };
    let mut ended = Vec::new();
    let mut keep = |told: Told<'_>| {
        if let Told::Connection(connection, _) = told
            && connection.ended
        {
            ended.push((connection.first, connection.packets));
        }
    };
    // The second lives on by a late record while the first and third end.
    for (number, second) in [(1, 1), (2, 2), (3, 3), (2, 90)] {
        let mut ways = [way(number), way(number).back()];
        ways.iter_mut().for_each(|way| way.bytes += u32::try_from(second).unwrap());
        collector.push(&datagram(&fixed(5, 1, 0, &ways), second), &mut keep);
    }
    collector.advance(at(NOW + 110), &mut keep);
    assert_eq!(collector.usage().conversations, 1);
    collector.push(&datagram(&fixed(5, 1, 0, &[way(4), way(4).back()]), 111), &mut keep);
    assert_eq!(collector.usage().conversations, 2);
    collector.finish(&mut keep);
    let packets: Vec<_> = ended.iter().map(|(_, packets)| packets[0]).collect();
    assert_eq!(packets, [10, 10, 20, 10], "{ended:?}");
    assert_eq!(collector.usage().conversations, 0);
}

#[test]
fn what_grows_is_told_soon_on_a_docker_apis_port_and_later_elsewhere() {
    let mut collector = collector();
    let mut told: Vec<(u16, u64)> = Vec::new();
    let api = Way { to: (2, 2375), ..WAY };
    for number in 1..=8u32 {
        for way in [WAY, api] {
            let way =
                Way { first: number * 10_000, last: number * 10_000 + 9_000, flags: 0x18, ..way };
            let secs = u64::from(number) * 10;
            collector.push(&datagram(&fixed(5, 1, 0, &[way, way.back()]), secs), &mut |what| {
                if let Told::Connection(c, _) = what {
                    told.push((c.responder.port, c.packets[0]));
                }
            });
        }
    }
    let of = |port| told.iter().filter(|(p, _)| *p == port).map(|(_, n)| *n).collect::<Vec<_>>();
    assert_eq!(of(80), [10], "once, for both ways are there");
    assert!(of(2375).len() > 4, "{told:?}");
}
