//! Broken frames never panic, and never give more payload than there was.

mod common;

use common::*;
use tw_wire::{Decoded, Decoder, Limits};

#[test]
fn mutated_frames_keep_the_promises() {
    let mut frames = wrappings(&plain_v4());
    frames.extend(wrappings(&plain_v6()));
    for id in 0..4 {
        let flags = if id % 2 == 0 { 0x2000 } else { 5 };
        let fragment = ipv4_with("10.0.0.1", "10.0.0.2", 17, id / 2, flags, &[7; 40]);
        frames.push(("fragment", ETHERNET, ethernet_ip(&fragment)));
    }
    let seed = 0x7469_6465;
    let mut random = Random(seed);
    let mut decoder = Decoder::new(Limits { fragmented_datagrams: 64, ..Limits::default() });
    for number in 1..=200_000 {
        let (_, link, bytes) = &frames[random.below(frames.len())];
        let mut bytes = bytes.clone();
        for _ in 0..=random.below(4) {
            let at = random.below(bytes.len());
            bytes[at] = if random.below(3) == 0 { 0xff } else { random.next() as u8 };
        }
        if random.below(4) == 0 {
            bytes.truncate(random.below(bytes.len() + 1));
        }
        let mut one = frame(*link, &bytes, number);
        one.original_len = match random.below(3) {
            0 => bytes.len() as u32 + random.below(100) as u32,
            1 => random.next() as u32,
            _ => bytes.len() as u32,
        };
        decoder.push(&one, &mut |decoded: Decoded<'_>| {
            if let Decoded::Packet(packet) = decoded {
                let found = Owned::new(&packet);
                assert!(found.payload_len as usize >= found.payload.len(), "seed {seed} {number}");
                assert!(found.payload.len() <= 65_535, "seed {seed} {number}");
            }
        });
    }
    assert_eq!(decoder.counters().frames, 200_000);
    assert!(decoder.counters().packets > 50_000);
}
