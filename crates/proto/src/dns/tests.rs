use tw_model::{FlowId, Protocol};

use super::name::name;
use crate::testing::{DOWN, Feed, Random, down, endpoint, read_with, reader, up};
use crate::{Event, Limits, Reader};

/// `www.Example.com` -> CNAME `cdn.example.com` -> A, AAAA, and an HTTPS record nobody reads.
fn answer() -> Vec<u8> {
    let mut wire = b"\x12\x34\x81\x80\0\x01\0\x04\0\0\0\0".to_vec();
    wire.extend_from_slice(b"\x03www\x07Example\x03com\0\0\x01\0\x01");
    wire.extend_from_slice(b"\xc0\x0c\0\x05\0\x01\0\0\0\x3c\0\x06\x03cdn\xc0\x10");
    wire.extend_from_slice(b"\xc0\x2d\0\x01\0\x01\0\0\0\x3c\0\x04\xc6\x33\x64\x07");
    wire.extend_from_slice(
        b"\xc0\x2d\0\x1c\0\x01\0\0\0\x3c\0\x10\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01",
    );
    wire.extend_from_slice(b"\xc0\x0c\0\x41\0\x01\0\0\0\x3c\0\x03\0\x01\0");
    wire
}

const TOLD: &str = "dns www.example.com A rcode=0 [\"cdn.example.com\"] \
    [198.51.100.7, 2001:db8::1] [\"\\\\# 000100\"]";

fn udp(bytes: &[u8], missing: u32) -> Vec<String> {
    let mut reader = Reader::new(
        FlowId(1),
        endpoint(1, 5555),
        endpoint(2, 53),
        Protocol::UDP,
        Limits::default(),
    );
    let mut told = Vec::new();
    reader.datagram(DOWN, bytes, missing, &mut |event| match event {
        Event::Dns(answer) => {
            assert_eq!((answer.client.port, answer.server.port), (5555, 53));
            told.push(format!(
                "dns {} {} rcode={} {:?} {:?} {:?}",
                answer.query,
                answer.qtype,
                answer.rcode,
                answer.cnames,
                answer.addresses,
                answer.other
            ));
        }
        other => told.push(format!("{other:?}")),
    });
    told
}

fn over_tcp(message: &[u8]) -> Vec<u8> {
    let len = u16::try_from(message.len()).unwrap().to_be_bytes();
    [&len[..], message].concat()
}

#[test]
fn an_answer_is_reduced_to_names_and_addresses() {
    assert_eq!(udp(&answer(), 0), [TOLD]);
}

#[test]
fn queries_and_updates_are_passed_over() {
    let mut query = answer();
    query[2] = 0x01;
    assert!(udp(&query, 0).is_empty());
    query[2] = 0xa8;
    assert!(udp(&query, 0).is_empty());
}

#[test]
fn of_a_cut_answer_only_whole_records_count() {
    let wire = answer();
    let cut = udp(&wire[..wire.len() - 20], 20);
    assert_eq!(cut, ["dns www.example.com A rcode=0 [\"cdn.example.com\"] [198.51.100.7] []"]);
    assert!(udp(&wire[..20], 100).is_empty());
    assert_eq!(udp(&wire[..20], 0), ["Anomaly(DnsMalformed)"]);
}

#[test]
fn compression_loops_end() {
    assert_eq!(name(b"\xc0\0", 0), None);
    assert_eq!(name(b"\x01a\xc0\0", 0), None);
    assert_eq!(name(b"\xc0\x02\xc0\0", 2), None);
    assert_eq!(name(b"\x01a\0\xc0\0", 3), Some(("a".to_owned(), 5)));
    let mut chain = b"\x01x\0".to_vec();
    for pointer in 0..200_u16 {
        let target = if pointer == 0 { 0 } else { 3 + (pointer - 1) * 2 };
        chain.extend_from_slice(&(0xc000 | target).to_be_bytes());
    }
    assert_eq!(name(&chain, chain.len() - 2), None);
    let long = b"\x3f".iter().chain([b'y'; 63].iter()).copied().collect::<Vec<u8>>().repeat(5);
    assert_eq!(name(&long, 0), None);
}

#[test]
fn over_tcp_messages_come_in_any_pieces() {
    let wire = [over_tcp(&answer()), over_tcp(&answer())].concat();
    for at in 1..wire.len() {
        let (head, tail) = wire.split_at(at);
        let lines = read_with(
            reader(53, Limits::default()),
            &[up(b"\0\x1d\0\x01\x01\0\0\x01\0\0\0\0\0\0"), down(head), down(tail)],
        );
        assert_eq!(lines, [TOLD, TOLD], "cut at {at}");
    }
}

#[test]
fn a_length_in_a_segment_of_its_own_is_no_hindrance() {
    let answer = over_tcp(&answer());
    let (length, message) = answer.split_at(2);
    let whole = read_with(reader(53, Limits::default()), &[down(&answer)]);
    assert_eq!(whole.len(), 1);
    for feeds in [vec![down(length), down(message)], answer.chunks(1).map(down).collect()] {
        assert_eq!(read_with(reader(53, Limits::default()), &feeds), whole);
    }
}

#[test]
fn a_hole_in_a_message_leaves_the_next_one() {
    let wire = [over_tcp(&answer()), over_tcp(&answer()), over_tcp(&answer())].concat();
    let each = wire.len() / 3;
    let lines = read_with(
        reader(53, Limits::default()),
        &[down(&wire[..each + 30]), Feed::Gap(DOWN, 10), down(&wire[each + 40..])],
    );
    assert_eq!(lines, [TOLD, TOLD]);
    let lines = read_with(
        reader(53, Limits::default()),
        &[down(&wire[..each + 30]), Feed::Gap(DOWN, 1000), down("junk"), down(&wire[..each])],
    );
    assert_eq!(lines, [TOLD, TOLD]);
}

#[test]
fn mutated_answers_never_panic() {
    let mut random = Random(4);
    for _ in 0..20_000 {
        let mut wire = answer();
        for _ in 0..=random.below(6) {
            let at = random.below(wire.len());
            wire[at] = u8::try_from(random.below(256)).unwrap();
        }
        wire.truncate(random.below(wire.len() * 2));
        udp(&wire, 0);
        read_with(reader(53, Limits::default()), &[down(over_tcp(&wire))]);
    }
}
