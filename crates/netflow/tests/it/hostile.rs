//! Malformed twins, and mutated datagrams by the hundred thousand.

use tw_netflow::{Collector, Limits, looks_like_export};

use crate::message::*;

#[test]
fn what_hangs_other_decoders_ends_here() {
    let flows = set(2, &template(256, &FLOW));
    let cases = [
        ipfix(0, 0, &[vec![0]]),
        ipfix(0, 0, &[set(2, &[template(256, &FLOW), vec![0, 0]].concat())]),
        ipfix(0, 0, &[set(2, &template(256, &[])), set(256, &[0; 40])]),
        ipfix(0, 0, &[flows.clone(), set(256, &[flow(&WAY), vec![0; 3]].concat())]),
        ipfix(0, 0, &[flows.clone(), vec![1, 0, 0, 0]]),
        ipfix(0, 0, &[set(2, &template(256, &[(8, 0, 0), (12, 0, 0)])), set(256, &[0; 9])]),
        ipfix(0, 0, &[set(2, &template(256, &[(8, 65_535, 0)])), set(256, &[255, 255, 255, 1])]),
        vec![0, 10, 0, 3],
        vec![0, 9],
    ];
    for (index, bytes) in cases.iter().enumerate() {
        let (records, _) = decode(std::slice::from_ref(bytes));
        assert_eq!(records.len(), usize::from(index == 3), "case {index}");
    }
}

#[test]
fn a_template_beyond_the_limit_is_refused_and_the_next_is_read() {
    let many = vec![(8u16, 4u16, 0u32); 600];
    let sets = [set(0, &[template(256, &many), template(257, &FLOW)].concat())];
    let (records, decoder) = decode(&[v9(2, 1, 0, &sets), v9(1, 2, 0, &[set(257, &flow(&WAY))])]);
    assert_eq!((records.len(), decoder.counters().templates_lost), (1, 1));
}

#[test]
fn forged_exporters_stay_within_the_limits() {
    let limits =
        Limits { exporters: 50, domains_per_exporter: 4, fields: 500, ..Limits::default() };
    let mut collector = Collector::new(limits);
    for number in 0..5_000u32 {
        let [.., high, low] = number.to_be_bytes();
        let mut from = exporter(low);
        from.ip = std::net::IpAddr::from([198, 51, high, low]);
        let domain = number % 7;
        let bytes = v9(1, 1, domain, &[set(0, &template(256, &FLOW)), set(300, &[0; 64])]);
        collector.push(&datagram_from(&bytes, number.into(), from), &mut |_| {});
    }
    let usage = collector.usage();
    assert!(usage.exporters <= 50, "{usage:?}");
    assert!(usage.fields <= 500, "{usage:?}");
    assert!(collector.counters().exporters_lost > 0);
}

#[test]
fn openings_without_end_between_the_same_ports_stay_few() {
    let mut collector = collector();
    for number in 0..10_000u32 {
        let way = Way { first: number * 90, last: number * 90, ..WAY };
        collector.push(&datagram(&fixed(5, number, 0, &[way]), 1), &mut |_| {});
    }
    assert!(collector.usage().conversations <= 16);
}

/// Xorshift: the same numbers in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(end.max(1)).unwrap()).unwrap()
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let variable = [(82, 65_535, 0), (8, 4, 0), (12, 4, 0), (1, 8, 29_305), (160, 8, 0)];
    let options = [257u16, 4, 8, 1, 4, 48, 1, 50, 4].map(u16::to_be_bytes).concat();
    vec![
        fixed(5, 1, 0, &[WAY, WAY.back()]),
        fixed(7, 1, 0, &[WAY]),
        v9_flows(1, &[WAY, WAY.back()]),
        v9(3, 2, 1, &[set(1, &options), set(257, &[0, 0, 0, 1, 1, 0, 0, 0, 10])]),
        v9(1, 2, 0, &[set(258, &flow(&WAY))]),
        ipfix(1, 0, &[set(2, &template(256, &FLOW)), set(256, &flow(&WAY))]),
        ipfix(1, 0, &[set(2, &template(300, &variable)), set(300, &[7; 64])]),
        ipfix(1, 0, &[set(2, &template(256, &[])), set(3, &template(3, &[]))]),
    ]
}

const DATAGRAMS: u64 = 1_000_000;

/// Resident memory of this process (`proc(5)`), which also runs the other tests, all of them small.
fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).unwrap_or(0)
}

#[test]
fn mutated_datagrams_neither_panic_nor_grow() {
    let limits = Limits {
        exporters: 16,
        fields: 20_000,
        held_bytes: 1 << 20,
        conversations: 1_000,
        ..Limits::default()
    };
    let mut collector = Collector::new(limits);
    let mut random = Random(0x5eed_cafe);
    let seeds = seeds();
    let (mut told, mut taken, mut early) = (0u64, 0u64, 0);
    for number in 0..DATAGRAMS {
        if number == DATAGRAMS / 4 {
            early = resident_kib();
        }
        let mut bytes = seeds[random.below(seeds.len())].clone();
        for _ in 0..random.below(6) {
            let place = random.below(bytes.len());
            match random.below(4) {
                0 => bytes[place] = u8::try_from(random.below(256)).unwrap(),
                1 => bytes[place] ^= 1 << random.below(8),
                2 => bytes.truncate(place.max(2)),
                _ => bytes.extend([0, 0, 0, 1]),
            }
        }
        taken += u64::from(looks_like_export(&bytes, 0));
        let from = exporter(u8::try_from(random.below(40)).unwrap());
        collector.push(&datagram_from(&bytes, number / 100, from), &mut |_| told += 1);
    }
    let usage = collector.usage();
    assert!(usage.exporters <= 16 && usage.fields <= 20_000, "{usage:?}");
    assert!(usage.held_bytes <= 1 << 20 && usage.conversations <= 1_000, "{usage:?}");
    let late = resident_kib();
    assert!(late <= early + 16 * 1_024, "resident: {early} KiB after a quarter, {late} at the end");
    collector.finish(&mut |_| told += 1);
    assert!(taken > 250_000, "{taken}");
    assert!(told > 500_000 && collector.usage().conversations == 0, "{told}");
}
