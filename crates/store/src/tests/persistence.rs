//! What is left after restarts, crashes and damage, and what stands in the way of opening.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Command, Stdio};

use tw_detect::{Key, Knowledge, Seen};
use tw_model::Timestamp;

use crate::testing::{HOST, at, fact, ip};
use crate::{CommittedThrough, How, Memory, Options, RecordFilter, Store, StoreError};

/// Tells the test binary, started once more, that it is the child of the crash test.
const CHILD_FOLDER: &str = "TW_STORE_CRASH_CHILD";

fn open(folder: &Path) -> Result<Store, StoreError> {
    Store::open(folder, Options::default())
}

fn address(number: u32) -> Key<'static> {
    Key::Address(Ipv4Addr::from(number).into())
}

fn filled(folder: &Path, count: u32) -> Store {
    let mut store = open(folder).unwrap();
    store.watching("default", at(0, 0));
    for number in 0..count {
        store.record(&fact(address(number), at(2, 0)), How::Observed);
    }
    store.commit(&[]).unwrap();
    store
}

/// How many of the first `count` addresses are remembered; each later one must be new.
fn remembered(store: &mut Store, count: u32) -> u32 {
    let mut ask = |number| {
        store.ask("default", ip(HOST), address(number), at(3, 0)).environment != Knowledge::Never
    };
    assert!((count..count + 1_000).all(|number| !ask(number)));
    (0..count).map(|number| u32::from(ask(number))).sum()
}

#[test]
fn everything_is_there_after_a_restart_with_and_without_filters() {
    let folder = tempfile::tempdir().unwrap();
    for rebuild in [false, true] {
        let mut store = filled(folder.path(), 500);
        if rebuild {
            store.rebuild().unwrap();
            assert_eq!(store.filter_stats().unfiltered, 0);
        }
        let through = CommittedThrough { source: "a.pcap".into(), record: 7, timestamp: at(2, 0) };
        store.commit(std::slice::from_ref(&through)).unwrap();
        drop(store);
        let mut store = open(folder.path()).unwrap();
        assert_eq!(remembered(&mut store, 500), 500);
        assert_eq!(store.committed_through().unwrap(), [through]);
        let answer = store.ask("default", ip(HOST), address(1), at(3, 0));
        assert_eq!(answer.watched_since, Some(at(0, 0)));
        assert!(store.verify().unwrap().is_clean());
    }
}

#[test]
fn a_second_writer_is_refused_by_name_and_a_reader_works_beside_the_first() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = filled(folder.path(), 10);
    let Err(error) = open(folder.path()) else { panic!("two writers") };
    let expected = format!("is being written by process {}", std::process::id());
    assert!(error.to_string().ends_with(&expected), "{error}");

    let mut reader = Store::open_read_only(folder.path(), Options::default()).unwrap();
    writer.record(&fact(address(10), at(2, 0)), How::Observed);
    writer.commit(&[]).unwrap();
    writer.rebuild().unwrap();
    assert_eq!(remembered(&mut reader, 10), 10);
    assert!(matches!(reader.commit(&[]), Err(StoreError::ReadOnly { .. })));
    assert!(matches!(reader.rebuild(), Err(StoreError::ReadOnly { .. })));

    drop(writer);
    let mut next = open(folder.path()).unwrap();
    assert_eq!(remembered(&mut next, 11), 11);
}

/// Not a test of its own: what [`everything_reported_survives_kill_9`] starts and kills.
#[test]
fn crash_child() {
    let Ok(folder) = std::env::var(CHILD_FOLDER) else { return };
    let options = Options { rebuild_after: 64, ..Options::default() };
    let mut store = Store::open(Path::new(&folder), options).unwrap();
    store.watching("default", at(0, 0));
    for number in 0..u32::MAX {
        store.record(&fact(address(number), at(2, 0)), How::Observed);
        if number % 50 == 49 {
            let record = u64::from(number);
            let source = "child".to_owned();
            let through = CommittedThrough { source, record, timestamp: at(2, 0) };
            store.commit(&[through]).unwrap();
            println!("committed {number}");
        }
    }
}

#[test]
fn everything_reported_survives_kill_9() {
    for lines in [1, 2, 5, 13, 21] {
        let folder = tempfile::tempdir().unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--nocapture", "tests::persistence::crash_child"])
            .env(CHILD_FOLDER, folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let reported = output
            .lines()
            .map_while(Result::ok)
            .filter_map(|line| line.rsplit_once("committed ")?.1.parse::<u32>().ok())
            .nth(lines - 1)
            .unwrap();
        child.kill().unwrap();
        child.wait().unwrap();

        let mut store = open(folder.path()).unwrap();
        for number in 0..=reported {
            let answer = store.ask("default", ip(HOST), address(number), at(3, 0));
            assert_ne!(answer.environment, Knowledge::Never, "{number} of {reported}");
        }
        assert!(store.committed_through().unwrap()[0].record >= u64::from(reported));
        assert!(store.verify().unwrap().is_clean());
    }
}

#[test]
fn a_damaged_stale_or_missing_filter_makes_answers_slow_and_not_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = filled(folder.path(), 500);
    store.rebuild().unwrap();
    let file = folder.path().join("filters/0-000.filter");
    let stale = fs::read(&file).unwrap();
    store.record(&fact(address(500), at(2, 0)), How::Observed);
    store.commit(&[]).unwrap();
    store.rebuild().unwrap();
    drop(store);
    let mut bent = stale.clone();
    bent[100] ^= 1;
    for content in [Some(stale), Some(bent), Some(Vec::new()), None] {
        match content {
            Some(content) => fs::write(&file, content).unwrap(),
            None => fs::remove_file(&file).unwrap(),
        }
        let mut reader = Store::open_read_only(folder.path(), Options::default()).unwrap();
        assert_eq!(reader.filter_stats().damaged, 1);
        assert_eq!(remembered(&mut reader, 501), 501);
        assert_eq!(reader.verify().unwrap().damaged_filters, 1);
    }
    let mut store = open(folder.path()).unwrap();
    store.commit(&[]).unwrap();
    assert_eq!(store.filter_stats().damaged, 0);
    assert_eq!(remembered(&mut store, 501), 501);
    assert!(store.verify().unwrap().is_clean());
}

