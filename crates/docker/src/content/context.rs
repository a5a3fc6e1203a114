//! Reads an uploaded build context while it passes by.
//!
//! In: the body of `POST /build`, in any pieces. Out: what the archive holds, and the text of its
//! Dockerfile. The coding is told by the content, never by a header. Nothing is written to disk, and
//! no file but the Dockerfile, `.dockerignore` and a few small ones (a Dockerfile may be a link) is
//! kept. Limits: [`ContextLimits`].

mod codec;
mod files;
mod header;
mod tar;

use sha2::{Digest, Sha256};
use tw_model::Context;

use codec::{Codec, Step};
use files::Files;
pub(crate) use files::{MAGIC_BYTES, is_program, normalised};
use tar::{TarReader, TarState};

/// Compressed bytes that are decoded at a time.
const INPUT_BLOCK_BYTES: usize = 4096;

/// What a context may cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ContextLimits {
    /// Decoded bytes of a compressed context; what comes after them is not looked at.
    pub(crate) max_decoded_bytes: u64,
    /// Bytes of the Dockerfile that are kept.
    pub(crate) max_dockerfile_bytes: usize,
    /// Names that are kept.
    pub(crate) max_names: usize,
}

impl Default for ContextLimits {
    fn default() -> Self {
        Self { max_decoded_bytes: 512 << 20, max_dockerfile_bytes: 1 << 20, max_names: 100 }
    }
}

/// What a context held.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ContextFacts {
    /// For the output.
    pub(crate) context: Context,
    /// Text of the Dockerfile, invalid UTF-8 replaced, secrets still in it.
    pub(crate) dockerfile: Option<String>,
    /// The text is not all of it, or not exactly what the daemon sees.
    pub(crate) dockerfile_truncated: bool,
    /// Text of `.dockerignore`.
    pub(crate) dockerignore: Option<String>,
    /// The archive or its coding is broken.
    pub(crate) malformed: bool,
    /// A limit was reached, and the rest not looked at.
    pub(crate) limit_hit: bool,
    /// Bytes were missing.
    pub(crate) gap: bool,
    /// The end of the archive was seen.
    pub(crate) complete: bool,
    /// The body is a Dockerfile, not an archive.
    pub(crate) plain_dockerfile: bool,
}

/// Push the body in, in order, then [`finish`](Self::finish).
///
/// Docker Engine API, `ImageBuild`: the body is a tar in identity, gzip, bzip2 or xz; daemons take
/// zstd as well.
pub(crate) struct ContextReader {
    magic: Vec<u8>,
    codec: Option<Codec>,
    coding_is_broken: bool,
    /// Compressed bytes that wait for a whole block: what a decoder gives before an error depends on
    /// how it was fed, and must not depend on how the body was cut.
    block: Vec<u8>,
    body: Body,
    hash: Sha256,
    uploaded_bytes: u64,
    decoded_bytes: u64,
    limit_hit: bool,
    gap: bool,
    limits: ContextLimits,
}

impl ContextReader {
    /// `dockerfile_path` is the `dockerfile` parameter of the call, decoded: a path in the context,
    /// or Podman's JSON array of paths, of which the first counts. Empty for the daemon's default.
    pub(crate) fn new(dockerfile_path: &str, limits: ContextLimits) -> Self {
        Self {
            magic: Vec::new(),
            codec: None,
            coding_is_broken: false,
            block: Vec::new(),
            body: Body::Undecided { head: Vec::new(), files: Files::new(dockerfile_path, limits) },
            hash: Sha256::new(),
            uploaded_bytes: 0,
            decoded_bytes: 0,
            limit_hit: false,
            gap: false,
            limits,
        }
    }

