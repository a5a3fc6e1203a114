//! A filter shard as a file.
//!
//! `TWFILTER`, then little-endian: version (4), kind (1), shard bits (1), zero (2), shard (4), zero
//! (4), build (8), keys (8), payload length (8), payload, and a keyed 128-bit hash of all before
//! it. The payload is the fuse descriptor (20) with its fingerprints (2 each), or sorted hashes (8
//! each). The hash key is the store's secret: a file of another store is as good as a damaged one.

use std::fs::{self, File};
use std::hash::Hasher;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use siphasher::sip128::{Hasher128, SipHasher13};
use xorf::{BinaryFuse16, Descriptor};

use super::Shard;

const MAGIC: [u8; 8] = *b"TWFILTER";
const VERSION: u32 = 1;
const KIND_FUSE: u8 = 1;
const KIND_EXACT: u8 = 2;
const HEADER_BYTES: usize = 48;
const CHECKSUM_BYTES: usize = 16;
/// Files beyond this are no shard of ours: 256 MiB is a hundred million keys in one shard.
const MAX_FILE_BYTES: u64 = 256 << 20;

/// Why a filter file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FilterError {
    #[error("cannot read or write: {0}")]
    Io(#[from] io::Error),
    #[error("not a filter file")]
    Magic,
    #[error("version {0} of the format")]
    Version(u32),
    #[error("wrong length")]
    Length,
    #[error("wrong checksum")]
    Checksum,
    #[error("another shard or build")]
    Mismatch,
    #[error("a shape that no filter has")]
    Shape,
}

/// Where one shard lives and with which build it is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ShardFile {
    pub(crate) bits: u8,
    pub(crate) shard: u32,
}

impl ShardFile {
    /// The file's path in the folder of filters.
    pub(crate) fn path(self, folder: &Path) -> PathBuf {
        folder.join(format!("{}-{:03}.filter", self.bits, self.shard))
    }

