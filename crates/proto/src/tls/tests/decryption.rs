//! Whole conversations, sealed here with the same keys and read back.

use super::super::keylog::{ClientRandom, KeyLog, Secret};
use super::super::protection::{Protection, Suite};
use super::{extension, message, records, with_len16};
use crate::testing::{DOWN, Random, Told, UP, reader};
use crate::{Event, Limits, Reader};
use tw_model::{ClientCertificate, Direction};

const RANDOM: [u8; 32] = [0x55; 32];
const RETRY: [u8; 32] = [
    0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91,
    0xc2, 0xa2, 0x11, 0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
];
const REQUEST: &[u8] = b"POST /build?t=a HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\ntar";
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone";

type Said = Vec<(Direction, Vec<u8>)>;

fn client_hello(early: bool) -> Vec<u8> {
    let mut extensions = extension(43, &[4, 0x03, 0x04, 0x03, 0x03]);
    if early {
        extensions.extend(extension(42, &[]));
    }
    let suites = with_len16(&[0x13, 0x01]);
    let body = [&[3, 3][..], &RANDOM, &[0], &suites, &[1, 0], &with_len16(&extensions)].concat();
    records(&message(1, &body), 16_000)
}

fn server_hello(random: [u8; 32], suite: u16) -> Vec<u8> {
    let tls13 = suite >> 8 == 0x13;
    let extensions = if tls13 { extension(43, &[3, 4]) } else { Vec::new() };
    let suite = suite.to_be_bytes();
    let body = [&[3, 3][..], &random, &[0], &suite, &[0], &with_len16(&extensions)].concat();
    records(&message(2, &body), 16_000)
}

fn lines(labels: &[(&str, u8)], len: usize) -> Vec<u8> {
    let hex = |byte: u8, len: usize| format!("{byte:02x}").repeat(len);
    labels
        .iter()
        .map(|(label, byte)| format!("{label} {} {}\n", hex(RANDOM[0], 32), hex(*byte, len)))
        .collect::<String>()
        .into_bytes()
}

const SECRETS: [(&str, u8); 5] = [
    ("CLIENT_EARLY_TRAFFIC_SECRET", 1),
    ("CLIENT_HANDSHAKE_TRAFFIC_SECRET", 2),
    ("SERVER_HANDSHAKE_TRAFFIC_SECRET", 3),
    ("CLIENT_TRAFFIC_SECRET_0", 4),
    ("SERVER_TRAFFIC_SECRET_0", 5),
];

fn keys13(suite: u16, byte: u8) -> Protection {
    let len = if suite == 0x1302 { 48 } else { 32 };
    Protection::tls13(Suite::find(suite).unwrap(), &Secret::new(&vec![byte; len])).unwrap()
}

const CCS: [u8; 6] = [20, 3, 3, 0, 1, 1];

/// A TLS 1.3 conversation with client certificate, tickets, padding and a key update each way.
fn tls13(suite: u16) -> Said {
    let (mut up, mut down) = (keys13(suite, 2), keys13(suite, 3));
    let flight = [
        message(8, &[0, 0]),
        message(13, &[7; 40]),
        message(11, &[8; 2000]),
        message(15, &[9; 260]),
        message(20, &[1; 32]),
    ]
    .concat();
    let sealed: Vec<u8> = flight.chunks(700).flat_map(|part| down.seal(22, part)).collect();
    let mut said = vec![
        (UP, client_hello(false)),
        (DOWN, [server_hello([6; 32], suite), CCS.to_vec(), sealed].concat()),
    ];
    let certificate = [message(11, &[3; 900]), message(15, &[4; 260])].concat();
    let finished = message(20, &[2; 32]);
    said.push((UP, [&CCS[..], &up.seal(22, &certificate), &up.seal(22, &finished)].concat()));
    let (mut up, mut down) = (keys13(suite, 4), keys13(suite, 5));
    said.push((DOWN, down.seal(22, &message(4, &[5; 200]))));
    let (head, tail) = REQUEST.split_at(20);
    said.push((UP, up.seal(23, head)));
    said.push((UP, up.seal(22, &message(24, &[1]))));
    let mut up = up.next().unwrap();
    said.push((UP, up.seal(23, tail)));
    said.push((DOWN, down.seal(22, &message(24, &[0]))));
    let mut down = down.next().unwrap();
    said.push((DOWN, [down.seal(23, &[]), down.seal(23, ANSWER), down.seal(21, &[1, 0])].concat()));
    said
}

