//! Docker hosts with several addresses, environments, order of arrival, and limits.

mod common;

use common::*;
use tw_detect::*;
use tw_model::*;

const NEW: Rule = Rule::BuildNewDestination;
const HOST_MAC: MacAddress = MacAddress([2, 0, 0, 0, 0, 5]);
const ROUTER_MAC: MacAddress = MacAddress([2, 0, 0, 0, 0, 1]);

fn seen_at(
    id: u64,
    from: &str,
    to: &str,
    port: u16,
    start: f64,
    macs: (MacAddress, MacAddress),
) -> Observation {
    let mut c = connection(id, from, to, port, start);
    c.macs = Some(macs);
    observe(start, id, ObservationBody::Connection(c))
}

#[test]
fn an_ipv6_address_with_the_host_s_link_layer_address_is_the_host() {
    let observations = [
        seen_at(1, ATTACKER, HOST, 2375, 0.0, (ROUTER_MAC, HOST_MAC)),
        built(build("x", ATTACKER, 0.0, 10.0, &[])),
        seen_at(2, "2001:db8:1::5", "2001:db8:bad::77", 80, 3.0, (HOST_MAC, ROUTER_MAC)),
    ];
    let told = run(&observations, &Store::baseline());
    assert_eq!(told.t1612(), [(HOST.to_owned(), "2001:db8:bad::77".to_owned())]);
}

#[test]
fn a_router_s_link_layer_address_ties_nothing() {
    let observations = [
        seen_at(1, ATTACKER, HOST, 2375, 0.0, (ROUTER_MAC, HOST_MAC)),
        seen_at(3, "10.10.1.6", "192.0.2.80", 80, 0.0, (HOST_MAC, ROUTER_MAC)),
        built(build("x", ATTACKER, 0.0, 10.0, &[])),
        seen_at(2, "2001:db8:1::5", "2001:db8:bad::77", 80, 3.0, (HOST_MAC, ROUTER_MAC)),
    ];
    assert!(run(&observations, &Store::baseline()).t1612().is_empty());
}

#[test]
fn a_container_s_address_before_nat_is_the_host() {
    let observations = [
        seen_at(1, ATTACKER, HOST, 2375, 0.0, (ROUTER_MAC, HOST_MAC)),
        built(build("x", ATTACKER, 0.0, 10.0, &[])),
        seen_at(2, "172.17.0.3", EVIL, 80, 3.0, (HOST_MAC, ROUTER_MAC)),
    ];
    assert_eq!(
        run(&observations, &Store::baseline()).t1612(),
        [(HOST.to_owned(), EVIL.to_owned())]
    );
}

#[test]
fn a_configured_alias_is_the_host() {
    let mut environments = Environments::default();
    environments.add_alias("default", ip("10.10.9.5"), ip(HOST));
    let other = connection(1, "10.10.9.5", EVIL, 80, 3.0);
    let observations = [
        built(build("x", CI, 0.0, 10.0, &[])),
        observe(3.0, 1, ObservationBody::Connection(other)),
    ];
    let told = run_with(Policy::default(), environments, &observations, &Store::baseline());
    assert_eq!(told.t1612(), [(HOST.to_owned(), EVIL.to_owned())]);
    assert!(run(&observations, &Store::baseline()).t1612().is_empty());
}

#[test]
fn two_daemons_do_not_share_their_downloads() {
    let mut other = build("b", "198.51.100.24", 0.0, 10.0, &[]);
    other.daemon = endpoint("10.10.6.9", 2375);
    let from_other = connection(2, "10.10.6.9", "203.0.113.106", 80, 4.0);
    let told = run(
        &[
            built(build("a", ATTACKER, 0.0, 10.0, &[])),
            built(other),
            connect(1, "203.0.113.105", 80, 4.0),
            observe(4.0, 2, ObservationBody::Connection(from_other)),
        ],
        &Store::baseline(),
    );
    let pairs = told.t1612();
    assert_eq!(pairs.len(), 2);
    assert!(pairs.contains(&(HOST.into(), "203.0.113.105".into())));
    assert!(pairs.contains(&("10.10.6.9".into(), "203.0.113.106".into())));
}

