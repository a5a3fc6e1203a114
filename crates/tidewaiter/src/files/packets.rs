//! The packets of each incident, as one pcapng file named by the incident's id.
//!
//! They are read from the captures a second time, once it is known what belongs to which incident:
//! who spoke to whom and when ([`Selection`]). Of a datagram that came in fragments, all frames are
//! written that may be part of it.

use std::collections::{HashMap, VecDeque};
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::Serialize;
use tw_capture::Inputs;
use tw_evidence::pcapng::{Limits, Writer};
use tw_evidence::{AtomicFile, Selection, file_stem};
use tw_model::{Build, Evidence, Finding, Incident, RecordNumber, SourceId, Timestamp};
use tw_wire::{Decoded, Decoder, Frame, LinkType};

use crate::cli::progress::Progress;
use crate::report::Sources;
use crate::report::case::{Case, Told};
use crate::report::text::word;

/// Incidents that get a file, the worst first.
const MAX_FILES: usize = 256;
/// Frames that wait for the rest of their datagram, and their bytes.
const MAX_FRAGMENTS: usize = 256;
const MAX_FRAGMENT_BYTES: usize = 4 << 20;

/// A folder that takes the files.
pub(crate) struct Packets {
    folder: PathBuf,
}

/// What was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Summary {
    pub(crate) files: usize,
    pub(crate) frames: u64,
    pub(crate) bytes: u64,
    /// Frames that no longer fitted into a file.
    pub(crate) frames_left_out: u64,
    /// Incidents beyond the number that get a file.
    pub(crate) incidents_left_out: usize,
    /// Incidents of which no packet was found: flow records told of them.
    pub(crate) incidents_without_packets: usize,
}

impl Packets {
    /// Makes sure, before the work begins, that it can be done.
    pub(crate) fn prepare(folder: &Path, captures: &[PathBuf]) -> anyhow::Result<Self> {
        super::prepare("--pcap", folder, captures)?;
        Ok(Self { folder: folder.to_owned() })
    }

    /// Reads the captures again and writes the files.
    pub(crate) fn write(
        &self,
        captures: &[PathBuf],
        sources: &Sources,
        case: &Case,
    ) -> anyhow::Result<Summary> {
        let mut incidents = case.incidents_by_weight();
        let incidents_left_out = incidents.len().saturating_sub(MAX_FILES);
        incidents.truncate(MAX_FILES);
        let summary = Summary { incidents_left_out, ..Summary::default() };
        if incidents.is_empty() {
            return Ok(summary);
        }
        let selection = Selection::new(incidents.iter().copied());
        let files = incidents.iter().map(|incident| self.file(case, incident)).collect();
        let mut run = Run { selection, files, sources, fragments: Fragments::default(), summary };
        run.read(captures)?;
        run.finish()
    }

    fn file(&self, case: &Case, incident: &Incident) -> File {
        let path = self.folder.join(format!("{}.pcapng", file_stem(&incident.id)));
        let comment = format!(
            "Packets of incident {} on docker host {}, from {} to {}",
            incident.id, incident.docker_host, incident.started, incident.ended
        );
        File { path, comment, remarks: remarks(case, incident), writer: None }
    }
}

impl Summary {
    /// One line for a person.
    pub(crate) fn text(&self) -> String {
        let mut text = format!(
            "Packets: {} in {}",
            count(self.frames, "frame"),
            count(self.files as u64, "file")
        );
        let mut missing = |count: u64, what: &str| {
            if count > 0 {
                text.push_str(&format!("; {count} {what}"));
            }
        };
        missing(self.frames_left_out, "left out, as the file was full");
        missing(self.incidents_left_out as u64, "incidents without a file, as there are too many");
        missing(
            self.incidents_without_packets as u64,
            "incidents without packets, as only flow records told of them",
        );
        text.push('\n');
        text
    }
}

fn count(number: u64, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// What to say at which frame.
type Remarks = HashMap<(SourceId, u64), Vec<String>>;

fn remarks(case: &Case, incident: &Incident) -> Remarks {
    let mut remarks = Remarks::new();
    let mut note = |evidence: &[Evidence], text: &str| {
        for place in evidence {
            if let RecordNumber::Frame(number) = place.record {
                let texts: &mut Vec<String> = remarks.entry((place.source, number)).or_default();
                if !texts.iter().any(|said| said == text) {
                    texts.push(text.to_owned());
                }
            }
        }
    };
    for finding in case.findings_of(incident) {
        note(&finding.evidence, &about_finding(finding));
        for told in case.builds.iter().filter(|told| finding.builds.contains(&told.body.id)) {
            note(&told.evidence, &about_build(told));
        }
    }
    remarks
}

fn about_finding(finding: &Finding) -> String {
    let severity = word(finding.severity).to_ascii_lowercase();
    format!("finding {} ({severity}): {}", finding.id, finding.title)
}

fn about_build(told: &Told<Build>) -> String {
    format!("{}: asked for by {} of {}", told.body.id.0, told.body.client, told.body.daemon)
}

/// One incident's file, begun when its first frame comes.
struct File {
    path: PathBuf,
    comment: String,
    remarks: Remarks,
    writer: Option<Writer<BufWriter<AtomicFile>>>,
}

impl File {
    fn push(&mut self, frame: &Frame<'_>, source: &str) -> anyhow::Result<()> {
        let cannot = || format!("cannot write {}", self.path.display());
        let writer = match &mut self.writer {
            Some(writer) => writer,
            None => {
                let file = AtomicFile::create(&self.path).with_context(cannot)?;
                let application = concat!("tidewaiter ", env!("CARGO_PKG_VERSION"));
                let out = BufWriter::new(file);
                let writer = Writer::new(out, Limits::default(), application, &self.comment);
                self.writer.insert(writer.with_context(cannot)?)
            }
        };
        let place = format!("frame {} of {source}", frame.number);
        let remarks = self.remarks.get(&(frame.source, frame.number));
        let comments: Vec<&str> = std::iter::once(place.as_str())
            .chain(remarks.into_iter().flatten().map(String::as_str))
            .collect();
        writer.frame(frame, source, &comments).with_context(cannot)?;
        Ok(())
    }
}

/// A second reading.
struct Run<'a> {
    selection: Selection,
    files: Vec<File>,
    sources: &'a Sources,
    fragments: Fragments,
    summary: Summary,
}

