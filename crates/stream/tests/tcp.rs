//! What TCP does and what a capture does to it, one by one.

mod support;

use support::{
    ACK, FIN, RST, Raw, Run, SYN, TO_OPENER, TO_RESPONDER, Told, URG, down, handshake, up,
};
use tw_model::{AnomalyKind, ConnectionState, Opener, RecordNumber};
use tw_stream::{CloseReason, Interest, Limits};

fn connected() -> Run {
    Run::of(&handshake())
}

fn many(from_ms: i64, count: i64) -> Vec<Raw> {
    (0..count).map(|n| down(from_ms + n, ACK, 501, 101, b"")).map(distinct).collect()
}

/// With an identification of its own, so that it is no mirror duplicate of its neighbours.
fn distinct(raw: Raw) -> Raw {
    Raw { ip_id: u16::try_from(raw.at_ms % 60_000).unwrap() + 1, ..raw }
}

#[test]
fn handshake_data_and_fins() {
    let mut run = connected();
    assert_eq!(run.flow().opener.port, 40_000);
    run.push(&[
        up(3, ACK, 101, 501, b"ask"),
        down(4, ACK, 501, 104, b"answer"),
        up(5, ACK | FIN, 104, 507, b""),
        down(6, ACK | FIN, 507, 105, b""),
        up(7, ACK, 105, 508, b""),
    ]);
    let told = vec![
        Told::Open,
        Told::Data(TO_RESPONDER, 0, b"ask".to_vec()),
        Told::Data(TO_OPENER, 0, b"answer".to_vec()),
        Told::HalfClose(TO_RESPONDER),
        Told::HalfClose(TO_OPENER),
        Told::Close(CloseReason::Fin),
    ];
    assert_eq!(run.told(), told);
    let flow = run.flow();
    assert_eq!(flow.state, ConnectionState::Closed);
    assert_eq!((flow.opener_known, flow.midstream), (Opener::Seen, false));
    assert_eq!((flow.payload_bytes, flow.packets), ([3, 6], [4, 3]));
    assert_eq!(flow.first_payload, Some(support::time(3)));
    assert!(flow.macs.is_some());
}

#[test]
fn held_bytes_come_with_the_frame_that_carried_them() {
    let mut run = connected();
    run.push(&[up(3, ACK, 104, 501, b"def"), up(4, ACK, 101, 501, b"abc")]);
    let frames: Vec<_> = run.log.iter().skip(1).map(|(_, told, at)| (told, at.record)).collect();
    assert_eq!(frames[0], (&Told::Data(TO_RESPONDER, 0, b"abc".to_vec()), RecordNumber::Frame(5)));
    assert_eq!(frames[1], (&Told::Data(TO_RESPONDER, 3, b"def".to_vec()), RecordNumber::Frame(4)));
}

#[test]
fn data_before_its_syn_waits_for_it() {
    let mut run = Run::of(&[
        up(0, ACK, 104, 501, b"def"),
        up(0, ACK, 101, 501, b"abc"),
        up(1, SYN, 100, 0, b""),
    ]);
    assert_eq!(run.bytes(TO_RESPONDER), b"abcdef");
    assert!(!run.flow().midstream);
    assert_eq!(run.flow().opener_known, Opener::Seen);
    run.finish();
    assert!(run.gaps().is_empty());
}

#[test]
fn syn_corrects_an_opener_guessed_from_ports() {
    let swap = |raw: Raw| Raw { src: raw.dst, dst: raw.src, ..raw };
    let mut run = Run::of(&[swap(up(0, ACK, 101, 501, b"abc")), swap(up(1, SYN, 100, 0, b""))]);
    run.finish();
    assert_eq!(run.flow().opener.port, 2375);
    assert_eq!(run.bytes(TO_RESPONDER), b"abc");
    assert_eq!(run.flow().packets, [2, 0]);
}

