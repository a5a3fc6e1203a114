//! The database: opening it, and the statements that read and write single rows.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, Transaction};
use tw_model::Timestamp;

use crate::days::Days;
use crate::delta::{EntryRef, Rows};
use crate::directory::{Changes, Directory, Watch};
use crate::error::StoreError;
use crate::key::{SeenAxis, from_octets, push_address};
use crate::row::Row;

const DATABASE: &str = "seen.sqlite";
/// `twsn`: tells our database from others.
const APPLICATION_ID: i64 = 0x7477_736e;
/// 64 MiB; negative means KiB (`SQLite`, "PRAGMA cache_size").
const PAGE_CACHE_KIB: i64 = -65_536;
const MIGRATIONS: [&str; 1] = [include_str!("migrations/1.sql")];

const READ_ROWS: &str = "\
    SELECT s.first_seen, h.address, s.last_seen, s.told_at, s.days, s.marks, s.host \
    FROM seen s LEFT JOIN host h ON h.id = s.first_seen_by \
    WHERE s.environment = ?1 AND s.axis = ?2 AND s.key = ?3 AND s.host IN (0, ?4)";
/// Columns of a row as [`row_from`] reads them, `s` being `seen` and `h` the host that saw it
/// first.
pub(crate) const ROW_COLUMNS: &str =
    "s.first_seen, h.address, s.last_seen, s.told_at, s.days, s.marks";
pub(crate) const ROW_SOURCE: &str = "seen s LEFT JOIN host h ON h.id = s.first_seen_by";

/// One connection to a store's database.
pub(crate) struct Disk {
    pub(crate) connection: Connection,
    pub(crate) folder: PathBuf,
}

impl Disk {
    /// Opens for writing, makes what is missing and migrates what is old.
    ///
    /// Committed means durable: in WAL mode with `synchronous = FULL` every commit is synced to the
    /// log before it returns, so neither `kill -9` nor a power cut takes it back; with `NORMAL` a
    /// power cut could. A commit is a batch of many rows, so one sync each is cheap.
    pub(crate) fn open(folder: &Path, busy_timeout: Duration) -> Result<Self, StoreError> {
        let path = folder.join(DATABASE);
        std::fs::OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(|source| StoreError::from_io(&path, source))?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut disk = Self::connect(folder, &path, flags, busy_timeout)?;
        disk.check_schema()?;
        disk.run(|connection| {
            connection.pragma_update(None, "journal_mode", "WAL")?;
            connection.pragma_update(None, "synchronous", "FULL")?;
            connection.pragma_update(None, "journal_size_limit", 64_i64 << 20)
        })?;
        disk.migrate()?;
        Ok(disk)
    }

    /// Opens for reading, beside a writer or alone.
    pub(crate) fn open_read_only(
        folder: &Path,
        busy_timeout: Duration,
    ) -> Result<Self, StoreError> {
        let path = folder.join(DATABASE);
        match std::fs::File::open(&path) {
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(StoreError::Missing { path: folder.to_path_buf() });
            }
            Err(error) => return Err(StoreError::from_io(&path, error)),
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let disk = Self::connect(folder, &path, flags, busy_timeout)?;
        let disk = match disk.user_version() {
            Err(error) if is_unwritable_wal(&error) && !log_has_pages(folder) => {
                let uri = immutable_uri(&path);
                let flags = flags | OpenFlags::SQLITE_OPEN_URI;
                Self::connect(folder, &uri, flags, busy_timeout)?
            }
            _ => disk,
        };
        disk.check_schema()?;
        let found = disk.run(|_| disk.user_version())?;
        if found < known_schema() {
            let path = folder.to_path_buf();
            return Err(StoreError::OlderSchema { path, found, known: known_schema() });
        }
        Ok(disk)
    }

    fn connect(
        folder: &Path,
        database: &Path,
        flags: OpenFlags,
        busy_timeout: Duration,
    ) -> Result<Self, StoreError> {
        let error = |source| StoreError::from_sqlite(folder, source);
        let connection = Connection::open_with_flags(database, flags).map_err(error)?;
        connection.busy_timeout(busy_timeout).map_err(error)?;
        // Plans do not depend on the values that are bound: with SQLite's statistics compiled in, each
        // new value would have its statement prepared anew, which is twice the cost of running it.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).map_err(error)?;
        connection.set_prepared_statement_cache_capacity(64);
        Ok(Self { connection, folder: folder.to_path_buf() })
    }

