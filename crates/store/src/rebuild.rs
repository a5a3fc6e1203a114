//! Building filters again from the rows.
//!
//! What a shard must hold is read from the database, never from an older filter. Its file and the
//! list of unfiltered hashes change in this order: note the coming build, write and rename the
//! files, then in one transaction make the build the valid one and drop its hashes from the list. A
//! crash in between leaves either a file whose build is still noted as coming, or the old file with
//! a full list.

use rusqlite::Connection;

use crate::error::StoreError;
use crate::filter::{Filters, Shard, ShardFile, bits_for, shard_of, signed_range};
use crate::key::SeenAxis;
use crate::store::Store;

/// Hashes held in memory at a time while rows are read: 128 MiB.
const HASHES_PER_PASS: u64 = 16 << 20;

impl Store {
    /// Builds every filter shard again.
    ///
    /// # Errors
    /// When rows cannot be read or files not be written; the old filters stay in use.
    pub fn rebuild(&mut self) -> Result<(), StoreError> {
        let count = "SELECT count(*) FROM seen WHERE host = 0";
        let entries: i64 =
            self.disk()?.run(|connection| connection.query_row(count, (), |row| row.get(0)))?;
        let bits = bits_for(u64::try_from(entries).unwrap_or(0));
        self.build(bits, (0..1 << bits).collect())
    }

    /// Builds the shards to which much came, those that are damaged, and all when their number no
    /// longer suits.
    pub(crate) fn rebuild_due(&mut self) -> Result<(), StoreError> {
        let delta = &self.layer.delta;
        let filters = delta.filters();
        let unfiltered = u64::try_from(delta.unfiltered()).unwrap_or(u64::MAX);
        let quiet = unfiltered < self.layer.options.rebuild_after >> filters.bits();
        if filters.damaged() == 0 && quiet || unfiltered < self.rebuild_not_below {
            return Ok(());
        }
        let wanted = bits_for(filters.keys().saturating_add(unfiltered));
        let due = self.due(&filters);
        if due.is_empty() {
            return Ok(());
        }
        // A set that swings around a limit must not be built again and again.
        if wanted > filters.bits() || wanted.saturating_add(1) < filters.bits() {
            return self.rebuild();
        }
        self.build(filters.bits(), due)
    }

    /// If any shard is due, all that are halfway there too: one pass over the rows serves them all.
    fn due(&self, filters: &Filters) -> Vec<u32> {
        let mut came = vec![0_u64; filters.shards().len()];
        self.layer.delta.for_each_unfiltered(|hash| {
            if let Some(count) = came.get_mut(shard_of(hash, filters.bits())) {
                *count = count.saturating_add(1);
            }
        });
        let least = self.layer.options.rebuild_after >> filters.bits();
        let mut due = Vec::new();
        let mut any = false;
        for ((index, shard), came) in (0..).zip(filters.shards()).zip(came) {
            let limit = least.max(shard.keys() / 20).max(1);
            let damaged = matches!(shard, Shard::Damaged);
            any |= damaged || came >= limit;
            if damaged || came >= limit / 2 {
                due.push(index);
            }
        }
        if any { due } else { Vec::new() }
    }

    fn build(&mut self, bits: u8, shards: Vec<u32>) -> Result<(), StoreError> {
        if shards.is_empty() {
            return Ok(());
        }
        let build = self.announce(bits, &shards)?;
        let old = self.layer.delta.filters();
        let mut all: Vec<Shard> =
            if old.bits() == bits { old.shards().to_vec() } else { Vec::new() };
        all.resize(1 << bits, Shard::Damaged);
        let known = old.keys().saturating_add(HASHES_PER_PASS / 16);
        let per_shard = (known >> bits).max(1);
        let per_pass = usize::try_from(HASHES_PER_PASS / per_shard).unwrap_or(1).max(1);
        for pass in shards.chunks(per_pass) {
            for (index, hashes) in pass.iter().zip(self.hashes(bits, pass)?) {
                let shard = Shard::build(hashes);
                self.write_shard(ShardFile { bits, shard: *index }, build, &shard)?;
                let place = usize::try_from(*index).ok().and_then(|place| all.get_mut(place));
                if let Some(place) = place {
                    *place = shard;
                }
            }
        }
        self.make_valid(bits, &shards)?;
        self.layer.delta.swap_filters(Filters::new(bits, all));
        self.rebuild_not_below = 0;
        self.remove_other_files(bits);
        Ok(())
    }

