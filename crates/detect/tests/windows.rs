//! When a connection belongs to which build, image or container.

mod common;

use common::*;
use tw_model::*;

const NEW: Rule = Rule::BuildNewDestination;
const CONTAINER: Rule = Rule::ContainerNewDestination;

fn builds_of(told: &Told) -> Vec<&str> {
    told.one(NEW).builds.iter().map(|b| b.0.as_str()).collect()
}

#[test]
fn the_window_ends_five_seconds_after_the_last_answered_byte() {
    let case = |start| {
        run(
            &[built(build("x", CI, 0.0, 10.0, &[])), connect(1, EVIL, 80, start)],
            &Store::baseline(),
        )
        .of(NEW)
        .len()
    };
    assert_eq!(case(-0.1), 0, "opened before the trigger");
    assert_eq!(case(0.0), 1);
    assert_eq!(case(10.0), 1);
    assert_eq!(case(15.0), 1);
    assert_eq!(case(15.1), 0);
}

#[test]
fn the_window_of_an_answer_alone_opens_where_its_request_may_have_been_sent() {
    let case = |method: &str, start| {
        let b = build("x", CI, 10.0, 20.0, &[]);
        let mut seen = call(CI, Route::Build, 10.0);
        if let ObservationBody::ApiCall(api) = &mut seen.body {
            api.id = b.calls[0];
            api.method = method.into();
        }
        let mut api = connect(9, "10.10.1.5", 2375, 8.0);
        if let ObservationBody::Connection(c) = &mut api.body {
            c.id = b.calls[0].flow;
        }
        let told = run(&[api, seen, built(b), connect(1, EVIL, 80, start)], &Store::baseline());
        told.of(NEW).len()
    };
    assert_eq!(case("", 9.0), 1);
    assert_eq!(case("", 7.5), 0, "before its connection");
    assert_eq!(case("POST", 9.0), 0);
}

#[test]
fn an_end_that_was_not_seen_is_said() {
    let mut b = build("x", CI, 0.0, 10.0, &[]);
    b.end_seen = false;
    b.outcome = Outcome::Unknown;
    let told = run(&[built(b), connect(1, EVIL, 80, 12.0)], &Store::baseline());
    assert_eq!(told.one(NEW).caveats, [Caveat::EndUnseen]);
}

#[test]
fn the_open_build_that_names_it_has_it() {
    let told = run(
        &[
            built(build("a", ATTACKER, 0.0, 20.0, &[&format!("http://{EVIL}/x")])),
            built(build("b", CI, 1.0, 19.0, &[])),
            connect(1, EVIL, 80, 5.0),
        ],
        &Store::baseline(),
    );
    assert_eq!(builds_of(&told), ["build-a"]);
    assert!(told.one(NEW).caveats.is_empty());
}

#[test]
fn two_open_builds_of_which_none_names_it_are_both_listed_the_later_first() {
    let told = run(
        &[
            built(build("a", ATTACKER, 0.0, 20.0, &[])),
            built(build("b", CI, 1.0, 19.0, &[])),
            connect(1, EVIL, 80, 5.0),
        ],
        &Store::baseline(),
    );
    assert_eq!(builds_of(&told), ["build-b", "build-a"]);
    assert_eq!(told.one(NEW).caveats, [Caveat::AmbiguousBuild]);
}

#[test]
fn an_open_build_comes_before_the_grace_of_another() {
    let told = run(
        &[
            built(build("a", ATTACKER, 0.0, 10.0, &[])),
            built(build("b", CI, 11.0, 20.0, &[])),
            connect(1, EVIL, 80, 12.0),
        ],
        &Store::baseline(),
    );
    assert_eq!(builds_of(&told), ["build-b"]);
    assert!(told.one(NEW).caveats.is_empty());
}

