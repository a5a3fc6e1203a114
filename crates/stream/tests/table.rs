//! The table: which flow a packet belongs to, when flows end, and what a flood does.

mod support;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use support::{
    ACK, Dice, FIN, RST, Raw, Run, SYN, TO_OPENER, TO_RESPONDER, Told, down, handshake, packet,
    udp, up,
};
use tw_model::{AnomalyKind, ConnectionState, Opener, Protocol};
use tw_stream::{CloseReason, IdleTimes, Interest, Limits};

/// From another client each time.
fn from_host(number: u32, raw: Raw) -> Raw {
    let host = |(ip, port): (IpAddr, u16)| {
        if (ip, port) == support::client() {
            (IpAddr::V4(Ipv4Addr::from(0x0a00_0000 + number)), port)
        } else {
            (ip, port)
        }
    };
    Raw { src: host(raw.src), dst: host(raw.dst), ..raw }
}

fn back(raw: Raw) -> Raw {
    Raw { src: raw.dst, dst: raw.src, ..raw }
}

fn small(flows: usize, attempted_flows: usize) -> Limits {
    Limits { flows, attempted_flows, ..Limits::default() }
}

#[test]
fn datagrams_go_both_ways() {
    let mut run = Run::of(&[udp(0, b"ask"), back(udp(1, b"answer"))]);
    let told = [
        Told::Open,
        Told::Datagram(TO_RESPONDER, b"ask".to_vec(), 0),
        Told::Datagram(TO_OPENER, b"answer".to_vec(), 0),
    ];
    assert_eq!(run.told(), told);
    run.finish();
    let flow = run.flow();
    assert_eq!((flow.protocol, flow.opener_known), (Protocol::UDP, Opener::Seen));
    assert_eq!((flow.payload_bytes, flow.packets, flow.bytes), ([3, 6], [1, 1], [43, 46]));
    assert_eq!(run.told().last(), Some(&Told::Close(CloseReason::EndOfInput)));
}

#[test]
fn cut_datagram_says_how_much_is_missing() {
    let run = Run::of(&[Raw { cut: 9, ..udp(0, b"ask") }]);
    assert!(run.has(&Told::Datagram(TO_RESPONDER, b"ask".to_vec(), 9)));
    assert!(run.flow().truncated);
    assert_eq!(run.flow().payload_bytes, [12, 0]);
}

#[test]
fn mirrored_datagram_is_told_once_but_a_changed_one_is_not_lost() {
    let one = Raw { ip_id: 5, ..udp(0, b"ask") };
    let run = Run::of(&[one.clone(), one.clone(), Raw { payload: b"ASK".to_vec(), ..one.clone() }]);
    assert_eq!(run.log.len(), 3);
    assert_eq!(run.table.counters().duplicates, 1);
    let run = Run::of(&[one.clone(), Raw { at_ms: 50, ..one }]);
    assert_eq!(run.log.len(), 3);
}

#[test]
fn counted_datagrams_are_not_told() {
    let mut run = Run::new();
    run.interest = Interest::Counts;
    run.push(&[udp(0, b"ask"), back(udp(1, b"answer"))]);
    assert_eq!(run.told(), [Told::Open]);
    run.finish();
    assert_eq!(run.flow().payload_bytes, [3, 6]);
}

#[test]
fn vlan_does_not_tell_flows_apart_but_vni_does() {
    let ask = Raw { vlan: Some(10), ..udp(0, b"ask") };
    let answer = Raw { vlan: Some(20), ..back(udp(1, b"answer")) };
    let other = Raw { vni: Some(7), ..udp(2, b"other") };
    let zero = Raw { vni: Some(0), ..udp(3, b"zero") };
    let run = Run::of(&[ask, answer, other, zero]);
    assert_eq!(run.flows.len(), 3);
    assert_eq!(run.flows[0].tag.vlan, Some(10));
}

#[test]
fn mapped_addresses_are_no_ipv4_addresses() {
    let mapped = |(ip, port): (IpAddr, u16)| match ip {
        IpAddr::V4(ip) => (IpAddr::V6(Ipv6Addr::from(u128::from(u32::from(ip)))), port),
        IpAddr::V6(_) => (ip, port),
    };
    let four = udp(0, b"four");
    let six = Raw { src: mapped(four.src), dst: mapped(four.dst), ..four.clone() };
    assert_eq!(Run::of(&[four, six]).flows.len(), 2);
}

