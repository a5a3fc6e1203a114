//! The handshake of TLS 1.3 as a browser and a web server have it (RFC 8446 §4).

use crate::mix::Packets;
use crate::office::records;
use crate::random::Random;

/// What a client and a server say first on a connection to the server of that name.
#[must_use]
pub fn tls_handshake(name: &str) -> (Vec<u8>, Vec<u8>) {
    let random = &mut Random::new(1);
    let hello = client_hello(random, name, Packets::Full);
    (hello, server_flight(random, Packets::Full))
}

/// §4.1.2 with RFC 6066 §3: a `ClientHello` with a server name and a browser's extensions, in a record.
pub(crate) fn client_hello(random: &mut Random, name: &str, packets: Packets) -> Vec<u8> {
    let name = [&[0][..], &len16(name.len()), name.as_bytes()].concat();
    let mut extensions = extension(0, &[&len16(name.len())[..], &name].concat());
    extensions.extend(extension(23, &[]));
    extensions.extend(extension(0xff01, &[0]));
    extensions.extend(extension(10, &[0, 8, 0, 0x1d, 0, 0x17, 0, 0x18, 0, 0x19]));
    extensions.extend(extension(11, &[1, 0]));
    extensions.extend(extension(35, &[]));
    extensions.extend(extension(16, b"\0\x0c\x02h2\x08http/1.1"));
    extensions.extend(extension(5, &[1, 0, 0, 0, 0]));
    extensions.extend(extension(13, &[0, 8, 4, 3, 8, 4, 4, 1, 5, 3]));
    let share = [&[0, 36, 0, 0x1d, 0, 32][..], &random.bytes(32)].concat();
    extensions.extend(extension(51, &share));
    extensions.extend(extension(43, &[4, 3, 4, 3, 3]));
    extensions.extend(extension(45, &[1, 1]));
    if packets == Packets::Full {
        extensions.extend(extension(21, &[0; 160]));
    }

    let mut hello = vec![3, 3];
    hello.extend(random.bytes(32));
    hello.push(32);
    hello.extend(random.bytes(32));
    hello.extend_from_slice(&[0, 16]);
    for suite in [0x1301_u16, 0x1303, 0x1302, 0xc02b, 0xc02f, 0xcca9, 0xc02c, 0xc030] {
        hello.extend_from_slice(&suite.to_be_bytes());
    }
    hello.extend_from_slice(&[1, 0]);
    hello.extend_from_slice(&len16(extensions.len()));
    hello.extend(extensions);
    record(0x16, &handshake(1, &hello))
}

/// §4.1.3 and on: `ServerHello`, and encrypted extensions, certificates and the rest, which nobody can
/// read.
pub(crate) fn server_flight(random: &mut Random, packets: Packets) -> Vec<u8> {
    let mut extensions = extension(43, &[3, 4]);
    extensions.extend(extension(51, &[&[0, 0x1d, 0, 32][..], &random.bytes(32)].concat()));
    let mut hello = vec![3, 3];
    hello.extend(random.bytes(32));
    hello.push(32);
    hello.extend(random.bytes(32));
    hello.extend_from_slice(&[0x13, 0x01, 0]);
    hello.extend_from_slice(&len16(extensions.len()));
    hello.extend(extensions);
    let mut flight = record(0x16, &handshake(2, &hello));
    flight.extend_from_slice(&[0x14, 3, 3, 0, 1, 1]);
    let certificates = if packets == Packets::Short { 64 } else { 2_500 + random.below(1_500) };
    let certificates = usize::try_from(certificates).expect("few");
    flight.extend(records(&random.bytes(certificates)));
    flight
}

fn extension(kind: u16, value: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &len16(value.len()), value].concat()
}

fn handshake(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind, 0][..], &len16(body.len()), body].concat()
}

fn record(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind, 3, 1][..], &len16(body.len()), body].concat()
}

fn len16(len: usize) -> [u8; 2] {
    u16::try_from(len).expect("below 64 KiB").to_be_bytes()
}
