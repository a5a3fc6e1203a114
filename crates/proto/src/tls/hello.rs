//! `ClientHello` and `ServerHello` (RFC 8446 §4.1.2, §4.1.3; RFC 5246 §7.4.1).

use tw_model::{Direction, TlsHello};

use super::ja4::{self, Carrier};
use crate::cursor::Cursor;
use crate::http::fields::text;
use crate::reader::Ends;

const SERVER_NAME: u16 = 0;
const SIGNATURE_ALGORITHMS: u16 = 13;
const ALPN: u16 = 16;
const EARLY_DATA: u16 = 42;
const SUPPORTED_VERSIONS: u16 = 43;

/// RFC 8446 §4.1.3: the random of a HelloRetryRequest, SHA-256 of its name.
const RETRY: [u8; 32] = [
    0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91,
    0xc2, 0xa2, 0x11, 0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
];

/// What a client offers, as far as names and JA4 need it. Lists are as sent, GREASE included, and are
/// only read where somebody asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ClientHello<'a> {
    pub(crate) legacy_version: u16,
    pub(crate) random: [u8; 32],
    pub(crate) ciphers: Cursor<'a>,
    pub(crate) extensions: Cursor<'a>,
    pub(crate) sni: Option<&'a [u8]>,
    alpn: Cursor<'a>,
    signature_algorithms: Cursor<'a>,
    supported_versions: Cursor<'a>,
    early_data: bool,
}

impl<'a> ClientHello<'a> {
    /// Handshake message type.
    pub(crate) const KIND: u8 = 1;

    /// Parses the body of a handshake message of type 1; `None` where no server would take it.
    pub(crate) fn parse(body: &'a [u8]) -> Option<Self> {
        let mut cursor = Cursor::new(body);
        let mut hello = Self { legacy_version: cursor.u16()?, ..Self::default() };
        hello.random = *cursor.take(32)?.first_chunk()?;
        cursor.vector8()?;
        hello.ciphers = cursor.vector16()?;
        cursor.vector8()?;
        // Hellos without extensions end here (RFC 5246 §7.4.1.2).
        if cursor.is_empty() {
            return Some(hello);
        }
        hello.extensions = cursor.vector16()?;
        let mut extensions = hello.extensions;
        while !extensions.is_empty() {
            let kind = extensions.u16()?;
            let data = extensions.vector16()?;
            hello.extension(kind, data);
        }
        Some(hello)
    }

    /// One that is malformed inside says nothing; the hello is still one.
    fn extension(&mut self, kind: u16, mut data: Cursor<'a>) {
        match kind {
            SERVER_NAME if self.sni.is_none() => self.sni = server_name(data),
            SIGNATURE_ALGORITHMS => {
                self.signature_algorithms = data.vector16().unwrap_or_default();
            }
            ALPN => self.alpn = data.vector16().unwrap_or_default(),
            SUPPORTED_VERSIONS => self.supported_versions = data.vector8().unwrap_or_default(),
            EARLY_DATA => self.early_data = true,
            _ => {}
        }
    }

    /// RFC 8446 §4.2.10.
    pub(crate) const fn offers_early_data(&self) -> bool {
        self.early_data
    }

    /// Cipher suites.
    pub(crate) fn ciphers(&self) -> Vec<u16> {
        numbers(self.ciphers)
    }

    /// Types of extensions.
    pub(crate) fn extensions(&self) -> Vec<u16> {
        let mut extensions = self.extensions;
        std::iter::from_fn(|| {
            let kind = extensions.u16()?;
            extensions.vector16()?;
            Some(kind)
        })
        .collect()
    }

    /// RFC 8446 §4.2.3.
    pub(crate) fn signature_algorithms(&self) -> Vec<u16> {
        numbers(self.signature_algorithms)
    }

    /// RFC 8446 §4.2.1.
    pub(crate) fn supported_versions(&self) -> Vec<u16> {
        numbers(self.supported_versions)
    }

