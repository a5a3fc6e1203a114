//! Connections that somebody opens to a docker host while it builds.

mod common;

use common::*;
use tw_detect::*;
use tw_model::*;

const INBOUND: Rule = Rule::BuildInbound;

/// Somebody connects to the docker host.
fn visit(id: u64, port: u16, start: f64) -> Observation {
    let c = connection(id, EVIL, HOST, port, start);
    observe(start, id, ObservationBody::Connection(c))
}

fn listening(steps: &[&str], network: Option<&str>) -> Observation {
    let mut build = build("x", ATTACKER, 0.0, 10.0, &[]);
    build.steps = steps.iter().map(|step| (*step).to_owned()).collect();
    build.network_mode = network.map(str::to_owned);
    built(build)
}

#[test]
fn a_connection_to_a_running_build_is_a_finding_without_destination() {
    let build = listening(&["FROM alpine", "RUN nc -l -p 4444 > /x"], Some("host"));
    let told = run(&[build, visit(1, 4444, 3.0)], &Store::baseline());
    let finding = told.one(INBOUND);
    assert_eq!(
        (finding.severity, finding.techniques.as_slice()),
        (Severity::High, &["T1612".to_owned()][..])
    );
    assert!(finding.destination.is_none() && finding.summary.contains("names that port"));
    assert_eq!(finding.builds, [BuildId("build-x".into())]);
    assert_eq!(told.incidents.len(), 1);
    let text = |e: &TimelineEntry| e.text.contains("connected to port 4444 on docker host");
    assert!(told.incidents[0].timeline.iter().any(text), "{:#?}", told.incidents[0].timeline);
    assert!(told.t1612().is_empty());
}

#[test]
fn what_points_to_a_port_weighs_and_a_service_of_the_host_is_none() {
    let severity = |build: Observation, visits: &[Observation]| {
        let told = run(&[&[build][..], visits].concat(), &Store::baseline());
        told.of(INBOUND).first().map(|f| f.severity)
    };
    let named = || listening(&["RUN nc -l -p 4444"], None);
    let silent = || listening(&["RUN make"], None);
    let one = std::slice::from_ref::<Observation>;
    let during = visit(1, 4444, 3.0);
    assert_eq!(severity(listening(&[], Some("host")), one(&during)), Some(Severity::High));
    assert_eq!(severity(silent(), one(&during)), Some(Severity::Low));
    assert_eq!(severity(listening(&["RUN x 44445"], None), one(&during)), Some(Severity::Low));
    assert_eq!(severity(named(), &[during.clone(), visit(2, 4444, 60.0)]), Some(Severity::Medium));
    assert_eq!(severity(named(), &[during, visit(2, 4444, -60.0)]), None, "it was there before");
    assert_eq!(severity(named(), &[visit(1, 4444, 30.0)]), None, "the build is over");
    for port in [2375, 2376, 2377, 7946] {
        assert_eq!(severity(named(), &[visit(1, port, 3.0)]), None, "{port}");
    }
    let mut refused = connection(1, EVIL, HOST, 4444, 3.0);
    refused.state = ConnectionState::Refused;
    refused.payload_bytes = [0, 0];
    let refused = observe(3.0, 1, ObservationBody::Connection(refused));
    assert_eq!(severity(named(), &[refused]), None);
}

#[test]
fn a_flood_of_connections_hides_no_visit_and_no_service() {
    let limits = Limits { recent_connections: 20, inbound_connections: 8, ..Limits::default() };
    let policy = Policy { limits, ..Policy::default() };
    let flood = |from: u64, at: f64| {
        (from..from + 100).map(move |i| {
            let c = connection(i, "10.10.20.11", "198.51.100.7", 80, at);
            observe(at, i, ObservationBody::Connection(c))
        })
    };
    let run = |observations: Vec<Observation>| {
        run_with(policy.clone(), Environments::default(), &observations, &Store::baseline())
    };
    let seen = std::iter::once(call(ATTACKER, Route::Ping, -90.0));
    let build = || listening(&["RUN nc -l -p 4444"], None);
    let hidden: Vec<_> =
        seen.clone().chain([build(), visit(1, 4444, 3.0)]).chain(flood(100, 4.0)).collect();
    assert_eq!(run(hidden).of(INBOUND).len(), 1);
    let service: Vec<_> = seen
        .chain([visit(1, 4444, -60.0)])
        .chain(flood(100, -50.0))
        .chain([build(), visit(300, 4444, 3.0)])
        .collect();
    assert!(run(service).of(INBOUND).is_empty());
}
