//! The Internet checksum.

/// RFC 1071: the one's complement of the one's complement sum of `bytes` read as 16-bit words, on top of
/// `sum` (see [`pseudo_header`]).
pub(crate) fn internet(sum: u32, bytes: &[u8]) -> u16 {
    let mut sum = u64::from(sum);
    for pair in bytes.chunks(2) {
        let low = pair.get(1).copied().unwrap_or(0);
        sum += u64::from(u16::from_be_bytes([pair[0], low]));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).expect("folded to 16 bits")
}

/// RFC 9293 §3.1, RFC 768: the sum of the IPv4 pseudo-header.
pub(crate) fn pseudo_header(source: [u8; 4], destination: [u8; 4], protocol: u8, len: u16) -> u32 {
    let words = [
        u16::from_be_bytes([source[0], source[1]]),
        u16::from_be_bytes([source[2], source[3]]),
        u16::from_be_bytes([destination[0], destination[1]]),
        u16::from_be_bytes([destination[2], destination[3]]),
        u16::from(protocol),
        len,
    ];
    words.iter().map(|word| u32::from(*word)).sum()
}

#[cfg(test)]
mod tests {
    use super::internet;

    #[test]
    fn sums_the_example_of_the_rfc() {
        assert_eq!(internet(0, &[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), !0xddf2);
    }
}