impl Run<'_> {
    fn read(&mut self, captures: &[PathBuf]) -> anyhow::Result<()> {
        let mut inputs = Inputs::open(captures)?;
        if inputs.sources() != self.sources.names() {
            anyhow::bail!("the captures are not those of a moment ago: no packets were written");
        }
        let mut decoder = Decoder::new(tw_wire::Limits::default());
        let mut progress = Progress::new();
        let mut found = Vec::new();
        while let Some(frame) = inputs.next_frame()? {
            found.clear();
            let before = (decoder.counters().fragments, decoder.counters().reassembled);
            decoder.push(&frame, &mut |decoded| {
                if let Decoded::Packet(packet) = decoded {
                    self.selection.of(&packet, &mut found);
                }
            });
            let after = (decoder.counters().fragments, decoder.counters().reassembled);
            if found.is_empty() && after.0 > before.0 && after.1 == before.1 {
                self.fragments.keep(&frame);
            }
            for index in &found {
                let Some(file) = self.files.get_mut(*index) else { continue };
                if after.1 > before.1 {
                    for kept in self.fragments.missing_from(*index, frame.source) {
                        file.push(&kept.frame(), self.sources.name(kept.source))?;
                    }
                }
                file.push(&frame, self.sources.name(frame.source))?;
            }
            progress.tick(|| {
                let progress = inputs.progress();
                (progress.done_bytes, progress.total_bytes)
            });
        }
        progress.finish();
        Ok(())
    }

    fn finish(self) -> anyhow::Result<Summary> {
        let mut summary = self.summary;
        for file in self.files {
            let Some(writer) = file.writer else {
                summary.incidents_without_packets += 1;
                continue;
            };
            let cannot = || format!("cannot write {}", file.path.display());
            let (out, counters) = writer.finish().with_context(cannot)?;
            let out = out.into_inner().map_err(|error| error.into_error()).with_context(cannot)?;
            out.commit().with_context(cannot)?;
            summary.files += 1;
            summary.frames = summary.frames.saturating_add(counters.frames);
            summary.bytes = summary.bytes.saturating_add(counters.bytes);
            summary.frames_left_out = summary.frames_left_out.saturating_add(counters.left_out);
        }
        Ok(summary)
    }
}

/// Frames that are fragments, latest last.
#[derive(Default)]
struct Fragments {
    kept: VecDeque<Kept>,
    bytes: usize,
}

struct Kept {
    timestamp: Timestamp,
    link: LinkType,
    bytes: Vec<u8>,
    original_len: u32,
    source: SourceId,
    number: u64,
    interface: u32,
    /// Files that have it.
    files: Vec<usize>,
}

impl Kept {
    fn frame(&self) -> Frame<'_> {
        Frame {
            timestamp: self.timestamp,
            link: self.link,
            bytes: &self.bytes,
            original_len: self.original_len,
            source: self.source,
            number: self.number,
            interface: self.interface,
        }
    }
}

impl Fragments {
    fn keep(&mut self, frame: &Frame<'_>) {
        self.bytes = self.bytes.saturating_add(frame.bytes.len());
        self.kept.push_back(Kept {
            timestamp: frame.timestamp,
            link: frame.link,
            bytes: frame.bytes.to_vec(),
            original_len: frame.original_len,
            source: frame.source,
            number: frame.number,
            interface: frame.interface,
            files: Vec::new(),
        });
        while self.kept.len() > MAX_FRAGMENTS || self.bytes > MAX_FRAGMENT_BYTES {
            let Some(oldest) = self.kept.pop_front() else { return };
            self.bytes = self.bytes.saturating_sub(oldest.bytes.len());
        }
    }

    /// Those of that input that the file does not have yet, and has from now on.
    fn missing_from(&mut self, file: usize, source: SourceId) -> impl Iterator<Item = &Kept> {
        let lacks = move |kept: &&mut Kept| kept.source == source && !kept.files.contains(&file);
        self.kept.iter_mut().filter(lacks).map(move |kept| {
            kept.files.push(file);
            &*kept
        })
    }
}
