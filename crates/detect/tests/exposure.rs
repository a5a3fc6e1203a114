//! Docker APIs that serve anybody, services and plugins, and what an incident is called.

mod common;

use common::*;
use tw_model::*;

const RULE: Rule = Rule::ApiExposed;
const OTHER: &str = "198.51.100.99";

fn changed(client: &str, start: f64, change: impl FnOnce(&mut ApiCall)) -> Observation {
    let mut observation = call(client, Route::Version, start);
    if let ObservationBody::ApiCall(call) = &mut observation.body {
        call.path = "/version".into();
        change(call);
    }
    observation
}

fn plainly(client: &str, start: f64) -> Observation {
    changed(client, start, |_| {})
}

#[test]
fn from_outside_it_is_high_and_from_inside_medium_whoever_is_known() {
    for (client, severity) in [(ATTACKER, Severity::High), (CI, Severity::Medium)] {
        for store in [Store::baseline(), Store { no_baseline: true, ..Store::default() }] {
            let told = run(&[plainly(client, 0.0)], &store);
            let finding = told.one(RULE);
            assert_eq!(finding.severity, severity, "{client}");
            assert_eq!(finding.techniques, ["T1133"]);
            assert_eq!(finding.client.as_ref().map(|c| c.ip), Some(ip(client)));
            assert!(finding.destination.is_none() && finding.verdict.is_none());
            assert!(finding.summary.contains("GET /version"), "{}", finding.summary);
        }
    }
}

#[test]
fn once_for_each_daemon_and_day_and_the_worst_caller_leads() {
    let day = 86_400.0;
    let other = |start| changed(CI, start, |call| call.daemon.port = 4243);
    let observations = [
        plainly(CI, 0.0),
        plainly(ATTACKER, 60.0),
        plainly(OTHER, 90.0),
        other(70.0),
        plainly(CI, day),
    ];
    let told = run(&observations, &Store::baseline());
    let found: Vec<_> =
        told.of(RULE).iter().map(|f| (f.severity, f.client.as_ref().unwrap().ip)).collect();
    let expected =
        [(Severity::High, ip(ATTACKER)), (Severity::Medium, ip(CI)), (Severity::Medium, ip(CI))];
    assert_eq!(found, expected);
    let first = told.of(RULE)[0];
    assert!(first.summary.contains("3 calls from 10.10.2.20, 198.51.100.23 and 198.51.100.99"));
    let repeated = run(&[&observations[..], &observations[..]].concat(), &Store::baseline());
    assert_eq!(repeated, told, "what is told twice counts once");
}

#[test]
fn tls_refusals_and_silence_are_no_exposure() {
    for (tls, status) in [
        (true, Some(200)),
        (false, Some(401)),
        (false, Some(403)),
        (false, Some(500)),
        (false, None),
    ] {
        let quiet = changed(ATTACKER, 0.0, |call| (call.tls, call.status) = (tls, status));
        let told = run(&[quiet], &Store::baseline());
        assert!(told.of(RULE).is_empty(), "{tls} {status:?}");
    }
    let hijacked = changed(ATTACKER, 0.0, |call| call.status = Some(101));
    assert_eq!(run(&[hijacked], &Store::baseline()).of(RULE).len(), 1);
}

#[test]
fn credentials_that_nobody_checks_lower_and_those_that_are_checked_end_it() {
    let with = |start| changed(ATTACKER, start, |call| call.credentials = true);
    let refused = changed(OTHER, 1.0, |call| call.status = Some(401));
    let told = run(&[with(0.0)], &Store::baseline());
    assert_eq!(told.one(RULE).severity, Severity::Medium, "any daemon takes any credentials");
    assert!(run(&[with(0.0), refused.clone()], &Store::baseline()).of(RULE).is_empty());
    let told = run(&[with(0.0), plainly(ATTACKER, 2.0), refused], &Store::baseline());
    assert_eq!(told.one(RULE).severity, Severity::High, "one was let in without");
}

