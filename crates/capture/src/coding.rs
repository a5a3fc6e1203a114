//! Compression, recognised by the content.

use std::io::{self, BufReader, Cursor, Read};

use bzip2::bufread::MultiBzDecoder;
use flate2::bufread::MultiGzDecoder;
use liblzma::bufread::XzDecoder;
use liblzma::stream::{CONCATENATED, Stream};

/// The largest zstd window that is accepted, as a power of two: 256 MiB. `--long=27` needs half of it.
const ZSTD_WINDOW_LOG: u32 = 28;

/// Memory that an xz file may ask for. `xz -9` needs 65 MiB.
const XZ_MEMORY: u64 = 512 << 20;

/// Bytes read at once from a compressed file.
const BUFFER: usize = 128 << 10;

/// Bytes looked at before a coding is known.
const MAGIC: usize = 6;

/// How an input is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coding {
    Gzip,
    Zstd,
    Xz,
    Bzip2,
}

impl Coding {
    fn of(head: &[u8]) -> Option<Self> {
        Some(match head {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            [0xfd, b'7', b'z', b'X', b'Z', 0] => Self::Xz,
            [b'B', b'Z', b'h', b'1'..=b'9', ..] => Self::Bzip2,
            _ => return None,
        })
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Xz => "xz",
            Self::Bzip2 => "bzip2",
        }
    }
}

/// Whatever can be read by one thread after another.
pub(crate) type Input = Box<dyn Read + Send>;

/// Undoes the compression of `input`, if there is one. Memory is bounded whatever the data says; the amount of data
/// that comes out is not, since it is only streamed through.
pub(crate) fn decoded(
    mut input: impl Read + Send + 'static,
) -> io::Result<(Option<Coding>, Input)> {
    let mut head = [0; MAGIC];
    let mut filled = 0;
    while let Some(space) = head.get_mut(filled..)
        && !space.is_empty()
    {
        match input.read(space) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let head = head.get(..filled).unwrap_or_default().to_vec();
    let coding = Coding::of(&head);
    let whole = Cursor::new(head).chain(input);
    let buffered = |whole| BufReader::with_capacity(BUFFER, whole);
    Ok((
        coding,
        match coding {
            None => Box::new(whole),
            Some(Coding::Gzip) => Box::new(MultiGzDecoder::new(buffered(whole))),
            Some(Coding::Bzip2) => Box::new(MultiBzDecoder::new(buffered(whole))),
            Some(Coding::Xz) => {
                let stream = Stream::new_stream_decoder(XZ_MEMORY, CONCATENATED)?;
                Box::new(XzDecoder::new_stream(buffered(whole), stream))
            }
            Some(Coding::Zstd) => {
                let mut decoder = zstd::Decoder::with_buffer(buffered(whole))?;
                decoder.window_log_max(ZSTD_WINDOW_LOG)?;
                Box::new(decoder)
            }
        },
    ))
}