#[test]
fn a_host_that_is_no_docker_host_makes_no_finding() {
    let office = connection(1, "10.10.20.11", EVIL, 80, 3.0);
    let told = run(
        &[
            built(build("x", CI, 0.0, 10.0, &[])),
            observe(3.0, 1, ObservationBody::Connection(office)),
        ],
        &Store::baseline(),
    );
    assert!(told.t1612().is_empty());
}

#[test]
fn two_environments_with_the_same_addresses_know_nothing_of_each_other() {
    let on = |name: &str, vlan| Environment {
        name: name.into(),
        networks: vec!["10.0.0.0/8".parse().unwrap()],
        vlans: vec![vlan],
        ..Environment::default()
    };
    let environments = Environments::new(vec![on("red", 7), on("blue", 8)]);
    let tagged = |vlan| NetworkTag { vlan: Some(vlan), vni: None, interface: 0 };
    let store = Store { only: Some("red".into()), ..Store::baseline() };
    let mut observations = Vec::new();
    for (i, vlan) in [(1u64, 7u16), (2, 8)] {
        let mut b = build(&format!("v{vlan}"), CI, 0.0, 10.0, &[]);
        b.tag = tagged(vlan);
        observations.push(built(b));
        let mut c = connection(i, HOST, "192.0.2.80", 80, 3.0);
        c.tag = tagged(vlan);
        observations.push(observe(3.0, i, ObservationBody::Connection(c)));
    }
    let told = run_with(Policy::default(), environments, &observations, &store);
    let finding = told.one(NEW);
    assert_eq!(finding.environment, "blue");
    assert_eq!(finding.builds, [BuildId("build-v8".into())]);
}

/// A busy hour: builds that overlap, containers, pulls, DNS, recon.
fn busy_hour() -> Vec<Observation> {
    let mut start = container(ContainerAction::Start, "nx", "evil:1", ATTACKER, 40.0);
    start.risks = vec![Risk::Privileged];
    let mut commit = creation("frozen", CreationKind::Commit, ATTACKER, 90.0, 90.5);
    commit.container = Some("job1".into());
    let mut observations = vec![
        call(ATTACKER, Route::Version, -9.0),
        call(ATTACKER, Route::Info, -8.0),
        call(ATTACKER, Route::ImageList, -7.0),
        built(build(
            "evil",
            ATTACKER,
            0.0,
            20.0,
            &[&format!("http://{EVIL}/x"), "https://never.example/y"],
        )),
        built(build("app", CI, 1.0, 19.0, &[])),
        dns(HOST, "update.example", "203.0.113.78", 2.0),
        dns("10.10.4.53", "cdn.example", "203.0.113.79", 2.0),
        connect(1, EVIL, 80, 3.0),
        connect(2, "203.0.113.78", 443, 4.0),
        hello(2, "203.0.113.78", "update.example", 4.1),
        connect(3, "203.0.113.79", 443, 5.0),
        connect(4, "192.0.2.80", 80, 6.0),
        connect(5, "203.0.113.100", 5000, 7.0),
        fetched(get(5, "203.0.113.100", 5000, "203.0.113.100:5000", "/v2/a/manifests/1", 7.1)),
        fetched(get(1, EVIL, 80, EVIL, "/x", 3.1)),
        acted(start),
        connect(6, "203.0.113.80", 80, 45.0),
        acted(container(ContainerAction::Start, "job1", "alpine:3.18", ATTACKER, 60.0)),
        acted(container(ContainerAction::Exec, "job1", "alpine:3.18", ATTACKER, 61.0)),
        connect(7, "203.0.113.81", 80, 62.0),
        created(commit),
    ];
    for i in 0..20u8 {
        observations.push(connect(100 + u64::from(i), "192.0.2.80", 443, f64::from(i) * 3.0));
    }
    observations
}