#[test]
fn other_protocols_are_counted_and_echo_is_one_conversation() {
    let echo = |kind: u8, raw: Raw| Raw { protocol: 1, payload: vec![kind, 0, 1, 2], ..raw };
    let mut run = Run::of(&[echo(8, udp(0, b"")), echo(0, back(udp(1, b"")))]);
    assert_eq!(run.told(), [Told::Open]);
    run.finish();
    let flow = run.flow();
    assert_eq!((flow.opener.port, flow.responder.port), (8, 0));
    assert_eq!((flow.packets, flow.protocol), ([1, 1], Protocol::ICMP));
    let run = Run::of(&[Raw { protocol: 132, payload: vec![0, 1, 0, 2], ..udp(0, b"") }]);
    assert_eq!((run.flow().opener.port, run.flow().responder.port), (1, 2));
    assert_eq!(run.table.counters().flows_other, 1);
}

#[test]
fn flows_end_by_the_idle_time_of_their_kind() {
    let ends = |packets: &[Raw], seconds: i64| {
        let mut run = Run::of(packets);
        run.advance((seconds - 2) * 1000);
        assert!(!run.has(&Told::Close(CloseReason::Idle)), "{seconds}");
        run.advance((seconds + 2) * 1000);
        assert!(run.has(&Told::Close(CloseReason::Idle)), "{seconds}");
        assert_eq!(run.table.counters().flows_now, 0);
    };
    ends(&[up(0, SYN, 100, 0, b"")], 30);
    ends(&[udp(0, b"ask")], 60);
    ends(&[udp(0, b"ask"), back(udp(1, b"answer"))], 180);
    ends(&handshake(), 7440);
}

#[test]
fn lone_direction_with_a_fin_does_not_stay_for_hours() {
    let mut run = Run::of(&[
        up(0, SYN, 100, 0, b""),
        up(1, ACK, 101, 501, b"abc"),
        up(2, ACK | FIN, 104, 501, b""),
    ]);
    run.advance(70_000);
    assert!(run.has(&Told::Close(CloseReason::Idle)));
}

#[test]
fn packets_keep_a_flow_alive() {
    let mut run = Run::new();
    for n in 0..10 {
        run.push(&[udp(n * 50_000, b"ask")]);
    }
    assert_eq!(run.count(&Told::Open), 1);
    run.push(&[udp(1_000_000, b"ask")]);
    assert_eq!(run.count(&Told::Open), 2);
}

#[test]
fn without_advance_flows_end_all_the_same() {
    let mut run = Run::new();
    for n in 0..1000 {
        let raw = from_host(n, udp(i64::from(n) * 1000, b"ask"));
        run.push(&[raw]);
    }
    assert!(run.table.counters().flows_peak <= 63);
}

#[test]
fn closed_flow_leaves_after_its_linger() {
    let mut run = Run::of(&handshake());
    run.push(&[up(3, ACK | FIN, 101, 501, b""), down(4, ACK | FIN, 501, 102, b"")]);
    assert_eq!(run.table.counters().flows_now, 1);
    run.advance(12_000);
    assert_eq!(run.table.counters().flows_now, 0);
    assert_eq!(run.count(&Told::Close(CloseReason::Fin)), 1);
    assert_eq!(run.table.counters().flows_idle, 0);
}

#[test]
fn syn_flood_evicts_attempts_only() {
    let mut run = Run::with(small(1000, 100));
    run.push(&handshake());
    run.push(&[up(3, ACK, 101, 501, b"abc"), down(4, ACK, 501, 104, b"d")]);
    for n in 0..20_000 {
        run.push(&[from_host(n, up(5, SYN, n, 0, b""))]);
        assert!(run.table.counters().flows_now <= 102);
    }
    run.push(&[up(6, ACK, 104, 502, b"def")]);
    assert_eq!(run.bytes(TO_RESPONDER), b"abcdef");
    let counters = run.table.counters();
    assert_eq!(counters.flows_evicted, 19_900);
    let anomalies = run.count(&Told::Anomaly(AnomalyKind::FlowEvicted));
    assert!((1..20).contains(&anomalies), "{anomalies}");
    assert_eq!(run.count(&Told::Close(CloseReason::Evicted)), 19_900);
}