    /// Notes the coming build of these shards.
    fn announce(&mut self, bits: u8, shards: &[u32]) -> Result<i64, StoreError> {
        self.writable()?.transact(|transaction| {
            let build = transaction.query_row("SELECT random()", (), |row| row.get(0))?;
            let sql = "INSERT INTO filter (bits, shard, next) VALUES (?1, ?2, ?3) \
                       ON CONFLICT DO UPDATE SET next = excluded.next";
            let mut statement = transaction.prepare_cached(sql)?;
            for shard in shards {
                statement.execute((bits, shard, build))?;
            }
            Ok(build)
        })
    }

    /// The hashes of all entries of these shards, read in one pass over the rows.
    fn hashes(&self, bits: u8, shards: &[u32]) -> Result<Vec<Vec<u64>>, StoreError> {
        let delta = &self.layer.delta;
        let mut lists = vec![Vec::new(); shards.len()];
        self.disk()?.run(|connection| {
            for_each_entry(connection, |environment, axis, key| {
                let hash = delta.hash(environment, axis, key);
                let shard = u32::try_from(shard_of(hash, bits)).ok();
                let list = shard.and_then(|shard| shards.binary_search(&shard).ok());
                if let Some(list) = list.and_then(|list| lists.get_mut(list)) {
                    list.push(hash);
                }
            })
        })?;
        Ok(lists)
    }

    fn write_shard(&self, file: ShardFile, build: i64, shard: &Shard) -> Result<(), StoreError> {
        use crate::filter::FilterError;
        let folder = self.filter_folder();
        match file.write(&folder, &self.secret, build, shard) {
            Ok(()) => Ok(()),
            Err(FilterError::Io(source)) => Err(StoreError::from_io(&folder, source)),
            Err(other) => {
                Err(StoreError::Corrupt { path: self.folder.clone(), what: other.to_string() })
            }
        }
    }

    /// The files are in place: their builds are valid and their hashes need no other keeping.
    fn make_valid(&mut self, bits: u8, shards: &[u32]) -> Result<(), StoreError> {
        self.writable()?.transact(|transaction| {
            for &shard in shards {
                let sql =
                    "UPDATE filter SET build = next, next = NULL WHERE bits = ?1 AND shard = ?2";
                transaction.prepare_cached(sql)?.execute((bits, shard))?;
                let sql = "DELETE FROM unfiltered WHERE hash BETWEEN ?1 AND ?2";
                transaction.prepare_cached(sql)?.execute(signed_range(shard, bits))?;
            }
            transaction.execute("DELETE FROM filter WHERE bits <> ?1", (bits,))?;
            let sql = "INSERT OR REPLACE INTO setting (name, value) VALUES ('filter_bits', ?1)";
            transaction.execute(sql, (bits,))?;
            Ok(())
        })
    }

    /// Files of another number of shards. A reader that still wants one asks the database instead.
    fn remove_other_files(&self, bits: u8) {
        let Ok(files) = std::fs::read_dir(self.filter_folder()) else { return };
        let ours = format!("{bits}-");
        for file in files.flatten() {
            if !file.file_name().to_string_lossy().starts_with(&ours) {
                let _ = std::fs::remove_file(file.path());
            }
        }
    }
}

/// Calls `each` with environment, axis and key of every entry.
pub(crate) fn for_each_entry(
    connection: &Connection,
    mut each: impl FnMut(u32, SeenAxis, &[u8]),
) -> rusqlite::Result<()> {
    let sql = "SELECT environment, axis, key FROM seen WHERE host = 0";
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query(())?;
    while let Some(row) = rows.next()? {
        if let Some(axis) = SeenAxis::from_code(row.get(1)?) {
            each(row.get(0)?, axis, row.get_ref(2)?.as_blob()?);
        }
    }
    Ok(())
}
