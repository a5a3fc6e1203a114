//! What can go wrong between the store and its disk, one line each.

use std::io;
use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;

/// Why the store could not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The directory or a file in it may not be read or written by this user.
    #[error("no permission to use the store in {}", path.display())]
    NoPermission {
        /// The directory or file.
        path: PathBuf,
    },
    /// A read-only open found nothing to read.
    #[error("no store in {}", path.display())]
    Missing {
        /// The directory.
        path: PathBuf,
    },
    /// Something that is no directory stands where the store should be.
    #[error("{} is not a directory", path.display())]
    NotADirectory {
        /// The path given.
        path: PathBuf,
    },
    /// The disk is full; what was not committed is still in memory.
    #[error("disk full while writing the store in {}", path.display())]
    DiskFull {
        /// The directory.
        path: PathBuf,
    },
    /// Another process writes this store.
    #[error("the store in {} is being written by {holder}", path.display())]
    Locked {
        /// The directory.
        path: PathBuf,
        /// `process 4711`, or `another process` where its id could not be read.
        holder: String,
    },
    /// `SQLite` stayed busy for longer than the busy timeout.
    #[error("the database in {} is busy", path.display())]
    Busy {
        /// The directory.
        path: PathBuf,
    },
    /// A later version of tidewaiter made this store.
    #[error("the store in {} has schema {found}, this program knows up to {known}", path.display())]
    NewerSchema {
        /// The directory.
        path: PathBuf,
        /// Version on disk.
        found: i64,
        /// Latest version that this program can read.
        known: i64,
    },
    /// An older store needs a writer to migrate it first.
    #[error("the store in {} has schema {found}, open it for writing once to reach {known}", path.display())]
    OlderSchema {
        /// The directory.
        path: PathBuf,
        /// Version on disk.
        found: i64,
        /// Version that this program reads.
        known: i64,
    },
    /// The database does not hold what a store holds.
    #[error("the store in {} is damaged: {what}", path.display())]
    Corrupt {
        /// The directory.
        path: PathBuf,
        /// What was found.
        what: String,
    },
    /// A write was asked of a store that was opened for reading.
    #[error("the store in {} was opened for reading only", path.display())]
    ReadOnly {
        /// The directory.
        path: PathBuf,
    },
    /// An environment that this store has never watched.
    #[error("environment {name} is not in the store")]
    UnknownEnvironment {
        /// The name asked for.
        name: String,
    },
    /// A text that names nothing that the store remembers.
    #[error(transparent)]
    Key(#[from] crate::KeyError),
    /// An export could not be written.
    #[error("cannot write the export: {source}")]
    Output {
        /// What the system said.
        source: io::Error,
    },
    /// An import could not be read.
    #[error("cannot read the import: {source}")]
    Input {
        /// What the system said.
        source: io::Error,
    },
    /// Any other answer of `SQLite`.
    #[error("database error in {}: {source}", path.display())]
    Database {
        /// The directory.
        path: PathBuf,
        /// What `SQLite` said.
        source: rusqlite::Error,
    },
    /// Any other answer of the operating system.
    #[error("cannot use {}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl StoreError {
    /// From an error of the operating system on `path`.
    pub(crate) fn from_io(path: &Path, source: io::Error) -> Self {
        let path = path.to_path_buf();
        match source.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                Self::NoPermission { path }
            }
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull { path },
            io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => {
                Self::NotADirectory { path }
            }
            _ => Self::Io { path, source },
        }
    }

    /// From an error of `SQLite` on the store in `path`.
    pub(crate) fn from_sqlite(path: &Path, source: rusqlite::Error) -> Self {
        let path = path.to_path_buf();
        match source.sqlite_error_code() {
            Some(ErrorCode::PermissionDenied | ErrorCode::ReadOnly) => Self::NoPermission { path },
            Some(ErrorCode::DiskFull) => Self::DiskFull { path },
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Busy { path },
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                Self::Corrupt { path, what: source.to_string() }
            }
            _ => Self::Database { path, source },
        }
    }
}
