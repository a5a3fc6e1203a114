//! Fragments of IPv4 and IPv6, in any order, cut, repeated and contradictory.

mod common;

use common::*;
use tw_model::{AnomalyKind, Timestamp};
use tw_wire::{Decoded, Decoder, Limits};

fn message(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 7 + at / 256) as u8).collect()
}

/// Fragments of `payload`, each but the last of `size` bytes.
fn fragments_v4(id: u16, payload: &[u8], size: usize) -> Vec<Vec<u8>> {
    let count = payload.len().div_ceil(size);
    let parts = payload.chunks(size).enumerate();
    parts
        .map(|(index, part)| {
            let more = if index + 1 < count { 0x2000 } else { 0 };
            let flags = more | (index * size / 8) as u16;
            ethernet_ip(&ipv4_with("10.0.0.1", "10.0.0.2", 17, id, flags, part))
        })
        .collect()
}

fn fragments_v6(id: u32, payload: &[u8], size: usize) -> Vec<Vec<u8>> {
    let count = payload.len().div_ceil(size);
    let parts = payload.chunks(size).enumerate();
    parts
        .map(|(index, part)| {
            let field = (index * size) as u16 | u16::from(index + 1 < count);
            let header = concat(&[&[17, 0], &field.to_be_bytes(), &id.to_be_bytes(), part]);
            ethernet_ip(&ipv6("fd00::1", "fd00::2", 44, &header))
        })
        .collect()
}

#[test]
fn fragments_in_random_order_with_repetitions_give_the_datagram_once() {
    let mut random = Random(1);
    for round in 0..300 {
        let payload = message(100 + random.below(3000));
        let datagram = udp(1000, 2000, &payload);
        let size = 8 * (1 + random.below(12));
        let mut frames = if round % 2 == 0 {
            fragments_v4(round, &datagram, size)
        } else {
            fragments_v6(u32::from(round), &datagram, size)
        };
        let again = frames[random.below(frames.len())].clone();
        frames.push(again);
        random.shuffle(&mut frames);
        let outcome = decode_all(ETHERNET, &frames);
        assert_eq!(outcome.packets.len(), 1, "round {round}");
        assert_eq!(outcome.packets[0].payload, payload, "round {round}");
        assert_eq!(outcome.packets[0].payload_len as usize, payload.len());
        assert!(outcome.anomalies.is_empty());
        let header_len = if round % 2 == 0 { 20 } else { 48 };
        assert_eq!(outcome.packets[0].ip_len as usize, header_len + datagram.len());
    }
}

#[test]
fn the_frame_that_completes_is_the_evidence() {
    let frames = fragments_v4(1, &udp(1, 2, &message(100)), 48);
    let outcome = decode_all(ETHERNET, &frames);
    assert_eq!(outcome.packets[0].number, frames.len() as u64);
}

#[test]
fn mirrored_fragments_give_one_datagram() {
    let frames: Vec<_> = fragments_v4(1, &udp(1, 2, &message(100)), 48)
        .into_iter()
        .flat_map(|frame| [frame.clone(), frame])
        .collect();
    let outcome = decode_all(ETHERNET, &frames);
    assert_eq!((outcome.packets.len(), outcome.counters.fragments_repeated), (1, 1));
    assert_eq!(outcome.counters.fragment_timeouts, 0);
}

#[test]
fn the_first_bytes_win_and_the_conflict_is_told_once() {
    let mut frames = fragments_v4(1, &udp(1, 2, &message(200)), 48);
    let mut evil = frames[1].clone();
    let at = evil.len() - 1;
    evil[at] ^= 0xff;
    frames.splice(2..2, [evil.clone(), evil]);
    let outcome = decode_all(ETHERNET, &frames);
    assert_eq!(outcome.anomalies, [AnomalyKind::FragmentOverlapConflict]);
    assert_eq!(outcome.packets[0].payload, message(200));
}

#[test]
fn partial_overlaps_that_agree_are_no_conflict() {
    let datagram = udp(1, 2, &message(88));
    let part = |from: usize, to: usize, more: u16| {
        let flags = more << 13 | (from / 8) as u16;
        ethernet_ip(&ipv4_with("10.0.0.1", "10.0.0.2", 17, 5, flags, &datagram[from..to]))
    };
    let frames =
        [part(16, 40, 1), part(56, 72, 1), part(8, 80, 1), part(64, 96, 0), part(0, 24, 1)];
    let outcome = decode_all(ETHERNET, &frames);
    assert!(outcome.anomalies.is_empty());
    assert_eq!(outcome.packets[0].payload, message(88));
}

/// Model: an array of bytes in which the first writer of each wins.
#[test]
fn random_overlapping_fragments_end_as_in_a_byte_array() {
    let seed = 0x6672_6167;
    let mut random = Random(seed);
    let mut conflicts = 0;
    for round in 0..2000_u16 {
        let blocks = 2 + random.below(12);
        let len = blocks * 8 - random.below(8);
        let mut model: Vec<Option<u8>> = vec![None; len];
        let (mut conflict, mut end_seen, mut expected) = (false, false, None);
        let mut frames = Vec::new();
        for _ in 0..random.below(40) {
            let from = 8 * random.below(blocks);
            let to =
                if random.below(4) == 0 { len } else { len.min(from + 8 * (1 + random.below(3))) };
            let to = if to == len { len } else { to / 8 * 8 };
            if (from, to) == (0, len) {
                continue;
            }
            let mut part: Vec<u8> = (from..to).map(|at| at as u8).collect();
            if random.below(20) == 0 {
                part[0] ^= 0x55;
            }
            let more = if to < len { 0x2000 } else { 0 };
            let flags = more | (from / 8) as u16;
            frames.push(ethernet_ip(&ipv4_with("10.0.0.1", "10.0.0.2", 200, round, flags, &part)));
            if expected.is_some() {
                continue;
            }
            end_seen |= to == len;
            for (slot, byte) in model[from..to].iter_mut().zip(part) {
                conflict |= slot.is_some_and(|first| first != byte);
                slot.get_or_insert(byte);
            }
            if end_seen {
                expected = model.iter().copied().collect::<Option<Vec<u8>>>();
            }
        }
        let outcome = decode_all(ETHERNET, &frames);
        let found: Vec<_> = outcome.packets.into_iter().map(|packet| packet.payload).collect();
        assert_eq!(found, Vec::from_iter(expected), "seed {seed} round {round}");
        assert_eq!(!outcome.anomalies.is_empty(), conflict, "seed {seed} round {round}");
        conflicts += usize::from(conflict);
    }
    assert!(conflicts > 100);
}

