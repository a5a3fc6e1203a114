//! The keys of Initial packets (RFC 9001 §5, RFC 9369 §3.3), which both ends and everybody between
//! them can make from what the packets say in clear.

use ring::aead::quic::{self, HeaderProtectionKey};
use ring::aead::{self, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::hmac;

use super::packet::{LongHeader, PacketType};
use crate::tls::expand_label;

/// A version whose Initial packets are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    /// Drafts 23 to 28.
    Draft23,
    /// Drafts 29 to 32.
    Draft29,
    /// RFC 9000, and drafts 33 and 34.
    V1,
    /// RFC 9369.
    V2,
}

impl Version {
    pub(super) const fn find(number: u32) -> Option<Self> {
        match number {
            1 | 0xff00_0021..=0xff00_0022 => Some(Self::V1),
            0x6b33_43cf => Some(Self::V2),
            0xff00_001d..=0xff00_0020 => Some(Self::Draft29),
            0xff00_0017..=0xff00_001c => Some(Self::Draft23),
            _ => None,
        }
    }

    /// RFC 9000 §17.2, RFC 9369 §3.2.
    pub(super) const fn packet_type(self, first: u8) -> PacketType {
        use PacketType::{Handshake, Initial, Retry, ZeroRtt};
        match (self, first >> 4 & 3) {
            (Self::V2, 1) => Initial,
            (Self::V2, 2) => ZeroRtt,
            (Self::V2, 3) => Handshake,
            (Self::V2, _) => Retry,
            (_, 0) => Initial,
            (_, 1) => ZeroRtt,
            (_, 2) => Handshake,
            (_, _) => Retry,
        }
    }

    /// RFC 9001 §5.2, RFC 9369 §3.3.1, and the same section of the drafts.
    const fn salt(self) -> [u8; 20] {
        match self {
            Self::V1 => [
                0x38, 0x76, 0x2c, 0xf7, 0xf5, 0x59, 0x34, 0xb3, 0x4d, 0x17, 0x9a, 0xe6, 0xa4, 0xc8,
                0x0c, 0xad, 0xcc, 0xbb, 0x7f, 0x0a,
            ],
            Self::V2 => [
                0x0d, 0xed, 0xe3, 0xde, 0xf7, 0x00, 0xa6, 0xdb, 0x81, 0x93, 0x81, 0xbe, 0x6e, 0x26,
                0x9d, 0xcb, 0xf9, 0xbd, 0x2e, 0xd9,
            ],
            Self::Draft29 => [
                0xaf, 0xbf, 0xec, 0x28, 0x99, 0x93, 0xd2, 0x4c, 0x9e, 0x97, 0x86, 0xf1, 0x9c, 0x61,
                0x11, 0xe0, 0x43, 0x90, 0xa8, 0x99,
            ],
            Self::Draft23 => [
                0xc3, 0xee, 0xf7, 0x12, 0xc7, 0x2e, 0xbb, 0x5a, 0x11, 0xa7, 0xd2, 0x43, 0x2b, 0xb4,
                0x63, 0x65, 0xbe, 0xf9, 0xf5, 0x02,
            ],
        }
    }

    /// Labels of key, IV and header protection (RFC 9001 §5.1, RFC 9369 §3.3.2).
    const fn labels(self) -> [&'static [u8]; 3] {
        match self {
            Self::V2 => [b"quicv2 key", b"quicv2 iv", b"quicv2 hp"],
            _ => [b"quic key", b"quic iv", b"quic hp"],
        }
    }
}

/// What seals the Initial packets of one side: AES-128-GCM (RFC 9001 §5.2).
pub(super) struct InitialKeys {
    version: Version,
    key: LessSafeKey,
    iv: [u8; 12],
    header: HeaderProtectionKey,
}

const TAG_BYTES: usize = 16;
/// RFC 9001 §5.4.2: the sample begins where a packet number of four bytes would end.
const SAMPLE_AFTER: usize = 4;

impl InitialKeys {
    /// RFC 9001 §5.2: the client's, of the destination id of its first packet.
    pub(super) fn of_client(version: Version, destination: &[u8]) -> Option<Self> {
        Self::new(version, destination, b"client in")
    }

    pub(super) fn new(version: Version, destination: &[u8], label: &[u8]) -> Option<Self> {
        let salt = hmac::Key::new(hmac::HMAC_SHA256, &version.salt());
        let initial = hmac::sign(&salt, destination);
        let initial = hmac::Key::new(hmac::HMAC_SHA256, initial.as_ref());
        let secret = expand_label(&initial, label, 32);
        let secret = hmac::Key::new(hmac::HMAC_SHA256, &secret);
        let [key, iv, header] = version.labels();
        let key = expand_label(&secret, key, aead::AES_128_GCM.key_len());
        let header = expand_label(&secret, header, quic::AES_128.key_len());
        Some(Self {
            version,
            key: LessSafeKey::new(UnboundKey::new(&aead::AES_128_GCM, &key).ok()?),
            iv: expand_label(&secret, iv, aead::NONCE_LEN).try_into().ok()?,
            header: HeaderProtectionKey::new(&quic::AES_128, &header).ok()?,
        })
    }

