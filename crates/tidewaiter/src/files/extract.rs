//! Objects of the incidents: Dockerfiles, what was uploaded to a daemon, what was downloaded, layers of
//! images, each as one file that is named by its SHA-256, with a manifest.
//!
//! They are read from the captures a second time, from conversations of incidents that are in clear. No
//! name from the network becomes a path, no file can be executed, and bodies go to disk as they come:
//! nothing is held in memory but their first bytes.

use std::collections::{BTreeSet, HashMap};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::Serialize;
use sha2::{Digest, Sha256};
use tw_capture::Inputs;
use tw_evidence::{AtomicFile, Selection};
use tw_model::{
    Direction, Endpoint, Evidence, FlowId, Incident, Observation, ObservationBody, Secrets,
    redact_url,
};
use tw_proto::{BodyEnd, Event, HttpEvent, HttpEventKind, Reader};
use tw_stream::{Flow, StreamEvent, Table};
use tw_wire::{Decoded, Decoder};

use super::manifest::{Entry, frame_of, hex, mime_type};
use super::tracked::{Marred, Tracked};
use crate::cli::progress::Progress;
use crate::report::Sources;
use crate::report::case::Case;

/// Bytes of one object and of all, objects, and bodies that are written at the same time.
const MAX_OBJECT: u64 = 256 << 20;
const MAX_TOTAL: u64 = 4 << 30;
const MAX_OBJECTS: usize = 4_096;
const MAX_OPEN: usize = 128;
/// Places where a Docker API was called.
const MAX_DAEMONS: usize = 65_536;
/// First bytes, by which the type is told.
const HEAD: usize = 8_192;
const MANIFEST: &str = "manifest.json";

/// A folder that takes the files.
pub(crate) struct Extract {
    folder: PathBuf,
    /// Of the archive, where one is wanted.
    password: Option<String>,
    /// Where a Docker API was called: what comes from there is an answer, and no download.
    daemons: BTreeSet<Endpoint>,
}

/// What was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Summary {
    pub(crate) objects: usize,
    pub(crate) bytes: u64,
    /// Objects that are not whole: bytes were missing, or they were too large.
    pub(crate) truncated: usize,
    /// Objects that are not there, for there were too many.
    pub(crate) left_out: u64,
}

impl Summary {
    /// One line for a person.
    pub(crate) fn text(&self) -> String {
        let Self { objects, bytes, truncated, left_out } = self;
        format!(
            "Objects: {objects}, {bytes} bytes ({truncated} not whole, {left_out} left out); they may be malicious\n"
        )
    }
}

impl Extract {
    /// Makes sure, before the work begins, that it can be done.
    pub(crate) fn prepare(
        folder: &Path,
        captures: &[PathBuf],
        password: Option<&str>,
    ) -> anyhow::Result<Self> {
        super::prepare("--extract", folder, captures)?;
        let password = password.map(str::to_owned);
        Ok(Self { folder: folder.to_owned(), password, daemons: BTreeSet::new() })
    }

    /// Takes note of an observation.
    pub(crate) fn observe(&mut self, observation: &Observation) {
        if let ObservationBody::ApiCall(call) = &observation.body
            && self.daemons.len() < MAX_DAEMONS
        {
            self.daemons.insert(call.daemon);
        }
    }

    /// Reads the captures again and writes the files.
    pub(crate) fn write(
        &self,
        captures: &[PathBuf],
        sources: &Sources,
        case: &Case,
    ) -> anyhow::Result<Summary> {
        let incidents = case.incidents_by_weight();
        let mut run = Run {
            folder: &self.folder,
            incidents: &incidents,
            sources,
            daemons: &self.daemons,
            open: HashMap::new(),
            entries: Vec::new(),
            summary: Summary::default(),
            written: 0,
        };
        run.dockerfiles(case)?;
        if !incidents.is_empty() {
            run.read(captures)?;
        }
        run.finish(self.password.as_deref())
    }
}

/// A body: of which exchange on which connection, and which way.
type Key = (FlowId, u64, bool);

/// A body while it is written.
struct Body {
    file: AtomicFile,
    hash: Sha256,
    head: Vec<u8>,
    bytes: u64,
    whole: bool,
    kind: &'static str,
    entry: About,
}

struct About {
    client: String,
    server: String,
    url: Option<String>,
    incidents: BTreeSet<usize>,
    first: Evidence,
    last: Evidence,
}