#[test]
fn a_snapped_fragment_cuts_the_datagram_there() {
    let datagram = udp(1, 2, &message(200));
    let frames = fragments_v4(1, &datagram, 48);
    let mut decoder = Decoder::new(Limits::default());
    let mut found = Vec::new();
    for (bytes, number) in frames.iter().zip(1..) {
        let kept = if number == 2 { bytes.len() - 10 } else { bytes.len() };
        let mut one = frame(ETHERNET, &bytes[..kept], number);
        one.original_len = bytes.len() as u32;
        decoder.push(&one, &mut |decoded: Decoded<'_>| {
            if let Decoded::Packet(packet) = decoded {
                found.push(Owned::new(&packet));
            }
        });
    }
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].payload_len, 200);
    assert_eq!(found[0].payload, message(200)[..96 - 10 - 8]);
}

#[test]
fn fragments_of_different_networks_do_not_mix() {
    let datagram = udp(1, 2, &message(100));
    let mut frames = fragments_v4(1, &datagram, 80);
    frames[1].splice(12..12, [0x81, 0x00, 0x00, 0x05]);
    let outcome = decode_all(ETHERNET, &frames);
    assert_eq!((outcome.packets.len(), outcome.counters.fragment_timeouts), (0, 2));
}

#[test]
fn incomplete_datagrams_expire_by_packet_time() {
    let frames = fragments_v4(1, &udp(1, 2, &message(100)), 80);
    let mut decoder = Decoder::new(Limits::default());
    let mut packets = 0;
    for (bytes, seconds) in frames.iter().zip([0, 31]) {
        let mut one = frame(ETHERNET, bytes, 1);
        one.timestamp = Timestamp::from_secs_nanos(1000 + seconds, 0);
        decoder.push(&one, &mut |_: Decoded<'_>| packets += 1);
    }
    assert_eq!((packets, decoder.counters().fragment_timeouts), (0, 1));
    decoder.advance(Timestamp::from_secs_nanos(2000, 0));
    assert_eq!(decoder.counters().fragment_timeouts, 2);
}

#[test]
fn impossible_fragments_are_dropped() {
    let beyond = ethernet_ip(&ipv4_with("10.0.0.1", "10.0.0.2", 17, 1, 0x1fff, &[0; 64]));
    let empty = ethernet_ip(&ipv4_with("10.0.0.1", "10.0.0.2", 17, 1, 0x2001, &[0; 7]));
    let outcome = decode_all(ETHERNET, &[beyond, empty]);
    assert_eq!(outcome.counters.fragments_malformed, 2);
    assert_eq!(outcome.counters.fragment_timeouts, 0);
}

#[test]
fn a_flood_of_fragments_stays_within_the_limits_and_is_told() {
    let limits = Limits {
        fragmented_datagrams: 50,
        fragmented_datagrams_per_source: 20,
        fragment_bytes: 20_000,
        ..Limits::default()
    };
    let mut decoder = Decoder::new(limits);
    let mut anomalies = 0;
    for id in 0..5000_u16 {
        let src = format!("10.0.{}.1", id % 7);
        let bytes = ethernet_ip(&ipv4_with(&src, "10.0.0.2", 17, id, 0x2000, &[0; 800]));
        decoder.push(&frame(ETHERNET, &bytes, 1), &mut |_: Decoded<'_>| anomalies += 1);
    }
    assert_eq!(anomalies, 1);
    let dropped = decoder.counters().fragment_limit;
    decoder.finish();
    let left = decoder.counters().fragment_timeouts;
    assert_eq!(dropped + left, 5000);
    assert!(left <= 24, "{left} datagrams of 800 bytes in 20,000 bytes");
}

#[test]
fn fragments_inside_a_tunnel_of_fragments_are_put_together() {
    let datagram = udp(1, 2, &message(400));
    let mut frames = Vec::new();
    for (index, part) in datagram.chunks(200).enumerate() {
        let flags = if index < 2 { 0x2000 } else { 0 } | (index * 25) as u16;
        let inner = ipv4_with("10.0.0.1", "10.0.0.2", 17, 3, flags, part);
        for (half, part) in inner.chunks(120).enumerate() {
            let more = if (half + 1) * 120 < inner.len() { 0x2000 } else { 0 };
            let flags = more | (half * 15) as u16;
            let id = 100 + index as u16;
            frames.push(ethernet_ip(&ipv4_with("192.0.2.1", "192.0.2.2", 4, id, flags, part)));
        }
    }
    let outcome = decode_all(ETHERNET, &frames);
    assert_eq!(outcome.packets.len(), 1);
    assert_eq!(outcome.packets[0].payload, message(400));
    assert_eq!(outcome.counters.reassembled, 3);
}