#[test]
fn partial_overlap_gives_each_byte_once() {
    let mut run = connected();
    run.push(&[
        up(3, ACK, 101, 501, b"abcd"),
        up(4, ACK, 103, 501, b"cdef"),
        up(5, ACK, 109, 501, b"ij"),
        up(6, ACK, 105, 501, b"efghijkl"),
    ]);
    assert_eq!(run.bytes(TO_RESPONDER), b"abcdefghijkl");
    assert_eq!(run.table.counters().retransmitted_bytes, 6);
    assert_eq!(run.table.counters().overlap_conflicts, 0);
}

/// Linux, `tcp_data_queue_ofo`: of bytes that wait for others, those of the segment that begins first;
/// of two that begin together, of the longer.
#[test]
fn overlap_with_other_bytes_keeps_what_linux_keeps_and_says_so() {
    let told = |segments: &[(u32, &[u8])]| {
        let mut run = connected();
        for (seq, bytes) in segments {
            run.push(&[up(3, ACK, *seq, 501, bytes)]);
        }
        let conflicts = run.table.counters().overlap_conflicts;
        assert!(run.count(&Told::Anomaly(AnomalyKind::TcpOverlapConflict)) > 0);
        (String::from_utf8(run.bytes(TO_RESPONDER)).unwrap(), conflicts)
    };
    let twice = told(&[(104, b"EVIL"), (104, b"good"), (101, b"abc")]);
    assert_eq!(twice, ("abcEVIL".into(), 1), "one as long: the first");
    let longer = told(&[(104, b"EVIL"), (104, b"goods"), (101, b"abc")]);
    assert_eq!(longer, ("abcgoods".into(), 1));
    let earlier = told(&[(104, b"EVIL"), (103, b"xgo"), (101, b"ab")]);
    assert_eq!(earlier, ("abxgoIL".into(), 1));
    let later = told(&[(103, b"xEVIL"), (105, b"good"), (101, b"ab")]);
    assert_eq!(later, ("abxEVILd".into(), 1));
    let in_order = told(&[(104, b"EVIL"), (101, b"abcgo")]);
    assert_eq!(in_order, ("abcgoIL".into(), 1));
    let in_order = told(&[(103, b"XX"), (105, b"YY"), (101, b"abcdefg")]);
    assert_eq!(in_order, ("abcdefg".into(), 1));
}

/// RFC 6093 §2, §3.1: the byte before the urgent pointer is read apart from the stream.
#[test]
fn an_urgent_byte_is_no_part_of_the_stream() {
    let mut run = Run::of(&handshake());
    let urgent = |seq, bytes: &[u8], pointer: u16| {
        let mut raw = up(3, ACK | URG, seq, 501, bytes).summed(true);
        raw.header[18..20].copy_from_slice(&pointer.to_be_bytes());
        raw
    };
    run.push(&[urgent(101, b"POST /buXild", 9), urgent(117, b"1!", 2), urgent(113, b" x=?", 0)]);
    assert_eq!(run.bytes(TO_RESPONDER), b"POST /build x=?1");
    assert_eq!(run.table.counters().urgent_bytes, 2);
    run.finish();
    assert_eq!(run.flow().payload_bytes, [18, 0]);
    assert!(run.gaps().is_empty());
}

#[test]
fn retransmission_with_other_bytes_is_told_after_the_first_were_handed_on() {
    let mut run = connected();
    run.push(&[
        up(3, ACK, 101, 501, b"POST /good"),
        up(4, ACK, 101, 501, b"POST /evil"),
        up(5, ACK, 106, 501, b"/good HTTP"),
        up(6, ACK, 106, 501, b"/bad. HTTP/1.1"),
    ]);
    assert_eq!(run.bytes(TO_RESPONDER), b"POST /good HTTP/1.1");
    assert_eq!(run.table.counters().overlap_conflicts, 2);
    run.push(&[up(7, RST, 120, 0, b"")]);
    assert_eq!(run.table.counters().kept_bytes_now, 0);
}

