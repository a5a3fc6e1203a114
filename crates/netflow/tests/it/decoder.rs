//! Formats, one by one, each with its quirks.

use std::net::IpAddr;

use tw_model::Sampling;
use tw_netflow::{Decoder, Limits, looks_like_export};

use crate::message::*;

#[test]
fn v5_and_v7_are_read_with_times_by_the_uptime() {
    for (version, sampling) in [(5, Sampling::OneIn(1)), (7, Sampling::Untold)] {
        let bytes = fixed(version, 1, 0, &[WAY, WAY.back()]);
        assert!(looks_like_export(&bytes, 0), "version {version}");
        let (records, _) = decode(&[bytes]);
        let [there, back] = records.as_slice() else { panic!("{records:?}") };
        assert_eq!(there.source, Some(IpAddr::from(ip(1))));
        assert_eq!((there.source_port, there.destination_port), (Some(40_000), Some(80)));
        assert_eq!((there.forward.packets, there.forward.bytes), (Some(10), Some(1_000)));
        assert_eq!((there.first, there.last), (Some(at(NOW - 100)), Some(at(NOW - 95))));
        assert_eq!((there.protocol, there.forward.tcp_flags), (Some(6), Some(0x1b)));
        assert_eq!((back.source_port, back.sampling), (Some(80), sampling));
    }
}

#[test]
fn v5_tells_its_sampling_with_or_without_a_mode() {
    let (records, _) = decode(&[fixed(5, 1, 0x4000 | 10, &[WAY]), fixed(5, 2, 100, &[WAY])]);
    assert_eq!(records[0].sampling, Sampling::OneIn(10));
    assert_eq!(records[1].sampling, Sampling::OneIn(100));
}

#[test]
fn a_v5_datagram_that_is_cut_off_gives_its_whole_records() {
    let mut bytes = fixed(5, 1, 0, &[WAY, WAY.back()]);
    bytes.truncate(24 + 48 + 47);
    assert!(!looks_like_export(&bytes, 0), "lengths must add up");
    assert!(looks_like_export(&bytes, 1), "unless the capture cut it");
    let (records, decoder) = decode(&[bytes]);
    assert_eq!((records.len(), decoder.counters().malformed), (1, 1));
}

#[test]
fn v9_is_read_beyond_a_count_that_leaves_templates_out() {
    let bytes = v9_flows(1, &[WAY, WAY.back(), WAY]);
    assert!(looks_like_export(&bytes, 0));
    assert_eq!(decode(&[bytes]).0.len(), 3);
}

#[test]
fn data_before_its_template_is_held_and_read_once() {
    let early = v9(1, 1, 0, &[set(256, &flow(&WAY))]);
    let mut all = vec![early.clone(), early, v9_flows(3, &[WAY.back()]), v9_flows(4, &[])];
    let (records, decoder) = decode(&all);
    assert_eq!(records.len(), 3);
    assert_eq!(decoder.counters().sets_held, 2);
    assert_eq!((decoder.waiting(), decoder.usage().held_bytes), (0, 0));
    all.truncate(2);
    assert_eq!(decode(&all).1.waiting(), 2, "without the template they wait");
}

#[test]
fn held_sets_are_dropped_when_they_are_old_and_beyond_the_limit() {
    let limits = Limits { held_bytes_per_domain: 1_000, ..Limits::default() };
    let mut decoder = Decoder::new(limits);
    let early = v9(1, 1, 0, &[set(256, &flow(&WAY))]);
    for number in 1..100 {
        decoder.push(&datagram(&early, number), &mut |_, _| panic!("no template"));
    }
    assert!(decoder.usage().held_bytes <= 1_000);
    let late = v9(1, 2, 0, &[set(0, &template(999, &FLOW))]);
    decoder.push(&datagram(&late, 10_000), &mut |_, _| {});
    assert_eq!((decoder.usage().held_bytes, decoder.waiting()), (0, 0));
    assert_eq!(decoder.counters().sets_lost, 99);
}

