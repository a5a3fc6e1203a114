//! The functions that the fuzz targets call, on mutated recordings.

use std::path::Path;
use std::{fs, thread};

use tw_exercise::{Random, Seeds, TARGETS, Target};

const CAPTURES: [&str; 5] = [
    "scenarios/classic-http.pcap",
    "scenarios/buildx-grpc.pcap",
    "wire/classic-http.frag.pcap",
    "tls/quic-retry.pcap",
    "flows/dev-long-build.pm10.pcap",
];
const MUTATIONS: u64 = 12;

/// Bits turned over, a piece taken out, a piece repeated elsewhere.
fn mutated(seed: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for _ in 0..=random.below(12) {
        let at = random.below(bytes.len());
        bytes[at] ^= 1 << random.below(8);
    }
    let from = random.below(bytes.len());
    let piece = from..(from + random.below(200)).min(bytes.len());
    match random.below(4) {
        0 => drop(bytes.drain(piece)),
        1 => {
            let (copy, at) = (bytes[piece].to_vec(), random.below(bytes.len()));
            bytes.splice(at..at, copy);
        }
        2 => bytes.truncate(from),
        _ => {}
    }
    bytes
}

fn exercise(target: Target, seeds: Seeds) {
    let testdata = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata");
    for capture in CAPTURES {
        let capture = fs::read(testdata.join(capture)).expect("testdata is there");
        for (number, seed) in (1..).zip(seeds(&capture)) {
            target(&seed);
            let mut random = Random(number);
            (0..MUTATIONS).for_each(|_| target(&mutated(&seed, &mut random)));
        }
    }
}

#[test]
fn mutated_recordings_break_no_promise() {
    thread::scope(|scope| {
        for (_, target, seeds) in TARGETS {
            scope.spawn(move || exercise(target, seeds));
        }
    });
}
