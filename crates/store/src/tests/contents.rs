//! Listing, editing, moving and merging what is remembered.

use std::net::IpAddr;

use tw_detect::{Key, Knowledge, Seen};

use crate::testing::{HOST, Random, at, fact, ip};
use crate::{Forget, Forgotten, Format, How, Memory, Options, RecordFilter, Store, StoredKey};

const KEY: Key<'static> = Key::Name("example.org");

struct Folder {
    store: Store,
    _folder: tempfile::TempDir,
}

fn new_store() -> Folder {
    let folder = tempfile::tempdir().unwrap();
    let mut store = Store::open(folder.path(), Options::default()).unwrap();
    store.watching("default", at(0, 0));
    Folder { store, _folder: folder }
}

fn exported(store: &Store, format: Format) -> String {
    let mut out = Vec::new();
    store.export(&RecordFilter::default(), format, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

/// A store of random contents.
fn random_store(random: &mut Random) -> Folder {
    let mut folder = new_store();
    let store = &mut folder.store;
    for _ in 0..random.below(60) {
        let environment = ["default", "east", "west"][usize::try_from(random.below(3)).unwrap()];
        let host = IpAddr::from([10, 0, 0, u8::try_from(random.below(4)).unwrap()]);
        let name = ["a.example", "*.b.example", "=c d\t\u{e9}\"", "10.0.0.1", "e/"];
        let name = name[usize::try_from(random.below(5)).unwrap()];
        let keys = [
            Key::Name(name),
            Key::NameAddress(name, host),
            Key::Address(host),
            Key::Caller { client: host, daemon: host },
            Key::Builder { client: host, daemon: host },
            Key::Registry(name),
            Key::Repository(name),
            Key::Digest(name),
            Key::Tenant(name),
        ];
        let key = keys[usize::try_from(random.below(9)).unwrap()];
        let time = at(random.below(40), random.below(3));
        let how = How::ALL[usize::try_from(random.below(4)).unwrap()];
        store.record(
            &tw_detect::Fact { environment, host, key, at: time, via: tw_model::Via::Packets },
            how,
        );
        if random.below(9) == 0 {
            store.mark_in_finding(environment, key);
        }
    }
    store.commit(&[]).unwrap();
    folder
}

#[test]
fn merging_loses_nothing_in_any_order_and_any_number_of_times() {
    let mut random = Random::new(5);
    for _ in 0..6 {
        let sources = [(); 3].map(|()| random_store(&mut random));
        let merged = |order: &[usize]| {
            let mut target = new_store();
            for &index in order {
                target.store.merge(&sources[index].store).unwrap();
            }
            assert!(target.store.verify().unwrap().is_clean());
            exported(&target.store, Format::JsonLines)
        };
        let all = merged(&[0, 1, 2]);
        assert_eq!(all, merged(&[2, 1, 0]));
        assert_eq!(all, merged(&[1, 2, 1, 0, 0]));
    }
}

#[test]
fn an_export_comes_back_as_it_was() {
    let mut random = Random::new(6);
    for _ in 0..5 {
        let source = random_store(&mut random);
        let text = exported(&source.store, Format::JsonLines);
        let mut target = new_store();
        let report = target.store.import("default", &mut text.as_bytes(), at(99, 0)).unwrap();
        assert_eq!((report.taken, report.rejected), (text.lines().count() as u64, 0));
        assert_eq!(exported(&target.store, Format::JsonLines), text);
    }
}

#[test]
fn an_export_is_lines_that_a_person_can_read() {
    let mut folder = new_store();
    for day in [1, 2, 3, 9] {
        folder.store.record(&fact(KEY, at(day, 0)), How::Observed);
    }
    folder.store.commit(&[]).unwrap();
    let text = exported(&folder.store, Format::JsonLines);
    let line = text.lines().find(|line| line.contains("entry")).unwrap();
    assert_eq!(
        line,
        r#"{"type":"entry","environment":"default","axis":"name","key":"example.org","first_seen":"2024-10-05T00:00:00Z","first_seen_by":"10.0.0.5","last_seen":"2024-10-13T00:00:00Z","days":["2024-10-05/2024-10-07","2024-10-13"],"how":["observed"],"via":["packets"]}"#
    );
    let csv = exported(&folder.store, Format::Csv);
    assert_eq!(
        csv.lines().nth(2),
        Some(
            "default,name,example.org,10.0.0.5,2024-10-05T00:00:00Z,10.0.0.5,2024-10-13T00:00:00Z,,2024-10-05/2024-10-07 2024-10-13,observed,packets,false"
        )
    );
}

#[test]
fn spreadsheets_get_no_formula_from_the_network() {
    let mut folder = new_store();
    folder.store.record(&fact(Key::Tenant("x.example/=1,\"2\""), at(1, 0)), How::Observed);
    folder.store.record(&fact(Key::Name("=cmd|' /c calc'!a0"), at(1, 0)), How::Observed);
    folder.store.commit(&[]).unwrap();
    let csv = exported(&folder.store, Format::Csv);
    assert!(csv.contains(r#",tenant,"x.example/=1,""2""","#), "{csv}");
    assert!(csv.contains(",name,'=cmd|"), "{csv}");
}

#[test]
fn a_list_is_imported_line_by_line() {
    let mut folder = new_store();
    let list = "# mirrors\n\nexample.org\n192.0.2.1\r\nregistry ghcr.io:443\nghcr.io:443\n\
                {\"type\":\"entry\",\"environment\":\"east\",\"axis\":\"name\",\"key\":\"a.example\"}\n\
                {\"type\":\"entry\"}\nname \u{7}";
    let report = folder.store.import("default", &mut list.as_bytes(), at(5, 0)).unwrap();
    assert_eq!((report.taken, report.rejected), (5, 2));
    let lines: Vec<u64> = report.first_rejected.iter().map(|line| line.line).collect();
    assert_eq!(lines, [8, 9]);
    for key in [KEY, Key::Address(ip("192.0.2.1")), Key::Registry("ghcr.io:443")] {
        let answer = folder.store.ask("default", ip(HOST), key, at(5, 0));
        assert_eq!((answer.environment, answer.baseline), (Knowledge::Known, true));
    }
    let east = folder.store.ask("east", ip(HOST), Key::Name("a.example"), at(5, 0));
    assert_eq!(east.environment, Knowledge::Known);
}

#[test]
fn an_endless_line_is_one_rejected_line() {
    let mut folder = new_store();
    let list = format!("{}\nexample.org\n", "a".repeat(200_000));
    let report = folder.store.import("default", &mut list.as_bytes(), at(5, 0)).unwrap();
    assert_eq!((report.taken, report.rejected), (1, 1));
}

#[test]
fn a_query_says_why() {
    let mut folder = new_store();
    let store = &mut folder.store;
    store.record(&fact(KEY, at(1, 0)), How::Learned);
    store.record(&fact(KEY, at(2, 0)), How::Observed);
    let key: StoredKey = "example.org".parse().unwrap();
    let found = store.query("default", &key, at(3, 0)).unwrap();
    assert_eq!(found.iter().map(|why| why.record.host).collect::<Vec<_>>(), [None, Some(ip(HOST))]);
    let why = &found[0];
    assert_eq!(why.knowledge, Knowledge::Known);
    assert_eq!(why.record.how().collect::<Vec<_>>(), [How::Observed, How::Learned]);
    assert_eq!((why.record.days(), why.record.told_at()), (2, Some(at(1, 0))));
    assert_eq!(why.record.first_seen_by(), Some(ip(HOST)));
    assert_eq!(store.query("east", &key, at(3, 0)).unwrap(), []);
}

#[test]
fn forgetting_can_be_rehearsed_and_takes_hosts_and_baselines_along() {
    let mut folder = new_store();
    let store = &mut folder.store;
    store.record(&fact(KEY, at(1, 0)), How::Learned);
    store.record(&fact(Key::Name("b.example"), at(1, 0)), How::Observed);
    let filter =
        RecordFilter { key: Some("example.org".parse().unwrap()), ..RecordFilter::default() };
    let expected = Forgotten { entries: 1, host_rows: 1 };
    assert_eq!(store.forget(&filter, Forget::Rehearse).unwrap(), expected);
    assert_eq!(store.ask("default", ip(HOST), KEY, at(2, 0)).environment, Knowledge::Known);
    assert_eq!(store.forget(&filter, Forget::ForGood).unwrap(), expected);
    let answer = store.ask("default", ip(HOST), KEY, at(2, 0));
    assert_eq!((answer.environment, answer.baseline), (Knowledge::Never, false));
    let left = store.stats().unwrap().axes.iter().map(|axis| axis.entries).sum::<u64>();
    assert_eq!(left, 1);
    assert!(store.verify().unwrap().is_clean());
}

#[test]
fn forgetting_by_how_leaves_no_host_without_its_environment() {
    let mut folder = new_store();
    let store = &mut folder.store;
    store.record(&fact(KEY, at(1, 0)), How::Observed);
    store.accept("default", &"example.org".parse().unwrap(), at(1, 0)).unwrap();
    let filter = RecordFilter { how: Some(How::Accepted), ..RecordFilter::default() };
    let forgotten = store.forget(&filter, Forget::ForGood).unwrap();
    assert_eq!(forgotten, Forgotten { entries: 1, host_rows: 1 });
    assert!(store.verify().unwrap().is_clean());
}

#[test]
fn expiring_drops_only_what_does_not_count_any_more() {
    let mut folder = new_store();
    let store = &mut folder.store;
    store.record(&fact(KEY, at(1, 0)), How::Observed);
    store.record(&fact(Key::Name("b.example"), at(1, 1)), How::Observed);
    store.mark_in_finding("default", Key::Name("c.example"));
    let forgotten = store.expire(at(181, 1)).unwrap();
    assert_eq!(forgotten, Forgotten { entries: 1, host_rows: 1 });
    let mut left = Vec::new();
    store.list(&RecordFilter::default(), |record| left.push(record.key.value())).unwrap();
    assert_eq!(left, ["b.example", "b.example", "c.example"]);
}