#[test]
fn a_template_that_changes_is_noticed_and_used() {
    let short = [(8, 4, 0), (12, 4, 0)];
    let data = [ip(7).octets(), ip(8).octets()].concat();
    let (records, decoder) = decode(&[
        v9_flows(1, &[WAY]),
        v9(2, 2, 0, &[set(0, &template(256, &short)), set(256, &data)]),
    ]);
    assert_eq!(records[1].destination, Some(IpAddr::from(ip(8))));
    assert_eq!(records[1].source_port, None, "what the record lacks is not said");
    assert_eq!(decoder.counters().templates_changed, 1);
}

#[test]
fn templates_are_apart_by_domain_and_exporter() {
    let mut decoder = Decoder::new(Limits::default());
    let mut count = 0;
    let template_only = v9(1, 1, 7, &[set(0, &template(256, &FLOW))]);
    let data = |domain| v9(1, 2, domain, &[set(256, &flow(&WAY))]);
    decoder.push(&datagram(&template_only, 1), &mut |_, _| {});
    decoder.push(&datagram(&data(8), 2), &mut |_, _| count += 1);
    decoder.push(&datagram_from(&data(7), 3, exporter(2)), &mut |_, _| count += 1);
    assert_eq!(count, 0);
    decoder.push(&datagram(&data(7), 4), &mut |_, _| count += 1);
    assert_eq!(count, 1);
}

#[test]
fn ipfix_withdrawal_takes_one_template_or_all() {
    let announce = ipfix(0, 0, &[set(2, &[template(256, &FLOW), template(257, &FLOW)].concat())]);
    let data = ipfix(0, 0, &[set(256, &flow(&WAY)), set(257, &flow(&WAY))]);
    let one = ipfix(0, 0, &[set(2, &template(256, &[]))]);
    let all = ipfix(0, 0, &[set(2, &template(2, &[]))]);
    assert_eq!(decode(&[announce.clone(), data.clone()]).0.len(), 2);
    let (records, decoder) = decode(&[announce.clone(), one, data.clone()]);
    assert_eq!((records.len(), decoder.counters().templates_withdrawn), (1, 1));
    let (records, decoder) = decode(&[announce, all, data]);
    assert_eq!((records.len(), decoder.counters().templates_withdrawn), (0, 2));
    assert_eq!(decoder.usage().fields, 0);
}

#[test]
fn ipfix_variable_length_and_enterprise_fields_are_stepped_over() {
    let fields =
        [(82, 65_535, 0), (1, 3, 0), (1, 8, 9), (2, 2, 0), (8, 4, 0), (82, 65_535, 0), (7, 0, 0)];
    let mut data = vec![3, b'e', b't', b'h', 0, 1, 2];
    data.extend([0xff; 8]);
    data.extend([0, 9]);
    data.extend(ip(3).octets());
    data.extend([255, 1, 0]);
    data.extend([b'x'; 256]);
    let second: Vec<u8> = [&[0, 0, 0, 5][..], &[0; 8], &[0, 1], &ip(4).octets(), &[0]].concat();
    data.extend(second);
    let bytes = ipfix(0, 0, &[set(2, &template(300, &fields)), set(300, &data)]);
    assert!(looks_like_export(&bytes, 0));
    let (records, _) = decode(&[bytes]);
    let [a, b] = records.as_slice() else { panic!("{records:?}") };
    assert_eq!((a.forward.bytes, a.forward.packets), (Some(258), Some(9)), "reduced size");
    assert_eq!(a.source, Some(IpAddr::from(ip(3))));
    assert_eq!((b.forward.bytes, b.source), (Some(5), Some(IpAddr::from(ip(4)))));
    assert_eq!(b.source_port, None, "a field of no octets says nothing");
}

#[test]
fn reverse_elements_do_not_overwrite_the_forward_ones() {
    let fields = [(8, 4, 0), (12, 4, 0), (1, 4, 0), (1, 4, 29_305), (6, 1, 0), (6, 1, 29_305)];
    let mut data = [ip(1).octets(), ip(2).octets()].concat();
    data.extend(579_465u32.to_be_bytes());
    data.extend(1_274_122u32.to_be_bytes());
    data.extend([0x1b, 0x13]);
    let (records, _) = decode(&[ipfix(0, 0, &[set(2, &template(256, &fields)), set(256, &data)])]);
    assert_eq!(records[0].forward.bytes, Some(579_465));
    let reverse = records[0].reverse.unwrap();
    assert_eq!((reverse.bytes, reverse.tcp_flags), (Some(1_274_122), Some(0x13)));
}

