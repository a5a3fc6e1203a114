//! What a collector does with each batch, and from time to time.

use std::collections::{BTreeMap, HashMap};
use std::io::Write;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Context as _;
use tw_capture::{Batch, Exports, clock};
use tw_detect::{Judgement, Key, Reviewed};
use tw_model::{Endpoint, Evidence, Finding, RecordNumber, Secrets, Severity, SourceId, Timestamp};
use tw_netflow::Datagram;
use tw_store::{CommittedThrough, How, Memory as _, Store};

use super::saved::{self, Saved};
use super::told::Told;
use super::{gist, stats};
use crate::cli::args::Format;
use crate::pipeline::Pipeline;
use crate::report::case::Case;
use crate::report::escape::terminal;
use crate::report::lines::Stage;
use crate::report::{Sources, json, lines, text};
use crate::settings::Settings;

/// Shortest time between two looks at what can be told.
const REVIEW_EVERY: Duration = Duration::from_secs(1);
/// What is done from time to time takes no more than one part in so many.
const SHARE: u32 = 20;
/// Exporters that evidence names; those beyond share a name.
const EXPORTERS: usize = 65_536;

/// How and where findings are printed.
pub(crate) struct Output<'a> {
    /// As text or JSON lines.
    pub(crate) format: Format,
    /// Name of this sensor.
    pub(crate) sensor: &'a str,
    /// Standard output, or a test's buffer.
    pub(crate) out: &'a mut dyn Write,
}

/// A collector at work.
pub(crate) struct Service {
    pipeline: Pipeline<Store>,
    settings: Settings,
    folder: PathBuf,
    sources: Sources,
    source_of: HashMap<IpAddr, SourceId>,
    told: Told,
    findings: BTreeMap<Severity, usize>,
    committed: Vec<CommittedThrough>,
    failed_saves: u64,
    /// The kernel's count of drops as it was taken last.
    dropped: u64,
    started: Timestamp,
    review: Turn,
    save: Turn,
    stats: Turn,
}

/// When something is due again.
#[derive(Debug)]
struct Turn {
    every: Duration,
    due: Timestamp,
    /// From when `due` was set until then.
    wait: Duration,
}

impl Turn {
    const fn new(every: Duration, now: Timestamp) -> Self {
        Self { every, due: now, wait: every }
    }

    /// Also where the clock was set back since.
    fn is_due(&self, now: Timestamp) -> bool {
        now >= self.due || self.due.since(now) > self.wait
    }

    /// It took from `begun` until now.
    fn done(&mut self, begun: Timestamp) {
        let now = clock::now();
        self.wait = self.every.max(now.since(begun).saturating_mul(SHARE));
        self.due = now.plus(self.wait);
    }
}

impl Service {
    /// Opens the store and takes back what was saved.
    ///
    /// # Errors
    /// When the store cannot be opened for writing.
    pub(crate) fn start(settings: Settings, folder: PathBuf) -> anyhow::Result<Self> {
        let store = Store::open(&folder, crate::cli::common::options(&settings))?;
        let saved = saved::read(&folder).unwrap_or_else(|error| {
            let place = terminal(&folder.display().to_string());
            tracing::warn!("what the last run saved in {place} cannot be used: {error}");
            None
        });
        let now = clock::now();
        let mut service = Self {
            pipeline: pipeline(&settings, store),
            folder,
            sources: Sources::default(),
            source_of: HashMap::new(),
            told: Told::default(),
            findings: BTreeMap::new(),
            committed: Vec::new(),
            failed_saves: 0,
            dropped: 0,
            started: now,
            review: Turn::new(REVIEW_EVERY, now),
            save: Turn::new(settings.collector.save_every, now.plus(settings.collector.save_every)),
            stats: Turn::new(
                settings.collector.stats_every,
                now.plus(settings.collector.stats_every),
            ),
            settings,
        };
        service.restore(saved.unwrap_or_default());
        Ok(service)
    }

    fn restore(&mut self, saved: Saved) {
        self.told = saved.memory.told;
        self.sources = Sources::default();
        for name in saved.memory.sources {
            let address = name.parse::<IpAddr>().ok();
            let id = self.sources.add(name);
            self.source_of.extend(address.map(|ip| (ip, id)));
        }
        if !saved.flows.is_empty() && self.pipeline.restore_exports(&saved.flows).is_err() {
            tracing::warn!("the templates and records that the last run saved cannot be used");
        }
    }

    /// Goes on under other settings: as a restart would, but the sockets stay open.
    ///
    /// # Errors
    /// When the store cannot be opened again. Where it cannot be written, the old ones stay in use.
    pub(crate) fn reload(mut self, settings: Settings) -> anyhow::Result<Self> {
        if let Err(error) = self.save(clock::now()) {
            self.failed_saves += 1;
            let error = terminal(&format!("{error:#}"));
            tracing::error!(
                "the old configuration stays in use, for what is known cannot be saved: {error}"
            );
            return Ok(self);
        }
        let Self { pipeline, folder, findings, dropped, started, .. } = self;
        drop(pipeline.into_memory());
        let service = Self::start(settings, folder)?;
        Ok(Self { findings, dropped, started, ..service })
    }

