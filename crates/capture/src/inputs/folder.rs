//! What the paths that a user names stand for.

use std::path::{Path, PathBuf};

use tw_model::SourceId;

use crate::source::{Origin, Source};
use crate::{CaptureError, Warning, WarningKind};

/// The sources that `paths` stand for, in their order.
pub(super) fn sources(
    paths: &[PathBuf],
    warnings: &mut Vec<Warning>,
) -> Result<Vec<Source>, CaptureError> {
    let mut found: Vec<Source> = Vec::new();
    let mut has_standard_input = false;
    for path in paths {
        let id = SourceId(u32::try_from(found.len()).unwrap_or(u32::MAX));
        if path.as_os_str() == "-" {
            if has_standard_input {
                return Err(CaptureError::StandardInputTwice);
            }
            has_standard_input = true;
            found.push(Source::standard_input(id));
        } else if path.is_dir() {
            folder(path, &mut found, warnings)?;
        } else {
            found.push(Source::file(id, path)?);
        }
    }
    if found.is_empty() { Err(CaptureError::NoInputs) } else { Ok(found) }
}

/// The capture files of a folder by name, not those of folders in it. Hidden entries are skipped, as
/// is what the content shows to be something else; one warning tells of them.
fn folder(
    path: &Path,
    found: &mut Vec<Source>,
    warnings: &mut Vec<Warning>,
) -> Result<(), CaptureError> {
    let folder = path.display().to_string();
    let cannot_open = |error| CaptureError::Open { file: folder.clone(), error };
    let mut names = Vec::new();
    for entry in std::fs::read_dir(path).map_err(cannot_open)? {
        names.push(entry.map_err(cannot_open)?.file_name());
    }
    names.sort_unstable();
    let before = found.len();
    let mut skipped = Vec::new();
    for name in names {
        let id = SourceId(u32::try_from(found.len()).unwrap_or(u32::MAX));
        let hidden = name.as_encoded_bytes().starts_with(b".");
        let source = if hidden { None } else { capture_file(id, &path.join(&name))? };
        match source {
            Some(source) => found.push(source),
            None => skipped.push(name),
        }
    }
    if found.len() == before {
        return Err(CaptureError::EmptyFolder { folder });
    }
    if let Some(first) = skipped.first() {
        let kind = WarningKind::Skipped {
            count: skipped.len(),
            first: first.to_string_lossy().into_owned(),
        };
        warnings.push(Warning { source: None, file: folder, kind });
    }
    Ok(())
}

/// A regular file that begins like a capture. Pipes are not touched: opening one would wait for a
/// writer.
fn capture_file(id: SourceId, path: &Path) -> Result<Option<Source>, CaptureError> {
    let source = Source::file(id, path)?;
    if !matches!(source.origin, Origin::File(_)) {
        return Ok(None);
    }
    match source.open(512) {
        Ok(_) => Ok(Some(source)),
        Err(error @ CaptureError::Open { .. }) => Err(error),
        Err(_) => Ok(None),
    }
}
