//! What is answered, when, and to whom.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use tw_detect::{Answer, Fact, Key, Knowledge, Seen};
use tw_model::Timestamp;

use crate::testing::{HOST, Random, at, fact, ip};
use crate::{How, Memory, Options, Overlay, SeenAxis, Store};

const OTHER_HOST: &str = "10.0.0.6";
const KEY: Key<'static> = Key::Name("example.org");

/// An open store whose environment `default` has been watched since day 0.
fn store(folder: &tempfile::TempDir) -> Store {
    let mut store = Store::open(folder.path(), Options::default()).unwrap();
    store.watching("default", at(0, 0));
    store
}

fn ask(seen: &mut impl Seen, key: Key<'_>, at: Timestamp) -> Answer {
    seen.ask("default", ip(HOST), key, at)
}

fn touched(first_seen: Timestamp) -> Knowledge {
    Knowledge::Touched { first_seen, first_seen_by: Some(ip(HOST)) }
}

#[test]
fn a_contact_is_touched_until_the_third_day_before_and_after_a_commit() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = store(&folder);
    for commit in [false, true] {
        let key = if commit { KEY } else { Key::Address(ip("192.0.2.1")) };
        assert_eq!(ask(&mut store, key, at(5, 0)).environment, Knowledge::Never);
        for day in 5..8 {
            if day > 5 {
                assert_eq!(ask(&mut store, key, at(day, 0)).environment, touched(at(5, 9)));
            }
            store.record(&fact(key, at(day, 9)), How::Observed);
            if commit {
                store.commit(&[]).unwrap();
            }
        }
        let answer = ask(&mut store, key, at(7, 10));
        assert_eq!((answer.environment, answer.host), (Knowledge::Known, Knowledge::Known));
        assert_eq!(answer.error_probability, 0.0);
    }
}

#[test]
fn each_host_has_its_own_history_where_the_axis_has_hosts() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = store(&folder);
    let mapped = Key::NameAddress("example.org", ip("192.0.2.1"));
    for day in 1..4 {
        store.record(&fact(KEY, at(day, 0)), How::Observed);
        store.record(&fact(mapped, at(day, 0)), How::Observed);
    }
    for commit in [false, true] {
        if commit {
            store.commit(&[]).unwrap();
        }
        let name = store.ask("default", ip(OTHER_HOST), KEY, at(9, 0));
        assert_eq!((name.environment, name.host), (Knowledge::Known, Knowledge::Never));
        let mapped = store.ask("default", ip(OTHER_HOST), mapped, at(9, 0));
        assert_eq!((mapped.environment, mapped.host), (Knowledge::Known, Knowledge::Known));
    }
    store.record(&Fact { host: ip(OTHER_HOST), ..fact(KEY, at(9, 0)) }, How::Observed);
    let name = store.ask("default", ip(OTHER_HOST), KEY, at(9, 5));
    let first_seen_by = Some(ip(OTHER_HOST));
    assert_eq!(name.host, Knowledge::Touched { first_seen: at(9, 0), first_seen_by });
}

#[test]
fn a_young_axis_without_baseline_is_unwatched() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = Store::open(folder.path(), Options::default()).unwrap();
    let unknown = ask(&mut store, KEY, at(1, 0));
    assert_eq!((unknown.environment, unknown.watched_since), (Knowledge::Unwatched, None));

    store.watching("default", at(1, 0));
    store.record(&fact(KEY, at(1, 5)), How::Observed);
    let edge = at(2, 0);
    let before = ask(&mut store, KEY, edge.minus(Duration::from_nanos(1)));
    assert_eq!((before.environment, before.host), (Knowledge::Unwatched, Knowledge::Unwatched));
    assert_eq!(ask(&mut store, KEY, edge).environment, touched(at(1, 5)));
    assert_eq!(ask(&mut store, KEY, edge).watched_since, Some(at(1, 0)));

    store.record(&fact(Key::Name("learned.example"), at(1, 6)), How::Learned);
    let judged = ask(&mut store, KEY, at(1, 7));
    assert_eq!((judged.environment, judged.baseline), (touched(at(1, 5)), true));
    let other_axis = ask(&mut store, Key::Digest("sha256:00"), at(1, 7));
    assert_eq!((other_axis.environment, other_axis.baseline), (Knowledge::Unwatched, false));
}

#[test]
fn nothing_leaks_from_one_environment_into_another() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = store(&folder);
    store.watching("other", at(0, 0));
    let key = Key::Address(ip("192.0.2.1"));
    for day in 1..4 {
        store.record(&fact(key, at(day, 0)), How::Learned);
    }
    store.mark_in_finding("other", KEY);
    store.record(&fact(KEY, at(1, 0)), How::Accepted);
    for commit in [false, true] {
        if commit {
            store.commit(&[]).unwrap();
            store.rebuild().unwrap();
        }
        assert_eq!(ask(&mut store, key, at(5, 0)).environment, Knowledge::Known);
        assert_eq!(ask(&mut store, KEY, at(5, 0)).environment, Knowledge::Known);
        let other = store.ask("other", ip(HOST), key, at(5, 0));
        assert_eq!((other.environment, other.baseline), (Knowledge::Never, false));
        assert_eq!(store.ask("other", ip(HOST), KEY, at(5, 0)).environment, Knowledge::Never);
    }
}