    /// Takes the datagrams of a batch.
    pub(crate) fn take(&mut self, batch: &Batch) {
        for (from, bytes) in batch.datagrams() {
            let exporter = Endpoint::new(from.ip().to_canonical(), from.port());
            let listed = self.settings.environments.exporters().takes(exporter.ip);
            let source = if listed { self.source(exporter.ip) } else { SourceId(u32::MAX) };
            let record = RecordNumber::Record(0);
            let evidence = Evidence { timestamp: batch.arrived(), source, record };
            self.pipeline.export(&Datagram { exporter, bytes, evidence });
        }
    }

    /// The number by which evidence names an exporter.
    fn source(&mut self, exporter: IpAddr) -> SourceId {
        if let Some(id) = self.source_of.get(&exporter) {
            return *id;
        }
        let name = match self.sources.names().len() {
            EXPORTERS => "other exporters".to_owned(),
            beyond if beyond > EXPORTERS => {
                return SourceId(u32::try_from(EXPORTERS).unwrap_or(u32::MAX));
            }
            _ => exporter.to_string(),
        };
        let id = self.sources.add(name);
        self.source_of.insert(exporter, id);
        id
    }

    /// Time passed: tells what has settled, saves, and prints statistics, each when it is due.
    ///
    /// # Errors
    /// When standard output cannot be written.
    pub(crate) fn tick(
        &mut self,
        exports: &Exports,
        output: &mut Output<'_>,
    ) -> anyhow::Result<()> {
        let now = clock::now();
        let dropped = exports.counters().dropped.load(Ordering::Relaxed);
        self.pipeline.engine_mut().exports_dropped(dropped.saturating_sub(self.dropped), now);
        self.dropped = dropped;
        if self.review.is_due(now) {
            self.pipeline.advance(now);
            self.tell(Some(now), output)?;
            self.review.done(now);
        }
        if self.save.is_due(now) {
            if let Err(error) = self.save(now) {
                self.failed_saves += 1;
                tracing::warn!("cannot save: {}", terminal(&format!("{error:#}")));
            }
            self.save.done(now);
        }
        if self.stats.is_due(now) {
            self.print_stats(exports, now, output)?;
            self.stats.done(now);
        }
        Ok(())
    }

    /// End: saves what goes on after a restart, then tells all that can be said now.
    ///
    /// # Errors
    /// When the store or standard output cannot be written.
    pub(crate) fn finish(
        mut self,
        exports: &Exports,
        output: &mut Output<'_>,
    ) -> anyhow::Result<BTreeMap<Severity, usize>> {
        let now = clock::now();
        self.pipeline.advance(now);
        let flows = self.pipeline.engine().save_exports();
        self.pipeline.end_of_input();
        let told = self.tell(None, output);
        self.commit(flows, now).context("cannot save")?;
        told?;
        self.print_stats(exports, now, output)?;
        Ok(self.findings)
    }

    /// Tells what has settled by `now` and was not told, or all of it.
    fn tell(&mut self, now: Option<Timestamp>, output: &mut Output<'_>) -> anyhow::Result<()> {
        let reviewed = self.pipeline.review();
        let mut case = Case::default();
        let mut stages: HashMap<String, Stage> = HashMap::new();
        for reviewed in reviewed {
            if now.is_some_and(|now| !self.has_settled(&reviewed, now)) {
                continue;
            }
            let Some((id, gist)) = gist::of(&reviewed.judgement) else { continue };
            if let Some(stage) = self.told.stage(id, gist) {
                stages.insert(id.to_owned(), stage);
            }
            if let Judgement::Finding(finding) = &reviewed.judgement
                && let Some(stage) = stages.get(&finding.id)
            {
                self.note(finding, *stage);
            }
            case.take(reviewed.judgement);
        }
        if stages.is_empty() {
            return Ok(());
        }
        let stage = |id: &str| stages.get(id).copied();
        let text = match output.format {
            Format::Text => text::live(&case, &self.sources, &stage),
            Format::Json => {
                let only = case.only(|id| stages.contains_key(id));
                let writer = json::Writer::new(&self.sources, output.sensor);
                lines::staged(&writer, &only, &stage).join("\n") + "\n"
            }
        };
        let printed = print(output, &text);
        if printed.is_err() {
            // Whoever reads after a restart has not seen them.
            stages.keys().for_each(|id| self.told.take_back(id));
        }
        printed
    }