fn tls12(suite: u16) -> Said {
    let keys = |of_client| {
        let suite = Suite::find(suite).unwrap();
        let master = Secret::new(&[9; 48]);
        Protection::tls12(suite, &master, &ClientRandom(RANDOM), &[6; 32], of_client).unwrap()
    };
    let (mut up, mut down) = (keys(true), keys(false));
    let certificate = records(&message(11, &[8; 3000]), 1000);
    let key_exchange = records(&message(16, &[7; 66]), 1000);
    vec![
        (UP, client_hello(false)),
        (DOWN, [server_hello([6; 32], suite), certificate].concat()),
        (UP, [key_exchange, CCS.to_vec(), up.seal(22, &message(20, &[1; 12]))].concat()),
        (DOWN, [CCS.to_vec(), down.seal(22, &message(20, &[2; 12]))].concat()),
        (UP, up.seal(23, REQUEST)),
        (DOWN, [down.seal(23, ANSWER), down.seal(21, &[1, 0])].concat()),
    ]
}

fn log13() -> KeyLog {
    let mut log = KeyLog::default();
    log.push(&lines(&SECRETS, 32));
    log
}

fn log12() -> KeyLog {
    let mut log = KeyLog::default();
    log.push(&lines(&[("CLIENT_RANDOM", 9)], 48));
    log
}

fn decrypting(limits: Limits) -> Reader {
    let mut reader = reader(2376, limits);
    reader.decrypt();
    reader
}

/// Reads with the key log at hand; what is told of the hellos and of certificates is left
/// out.
fn read_with(mut reader: Reader, said: &Said, log: &KeyLog) -> Vec<String> {
    let mut told = Told::default();
    let mut take = |event: Event<'_>| {
        if let Event::Http(http) = &event {
            assert!(http.decrypted);
        }
        if !matches!(event, Event::Tls(_) | Event::ClientAuth(_)) {
            told.take(event);
        }
    };
    for (direction, bytes) in said {
        reader.data(*direction, bytes, &mut take);
        while let Some(secrets) = reader.wants_secrets().and_then(|random| log.find(&random)) {
            reader.unlock(secrets, &mut take);
        }
    }
    reader.close(&mut take);
    told.finish()
}

fn read(said: &Said, log: &KeyLog) -> Vec<String> {
    read_with(decrypting(Limits::default()), said, log)
}

const TOLD: [&str; 6] = [
    "0 > POST /build?t=a HTTP/1.1 host=h",
    "0 > body tar",
    "0 > Complete",
    "0 < HTTP/1.1 200",
    "0 < body done",
    "0 < Complete",
];

fn cut(said: &Said, random: &mut Random, most: usize) -> Said {
    let mut cut = Vec::new();
    for (direction, bytes) in said {
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let (piece, after) = rest.split_at((1 + random.below(most)).min(rest.len()));
            cut.push((*direction, piece.to_vec()));
            rest = after;
        }
    }
    cut
}

