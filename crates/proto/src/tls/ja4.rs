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
pub(crate) fn fingerprint(hello: &ClientHello<'_>, carrier: Carrier) -> String {
    let mut ciphers = without_grease(&hello.ciphers());
    let mut extensions = without_grease(&hello.extensions());
    let sni = if extensions.contains(&SERVER_NAME) { 'd' } else { 'i' };
    let carrier = match carrier {
        Carrier::Tcp => 't',
        Carrier::Quic => 'q',
    };
    let mut text = format!(
        "{carrier}{}{sni}{:02}{:02}{}",
        version(hello),
        ciphers.len().min(99),
        extensions.len().min(99),
        alpn(hello.alpn().next()),
    );
    ciphers.sort_unstable();
    extensions.sort_unstable();
    extensions.retain(|kind| !matches!(*kind, SERVER_NAME | ALPN));
    let algorithms = without_grease(&hello.signature_algorithms());
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
fn version(hello: &ClientHello<'_>) -> &'static str {
    let offered = without_grease(&hello.supported_versions()).into_iter().max();
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

    fn list16(numbers: &[u16]) -> Vec<u8> {
        let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_be_bytes()).collect();
        [&u16::try_from(bytes.len()).unwrap().to_be_bytes()[..], &bytes].concat()
    }

    fn extension(kind: u16, value: &[u8]) -> Vec<u8> {
        let len = u16::try_from(value.len()).unwrap();
        [&kind.to_be_bytes()[..], &len.to_be_bytes(), value].concat()
    }

    /// The example of the specification, with or without `signature_algorithms`.
    fn example(algorithms: bool) -> Vec<u8> {
        let mut hello = vec![3, 3];
        hello.extend_from_slice(&[0; 33]);
        hello.extend(list16(&[
            0x1a1a, 0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0xc013,
            0xc014, 0x009c, 0x009d, 0x002f, 0x0035,
        ]));
        hello.extend_from_slice(&[1, 0]);
        let signed = list16(&[0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601]);
        let mut extensions = Vec::new();
        for kind in [
            0x2a2a, 0x001b, 0x0000, 0x0033, 0x0010, 0x4469, 0x0017, 0x002d, 0x000d, 0x0005, 0x0023,
            0x0012, 0x002b, 0xff01, 0x000b, 0x000a, 0x0015, 0x3a3a,
        ] {
            extensions.extend(match kind {
                0x0000 => extension(kind, b"\0\x0e\0\0\x0bexample.com"),
                0x0010 => extension(kind, b"\0\x0c\x02h2\x08http/1.1"),
                0x000d if algorithms => extension(kind, &signed),
                0x002b => extension(kind, &[6, 0x4a, 0x4a, 3, 4, 3, 3]),
                _ => extension(kind, &[]),
            });
        }
        hello.extend_from_slice(&u16::try_from(extensions.len()).unwrap().to_be_bytes());
        hello.extend(extensions);
        hello
    }

    #[test]
    fn the_specification_s_example() {
        let example = example(true);
        let hello = ClientHello::parse(&example).unwrap();
        assert_eq!(fingerprint(&hello, Carrier::Tcp), "t13d1516h2_8daaf6152771_e5627efa2ab1");
    }

    #[test]
    fn an_empty_hello_has_zeros() {
        let mut hello = ClientHello::default();
        hello.legacy_version = 0x0301;
        assert_eq!(fingerprint(&hello, Carrier::Tcp), "t10i000000_000000000000_000000000000");
    }

    #[test]
    fn without_signature_algorithms_there_is_no_underscore() {
        let example = example(false);
        let hello = ClientHello::parse(&example).unwrap();
        let list = "0005,000a,000b,000d,0012,0015,0017,001b,0023,002b,002d,0033,4469,ff01";
        let hash = Sha256::digest(list.as_bytes());
        let end = format!("{:02x}{:02x}", hash[0], hash[1]);
        assert!(fingerprint(&hello, Carrier::Tcp).split('_').nth(2).unwrap().starts_with(&end));
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
