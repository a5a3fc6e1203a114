//! Reassembly against a map of bytes that knows nothing of TCP: thousands of seeded conversations,
//! cut, repeated, reordered, lost, and wrapped around the end of the sequence numbers.

mod support;

use support::{ACK, Dice, FIN, Raw, Run, SYN, TO_OPENER, TO_RESPONDER, Told, down, up};
use tw_model::Direction;
use tw_stream::CloseReason;

/// A conversation and how it was captured.
struct Script {
    packets: Vec<Raw>,
    /// What each direction sent, and the ISNs.
    sent: [Vec<u8>; 2],
    isn: [u32; 2],
}

fn script(dice: &mut Dice) -> Script {
    let mut sent = [Vec::new(), Vec::new()];
    for bytes in &mut sent {
        for _ in 0..dice.below(3000) {
            bytes.push(dice.roll().to_le_bytes()[0]);
        }
    }
    // Often near to the wrap.
    let isn = [0, 1].map(|_| match dice.below(2) {
        0 => u32::MAX - u32::try_from(dice.below(3000)).unwrap(),
        _ => u32::from_le_bytes(dice.roll().to_le_bytes()[..4].try_into().unwrap()),
    });
    let [a, b] = isn;
    let (a1, b1) = (a.wrapping_add(1), b.wrapping_add(1));
    let mut packets =
        vec![up(0, SYN, a, 0, b""), down(0, SYN | ACK, b, a1, b""), up(0, ACK, a1, b1, b"")];
    let mut at = [0_usize; 2];
    while at[0] < sent[0].len() || at[1] < sent[1].len() {
        let side = dice.below(2);
        let len = (1 + dice.below(400)).min(sent[side].len() - at[side]);
        if len == 0 {
            continue;
        }
        // Now and then a retransmission begins before what is new.
        let from =
            if dice.percent(20) { at[side] - dice.below(at[side] + 1).min(500) } else { at[side] };
        let bytes = sent[side][from..at[side] + len].to_vec();
        at[side] += len;
        packets.push(segment(side, ACK, isn, from, at[1 - side], &bytes));
        if dice.percent(50) {
            packets.push(segment(1 - side, ACK, isn, at[1 - side], at[side], b""));
        }
    }
    packets.push(segment(0, FIN | ACK, isn, at[0], at[1], b""));
    packets.push(segment(1, FIN | ACK, isn, at[1], at[0] + 1, b""));
    packets.push(segment(0, ACK, isn, at[0] + 1, at[1] + 1, b""));
    Script { packets, sent, isn }
}

fn segment(side: usize, flags: u8, isn: [u32; 2], from: usize, ack: usize, bytes: &[u8]) -> Raw {
    let place = |isn: u32, at: usize| isn.wrapping_add(1).wrapping_add(u32::try_from(at).unwrap());
    let (seq, ack) = (place(isn[side], from), place(isn[1 - side], ack));
    match side {
        0 => up(0, flags, seq, ack, bytes),
        _ => down(0, flags, seq, ack, bytes),
    }
}

/// Moves packets by at most `reach` places.
fn reorder(dice: &mut Dice, packets: Vec<Raw>, reach: usize) -> Vec<Raw> {
    let mut keyed: Vec<_> =
        packets.into_iter().enumerate().map(|(n, raw)| (n + dice.below(reach + 1), raw)).collect();
    keyed.sort_by_key(|(place, _)| *place);
    keyed.into_iter().map(|(_, raw)| raw).collect()
}

fn repeat_some(dice: &mut Dice, packets: Vec<Raw>) -> Vec<Raw> {
    let mut out = Vec::new();
    for raw in packets {
        let again = dice.percent(10).then(|| raw.clone());
        out.push(raw);
        out.extend(again);
    }
    out
}

fn stamp(packets: &mut [Raw]) {
    for (n, raw) in packets.iter_mut().enumerate() {
        raw.at_ms = i64::try_from(n).unwrap();
        raw.ip_id = u16::try_from(n % 60_000).unwrap() + 1;
    }
}

/// Which bytes of each direction are in the capture.
fn captured(script: &Script, packets: &[Raw]) -> [Vec<bool>; 2] {
    let mut map = script.sent.clone().map(|bytes| vec![false; bytes.len()]);
    for raw in packets.iter().filter(|raw| !raw.payload.is_empty()) {
        let side = usize::from(raw.src != support::client());
        let from = raw.seq.wrapping_sub(script.isn[side].wrapping_add(1)) as usize;
        map[side][from..from + raw.payload.len()].fill(true);
    }
    map
}

/// Data and gaps of a direction follow each other without hole or repetition, and every byte is the
/// one that was sent, from `base` on. Returns which bytes came as data, and where it ended.
fn delivered(run: &Run, direction: Direction, sent: &[u8], base: usize) -> (Vec<bool>, usize) {
    let mut map = vec![false; sent.len()];
    let mut next = 0_u64;
    for (_, told, _) in &run.log {
        match told {
            Told::Data(of, offset, bytes) if *of == direction => {
                assert_eq!(*offset, next);
                assert!(!bytes.is_empty());
                let from = base + usize::try_from(next).unwrap();
                assert_eq!(&sent[from..from + bytes.len()], &bytes[..]);
                map[from..from + bytes.len()].fill(true);
                next += bytes.len() as u64;
            }
            Told::Gap(of, offset, len) if *of == direction => {
                assert_eq!(*offset, next);
                assert!(*len > 0);
                next += len;
            }
            _ => {}
        }
    }
    (map, base + usize::try_from(next).unwrap())
}