    /// Writes a shard so that the file is the old one or the new one at any instant.
    pub(crate) fn write(
        self,
        folder: &Path,
        secret: &[u8; 16],
        build: i64,
        shard: &Shard,
    ) -> Result<(), FilterError> {
        let bytes = self.encode(secret, build, shard);
        let path = self.path(folder);
        let temporary = path.with_extension("new");
        let mut file = File::create(&temporary)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, &path)?;
        File::open(folder)?.sync_all()?;
        Ok(())
    }

    /// Reads a shard that must be one of these builds.
    pub(crate) fn read(
        self,
        folder: &Path,
        secret: &[u8; 16],
        builds: [Option<i64>; 2],
    ) -> Result<Shard, FilterError> {
        let file = File::open(self.path(folder))?;
        let mut bytes = Vec::new();
        let read = file.take(MAX_FILE_BYTES.saturating_add(1)).read_to_end(&mut bytes)?;
        if u64::try_from(read).unwrap_or(u64::MAX) > MAX_FILE_BYTES {
            return Err(FilterError::Length);
        }
        let (build, shard) = self.decode(secret, &bytes)?;
        if builds.contains(&Some(build)) { Ok(shard) } else { Err(FilterError::Mismatch) }
    }

    fn encode(self, secret: &[u8; 16], build: i64, shard: &Shard) -> Vec<u8> {
        let (kind, payload) = match shard {
            Shard::Fuse(filter, _) => (KIND_FUSE, fuse_bytes(filter)),
            Shard::Exact(hashes) => {
                (KIND_EXACT, hashes.iter().flat_map(|h| h.to_le_bytes()).collect())
            }
            Shard::Unbuilt | Shard::Damaged => (KIND_EXACT, Vec::new()),
        };
        let length = u64::try_from(payload.len()).unwrap_or(u64::MAX);
        let mut out =
            Vec::with_capacity(payload.len().saturating_add(HEADER_BYTES + CHECKSUM_BYTES));
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&[kind, self.bits, 0, 0]);
        out.extend_from_slice(&self.shard.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&build.to_le_bytes());
        out.extend_from_slice(&shard.keys().to_le_bytes());
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&payload);
        let checksum = checksum(secret, &out);
        out.extend_from_slice(&checksum);
        out
    }

    fn decode(self, secret: &[u8; 16], bytes: &[u8]) -> Result<(i64, Shard), FilterError> {
        let mut rest = bytes;
        if take(&mut rest)? != MAGIC {
            return Err(FilterError::Magic);
        }
        let version = u32::from_le_bytes(take(&mut rest)?);
        if version != VERSION {
            return Err(FilterError::Version(version));
        }
        let (body, sum) = bytes.split_last_chunk::<CHECKSUM_BYTES>().ok_or(FilterError::Length)?;
        if checksum(secret, body) != *sum {
            return Err(FilterError::Checksum);
        }
        let [kind, bits, ..] = take::<4>(&mut rest)?;
        let shard = u32::from_le_bytes(take(&mut rest)?);
        let _zero: [u8; 4] = take(&mut rest)?;
        let build = i64::from_le_bytes(take(&mut rest)?);
        let keys = u64::from_le_bytes(take(&mut rest)?);
        let length = u64::from_le_bytes(take(&mut rest)?);
        let payload = body.get(HEADER_BYTES..).ok_or(FilterError::Length)?;
        if u64::try_from(payload.len()).ok() != Some(length) {
            return Err(FilterError::Length);
        }
        if (bits, shard) != (self.bits, self.shard) {
            return Err(FilterError::Mismatch);
        }
        let shard = match kind {
            KIND_FUSE => Shard::Fuse(fuse_from(payload)?.into(), keys),
            KIND_EXACT => Shard::Exact(exact_from(payload)?.into()),
            _ => return Err(FilterError::Shape),
        };
        Ok((build, shard))
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], FilterError> {
    let (head, tail) = rest.split_first_chunk::<N>().ok_or(FilterError::Length)?;
    *rest = tail;
    Ok(*head)
}

fn checksum(secret: &[u8; 16], bytes: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let mut hasher = SipHasher13::new_with_key(secret);
    hasher.write(bytes);
    hasher.finish128().as_u128().to_le_bytes()
}

fn fuse_bytes(filter: &BinaryFuse16) -> Vec<u8> {
    let shape = &filter.descriptor;
    let mut out =
        Vec::with_capacity(filter.fingerprints.len().saturating_mul(2).saturating_add(20));
    out.extend_from_slice(&shape.seed.to_le_bytes());
    out.extend_from_slice(&shape.segment_length.to_le_bytes());
    out.extend_from_slice(&shape.segment_length_mask.to_le_bytes());
    out.extend_from_slice(&shape.segment_count_length.to_le_bytes());
    out.extend(filter.fingerprints.iter().flat_map(|print| print.to_le_bytes()));
    out
}

/// The library indexes without asking, so the shape is checked here: a lookup reaches at most two
/// segments beyond `segment_count_length`.
fn fuse_from(mut payload: &[u8]) -> Result<BinaryFuse16, FilterError> {
    let descriptor = Descriptor {
        seed: u64::from_le_bytes(take(&mut payload)?),
        segment_length: u32::from_le_bytes(take(&mut payload)?),
        segment_length_mask: u32::from_le_bytes(take(&mut payload)?),
        segment_count_length: u32::from_le_bytes(take(&mut payload)?),
    };
    let fingerprints: Box<[u16]> = payload
        .chunks_exact(2)
        .filter_map(<[u8]>::first_chunk::<2>)
        .map(|&bytes| u16::from_le_bytes(bytes))
        .collect();
    let segment = descriptor.segment_length;
    let reach =
        segment.checked_mul(2).and_then(|two| two.checked_add(descriptor.segment_count_length));
    let fits = reach
        .is_some_and(|reach| usize::try_from(reach).is_ok_and(|reach| reach <= fingerprints.len()));
    let whole = segment.is_power_of_two()
        && descriptor.segment_length_mask == segment.wrapping_sub(1)
        && descriptor.segment_count_length.checked_rem(segment) == Some(0)
        && descriptor.segment_count_length > 0;
    if fits && whole && payload.len().is_multiple_of(2) {
        Ok(BinaryFuse16 { descriptor, fingerprints })
    } else {
        Err(FilterError::Shape)
    }
}

