//! Builds in flow records: by the sizes of conversations with a Docker API, as they were measured.

mod common;

use common::*;
use tw_detect::{Detector, Environments, Fact, Learner, Limits, Policy};
use tw_model::*;

const NEW: Rule = Rule::BuildNewDestination;

/// Bytes of payload and packets, to the daemon and from it.
type Size = ([u64; 2], [u64; 2]);

const CLASSIC: Size = ([2_430, 1_374], [27, 25]);
const LONG_CLASSIC: Size = ([6_560, 1_310], [36, 27]);
const BIG_CONTEXT: Size = ([1_600_000, 1_400], [1_219, 255]);
const SESSION: Size = ([1_440, 520], [36, 34]);
const SESSION_LOG: Size = ([640, 6_700], [18, 27]);

const PING: Size = ([83, 289], [6, 4]);
const POLL: Size = ([100, 22_100], [22, 20]);
const PULL: Size = ([313, 1_421], [12, 14]);
const LOGS: Size = ([445, 8_100], [98, 106]);
const EVENTS: Size = ([150, 3_000], [30, 30]);
const EXEC: [Size; 2] = [([809, 5_967], [14, 11]), ([280, 33_000], [47, 48])];
const SHELL: [Size; 2] = [([809, 5_967], [14, 11]), ([1_200, 3_900], [600, 620])];
const COPY: Size = ([1_608_000, 776], [1_219, 255]);
/// A script of 25 kB as the input of an exec, with what it prints.
const SCRIPT: Size = ([26_800, 24_250], [36, 45]);
const RUN: Size = ([2_245, 882], [11, 9]);

fn conversation(id: u64, from: &str, (payload, packets): Size, start: f64, end: f64) -> Connection {
    Connection {
        last: at(end),
        opener: endpoint(from, 40_000 + u16::try_from(id).unwrap()),
        payload_bytes: payload,
        packets,
        via: Via::Netflow,
        exported: Some(Box::new(exported(1, Vec::new()))),
        ..connection(id, from, HOST, 2375, start)
    }
}

fn exported(one_in: u32, caveats: Vec<Caveat>) -> Exported {
    Exported { exporters: vec![ip("10.10.1.1")], one_in, caveats }
}

fn seen(c: Connection) -> Observation {
    let place = RecordNumber::Record(c.id.0);
    let evidence = vec![Evidence { timestamp: c.first, source: SourceId(0), record: place }];
    Observation { at: c.last, evidence, body: ObservationBody::Connection(c) }
}

fn download(id: u64, start: f64) -> Observation {
    seen(Connection { via: Via::Netflow, ..connection(id, HOST, EVIL, 80, start) })
}

/// What is told of conversations of one client that last 10 s, with a download 4 s after they begin.
fn beside(sizes: &[Size]) -> Told {
    let mut all = vec![download(90, 4.0)];
    for (id, size) in (1..).zip(sizes) {
        all.push(seen(conversation(id, ATTACKER, *size, 0.0, 10.0)));
    }
    run(&all, &Store::baseline())
}

#[test]
fn builds_are_told_by_their_shape_and_never_more_than_inferred() {
    let kinds: [&[Size]; 4] =
        [&[CLASSIC], &[LONG_CLASSIC], &[BIG_CONTEXT], &[SESSION_LOG, SESSION]];
    for sizes in kinds {
        let told = beside(sizes);
        let finding = told.one(NEW);
        assert_eq!(finding.verdict, Some(Verdict::Inferred), "{sizes:?}");
        assert_eq!(finding.severity, Severity::Medium);
        let [build] = told.builds.as_slice() else { panic!("one build: {:?}", told.builds) };
        assert_eq!((build.frontend, build.transport), (Frontend::Inferred, Transport::Flow));
        assert_eq!(finding.builds, std::slice::from_ref(&build.id));
        assert!(!build.inference.as_ref().unwrap().signs.is_empty());
    }
}

