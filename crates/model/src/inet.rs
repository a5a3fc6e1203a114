//! Addresses as downloaders read them.

use std::net::Ipv4Addr;

/// POSIX `inet_addr`: one to four numbers, decimal, `0` octal or `0x` hexadecimal; the last fills
/// the bytes that are left.
#[must_use]
pub fn inet_aton(host: &str) -> Option<Ipv4Addr> {
    let mut numbers = Vec::with_capacity(4);
    for part in host.split('.') {
        if numbers.len() == 4 {
            return None;
        }
        numbers.push(number(part)?);
    }
    let (last, first) = numbers.split_last()?;
    let mut address = 0_u32;
    for byte in first {
        address = (address << 8) | u32::from(u8::try_from(*byte).ok()?);
    }
    let bytes_left = 4 - u32::try_from(first.len()).ok()?;
    let limit = 1_u64 << (8 * bytes_left);
    if u64::from(*last) >= limit {
        return None;
    }
    let shifted = if bytes_left == 4 { 0 } else { address << (8 * bytes_left) };
    Some(Ipv4Addr::from(shifted | last))
}

fn number(part: &str) -> Option<u32> {
    let (digits, radix) = match part.strip_prefix("0x") {
        Some(hex) => (hex, 16),
        None if part.len() > 1 && part.starts_with('0') => (part, 8),
        None => (part, 10),
    };
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    u32::from_str_radix(digits, radix).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_an_address_is_read() {
        let address = Ipv4Addr::new(203, 0, 113, 9);
        for text in ["203.0.113.9", "3405803785", "0xcb007109", "0xcb.0.0x7109", "0313.0.0161.011"]
        {
            assert_eq!(inet_aton(text), Some(address), "{text}");
        }
        for text in ["", "203.0.113.", "1.2.3.4.5", "256.1", "1.2.65536", "0x", "09", "a", "-1"] {
            assert_eq!(inet_aton(text), None, "{text}");
        }
    }
}