#[test]
fn overlap_conflicts_are_told_ever_more_rarely() {
    let mut run = connected();
    for n in 0..100_u8 {
        run.push(&[up(3, ACK, 104, 501, &[n; 4])]);
    }
    assert_eq!(run.table.counters().overlap_conflicts, 99);
    assert_eq!(run.count(&Told::Anomaly(AnomalyKind::TcpOverlapConflict)), 7);
}

#[test]
fn acknowledged_hole_becomes_a_gap_after_packets() {
    let mut run = connected();
    run.push(&[up(3, ACK, 111, 501, b"later")]);
    run.push(&[down(4, ACK, 501, 116, b"")]);
    run.push(&many(5, 100));
    assert!(run.gaps().is_empty());
    run.push(&many(105, 40));
    assert_eq!(run.gaps(), [Told::Gap(TO_RESPONDER, 0, 10)]);
    assert_eq!(run.bytes(TO_RESPONDER), b"later");
    assert_eq!((run.flow().gap_bytes, run.flow().payload_bytes), (10, [15, 0]));
}

#[test]
fn acknowledged_hole_becomes_a_gap_after_time_without_packets() {
    let mut run = connected();
    run.push(&[up(3, ACK, 111, 501, b"later"), down(4, ACK, 501, 116, b"")]);
    run.advance(900);
    assert!(run.gaps().is_empty());
    run.advance(1200);
    assert_eq!(run.gaps(), [Told::Gap(TO_RESPONDER, 0, 10)]);
}

#[test]
fn unacknowledged_hole_waits_for_its_retransmission() {
    let mut run = connected();
    run.push(&[up(3, ACK, 104, 501, b"def"), down(4, ACK, 501, 101, b"")]);
    run.push(&many(5, 500));
    run.advance(20_000);
    assert!(run.gaps().is_empty());
    run.push(&[up(21_000, ACK, 101, 501, b"abc")]);
    assert_eq!(run.bytes(TO_RESPONDER), b"abcdef");
}

#[test]
fn lost_last_segment_becomes_a_gap_when_the_receiver_has_it() {
    let mut run = connected();
    run.push(&[up(3, ACK, 101, 501, b"abc"), down(4, ACK, 501, 151, b"")]);
    run.advance(2000);
    assert_eq!(run.gaps(), [Told::Gap(TO_RESPONDER, 3, 47)]);
}

#[test]
fn acknowledged_fin_that_was_lost_is_no_gap() {
    let mut run = connected();
    run.push(&[up(3, ACK, 101, 501, b"abc"), down(4, ACK, 501, 105, b"")]);
    run.finish();
    assert!(run.gaps().is_empty());
}

#[test]
fn fin_waits_for_what_is_before_it() {
    let mut run = connected();
    run.push(&[up(3, ACK | FIN, 104, 501, b"def")]);
    assert!(!run.has(&Told::HalfClose(TO_RESPONDER)));
    run.push(&[up(4, ACK, 101, 501, b"abc")]);
    assert_eq!(run.told().last(), Some(&Told::HalfClose(TO_RESPONDER)));
}

#[test]
fn data_after_fin_is_ignored_and_counted() {
    let mut run = connected();
    run.push(&[up(3, ACK | FIN, 101, 501, b"abc"), up(4, ACK, 104, 501, b"xyz")]);
    assert_eq!(run.bytes(TO_RESPONDER), b"abc");
    assert_eq!(run.table.counters().after_fin_bytes, 3);
}