    /// The next bytes of the body.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.uploaded_bytes = self.uploaded_bytes.saturating_add(len(bytes));
        self.hash.update(bytes);
        if self.codec.is_some() {
            self.feed(bytes);
            return;
        }
        let missing = codec::MAGIC_BYTES.saturating_sub(self.magic.len()).min(bytes.len());
        let (magic, rest) = bytes.split_at_checked(missing).unwrap_or((bytes, &[]));
        self.magic.extend_from_slice(magic);
        if self.magic.len() >= codec::MAGIC_BYTES {
            self.start();
            self.feed(rest);
        }
    }

    /// `len` bytes of the body are missing here.
    ///
    /// In an archive that is not compressed, a gap inside a file costs only that file.
    pub(crate) fn gap(&mut self, len: u64) {
        if len == 0 {
            return;
        }
        self.gap = true;
        self.uploaded_bytes = self.uploaded_bytes.saturating_add(len);
        if matches!(self.codec, Some(Codec::Identity)) {
            self.body.gap(len);
            return;
        }
        if self.codec.is_some() {
            self.flush();
        }
        self.codec = Some(Codec::Identity);
        self.body.lose();
    }

    /// No more bytes will come.
    pub(crate) fn finish(mut self) -> ContextFacts {
        let encoding = codec::name_of(&self.magic);
        if self.codec.is_none() {
            self.start();
        }
        self.flush();
        let mut facts = self.body.finish(self.gap);
        facts.malformed |= self.coding_is_broken && !facts.complete;
        facts.limit_hit |= self.limit_hit;
        facts.gap = self.gap;
        facts.context.bytes = self.uploaded_bytes;
        if self.uploaded_bytes > 0 && !self.magic.is_empty() {
            facts.context.encoding = Some(encoding.to_owned());
        }
        if !self.gap && self.uploaded_bytes > 0 {
            facts.context.sha256 = Some(hex(&self.hash.finalize()));
        }
        facts
    }

    fn start(&mut self) {
        self.codec = Some(Codec::for_content(&self.magic));
        let magic = self.magic.clone();
        self.feed(&magic);
    }

    fn feed(&mut self, mut bytes: &[u8]) {
        if matches!(self.codec, Some(Codec::Identity)) {
            self.body.push(bytes);
            return;
        }
        while !bytes.is_empty() {
            let missing = INPUT_BLOCK_BYTES.saturating_sub(self.block.len()).min(bytes.len());
            let (now, rest) = bytes.split_at_checked(missing).unwrap_or((bytes, &[]));
            self.block.extend_from_slice(now);
            if self.block.len() >= INPUT_BLOCK_BYTES {
                self.flush();
            }
            bytes = rest;
        }
    }

    fn flush(&mut self) {
        let block = std::mem::take(&mut self.block);
        self.decode(&block);
        self.block = block;
        self.block.clear();
    }

    fn decode(&mut self, mut input: &[u8]) {
        let Some(codec) = self.codec.as_mut().filter(|codec| !matches!(codec, Codec::Identity))
        else {
            return;
        };
        let mut output = [0; 16 * 1024];
        while !self.limit_hit && !self.coding_is_broken && !self.body.is_done() {
            let step = codec.step(input, &mut output);
            let (read, written) = match step {
                Step::Progress { read, written } => (read, written),
                Step::Broken { written } => {
                    self.coding_is_broken = true;
                    (0, written)
                }
                Step::TooLarge => {
                    self.limit_hit = true;
                    return;
                }
            };
            let room = self.limits.max_decoded_bytes.saturating_sub(self.decoded_bytes);
            let room = usize::try_from(room).unwrap_or(usize::MAX);
            self.limit_hit |= written > room;
            let decoded = output.get(..written.min(room)).unwrap_or(&[]);
            self.decoded_bytes = self.decoded_bytes.saturating_add(len(decoded));
            self.body.push(decoded);
            input = input.get(read..).unwrap_or(&[]);
            if read == 0 && written == 0 {
                return;
            }
        }
    }
}

/// What the decoded body turned out to be.
enum Body {
    Undecided { head: Vec<u8>, files: Files },
    Archive { tar: Box<TarReader>, files: Files },
    Text { text: Vec<u8>, truncated: bool, limit: usize },
    Unknown { files: Files, malformed: bool },
}