#[test]
fn an_answer_alone_says_so_and_another_server_is_no_daemon() {
    let alone = changed(ATTACKER, 0.0, |call| {
        call.method.clear();
        call.path.clear();
    });
    let told = run(&[alone], &Store::baseline());
    assert_eq!(told.one(RULE).caveats, [Caveat::OneDirection]);
    let named = |server: &str, api_version: Option<&str>| {
        let software = Software {
            server: Some(server.into()),
            api_version: api_version.map(str::to_owned),
            version: None,
        };
        changed(ATTACKER, 0.0, |call| call.software = Some(Box::new(software)))
    };
    let count = |observation| run(&[observation], &Store::baseline()).of(RULE).len();
    assert_eq!(count(named("SimpleHTTP/0.6 Python/3.11", None)), 0);
    assert_eq!(count(named("nginx", Some("1.41"))), 1, "a daemon behind a proxy");
    assert_eq!(count(named("Docker/20.10.24 (linux)", None)), 1);
}

#[test]
fn a_build_over_grpc_alone_exposes_its_daemon() {
    let mut over = build("x", ATTACKER, 0.0, 10.0, &[]);
    over.transport = Transport::Grpc;
    over.daemon.port = 1234;
    assert_eq!(run(&[built(over.clone())], &Store::baseline()).one(RULE).severity, Severity::High);
    over.tls = true;
    assert!(run(&[built(over)], &Store::baseline()).of(RULE).is_empty());
}

fn service(action: ContainerAction, start: f64, risks: &[Risk]) -> ContainerEvent {
    let mut event = container(action, "metrics", "alpine:3.18", ATTACKER, start);
    event.kind = DeployKind::Service;
    event.risks = risks.to_vec();
    event
}

#[test]
fn a_service_runs_when_it_is_created_and_anew_when_it_is_updated() {
    let created = service(ContainerAction::Create, 0.0, &[Risk::HostRootMount]);
    let updated = service(ContainerAction::Start, 900.0, &[Risk::DockerSocket]);
    let container = container(ContainerAction::Create, "metrics", "alpine:3.18", ATTACKER, 1.0);
    let observations = [
        acted(created),
        acted(container),
        connect(1, EVIL, 80, 5.0),
        connect(2, "203.0.113.78", 80, 800.0),
        acted(updated),
        connect(3, "203.0.113.79", 80, 905.0),
    ];
    let told = run(&observations, &Store::baseline());
    let found: Vec<_> =
        told.of(Rule::ContainerNewDestination).iter().filter_map(|f| address(f)).collect();
    assert_eq!(found, [ip(EVIL), ip("203.0.113.79")], "800 s after is too late");
    let risky = told.one(Rule::ContainerRisky);
    assert_eq!(risky.techniques, ["T1610", "T1611"]);
    assert_eq!(risky.severity, Severity::High);
    assert!(risky.title.contains("service metrics"), "{}", risky.title);
    assert_eq!(told.incidents.len(), 1);
    let lines: Vec<&str> = told.incidents[0].timeline.iter().map(|e| e.text.as_str()).collect();
    let has = |text: &str| lines.iter().any(|line| line.contains(text));
    assert!(has("created service metrics") && has("created container metrics"), "{lines:#?}");
    assert!(has("updated service metrics") && has("the Docker socket mounted"), "{lines:#?}");
}

#[test]
fn a_plugin_from_an_unfamiliar_registry_is_one_incident() {
    let mut pull = container(ContainerAction::Create, "reg.bad:5000/p:1", "", ATTACKER, 1.0);
    pull.kind = DeployKind::Plugin;
    pull.image = Some("reg.bad:5000/p:1".into());
    pull.risks = vec![Risk::HostPid, Risk::HostRootMount];
    pull.call.index = 3;
    pull.ended = at(3.0);
    let mut start = pull.clone();
    start.action = ContainerAction::Start;
    start.call = CallId { flow: FlowId(77), index: 0 };
    (start.started, start.ended) = (at(4.0), at(4.1));
    let asked = changed(ATTACKER, 1.0, |call| {
        call.route = Route::Plugin;
        (call.method, call.path) = ("POST".into(), "/plugins/pull".into());
        call.id = pull.call;
        call.ended = at(3.0);
    });
    let registry = "203.0.113.100";
    let observations = [
        asked,
        acted(pull),
        connect(1, registry, 5000, 2.0),
        fetched(get(1, registry, 5000, "203.0.113.100:5000", "/v2/p/manifests/1", 2.1)),
        acted(start),
        connect(2, EVIL, 80, 5.0),
    ];
    let told = run(&observations, &Store::baseline());
    assert_eq!(told.one(Rule::RegistryNew).techniques, ["T1204.003"]);
    let risky = told.one(Rule::ContainerRisky);
    assert!(risky.title.contains("plugin reg.bad:5000/p:1,"), "{}", risky.title);
    assert_eq!(address(told.one(Rule::ContainerNewDestination)), Some(ip(EVIL)));
    assert_eq!(told.incidents.len(), 1, "{:#?}", told.incidents);
    assert!(told.t1612().is_empty());
}

