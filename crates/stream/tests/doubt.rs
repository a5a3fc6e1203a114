//! Copies that are sent to mislead a tap, and that their receiver drops.

mod support;

use support::{ACK, FIN, RST, Raw, Run, SYN, TO_RESPONDER, Told, down, up};
use tw_model::{AnomalyKind, RecordNumber};
use tw_stream::Limits;

const REQUEST: &[u8] = b"POST /build";
const DECOY: &[u8] = b"GET /_ping.";

/// A handshake whose checksums are right, over so many hops.
fn handshake(hops: u8) -> Vec<Raw> {
    let all =
        [up(0, SYN, 100, 0, b""), down(1, SYN | ACK, 500, 101, b""), up(2, ACK, 101, 501, b"")];
    all.into_iter().map(|raw| raw.hops(hops).summed(true)).collect()
}

fn request(at: i64) -> Raw {
    up(at, ACK, 101, 501, REQUEST).summed(true)
}

/// What is read of the request's direction when `decoy` comes before and after the request.
fn read(hops: u8, decoy: &Raw, request: &Raw) -> String {
    let mut run = Run::of(&handshake(hops));
    let ack = down(5, ACK, 501, 112, b"").summed(true);
    run.push(&[decoy.clone(), request.clone(), decoy.clone(), ack]);
    let before_end = run.bytes(TO_RESPONDER);
    run.finish();
    assert_eq!(run.bytes(TO_RESPONDER), before_end, "nothing waits for the end");
    assert_eq!(run.table.counters().held_bytes_now, 0);
    String::from_utf8(before_end).unwrap()
}

#[test]
fn a_copy_that_the_receiver_drops_hides_nothing() {
    let real = request(4);
    let wrong_sum = up(3, ACK, 101, 501, DECOY).summed(false);
    let few_hops = up(3, ACK, 101, 501, DECOY).hops(3).summed(true);
    let no_ack = up(3, 0, 101, 501, DECOY).summed(true);
    for decoy in [wrong_sum, few_hops, no_ack] {
        assert_eq!(read(64, &decoy, &real), "POST /build", "{decoy:?}");
    }
    let longer = up(3, ACK, 101, 501, b"GET /_ping HTTP/1.1").summed(false);
    assert_eq!(read(64, &longer, &real), "POST /build");
    let shorter = up(3, ACK, 101, 501, b"GET").summed(false);
    assert_eq!(read(64, &shorter, &real), "POST /build");
}

#[test]
fn that_it_says_something_else_is_told() {
    let mut run = Run::of(&handshake(64));
    run.push(&[up(3, ACK, 101, 501, DECOY).summed(false), request(4)]);
    run.push(&[down(5, ACK, 501, 112, b"").summed(true)]);
    assert_eq!(run.count(&Told::Anomaly(AnomalyKind::TcpOverlapConflict)), 1);
    assert_eq!(run.table.counters().segments_doubted, 1);
}

#[test]
fn where_sums_and_hops_never_were_right_nothing_is_doubted() {
    let offloaded: Vec<Raw> =
        support::handshake().into_iter().map(|raw| raw.summed(false)).collect();
    let mut run = Run::of(&offloaded);
    run.push(&[up(3, ACK, 101, 501, REQUEST).summed(false)]);
    assert_eq!(run.bytes(TO_RESPONDER), REQUEST);
    let mut far = Run::of(&handshake(9));
    far.push(&[up(3, ACK, 101, 501, REQUEST).hops(9).summed(true)]);
    assert_eq!(far.bytes(TO_RESPONDER), REQUEST);
    assert_eq!(run.table.counters().segments_doubted + far.table.counters().segments_doubted, 0);
}

#[test]
fn a_worse_copy_of_the_syn_does_not_make_decoys_credible() {
    let mut run = Run::of(&handshake(64));
    run.push(&[
        up(2, SYN, 100, 0, b"").summed(false),
        up(2, SYN, 100, 0, b"").hops(2).summed(true),
    ]);
    run.push(&[up(3, ACK, 101, 501, DECOY).hops(2).summed(true)]);
    run.push(&[up(3, ACK, 101, 501, DECOY).summed(false), request(4)]);
    assert_eq!(run.bytes(TO_RESPONDER), REQUEST);
}

