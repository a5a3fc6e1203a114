//! The codings of a context, decoded step by step.
//!
//! Concatenated gzip members, bzip2 streams, xz streams and zstd frames are one archive, as for the
//! daemon's readers. Memory: an xz dictionary of at most 64 MiB, a zstd window of at most 32 MiB.

use flate2::FlushDecompress;
use liblzma::stream::{Action, CONCATENATED, Error, Stream};
use zstd::stream::raw::{DParameter, Decoder, Operation};

/// Bytes that tell the coding.
pub(super) const MAGIC_BYTES: usize = 6;

/// `xz -9` needs 65 MiB.
const MAX_XZ_BYTES: u64 = 72 << 20;

/// `zstd -19` and below use at most 2^23.
const MAX_ZSTD_WINDOW_LOG: u32 = 25;

/// A decoder and where it stands.
pub(super) enum Codec {
    Identity,
    Gzip(Box<flate2::Decompress>, Member),
    Bzip2(Box<bzip2::Decompress>, Member),
    Xz(Box<Stream>),
    Zstd(Box<Decoder<'static>>, Member),
    Unusable,
}

/// Of several that follow each other.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Member {
    Open,
    Ended,
}

/// Outcome of one step.
pub(super) enum Step {
    /// No bytes read and none written: more input is needed.
    Progress { read: usize, written: usize },
    /// No more will come after these.
    Broken { written: usize },
    /// It would take more memory than we give.
    TooLarge,
}

/// The name that the output has for the coding of these first bytes.
pub(super) fn name_of(magic: &[u8]) -> &'static str {
    if magic.starts_with(&[0x1f, 0x8b]) {
        "gzip"
    } else if magic.starts_with(b"BZh") {
        "bzip2"
    } else if magic.starts_with(&[0xfd, b'7', b'z', b'X', b'Z', 0]) {
        "xz"
    } else if is_zstd(magic) {
        "zstd"
    } else {
        "identity"
    }
}

/// RFC 8878 §3.1: a Zstandard frame or a skippable one.
fn is_zstd(magic: &[u8]) -> bool {
    match magic {
        [0x28, 0xb5, 0x2f, 0xfd, ..] => true,
        [first, 0x2a, 0x4d, 0x18, ..] => first & 0xf0 == 0x50,
        _ => false,
    }
}

impl Codec {
    pub(super) fn for_content(magic: &[u8]) -> Self {
        match name_of(magic) {
            "gzip" => Self::Gzip(Box::new(gzip()), Member::Open),
            "bzip2" => Self::Bzip2(Box::new(bzip2::Decompress::new(false)), Member::Open),
            "xz" => Stream::new_stream_decoder(MAX_XZ_BYTES, CONCATENATED)
                .map_or(Self::Unusable, |stream| Self::Xz(Box::new(stream))),
            "zstd" => zstd_decoder()
                .map_or(Self::Unusable, |decoder| Self::Zstd(Box::new(decoder), Member::Open)),
            _ => Self::Identity,
        }
    }

    /// Decodes some of `input` into `output`.
    pub(super) fn step(&mut self, input: &[u8], output: &mut [u8]) -> Step {
        match self {
            Self::Gzip(decoder, member) => {
                if !reopen(member, input, || **decoder = gzip()) {
                    return Step::Progress { read: 0, written: 0 };
                }
                let before = (decoder.total_in(), decoder.total_out());
                let status = decoder.decompress(input, output, FlushDecompress::None);
                if matches!(status, Ok(flate2::Status::StreamEnd)) {
                    *member = Member::Ended;
                }
                progress(before, (decoder.total_in(), decoder.total_out()), status.is_ok())
            }
            Self::Bzip2(decoder, member) => {
                if !reopen(member, input, || **decoder = bzip2::Decompress::new(false)) {
                    return Step::Progress { read: 0, written: 0 };
                }
                let before = (decoder.total_in(), decoder.total_out());
                let status = decoder.decompress(input, output);
                if matches!(status, Ok(bzip2::Status::StreamEnd)) {
                    *member = Member::Ended;
                }
                let sound = !matches!(status, Ok(bzip2::Status::MemNeeded) | Err(_));
                progress(before, (decoder.total_in(), decoder.total_out()), sound)
            }
            Self::Xz(stream) => {
                let before = (stream.total_in(), stream.total_out());
                let status = stream.process(input, output, Action::Run);
                if matches!(status, Err(Error::MemLimit | Error::Mem)) {
                    return Step::TooLarge;
                }
                progress(before, (stream.total_in(), stream.total_out()), status.is_ok())
            }
            Self::Zstd(decoder, member) => zstd_step(decoder, member, input, output),
            Self::Identity | Self::Unusable => Step::TooLarge,
        }
    }
}

fn gzip() -> flate2::Decompress {
    flate2::Decompress::new_gzip(15)
}

fn zstd_decoder() -> Option<Decoder<'static>> {
    let mut decoder = Decoder::new().ok()?;
    decoder.set_parameter(DParameter::WindowLogMax(MAX_ZSTD_WINDOW_LOG)).ok()?;
    Some(decoder)
}

fn zstd_step(
    decoder: &mut Decoder<'static>,
    member: &mut Member,
    input: &[u8],
    output: &mut [u8],
) -> Step {
    if *member == Member::Ended && input.is_empty() {
        return Step::Progress { read: 0, written: 0 };
    }
    *member = Member::Open;
    match decoder.run_on_buffers(input, output) {
        Ok(status) => {
            if status.remaining == 0 {
                *member = Member::Ended;
            }
            Step::Progress { read: status.bytes_read, written: status.bytes_written }
        }
        Err(error) if error.to_string().contains("too much memory") => Step::TooLarge,
        Err(_) => Step::Broken { written: 0 },
    }
}

/// Starts the next member where there is input for it. `false` where there is none.
fn reopen(member: &mut Member, input: &[u8], fresh: impl FnOnce()) -> bool {
    if *member == Member::Open {
        return true;
    }
    if input.is_empty() {
        return false;
    }
    fresh();
    *member = Member::Open;
    true
}

fn progress(before: (u64, u64), after: (u64, u64), sound: bool) -> Step {
    let grown = |before: u64, after: u64| usize::try_from(after.saturating_sub(before));
    match (grown(before.0, after.0), grown(before.1, after.1)) {
        (Ok(read), Ok(written)) if sound => Step::Progress { read, written },
        (_, Ok(written)) => Step::Broken { written },
        _ => Step::Broken { written: 0 },
    }
}