#[test]
fn options_tell_when_an_ipfix_exporter_started_and_how_it_samples() {
    // One scope field (the exporting process), then the start, packet interval and space.
    let options = [&260u16.to_be_bytes()[..], &4u16.to_be_bytes(), &1u16.to_be_bytes()].concat();
    let fields = [(144, 4, 0), (160, 8, 0), (305, 4, 0), (306, 4, 0)];
    let options = [options, fields.iter().flat_map(specifier).collect()].concat();
    let mut told = 1u32.to_be_bytes().to_vec();
    told.extend((u64::from(BOOT) * 1_000).to_be_bytes());
    told.extend(1u32.to_be_bytes());
    told.extend(9u32.to_be_bytes());
    let sets =
        [set(2, &template(256, &FLOW)), set(3, &options), set(260, &told), set(256, &flow(&WAY))];
    let (records, decoder) = decode(&[ipfix(0, 0, &sets)]);
    assert_eq!(records[0].first, Some(at(BOOT + 900)));
    assert_eq!(records[0].sampling, Sampling::OneIn(10));
    assert_eq!(decoder.counters().options, 1);
}

#[test]
fn v9_options_tell_rates_by_sampler_and_a_sampler_without_one_is_unknown() {
    let options = [257u16, 4, 8, 1, 4, 48, 1, 50, 4].map(u16::to_be_bytes).concat();
    let mut fields = FLOW.to_vec();
    fields.push((48, 1, 0));
    let record = |sampler| [flow(&WAY), vec![sampler]].concat();
    let data = [record(1), record(2), record(0)].concat();
    let sets = [
        set(0, &template(256, &fields)),
        set(1, &options),
        set(257, &[0, 0, 0, 1, 1, 0, 0, 0, 10]),
        set(256, &data),
    ];
    let (records, _) = decode(&[v9(5, 1, 0, &sets)]);
    let rates: Vec<_> = records.iter().map(|record| record.sampling).collect();
    assert_eq!(rates, [Sampling::OneIn(10), Sampling::UnknownRate, Sampling::Untold]);
}

#[test]
fn gaps_restarts_and_late_datagrams_are_told_apart() {
    let (_, decoder) = decode(&[v9_flows(1, &[WAY]), v9_flows(5, &[WAY]), v9_flows(4, &[WAY])]);
    let counters = decoder.counters();
    assert_eq!((counters.gaps, counters.missing), (1, 3));
    assert_eq!((counters.reordered, counters.restarts), (1, 0));
    let mut restarted = v9_flows(0, &[WAY]);
    restarted[4..8].copy_from_slice(&5_000u32.to_be_bytes());
    let counters = decode(&[v9_flows(900, &[WAY]), restarted]).1.counters();
    assert_eq!((counters.gaps, counters.restarts), (0, 1));
}

#[test]
fn the_exporters_clock_is_measured() {
    let (_, decoder) = decode(&[v9_flows(1, &[WAY])]);
    let skews = decoder.exporters();
    assert_eq!(skews.len(), 1);
    assert_eq!(
        skews[0].behind_nanos,
        Some(1_000_000_000),
        "arrived a second after its export time"
    );
}

#[test]
fn other_datagrams_are_not_taken_for_exports() {
    let dns = [&[0, 10, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0][..], b"\x07example\x03com\0\0\x01\0\x01"];
    assert!(!looks_like_export(&dns.concat(), 0));
    assert!(!looks_like_export(&[], 0));
    assert!(!looks_like_export(&[0, 9, 0, 1], 0));
    let mut bytes = v9_flows(1, &[WAY]);
    bytes[22] ^= 1;
    assert!(!looks_like_export(&bytes, 0), "set lengths that do not add up");
    bytes = ipfix(0, 0, &[set(9, &[0; 8])]);
    assert!(!looks_like_export(&bytes, 0), "a set id that is reserved");
}