#[test]
fn what_the_receiver_acknowledges_was_no_decoy() {
    let mut run = Run::of(&handshake(64));
    run.push(&[up(3, ACK, 101, 501, REQUEST).hops(20).summed(true)]);
    assert!(run.bytes(TO_RESPONDER).is_empty());
    run.push(&[down(4, ACK, 501, 112, b"HTTP/1.1 200").summed(true)]);
    assert_eq!(run.bytes(TO_RESPONDER), REQUEST);
    let data: Vec<u64> = run
        .log
        .iter()
        .filter(|(_, told, _)| matches!(told, Told::Data(..)))
        .map(|(_, _, at)| match at.record {
            RecordNumber::Frame(number) | RecordNumber::Record(number) => number,
        })
        .collect();
    assert_eq!(data, [4, 5], "the request with its own frame, before the answer");
    // The other way round: the acknowledgment was captured first.
    run.push(&[down(5, ACK, 513, 116, b"").summed(true)]);
    run.push(&[up(6, ACK, 112, 513, b"more").hops(20).summed(true)]);
    assert_eq!(run.bytes(TO_RESPONDER), b"POST /buildmore");
    run.finish();
    assert!(run.gaps().is_empty());
}

#[test]
fn where_nothing_else_fills_the_place_it_is_taken() {
    let mut one_way = Run::of(&[up(0, SYN, 100, 0, b"").summed(true)]);
    one_way.push(&[up(3, ACK, 101, 501, REQUEST).summed(false)]);
    one_way.push(&[up(4, ACK, 112, 501, b" more").summed(true)]);
    one_way.finish();
    assert_eq!(one_way.bytes(TO_RESPONDER), b"POST /build more");
    assert!(one_way.gaps().is_empty());
    assert_eq!(one_way.table.counters().held_bytes_now, 0);
}

#[test]
fn forged_ends_end_nothing() {
    for (flags, hops, right) in
        [(RST, 64, false), (RST, 3, true), (FIN | ACK, 64, false), (FIN | ACK, 3, true)]
    {
        let mut run = Run::of(&handshake(64));
        run.push(&[up(3, flags, 101, 501, b"").hops(hops).summed(right), request(4)]);
        run.push(&[down(5, ACK, 501, 112, b"HTTP/1.1 200").summed(true)]);
        assert_eq!(run.bytes(TO_RESPONDER), REQUEST, "{flags} {hops} {right}");
        assert_eq!(run.flows.len(), 1);
    }
}

#[test]
fn a_flood_of_decoys_makes_none_credible() {
    let limits = Limits { held_bytes_per_direction: 50_000, ..Limits::default() };
    let mut run = Run::with(limits);
    run.push(&handshake(64));
    let filler = up(3, ACK, 101, 501, &[b'x'; 1400]).summed(false);
    for n in 1..200_u32 {
        run.push(&[Raw { seq: 101 + n * 1400, ..filler.clone() }]);
        run.push(&[up(3, ACK, 101, 501, DECOY).summed(false)]);
    }
    run.push(&[request(4), down(5, ACK, 501, 112, b"").summed(true)]);
    assert_eq!(run.bytes(TO_RESPONDER), REQUEST);
    run.finish();
    assert_eq!(run.bytes(TO_RESPONDER), REQUEST);
    assert_eq!(run.table.counters().held_bytes_now, 0);
}

#[test]
fn a_flood_of_decoys_is_bounded() {
    let limits = Limits { held_bytes: 200_000, ..Limits::default() };
    let mut run = Run::with(limits);
    run.push(&handshake(64));
    let decoy = up(3, ACK, 101, 501, &[b'x'; 1400]).summed(false);
    for n in 0..500_u32 {
        run.push(&[Raw { seq: 101 + n * 1400, ..decoy.clone() }]);
        assert!(run.table.counters().held_bytes_now <= 101_000);
    }
    run.finish();
    assert_eq!(run.table.counters().held_bytes_now, 0);
}
