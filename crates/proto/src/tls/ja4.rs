//! JA4, the TLS client fingerprint (FoxIO, technical_details/JA4.md; BSD 3-Clause).

use std::fmt::Write;

use sha2::{Digest, Sha256};

use super::hello::ClientHello;

const SERVER_NAME: u16 = 0;
const ALPN: u16 = 16;

/// What a hello was sent over: the fingerprint begins with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Carrier {
    Tcp,
    Quic,
}

/// The fingerprint of a hello: `t13d1516h2_8daaf6152771_e5627efa2ab1`.
pub(crate) fn fingerprint(hello: &ClientHello, carrier: Carrier) -> String {
    let mut ciphers = without_grease(&hello.ciphers);
    let mut extensions = without_grease(&hello.extensions);
    let sni = if hello.extensions.contains(&SERVER_NAME) { 'd' } else { 'i' };
    let carrier = match carrier {
        Carrier::Tcp => 't',
        Carrier::Quic => 'q',
    };
    let mut text = format!(
        "{carrier}{}{sni}{:02}{:02}{}",
        version(hello),
        ciphers.len().min(99),
        extensions.len().min(99),
        alpn(hello.alpn.first().map(Vec::as_slice)),
    );
    ciphers.sort_unstable();
    extensions.sort_unstable();
    extensions.retain(|kind| !matches!(*kind, SERVER_NAME | ALPN));
    let algorithms = without_grease(&hello.signature_algorithms);
    text.push('_');
    text.push_str(&digest(&ciphers, &[]));
    text.push('_');
    text.push_str(&digest(&extensions, &algorithms));
    text
}

/// RFC 8701: 0x0a0a, 0x1a1a … 0xfafa.
const fn is_grease(number: u16) -> bool {
    let [high, low] = number.to_be_bytes();
    high == low && low & 0x0f == 0x0a
}

fn without_grease(numbers: &[u16]) -> Vec<u16> {
    numbers.iter().copied().filter(|number| !is_grease(*number)).collect()
}

/// The highest of `supported_versions`, else the legacy version.
fn version(hello: &ClientHello) -> &'static str {
    let offered = without_grease(&hello.supported_versions).into_iter().max();
    match offered.unwrap_or(hello.legacy_version) {
        0x0304 => "13",
        0x0303 => "12",
        0x0302 => "11",
        0x0301 => "10",
        0x0300 => "s3",
        0x0002 => "s2",
        _ => "00",
    }
}

/// First and last character of the first ALPN; where one of them is not alphanumeric, first and
/// last digit of its hexadecimal form.
fn alpn(name: Option<&[u8]>) -> String {
    let Some((first, last)) = name.and_then(|name| Some((*name.first()?, *name.last()?))) else {
        return "00".to_owned();
    };
    if first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric() {
        return format!("{}{}", char::from(first), char::from(last));
    }
    format!("{:x}{:x}", first >> 4, last & 0x0f)
}

/// First 12 hex digits of the SHA-256 of the list; zeros where it is empty.
fn digest(list: &[u16], after: &[u16]) -> String {
    if list.is_empty() {
        return "000000000000".to_owned();
    }
    let mut joined = joined(list);
    if !after.is_empty() {
        joined.push('_');
        joined.push_str(&self::joined(after));
    }
    let hash = Sha256::digest(joined.as_bytes());
    hash.iter().take(6).fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn joined(list: &[u16]) -> String {
    let numbers: Vec<String> = list.iter().map(|number| format!("{number:04x}")).collect();
    numbers.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification.
    fn example() -> ClientHello {
        ClientHello {
            legacy_version: 0x0303,
            random: [0; 32],
            ciphers: vec![
                0x1a1a, 0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8,
                0xc013, 0xc014, 0x009c, 0x009d, 0x002f, 0x0035,
            ],
            extensions: vec![
                0x2a2a, 0x001b, 0x0000, 0x0033, 0x0010, 0x4469, 0x0017, 0x002d, 0x000d, 0x0005,
                0x0023, 0x0012, 0x002b, 0xff01, 0x000b, 0x000a, 0x0015, 0x3a3a,
            ],
            sni: Some("example.com".to_owned()),
            alpn: vec![b"h2".to_vec(), b"http/1.1".to_vec()],
            signature_algorithms: vec![
                0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601,
            ],
            supported_versions: vec![0x4a4a, 0x0304, 0x0303],
        }
    }

    #[test]
    fn the_specification_s_example() {
        assert_eq!(fingerprint(&example(), Carrier::Tcp), "t13d1516h2_8daaf6152771_e5627efa2ab1");
    }

    #[test]
    fn an_empty_hello_has_zeros() {
        let hello = ClientHello { legacy_version: 0x0301, ..ClientHello::default() };
        assert_eq!(fingerprint(&hello, Carrier::Tcp), "t10i000000_000000000000_000000000000");
    }

    #[test]
    fn without_signature_algorithms_there_is_no_underscore() {
        let with = ClientHello { signature_algorithms: Vec::new(), ..example() };
        let list = "0005,000a,000b,000d,0012,0015,0017,001b,0023,002b,002d,0033,4469,ff01";
        let hash = Sha256::digest(list.as_bytes());
        let end = format!("{:02x}{:02x}", hash[0], hash[1]);
        assert!(fingerprint(&with, Carrier::Tcp).split('_').nth(2).unwrap().starts_with(&end));
    }

    #[test]
    fn alpn_ends() {
        assert_eq!(alpn(Some(b"http/1.1")), "h1");
        assert_eq!(alpn(Some(b"x")), "xx");
        assert_eq!(alpn(Some(&[0xab])), "ab");
        assert_eq!(alpn(Some(&[0x30, 0xab])), "3b");
        assert_eq!(alpn(Some(&[0x0a, 0x0a])), "0a");
        assert_eq!(alpn(Some(b"")), "00");
        assert_eq!(alpn(None), "00");
    }
}
