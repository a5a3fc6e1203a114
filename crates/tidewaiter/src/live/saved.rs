//! The file that outlives a restart: what the collector held, and what was told.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::told::Told;

/// Name in the data folder.
const FILE: &str = "collector.state";
/// Magic and version.
const BEGIN: &[u8; 8] = b"TWLIVE\0\x01";
/// Larger than any state within the limits.
const LONGEST: u64 = 8 << 30;

/// Everything that is saved.
#[derive(Debug, Default)]
pub(crate) struct Saved {
    pub(crate) memory: Memory,
    /// Of the flow collector, in its own format.
    pub(crate) flows: Vec<u8>,
}

/// What is saved beside the flows.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Memory {
    /// Names of exporters by their number in evidence.
    pub(crate) sources: Vec<String>,
    /// What was told.
    pub(crate) told: Told,
}

fn path(folder: &Path) -> PathBuf {
    folder.join(FILE)
}

/// Writes the file anew; the old one stays until the new one is on the disk. Who talks to whom is
/// nobody else's business: only the owner may read it.
///
/// # Errors
/// When the disk does not take it.
pub(crate) fn write(folder: &Path, saved: &Saved) -> io::Result<()> {
    let memory = serde_json::to_vec(&saved.memory)?;
    let mut hash = Sha256::new();
    let len = (memory.len() as u64).to_be_bytes();
    for part in [&len[..], &memory, &saved.flows] {
        hash.update(part);
    }
    let new = path(folder).with_extension("new");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&new)?;
    for part in [&BEGIN[..], &hash.finalize(), &len, &memory, &saved.flows] {
        file.write_all(part)?;
    }
    file.sync_all()?;
    drop(file);
    fs::rename(&new, path(folder))?;
    File::open(folder)?.sync_all()
}

/// Reads it; nothing where there is none.
///
/// # Errors
/// When it cannot be read, or is not what was written.
pub(crate) fn read(folder: &Path) -> io::Result<Option<Saved>> {
    let file = match File::open(path(folder)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    file.take(LONGEST).read_to_end(&mut bytes)?;
    parse(&bytes)
        .map(Some)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "damaged, or of another version"))
}

fn parse(bytes: &[u8]) -> Option<Saved> {
    let (hash, rest) = bytes.strip_prefix(BEGIN)?.split_first_chunk::<32>()?;
    if Sha256::digest(rest).as_slice() != hash {
        return None;
    }
    let (len, rest) = rest.split_first_chunk()?;
    let (memory, flows) = rest.split_at_checked(usize::try_from(u64::from_be_bytes(*len)).ok()?)?;
    Some(Saved { memory: serde_json::from_slice(memory).ok()?, flows: flows.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_and_what_was_changed_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        assert!(read(folder.path()).unwrap().is_none());
        let memory = Memory { sources: vec!["192.0.2.1".into()], told: Told::default() };
        write(folder.path(), &Saved { memory, flows: vec![1, 2, 3] }).unwrap();
        let back = read(folder.path()).unwrap().unwrap();
        assert_eq!((back.memory.sources.len(), back.flows), (1, vec![1, 2, 3]));
        let whole = fs::read(path(folder.path())).unwrap();
        for place in 0..whole.len() {
            let mut bent = whole.clone();
            bent[place] ^= 1;
            assert!(parse(&bent).is_none() && parse(&whole[..place]).is_none(), "{place}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn only_the_owner_may_read_it() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), &Saved::default()).unwrap();
        let mode = fs::metadata(path(folder.path())).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