    /// Counts a finding, and sees to it that its destination does not become known by age.
    fn note(&mut self, finding: &Finding, stage: Stage) {
        if stage.revision == 1 {
            *self.findings.entry(finding.severity).or_default() += 1;
        }
        let Some(destination) = finding.destination.as_ref() else { return };
        if finding.severity < Severity::Medium {
            return;
        }
        let memory = self.pipeline.memory();
        if let Some(ip) = destination.ip {
            memory.mark_in_finding(&finding.environment, Key::Address(ip));
        }
        for entry in &destination.names {
            memory.mark_in_finding(&finding.environment, Key::Name(&entry.name));
        }
    }

    /// Are its windows over by the clocks of the exporters that told of it, and did the records of
    /// what happened in them have time to come? An exporter that is silent lets time pass as well.
    fn has_settled(&self, reviewed: &Reviewed, now: Timestamp) -> bool {
        let evidence = gist::evidence(&reviewed.judgement);
        let behind = evidence.iter().filter_map(|place| {
            let name = self.sources.name(place.source);
            let exporter = self.pipeline.engine().exporter(name.parse().ok()?)?;
            exporter.behind_nanos
        });
        let behind = behind.max().unwrap_or(0);
        let settled = reviewed.settles.as_nanos().saturating_add(behind);
        Timestamp::from_nanos(settled).plus(self.settings.collector.lateness) <= now
    }

    fn save(&mut self, now: Timestamp) -> anyhow::Result<()> {
        let flows = self.pipeline.engine().save_exports();
        self.commit(flows, now)
    }

    /// First the conversations under way, then what was learned: what both have is learned again after
    /// a crash between them, and nothing is lost.
    fn commit(&mut self, flows: Vec<u8>, now: Timestamp) -> anyhow::Result<()> {
        let memory = saved::Memory {
            sources: self.sources.names().to_vec(),
            told: std::mem::take(&mut self.told),
        };
        let saved = Saved { memory, flows };
        let written = saved::write(&self.folder, &saved);
        self.told = saved.memory.told;
        written.with_context(|| {
            format!("cannot write into {}", terminal(&self.folder.display().to_string()))
        })?;
        let exporters = self.pipeline.engine().exporters();
        let through: Vec<CommittedThrough> = exporters
            .iter()
            .map(|exporter| CommittedThrough {
                source: exporter.address.to_string(),
                record: exporter.records,
                timestamp: if exporter.heard == Timestamp::EPOCH { now } else { exporter.heard },
            })
            .collect();
        self.pipeline.memory().commit(&through)?;
        self.committed = through;
        Ok(())
    }

    fn print_stats(
        &mut self,
        exports: &Exports,
        now: Timestamp,
        output: &mut Output<'_>,
    ) -> anyhow::Result<()> {
        let counters = self.pipeline.engine().counters();
        let detector = self.pipeline.detector_counters();
        let exporters = self.pipeline.engine().exporters();
        let failed_saves = self.failed_saves;
        let store = self.pipeline.memory();
        let filters = store.filter_stats();
        let store = stats::Store {
            pending_rows: store.pending_rows(),
            entries: filters.keys.saturating_add(filters.unfiltered),
            fill: filters.fill,
            error_probability: filters.error_probability,
            failed_saves,
        };
        let sockets = exports.counters();
        let load = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        let run = stats::Run {
            counters: &counters,
            detector: &detector,
            sockets: stats::Sockets {
                received: load(&sockets.datagrams),
                dropped: load(&sockets.dropped),
                tcp_refused: load(&sockets.refused),
                tcp_broken: load(&sockets.broken),
                errors: load(&sockets.errors),
                listening: exports.opened().iter().map(Into::into).collect(),
            },
            exporters: &exporters,
            usage: self.pipeline.engine().exports_usage(),
            findings: &self.findings,
            told_forgotten: self.told.forgotten,
            store,
            committed: &self.committed,
            now,
            started: self.started,
        };
        let line = match output.format {
            Format::Json => stats::line(&json::Writer::new(&self.sources, output.sensor), &run),
            Format::Text => stats::text(&run),
        };
        print(output, &format!("{line}\n"))
    }
}

fn pipeline(settings: &Settings, store: Store) -> Pipeline<Store> {
    let mut settings = settings.clone();
    settings.policy.live = true;
    let mut pipeline = Pipeline::new(settings, store, How::Observed, Secrets::Redact);
    pipeline.engine_mut().without_records();
    pipeline
}

fn print(output: &mut Output<'_>, text: &str) -> anyhow::Result<()> {
    let cannot = "cannot write to standard output";
    output.out.write_all(text.as_bytes()).context(cannot)?;
    output.out.flush().context(cannot)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_comes_again_even_if_the_clock_is_set_back() {
        let at = |secs| Timestamp::from_secs_nanos(secs, 0);
        let mut turn = Turn::new(Duration::from_secs(60), at(1_000));
        assert!(turn.is_due(at(1_000)) && !turn.is_due(at(990)));
        (turn.due, turn.wait) = (at(1_060), Duration::from_secs(60));
        assert!(!turn.is_due(at(1_059)) && turn.is_due(at(1_060)));
        assert!(turn.is_due(at(900)), "an hour back would be an hour without a save");
    }
}
