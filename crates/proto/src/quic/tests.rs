use tw_model::{AppProtocol, FlowId, Protocol};

use super::keys::{InitialKeys, Version};
use super::packet::LongHeader;
use super::testing::{Client, client_hello, crypto};
use crate::testing::{DOWN, Random, Told, UP, endpoint};
use crate::{Limits, Reader};

const V1: u32 = 1;
const V2: u32 = 0x6b33_43cf;
const TOLD: &str = "tls 192.0.2.1:40000 -> 192.0.2.2:443 files.example.net - [\"h3\"] q13d0104h3_";

type Datagram = (tw_model::Direction, Vec<u8>);

fn udp(port: u16, limits: Limits) -> Reader {
    let mut reader =
        Reader::new(FlowId(7), endpoint(1, 40_000), endpoint(2, port), Protocol::UDP, limits);
    reader.fingerprint();
    reader
}

fn read_with(mut reader: Reader, datagrams: &[Datagram]) -> (Vec<String>, Reader) {
    let mut told = Told::default();
    for (direction, bytes) in datagrams {
        reader.datagram(*direction, bytes, 0, &mut |event| told.take(event));
    }
    (told.finish(), reader)
}

fn read(datagrams: &[Datagram]) -> Vec<String> {
    read_with(udp(443, Limits::default()), datagrams).0
}

fn up(datagrams: impl IntoIterator<Item = Vec<u8>>) -> Vec<Datagram> {
    datagrams.into_iter().map(|bytes| (UP, bytes)).collect()
}

#[track_caller]
fn is_told(lines: &[String]) {
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].starts_with(TOLD), "{}", lines[0]);
}

/// A hello too long for one datagram, as post-quantum key shares make it, in two Initial packets.
fn long_hello(client: &mut Client) -> [Vec<u8>; 2] {
    let hello = client_hello(1500);
    let (one, two) = hello.split_at(1100);
    [client.initial(&crypto(0, one)), client.initial(&crypto(1100, two))]
}

fn vector(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text.chars().filter_map(|digit| digit.to_digit(16)).collect();
    digits.chunks(2).map(|pair| u8::try_from(pair[0] << 4 | pair[1]).unwrap()).collect()
}

/// RFC 9001 §A.2, RFC 9369 §A.2: the client's Initial.
#[test]
fn the_initial_packets_of_the_rfcs_open() {
    for text in [include_str!("vectors/rfc9001-a2.hex"), include_str!("vectors/rfc9369-a2.hex")] {
        let packet = vector(text);
        assert_eq!(packet.len(), 1200);
        let lines = read(&up([packet]));
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].contains(" example.com - [\"alpn\"] q13d0211an_"), "{}", lines[0]);
    }
}

/// RFC 9001 §A.3: the server's Initial, under the destination id of the client's.
#[test]
fn the_server_s_initial_of_the_rfc_opens() {
    let packet = vector(
        "cf000000010008f067a5502a4262b5004075c0d95a482cd0991cd25b0aac406a5816b6394100f37a1c6979755478
         0bb38cc5a99f5ede4cf73c3ec2493a1839b3dbcba3f6ea46c5b7684df3548e7ddeb9c3bf9c73cc3f3bded74b562b
         fb19fb84022f8ef4cdd93795d77d06edbb7aaf2f58891850abbdca3d20398c276456cbc42158407dd074ee",
    );
    let keys = InitialKeys::new(Version::V1, &vector("8394c8f03e515708"), b"server in").unwrap();
    let header = LongHeader::parse(&packet).unwrap();
    assert_eq!(header.packet_bytes, packet.len());
    let (number, plain) = keys.open(&header, &packet, None).unwrap();
    assert_eq!((number, plain.len(), &plain[..6]), (1, 99, &[2, 0, 0, 0, 0, 6][..]));
}

#[test]
fn a_hello_is_told_whatever_the_order_and_repetition() {
    for version in [V1, V2, 0xff00_001d, 0xff00_0017] {
        let mut client = Client::new(version, b"8 bytes!");
        is_told(&read(&up([client.initial(&crypto(0, &client_hello(32)))])));
        let [one, two] = long_hello(&mut client);
        is_told(&read(&up([one.clone(), two.clone()])));
        is_told(&read(&up([two.clone(), one.clone()])));
        is_told(&read(&up([two.clone(), two.clone(), one.clone(), one.clone(), two])));
    }
}