#[test]
fn a_damaged_row_is_unavailable_and_not_new() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = filled(folder.path(), 3);
    let connection = &store.writable().unwrap().connection;
    connection.execute("UPDATE seen SET days = x'80' WHERE host = 0", ()).unwrap();
    let answer = store.ask("default", ip(HOST), address(1), at(3, 0));
    assert_eq!(answer.environment, Knowledge::Unavailable);
    assert_eq!(answer.host, Knowledge::Unavailable);
    assert_eq!(store.stats().unwrap().unavailable, 1);
    assert_eq!(store.verify().unwrap().malformed_rows, 3);
}

#[test]
fn a_newer_schema_and_another_programs_database_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    drop(filled(folder.path(), 1));
    let database = folder.path().join("seen.sqlite");
    let set = |pragma: &str, value: i64| {
        let connection = rusqlite::Connection::open(&database).unwrap();
        connection.pragma_update(None, pragma, value).unwrap();
    };
    set("user_version", 99);
    let message = format!(
        "the store in {} has schema 99, this program knows up to 1",
        folder.path().display()
    );
    assert_eq!(open(folder.path()).err().unwrap().to_string(), message);
    let error = Store::open_read_only(folder.path(), Options::default()).err().unwrap();
    assert_eq!(error.to_string(), message);
    set("user_version", 1);
    assert!(open(folder.path()).is_ok());
    set("application_id", 5);
    assert!(matches!(open(folder.path()), Err(StoreError::Corrupt { .. })));
    fs::write(&database, b"this is no database at all, but long enough to look like one").unwrap();
    fs::remove_file(folder.path().join("seen.sqlite-wal")).ok();
    assert!(matches!(open(folder.path()), Err(StoreError::Corrupt { .. })));
}

#[test]
fn what_cannot_be_opened_is_told_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing");
    let error = Store::open_read_only(&missing, Options::default()).err().unwrap();
    assert_eq!(error.to_string(), format!("no store in {}", missing.display()));
    assert!(!missing.exists(), "reading makes nothing");
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    for path in [file.clone(), file.join("below")] {
        let error = open(&path).err().unwrap();
        assert_eq!(error.to_string(), format!("{} is not a directory", path.display()));
    }
}

#[cfg(unix)]
#[test]
fn a_read_only_directory_can_be_read_and_not_written() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store");
    drop(filled(&store, 20));
    let mode = |mode| fs::set_permissions(&store, fs::Permissions::from_mode(mode)).unwrap();
    mode(0o500);
    let may_write_all_the_same = fs::write(store.join("probe"), "").is_ok();
    let mut reader = Store::open_read_only(&store, Options::default()).unwrap();
    assert_eq!(remembered(&mut reader, 20), 20);
    if !may_write_all_the_same {
        fs::remove_file(store.join("writer.lock")).ok();
        mode(0o000);
        assert!(matches!(open(&store), Err(StoreError::NoPermission { .. })));
    }
    mode(0o700);
}

#[test]
fn a_full_store_commits_by_itself_and_a_failed_commit_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { pending_limit: 100, ..Options::default() };
    let mut store = Store::open(folder.path(), options).unwrap();
    store.watching("default", at(0, 0));
    for number in 0..1_000 {
        store.record(&fact(address(number), at(2, 0)), How::Observed);
        assert!(store.pending_rows() <= 100);
    }
    store.writable().unwrap().connection.pragma_update(None, "query_only", true).unwrap();
    for number in 1_000..1_200 {
        store.record(&fact(address(number), at(2, 0)), How::Observed);
    }
    assert!(store.commit(&[]).is_err());
    let stats = store.stats().unwrap();
    assert!(stats.failed_commits > 1 && stats.failed_commits < 20);
    assert_eq!(stats.pending_rows, 200);
    assert!(stats.dropped > 0);
    store.writable().unwrap().connection.pragma_update(None, "query_only", false).unwrap();
    store.commit(&[]).unwrap();
    assert_eq!(store.pending_rows(), 0);
    let kept = u32::try_from(store.stats().unwrap().axes[0].entries).unwrap();
    assert_eq!(remembered(&mut store, kept), kept);
    assert!(store.verify().unwrap().is_clean());
}

#[test]
fn times_at_the_ends_of_the_clock_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = filled(folder.path(), 0);
    for nanos in [i64::MIN, 0, i64::MAX] {
        let time = Timestamp::from_nanos(nanos);
        store.record(&fact(address(1), time), How::Observed);
    }
    store.commit(&[]).unwrap();
    let mut kept = Vec::new();
    store
        .list(&RecordFilter::default(), |record| {
            kept.push((record.first_seen(), record.last_seen(), record.days()));
        })
        .unwrap();
    let ends = [i64::MIN, i64::MAX].map(|nanos| Some(Timestamp::from_nanos(nanos)));
    assert_eq!(kept, [(ends[0], ends[1], 1); 2], "days long before the last are dropped");
    let answer = store.ask("default", ip(HOST), address(1), Timestamp::MAX);
    assert_eq!(answer.environment, Knowledge::Never);
}