struct Run<'a> {
    folder: &'a Path,
    incidents: &'a [&'a Incident],
    sources: &'a Sources,
    daemons: &'a BTreeSet<Endpoint>,
    open: HashMap<Key, Body>,
    entries: Vec<Entry>,
    summary: Summary,
    written: u64,
}

impl Run<'_> {
    /// As they are told, secrets removed.
    fn dockerfiles(&mut self, case: &Case) -> anyhow::Result<()> {
        for incident in self.incidents {
            let findings = case.findings_of(incident);
            let ids: BTreeSet<_> = findings.iter().flat_map(|finding| &finding.builds).collect();
            for told in case.builds.iter().filter(|told| ids.contains(&told.body.id)) {
                let Some(text) = &told.body.dockerfile else { continue };
                if self.entries.len() >= MAX_OBJECTS {
                    self.summary.left_out += 1;
                    continue;
                }
                let sha256 = hex(&Sha256::digest(text.as_bytes()));
                let file = format!("{sha256}.bin");
                let mut out = AtomicFile::create(&self.folder.join(&file))?;
                out.write_all(text.as_bytes())?;
                out.commit()?;
                let build = &told.body;
                let frame = |place: Option<&Evidence>| place.and_then(frame_of);
                self.entries.push(Entry {
                    file,
                    sha256,
                    kind: "dockerfile",
                    bytes: u64::try_from(text.len()).unwrap_or(u64::MAX),
                    whole: !build.caveats.contains(&tw_model::Caveat::Truncated),
                    mime_type: "text/plain".to_owned(),
                    incidents: BTreeSet::from([incident.id.clone()]),
                    client: Some(Endpoint::new(build.client, build.client_port).to_string()),
                    server: Some(build.daemon.to_string()),
                    url: None,
                    source: told.evidence.first().map(|p| self.sources.name(p.source).to_owned()),
                    first_frame: frame(told.evidence.first()),
                    last_frame: frame(told.evidence.last()),
                });
            }
        }
        Ok(())
    }

    fn read(&mut self, captures: &[PathBuf]) -> anyhow::Result<()> {
        let selection = Selection::new(self.incidents.iter().copied());
        let mut inputs = Inputs::open(captures)?;
        if inputs.sources() != self.sources.names() {
            anyhow::bail!("the captures are not those of a moment ago: nothing was extracted");
        }
        let mut decoder = Decoder::new(tw_wire::Limits::default());
        let mut table: Table<Tracked> = Table::new(tw_stream::Limits::default());
        let mut progress = Progress::new();
        let mut found = Vec::new();
        let mut failed = None;
        while let Some(frame) = inputs.next_frame()? {
            decoder.push(&frame, &mut |decoded| {
                let Decoded::Packet(packet) = decoded else { return };
                selection.of(&packet, &mut found);
                if found.is_empty() {
                    return;
                }
                table.push(&packet, &mut |flow, at, event| {
                    flow.user.incidents.extend(&found);
                    failed = failed.take().or_else(|| self.event(flow, at, event).err());
                });
            });
            if let Some(error) = failed.take() {
                return Err(error);
            }
            progress.tick(|| {
                let progress = inputs.progress();
                (progress.done_bytes, progress.total_bytes)
            });
        }
        table.finish(&mut |flow, at, event| {
            failed = failed.take().or_else(|| self.event(flow, at, event).err());
        });
        progress.finish();
        failed.map_or(Ok(()), Err)
    }

    fn event(
        &mut self,
        flow: &mut Flow<Tracked>,
        at: Evidence,
        event: StreamEvent<'_>,
    ) -> anyhow::Result<()> {
        let limits = tw_proto::Limits::default();
        let mut reader = flow.user.reader.take().unwrap_or_else(|| {
            let ends = (flow.opener, flow.responder);
            let mut reader = Reader::new(flow.id, ends.0, ends.1, flow.protocol, limits);
            if flow.midstream {
                reader.joined_midstream();
            }
            Box::new(reader)
        });
        reader.at(at.timestamp);
        let mut failed = None;
        let mut each = |told: Event<'_>| {
            if let Event::Http(http) = told {
                failed = failed.take().or_else(|| self.http(flow, at, &http).err());
            }
        };
        let mut ended = false;
        match event {
            StreamEvent::Data { direction, bytes, .. } => reader.data(direction, bytes, &mut each),
            StreamEvent::Gap { direction, len, .. } => reader.gap(direction, len, &mut each),
            StreamEvent::Unread { direction, len } => reader.unread(direction, len, &mut each),
            StreamEvent::HalfClose { direction } => reader.half_close(direction, &mut each),
            StreamEvent::Close(_) => {
                reader.close(&mut each);
                ended = true;
            }
            StreamEvent::Datagram { .. } | StreamEvent::Open | StreamEvent::Anomaly(_) => {}
        }
        flow.user.reader = (!ended).then_some(reader);
        if ended {
            self.close(flow.id)?;
        }
        failed.map_or(Ok(()), Err)
    }

    fn http(
        &mut self,
        flow: &mut Flow<Tracked>,
        at: Evidence,
        http: &HttpEvent<'_>,
    ) -> anyhow::Result<()> {
        let request = (flow.id, http.exchange, true);
        let response = (flow.id, http.exchange, false);
        match http.kind {
            HttpEventKind::RequestHead(head) => {
                let host = head.authority.clone().unwrap_or_default();
                if flow.user.asked.len() < 256 {
                    flow.user.asked.insert(http.exchange, (head.target.clone(), host));
                }
                Ok(())
            }
            HttpEventKind::RequestBody(bytes) => self.body(flow, at, http, request, bytes),
            HttpEventKind::ResponseBody(bytes) => self.body(flow, at, http, response, bytes),
            HttpEventKind::RequestGap(_) | HttpEventKind::RequestUnread(_) => {
                self.gap(flow, request);
                Ok(())
            }
            HttpEventKind::ResponseGap(_) | HttpEventKind::ResponseUnread(_) => {
                self.gap(flow, response);
                Ok(())
            }
            HttpEventKind::RequestEnd(end) => {
                flow.user.marred.remove(&(http.exchange, true));
                self.end(request, end == BodyEnd::Complete)
            }
            HttpEventKind::ResponseEnd(end) => {
                flow.user.asked.remove(&http.exchange);
                flow.user.marred.remove(&(http.exchange, false));
                self.end(response, end == BodyEnd::Complete)
            }
            _ => Ok(()),
        }
    }

    fn body(
        &mut self,
        flow: &mut Flow<Tracked>,
        at: Evidence,
        http: &HttpEvent<'_>,
        key: Key,
        bytes: &[u8],
    ) -> anyhow::Result<()> {
        if !self.open.contains_key(&key) {
            let marred = flow.user.marred((key.1, key.2));
            if marred == Some(Marred::LeftOut) {
                return Ok(());
            }
            let Some((kind, about)) = self.about(flow, at, http, key.2) else { return Ok(()) };
            let known = self.entries.len().saturating_add(self.open.len());
            if known >= MAX_OBJECTS || self.open.len() >= MAX_OPEN || self.written >= MAX_TOTAL {
                self.summary.left_out += 1;
                flow.user.mar((key.1, key.2), Marred::LeftOut);
                return Ok(());
            }
            // Its own name comes with its last byte.
            let name = format!("object-{}-{}-{}", key.0.0, key.1, u8::from(key.2));
            let file = AtomicFile::create(&self.folder.join(name))
                .with_context(|| format!("cannot write to {}", self.folder.display()))?;
            let body = Body {
                file,
                hash: Sha256::new(),
                head: Vec::new(),
                bytes: 0,
                whole: marred.is_none(),
                kind,
                entry: about,
            };
            self.open.insert(key, body);
        }
        let Some(body) = self.open.get_mut(&key) else { return Ok(()) };
        let room =
            MAX_OBJECT.saturating_sub(body.bytes).min(MAX_TOTAL.saturating_sub(self.written));
        let taken = usize::try_from(room).unwrap_or(usize::MAX).min(bytes.len());
        let (kept, lost) = bytes.split_at(taken);
        body.whole &= lost.is_empty();
        body.file.write_all(kept).context("cannot write an object")?;
        body.hash.update(kept);
        let room = HEAD.saturating_sub(body.head.len());
        body.head.extend(kept.iter().take(room));
        body.bytes = body.bytes.saturating_add(taken as u64);
        body.entry.last = at;
        self.written = self.written.saturating_add(taken as u64);
        Ok(())
    }

    /// What kind of object it is; nothing for bodies that are none.
    fn about(
        &self,
        flow: &Flow<Tracked>,
        at: Evidence,
        http: &HttpEvent<'_>,
        is_request: bool,
    ) -> Option<(&'static str, About)> {
        let (client, server) = match http.request_direction {
            Direction::ToResponder => (flow.opener, flow.responder),
            Direction::ToOpener => (flow.responder, flow.opener),
        };
        let asked = flow.user.asked.get(&http.exchange);
        let target = asked.map_or("", |(target, _)| target.as_str());
        let path = target.split('?').next().unwrap_or("");
        // In a session of BuildKit the daemon asks its caller.
        let is_api = self.daemons.contains(&server) || self.daemons.contains(&client);
        let kind = match (is_request, is_api) {
            (true, true) if path.ends_with("/build") => "context",
            (true, true) if path.ends_with("/images/load") || path.ends_with("/images/create") => {
                "image"
            }
            (true, true) if path.ends_with("/archive") => "copy",
            (true, _) if path.contains("/blobs/") => "layer",
            (false, false) if path.contains("/blobs/") => "layer",
            (false, false) if path.contains("/manifests/") => "image-manifest",
            (false, false) => "download",
            _ => return None,
        };
        let url = asked.map(|(target, host)| {
            let url = match target.starts_with('/') {
                true => format!("http://{host}{target}"),
                false => target.clone(),
            };
            redact_url(&url, Secrets::Redact)
        });
        Some((
            kind,
            About {
                client: client.to_string(),
                server: server.to_string(),
                url: url.filter(|_| !is_request).map(|url| url.chars().take(2_048).collect()),
                incidents: flow.user.incidents.clone(),
                first: at,
                last: at,
            },
        ))
    }

    fn gap(&mut self, flow: &mut Flow<Tracked>, key: Key) {
        match self.open.get_mut(&key) {
            Some(body) => body.whole = false,
            None => flow.user.mar((key.1, key.2), Marred::Hole),
        }
    }

    /// What of a connection is still open when it ends is not whole.
    fn close(&mut self, flow: FlowId) -> anyhow::Result<()> {
        let mut keys: Vec<Key> = self.open.keys().filter(|key| key.0 == flow).copied().collect();
        keys.sort_unstable();
        keys.into_iter().try_for_each(|key| self.end(key, false))
    }

    fn end(&mut self, key: Key, complete: bool) -> anyhow::Result<()> {
        let Some(body) = self.open.remove(&key) else { return Ok(()) };
        let Body { mut file, hash, head, bytes, whole, kind, entry } = body;
        let sha256 = hex(&hash.finalize());
        let name = format!("{sha256}.bin");
        file.rename(&name)?;
        file.commit().with_context(|| format!("cannot write {name}"))?;
        let mut incidents = BTreeSet::new();
        for index in &entry.incidents {
            incidents.extend(self.incidents.get(*index).map(|incident| incident.id.clone()));
        }
        self.entries.push(Entry {
            file: name,
            sha256,
            kind,
            bytes,
            whole: whole && complete,
            mime_type: mime_type(&head),
            incidents,
            client: Some(entry.client),
            server: Some(entry.server),
            url: entry.url,
            source: Some(self.sources.name(entry.first.source).to_owned()),
            first_frame: frame_of(&entry.first),
            last_frame: frame_of(&entry.last),
        });
        Ok(())
    }

    fn finish(mut self, password: Option<&str>) -> anyhow::Result<Summary> {
        let mut left: Vec<Key> = self.open.keys().copied().collect();
        left.sort_unstable();
        for key in left {
            self.end(key, false)?;
        }
        let mut summary = self.summary;
        summary.objects = self.entries.len();
        summary.bytes = self.entries.iter().map(|entry| entry.bytes).sum();
        summary.truncated = self.entries.iter().filter(|entry| !entry.whole).count();
        let text = serde_json::to_string_pretty(&self.entries)?;
        let path = self.folder.join(MANIFEST);
        let cannot = || format!("cannot write {}", path.display());
        let mut file = AtomicFile::create(&path).with_context(cannot)?;
        file.write_all(text.as_bytes()).and_then(|()| file.commit()).with_context(cannot)?;
        if let Some(password) = password {
            let names: BTreeSet<&String> = self.entries.iter().map(|entry| &entry.file).collect();
            let names: Vec<String> = names.into_iter().cloned().collect();
            super::archive::write(self.folder, &names, password)?;
        }
        Ok(summary)
    }
}
