//! Why a file cannot be read, or not to its end.

use std::fmt;
use std::io;

/// Why a file cannot be read at all.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Reading failed.
    #[error("{0}")]
    Read(#[from] io::Error),
    /// There are no bytes.
    #[error("not a capture file: it is empty")]
    Empty,
    /// It is something else.
    #[error("not a capture file: it looks like {looks_like}")]
    NotACapture {
        /// A noun with its article, or "unknown data".
        looks_like: &'static str,
    },
    /// A capture file of a kind that is not read.
    #[error("{what} is not supported")]
    Unsupported {
        /// Which.
        what: &'static str,
    },
    /// A capture file that ends inside its header.
    #[error("cut off inside the file header, at byte {offset}")]
    CutOff {
        /// Where it ends.
        offset: u64,
    },
}

/// Where and why reading ended before the end. Everything before it was given.
#[derive(Debug, thiserror::Error)]
#[error("{kind} at byte {offset}")]
pub struct Damage {
    /// Offset of the record or block, in the uncompressed file.
    pub offset: u64,
    /// What is wrong with it.
    pub kind: DamageKind,
}

/// What is wrong with a capture file.
#[derive(Debug)]
pub enum DamageKind {
    /// The file ends inside a record or block.
    CutOff,
    /// A length that cannot be.
    Length {
        /// What it says.
        length: u32,
    },
    /// A pcapng block whose two lengths differ.
    LengthMismatch,
    /// A pcapng packet of an interface that was not described.
    UnknownInterface {
        /// Which.
        interface: u32,
    },
    /// More pcapng interfaces than are read.
    TooManyInterfaces,
    /// A pcapng section header that is none.
    SectionHeader,
    /// Reading failed, or what was compressed is broken.
    Read(io::Error),
}

impl fmt::Display for DamageKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CutOff => f.write_str("cut off in the middle of a record"),
            Self::Length { length } => write!(f, "impossible record length {length}"),
            Self::LengthMismatch => f.write_str("block lengths that differ"),
            Self::UnknownInterface { interface } => {
                write!(f, "packet of interface {interface}, which is not described,")
            }
            Self::TooManyInterfaces => f.write_str("too many interfaces"),
            Self::SectionHeader => f.write_str("broken section header"),
            Self::Read(error) => write!(f, "read error ({error})"),
        }
    }
}

/// Beginnings of files that are taken for captures by mistake.
const SIGNATURES: &[(&[u8], &str)] = &[
    (b"\x1f\x8b", "gzip-compressed data"),
    (b"\x28\xb5\x2f\xfd", "zstd-compressed data"),
    (b"\xfd7zXZ\0", "xz-compressed data"),
    (b"BZh", "bzip2-compressed data"),
    (b"\x04\x22\x4d\x18", "lz4-compressed data"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-zip archive"),
    (b"PK\x03\x04", "a zip archive"),
    (b"\x7fELF", "an ELF program"),
    (b"MZ", "a Windows program"),
    (b"%PDF", "a PDF document"),
    (b"\x89PNG", "a PNG image"),
    (b"SQLite format 3\0", "an SQLite database"),
    (b"snoop\0\0\0", "a snoop capture, which is not supported"),
    (b"XCP\0", "a NetXRay capture, which is not supported"),
    (b"RTSS", "a Network Monitor capture, which is not supported"),
    (b"GMBU", "a Network Monitor capture, which is not supported"),
    (b"TRSNIFF data", "a Sniffer capture, which is not supported"),
    (b"\x0c\xa5", "an nfdump file, which is not supported"),
    (b"\xa5\x0c", "an nfdump file, which is not supported"),
];

/// What a file that begins with `head` looks like: a noun with its article.
pub(super) fn looks_like(head: &[u8]) -> &'static str {
    if head.is_empty() {
        return "an empty file";
    }
    if let Some((_, name)) = SIGNATURES.iter().find(|(magic, _)| head.starts_with(magic)) {
        return name;
    }
    if head.get(257..262) == Some(b"ustar") {
        return "a tar archive";
    }
    if head.iter().all(|&byte| byte == 0) {
        return "nothing but zero bytes";
    }
    looks_like_text(head).unwrap_or("unknown data")
}

fn looks_like_text(head: &[u8]) -> Option<&'static str> {
    if !head.iter().all(|&byte| byte >= 0x20 || matches!(byte, b'\t' | b'\n' | b'\r' | 0x0c)) {
        return None;
    }
    let text = head.trim_ascii_start();
    let begins = |prefix: &[u8]| {
        text.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    };
    Some(if begins(b"<!doctype html") || begins(b"<html") {
        "an HTML page"
    } else if begins(b"<?xml") {
        "an XML document"
    } else if begins(b"{") || begins(b"[{") {
        "JSON"
    } else {
        "text"
    })
}