#[test]
fn least_valuable_and_least_recently_seen_goes_first() {
    let mut run = Run::with(small(4, 4));
    run.push(&handshake());
    run.push(&[from_host(1, udp(3, b"one")), from_host(2, udp(4, b"two"))]);
    run.push(&[from_host(3, up(5, SYN, 1, 0, b""))]);
    let evicted = |run: &Run| -> Vec<u64> {
        let closed = run.log.iter().filter(|(_, told, _)| matches!(told, Told::Close(_)));
        closed.map(|(id, ..)| *id).collect()
    };
    run.push(&[from_host(1, udp(3000, b"one")), from_host(4, udp(3001, b"new"))]);
    assert_eq!(evicted(&run), [3]);
    run.push(&[from_host(5, udp(3002, b"new"))]);
    assert_eq!(evicted(&run), [3, 2]);
    assert_eq!(run.table.counters().flows_now, 4);
}

#[test]
fn flood_of_every_kind_stays_within_the_limit() {
    let mut run = Run::with(small(50, 10));
    let mut dice = Dice(7);
    for n in 0..5000_u32 {
        let at = i64::from(n);
        let raw = match dice.below(4) {
            0 => up(at, SYN, n, 0, b""),
            1 => udp(at, b"x"),
            2 => up(at, ACK, n, 7, b"data"),
            _ => down(at, ACK, n, 7, b"data"),
        };
        run.push(&[from_host(u32::try_from(dice.below(300)).unwrap(), raw)]);
        assert!(run.table.counters().flows_now <= 50);
    }
    run.finish();
    let opened = run.count(&Told::Open);
    let closed = run.log.iter().filter(|(_, told, _)| matches!(told, Told::Close(_))).count();
    assert_eq!(opened, closed);
    assert_eq!(run.table.counters().held_bytes_now, 0);
    assert_eq!(run.table.counters().flows_now, 0);
}

#[test]
fn held_bytes_of_all_flows_are_limited() {
    let limits = Limits { held_bytes: 10_000, ..Limits::default() };
    let mut run = Run::with(limits);
    for n in 0..200 {
        let packets = [up(0, SYN, 100, 0, b""), up(1, ACK, 200, 501, &[7; 400])];
        run.push(&packets.map(|raw| from_host(n, raw)));
        assert!(run.table.counters().held_bytes_now <= 10_000);
    }
    assert!(run.table.counters().reassembly_limits > 150);
    // The oldest is given up first.
    let first = run.log.iter().find(|(_, told, _)| matches!(told, Told::Gap(..))).unwrap();
    assert_eq!(first.0, 0);
}

#[test]
fn shortage_of_memory_ends_holes_with_nothing_behind_them_too() {
    let limits = Limits { held_bytes: 1000, ..Limits::default() };
    let mut run = Run::with(limits);
    let lost = [up(0, SYN, 100, 0, b""), up(1, ACK | FIN, 200, 501, b"")];
    for n in 0..10 {
        run.push(&lost.clone().map(|raw| from_host(n, raw)));
    }
    run.push(&handshake());
    run.push(&[up(3, ACK, 200, 501, &[7; 2000])]);
    assert!(run.table.counters().held_bytes_now <= 1000);
    assert!(!run.gaps().is_empty());
}