#[test]
fn the_order_of_arrival_changes_nothing() {
    let in_order = busy_hour();
    let expected = run(&in_order, &Store::baseline());
    assert!(expected.findings.len() > 10 && !expected.incidents.is_empty());
    let mut seed = 0x9e37_79b9_7f4a_7c15u64;
    for round in 0..60 {
        let mut shuffled = in_order.clone();
        for i in (1..shuffled.len()).rev() {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            let j = usize::try_from(seed % (i as u64 + 1)).unwrap();
            shuffled.swap(i, j);
        }
        let told = run(&shuffled, &Store::baseline());
        assert_eq!(told, expected, "round {round}, seed {seed:#x}");
    }
}

#[test]
fn what_is_told_twice_counts_once() {
    let once = busy_hour();
    let twice: Vec<_> = once.iter().chain(&once).cloned().collect();
    assert_eq!(run(&twice, &Store::baseline()), run(&once, &Store::baseline()));
}

#[test]
fn a_later_word_on_a_connection_replaces_the_earlier_and_never_the_other_way() {
    let mut early = connection(1, HOST, EVIL, 80, 3.0);
    early.ended = false;
    early.payload_bytes = [10, 0];
    let late = connection(1, HOST, EVIL, 80, 3.0);
    let observe = |c: &Connection| observe(3.0, 1, ObservationBody::Connection(c.clone()));
    let trigger = built(build("x", CI, 0.0, 10.0, &[]));
    for order in [[&early, &late], [&late, &early]] {
        let told =
            run(&[observe(order[0]), trigger.clone(), observe(order[1])], &Store::baseline());
        assert_eq!(told.builds[0].destinations[0].bytes_in, 1_000);
    }
}

#[test]
fn the_store_is_asked_once_for_each_new_thing_that_matters() {
    let asked_by = |mut detector: Detector, build: bool| {
        let mut store = Store::baseline();
        for _ in 0..3 {
            detector.push(connect(1, EVIL, 80, 3.0), &mut store, &mut |_| {});
        }
        if build {
            detector.push(built(common::build("x", CI, 0.0, 10.0, &[])), &mut store, &mut |_| {});
        }
        finish(&mut detector, &mut store);
        store.asked.iter().filter(|key| key.starts_with("address")).count()
    };
    let detector = || Detector::new(Policy::default(), Environments::default());
    assert_eq!(asked_by(detector(), false), 0);
    assert_eq!(asked_by(detector(), true), 1);
    assert_eq!(asked_by(detector().asking_at_once(), false), 1);
}

#[test]
fn tables_stay_within_their_limits_and_a_window_outlives_a_flood() {
    let limits = Limits { recent_connections: 50, held_connections: 5, ..Limits::default() };
    let policy = Policy { limits, ..Policy::default() };
    let mut observations = vec![built(build("x", CI, 0.0, 10.0, &[])), connect(1, EVIL, 80, 3.0)];
    for i in 2..500u64 {
        let flood = connection(i, "10.10.20.11", "198.51.100.7", 80, 4.0);
        observations.push(observe(4.0, i, ObservationBody::Connection(flood)));
    }
    let mut store = Store::baseline();
    let mut detector = Detector::new(policy, Environments::default());
    for observation in &observations {
        detector.push(observation.clone(), &mut store, &mut |_| {});
    }
    let told = finish(&mut detector, &mut store);
    assert_eq!(told.of(NEW).len(), 1);
    let counters = detector.counters();
    assert_eq!(counters.connections_forgotten, 448);
    assert_eq!(counters.connections_lost, 0);
}