    /// RFC 7301 §3.1.
    pub(crate) fn alpn(&self) -> impl Iterator<Item = &'a [u8]> {
        let mut names = self.alpn;
        std::iter::from_fn(move || Some(names.vector8()?.rest()))
    }

    /// What is told of it; the server's version is not known yet. ALPN and JA4 only where they are asked
    /// for.
    pub(crate) fn told(
        &self,
        ends: &Ends,
        direction: Direction,
        carrier: Carrier,
        fingerprints: bool,
    ) -> TlsHello {
        let (client, server) = ends.sender_and_receiver(direction);
        TlsHello {
            flow: ends.flow,
            client,
            server,
            sni: self.sni.map(text),
            alpn: if fingerprints { self.alpn().map(text).collect() } else { Vec::new() },
            ja4: fingerprints.then(|| ja4::fingerprint(self, carrier)),
            version: None,
            quic: carrier == Carrier::Quic,
        }
    }
}

/// RFC 6066 §3: the first name of type `host_name`.
fn server_name<'a>(mut data: Cursor<'a>) -> Option<&'a [u8]> {
    let mut names = data.vector16()?;
    while let Some(kind) = names.u8() {
        let name = names.vector16()?;
        if kind == 0 {
            return Some(name.rest());
        }
    }
    None
}

fn numbers(mut list: Cursor<'_>) -> Vec<u16> {
    std::iter::from_fn(|| list.u16()).collect()
}

/// What a server chose.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ServerHello {
    /// Of `supported_versions`, else the legacy version.
    pub(crate) version: u16,
    pub(crate) random: [u8; 32],
    /// Cipher suite.
    pub(crate) cipher: u16,
}

impl ServerHello {
    /// Parses the body of a handshake message of type 2. A HelloRetryRequest is one too, and names
    /// the version that the later hello has to confirm (RFC 8446 §4.1.4).
    pub(crate) fn parse(body: &[u8]) -> Option<Self> {
        let mut cursor = Cursor::new(body);
        let mut version = cursor.u16()?;
        let random = *cursor.take(32)?.first_chunk()?;
        cursor.vector8()?;
        let cipher = cursor.u16()?;
        cursor.u8()?;
        let mut extensions = cursor.vector16().unwrap_or(Cursor::new(&[]));
        while let (Some(kind), Some(mut data)) = (extensions.u16(), extensions.vector16()) {
            if kind == SUPPORTED_VERSIONS
                && let Some(chosen) = data.u16()
            {
                version = chosen;
            }
        }
        Some(Self { version, random, cipher })
    }

    /// Is it a HelloRetryRequest?
    pub(crate) fn is_retry(&self) -> bool {
        self.random == RETRY
    }
}

/// What TLS 1.3's server says first under its keys (RFC 8446 §4.3.1).
pub(crate) struct EncryptedExtensions;

impl EncryptedExtensions {
    /// Handshake message type.
    pub(crate) const KIND: u8 = 8;

    /// Does it take the early data?
    pub(crate) fn takes_early_data(body: &[u8]) -> bool {
        let mut extensions = Cursor::new(body).vector16().unwrap_or(Cursor::new(&[]));
        while let (Some(kind), Some(_)) = (extensions.u16(), extensions.vector16()) {
            if kind == EARLY_DATA {
                return true;
            }
        }
        false
    }
}

/// `TLS 1.2` and the like; drafts of 1.3 (0x7fxx) count as 1.3.
pub(crate) fn version_name(version: u16) -> String {
    match version {
        0x0002 => "SSLv2".to_owned(),
        0x0300 => "SSLv3".to_owned(),
        0x0301 => "TLS 1.0".to_owned(),
        0x0302 => "TLS 1.1".to_owned(),
        0x0303 => "TLS 1.2".to_owned(),
        0x0304 | 0x7f00..=0x7fff => "TLS 1.3".to_owned(),
        other => format!("0x{other:04x}"),
    }
}