#[test]
fn what_stands_in_a_finding_does_not_become_known_by_age_on_any_host() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = store(&folder);
    store.mark_in_finding("default", KEY);
    for day in 1..9 {
        store.record(&fact(KEY, at(day, 0)), How::Observed);
    }
    for commit in [false, true] {
        if commit {
            store.commit(&[]).unwrap();
        }
        let answer = ask(&mut store, KEY, at(20, 0));
        assert_eq!((answer.environment, answer.host), (touched(at(1, 0)), touched(at(1, 0))));
    }
    store.accept("default", &"example.org".parse().unwrap(), at(20, 0)).unwrap();
    assert_eq!(ask(&mut store, KEY, at(20, 0)).environment, Knowledge::Known);
}

#[test]
fn what_the_operator_accepts_is_known_to_all_hosts_and_what_a_baseline_has_to_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = store(&folder);
    store.accept("default", &"example.org".parse().unwrap(), at(1, 0)).unwrap();
    assert_eq!(store.ask("default", ip(OTHER_HOST), KEY, at(1, 0)).host, Knowledge::Known);
    let learned = Key::Name("learned.example");
    store.record(&fact(learned, at(1, 0)), How::Learned);
    assert_eq!(ask(&mut store, learned, at(1, 0)).host, Knowledge::Known);
    let other = store.ask("default", ip(OTHER_HOST), learned, at(1, 0));
    assert_eq!((other.environment, other.host), (Knowledge::Known, Knowledge::Never));
}

#[test]
fn an_overlay_answers_as_the_live_store_would_have_and_writes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut live = store(&folder);
    for day in 1..3 {
        live.record(&fact(KEY, at(day, 0)), How::Observed);
    }
    live.commit(&[]).unwrap();
    let run = || {
        let below = Store::open_read_only(folder.path(), Options::default()).unwrap();
        let mut overlay = Overlay::over(below);
        let new = Key::Address(ip("192.0.2.9"));
        let mut answers = Vec::new();
        for day in 3..7 {
            for key in [KEY, new] {
                answers.push(ask(&mut overlay, key, at(day, 7)).environment);
                overlay.record(&fact(key, at(day, 7)), How::Observed);
            }
        }
        answers.push(overlay.ask("young", ip(HOST), KEY, at(5, 0)).environment);
        answers
    };
    let first = run();
    let new = touched(at(3, 7));
    let expected = [
        touched(at(1, 0)),
        Knowledge::Never,
        Knowledge::Known,
        new.clone(),
        Knowledge::Known,
        new,
        Knowledge::Known,
        Knowledge::Known,
        Knowledge::Unwatched,
    ];
    assert_eq!(first, expected);

    live.record(&fact(Key::Address(ip("192.0.2.9")), at(8, 0)), How::Observed);
    live.record(&fact(KEY, at(8, 0)), How::Observed);
    live.commit(&[]).unwrap();
    assert_eq!(run(), first, "what the live store saw later does not count");
}

#[test]
fn what_an_overlay_learned_can_be_edited_and_imported() {
    let mut overlay = Overlay::empty(Options::default());
    for name in ["b.example", "a.example"] {
        overlay.record(&fact(Key::Name(name), at(2, 0)), How::Learned);
    }
    let mut out = Vec::new();
    assert_eq!(overlay.export(&mut out).unwrap(), 4);
    let text = String::from_utf8(out).unwrap();
    let kept: Vec<&str> = text.lines().filter(|line| !line.contains("b.example")).collect();
    assert!(kept[0].contains("a.example"), "in order: {text}");

    let folder = tempfile::tempdir().unwrap();
    let mut store = store(&folder);
    store.import("default", &mut kept.join("\n").as_bytes(), at(9, 0)).unwrap();
    let mut answer = |name| ask(&mut store, Key::Name(name), at(9, 0));
    assert_eq!(answer("a.example").host, Knowledge::Known);
    assert_eq!(answer("b.example").environment, Knowledge::Never);
}

#[test]
fn an_overlay_over_nothing_has_a_limit_and_a_counter() {
    let options = Options { pending_limit: 10, ..Options::default() };
    let mut overlay = Overlay::empty(options);
    overlay.watching("default", at(0, 0));
    for last in 0..20 {
        let address = IpAddr::from([192, 0, 2, last]);
        overlay.record(&fact(Key::Address(address), at(2, 0)), How::Observed);
    }
    let stats = overlay.stats();
    assert_eq!((stats.rows, stats.dropped), (10, 15));
    let known = ask(&mut overlay, Key::Address(ip("192.0.2.0")), at(2, 1));
    assert_eq!(known.environment, touched(at(2, 0)));
}