/// Chromium shuffles its hello so that nobody relies on its place.
#[test]
fn frames_in_any_order_and_overlapping_are_put_together() {
    let hello = client_hello(300);
    for seed in 1..200 {
        let mut random = Random(seed);
        let mut frames: Vec<Vec<u8>> = Vec::new();
        let mut at = 0;
        while at < hello.len() {
            let len = 1 + random.below(40);
            let begin = at - random.below(at.min(30) + 1);
            let end = (at + len).min(hello.len());
            frames.push(crypto(begin, &hello[begin..end]));
            at = end;
        }
        for index in (1..frames.len()).rev() {
            frames.swap(index, random.below(index + 1));
        }
        let mut client = Client::new(V1, b"another8");
        let packets: Vec<Vec<u8>> = frames
            .chunks(1 + random.below(9))
            .map(|some| client.initial(&some.join(&[1, 0, 0][..])))
            .collect();
        let (lines, _) =
            read_with(udp(443, Limits { quic_initials: 1000, ..Limits::default() }), &up(packets));
        is_told(&lines);
    }
}

#[test]
fn coalesced_packets_are_read_one_after_the_other() {
    let mut client = Client::new(V1, b"8 bytes!");
    let [one, two] = long_hello(&mut client);
    // 0-RTT and Handshake packets: first byte, version, ids, length, content.
    let other = |first| [&[first, 0, 0, 0, 1, 1, 9, 1, 9, 0x40, 30][..], &[0x55; 30]].concat();
    is_told(&read(&up([[one.clone(), two.clone()].concat()])));
    is_told(&read(&up([[other(0xd0), one.clone(), other(0xe0), two.clone()].concat()])));
    is_told(&read(&up([[one, other(0xd0), vec![0x40; 30]].concat(), two])));
}

#[test]
fn retry_and_version_negotiation_are_stepped_over() {
    let hello = client_hello(32);
    let mut client = Client::new(V1, b"8 bytes!");
    let first = client.initial(&crypto(0, &hello[..100]));
    let retry = [&[0xf0, 0, 0, 0, 1, 2, b'm', b'e', 6][..], b"server", &[7; 40]].concat();
    let negotiation = [&[0x80, 0, 0, 0, 0, 2, b'm', b'e', 1, 9][..], &[0, 0, 0, 1]].concat();
    let mut again = Client::new(V1, b"server");
    again.token = vec![7; 24];
    let all = again.initial(&crypto(0, &hello));
    let tail = again.initial(&crypto(100, &hello[100..]));
    is_told(&read(&[(UP, first.clone()), (DOWN, retry.clone()), (UP, all)]));
    is_told(&read(&[
        (UP, first.clone()),
        (DOWN, negotiation),
        (UP, { client.initial(&crypto(100, &hello[100..])) }),
    ]));
    // After a Retry it begins anew: what came before does not complete it.
    assert!(read(&[(UP, first), (DOWN, retry), (UP, tail)]).is_empty());
}

#[test]
fn the_client_keeps_its_keys_when_it_takes_the_server_s_id() {
    let mut client = Client::new(V1, b"8 bytes!");
    let hello = client_hello(32);
    let one = client.initial(&crypto(0, &hello[..50]));
    client.destination = b"the server's".to_vec();
    let two = client.initial(&crypto(50, &hello[50..]));
    is_told(&read(&up([one.clone(), two.clone()])));
    // Its first packet missing, nothing opens the second; nor does anything complete the first.
    assert!(read(&up([two])).is_empty());
    assert!(read(&up([one])).is_empty());
}

#[test]
fn the_client_is_whose_packets_open() {
    let mut client = Client::new(V1, b"8 bytes!");
    let [one, two] = long_hello(&mut client);
    let (lines, reader) = read_with(udp(443, Limits::default()), &[(DOWN, one), (DOWN, two)]);
    assert!(lines[0].starts_with("tls 192.0.2.2:443 -> 192.0.2.1:40000 files"), "{lines:?}");
    assert_eq!((reader.client_direction(), reader.wants_more()), (Some(DOWN), false));
    assert_eq!(reader.app(), Some(AppProtocol::Quic));
}

#[test]
fn quic_on_the_port_of_name_servers_is_no_dns() {
    let mut client = Client::new(V1, b"8 bytes!");
    let (lines, reader) = read_with(udp(53, Limits::default()), &up(long_hello(&mut client)));
    assert!(lines[0].contains(" files.example.net "), "{lines:?}");
    assert_eq!((reader.app(), reader.wants_more()), (Some(AppProtocol::Quic), false));
}

#[test]
fn quic_is_looked_for_in_the_first_datagrams() {
    let mut reader = udp(4433, Limits::default());
    for _ in 0..16 {
        assert!(reader.wants_more());
        reader.datagram(UP, b"\x40 something else", 0, &mut |_| panic!("nothing to tell"));
    }
    assert!(!reader.wants_more());
    assert_eq!(reader.app(), None);
}