#[test]
fn a_container_of_the_built_image_keeps_the_chain_open_for_ten_minutes_or_until_it_stops() {
    let url = format!("http://{EVIL}/x");
    let case = |start: f64, stop: Option<f64>, named: bool| {
        let urls: &[&str] = if named { &[&url] } else { &[] };
        let mut run_it = container(ContainerAction::Start, "c", "docker.io/library/x:1", CI, 100.0);
        run_it.urls = urls.iter().map(|u| (*u).to_owned()).collect();
        let mut observations =
            vec![built(build("x", CI, 0.0, 10.0, &[])), acted(run_it), connect(1, EVIL, 80, start)];
        observations
            .extend(stop.map(|s| acted(container(ContainerAction::Stop, "c", "x:1", CI, s))));
        run(&observations, &Store::baseline())
    };
    let told = case(400.0, None, false);
    assert_eq!(told.one(NEW).techniques, ["T1612", "T1610"]);
    assert!(told.of(CONTAINER).is_empty());
    assert!(case(400.0, Some(300.0), false).findings.iter().all(|f| address(f).is_none()));
    assert!(case(701.0, None, false).of(NEW).is_empty());
    assert_eq!(case(5_000.0, None, true).one(NEW).verdict, Some(Verdict::Observed));
    assert!(case(5_000.0, Some(4_000.0), true).findings.iter().all(|f| address(f).is_none()));
}

#[test]
fn a_container_that_was_not_just_built_is_t1610_with_t1105_and_never_t1612() {
    let told = run(
        &[
            acted(container(ContainerAction::Create, "j", "alpine:3.18", ATTACKER, 0.0)),
            acted(container(ContainerAction::Start, "j", "alpine:3.18", ATTACKER, 0.1)),
            connect(1, EVIL, 80, 0.3),
        ],
        &Store::baseline(),
    );
    let finding = told.one(CONTAINER);
    assert_eq!(finding.techniques, ["T1610", "T1105"]);
    assert_eq!(finding.severity, Severity::High, "correlated, raised by the new caller");
    assert!(finding.builds.is_empty());
    assert!(told.t1612().is_empty());
}

#[test]
fn an_exec_is_t1609_with_t1105() {
    let mut exec = container(ContainerAction::Exec, "j", "alpine:3.18", CI, 0.0);
    exec.urls = vec![format!("http://{EVIL}/x")];
    let told = run(&[acted(exec), connect(1, EVIL, 80, 0.3)], &Store::baseline());
    let finding = told.one(CONTAINER);
    assert_eq!(finding.techniques, ["T1609", "T1105"]);
    assert_eq!(finding.verdict, Some(Verdict::Observed));
}

#[test]
fn a_container_that_is_created_and_never_started_has_no_window() {
    let told = run(
        &[
            acted(container(ContainerAction::Create, "j", "alpine:3.18", ATTACKER, 0.0)),
            connect(1, EVIL, 80, 0.3),
        ],
        &Store::baseline(),
    );
    assert!(told.of(CONTAINER).is_empty() && told.t1612().is_empty());
}

#[test]
fn a_commit_has_the_whole_life_of_its_container() {
    let mut commit = creation("kube-proxy", CreationKind::Commit, ATTACKER, 1_000.0, 1_000.1);
    commit.container = Some("job1".into());
    let mut exec = container(ContainerAction::Exec, "job1", "alpine:3.18", ATTACKER, 900.0);
    exec.urls = vec![format!("http://{EVIL}/x")];
    let observations = [
        acted(container(ContainerAction::Create, "job1", "alpine:3.18", ATTACKER, 0.0)),
        acted(container(ContainerAction::Start, "job1", "alpine:3.18", ATTACKER, 0.1)),
        acted(exec),
        connect(1, EVIL, 80, 900.2),
        created(commit),
    ];
    let told = run(&observations, &Store::baseline());
    let finding = told.one(NEW);
    assert_eq!(finding.techniques, ["T1612", "T1610", "T1609"]);
    assert_eq!(finding.verdict, Some(Verdict::Observed));
    assert_eq!(finding.timestamp, at(1_000.0), "the commit completed it");
    assert!(told.of(CONTAINER).is_empty());
    assert_eq!(told.of(Rule::ContainerExec).len(), 1);
    let without_commit = run(&observations[..4], &Store::baseline());
    assert_eq!(without_commit.one(CONTAINER).techniques, ["T1609", "T1105"]);
}

