//! Files that a client sends through its session: `moby.filesync.v1.FileSync/DiffCopy`.
//!
//! In: the packets of the client, for one folder. Out: the Dockerfile's text, and what the context
//! holds. Files may come interleaved, told apart by number. Limits: [`MAX_ENTRIES`],
//! [`MAX_DOCKERFILES`], names as for an uploaded context.

use std::collections::BTreeMap;

use tw_model::Context;

use super::protobuf::{Fields, Value};
use crate::content::context::{MAGIC_BYTES, is_program, normalised};

const MAX_NAMES: usize = 100;
const MAX_ENTRIES: u64 = 1 << 32;
const MAX_DOCKERFILES: usize = 8;

/// What the client sent so far, of all folders of one session.
#[derive(Clone, Default)]
pub(crate) struct Synced {
    /// Files of the folder `dockerfile`.
    pub(crate) dockerfiles: Vec<SyncedFile>,
    /// Of the context.
    pub(crate) context: Context,
    /// Something was cut off.
    pub(crate) truncated: bool,
}

/// One of them.
#[derive(Clone, Default)]
pub(crate) struct SyncedFile {
    pub(crate) name: String,
    pub(crate) content: Vec<u8>,
    pub(crate) truncated: bool,
}

impl Synced {
    /// Has nothing come?
    pub(crate) fn is_empty(&self) -> bool {
        self.dockerfiles.is_empty() && self.context.files == 0
    }

    /// The Dockerfile that `filename` means; the daemon asks for a few more names beside it.
    pub(crate) fn dockerfile(&self, filename: &str) -> Option<&SyncedFile> {
        let base = filename.rsplit('/').next().unwrap_or("");
        let wanted = if base.is_empty() { "Dockerfile" } else { base };
        let by_name = |name: &str| self.dockerfiles.iter().find(|file| file.name == name);
        by_name(wanted).or_else(|| {
            let mut others = self.dockerfiles.iter();
            others.find(|file| !file.name.ends_with(".dockerignore") && !file.content.is_empty())
        })
    }
}

/// Which folder a call copies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Folder {
    Dockerfile,
    Context,
    /// What was asked for was not seen: told by the names of the files.
    Unknown,
}

/// One call.
pub(crate) struct DiffCopy {
    folder: Folder,
    /// Entries told of so far: their ordinal is their number.
    entries: u64,
    open: BTreeMap<u64, Open>,
}

/// A file whose content may come.
struct Open {
    name: String,
    runnable: bool,
    magic: Vec<u8>,
    /// Index in `Synced::dockerfiles`.
    kept: Option<usize>,
}

impl DiffCopy {
    /// `dir-name` of the request's head: `dockerfile`, `context`, or a named context.
    pub(crate) const fn new(folder: Folder) -> Self {
        Self { folder, entries: 0, open: BTreeMap::new() }
    }

    /// `tonistiigi/fsutil`, `types/wire.proto`, `Packet`: 1 `type`, 2 `stat`, 3 `ID`, 4 `data`.
    /// Says whether a file is complete, or all are.
    pub(crate) fn packet(
        &mut self,
        message: &[u8],
        whole: bool,
        max_file_bytes: usize,
        synced: &mut Synced,
    ) -> bool {
        let (mut kind, mut id, mut data, mut stat) = (0, 0, &[][..], None);
        for (number, value) in Fields::new(message) {
            match (number, value) {
                (1, Value::Number(value)) => kind = value,
                (2, Value::Bytes(_) | Value::Cut(_)) => stat = Stat::read(value.message()),
                (3, Value::Number(value)) => id = value,
                (4, Value::Bytes(bytes) | Value::Cut(bytes)) => {
                    data = bytes;
                }
                // Another message than a packet: what crosses a session may be a secret.
                _ => return false,
            }
        }
        synced.truncated |= !whole;
        match (kind, stat) {
            (STAT, Some(stat)) => self.entry(&stat, synced),
            (DATA, _) if data.is_empty() && whole => return self.end(id, synced),
            (DATA, _) => self.data(id, data, whole.then_some(max_file_bytes), synced),
            (FIN, _) => return true,
            _ => {}
        }
        false
    }

