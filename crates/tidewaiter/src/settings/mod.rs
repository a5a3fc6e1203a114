//! The configuration file: read raw, then checked once; after that no string is parsed again.

mod checked;
mod collector;
mod raw;

pub use checked::Settings;
pub use collector::Collector;
pub(crate) use collector::listen_on;

use std::path::PathBuf;

/// Why a configuration cannot be used. Told in one line that names file, line and key.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file cannot be read.
    #[error("cannot read {}: {error}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// It is not TOML, or has an unknown key, or a value of the wrong type.
    #[error("{} line {line}: {message}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// 1-based.
        line: usize,
        /// What is wrong.
        message: String,
    },
    /// A value that cannot be meant.
    #[error("{} line {line}: {key}: {message}", path.display())]
    Value {
        /// The file.
        path: PathBuf,
        /// 1-based.
        line: usize,
        /// The key.
        key: String,
        /// What is wrong.
        message: String,
    },
    /// Something on the command line that cannot be meant.
    #[error("{0}")]
    Usage(String),
}
