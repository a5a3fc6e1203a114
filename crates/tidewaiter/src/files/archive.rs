//! The extracted objects as one archive with a password, so that no scanner on the way takes them away
//! and nobody opens one by mistake.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;

use anyhow::Context as _;
use tw_evidence::AtomicFile;
use zip::write::SimpleFileOptions;
use zip::{AesMode, CompressionMethod, ZipWriter};

/// Name in the folder.
pub(super) const NAME: &str = "objects.zip";

/// Puts these files of the folder into the archive, and takes them out of the folder. Stored as they
/// are: what is downloaded is mostly compressed.
pub(super) fn write(folder: &Path, names: &[String], password: &str) -> anyhow::Result<()> {
    let path = folder.join(NAME);
    let cannot = || format!("cannot write {}", path.display());
    let mut archive = ZipWriter::new_stream(AtomicFile::create(&path).with_context(cannot)?);
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Stored)
        .large_file(true)
        .unix_permissions(0o600)
        .with_aes_encryption(AesMode::Aes256, password);
    for name in names {
        archive.start_file(name.as_str(), options).with_context(cannot)?;
        let mut file =
            File::open(folder.join(name)).with_context(|| format!("cannot read {name}"))?;
        io::copy(&mut file, &mut archive).with_context(cannot)?;
    }
    let mut file = archive.finish().with_context(cannot)?.into_inner();
    file.flush().and_then(|()| file.commit()).with_context(cannot)?;
    for name in names {
        std::fs::remove_file(folder.join(name)).with_context(|| format!("cannot remove {name}"))?;
    }
    Ok(())
}