    pub(super) const fn version(&self) -> Version {
        self.version
    }

    /// Number and payload of a packet; `None` where it is not authentic.
    pub(super) fn open(
        &self,
        header: &LongHeader<'_>,
        packet: &[u8],
        largest: Option<u64>,
    ) -> Option<(u64, Vec<u8>)> {
        let (clear, sealed) = packet.split_at_checked(header.number_at)?;
        let sample = sealed.get(SAMPLE_AFTER..)?.get(..quic::AES_128.sample_len())?;
        let [mask_of_first, mask @ ..] = self.header.new_mask(sample).ok()?;
        let (&first, clear) = clear.split_first()?;
        let first = first ^ mask_of_first & 0x0f;
        let (number, sealed) = sealed.split_at_checked(usize::from(first & 3) + 1)?;
        let number: Vec<u8> = number.iter().zip(mask).map(|(byte, mask)| byte ^ mask).collect();
        let full = full_number(&number, largest);
        let aad = [&[first], clear, &number].concat();
        let nonce = Nonce::assume_unique_for_key(self.nonce(full));
        let mut plain = sealed.to_vec();
        self.key.open_in_place(nonce, Aad::from(aad), &mut plain).ok()?;
        plain.truncate(plain.len().checked_sub(TAG_BYTES)?);
        Some((full, plain))
    }

    /// RFC 9001 §5.3.
    fn nonce(&self, number: u64) -> [u8; 12] {
        let mut nonce = self.iv;
        for (slot, byte) in nonce.iter_mut().skip(4).zip(number.to_be_bytes()) {
            *slot ^= byte;
        }
        nonce
    }
}

/// RFC 9000 §A.3: the number that ends in these bytes and is nearest to the one that comes next.
fn full_number(bytes: &[u8], largest: Option<u64>) -> u64 {
    let truncated = bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
    let Some(expected) = largest.map(|largest| largest.saturating_add(1)) else { return truncated };
    let window = 1_u64 << (8 * bytes.len().min(4));
    let candidate = expected & !(window - 1) | truncated;
    if candidate.saturating_add(window / 2) <= expected {
        candidate.saturating_add(window)
    } else if candidate > expected.saturating_add(window / 2) && candidate >= window {
        candidate - window
    } else {
        candidate
    }
}

#[cfg(test)]
impl InitialKeys {
    /// Seals a packet: `head` ends before the length, and has the bits of the packet number's.
    pub(super) fn seal(
        &self,
        head: &[u8],
        number: u64,
        number_len: usize,
        plain: &[u8],
    ) -> Vec<u8> {
        let number_bytes = number.to_be_bytes()[8 - number_len..].to_vec();
        let len = u16::try_from(number_len + plain.len() + TAG_BYTES).unwrap() | 0x4000;
        let mut packet = [head, &len.to_be_bytes(), &number_bytes].concat();
        let number_at = packet.len() - number_len;
        packet[0] = packet[0] & !3 | u8::try_from(number_len - 1).unwrap();
        let nonce = Nonce::assume_unique_for_key(self.nonce(number));
        let mut sealed = plain.to_vec();
        self.key.seal_in_place_append_tag(nonce, Aad::from(&packet), &mut sealed).unwrap();
        packet.extend(sealed);
        let mask = self.header.new_mask(&packet[number_at + 4..number_at + 20]).unwrap();
        packet[0] ^= mask[0] & 0x0f;
        for (byte, mask) in packet[number_at..number_at + number_len].iter_mut().zip(&mask[1..]) {
            *byte ^= mask;
        }
        packet
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 9000 §A.3.
    #[test]
    fn a_packet_number_is_the_one_nearest_to_the_next() {
        assert_eq!(full_number(&[0x9b, 0x32], Some(0xa82f_30ea)), 0xa82f_9b32);
        assert_eq!(full_number(&[0x00], Some(0xff)), 0x100);
        assert_eq!(full_number(&[0xff], Some(0x100)), 0xff);
        assert_eq!(full_number(&[0xff], Some(3)), 0xff);
        assert_eq!(full_number(&[7], None), 7);
        assert_eq!(full_number(&[0xff; 4], Some(u64::MAX)), u64::MAX);
    }
}