#[test]
fn a_malformed_hello_is_said() {
    for (frames, anomaly) in [
        (crypto(0, &[1, 0, 0, 3, 1, 2, 3]), "TlsMalformed"),
        (crypto(0, &[2, 0, 0, 1, 0]), "TlsMalformed"),
        (crypto(0, &[1, 1, 0, 1, 0]), "QuicLimit"),
        // A frame that no Initial may carry, and one that is longer than its packet.
        (vec![8, 1, 2], "TlsMalformed"),
        (vec![6, 0, 0x7f, 0xff, 1], "TlsMalformed"),
        (vec![2, 0, 0, 0x7f, 0xff, 0], "TlsMalformed"),
    ] {
        let (lines, reader) = read_with(
            udp(443, Limits::default()),
            &up([Client::new(V1, b"8 bytes!").initial(&frames)]),
        );
        assert_eq!(lines, [format!("anomaly {anomaly}")]);
        assert!(!reader.wants_more());
    }
}

#[test]
fn acknowledgements_and_the_like_are_stepped_over() {
    let hello = client_hello(32);
    let other = [
        &[2, 9, 1, 1, 0, 2, 3][..],
        &[3, 9, 1, 0, 0, 1, 1, 1],
        &[1, 0, 0],
        &[0x1c, 1, 6, 2, b'n', b'o'],
    ]
    .concat();
    let payload = [&other[..], &crypto(0, &hello), &other].concat();
    is_told(&read(&up([Client::new(V1, b"8 bytes!").initial(&payload)])));
}

#[test]
fn a_packet_that_was_tampered_with_or_cut_is_not_opened() {
    let packet = Client::new(V1, b"8 bytes!").initial(&crypto(0, &client_hello(32)));
    for at in 0..packet.len() {
        let mut forged = packet.clone();
        forged[at] ^= 0x10;
        assert!(read(&up([forged])).is_empty(), "byte {at}");
        assert!(read(&up([packet[..at].to_vec()])).is_empty(), "cut at {at}");
    }
    is_told(&read(&up([packet])));
}

#[test]
fn a_datagram_that_no_server_takes_is_not_opened() {
    let mut client = Client::new(V1, b"8 bytes!");
    let packet = client.unpadded(&crypto(0, &client_hello(32)), 300);
    let padded = [packet.clone(), vec![0; 1200 - packet.len()]].concat();
    assert!(read(&up([packet.clone()])).is_empty());
    assert!(read(&up([padded[..1199].to_vec()])).is_empty());
    is_told(&read(&up([padded])));
}

#[test]
fn what_is_held_and_tried_is_bounded() {
    let mut client = Client::new(V1, b"8 bytes!");
    // Pieces that never meet.
    let packets = (0..300).map(|at| client.initial(&crypto(10 + 2 * at, &[0])));
    let limits = Limits { quic_initials: 1000, ..Limits::default() };
    let (lines, reader) = read_with(udp(443, limits), &up(packets));
    assert_eq!((lines.join(","), reader.wants_more()), ("anomaly QuicLimit".to_owned(), false));
    // More bytes than a hello may have.
    let packets = (0..100).map(|at| client.initial(&crypto(10 + at * 160, &[0; 150])));
    let limits = Limits { quic_initials: 1000, hello_bytes: 10_000, ..Limits::default() };
    assert_eq!(read_with(udp(443, limits), &up(packets)).0, ["anomaly QuicLimit"]);
    // Packets that never open.
    let mut forged = client.initial(&crypto(0, b"x"));
    *forged.last_mut().unwrap() ^= 1;
    let packets = vec![forged; 100];
    assert_eq!(read_with(udp(443, Limits::default()), &up(packets)).0, ["anomaly QuicLimit"]);
}

#[test]
fn noise_never_panics() {
    let mut random = Random(0x9000);
    let mut client = Client::new(V1, b"8 bytes!");
    let [one, two] = long_hello(&mut client);
    for _ in 0..3000 {
        let datagrams: Vec<Datagram> = (0..random.below(8))
            .map(|_| {
                let mut bytes = if random.below(2) == 0 { one.clone() } else { two.clone() };
                for _ in 0..random.below(4) {
                    let at = random.below(bytes.len().min(60));
                    bytes[at] = random.next().to_le_bytes()[0];
                }
                bytes.truncate(random.below(3 * bytes.len()));
                (if random.below(2) == 0 { UP } else { DOWN }, bytes)
            })
            .collect();
        assert!(read(&datagrams).len() <= 1);
    }
}