#[test]
fn an_incident_is_called_the_same_with_and_without_a_baseline() {
    let observations = [
        call(ATTACKER, Route::Version, -9.0),
        call(ATTACKER, Route::Info, -8.0),
        call(ATTACKER, Route::ContainerList, -7.0),
        built(build("evil", ATTACKER, 0.0, 10.0, &[&format!("http://{EVIL}/x")])),
        connect(1, EVIL, 80, 3.0),
    ];
    let ids = |store: &Store| {
        let told = run(&observations, store);
        assert_eq!(told.incidents.len(), 1);
        (told.findings.len(), told.incidents[0].id.clone())
    };
    let (new, with) = ids(&Store::baseline());
    let known = Store::baseline()
        .know(&[&format!("caller {ATTACKER} {HOST}"), &format!("builder {ATTACKER} {HOST}")]);
    let (fewer, known) = ids(&known);
    let (_, without) = ids(&Store { no_baseline: true, ..Store::default() });
    assert!(fewer < new, "the first finding is another");
    assert_eq!(with, without);
    assert_eq!(with, known);
}

#[test]
fn two_incidents_of_one_caller_have_two_ids() {
    let later = 4.0 * 3600.0;
    let exec =
        |name, start| acted(container(ContainerAction::Exec, name, "alpine:3.18", ATTACKER, start));
    let observations = [exec("a", 0.0), exec("b", later)];
    let told = run(&observations, &Store::baseline());
    let ids: std::collections::BTreeSet<_> = told.incidents.iter().map(|i| &i.id).collect();
    assert_eq!((told.incidents.len(), ids.len()), (2, 2), "{:#?}", told.incidents);
}

#[test]
fn what_the_daemon_refused_was_not_done_in_either_order() {
    let mut asked = container(ContainerAction::Create, "nx", "evil:1", ATTACKER, 1.0);
    asked.risks = vec![Risk::Privileged];
    asked.status = None;
    let mut refused = asked.clone();
    refused.status = Some(409);
    for order in [[&asked, &refused], [&refused, &asked]] {
        let told = run(&order.map(|event| acted(event.clone())), &Store::baseline());
        assert!(told.of(Rule::ContainerRisky).is_empty());
    }
    let alone = run(&[acted(asked)], &Store::baseline());
    assert_eq!(alone.of(Rule::ContainerRisky).len(), 1);
}

#[test]
fn a_stream_is_told_by_its_size_and_by_its_words_only_where_they_were_kept() {
    let line = |said: Option<StreamText>| {
        let mut exec = container(ContainerAction::Exec, "box", "alpine:3.18", ATTACKER, 1.0);
        exec.stream = Some(StreamUse {
            framing: StreamFraming::Frames,
            input_bytes: 9,
            output_bytes: 4,
            error_bytes: 3,
            said: said.map(Box::new),
        });
        let told = run(&[acted(exec)], &Store::baseline());
        let lines = told.incidents[0].timeline.iter().map(|entry| entry.text.clone());
        lines.into_iter().find(|text| text.contains("executed")).unwrap()
    };
    let quiet = line(None);
    assert!(quiet.ends_with("(its stream carried 9 bytes in and 7 bytes out)"), "{quiet}");
    let shown = line(Some(StreamText {
        input: b"id\r\n\x1b[2J".to_vec(),
        output: b"uid=0\n\xff".to_vec(),
    }));
    assert!(shown.contains("; in: id") && shown.contains("; out: uid=0"), "{shown}");
    assert!(!shown.chars().any(char::is_control), "{shown:?}");
}
