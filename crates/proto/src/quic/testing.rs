//! For the tests: Initial packets as a client seals them.

use super::keys::{InitialKeys, Version};

/// A client that sends Initial packets.
pub(crate) struct Client {
    version: u32,
    /// The destination that its keys are of.
    keyed: Vec<u8>,
    /// The destination that it writes.
    pub(crate) destination: Vec<u8>,
    pub(crate) token: Vec<u8>,
    number: u64,
}

impl Client {
    pub(crate) fn new(version: u32, destination: &[u8]) -> Self {
        let destination = destination.to_vec();
        Self { version, keyed: destination.clone(), destination, token: Vec::new(), number: 0 }
    }

    /// The next Initial packet, with that payload, as long as a server wants it (RFC 9000 §14.1).
    pub(crate) fn initial(&mut self, payload: &[u8]) -> Vec<u8> {
        self.unpadded(payload, 1200)
    }

    /// The same, with a payload of at least so many bytes.
    pub(crate) fn unpadded(&mut self, payload: &[u8], least: usize) -> Vec<u8> {
        let version = Version::find(self.version).unwrap();
        let first = if version == Version::V2 { 0xd0 } else { 0xc0 };
        let head = [
            &[first][..],
            &self.version.to_be_bytes(),
            &with_len(&self.destination),
            &with_len(b"me"),
            &with_len(&self.token),
        ]
        .concat();
        let number = self.number;
        self.number += 1;
        let keys = InitialKeys::of_client(version, &self.keyed).unwrap();
        let number_len = 1 + usize::try_from(number % 4).unwrap();
        let padding = least.saturating_sub(payload.len());
        let padded = [payload, &vec![0; padding]].concat();
        keys.seal(&head, number, number_len, &padded)
    }
}

/// A CRYPTO frame.
pub(crate) fn crypto(offset: usize, bytes: &[u8]) -> Vec<u8> {
    let integer = |value: usize| (u16::try_from(value).unwrap() | 0x4000).to_be_bytes();
    [&[6][..], &integer(offset), &integer(bytes.len()), bytes].concat()
}

fn with_len(bytes: &[u8]) -> Vec<u8> {
    [&[u8::try_from(bytes.len()).unwrap()], bytes].concat()
}

/// A handshake message: a hello for files.example.net over HTTP/3, with a key share of that size.
pub(crate) fn client_hello(share: usize) -> Vec<u8> {
    let name = b"files.example.net";
    let sni = with_len16(&[&[0][..], &with_len16(name)].concat());
    let extensions = [
        extension(0, &sni),
        extension(16, &with_len16(b"\x02h3")),
        extension(43, &[2, 0x03, 0x04]),
        extension(51, &vec![0xa5; share]),
    ]
    .concat();
    let ciphers = with_len16(&[0x13, 0x01]);
    let body =
        [&[3, 3][..], &[0x55; 32], &[0], &ciphers, &[1, 0], &with_len16(&extensions)].concat();
    let len = u32::try_from(body.len()).unwrap().to_be_bytes();
    [&[1], &len[1..], &body].concat()
}

fn extension(kind: u16, data: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &with_len16(data)].concat()
}

fn with_len16(bytes: &[u8]) -> Vec<u8> {
    let len = u16::try_from(bytes.len()).unwrap().to_be_bytes();
    [&len[..], bytes].concat()
}