    /// Runs statements and names the store in their error.
    pub(crate) fn run<T>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        work(&self.connection).map_err(|source| StoreError::from_sqlite(&self.folder, source))
    }

    /// Runs statements in one transaction that is durable when this returns `Ok`, and undone
    /// otherwise.
    pub(crate) fn transact<T>(
        &mut self,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let folder = &self.folder;
        let error = |source| StoreError::from_sqlite(folder, source);
        let behavior = rusqlite::TransactionBehavior::Immediate;
        let transaction = self.connection.transaction_with_behavior(behavior).map_err(error)?;
        let result = work(&transaction).map_err(error)?;
        transaction.commit().map_err(error)?;
        Ok(result)
    }

    /// Runs statements in one transaction and takes them back.
    pub(crate) fn rehearse<T>(
        &mut self,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let folder = &self.folder;
        let error = |source| StoreError::from_sqlite(folder, source);
        let transaction = self.connection.transaction().map_err(error)?;
        let result = work(&transaction).map_err(error)?;
        transaction.rollback().map_err(error)?;
        Ok(result)
    }

    pub(crate) fn corrupt(&self, what: impl Into<String>) -> StoreError {
        StoreError::Corrupt { path: self.folder.clone(), what: what.into() }
    }

    fn user_version(&self) -> rusqlite::Result<i64> {
        self.connection.pragma_query_value(None, "user_version", |row| row.get(0))
    }

    /// Also sets the size of the page cache: the first use of the database, which may fail.
    fn check_schema(&self) -> Result<(), StoreError> {
        let (found, id) = self.run(|connection| {
            connection.pragma_update(None, "cache_size", PAGE_CACHE_KIB)?;
            let id = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
            Ok((self.user_version()?, id))
        })?;
        let (path, known) = (self.folder.clone(), known_schema());
        match (found, id) {
            (0, 0) => Ok(()),
            (_, APPLICATION_ID) if found > known => {
                Err(StoreError::NewerSchema { path, found, known })
            }
            (1.., APPLICATION_ID) => Ok(()),
            _ => Err(self.corrupt(format!("{DATABASE} is another program's database"))),
        }
    }

    fn migrate(&mut self) -> Result<(), StoreError> {
        let done = self.run(|_| self.user_version())?;
        let done = usize::try_from(done).unwrap_or(usize::MAX);
        self.transact(|transaction| {
            for script in MIGRATIONS.iter().skip(done) {
                transaction.execute_batch(script)?;
            }
            if done == 0 {
                transaction.execute(
                    "INSERT INTO setting (name, value) VALUES ('secret', randomblob(16))",
                    (),
                )?;
            }
            transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
            transaction.pragma_update(None, "user_version", known_schema())
        })
    }

    /// The key of all hashes.
    pub(crate) fn secret(&self) -> Result<[u8; 16], StoreError> {
        let sql = "SELECT value FROM setting WHERE name = 'secret'";
        let secret: Option<Vec<u8>> =
            self.run(|connection| connection.query_row(sql, (), |row| row.get(0)).optional())?;
        let secret = secret.and_then(|secret| <[u8; 16]>::try_from(secret).ok());
        secret.ok_or_else(|| self.corrupt("no secret"))
    }

    /// Environments, hosts and watch times.
    pub(crate) fn directory(&self) -> Result<Directory, StoreError> {
        let mut directory = Directory::default();
        let whole = self.run(|connection| fill_directory(connection, &mut directory))?;
        if !whole {
            return Err(self.corrupt("environments or hosts are not numbered in order"));
        }
        let _ = directory.take_changes();
        Ok(directory)
    }

    /// The rows of one entry for one host (0: none).
    pub(crate) fn rows(&self, entry: EntryRef<'_>, host: u32) -> Result<Rows, StoreError> {
        self.run(|connection| read_rows(connection, entry, host))
    }
}

/// A log that is gone needs no shared memory, so that whoever only reads the store later leaves no
/// file behind in it. With a reader still there, the log stays, and is as good.
impl Drop for Disk {
    fn drop(&mut self) {
        if !self.connection.is_readonly("main").unwrap_or(true) {
            let _ = self.connection.busy_timeout(Duration::ZERO);
            let _ = self.connection.pragma_update(None, "journal_mode", "DELETE");
        }
    }
}

fn known_schema() -> i64 {
    i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX)
}

/// Reading a WAL database needs a shared memory file, which a read-only directory refuses.
fn is_unwritable_wal(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly))
}

fn log_has_pages(folder: &Path) -> bool {
    std::fs::metadata(folder.join(format!("{DATABASE}-wal"))).is_ok_and(|log| log.len() > 0)
}

/// `SQLite`, "URI Filenames": `immutable=1` reads without locks, right where nobody can write.
fn immutable_uri(path: &Path) -> PathBuf {
    let mut uri = "file:".to_owned();
    for &byte in path.as_os_str().as_encoded_bytes() {
        if byte.is_ascii_alphanumeric() || b"/-_.".contains(&byte) {
            uri.push(char::from(byte));
        } else {
            uri.push_str(&format!("%{byte:02x}"));
        }
    }
    uri.push_str("?immutable=1");
    uri.into()
}

