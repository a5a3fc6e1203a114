//! Text that hides inside text: base64, hexadecimal digits, `\x41` and `\101` escapes, and gzip
//! under base64.

use std::collections::HashSet;
use std::io::Read;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};

/// Shortest run that is tried without a hint.
const MIN_RUN_BYTES: usize = 24;

/// Shortest run where the text itself speaks of decoding.
const MIN_HINTED_RUN_BYTES: usize = 10;

/// Runs tried in one text.
const MAX_RUNS: usize = 4096;

/// Output of a gzip under base64.
const MAX_INFLATED_BYTES: u64 = 256 * 1024;

pub(super) const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What the text decodes to, wherever that is text again. Each result is taken off `budget`, in
/// bytes; when it is used up, the rest is left alone.
pub(super) fn payloads(text: &str, budget: &mut usize) -> Vec<String> {
    let mut found = Vec::new();
    let mut seen = HashSet::new();
    let mut keep = |payload: Option<String>| {
        let Some(payload) = payload else { return };
        match budget.checked_sub(payload.len()) {
            Some(left) => {
                *budget = left;
                found.push(payload);
            }
            None => *budget = 0,
        }
    };
    keep(unescaped(text));
    for run in runs(text) {
        if seen.insert(run.clone()) {
            keep(from_hex(&run).and_then(readable));
            keep(from_base64(&run).and_then(readable));
        }
    }
    found
}

/// Runs of base64 characters; those that were wrapped over lines are joined again.
fn runs(text: &str) -> Vec<String> {
    let hinted = ["base64", "b64decode", "atob", "xxd", "fromhex"].iter().any(|h| text.contains(h));
    let shortest = if hinted { MIN_HINTED_RUN_BYTES } else { MIN_RUN_BYTES };
    let mut runs: Vec<String> = Vec::new();
    let mut joinable = false;
    let mut rest = text;
    while !rest.is_empty() && runs.len() < MAX_RUNS {
        let length = rest.bytes().take_while(|b| is_base64(*b)).count();
        let (run, tail) = rest.split_at_checked(length).unwrap_or((rest, ""));
        match runs.last_mut() {
            Some(before) if joinable && length > 0 => before.push_str(run),
            _ if length >= shortest => runs.push(run.to_owned()),
            _ => {}
        }
        let gap = tail.find(|c: char| c.is_ascii() && u8::try_from(c).is_ok_and(is_base64));
        let (between, next) =
            tail.split_at_checked(gap.unwrap_or(tail.len())).unwrap_or((tail, ""));
        joinable = length >= 60 && length.is_multiple_of(4) && is_line_break(between);
        rest = next;
    }
    runs
}

fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_')
}

fn is_line_break(between: &str) -> bool {
    between.contains('\n') && between.chars().all(|c| matches!(c, '\n' | '\r' | '\\' | ' ' | '\t'))
}

fn from_base64(run: &str) -> Option<Vec<u8>> {
    let mut standard: Vec<u8> = run
        .bytes()
        .map(|b| match b {
            b'-' => b'+',
            b'_' => b'/',
            other => other,
        })
        .collect();
    if standard.len() % 4 == 1 {
        standard.pop();
    }
    BASE64.decode(standard).ok()
}

fn from_hex(run: &str) -> Option<Vec<u8>> {
    let digits: Vec<u32> = run.chars().map(|c| c.to_digit(16)).collect::<Option<_>>()?;
    let pairs = digits.chunks_exact(2);
    if !pairs.remainder().is_empty() {
        return None;
    }
    pairs.map(|pair| u8::try_from(pair.iter().fold(0, |n, d| n * 16 + d)).ok()).collect()
}

/// Decoded bytes as text, if they are text: UTF-8, UTF-16 as PowerShell's `-enc` takes it, or gzip
/// of UTF-8.
fn readable(bytes: Vec<u8>) -> Option<String> {
    if bytes.starts_with(&[0x1f, 0x8b]) {
        let mut inflated = Vec::new();
        let mut reader = flate2::read::GzDecoder::new(bytes.as_slice()).take(MAX_INFLATED_BYTES);
        // A cut or broken member still gives what came before the fault.
        let _ = reader.read_to_end(&mut inflated);
        return printable(String::from_utf8_lossy(&inflated).into_owned());
    }
    let wide = bytes.len() >= 4 && bytes.chunks_exact(2).all(|pair| pair.last() == Some(&0));
    if wide {
        return printable(bytes.iter().step_by(2).map(|b| char::from(*b)).collect());
    }
    printable(String::from_utf8(bytes).ok()?)
}

fn printable(text: String) -> Option<String> {
    let odd = text.chars().filter(|c| c.is_control() && !c.is_whitespace()).count();
    (!text.is_empty() && odd * 20 <= text.len()).then_some(text)
}

/// The text with `\xHH` and `\NNN` (octal) replaced, if there were any.
fn unescaped(text: &str) -> Option<String> {
    if !text.contains('\\') {
        return None;
    }
    let mut out = Vec::with_capacity(text.len());
    let mut changed = false;
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        if let (b'\\', Some((value, length))) = (byte, escape(tail)) {
            out.push(value);
            changed = true;
            rest = tail.get(length..).unwrap_or(&[]);
        } else {
            out.push(byte);
            rest = tail;
        }
    }
    changed.then(|| String::from_utf8_lossy(&out).into_owned())
}

/// Value and length of the escape whose backslash is already read.
fn escape(tail: &[u8]) -> Option<(u8, usize)> {
    let digit = |at: usize, radix| tail.get(at).and_then(|b| char::from(*b).to_digit(radix));
    if tail.first() == Some(&b'x') {
        let value = digit(1, 16)? * 16 + digit(2, 16)?;
        return Some((u8::try_from(value).ok()?, 3));
    }
    let start = usize::from(tail.first() == Some(&b'0') && digit(3, 8).is_some());
    let value = digit(start, 8)? * 64 + digit(start + 1, 8)? * 8 + digit(start + 2, 8)?;
    Some((u8::try_from(value).ok()?, start + 3))
}