#[test]
fn every_suite_is_read_however_it_is_cut() {
    let mut random = Random(7);
    for suite in [0x1301, 0x1303] {
        assert_eq!(read(&tls13(suite), &log13()), TOLD, "{suite:04x}");
        for most in [1, 3, 700] {
            let pieces = cut(&tls13(suite), &mut random, most);
            assert_eq!(read(&pieces, &log13()), TOLD, "{suite:04x} by {most}");
        }
    }
    let mut log = KeyLog::default();
    log.push(&lines(&SECRETS, 48));
    assert_eq!(read(&tls13(0x1302), &log), TOLD);
    for suite in [0xc02f, 0xc030, 0xcca8, 0x009c] {
        assert_eq!(read(&tls12(suite), &log12()), TOLD, "{suite:04x}");
        let pieces = cut(&tls12(suite), &mut random, 50);
        assert_eq!(read(&pieces, &log12()), TOLD, "{suite:04x} cut");
    }
}

/// What a decrypted handshake shows of client certificates.
fn certificates(said: &Said, log: &KeyLog) -> Vec<ClientCertificate> {
    let mut reader = decrypting(Limits::default());
    let mut told = Vec::new();
    let mut take = |event: Event<'_>| {
        if let Event::ClientAuth(auth) = event {
            told.push(auth.certificate);
        }
    };
    for (direction, bytes) in said {
        reader.data(*direction, bytes, &mut take);
        while let Some(secrets) = reader.wants_secrets().and_then(|random| log.find(&random)) {
            reader.unlock(secrets, &mut take);
        }
    }
    reader.close(&mut take);
    told
}

/// A TLS 1.3 handshake with these messages of the server's flight, and those of the client's.
fn handshake13(server: &[Vec<u8>], client: &[Vec<u8>]) -> Said {
    let (mut up, mut down) = (keys13(0x1301, 2), keys13(0x1301, 3));
    let server = down.seal(22, &server.concat());
    let client = up.seal(22, &client.concat());
    vec![
        (UP, client_hello(false)),
        (DOWN, [server_hello([6; 32], 0x1301), CCS.to_vec(), server].concat()),
        (UP, [CCS.to_vec(), client].concat()),
    ]
}

#[test]
fn a_sealed_handshake_shows_client_certificates_to_who_has_the_keys() {
    let finished = || message(20, &[1; 32]);
    let own = || message(11, &[8; 200]);
    let asks = [message(8, &[0, 0]), message(13, &[7; 9]), own(), finished()];
    let quiet = [message(8, &[0, 0]), own(), finished()];
    let resumed = [message(8, &[0, 0]), finished()];
    let gives = [message(11, &[3; 90]), message(15, &[4; 20]), finished()];
    let empty = [message(11, &[0; 4]), finished()];
    for (server, client, shown) in [
        (&asks[..], &gives[..], Some(ClientCertificate::Given)),
        (&asks, &empty, Some(ClientCertificate::Withheld)),
        (&quiet, &[finished()], Some(ClientCertificate::NotAsked)),
        (&resumed, &[finished()], None),
    ] {
        let said = handshake13(server, client);
        assert_eq!(certificates(&said, &log13()), Vec::from_iter(shown));
        let mut random = Random(3);
        assert_eq!(certificates(&cut(&said, &mut random, 7), &log13()), Vec::from_iter(shown));
        assert_eq!(certificates(&said, &KeyLog::default()), [], "without keys nothing is shown");
    }
}

#[test]
fn the_directions_need_not_be_in_step() {
    for said in [tls13(0x1301), tls12(0xc02f)] {
        for first in [UP, DOWN] {
            let (mut before, after): (Said, Said) =
                said.clone().into_iter().partition(|(direction, _)| *direction == first);
            before.extend(after);
            let log = if said == tls13(0x1301) { log13() } else { log12() };
            let mut told = read(&before, &log);
            told.sort_unstable();
            let mut expected = TOLD.to_vec();
            expected.sort_unstable();
            assert_eq!(told, expected);
        }
    }
}