#[test]
fn a_file_copied_into_a_container_that_never_ran_and_committed_is_no_download() {
    let mut commit = creation("base", CreationKind::Commit, ATTACKER, 10.0, 10.1);
    commit.container = Some("stg".into());
    let told = run(
        &[
            acted(container(ContainerAction::Create, "stg", "alpine:3.18", ATTACKER, 0.0)),
            acted(container(ContainerAction::Copy, "stg", "alpine:3.18", ATTACKER, 1.0)),
            connect(1, EVIL, 80, 2.0),
            created(commit),
        ],
        &Store::baseline(),
    );
    assert!(told.t1612().is_empty());
}

#[test]
fn a_host_process_after_the_window_is_no_finding() {
    let told = run(
        &[built(build("x", ATTACKER, 0.0, 10.0, &[])), connect(1, EVIL, 80, 22.0)],
        &Store::baseline(),
    );
    assert!(told.findings.iter().all(|f| address(f).is_none()));
}

#[test]
fn nothing_without_a_trigger_is_a_finding() {
    let told = run(&[call(CI, Route::Ping, 0.0), connect(1, EVIL, 80, 1.0)], &Store::baseline());
    assert!(told.of_others().is_empty() && told.incidents.len() <= 1);
}

#[test]
fn a_stop_that_is_the_answer_to_an_earlier_wait_ends_the_run_when_it_is_answered() {
    let mut stop = container(ContainerAction::Stop, "j", "alpine", ATTACKER, 0.5);
    stop.ended = at(30.0);
    let case = |start| {
        let observations = [
            acted(container(ContainerAction::Create, "j", "alpine", ATTACKER, 0.0)),
            acted(stop.clone()),
            acted(container(ContainerAction::Start, "j", "alpine", ATTACKER, 1.0)),
            connect(1, EVIL, 80, start),
        ];
        run(&observations, &Store::baseline()).of(CONTAINER).len()
    };
    assert_eq!((case(29.0), case(31.0)), (1, 0));
}

#[test]
fn a_container_that_is_started_again_has_a_window_again() {
    let observations = [
        acted(container(ContainerAction::Start, "j", "alpine", ATTACKER, 0.0)),
        acted(container(ContainerAction::Stop, "j", "alpine", ATTACKER, 10.0)),
        acted(container(ContainerAction::Start, "j", "alpine", ATTACKER, 5_000.0)),
        connect(1, EVIL, 80, 5_001.0),
    ];
    assert_eq!(run(&observations, &Store::baseline()).of(CONTAINER).len(), 1);
}

#[test]
fn where_the_end_was_not_seen_the_last_packet_of_the_call_counts_but_not_the_next_call_s() {
    let api = |last| {
        let mut c = connection(50, ATTACKER, HOST, 2375, 0.0);
        c.last = at(last);
        observe(0.0, 50, ObservationBody::Connection(c))
    };
    let unseen = || {
        let mut b = build("x", ATTACKER, 0.0, 1.0, &[]);
        b.calls = vec![CallId { flow: FlowId(50), index: 0 }];
        b.end_seen = false;
        built(b)
    };
    let found = |observations: &[Observation]| run(observations, &Store::baseline()).of(NEW).len();
    let download = || connect(1, EVIL, 80, 40.0);
    assert_eq!(found(&[unseen(), download()]), 0);
    assert_eq!(found(&[unseen(), api(60.0), download()]), 1);
    let mut next = call(ATTACKER, Route::Ping, 20.0);
    if let ObservationBody::ApiCall(c) = &mut next.body {
        c.id = CallId { flow: FlowId(50), index: 1 };
    }
    assert_eq!(found(&[unseen(), api(60.0), next, download()]), 0);
}