fn exact_from(payload: &[u8]) -> Result<Vec<u64>, FilterError> {
    let hashes: Vec<u64> = payload
        .chunks_exact(8)
        .filter_map(<[u8]>::first_chunk::<8>)
        .map(|&bytes| u64::from_le_bytes(bytes))
        .collect();
    if payload.len().is_multiple_of(8) && hashes.is_sorted() {
        Ok(hashes)
    } else {
        Err(FilterError::Shape)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::Filters;
    use crate::testing::Random;

    const SECRET: [u8; 16] = [7; 16];
    const FILE: ShardFile = ShardFile { bits: 0, shard: 0 };

    fn hashes(count: u64) -> Vec<u64> {
        let mut random = Random::new(count);
        (0..count).map(|_| random.next()).collect()
    }

    #[test]
    fn a_shard_is_the_same_after_its_file() {
        for count in [0, 10, 5_000] {
            let shard = Shard::build(hashes(count));
            let bytes = FILE.encode(&SECRET, -3, &shard);
            let (build, read) = FILE.decode(&SECRET, &bytes).unwrap();
            assert_eq!((build, read.keys()), (-3, count));
            let filters = Filters::new(0, vec![read]);
            assert!(hashes(count).into_iter().all(|hash| filters.may_contain(hash)));
        }
    }

    #[test]
    fn any_changed_or_missing_byte_is_noticed() {
        for count in [3, 100] {
            let good = FILE.encode(&SECRET, 1, &Shard::build(hashes(count)));
            for index in 0..good.len() {
                let mut bad = good.clone();
                bad[index] ^= 0x10;
                assert!(FILE.decode(&SECRET, &bad).is_err(), "byte {index}");
                assert!(FILE.decode(&SECRET, &good[..index]).is_err(), "cut at {index}");
            }
            assert!(matches!(FILE.decode(&[8; 16], &good), Err(FilterError::Checksum)));
        }
    }

    #[test]
    fn a_shape_that_would_index_out_of_range_is_refused_despite_its_checksum() {
        let Shard::Fuse(filter, keys) = Shard::build(hashes(1_000)) else { panic!() };
        let shapes: [fn(&mut Descriptor); 5] = [
            |shape| shape.segment_count_length += shape.segment_length,
            |shape| shape.segment_count_length = u32::MAX,
            |shape| shape.segment_length = 0,
            |shape| shape.segment_length_mask = u32::MAX,
            |shape| shape.segment_count_length = 0,
        ];
        for bend in shapes {
            let mut bent = (*filter).clone();
            bend(&mut bent.descriptor);
            let bytes = FILE.encode(&SECRET, 1, &Shard::Fuse(bent.into(), keys));
            assert!(matches!(FILE.decode(&SECRET, &bytes), Err(FilterError::Shape)));
        }
    }

    #[test]
    fn another_shard_or_build_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        FILE.write(folder.path(), &SECRET, 5, &Shard::build(vec![1])).unwrap();
        assert!(FILE.read(folder.path(), &SECRET, [None, Some(5)]).is_ok());
        assert!(FILE.read(folder.path(), &SECRET, [Some(4), None]).is_err());
        let bytes = fs::read(FILE.path(folder.path())).unwrap();
        let other = ShardFile { bits: 1, shard: 1 };
        assert!(matches!(other.decode(&SECRET, &bytes), Err(FilterError::Mismatch)));
    }
}