#[test]
fn held_data_after_fin_is_ignored_too() {
    let mut run = connected();
    run.push(&[
        up(3, ACK, 102, 501, b"bcXX"),
        up(4, ACK, 110, 501, b"YY"),
        up(5, ACK | FIN, 104, 501, b""),
        up(6, ACK, 101, 501, b"a"),
    ]);
    run.finish();
    assert_eq!(run.bytes(TO_RESPONDER), b"abc");
    assert!(run.gaps().is_empty());
    assert_eq!(run.table.counters().after_fin_bytes, 4);
    assert_eq!(run.table.counters().held_bytes_now, 0);
}

#[test]
fn reset_gives_up_an_acknowledged_tail() {
    let mut run = connected();
    run.push(&[up(3, ACK, 101, 501, b"abc"), down(4, ACK, 501, 151, b"")]);
    run.push(&[down(5, RST, 501, 0, b"")]);
    run.advance(2000);
    assert_eq!(run.gaps(), [Told::Gap(TO_RESPONDER, 3, 47)]);
    assert_eq!(run.told().last(), Some(&Told::Close(CloseReason::Reset)));
}

#[test]
fn mirrored_packets_count_once() {
    let mut run = Run::new();
    for raw in handshake() {
        let twice = Raw { ip_id: 7, ..raw };
        // Behind the router: one hop less.
        run.push(&[twice.clone(), Raw { hop_limit: 63, ..twice }]);
    }
    let data = Raw { ip_id: 9, ..up(5, ACK, 101, 501, b"abc") };
    run.push(&[data.clone(), data.clone(), Raw { at_ms: 300, ip_id: 10, ..data }]);
    run.advance(400);
    assert_eq!(run.table.counters().duplicates, 4);
    assert_eq!(run.bytes(TO_RESPONDER), b"abc");
    // The retransmission is a packet of its own.
    assert_eq!(run.flow().packets, [3, 1]);
    run.finish();
    assert_eq!(run.flow().packets, [4, 1]);
}

#[test]
fn midstream_opener_is_told_by_ports() {
    let mut run = Run::of(&[down(0, ACK, 900, 200, b"answer"), up(1, ACK, 200, 906, b"ask")]);
    run.finish();
    let flow = run.flow();
    assert!(flow.midstream);
    assert_eq!((flow.opener_known, flow.opener.port), (Opener::ByPorts, 40_000));
    assert_eq!(flow.state, ConnectionState::Established);
    assert_eq!(run.bytes(TO_OPENER), b"answer");
    assert_eq!(run.bytes(TO_RESPONDER), b"ask");
}

#[test]
fn midstream_data_does_not_wait_long() {
    let mut run = Run::of(&[up(0, ACK, 200, 906, b"ask")]);
    assert!(run.bytes(TO_RESPONDER).is_empty());
    run.advance(250);
    assert_eq!(run.bytes(TO_RESPONDER), b"ask");
    run.push(&[down(251, ACK, 906, 203, b"answer")]);
    assert_eq!(run.bytes(TO_OPENER), b"answer");
}

#[test]
fn midstream_questions_stay_before_their_answers() {
    let packets = [
        up(0, ACK, 200, 906, b"ask"),
        down(1, ACK, 906, 203, b"answer"),
        up(2, ACK, 203, 912, b"again"),
        down(3, ACK, 912, 208, b"also"),
    ];
    let order = [b"ask".to_vec(), b"answer".to_vec(), b"again".to_vec(), b"also".to_vec()];
    // By time, and by the end of input.
    let mut run = Run::of(&packets);
    run.advance(250);
    assert_eq!(run.pieces(), order);
    let mut run = Run::of(&packets);
    run.finish();
    assert_eq!(run.pieces(), order);
}

#[test]
fn midstream_answers_stay_behind_their_questions() {
    let mut run = Run::of(&[
        up(0, ACK, 200, 900, b"one?"),
        down(1, ACK, 900, 204, b"one."),
        up(2, ACK, 204, 904, b"two?"),
        down(3, ACK, 904, 208, b"two."),
    ]);
    run.advance(250);
    let told = vec![
        Told::Open,
        Told::Data(TO_RESPONDER, 0, b"one?".to_vec()),
        Told::Data(TO_OPENER, 0, b"one.".to_vec()),
        Told::Data(TO_RESPONDER, 4, b"two?".to_vec()),
        Told::Data(TO_OPENER, 4, b"two.".to_vec()),
    ];
    assert_eq!(run.told(), told);
}