#[test]
fn header_that_was_cut_off_is_counted_where_its_ports_belong() {
    let mut run = Run::of(&handshake());
    let header = [0x9c, 0x40, 0x09, 0x47];
    let cut = Raw { ip_id: 5, ..up(3, 0, 0, 0, &header) };
    let (src, dst) = (cut.src, cut.dst);
    let mut packet = packet(&cut, 4);
    packet.transport = tw_wire::Transport::Other { protocol: 6, payload: &header };
    run.table
        .push(&packet, &mut |_: &mut tw_stream::Flow<()>, _, _: tw_stream::StreamEvent<'_>| {});
    run.finish();
    assert_eq!(run.flows.len(), 1);
    assert_eq!(run.flow().packets, [3, 1]);
    assert_eq!((run.flow().opener.port, run.flow().responder.port), (src.1, dst.1));
}

#[test]
fn time_that_goes_backwards_harms_nothing() {
    let mut run = Run::of(&handshake());
    run.advance(-5_000_000);
    run.push(&[up(-9_000, ACK, 101, 501, b"abc"), up(-100_000_000, ACK, 104, 501, b"def")]);
    assert_eq!(run.bytes(TO_RESPONDER), b"abcdef");
    assert!(run.flow().last >= run.flow().first);
    run.push(&[udp(i64::MIN / 2_000_000, b"x"), udp(4_000_000_000_000, b"y"), udp(10, b"z")]);
    run.finish();
}

#[test]
fn finish_ends_flows_in_their_order_and_empties_the_table() {
    let mut run = Run::new();
    for n in [3, 1, 2] {
        run.push(&[from_host(n, udp(0, b"x"))]);
    }
    run.finish();
    let closed: Vec<_> = run
        .log
        .iter()
        .filter(|(_, told, _)| *told == Told::Close(CloseReason::EndOfInput))
        .collect();
    assert_eq!(closed.iter().map(|(id, ..)| *id).collect::<Vec<_>>(), [0, 1, 2]);
    assert_eq!(run.table.counters().flows_now, 0);
    run.push(&[udp(1, b"again")]);
    assert_eq!(run.flow().id.0, 3);
}

#[test]
fn held_data_is_handed_on_before_close() {
    let mut run = Run::of(&handshake());
    run.push(&[up(3, ACK, 104, 501, b"def")]);
    run.finish();
    let told = [
        Told::Open,
        Told::Gap(TO_RESPONDER, 0, 3),
        Told::Data(TO_RESPONDER, 3, b"def".to_vec()),
        Told::Close(CloseReason::EndOfInput),
    ];
    assert_eq!(run.told(), told);
}

/// Noise of every kind, from few hosts, so that everything collides with everything.
fn noise(seed: u64) -> Vec<Raw> {
    let mut dice = Dice(seed);
    let mut packets = Vec::new();
    for n in 0..3000 {
        let chance = [(SYN, 10), (FIN, 3), (RST, 2), (ACK, 80)];
        let flags =
            chance.iter().map(|(flag, chance)| flag * u8::from(dice.percent(*chance))).sum();
        let near = u32::try_from(dice.below(300)).unwrap();
        let seq = if dice.percent(90) { near } else { near.wrapping_mul(0x0fff_ffff) };
        let ack = u32::try_from(dice.below(300)).unwrap();
        let payload = vec![dice.roll().to_le_bytes()[0]; dice.below(40)];
        let mut raw = up(0, flags, seq, ack, &payload);
        raw.at_ms = i64::from(n * 20) + i64::try_from(dice.below(200)).unwrap();
        // A pause in the middle, in which everything becomes idle.
        raw.at_ms += i64::from(n / 1500) * 400_000;
        raw.ip_id = u16::try_from(n).unwrap();
        raw.cut = u32::try_from(dice.below(12)).unwrap().saturating_sub(8);
        raw.protocol = [6, 6, 6, 6, 6, 17, 1, 132][dice.below(8)];
        if dice.percent(50) {
            raw = back(raw);
        }
        raw = from_host(u32::try_from(dice.below(8)).unwrap(), raw);
        packets.extend(dice.percent(5).then(|| raw.clone()));
        packets.push(raw);
    }
    packets
}

fn tight() -> Limits {
    Limits {
        flows: 6,
        attempted_flows: 3,
        held_bytes_per_direction: 500,
        held_bytes: 2000,
        idle: IdleTimes { established: Duration::from_secs(90), ..IdleTimes::default() },
        ..Limits::default()
    }
}

#[test]
fn equal_input_gives_equal_output() {
    for seed in 0..20 {
        let packets = noise(seed);
        let mut runs = [Run::with(tight()), Run::with(tight())];
        for run in &mut runs {
            run.push(&packets);
            run.finish();
        }
        assert!(runs[0].log == runs[1].log, "seed {seed}");
        assert_eq!(runs[0].table.counters(), runs[1].table.counters());
    }
}

#[test]
fn noise_keeps_the_order_of_events() {
    let mut reached = [0; 10];
    for seed in 100..300 {
        let mut run = Run::with(tight());
        for raw in noise(seed) {
            run.push(&[raw]);
            let counters = run.table.counters();
            assert!(counters.held_bytes_now <= 2000 && counters.flows_now <= 6, "seed {seed}");
        }
        run.finish();
        let mut next = vec![[0_u64; 2]; run.flows.len()];
        let mut open = vec![false; run.flows.len()];
        let mut half_closed = vec![[false; 2]; run.flows.len()];
        for (id, told, _) in &run.log {
            let id = usize::try_from(*id).unwrap();
            assert_eq!(*told == Told::Open, !open[id], "seed {seed}");
            match told {
                Told::Open => open[id] = true,
                Told::Data(direction, offset, bytes) => {
                    assert_eq!(*offset, next[id][direction.index()], "seed {seed}");
                    assert!(!half_closed[id][direction.index()], "seed {seed}");
                    next[id][direction.index()] += bytes.len() as u64;
                }
                Told::Gap(direction, offset, len) => {
                    assert_eq!(*offset, next[id][direction.index()], "seed {seed}");
                    assert!(*len > 0);
                    assert!(!half_closed[id][direction.index()], "seed {seed}");
                    next[id][direction.index()] += len;
                }
                Told::HalfClose(direction) => half_closed[id][direction.index()] = true,
                Told::Close(_) => open[id] = false,
                _ => {}
            }
        }
        assert!(open.iter().all(|open| !open), "seed {seed}");
        let counters = run.table.counters();
        assert_eq!((counters.held_bytes_now, counters.kept_bytes_now), (0, 0));
        let all = [
            counters.gaps,
            counters.duplicates,
            counters.retransmitted_bytes,
            counters.overlap_conflicts,
            counters.reassembly_limits,
            counters.resets_ignored,
            counters.segments_ignored,
            counters.after_fin_bytes,
            counters.flows_evicted,
            counters.flows_idle,
        ];
        reached.iter_mut().zip(all).for_each(|(sum, count)| *sum += count);
        for (flow, next) in run.flows.iter().zip(next) {
            if flow.protocol == Protocol::TCP {
                assert_eq!(flow.payload_bytes, next, "seed {seed}");
            }
            assert!(flow.state != ConnectionState::Closed || flow.protocol == Protocol::TCP);
        }
    }
    assert!(reached.iter().all(|count| *count > 0), "{reached:?}");
}

/// Runs packets with an owner who wants to see nothing of the next `unread` bytes of the responder,
/// said at every event from the first data of it on.
fn with_unread(packets: &[Raw], unread: u64) -> Vec<Told> {
    let mut table = tw_stream::Table::<u64>::new(Limits::default());
    let mut told = Vec::new();
    let mut sink = |flow: &mut tw_stream::Flow<u64>, _, event: tw_stream::StreamEvent<'_>| {
        let came = match event {
            tw_stream::StreamEvent::Data { direction: TO_OPENER, bytes, .. } => bytes.len() as u64,
            tw_stream::StreamEvent::Unread { direction: TO_OPENER, len }
            | tw_stream::StreamEvent::Gap { direction: TO_OPENER, len, .. } => len,
            _ => 0,
        };
        flow.user += came;
        if flow.user > 0 {
            flow.unread = [0, unread.saturating_sub(flow.user)];
        }
        told.push(Told::from(event));
    };
    for (number, raw) in (1..).zip(packets) {
        table.push(&packet(raw, number), &mut sink);
    }
    table.finish(&mut sink);
    told.retain(|told| !matches!(told, Told::Open));
    told
}