#[test]
fn what_a_full_table_loses_is_counted() {
    let limits = Limits {
        recent_connections: 2,
        held_connections: 2,
        calls: 2,
        builds: 1,
        containers: 1,
        ..Limits::default()
    };
    let mut detector =
        Detector::new(Policy { limits, ..Policy::default() }, Environments::default());
    let mut store = Store::baseline();
    for i in 0..9u8 {
        let start = f64::from(i);
        for observation in [
            call(CI, Route::Version, start),
            built(build(&format!("b{i}"), CI, 0.0, 90.0, &[])),
            acted(container(ContainerAction::Start, "c", "alpine", CI, start)),
            connect(u64::from(i), EVIL, 80, start),
        ] {
            detector.push(observation.clone(), &mut store, &mut |_| {});
        }
    }
    let counters = detector.counters();
    assert_eq!((counters.calls_lost, counters.builds_lost, counters.containers_lost), (7, 8, 8));
    assert_eq!(counters.connections_lost, 5);
}

const V6: &str = "2001:db8:1::5";

fn built_at(daemon: &str, id: &str, start: f64) -> Observation {
    let mut build = build(id, ATTACKER, start, start + 10.0, &[]);
    build.daemon = endpoint(daemon, 2375);
    built(build)
}

#[test]
fn an_api_that_is_called_by_its_ipv6_address_downloads_from_its_ipv4_address() {
    let observations = [
        seen_at(1, "2001:db8:9::23", V6, 2375, 0.0, (ROUTER_MAC, HOST_MAC)),
        built_at(V6, "x", 0.0),
        seen_at(2, HOST, EVIL, 80, 3.0, (HOST_MAC, ROUTER_MAC)),
        seen_at(3, "172.17.0.3", "203.0.113.78", 80, 4.0, (HOST_MAC, ROUTER_MAC)),
        seen_at(4, "fd00:17::3", "2001:db8:bad::79", 80, 5.0, (HOST_MAC, ROUTER_MAC)),
    ];
    let told = run(&observations, &Store::baseline());
    let found = told.t1612();
    let expected =
        [EVIL, "203.0.113.78", "2001:db8:bad::79"].map(|to| (V6.to_owned(), to.to_owned()));
    assert_eq!(found, expected);
}

#[test]
fn two_addresses_of_one_api_are_one_host_and_one_incident() {
    let office = Environment {
        name: "office".into(),
        networks: vec!["10.10.0.0/16".parse().unwrap()],
        ..Environment::default()
    };
    for environments in [Environments::default(), Environments::new(vec![office])] {
        let observations = [
            seen_at(1, ATTACKER, HOST, 2375, 0.0, (ROUTER_MAC, HOST_MAC)),
            seen_at(2, ATTACKER, V6, 2375, 0.0, (ROUTER_MAC, HOST_MAC)),
            built_at(HOST, "a", 0.0),
            built_at(V6, "b", 100.0),
            seen_at(3, HOST, "203.0.113.78", 80, 103.0, (HOST_MAC, ROUTER_MAC)),
            seen_at(4, V6, "2001:db8:bad::79", 80, 3.0, (HOST_MAC, ROUTER_MAC)),
        ];
        let told = run_with(Policy::default(), environments, &observations, &Store::baseline());
        let mut found = told.t1612();
        found.sort();
        let expected = [
            (HOST.to_owned(), "2001:db8:bad::79".to_owned()),
            (V6.to_owned(), "203.0.113.78".to_owned()),
        ];
        assert_eq!(found, expected, "each belongs to the build that was open");
        assert_eq!(told.incidents.len(), 1, "{:#?}", told.incidents);
    }
}

#[test]
fn a_second_interface_is_another_host_until_it_is_configured() {
    let other = "10.10.9.5";
    let observations = [
        seen_at(1, ATTACKER, HOST, 2375, 0.0, (ROUTER_MAC, HOST_MAC)),
        built_at(HOST, "x", 0.0),
        seen_at(2, other, EVIL, 80, 3.0, (MacAddress([2, 0, 0, 0, 0, 6]), ROUTER_MAC)),
    ];
    assert!(run(&observations, &Store::baseline()).t1612().is_empty());
    let mut environments = Environments::default();
    environments.add_alias("default", ip(other), ip(HOST));
    let told = run_with(Policy::default(), environments, &observations, &Store::baseline());
    assert_eq!(told.t1612(), [(HOST.to_owned(), EVIL.to_owned())]);
}
