//! The Huffman code of HPACK (RFC 7541 §5.2 and Appendix B).
//!
//! The code is canonical: codes of one length follow each other in the order of their symbols,
//! and shorter ones come first. So the lengths alone define it.

/// Code lengths in bits of the symbols 0 to 255 (RFC 7541 Appendix B).
const LENGTHS: [u8; 256] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28,
    28, 28, 28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5,
    5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6,
    6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22,
    23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22,
    21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20,
    22, 22, 22, 23, 22, 22, 23, 26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19,
    21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22,
    22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
];
const LENGTH_MAX: usize = 30;

/// For each length: the first code, how many there are, and where their symbols begin.
struct Canonical {
    first: [u32; LENGTH_MAX + 1],
    count: [u32; LENGTH_MAX + 1],
    offset: [u32; LENGTH_MAX + 1],
    symbols: [u8; 256],
}

const CODE: Canonical = canonical();

#[expect(
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "evaluated by the compiler, which refuses what is out of range"
)]
const fn canonical() -> Canonical {
    let mut code = Canonical {
        first: [0; LENGTH_MAX + 1],
        count: [0; LENGTH_MAX + 1],
        offset: [0; LENGTH_MAX + 1],
        symbols: [0; 256],
    };
    let (mut next, mut placed, mut len) = (0, 0, 1);
    while len <= LENGTH_MAX {
        code.first[len] = next;
        code.offset[len] = placed as u32;
        let mut symbol = 0;
        while symbol < 256 {
            if LENGTHS[symbol] as usize == len {
                code.symbols[placed] = symbol as u8;
                placed += 1;
            }
            symbol += 1;
        }
        code.count[len] = placed as u32 - code.offset[len];
        next = (next + code.count[len]) << 1;
        len += 1;
    }
    code
}

/// RFC 7541 §5.2: `None` for EOS inside, and for padding that is longer than 7 bits or not all ones.
/// At most `8 / 5` times as long as the input.
pub(super) fn decode(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut text = Vec::with_capacity(bytes.len());
    let (mut code, mut len) = (0_u32, 0_usize);
    for byte in bytes {
        for bit in (0..8).rev() {
            code = code << 1 | u32::from(byte >> bit & 1);
            len += 1;
            if let Some(symbol) = symbol(code, len) {
                text.push(symbol);
                (code, len) = (0, 0);
            } else if len >= LENGTH_MAX {
                return None;
            }
        }
    }
    let ones = (1_u32 << len) - 1;
    (len <= 7 && code == ones).then_some(text)
}

fn symbol(code: u32, len: usize) -> Option<u8> {
    let nth = code.checked_sub(*CODE.first.get(len)?)?;
    if nth >= *CODE.count.get(len)? {
        return None;
    }
    let at = CODE.offset.get(len)?.checked_add(nth)?;
    CODE.symbols.get(usize::try_from(at).ok()?).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_is_complete_with_eos() {
        let eos = 30;
        let sum: u64 = LENGTHS.iter().chain([&eos]).map(|len| 1 << (30 - len)).sum();
        assert_eq!(sum, 1 << 30);
    }

    #[test]
    fn strings_of_appendix_c() {
        let cases: [(&[u8], &str); 4] = [
            (b"\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff", "www.example.com"),
            (b"\xa8\xeb\x10\x64\x9c\xbf", "no-cache"),
            (b"\x25\xa8\x49\xe9\x5b\xb8\xe8\xb4\xbf", "custom-value"),
            (
                b"\x9d\x29\xad\x17\x18\x63\xc7\x8f\x0b\x97\xc8\xe9\xae\x82\xae\x43\xd3",
                "https://www.example.com",
            ),
        ];
        for (bytes, text) in cases {
            assert_eq!(decode(bytes).unwrap(), text.as_bytes());
        }
    }

    #[test]
    fn bad_padding_and_eos_are_refused() {
        assert_eq!(decode(&[0xff, 0xff, 0xff, 0xff]), None);
        assert_eq!(decode(&[0x1f]), Some(b"a".to_vec()));
        assert_eq!(decode(&[0x18]), None);
        assert_eq!(decode(&[0x1f, 0xff]), None);
        assert_eq!(decode(&[]), Some(Vec::new()));
    }
}
