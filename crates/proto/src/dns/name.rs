//! Domain names with compression (RFC 1035 §4.1.4).

use std::fmt::Write;

/// Longest name in wire form (RFC 1035 §2.3.4).
const NAME_MAX: usize = 255;
/// Pointers that are followed; a name of 255 bytes cannot need more than one for each label.
const POINTERS_MAX: usize = 127;

/// The name at `at`, lower case and without the final dot, and where the bytes after it begin.
/// Pointers may only go back, so that no loop can come about.
pub(crate) fn name(message: &[u8], at: usize) -> Option<(String, usize)> {
    let mut text = String::new();
    let mut wire_len = 0_usize;
    let mut at = at;
    let mut after = None;
    let mut pointers = 0;
    loop {
        let &len = message.get(at)?;
        match len {
            0 => return Some((text, after.unwrap_or(at.checked_add(1)?))),
            1..=63 => {
                let from = at.checked_add(1)?;
                let to = from.checked_add(usize::from(len))?;
                wire_len = wire_len.checked_add(usize::from(len))?.checked_add(1)?;
                if wire_len > NAME_MAX {
                    return None;
                }
                push_label(&mut text, message.get(from..to)?);
                at = to;
            }
            0xc0.. => {
                let low = *message.get(at.checked_add(1)?)?;
                let target = usize::from(u16::from_be_bytes([len & 0x3f, low]));
                pointers += 1;
                if target >= at || pointers > POINTERS_MAX {
                    return None;
                }
                after.get_or_insert(at.checked_add(2)?);
                at = target;
            }
            _ => return None,
        }
    }
}

/// RFC 1035 §5.1 (presentation form): bytes that are not printable as `\DDD`.
fn push_label(text: &mut String, label: &[u8]) {
    if !text.is_empty() {
        text.push('.');
    }
    for &byte in label {
        match byte {
            b'.' | b'\\' => {
                text.push('\\');
                text.push(char::from(byte));
            }
            0x21..=0x7e => text.push(char::from(byte.to_ascii_lowercase())),
            _ => {
                let _ = write!(text, "\\{byte:03}");
            }
        }
    }
}