#[test]
fn what_looks_alike_is_no_build() {
    let kinds: [&[Size]; 10] =
        [&[PING], &[POLL], &[PULL], &[LOGS], &[EVENTS], &EXEC, &SHELL, &[SCRIPT], &[COPY], &[RUN]];
    for sizes in kinds {
        let told = beside(sizes);
        assert!(told.builds.is_empty(), "{sizes:?}");
        let above_low = told.of(NEW).iter().filter(|f| f.severity > Severity::Low).count();
        assert_eq!(above_low, 0, "{sizes:?}");
    }
}

#[test]
fn what_changes_something_is_noted_beside_a_new_destination() {
    for sizes in [COPY, RUN] {
        let told = beside(&[sizes]);
        let finding = told.one(NEW);
        assert_eq!(finding.verdict, Some(Verdict::Noted));
        assert_eq!((finding.severity, finding.builds.len()), (Severity::Low, 0));
    }
    assert!(beside(&[PULL]).of(NEW).is_empty());
    let told = beside(&[COPY, CLASSIC]);
    assert_eq!(told.one(NEW).verdict, Some(Verdict::Inferred), "a build is the likelier cause");
}

#[test]
fn either_order_of_arrival_and_growing_records_tell_the_same() {
    let piece = seen(conversation(1, ATTACKER, PING, 0.0, 1.0));
    let whole = seen(conversation(1, ATTACKER, LONG_CLASSIC, 0.0, 31.0));
    let fetch = download(90, 4.0);
    let store = Store::baseline();
    let orders = [
        vec![fetch.clone(), piece.clone(), whole.clone()],
        vec![piece.clone(), whole.clone(), fetch.clone()],
        vec![whole.clone(), fetch.clone(), piece],
        vec![whole.clone(), whole, fetch.clone(), fetch],
    ];
    let told: Vec<_> = orders.iter().map(|order| run(order, &store)).collect();
    assert_eq!(told[0].findings.len(), 2, "the destination and the caller");
    for other in &told[1..3] {
        assert_eq!(other.findings, told[0].findings);
        assert_eq!(other.builds, told[0].builds);
    }
    assert_eq!(told[3].findings.len(), 2);
}

#[test]
fn what_grew_out_of_a_builds_shape_is_none_any_more() {
    let early = seen(conversation(1, ATTACKER, CLASSIC, 0.0, 1.0));
    let late = seen(conversation(1, ATTACKER, ([2_430, 900_000], [400, 700]), 0.0, 20.0));
    let told = run(&[early, late, download(90, 0.5)], &Store::baseline());
    assert!(told.builds.is_empty());
}

#[test]
fn outside_the_window_and_of_other_hosts_nothing_is_told() {
    let conversation = seen(conversation(1, ATTACKER, CLASSIC, 0.0, 10.0));
    let later = download(90, 16.0);
    let other =
        seen(Connection { via: Via::Netflow, ..connection(91, "10.10.20.12", EVIL, 80, 4.0) });
    let told = run(&[conversation, later, other], &Store::baseline());
    assert!(told.of(NEW).is_empty());
}

#[test]
fn sampling_makes_it_low_and_says_so_and_a_few_packets_prove_nothing() {
    let sampled = |packets| {
        let mut c = conversation(1, ATTACKER, ([24_000, 3_800], packets), 0.0, 10.0);
        let caveats = vec![Caveat::Sampled, Caveat::ExporterGaps];
        c.exported = Some(Box::new(exported(10, caveats)));
        run(&[seen(c), download(90, 4.0)], &Store::baseline())
    };
    let told = sampled([240, 40]);
    let finding = told.one(NEW);
    assert_eq!(finding.severity, Severity::Low);
    assert!(finding.caveats.contains(&Caveat::Sampled));
    assert!(finding.caveats.contains(&Caveat::ExporterGaps));
    assert!(sampled([240, 20]).builds.is_empty());
}

