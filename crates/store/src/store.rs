//! A store in a directory, and further handles on it.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::OptionalExtension;
use tw_detect::{Answer, Fact, Key, Seen};
use tw_model::Timestamp;

use crate::delta::Delta;
use crate::disk::Disk;
use crate::error::StoreError;
use crate::filter::{Filters, Shard, ShardFile};
use crate::key::SeenAxis;
use crate::layer::Layer;
use crate::lock::WriterLock;
use crate::memory::Memory;
use crate::options::Options;
use crate::row::{How, Row};

const FILTER_FOLDER: &str = "filters";

/// A store in a directory.
///
/// What is recorded is visible to every handle at once and on disk after [`Store::commit`], which
/// the owner calls before it says how far it has got. A store opened with [`Store::open_read_only`]
/// shows the moment it was opened, whatever a writer does meanwhile; what is recorded into it never
/// reaches the disk.
pub struct Store {
    pub(crate) layer: Layer,
    pub(crate) folder: PathBuf,
    pub(crate) secret: [u8; 16],
    /// Rows at which the next automatic commit is tried.
    pub(crate) commit_at: usize,
    /// Unfiltered entries below which filters are not built, after a failed attempt.
    pub(crate) rebuild_not_below: u64,
    pub(crate) failed_commits: u64,
    pub(crate) failed_rebuilds: u64,
    lock: Option<WriterLock>,
}

/// A further handle on a [`Store`] of this process, with a database connection of its own: for
/// packet threads, while one thread owns the `Store` and commits.
pub struct Reader {
    layer: Layer,
}

impl Store {
    /// Opens a store for writing, and makes it if there is none.
    ///
    /// # Errors
    /// When the directory cannot be used, another process is writing it, or its database is newer
    /// or damaged. A damaged filter is no error: it is counted, answers "maybe", and is built again
    /// by the next commit.
    pub fn open(folder: &Path, options: Options) -> Result<Self, StoreError> {
        make_private_folder(folder)?;
        let lock = WriterLock::take(folder)?;
        make_private_folder(&folder.join(FILTER_FOLDER))?;
        let disk = Disk::open(folder, options.busy_timeout)?;
        Self::load(folder, disk, options, Some(lock))
    }

    /// Opens a store for reading, beside a writer or alone; the directory may be read-only.
    ///
    /// The moment it was opened is held on to with a read transaction. A writer goes on, but its
    /// write-ahead log cannot shrink until this store is dropped.
    ///
    /// # Errors
    /// When there is no store, it may not be read, or its database has another schema or is
    /// damaged.
    pub fn open_read_only(folder: &Path, options: Options) -> Result<Self, StoreError> {
        let disk = Disk::open_read_only(folder, options.busy_timeout)?;
        disk.run(|connection| {
            connection.execute_batch("BEGIN")?;
            connection.query_row("SELECT count(*) FROM setting", (), |row| row.get::<_, i64>(0))
        })?;
        Self::load(folder, disk, options, None)
    }

    /// Reads the unfiltered hashes before the filters: a writer fills a filter before it takes
    /// hashes out, so that in this order nothing can be missed.
    fn load(
        folder: &Path,
        disk: Disk,
        options: Options,
        lock: Option<WriterLock>,
    ) -> Result<Self, StoreError> {
        let secret = disk.secret()?;
        let directory = disk.directory()?;
        let unfiltered = unfiltered(&disk)?;
        let filters = load_filters(&disk, folder, &secret)?;
        let delta = Delta::new(secret, filters, directory);
        unfiltered.into_iter().for_each(|hash| delta.note_unfiltered(hash));
        let commit_at = options.pending_limit;
        let row_limit = options.pending_limit.saturating_mul(2);
        Ok(Self {
            layer: Layer::new(Arc::new(delta), Some(disk), options, row_limit),
            folder: folder.to_path_buf(),
            secret,
            commit_at,
            rebuild_not_below: 0,
            failed_commits: 0,
            failed_rebuilds: 0,
            lock,
        })
    }

    /// Another handle for another thread.
    ///
    /// # Errors
    /// When the database cannot be opened once more.
    pub fn reader(&self) -> Result<Reader, StoreError> {
        let options = self.layer.options;
        let disk = Disk::open_read_only(&self.folder, options.busy_timeout)?;
        let row_limit = options.pending_limit.saturating_mul(2);
        let layer = Layer::new(Arc::clone(&self.layer.delta), Some(disk), options, row_limit);
        Ok(Reader { layer })
    }