#[test]
fn syn_ack_sender_is_the_responder() {
    let mut run = Run::of(&[down(0, SYN | ACK, 500, 101, b""), down(1, ACK, 501, 104, b"answer")]);
    run.finish();
    assert_eq!(run.flow().opener.port, 40_000);
    assert_eq!((run.flow().opener_known, run.flow().midstream), (Opener::Seen, false));
    assert_eq!(run.bytes(TO_OPENER), b"answer");
    // Nothing of the opener was captured, so nothing of it is missing.
    assert!(run.gaps().is_empty());
}

#[test]
fn hole_in_a_lone_direction_is_given_up_in_time() {
    let mut run = Run::of(&[
        up(0, SYN, 100, 0, b""),
        up(1, ACK, 101, 501, b"abc"),
        up(2, ACK, 111, 501, b"later"),
    ]);
    run.advance(1200);
    assert_eq!(run.gaps(), [Told::Gap(TO_RESPONDER, 3, 7)]);
}

#[test]
fn sequence_numbers_wrap() {
    let mut run = Run::of(&[
        up(0, SYN, u32::MAX - 2, 0, b""),
        up(1, ACK, 1, 501, b"def"),
        up(2, ACK, u32::MAX - 1, 501, b"abc"),
    ]);
    assert_eq!(run.bytes(TO_RESPONDER), b"abcdef");
    run.finish();
    assert!(run.gaps().is_empty());
}

#[test]
fn keep_alive_and_zero_window_probes_change_nothing() {
    let mut run = connected();
    run.push(&[
        up(3, ACK, 101, 501, b"abc"),
        down(4, ACK, 501, 104, b""),
        // Keep-alives: without data, and with one byte of garbage.
        up(60_000, ACK, 103, 501, b""),
        up(61_000, ACK, 103, 501, b"\0"),
        // A window probe carries the next byte, which comes again later.
        up(62_000, ACK, 104, 501, b"d"),
        up(63_000, ACK, 104, 501, b"def"),
    ]);
    assert_eq!(run.bytes(TO_RESPONDER), b"abcdef");
    assert_eq!(run.table.counters().overlap_conflicts, 0);
    assert!(run.gaps().is_empty());
}

#[test]
fn repeated_syn_is_no_reuse() {
    let mut run = Run::of(&[up(0, SYN, 100, 0, b""), up(1000, SYN, 100, 0, b"")]);
    run.push(&[down(1001, SYN | ACK, 500, 101, b""), down(1010, SYN | ACK, 500, 101, b"")]);
    assert_eq!(run.told(), [Told::Open]);
}

#[test]
fn ports_are_reused_after_close() {
    let mut run = connected();
    run.push(&[up(3, ACK | FIN, 101, 501, b""), down(4, ACK | FIN, 501, 102, b"")]);
    run.push(&[up(5, SYN, 70_000, 0, b""), up(6, ACK, 70_001, 1, b"again")]);
    assert_eq!(run.flow().id.0, 1);
    assert_eq!(run.bytes(TO_RESPONDER), b"again");
    assert_eq!(run.count(&Told::Close(CloseReason::Fin)), 1);
    assert_eq!(run.count(&Told::Open), 2);
}

#[test]
fn attempt_with_another_sequence_number_is_a_new_one() {
    let mut run = Run::of(&[up(0, SYN, 100, 0, b""), up(1000, SYN, 70_000, 0, b"")]);
    run.finish();
    let told = [
        Told::Open,
        Told::Close(CloseReason::Reused),
        Told::Open,
        Told::Close(CloseReason::EndOfInput),
    ];
    assert_eq!(run.told(), told);
    // The SYN belongs to the new one only.
    assert_eq!((run.flows[0].packets, run.flows[1].packets), ([1, 0], [1, 0]));
    assert_eq!(run.flows[0].last, support::time(0));
}