#[test]
fn what_the_owner_does_not_want_is_told_in_sum_before_what_comes_next() {
    let mut packets = handshake();
    for (seq, bytes) in [(501, b"ab"), (503, b"cd"), (507, b"gh"), (505, b"ef"), (509, b"ij")] {
        packets.push(down(10, ACK, seq, 101, bytes));
    }
    let data = |at, bytes: &[u8]| Told::Data(TO_OPENER, at, bytes.to_vec());
    let end = Told::Close(CloseReason::EndOfInput);
    let all = with_unread(&packets, 9);
    assert_eq!(all, [data(0, b"ab"), Told::Unread(TO_OPENER, 6), data(8, b"ij"), end.clone()]);
    let some = with_unread(&packets, 5);
    let rest = [data(4, b"ef"), data(6, b"gh"), data(8, b"ij"), end.clone()];
    assert_eq!(some, [&[data(0, b"ab"), Told::Unread(TO_OPENER, 2)], &rest[..]].concat());
    let none_left = with_unread(&packets, 100);
    assert_eq!(none_left, [data(0, b"ab"), Told::Unread(TO_OPENER, 8), end]);
}

#[test]
fn a_hole_in_what_nobody_wants_is_told_in_its_place() {
    let mut packets = handshake();
    for (seq, bytes) in [(501, b"ab"), (503, b"cd"), (507, b"gh")] {
        packets.push(down(10, ACK, seq, 101, bytes));
    }
    let told = with_unread(&packets, 100);
    let expected = [
        Told::Data(TO_OPENER, 0, b"ab".to_vec()),
        Told::Unread(TO_OPENER, 2),
        Told::Gap(TO_OPENER, 4, 2),
        Told::Unread(TO_OPENER, 2),
        Told::Close(CloseReason::EndOfInput),
    ];
    assert_eq!(told, expected);
}