    /// Where it lives.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Rows that wait for the next commit.
    #[must_use]
    pub fn pending_rows(&self) -> usize {
        self.layer.delta.pending_rows()
    }

    pub(crate) fn filter_folder(&self) -> PathBuf {
        self.folder.join(FILTER_FOLDER)
    }

    /// The connection for reading.
    pub(crate) fn disk(&self) -> Result<&Disk, StoreError> {
        self.layer.disk.as_ref().ok_or_else(|| StoreError::Missing { path: self.folder.clone() })
    }

    /// The connection for writing.
    pub(crate) fn writable(&mut self) -> Result<&mut Disk, StoreError> {
        let path = self.folder.clone();
        let disk = self.layer.disk.as_mut().filter(|_| self.lock.is_some());
        disk.ok_or(StoreError::ReadOnly { path })
    }

    pub(crate) const fn is_writer(&self) -> bool {
        self.lock.is_some()
    }
}

impl Seen for Store {
    fn ask(&mut self, environment: &str, host: IpAddr, question: Key<'_>, at: Timestamp) -> Answer {
        self.layer.ask(environment, host, question, at)
    }
}

impl Memory for Store {
    fn watching_axes(&mut self, environment: &str, axes: &[SeenAxis], at: Timestamp) {
        self.layer.watching(environment, axes, at);
    }

    /// Commits by itself when `pending_limit` rows wait. If that fails it is counted and tried
    /// again later, and the next [`Store::commit`] says why; at twice the limit facts are dropped
    /// and counted.
    fn record(&mut self, fact: &Fact<'_>, how: How) {
        self.layer.record(fact, how);
        self.commit_when_full();
    }

    fn mark_in_finding(&mut self, environment: &str, key: Key<'_>) {
        self.layer.merge_row(environment, key, &Row::in_a_finding());
        self.commit_when_full();
    }
}

impl Seen for Reader {
    fn ask(&mut self, environment: &str, host: IpAddr, question: Key<'_>, at: Timestamp) -> Answer {
        self.layer.ask(environment, host, question, at)
    }
}

/// What is recorded waits for the `Store`'s next commit; beyond twice its `pending_limit` it is
/// dropped and counted.
impl Memory for Reader {
    fn watching_axes(&mut self, environment: &str, axes: &[SeenAxis], at: Timestamp) {
        self.layer.watching(environment, axes, at);
    }

    fn record(&mut self, fact: &Fact<'_>, how: How) {
        self.layer.record(fact, how);
    }

    fn mark_in_finding(&mut self, environment: &str, key: Key<'_>) {
        self.layer.merge_row(environment, key, &Row::in_a_finding());
    }
}

/// Who talks to whom is nobody else's business: only the owner may enter.
fn make_private_folder(folder: &Path) -> Result<(), StoreError> {
    if folder.is_dir() {
        return Ok(());
    }
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder).map_err(|source| StoreError::from_io(folder, source))
}

fn unfiltered(disk: &Disk) -> Result<Vec<u64>, StoreError> {
    disk.run(|connection| {
        let mut statement = connection.prepare("SELECT hash FROM unfiltered")?;
        let hashes = statement.query_map((), |row| Ok(row.get::<_, i64>(0)?.cast_unsigned()))?;
        hashes.collect()
    })
}

/// Loads every shard that the database names. One that cannot be used answers "maybe" to
/// everything.
fn load_filters(disk: &Disk, folder: &Path, secret: &[u8; 16]) -> Result<Filters, StoreError> {
    let sql = "SELECT value FROM setting WHERE name = 'filter_bits'";
    let bits: Option<u8> =
        disk.run(|connection| connection.query_row(sql, (), |row| row.get(0)).optional())?;
    let Some(bits) = bits else { return Ok(Filters::unbuilt()) };
    let builds: Vec<(u32, [Option<i64>; 2])> = disk.run(|connection| {
        let sql = "SELECT shard, build, next FROM filter WHERE bits = ?1 ORDER BY shard";
        let mut statement = connection.prepare(sql)?;
        let rows =
            statement.query_map((bits,), |row| Ok((row.get(0)?, [row.get(1)?, row.get(2)?])))?;
        rows.collect()
    })?;
    let folder = folder.join(FILTER_FOLDER);
    let read = |(shard, builds)| {
        ShardFile { bits, shard }.read(&folder, secret, builds).unwrap_or(Shard::Damaged)
    };
    let whole = (0_u32..).zip(&builds).all(|(position, (shard, _))| position == *shard);
    let shards = if whole { builds.into_iter().map(read).collect() } else { Vec::new() };
    Ok(Filters::new(bits, shards))
}