#[test]
fn blind_syn_does_not_end_a_connection_but_an_answered_one_does() {
    let mut run = connected();
    run.push(&[up(3, ACK, 101, 501, b"abc"), down(4, ACK, 501, 104, b"d")]);
    run.push(&[up(5, SYN, 1_000_000_000, 0, b""), up(6, ACK, 104, 502, b"def")]);
    assert_eq!(run.bytes(TO_RESPONDER), b"abcdef");
    run.push(&[down(7, SYN | ACK, 9_000_000, 1_000_000_001, b"")]);
    assert!(run.has(&Told::Close(CloseReason::Reused)));
    run.push(&[up(8, ACK, 1_000_000_001, 9_000_001, b"new")]);
    assert_eq!(run.bytes(TO_RESPONDER), b"abcdefnew");
    assert_eq!(run.flow().opener.port, 40_000);
}

#[test]
fn answered_syn_counts_even_if_the_answer_was_lost() {
    let mut run = connected();
    run.push(&[up(3, ACK, 101, 501, b"abc"), down(4, ACK, 501, 104, b"d")]);
    run.push(&[up(5, SYN, 1_000_000_000, 0, b""), up(6, ACK, 1_000_000_001, 9_000_001, b"new")]);
    assert!(!run.has(&Told::Close(CloseReason::Reused)));
    run.push(&[down(7, ACK, 9_000_001, 1_000_000_004, b"yes")]);
    assert!(run.has(&Told::Close(CloseReason::Reused)));
    run.finish();
    assert_eq!(run.bytes(TO_OPENER), b"dyes");
}

#[test]
fn icmp_error_about_a_syn_refuses_it() {
    let mut quote = vec![3, 3, 0, 0, 0, 0, 0, 0, 0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0];
    quote.extend([192, 0, 2, 1, 198, 51, 100, 2, 0x9c, 0x40, 0x09, 0x47, 0, 0, 0, 100]);
    let error = Raw { protocol: 1, payload: quote, ..down(1, 0, 0, 0, b"") };
    let wrong = Raw { payload: [&error.payload[..35], &[99][..]].concat(), ..error.clone() };
    let ends = |error: Raw, more: &[Raw]| {
        let mut run = Run::of(&[up(0, SYN, 100, 0, b""), error]);
        run.push(more);
        run.finish();
        run.flows[0].state
    };
    assert_eq!(ends(error.clone(), &[]), ConnectionState::Refused);
    assert_eq!(ends(wrong, &[]), ConnectionState::Attempted);
    let answered = [down(2, SYN | ACK, 500, 101, b""), up(3, ACK, 101, 501, b"")];
    assert_eq!(ends(error, &answered), ConnectionState::Established);
}

#[test]
fn reset_ends_an_established_connection() {
    let mut run = connected();
    run.push(&[up(3, ACK, 101, 501, b"abc"), down(4, RST | ACK, 501, 104, b"")]);
    assert_eq!(run.told().last(), Some(&Told::Close(CloseReason::Reset)));
    assert_eq!(run.flow().state, ConnectionState::Reset);
}

#[test]
fn refused_and_merely_attempted() {
    let mut run = Run::of(&[up(0, SYN, 100, 0, b""), down(1, RST | ACK, 0, 101, b"")]);
    assert_eq!(run.flow().state, ConnectionState::Refused);
    // A SYN scan: the scanner itself says RST to the SYN-ACK.
    run = Run::of(&[
        up(0, SYN, 100, 0, b""),
        down(1, SYN | ACK, 500, 101, b""),
        up(2, RST, 101, 0, b""),
    ]);
    assert_eq!(run.flow().state, ConnectionState::Attempted);
    assert_eq!(run.told(), [Told::Open, Told::Close(CloseReason::Reset)]);
}