#[test]
fn without_loss_every_byte_comes_once_and_there_is_no_gap() {
    for seed in 0..3000 {
        let mut dice = Dice(seed);
        let script = script(&mut dice);
        let packets = repeat_some(&mut dice, script.packets.clone());
        let reach = dice.below(12);
        let mut packets = reorder(&mut dice, packets, reach);
        stamp(&mut packets);
        let mut run = Run::of(&packets);
        run.finish();
        assert!(run.gaps().is_empty(), "seed {seed}");
        assert_eq!(run.bytes(TO_RESPONDER), script.sent[0], "seed {seed}");
        assert_eq!(run.bytes(TO_OPENER), script.sent[1], "seed {seed}");
        assert_eq!(run.count(&Told::Open), 1, "seed {seed}");
        assert!(run.has(&Told::Close(CloseReason::Fin)), "seed {seed}");
        assert_eq!(run.table.counters().held_bytes_now, 0, "seed {seed}");
        assert_eq!(run.table.counters().overlap_conflicts, 0, "seed {seed}");
        let payload = [script.sent[0].len() as u64, script.sent[1].len() as u64];
        assert_eq!(run.flow().payload_bytes, payload, "seed {seed}");
        assert!(!run.flow().midstream, "seed {seed}");
    }
}

#[test]
fn with_loss_exactly_the_lost_bytes_are_gaps() {
    for seed in 0..3000 {
        let mut dice = Dice(1_000_000 + seed);
        let script = script(&mut dice);
        let packets = repeat_some(&mut dice, script.packets.clone());
        let reach = dice.below(8);
        let chance = 1 + dice.below(30);
        let mut packets = reorder(&mut dice, packets, reach);
        packets.retain(|raw| raw.flags & (SYN | FIN) != 0 || !dice.percent(chance));
        // The last word of the client is there, so that the end of the server's data is known.
        packets.push(script.packets.last().unwrap().clone());
        stamp(&mut packets);
        let mut run = Run::of(&packets);
        run.finish();
        let known = captured(&script, &packets);
        for (direction, side) in [(TO_RESPONDER, 0), (TO_OPENER, 1)] {
            let (map, end) = delivered(&run, direction, &script.sent[side], 0);
            assert_eq!(map, known[side], "seed {seed}");
            assert_eq!(end, script.sent[side].len(), "seed {seed}");
        }
        assert!(
            run.has(&Told::Close(CloseReason::Fin))
                || run.has(&Told::Close(CloseReason::EndOfInput))
        );
        assert_eq!(run.table.counters().held_bytes_now, 0, "seed {seed}");
    }
}

#[test]
fn one_direction_alone_is_put_together_too() {
    for seed in 0..1000 {
        let mut dice = Dice(2_000_000 + seed);
        let script = script(&mut dice);
        let reach = dice.below(8);
        let mut packets = reorder(&mut dice, script.packets.clone(), reach);
        let side = dice.below(2);
        let wanted = if side == 0 { support::client() } else { support::server() };
        packets.retain(|raw| raw.src == wanted);
        stamp(&mut packets);
        let mut run = Run::of(&packets);
        run.finish();
        let (own, other) =
            if side == 0 { (TO_RESPONDER, TO_OPENER) } else { (TO_OPENER, TO_RESPONDER) };
        assert!(run.gaps().is_empty(), "seed {seed}");
        assert_eq!(run.bytes(own), script.sent[side], "seed {seed}");
        assert!(run.bytes(other).is_empty(), "seed {seed}");
    }
}

#[test]
fn midstream_picks_up_with_the_first_bytes_there_are() {
    for seed in 0..1000 {
        let mut dice = Dice(3_000_000 + seed);
        let script = script(&mut dice);
        let mut packets = script.packets.clone();
        let skipped = 3 + dice.below(packets.len().saturating_sub(6));
        packets.drain(..skipped);
        let reach = dice.below(4);
        let mut packets = reorder(&mut dice, packets, reach);
        stamp(&mut packets);
        let mut run = Run::of(&packets);
        run.finish();
        assert!(run.flow().midstream);
        assert_eq!(run.flow().responder.port, support::server().1);
        for (direction, side) in [(TO_RESPONDER, 0), (TO_OPENER, 1)] {
            let bytes = run.bytes(direction);
            assert!(script.sent[side].ends_with(&bytes), "seed {seed}");
        }
    }
}

#[test]
fn cutting_segments_differently_changes_nothing() {
    for seed in 0..500 {
        let mut dice = Dice(4_000_000 + seed);
        let script = script(&mut dice);
        let mut packets = Vec::new();
        for raw in &script.packets {
            let mut at = 0;
            while at < raw.payload.len() {
                let len = (1 + dice.below(60)).min(raw.payload.len() - at);
                let seq = raw.seq.wrapping_add(u32::try_from(at).unwrap());
                let payload = raw.payload[at..at + len].to_vec();
                packets.push(Raw { seq, payload, ..raw.clone() });
                at += len;
            }
            if raw.payload.is_empty() {
                packets.push(raw.clone());
            }
        }
        stamp(&mut packets);
        let mut whole = script.packets.clone();
        stamp(&mut whole);
        let (cut, whole) = (Run::of(&packets), Run::of(&whole));
        for direction in [TO_RESPONDER, TO_OPENER] {
            assert_eq!(cut.bytes(direction), whole.bytes(direction), "seed {seed}");
        }
        assert!(cut.gaps().is_empty());
        assert_eq!(cut.flow().payload_bytes, whole.flow().payload_bytes, "seed {seed}");
        assert_eq!(cut.flow().state, whole.flow().state);
    }
}