    fn entry(&mut self, stat: &Stat<'_>, synced: &mut Synced) {
        let id = self.entries;
        self.entries = self.entries.saturating_add(1).min(MAX_ENTRIES);
        if !stat.is_file() {
            return;
        }
        let mut open = Open {
            name: normalised(stat.path.as_bytes()),
            runnable: stat.mode & 0o111 != 0,
            magic: Vec::new(),
            kept: None,
        };
        let is_dockerfile = match self.folder {
            Folder::Dockerfile => true,
            Folder::Context => false,
            Folder::Unknown => open.name.to_ascii_lowercase().contains("dockerfile"),
        };
        match is_dockerfile {
            false => {
                let context = &mut synced.context;
                if context.names.contains(&open.name) {
                    return;
                }
                context.files = context.files.saturating_add(1);
                if context.names.len() >= MAX_NAMES {
                    return;
                }
                context.names.push(open.name.clone());
            }
            true => {
                let files = &mut synced.dockerfiles;
                if files.len() >= MAX_DOCKERFILES {
                    return;
                }
                open.kept = Some(files.len());
                files.push(SyncedFile { name: open.name.clone(), ..SyncedFile::default() });
            }
        }
        self.open.insert(id, open);
    }

    /// `room` is that of a whole file; `None` where the packet is cut.
    fn data(&mut self, id: u64, data: &[u8], room: Option<usize>, synced: &mut Synced) {
        let is_kept = self.open.get(&id).is_some_and(|open| open.kept.is_some());
        if !is_kept && self.folder != Folder::Dockerfile {
            let bytes = u64::try_from(data.len()).unwrap_or(u64::MAX);
            synced.context.bytes = synced.context.bytes.saturating_add(bytes);
        }
        let Some(open) = self.open.get_mut(&id) else { return };
        let missing = MAGIC_BYTES.saturating_sub(open.magic.len()).min(data.len());
        open.magic.extend_from_slice(data.get(..missing).unwrap_or(&[]));
        let Some(file) = open.kept.and_then(|index| synced.dockerfiles.get_mut(index)) else {
            return;
        };
        // Text is never put together over a hole.
        if file.truncated {
            return;
        }
        let limit = room.unwrap_or_else(|| file.content.len().saturating_add(data.len()));
        let free = limit.saturating_sub(file.content.len()).min(data.len());
        file.content.extend_from_slice(data.get(..free).unwrap_or(&[]));
        file.truncated = room.is_none() || free < data.len();
    }

    fn end(&mut self, id: u64, synced: &mut Synced) -> bool {
        let Some(open) = self.open.remove(&id) else { return false };
        let is_context = open.kept.is_none();
        if is_context && is_program(&open.magic, open.runnable) {
            synced.context.executables.push(open.name);
        }
        !is_context
    }
}

const STAT: u64 = 0;
const DATA: u64 = 2;
const FIN: u64 = 3;

/// `Stat` of the same file: 1 `path`, 2 `mode`.
struct Stat<'a> {
    path: &'a str,
    mode: u64,
}

impl<'a> Stat<'a> {
    /// `None` without a path or a mode, which every client sends.
    fn read(fields: Fields<'a>) -> Option<Self> {
        let (mut path, mut mode) = (None, None);
        for (number, value) in fields {
            match (number, value) {
                (1, value) => path = value.text().filter(|path| !path.is_empty()),
                (2, Value::Number(value)) => mode = Some(value),
                _ => {}
            }
        }
        Some(Self { path: path?, mode: mode? })
    }

    /// Go's `fs.FileMode`: a type bit is set for what is no regular file.
    const fn is_file(&self) -> bool {
        const TYPE: u64 = 1 << 31 | 1 << 27 | 1 << 26 | 1 << 25 | 1 << 24 | 1 << 21 | 1 << 19;
        self.mode & TYPE == 0
    }
}