fn fill_directory(connection: &Connection, directory: &mut Directory) -> rusqlite::Result<bool> {
    let mut whole = true;
    let mut statement = connection.prepare("SELECT id, name FROM environment ORDER BY id")?;
    let mut found = statement.query(())?;
    while let Some(row) = found.next()? {
        let (id, name): (u32, String) = (row.get(0)?, row.get(1)?);
        whole &= directory.add_environment(&name) == Some(id);
    }
    let mut statement = connection.prepare("SELECT id, address FROM host ORDER BY id")?;
    let mut found = statement.query(())?;
    while let Some(row) = found.next()? {
        let (id, octets): (u32, [u8; 16]) = (row.get(0)?, row.get(1)?);
        whole &= directory.add_host(from_octets(octets)) == Some(id);
    }
    let sql = "SELECT environment, axis, watched_since, last_watched, baseline FROM watch";
    let mut statement = connection.prepare(sql)?;
    let mut found = statement.query(())?;
    while let Some(row) = found.next()? {
        let watch = Watch { since: time(row, 2)?, last: time(row, 3)?, baseline: row.get(4)? };
        if let Some(axis) = SeenAxis::from_code(row.get(1)?) {
            directory.merge_watch(row.get(0)?, axis, &watch);
        }
    }
    Ok(whole)
}

/// The rows of one entry for one host (0: none).
pub(crate) fn read_rows(
    connection: &Connection,
    entry: EntryRef<'_>,
    host: u32,
) -> rusqlite::Result<Rows> {
    let mut statement = connection.prepare_cached(READ_ROWS)?;
    let mut found = statement.query((entry.environment, entry.axis.code(), entry.key, host))?;
    let mut rows = Rows::default();
    while let Some(row) = found.next()? {
        let read = row_from(row, 0)?;
        if row.get::<_, u32>(6)? == 0 {
            rows.environment = Some(read)
        } else {
            rows.host = Some(read)
        }
    }
    Ok(rows)
}

/// A row whose [`ROW_COLUMNS`] begin at `first`.
pub(crate) fn row_from(row: &rusqlite::Row<'_>, first: usize) -> rusqlite::Result<Row> {
    let days: Vec<u8> = row.get(first.saturating_add(4))?;
    let octets: Option<[u8; 16]> = row.get(first.saturating_add(1))?;
    let mut read = Row {
        first_seen: time(row, first)?,
        first_seen_by: octets.map(from_octets),
        last_seen: time(row, first.saturating_add(2))?,
        told_at: time(row, first.saturating_add(3))?,
        days: Days::decode(&days).ok_or_else(|| damaged_days(first))?,
        ..Row::default()
    };
    read.set_marks(row.get(first.saturating_add(5))?);
    Ok(read)
}

/// A row that cannot be read must not pass for one that was never seen.
fn damaged_days(first: usize) -> rusqlite::Error {
    let column = first.saturating_add(4);
    rusqlite::Error::InvalidColumnType(column, "days".to_owned(), rusqlite::types::Type::Blob)
}

/// Writes the row of one entry and host (0: the environment).
pub(crate) fn write_row(
    connection: &Connection,
    entry: EntryRef<'_>,
    host: u32,
    row: &Row,
    first_seen_by: Option<u32>,
) -> rusqlite::Result<()> {
    let sql = "INSERT OR REPLACE INTO seen (environment, axis, key, host, first_seen, \
               first_seen_by, last_seen, told_at, days, marks) \
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
    connection.prepare_cached(sql)?.execute((
        entry.environment,
        entry.axis.code(),
        entry.key,
        host,
        row.first_seen.map(Timestamp::as_nanos),
        first_seen_by,
        row.last_seen.map(Timestamp::as_nanos),
        row.told_at.map(Timestamp::as_nanos),
        row.days.encode(),
        row.marks(),
    ))?;
    Ok(())
}

/// Writes new environments and hosts, and changed watch times.
pub(crate) fn write_directory(connection: &Connection, changes: &Changes) -> rusqlite::Result<()> {
    let sql = "INSERT OR IGNORE INTO environment (id, name) VALUES (?1, ?2)";
    let mut environment = connection.prepare_cached(sql)?;
    let sql = "INSERT OR REPLACE INTO watch (environment, axis, watched_since, last_watched, \
               baseline) VALUES (?1, ?2, ?3, ?4, ?5)";
    let mut watch = connection.prepare_cached(sql)?;
    for (id, changed) in &changes.environments {
        environment.execute((id, &*changed.name))?;
        for axis in SeenAxis::ALL {
            let Watch { since, last, baseline } = changed.watch(axis);
            let times = (since.map(Timestamp::as_nanos), last.map(Timestamp::as_nanos));
            watch.execute((id, axis.code(), times.0, times.1, baseline))?;
        }
    }
    let mut host = connection.prepare_cached("INSERT INTO host (id, address) VALUES (?1, ?2)")?;
    for &(id, address) in &changes.hosts {
        host.execute((id, octets(address)))?;
    }
    Ok(())
}

fn octets(address: IpAddr) -> Vec<u8> {
    let mut octets = Vec::with_capacity(16);
    push_address(&mut octets, address);
    octets
}

/// A time column.
pub(crate) fn time(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<Option<Timestamp>> {
    Ok(row.get::<_, Option<i64>>(column)?.map(Timestamp::from_nanos))
}

/// A column that counts something.
pub(crate) fn count(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<u64> {
    Ok(u64::try_from(row.get::<_, i64>(column)?).unwrap_or(0))
}
