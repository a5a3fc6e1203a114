//! Files that appear whole or not at all, for their owner's eyes only.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

#[cfg(unix)]
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};

/// Attempts to find a name that nobody has for the temporary file.
const ATTEMPTS: u32 = 1_000;

/// A file that is written under another name in the same folder and takes its own with
/// [`commit`](Self::commit). Dropped before, it is gone, and what stood there before still stands.
///
/// Only its owner can read it, and nobody execute it. Creating one is also the way to learn that a place
/// cannot be written before the work begins.
#[derive(Debug)]
pub struct AtomicFile {
    file: File,
    temporary: PathBuf,
    target: PathBuf,
    committed: bool,
}

impl AtomicFile {
    /// A file that will be `target`.
    ///
    /// # Errors
    /// When the folder is not there or takes no file, and when `target` is a folder.
    pub fn create(target: &Path) -> io::Result<Self> {
        let name =
            target.file_name().ok_or_else(|| io::Error::from(io::ErrorKind::IsADirectory))?;
        if target.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        for attempt in 0..ATTEMPTS {
            let mut temporary = OsString::from(".");
            temporary.push(name);
            temporary.push(format!(".{}-{attempt}.tmp", std::process::id()));
            let temporary = target.with_file_name(temporary);
            match owners_only().open(&temporary) {
                Ok(file) => {
                    let target = target.to_owned();
                    return Ok(Self { file, temporary, target, committed: false });
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    /// Where it will be.
    #[must_use]
    pub fn target(&self) -> &Path {
        &self.target
    }

    /// It will be there, instead, in the same folder: for files that are named by what is in them.
    ///
    /// # Errors
    /// When `name` is no plain name.
    pub fn rename(&mut self, name: &str) -> io::Result<()> {
        if name.is_empty() || name.starts_with('.') || name.contains(['/', '\\', '\0']) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        self.target.set_file_name(name);
        Ok(())
    }

    /// Gives it its name, with all that was written on disk.
    ///
    /// # Errors
    /// As the file system says; then it is gone.
    pub fn commit(mut self) -> io::Result<()> {
        self.file.sync_all()?;
        fs::rename(&self.temporary, &self.target)?;
        self.committed = true;
        Ok(())
    }
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for AtomicFile {
    fn drop(&mut self) {
        if !self.committed {
            // Nobody is there to hear that it failed; the name says what it is.
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

/// Makes the folder, its owner's only, where it is not there yet, and tries whether it takes a file.
///
/// # Errors
/// When it does not.
pub fn prepare_folder(folder: &Path) -> io::Result<()> {
    if !folder.is_dir() {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        builder.mode(0o700);
        builder.create(folder)?;
    }
    AtomicFile::create(&folder.join("probe")).map(drop)
}

fn owners_only() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    options.mode(0o600);
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).expect("a folder");
        let mut names: Vec<_> =
            entries.map(|e| e.expect("an entry").file_name().to_string_lossy().into()).collect();
        names.sort();
        names
    }

    #[test]
    fn what_is_not_committed_leaves_what_was_there() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("case.html");
        fs::write(&path, "before").expect("a file");
        let mut file = AtomicFile::create(&path).expect("created");
        file.write_all(b"half").expect("written");
        drop(file);
        assert_eq!(fs::read_to_string(&path).expect("there"), "before");
        assert_eq!(names(folder.path()), ["case.html"]);
    }

    #[cfg(unix)]
    #[test]
    fn what_is_committed_is_its_owners_only() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("case.html");
        let mut file = AtomicFile::create(&path).expect("created");
        file.write_all(b"whole").expect("written");
        file.commit().expect("committed");
        assert_eq!(fs::read_to_string(&path).expect("there"), "whole");
        let mode = fs::metadata(&path).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(names(folder.path()), ["case.html"]);
    }

    #[cfg(unix)]
    #[test]
    fn a_link_at_the_place_is_replaced_and_not_followed() {
        let folder = tempfile::tempdir().expect("a folder");
        let victim = folder.path().join("victim");
        fs::write(&victim, "untouched").expect("a file");
        let path = folder.path().join("case.html");
        std::os::unix::fs::symlink(&victim, &path).expect("a link");
        let mut file = AtomicFile::create(&path).expect("created");
        file.write_all(b"whole").expect("written");
        file.commit().expect("committed");
        assert_eq!(fs::read_to_string(&victim).expect("there"), "untouched");
        assert_eq!(fs::read_to_string(&path).expect("there"), "whole");
    }

    #[test]
    fn a_folder_or_a_missing_one_is_refused_at_once() {
        let folder = tempfile::tempdir().expect("a folder");
        assert!(AtomicFile::create(folder.path()).is_err());
        assert!(AtomicFile::create(&folder.path().join("no/such/file")).is_err());
        let mut file = AtomicFile::create(&folder.path().join("a")).expect("created");
        for name in ["", ".", "..", "../b", "b/c", ".hidden"] {
            assert!(file.rename(name).is_err(), "{name}");
        }
    }

    #[test]
    fn a_folder_is_made_and_left_empty() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a/b");
        prepare_folder(&path).expect("made");
        prepare_folder(&path).expect("there");
        assert!(names(&path).is_empty());
        let file = folder.path().join("file");
        fs::write(&file, "").expect("a file");
        assert!(prepare_folder(&file).is_err());
    }
}