#[test]
fn blind_reset_is_ignored_and_counted() {
    let mut run = connected();
    run.push(&[up(3, RST, 1_000_000, 0, b""), down(3, RST | ACK, 900_000, 101, b"")]);
    run.push(&[up(4, ACK, 101, 501, b"abc")]);
    assert_eq!(run.table.counters().resets_ignored, 2);
    assert_eq!(run.bytes(TO_RESPONDER), b"abc");
}

#[test]
fn reset_that_overtook_data_waits_for_it() {
    let mut run = connected();
    run.push(&[up(3, RST, 104, 0, b"")]);
    assert!(!run.has(&Told::Close(CloseReason::Reset)));
    run.push(&[up(4, ACK, 101, 501, b"abc")]);
    assert_eq!(run.bytes(TO_RESPONDER), b"abc");
    assert_eq!(run.told().last(), Some(&Told::Close(CloseReason::Reset)));
    assert!(run.gaps().is_empty());
}

#[test]
fn who_sends_on_after_a_reset_did_not_send_it() {
    let mut run = connected();
    run.push(&[up(3, ACK, 101, 501, b"abc"), up(4, RST, 104, 0, b"")]);
    run.push(&[up(5, ACK, 104, 501, b"def")]);
    run.finish();
    assert_eq!(run.count(&Told::Open), 2);
    assert_eq!(run.bytes(TO_RESPONDER), b"abcdef");
    assert!(run.flow().midstream);
}

#[test]
fn late_packets_of_a_closed_connection_make_no_new_one() {
    let mut run = connected();
    run.push(&[
        up(3, ACK | FIN, 101, 501, b"abc"),
        down(4, ACK | FIN, 501, 105, b""),
        up(5, ACK, 105, 502, b""),
        up(900, ACK | FIN, 101, 501, b"abc"),
        down(901, RST, 501, 0, b""),
    ]);
    run.finish();
    assert_eq!(run.count(&Told::Open), 1);
    assert_eq!(run.told().last(), Some(&Told::Close(CloseReason::Fin)));
}

#[test]
fn syn_may_carry_data() {
    let mut run = Run::of(&[up(0, SYN, 100, 0, b"early"), down(1, SYN | ACK, 500, 106, b"")]);
    assert_eq!(run.bytes(TO_RESPONDER), b"early");
    assert_eq!(run.flow().state, ConnectionState::Attempted);
    run.push(&[up(2, ACK, 106, 501, b"more")]);
    assert_eq!(run.bytes(TO_RESPONDER), b"earlymore");
    assert_eq!(run.flow().state, ConnectionState::Established);
    run.finish();
    assert!(run.gaps().is_empty());
}

#[test]
fn both_may_open_at_once() {
    let mut run = Run::of(&[
        up(0, SYN, 100, 0, b""),
        down(0, SYN, 500, 0, b""),
        up(1, SYN | ACK, 100, 501, b""),
        down(1, SYN | ACK, 500, 101, b""),
        up(2, ACK, 101, 501, b"abc"),
    ]);
    run.finish();
    assert_eq!(run.count(&Told::Open), 1);
    assert_eq!(run.bytes(TO_RESPONDER), b"abc");
    assert_eq!(run.flow().state, ConnectionState::Established);
}

#[test]
fn cut_segments_give_data_and_a_gap_in_order() {
    let cut = |raw: Raw| Raw { cut: 7, ..raw };
    let mut run = connected();
    run.push(&[cut(up(3, ACK, 101, 501, b"abc")), up(4, ACK, 111, 501, b"next")]);
    assert_eq!(
        run.told()[1..],
        [
            Told::Data(TO_RESPONDER, 0, b"abc".to_vec()),
            Told::Gap(TO_RESPONDER, 3, 7),
            Told::Data(TO_RESPONDER, 10, b"next".to_vec()),
        ]
    );
    assert!(run.flow().truncated);
}