#[test]
fn a_retry_and_early_data() {
    let (mut early, mut up) = (keys13(0x1301, 1), keys13(0x1301, 2));
    let mut down = keys13(0x1301, 3);
    let accepted = message(8, &with_len16(&extension(42, &[])));
    let flight = |extensions: Vec<u8>, down: &mut Protection| {
        [
            server_hello([6; 32], 0x1301),
            down.seal(22, &[extensions, message(20, &[1; 32])].concat()),
        ]
        .concat()
    };
    let taken = vec![
        (UP, [client_hello(true), early.seal(23, REQUEST)].concat()),
        (DOWN, [flight(accepted, &mut down), keys13(0x1301, 5).seal(23, ANSWER)].concat()),
        (UP, early.seal(22, &message(5, &[]))),
        (UP, [up.seal(22, &message(20, &[2; 32])), keys13(0x1301, 4).seal(23, b"GET")].concat()),
    ];
    assert_eq!(read(&taken, &log13()), TOLD);
    let (mut up, mut down) = (keys13(0x1301, 2), keys13(0x1301, 3));
    let retried = vec![
        (UP, [client_hello(true), keys13(0x1301, 1).seal(23, b"GET /lost")].concat()),
        (DOWN, [server_hello(RETRY, 0x1301), CCS.to_vec()].concat()),
        (UP, [CCS.to_vec(), client_hello(false)].concat()),
        (DOWN, flight(message(8, &[0, 0]), &mut down)),
        (UP, [up.seal(22, &message(20, &[2; 32])), keys13(0x1301, 4).seal(23, REQUEST)].concat()),
        (DOWN, keys13(0x1301, 5).seal(23, ANSWER)),
    ];
    assert_eq!(read(&retried, &log13()), TOLD);
}

#[test]
fn refused_early_data_is_not_told() {
    let (mut up, mut down) = (keys13(0x1301, 2), keys13(0x1301, 3));
    let flight = down.seal(22, &[message(8, &[0, 0]), message(20, &[1; 32])].concat());
    let said = vec![
        (
            UP,
            [client_hello(true), keys13(0x1301, 1).seal(23, b"GET /lost HTTP/1.1\r\n\r\n")]
                .concat(),
        ),
        (DOWN, [server_hello([6; 32], 0x1301), flight].concat()),
        (UP, [up.seal(22, &message(20, &[2; 32])), keys13(0x1301, 4).seal(23, REQUEST)].concat()),
        (DOWN, keys13(0x1301, 5).seal(23, ANSWER)),
    ];
    assert_eq!(read(&said, &log13()), TOLD);
}

#[test]
fn wrong_and_missing_secrets_open_nothing() {
    let wrong = |label_len| {
        let mut log = KeyLog::default();
        log.push(&lines(&SECRETS.map(|(label, byte)| (label, byte + 100)), label_len));
        log.push(&lines(&[("CLIENT_RANDOM", 100)], 48));
        log
    };
    for log in [wrong(32), wrong(48), KeyLog::default()] {
        for said in [tls13(0x1301), tls12(0xc02f)] {
            assert!(read(&said, &log).is_empty());
        }
    }
    let mut reader = decrypting(Limits::default());
    for (direction, bytes) in tls13(0x1301) {
        reader.data(direction, &bytes, &mut |_| {});
    }
    assert!(!reader.wants_more(), "nobody gave secrets");
}

#[test]
fn data_is_read_without_the_handshake_s_secrets() {
    let mut log = KeyLog::default();
    log.push(&lines(&SECRETS[3..], 32));
    assert_eq!(read(&tls13(0x1301), &log), TOLD);
}

