//! The rules about callers and what they do.

mod common;

use common::*;
use tw_model::*;

fn looks(client: &str) -> Vec<Observation> {
    let routes = [Route::Ping, Route::Version, Route::Info, Route::ContainerList, Route::ImageList];
    (0u8..).zip(routes).map(|(i, route)| call(client, route, f64::from(i) * 0.1)).collect()
}

#[test]
fn a_stranger_who_looks_around_is_recon_and_a_known_client_is_not() {
    let told = run(&looks("198.18.7.9"), &Store::baseline());
    let finding = told.one(Rule::ApiRecon);
    assert_eq!(finding.techniques, ["T1613"]);
    assert_eq!(finding.client.as_ref().unwrap().ip, ip("198.18.7.9"));
    assert_eq!(finding.docker_host, ip(HOST));
    assert!(run(&looks(CI), &Store::baseline()).of_others().is_empty());
}

#[test]
fn a_new_client_that_greets_and_works_is_no_recon() {
    let told = run(
        &[
            call(ATTACKER, Route::Ping, 0.0),
            call(ATTACKER, Route::Version, 0.1),
            call(ATTACKER, Route::ContainerList, 900.0),
        ],
        &Store::baseline(),
    );
    assert!(told.of(Rule::ApiRecon).is_empty());
}

#[test]
fn without_a_baseline_only_a_caller_from_outside_is_recon() {
    let store = Store { no_baseline: true, ..Store::default() };
    assert!(run(&looks(CI), &store).of_others().is_empty());
    let outside = run(&looks(ATTACKER), &store);
    assert_eq!(outside.one(Rule::ApiRecon).severity, Severity::Low);
    assert_eq!(outside.one(Rule::ApiRecon).caveats, [Caveat::NoBaseline]);
}

#[test]
fn a_build_by_a_new_caller_is_told_without_a_destination_and_a_builder_s_is_not() {
    let told = run(&[built(build("x", ATTACKER, 0.0, 10.0, &[]))], &Store::baseline());
    let finding = told.one(Rule::BuildNewCaller);
    assert!(finding.destination.is_none());
    assert_eq!(finding.severity, Severity::Medium);
    assert_eq!(finding.novelty.as_ref().unwrap().axes, [Axis::Caller]);
    assert!(
        run(&[built(build("x", CI, 0.0, 10.0, &[]))], &Store::baseline())
            .of(Rule::BuildNewCaller)
            .is_empty()
    );
}

#[test]
fn images_by_unknown_builders_become_medium_at_the_threshold() {
    let observations =
        [built(build("a", ATTACKER, 0.0, 1.0, &[])), built(build("b", ATTACKER, 50.0, 51.0, &[]))];
    let case = |threshold, client: &str| {
        let mut observations = observations.to_vec();
        for o in &mut observations {
            if let ObservationBody::Build(b) = &mut o.body {
                b.client = ip(client);
            }
        }
        let policy = tw_detect::Policy { new_image_threshold: threshold, ..Default::default() };
        run_with(policy, tw_detect::Environments::default(), &observations, &Store::baseline())
            .one(Rule::ImageCreated)
            .severity
    };
    assert_eq!(case(1, ATTACKER), Severity::Medium);
    assert_eq!(case(2, ATTACKER), Severity::Medium);
    assert_eq!(case(3, ATTACKER), Severity::Low);
    assert_eq!(case(1, CI), Severity::Info);
}

#[test]
fn a_failed_build_makes_no_image() {
    let mut b = build("x", ATTACKER, 0.0, 10.0, &[]);
    b.outcome = Outcome::Failed;
    let told = run(&[built(b), connect(1, EVIL, 80, 3.0)], &Store::baseline());
    assert!(told.of(Rule::ImageCreated).is_empty());
    assert_eq!(told.of(Rule::BuildNewDestination).len(), 1, "but it downloaded all the same");
}

#[test]
fn an_exec_by_a_stranger_is_t1609() {
    let exec = |client| {
        run(
            &[acted(container(ContainerAction::Exec, "j", "alpine", client, 0.0))],
            &Store::baseline(),
        )
    };
    assert_eq!(exec(ATTACKER).one(Rule::ContainerExec).techniques, ["T1609"]);
    assert!(exec(CI).findings.is_empty());
}

#[test]
fn a_container_that_reaches_the_host_is_t1610_and_t1611() {
    let case = |risks: Vec<Risk>| {
        let mut create = container(ContainerAction::Create, "j", "alpine", ATTACKER, 0.0);
        create.risks = risks;
        run(
            &[
                acted(create),
                acted(container(ContainerAction::Start, "j", "alpine", ATTACKER, 1.0)),
            ],
            &Store::baseline(),
        )
    };
    let escape = case(vec![Risk::HostRootMount, Risk::RootUser]);
    assert_eq!(escape.one(Rule::ContainerRisky).techniques, ["T1610", "T1611"]);
    assert_eq!(escape.one(Rule::ContainerRisky).severity, Severity::High);
    assert_eq!(case(vec![Risk::HostNetwork]).one(Rule::ContainerRisky).techniques, ["T1610"]);
    assert!(case(vec![Risk::RootUser, Risk::RestartAlways]).of(Rule::ContainerRisky).is_empty());
}

#[test]
fn programs_in_the_context_of_a_stranger_are_a_finding() {
    let case = |client| {
        let mut b = build("x", client, 0.0, 10.0, &[]);
        let executables = vec!["kworker".to_owned()];
        b.context = Some(Context { executables, ..Context::default() });
        run(&[built(b)], &Store::baseline()).of(Rule::ContextExecutable).len()
    };
    assert_eq!((case(ATTACKER), case(CI)), (1, 0));
}

#[test]
fn a_push_by_a_stranger_is_t1525() {
    let told = run(&[call(ATTACKER, Route::ImagePush, 0.0)], &Store::baseline());
    assert_eq!(told.one(Rule::ImagePushed).techniques, ["T1525"]);
    assert!(run(&[call(CI, Route::ImagePush, 0.0)], &Store::baseline()).of_others().is_empty());
}

#[test]
fn what_a_caller_does_within_an_hour_is_one_incident_and_another_caller_s_is_another() {
    let mut observations = looks(ATTACKER);
    observations.push(built(build("a", ATTACKER, 1_000.0, 1_010.0, &[])));
    observations.push(built(build("b", "198.51.100.99", 1_001.0, 1_011.0, &[])));
    observations.push(built(build("c", ATTACKER, 9_000.0, 9_001.0, &[])));
    let told = run(&observations, &Store::baseline());
    let clients: Vec<_> = told.incidents.iter().map(|i| i.clients.clone()).collect();
    assert_eq!(clients.len(), 2, "repeats of one finding stay in its incident");
    assert!(clients.iter().all(|c| c.len() == 1));
}

#[test]
fn two_looks_are_enough_for_who_does_nothing_else() {
    let mut observations =
        vec![call(ATTACKER, Route::Version, 0.0), call(ATTACKER, Route::Info, 0.1)];
    assert_eq!(run(&observations, &Store::baseline()).of(Rule::ApiRecon).len(), 1);
    let mut work = call(ATTACKER, Route::Build, 1.0);
    if let ObservationBody::ApiCall(c) = &mut work.body {
        c.method = "POST".into();
    }
    observations.push(work);
    assert!(run(&observations, &Store::baseline()).of(Rule::ApiRecon).is_empty());
}