#[test]
fn cut_segment_is_filled_only_before_it_is_handed_on() {
    let cut = |raw: Raw| Raw { cut: 3, ..raw };
    let mut run = connected();
    run.push(&[cut(up(3, ACK, 104, 501, b"")), up(4, ACK, 101, 501, b"abcdef")]);
    run.push(&[cut(up(5, ACK, 110, 501, b"jk")), up(6, ACK, 107, 501, b"ghi")]);
    run.push(&[up(7, ACK, 110, 501, b"jklmn")]);
    assert_eq!(run.bytes(TO_RESPONDER), b"abcdefghijk");
    assert_eq!(run.gaps(), [Told::Gap(TO_RESPONDER, 11, 3)]);
}

#[test]
fn segments_far_outside_of_the_window_are_ignored() {
    let mut run = connected();
    run.push(&[
        down(3, ACK, 501, 101, b""),
        up(4, ACK, 500_000_000, 501, b"garbage"),
        up(5, ACK, 101, 501, b"abc"),
    ]);
    run.finish();
    assert_eq!(run.bytes(TO_RESPONDER), b"abc");
    assert!(run.gaps().is_empty());
    assert_eq!(run.table.counters().segments_ignored, 1);
}

#[test]
fn counts_only_says_nothing_of_payload_but_of_the_end() {
    let mut run = Run::new();
    run.interest = Interest::Counts;
    run.push(&handshake());
    run.push(&[
        up(3, ACK, 104, 501, b"def"),
        up(4, ACK, 101, 501, b"abc"),
        down(5, ACK, 501, 200, b"x"),
        up(6, ACK | FIN, 107, 502, b""),
        down(7, ACK | FIN, 502, 108, b""),
    ]);
    let told = [
        Told::Open,
        Told::HalfClose(TO_RESPONDER),
        Told::HalfClose(TO_OPENER),
        Told::Close(CloseReason::Fin),
    ];
    assert_eq!(run.told(), told);
    assert_eq!(run.flow().payload_bytes, [6, 1]);
    assert_eq!(run.table.counters().held_bytes_peak, 0);
}

#[test]
fn losing_interest_drops_what_is_held() {
    let mut run = connected();
    run.push(&[up(3, ACK, 104, 501, b"def")]);
    assert!(run.table.counters().held_bytes_now > 0);
    // The sink loses interest with the next event.
    run.push(&[down(4, ACK, 501, 101, b"x")]);
    let mut table = run.table;
    let raw = up(5, ACK, 110, 501, b"ghi");
    let answer = down(6, ACK, 502, 101, b"y");
    let mut events = 0;
    for raw in [&answer, &raw, &raw] {
        let packet = support::packet(raw, 9);
        table.push(&packet, &mut |flow: &mut tw_stream::Flow<()>,
                                  _,
                                  _: tw_stream::StreamEvent<'_>| {
            flow.interest = Interest::Counts;
            events += 1;
        });
    }
    assert_eq!(events, 1);
    assert_eq!(table.counters().held_bytes_now, 0);
}

#[test]
fn held_bytes_of_a_direction_are_limited() {
    let limits = Limits { held_bytes_per_direction: 2000, ..Limits::default() };
    let mut run = Run::with(limits);
    run.push(&handshake());
    for n in 0..100_u32 {
        run.push(&[up(3, ACK, 1000 + 200 * n, 501, &[7; 100])]);
        assert!(run.table.counters().held_bytes_now <= 2000 + 228);
    }
    assert!(run.has(&Told::Anomaly(AnomalyKind::ReassemblyLimit)));
    assert_eq!(run.gaps()[0], Told::Gap(TO_RESPONDER, 0, 899));
}