#[test]
fn a_key_too_long_to_keep_stays_new_and_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = store(&folder);
    let long = format!("github.com/{}/x", "a".repeat(600));
    store.record(&fact(Key::Tenant(&long), at(1, 0)), How::Learned);
    assert_eq!(ask(&mut store, Key::Tenant(&long), at(3, 0)).environment, Knowledge::Never);
    assert_eq!(store.stats().unwrap().keys_refused, 1);
}

#[test]
fn a_reader_in_another_thread_never_misses_what_was_recorded() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { rebuild_after: 100, ..Options::default() };
    let mut store = Store::open(folder.path(), options).unwrap();
    store.watching("default", at(0, 0));
    let mut reader = store.reader().unwrap();
    let address = |number: u32| Key::Address(Ipv4Addr::from(number).into());
    let thread = std::thread::spawn(move || {
        for number in 0..3_000 {
            reader.record(&fact(address(number), at(2, 0)), How::Observed);
            for earlier in [number, number / 2] {
                let answer = ask(&mut reader, address(earlier), at(2, 1));
                assert_eq!(answer.environment, touched(at(2, 0)), "{earlier} of {number}");
            }
        }
    });
    while !thread.is_finished() {
        store.commit(&[]).unwrap();
    }
    thread.join().unwrap();
    store.commit(&[]).unwrap();
    let stats = store.stats().unwrap();
    assert_eq!((stats.axes[0].entries, stats.pending_rows), (3_000, 0));
    assert!(store.verify().unwrap().is_clean());
}

/// 100,000 random facts in random order, with commits and rebuilds in between, against a map.
#[test]
fn agrees_with_a_plain_map() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { rebuild_after: 5_000, cache_limit: 1_000, ..Options::default() };
    let mut store = Store::open(folder.path(), options).unwrap();
    store.watching("default", at(0, 0));
    let mut random = Random::new(42);
    let mut model: HashMap<u32, Timestamp> = HashMap::new();
    let key = |number: u32| Key::Address(Ipv4Addr::from(number.wrapping_mul(2_654_435_761)).into());
    let number = |random: &mut Random| u32::try_from(random.below(200_000)).unwrap();
    for round in 0..100_000 {
        let (new, time) = (number(&mut random), at(1 + random.below(2), random.below(80_000)));
        store.record(&fact(key(new), time), How::Observed);
        let first = model.entry(new).or_insert(time);
        *first = time.min(*first);
        let asked = number(&mut random);
        let expected = model.get(&asked).map_or(Knowledge::Never, |&first| touched(first));
        assert_eq!(ask(&mut store, key(asked), at(9, 0)).environment, expected, "round {round}");
        if random.below(7_000) == 0 {
            store.commit(&[]).unwrap();
        }
    }
    store.commit(&[]).unwrap();
    store.rebuild().unwrap();
    drop(store);
    let mut store = Store::open(folder.path(), options).unwrap();
    for asked in (0..200_000).step_by(7) {
        let expected = model.get(&asked).map_or(Knowledge::Never, |&first| touched(first));
        assert_eq!(ask(&mut store, key(asked), at(9, 0)).environment, expected);
    }
    assert!(store.verify().unwrap().is_clean(), "the filters know every entry");
    assert_eq!(store.filter_stats().keys, u64::try_from(model.len()).unwrap());
    assert!(store.filter_stats().bits_per_entry < 21.0);
}

#[test]
fn every_axis_is_remembered() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = store(&folder);
    let (client, daemon) = (ip("10.0.0.9"), ip(HOST));
    let keys = [
        Key::Address(ip("2001:db8::1")),
        KEY,
        Key::NameAddress("example.org", ip("192.0.2.1")),
        Key::Caller { client, daemon },
        Key::Builder { client, daemon },
        Key::Registry("ghcr.io:443"),
        Key::Repository("ghcr.io:443/owner/image"),
        Key::Digest("sha256:aa"),
        Key::Tenant("github.com/owner/repo"),
    ];
    for (index, key) in (0..).zip(keys) {
        assert_eq!(ask(&mut store, key, at(2, 0)).environment, Knowledge::Never);
        store.record(&fact(key, at(2, index)), How::Observed);
    }
    store.commit(&[]).unwrap();
    for (index, key) in (0..).zip(keys) {
        assert_eq!(ask(&mut store, key, at(3, 0)).environment, touched(at(2, index)));
    }
    let entries = |axis: &crate::AxisStats| axis.entries;
    assert_eq!(store.stats().unwrap().axes.iter().map(entries).collect::<Vec<_>>(), [1; 9]);
    assert_eq!(SeenAxis::ALL.len(), keys.len());
}