impl Body {
    fn push(&mut self, bytes: &[u8]) {
        match self {
            Self::Undecided { head, .. } => {
                let missing = header::BLOCK_BYTES.saturating_sub(head.len()).min(bytes.len());
                let (first, rest) = bytes.split_at_checked(missing).unwrap_or((bytes, &[]));
                head.extend_from_slice(first);
                if head.len() >= header::BLOCK_BYTES {
                    self.decide();
                    self.push(rest);
                }
            }
            Self::Archive { tar, files } => tar.push(bytes, &mut |event| files.event(event)),
            Self::Text { text, truncated, limit } => {
                let room = limit.saturating_sub(text.len()).min(bytes.len());
                *truncated |= room < bytes.len();
                if !*truncated || text.len() < *limit {
                    text.extend_from_slice(bytes.get(..room).unwrap_or(&[]));
                }
            }
            Self::Unknown { .. } => {}
        }
    }

    fn gap(&mut self, len: u64) {
        match self {
            Self::Archive { tar, files } => tar.gap(len, &mut |event| files.event(event)),
            Self::Text { truncated, limit, text } => {
                *truncated = true;
                *limit = text.len();
            }
            Self::Undecided { .. } | Self::Unknown { .. } => self.lose(),
        }
    }

    fn lose(&mut self) {
        if let Self::Archive { tar, files } = self {
            tar.lose(&mut |event| files.event(event));
        } else if let Self::Undecided { files, .. } = self {
            *self = Self::Unknown { files: std::mem::take(files), malformed: false };
        }
    }

    /// Nothing that follows can matter.
    fn is_done(&self) -> bool {
        match self {
            Self::Archive { tar, .. } => tar.state() != TarState::Reading,
            Self::Unknown { .. } => true,
            Self::Undecided { .. } | Self::Text { .. } => false,
        }
    }

    /// Archive, text, or neither: by the first block, or by all there is.
    fn decide(&mut self) {
        let Self::Undecided { head, files } = self else { return };
        let (head, files) = (std::mem::take(head), std::mem::take(files));
        if header::is_block(&head) {
            *self = Self::Archive { tar: Box::default(), files };
        } else if is_text(&head) && (head.len() >= header::BLOCK_BYTES || has_from(&head)) {
            *self =
                Self::Text { text: Vec::new(), truncated: false, limit: files.dockerfile_limit() };
        } else {
            let malformed = head.len() >= header::BLOCK_BYTES;
            *self = Self::Unknown { files, malformed };
        }
        self.push(&head);
    }

    fn finish(mut self, gap: bool) -> ContextFacts {
        self.decide();
        match self {
            Self::Archive { tar, files } => {
                let mut facts = files.finish();
                facts.malformed = tar.state() == TarState::Malformed;
                facts.complete = tar.state() == TarState::Ended;
                facts
            }
            Self::Text { text, truncated, .. } => ContextFacts {
                dockerfile: Some(String::from_utf8_lossy(&text).into_owned()),
                dockerfile_truncated: truncated,
                complete: !gap && !truncated,
                limit_hit: truncated && !gap,
                plain_dockerfile: true,
                ..ContextFacts::default()
            },
            Self::Unknown { files, malformed } => ContextFacts { malformed, ..files.finish() },
            Self::Undecided { files, .. } => files.finish(),
        }
    }
}

/// UTF-8 without control characters other than white space; a character cut at the end is fine.
fn is_text(bytes: &[u8]) -> bool {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) if error.error_len().is_none() => {
            std::str::from_utf8(bytes.get(..error.valid_up_to()).unwrap_or(&[])).unwrap_or("")
        }
        Err(_) => return false,
    };
    !text.trim().is_empty() && !text.chars().any(|c| c.is_control() && !c.is_whitespace())
}

/// What is shorter than a header may be the beginning of one; every Dockerfile has a `FROM`.
fn has_from(bytes: &[u8]) -> bool {
    bytes.windows(4).any(|word| word.eq_ignore_ascii_case(b"from"))
}

fn len(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