/// Feeds all but one piece, which becomes a gap.
fn read_with_gap(said: &Said, lost: usize, from: usize, len: usize, log: &KeyLog) -> Vec<String> {
    let mut reader = decrypting(Limits::default());
    let mut told = Told::default();
    let mut take = |event: Event<'_>| {
        if !matches!(event, Event::Tls(_) | Event::ClientAuth(_)) {
            told.take(event);
        }
    };
    for (index, (direction, bytes)) in said.iter().enumerate() {
        if index == lost {
            reader.data(*direction, &bytes[..from], &mut take);
            reader.gap(*direction, u64::try_from(len).unwrap(), &mut take);
            reader.data(*direction, &bytes[from + len..], &mut take);
        } else {
            reader.data(*direction, bytes, &mut take);
        }
        if let Some(secrets) = reader.wants_secrets().and_then(|random| log.find(&random)) {
            reader.unlock(secrets, &mut take);
        }
    }
    reader.close(&mut take);
    told.finish()
}

#[test]
fn after_a_hole_the_way_is_found_again_and_what_is_missing_is_counted() {
    let mut down = keys13(0x1301, 5);
    let head = down.seal(23, b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n");
    let body: Vec<u8> = (0..50).flat_map(|n| down.seal(23, &[b'a' + n % 26; 100])).collect();
    let next = down.seal(23, b"HTTP/1.1 204 x\r\n\r\n");
    let mut said = tls13(0x1301);
    said.truncate(3);
    let mut up = keys13(0x1301, 4);
    said.push((UP, up.seal(23, b"GET /a HTTP/1.1\r\n\r\nGET /b HTTP/1.1\r\n\r\n")));
    said.push((DOWN, [&head[..], &body, &next].concat()));
    let last = said.len() - 1;
    for (from, len) in [(head.len(), 122), (head.len() + 60, 700), (head.len() + 3, 1)] {
        let told = read_with_gap(&said, last, from, len, &log13());
        let lost_records = (from + len - head.len()).div_ceil(122) - (from - head.len()) / 122;
        let gap = format!("0 < gap {}", lost_records * 100);
        assert!(told.contains(&gap), "{from} {len}: {told:?}");
        assert!(told.contains(&"0 < Complete".to_owned()), "{told:?}");
        assert!(told.contains(&"1 < HTTP/1.1 204".to_owned()), "{told:?}");
    }
}

#[test]
fn a_hole_in_the_handshake_leaves_the_data() {
    for from in [130, 400, 2000] {
        let told = read_with_gap(&tls13(0x1301), 1, from, 300, &log13());
        assert_eq!(told[..3], TOLD[..3], "{from}");
        assert_eq!(told.last().map(String::as_str), Some("0 < Complete"), "{from}: {told:?}");
    }
}

#[test]
fn what_waits_for_the_other_side_is_bounded() {
    let limits = Limits { ciphertext_bytes: 10_000, ..Limits::default() };
    let mut reader = decrypting(limits);
    reader.data(UP, &client_hello(false), &mut |_| {});
    let log = log13();
    reader.unlock(log.find(&ClientRandom(RANDOM)).unwrap(), &mut |_| {});
    let mut up = keys13(0x1301, 2);
    for _ in 0..100 {
        reader.data(UP, &up.seal(23, &[0; 1000]), &mut |_| panic!("nothing can be read"));
    }
    let said: Said =
        tls13(0x1301).into_iter().filter(|(direction, _)| *direction == DOWN).collect();
    let mut answers = 0;
    for (direction, bytes) in said {
        reader.data(direction, &bytes, &mut |event| {
            answers += u32::from(matches!(event, Event::Http(_)))
        });
    }
    assert!(answers > 0, "the other direction is read all the same");
}

#[test]
fn noise_under_good_keys_never_panics() {
    let mut random = Random(0xbeef);
    for round in 0..400 {
        let mut said = if round % 2 == 0 { tls13(0x1301) } else { tls12(0xc02f) };
        for _ in 0..=random.below(4) {
            let piece = random.below(said.len());
            let bytes = &mut said[piece].1;
            let at = random.below(bytes.len());
            bytes[at] ^= 1 << random.below(8);
        }
        let log = if round % 2 == 0 { log13() } else { log12() };
        read(&cut(&said, &mut random, 900), &log);
    }
}
