//! Files for the case that `replay` writes besides what it prints.

mod archive;
mod extract;
mod manifest;
pub(crate) mod packets;
mod report;
mod tracked;

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::Serialize;
use tw_evidence::prepare_folder;
use tw_model::Observation;

use crate::cli::args::Replay;
use crate::report::Sources;
use crate::report::case::Case;
use crate::report::escape::terminal;
use crate::report::text::Reading;
use crate::settings::{Settings, SettingsError};
use extract::Extract;
use packets::Packets;
use report::ReportFile;

/// What was asked for, with a place for each of it that takes files.
pub(crate) struct Files {
    packets: Option<Packets>,
    extract: Option<Extract>,
    report: Option<ReportFile>,
    captures: Vec<PathBuf>,
}

/// What was written, for the `stats` line.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Written {
    #[serde(skip_serializing_if = "Option::is_none")]
    packets: Option<packets::Summary>,
    #[serde(skip_serializing_if = "Option::is_none")]
    objects: Option<extract::Summary>,
    #[serde(skip_serializing_if = "Option::is_none")]
    report: Option<String>,
}

impl Written {
    /// For a person, a line each.
    pub(crate) fn text(&self) -> String {
        let mut text = self.packets.as_ref().map_or_else(String::new, packets::Summary::text);
        text.push_str(&self.objects.as_ref().map_or_else(String::new, extract::Summary::text));
        if let Some(name) = &self.report {
            text.push_str(&format!("Report: {}\n", terminal(name)));
        }
        text
    }

    /// Was nothing asked for?
    pub(crate) const fn is_empty(&self) -> bool {
        self.packets.is_none() && self.objects.is_none() && self.report.is_none()
    }
}

impl Files {
    /// Finds out, before the work begins, whether all that was asked for can be written.
    pub(crate) fn prepare(args: &Replay, settings: &Settings) -> anyhow::Result<Self> {
        let packets = args.pcap.as_deref().map(|dir| Packets::prepare(dir, &args.captures));
        let extract = args
            .extract
            .as_deref()
            .map(|dir| Extract::prepare(dir, &args.captures, args.extract_archive.as_deref()));
        let report =
            args.report.as_deref().map(|path| ReportFile::prepare(path, args.lang, settings));
        Ok(Self {
            packets: packets.transpose()?,
            extract: extract.transpose()?,
            report: report.transpose()?,
            captures: args.captures.clone(),
        })
    }

    /// Takes note of an observation.
    pub(crate) fn observe(&mut self, observation: &Observation) {
        if let Some(report) = &mut self.report {
            report.observe(observation);
        }
        if let Some(extract) = &mut self.extract {
            extract.observe(observation);
        }
    }

    /// Writes it.
    pub(crate) fn write(
        self,
        sources: &Sources,
        case: &Case,
        reading: &Reading,
    ) -> anyhow::Result<Written> {
        let packets = self.packets.as_ref().map(|to| to.write(&self.captures, sources, case));
        let objects = self.extract.as_ref().map(|to| to.write(&self.captures, sources, case));
        let report = self.report.map(|report| report.write(sources, case, reading));
        Ok(Written {
            packets: packets.transpose()?,
            objects: objects.transpose()?,
            report: report.transpose()?,
        })
    }
}

/// Makes sure of a folder for what is read from the captures a second time.
fn prepare(option: &str, folder: &Path, captures: &[PathBuf]) -> anyhow::Result<()> {
    can_be_read_twice(option, captures)?;
    prepare_folder(folder)
        .with_context(|| format!("cannot write to the folder {}", folder.display()))?;
    let same = |path: &PathBuf| match (path.canonicalize(), folder.canonicalize()) {
        (Ok(capture), Ok(folder)) => capture == folder,
        _ => false,
    };
    if captures.iter().any(same) {
        return Err(SettingsError::Usage(format!(
            "{option} {} is the folder that the captures are in: name another, or the next run reads what this one writes",
            folder.display()
        ))
        .into());
    }
    Ok(())
}

/// Whoever reads the captures twice asks first whether that can be done.
fn can_be_read_twice(option: &str, captures: &[PathBuf]) -> Result<(), SettingsError> {
    let Some(once) = captures.iter().find(|path| !can_be_read_again(path)) else { return Ok(()) };
    let name = once.display();
    Err(SettingsError::Usage(format!(
        "{option} reads the captures twice, and {name} can be read only once: write it to a file first"
    )))
}

/// Standard input and pipes cannot. What is not there is told of by who opens it.
fn can_be_read_again(path: &Path) -> bool {
    path.as_os_str() != "-"
        && std::fs::metadata(path).map_or(true, |found| found.is_file() || found.is_dir())
}