#[test]
fn records_teach_where_a_service_answered_an_ephemeral_port() {
    let facts = |change: &dyn Fn(&mut Connection)| {
        let mut c = Connection {
            via: Via::Netflow,
            opener_known: Opener::ByPorts,
            ..connection(1, HOST, EVIL, 80, 3.0)
        };
        change(&mut c);
        let mut count = 0;
        Learner::new(Environments::default()).push(&seen(c), &mut |_: Fact<'_>| count += 1);
        count
    };
    assert_eq!(facts(&|_| {}), 1);
    assert_eq!(facts(&|c| c.opener.port = 8_080), 0);
    let from_outside = Exported { exporters: vec![ip(ATTACKER)], ..exported(1, Vec::new()) };
    assert_eq!(facts(&|c| c.exported = Some(Box::new(from_outside.clone()))), 0);
    assert_eq!(facts(&|c| c.payload_bytes = [0, 1_000]), 0, "headers only");
    assert_eq!(facts(&|c| c.midstream = true), 0, "no SYN among the flags");
    assert_eq!(facts(&|c| c.state = ConnectionState::Attempted), 0);
}

#[test]
fn records_and_opaque_tls_teach_callers_but_no_builders() {
    let keys = |change: &dyn Fn(&mut Connection)| {
        let mut c = conversation(1, "10.10.2.20", CLASSIC, 0.0, 10.0);
        change(&mut c);
        let mut keys = Vec::new();
        let mut learner = Learner::new(Environments::default());
        learner.push(&seen(c), &mut |fact: Fact<'_>| keys.push(format!("{:?}", fact.key)));
        keys.retain(|key| !key.starts_with("Address"));
        keys
    };
    let caller = ["Caller { client: 10.10.2.20, daemon: 10.10.1.5 }"];
    assert_eq!(keys(&|_| {}), caller);
    let tls = |c: &mut Connection| {
        (c.via, c.app, c.exported) = (Via::Packets, Some(AppProtocol::Tls), None);
        c.ended = true;
    };
    assert_eq!(keys(&tls), caller);
    let none = Vec::<String>::new();
    assert_eq!(keys(&|c| (c.via, c.exported) = (Via::Packets, None)), none, "what can be read");
    assert_eq!(keys(&|c| c.payload_bytes = [0, 1_000]), none, "headers only");
    assert_eq!(keys(&|c| c.responder.port = 8_080), none, "no port of a Docker API");
    let forged = Exported { exporters: vec![ip("203.0.113.9")], ..exported(1, Vec::new()) };
    assert_eq!(keys(&|c| c.exported = Some(Box::new(forged.clone()))), none, "an exporter outside");
}

#[test]
fn a_known_caller_of_an_inferred_build_is_not_called_a_stranger() {
    let all = [seen(conversation(1, CI, CLASSIC, 0.0, 10.0)), download(90, 4.0)];
    let caller = format!("caller {CI} {HOST}");
    let told = run(&all, &Store::default().know(&["address 192.0.2.80", &caller]));
    assert!(told.of(Rule::BuildNewCaller).is_empty());
    let summary = &told.one(NEW).summary;
    assert!(
        !summary.contains("never seen there") && !summary.contains("had not built"),
        "{summary}"
    );
}

#[test]
fn a_builds_record_that_comes_long_after_its_downloads_still_finds_them() {
    let policy = Policy {
        limits: Limits { recent_connections: 8, late_connections: 64, ..Limits::default() },
        ..Policy::default()
    };
    let store = Store::baseline();
    let flow = |id: u64, to: &str| {
        seen(Connection { via: Via::Netflow, ..connection(id, HOST, to, 80, 4.0) })
    };
    let mut all = vec![download(90, 4.0)];
    all.extend((100..1_000).map(|id| flow(id, "192.0.2.80")));
    all.push(seen(conversation(2_000, ATTACKER, CLASSIC, 0.0, 10.0)));
    let told = run_with(policy.clone(), Environments::default(), &all, &store);
    assert_eq!(told.of(NEW).len(), 1, "known ones do not push it out");
    let mut detector = Detector::new(policy, Environments::default());
    for id in 100..1_000 {
        let new = flow(id, &format!("198.18.{}.{}", id / 256, id % 256));
        detector.push(new.clone(), &mut store.clone(), &mut |_| {});
    }
    let counters = detector.counters();
    assert!(counters.late_lost > 800, "what the limit left out is counted: {counters:?}");
}
