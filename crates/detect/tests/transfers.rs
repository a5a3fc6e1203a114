//! Images on their way between hosts and registries, and the rules about them.

mod common;

use common::*;
use tw_detect::{Environments, Fact, Key, Learner};
use tw_model::*;

const REGISTRY: &str = "203.0.113.100:5000";
const PAUSE: &str = "k8s/pause:3.9";

/// What shows a pull of `PAUSE` from an unfamiliar registry.
fn pull(when: f64) -> (RegistryAction, Vec<Observation>) {
    let action = pulled(REGISTRY, PAUSE, &[2], when);
    let to = "203.0.113.100";
    let manifest = get(2, to, 5000, REGISTRY, "/v2/k8s/pause/manifests/3.9", when);
    let observations = vec![connect(2, to, 5000, when), fetched(manifest), moved(&action)];
    (action, observations)
}

/// A push of an image to the registry that the baseline knows.
fn push(image: &str, when: f64) -> RegistryAction {
    let mut action = pulled("registry.corp.example:5000", image, &[5], when);
    action.action = RegistryVerb::Push;
    action.registry_ip = Some(ip("10.10.3.50"));
    action
}

#[test]
fn what_was_asked_of_the_api_and_what_the_registry_showed_is_one_pull() {
    let (action, mut observations) = pull(1.0);
    let mut call = asked(&action, ATTACKER, 0.9);
    call.manifest_digest = None;
    observations.push(moved(&call));
    let told = run(&observations, &Store::baseline());
    let [joined] = told.registries.as_slice() else { panic!("{:#?}", told.registries) };
    assert_eq!(joined.id, action.id);
    assert_eq!((joined.client, joined.daemon), (Some(ip(ATTACKER)), Some(endpoint(HOST, 2375))));
    assert_eq!((&joined.manifest_digest, joined.bytes), (&action.manifest_digest, 1_000));
    for (reference, when) in [("4.0", 0.9), ("3.9", 1.5), ("3.9", -900.0)] {
        let mut other = asked(&action, ATTACKER, when);
        other.reference = Some(reference.to_owned());
        other.manifest_digest = Some(format!("sha256:{}", "e".repeat(64)));
        let (_, mut observations) = pull(1.0);
        observations.push(moved(&other));
        let told = run(&observations, &Store::baseline());
        assert_eq!(told.registries.len(), 2, "{reference} asked at {when}");
    }
}

#[test]
fn a_pull_by_digest_is_what_was_asked_for_by_tag_where_the_answers_were_not_captured() {
    let (mut action, mut observations) = pull(1.0);
    let mut call = asked(&action, ATTACKER, 0.9);
    call.manifest_digest = None;
    action.reference.clone_from(&action.manifest_digest);
    observations.push(moved(&action));
    observations.push(moved(&call));
    let told = run(&observations[2..], &Store::baseline());
    let references: Vec<_> = told.registries.iter().map(|r| r.reference.as_deref()).collect();
    assert_eq!(references, [Some("3.9")]);
}

#[test]
fn answers_alone_of_a_registry_that_a_pull_names_are_registry_new() {
    let (action, _) = pull(1.0);
    let mut answer = get(2, "203.0.113.100", 5000, "x", "", 1.0);
    (answer.host, answer.url) = (None, None);
    let observations = [
        call(ATTACKER, Route::ImagePull, 0.9),
        moved(&asked(&action, ATTACKER, 0.9)),
        connect(2, "203.0.113.100", 5000, 1.0),
        fetched(answer),
    ];
    let told = run(&observations, &Store::baseline());
    assert_eq!(told.one(Rule::RegistryNew).techniques, ["T1204.003"]);
}

#[test]
fn a_pull_that_the_daemon_refused_is_none() {
    let (action, _) = pull(1.0);
    let mut call = asked(&action, ATTACKER, 0.9);
    (call.confirmed, call.failed) = (false, true);
    assert!(run(&[moved(&call)], &Store::baseline()).registries.is_empty());
}

#[test]
fn a_base_image_is_pulled_for_its_build_and_by_who_asked_for_that() {
    let (action, mut observations) = pull(1.0);
    observations.push(built(build("x", CI, 0.0, 10.0, &[])));
    let told = run(&observations, &Store::baseline());
    assert_eq!(told.registries[0].client, Some(ip(CI)));
    assert_eq!(told.registries[0].builds, [BuildId("build-x".into())]);
    let finding = told.one(Rule::RegistryNew);
    assert!(finding.summary.contains(PAUSE), "{}", finding.summary);
    assert!(told.t1612().is_empty());
    let timeline = &told.incidents[0].timeline;
    let lines = timeline.iter().filter(|entry| entry.reference == action.id.0);
    assert_eq!(lines.count(), 1);
    assert!(!timeline.iter().any(|e| e.text.contains("manifests/3.9")), "said once");
}

#[test]
fn a_malicious_image_that_is_run_is_one_incident_of_t1204_003_and_t1610() {
    let (action, mut observations) = pull(1.0);
    observations.push(call(ATTACKER, Route::ImagePull, 0.9));
    observations.push(moved(&asked(&action, ATTACKER, 0.9)));
    let image = format!("{REGISTRY}/{PAUSE}");
    for (verb, when) in [(ContainerAction::Create, 2.0), (ContainerAction::Start, 2.1)] {
        observations.push(acted(container(verb, "p39", &image, ATTACKER, when)));
    }
    let told = run(&observations, &Store::baseline());
    let finding = told.one(Rule::RegistryNew);
    assert_eq!(finding.techniques, ["T1204.003", "T1610"]);
    assert_eq!(finding.severity, Severity::High);
    let axes = &finding.novelty.as_ref().unwrap().axes;
    assert!(axes.contains(&Axis::Registry) && axes.contains(&Axis::Image), "{axes:?}");
    assert_eq!(told.incidents.len(), 1);
    let known = Store::baseline().know(&[&format!("digest sha256:{}", "d".repeat(64))]);
    let told = run(&observations, &known);
    let axes = &told.one(Rule::RegistryNew).novelty.as_ref().unwrap().axes;
    assert!(axes.contains(&Axis::Registry) && !axes.contains(&Axis::Image), "{axes:?}");
    let before = &observations[..observations.len() - 1];
    assert_eq!(run(before, &Store::baseline()).one(Rule::RegistryNew).techniques, ["T1204.003"]);
}

#[test]
fn an_opaque_registry_that_a_pull_names_is_registry_new_only_while_it_is_pulled_from() {
    let mut action = pulled("reg.evil.example:443", "x:1", &[], 1.0);
    action = asked(&action, ATTACKER, 0.9);
    let case = |when: f64| {
        let told = run(
            &[
                dns(HOST, "reg.evil.example", EVIL, 0.5),
                call(ATTACKER, Route::ImagePull, 0.9),
                moved(&action),
                built(build("x", ATTACKER, 60.0, 70.0, &[])),
                connect(1, EVIL, 443, when),
            ],
            &Store::baseline(),
        );
        (told.of(Rule::RegistryNew).len(), told.t1612().len())
    };
    assert_eq!(case(1.0), (1, 0));
    assert_eq!(case(61.0), (0, 1), "a pull before does not excuse a download");
}

#[test]
fn a_known_registry_at_a_new_address_is_trusted_where_dns_says_so() {
    let case = |answer: &str| {
        let (to, host) = ("198.51.100.77", "registry.corp.example:5000");
        let mut action = pulled(host, PAUSE, &[2], 1.0);
        action.registry_ip = Some(ip(to));
        let observations = [
            built(build("x", CI, 0.0, 10.0, &[])),
            dns(HOST, answer, to, 0.5),
            connect(2, to, 5000, 1.0),
            fetched(get(2, to, 5000, host, "/v2/k8s/pause/manifests/3.9", 1.0)),
            moved(&action),
        ];
        run(&observations, &Store::baseline()).of(Rule::RegistryNew).len()
    };
    assert_eq!(case("registry.corp.example"), 0);
    assert_eq!(case("evil.example"), 1, "the name is the client's claim");
}

#[test]
fn a_token_service_is_no_download_and_a_program_behind_its_url_is_one() {
    let case = |media: &str, executable| {
        let target = "/token?service=reg&scope=repository%3Ak8s%2Fpause%3Apull";
        let mut token = get(1, EVIL, 5001, &format!("{EVIL}:5001"), target, 1.0);
        token.content_type = Some(media.to_owned());
        token.executable = executable;
        let build = built(build("x", CI, 0.0, 10.0, &[]));
        run(&[build, connect(1, EVIL, 5001, 1.0), fetched(token)], &Store::baseline()).t1612().len()
    };
    assert_eq!(case("application/json", false), 0);
    assert_eq!(case("application/json", true), 1);
    assert_eq!(case("application/octet-stream", false), 1);
}

#[test]
fn a_push_of_what_a_stranger_made_here_is_high_and_names_build_and_registry() {
    let case = |client: &str, image: &str, by_api: bool| {
        let mut b = build("x", client, 0.0, 2.0, &[]);
        b.tags = vec!["registry.corp.example:5000/team/app:latest".into()];
        let action = push(image, 3.0);
        let mut observations = vec![built(b), moved(&action)];
        if by_api {
            observations.push(call(client, Route::ImagePush, 2.9));
            observations.push(moved(&asked(&action, client, 2.9)));
        }
        run(&observations, &Store::baseline())
    };
    for by_api in [true, false] {
        let told = case(ATTACKER, "team/app:latest", by_api);
        let finding = told.one(Rule::ImagePushed);
        assert_eq!(
            (finding.severity, &finding.techniques[..]),
            (Severity::High, &["T1525".to_owned()][..])
        );
        assert_eq!(finding.builds, [BuildId("build-x".into())]);
        assert_eq!(address(finding), Some(ip("10.10.3.50")));
        assert_eq!(finding.client.as_ref().unwrap().ip, ip(ATTACKER));
        assert_eq!(told.incidents.len(), 1);
        assert!(case(CI, "team/app:latest", by_api).of(Rule::ImagePushed).is_empty());
    }
    let other = case(ATTACKER, "team/other:1", true);
    assert_eq!(other.one(Rule::ImagePushed).severity, Severity::Medium);
    assert!(other.one(Rule::ImagePushed).builds.is_empty());
    assert!(case(ATTACKER, "team/other:1", false).of(Rule::ImagePushed).is_empty(), "whose?");
}

#[test]
fn a_push_under_another_name_is_known_by_the_image_id() {
    let mut b = build("x", ATTACKER, 0.0, 2.0, &[]);
    b.image_id = Some(format!("sha256:{}", "c".repeat(64)));
    let told = run(&[built(b), moved(&push("team/app:latest", 3.0))], &Store::baseline());
    assert_eq!(told.one(Rule::ImagePushed).builds, [BuildId("build-x".into())]);
}

#[test]
fn a_push_just_after_a_build_is_no_destination_of_it() {
    let action = push("x:1", 3.0);
    let host = "registry.corp.example:5000";
    let told = run(
        &[
            built(build("x", ATTACKER, 0.0, 2.0, &[])),
            dns(HOST, "registry.corp.example", "10.10.3.50", -1.0),
            call(ATTACKER, Route::ImagePush, 2.9),
            moved(&asked(&action, ATTACKER, 2.9)),
            connect(5, "10.10.3.50", 5000, 3.0),
            fetched(get(5, "10.10.3.50", 5000, host, "/v2/x/manifests/1", 3.0)),
            moved(&action),
        ],
        &Store::baseline(),
    );
    assert!(told.builds[0].destinations.is_empty());
}

fn learned(observations: &[Observation]) -> Vec<String> {
    let mut learner = Learner::new(Environments::default());
    let mut facts = Vec::new();
    for observation in observations {
        learner.push(observation, &mut |fact: Fact<'_>| match fact.key {
            Key::Registry(name) => facts.push(format!("registry {name}")),
            Key::Repository(name) => facts.push(format!("repository {name}")),
            Key::Digest(digest) => facts.push(format!("digest {}", &digest[7..8])),
            _ => {}
        });
    }
    facts.sort();
    facts.dedup();
    facts
}

#[test]
fn a_confirmed_pull_teaches_registry_repository_and_digests_with_its_connection() {
    let (action, observations) = pull(1.0);
    let all = [
        "digest c",
        "digest d",
        "registry 203.0.113.100:5000",
        "repository 203.0.113.100:5000/k8s/pause",
    ];
    assert_eq!(learned(&observations), all);
    assert!(learned(&[moved(&action)]).is_empty(), "no connection, no lesson");
    let mut unanswered = action.clone();
    unanswered.confirmed = false;
    assert!(learned(&[connect(2, "203.0.113.100", 5000, 1.0), moved(&unanswered)]).is_empty());
    let mut pushed = action;
    pushed.action = RegistryVerb::Push;
    let facts = learned(&[connect(2, "203.0.113.100", 5000, 1.0), moved(&pushed)]);
    assert_eq!(facts, &all[2..], "a push makes no digest familiar");
}

#[test]
fn what_only_a_daemon_tells_teaches_the_digest_alone() {
    let action = pulled("docker.io:443", "library/alpine:3.18", &[], 1.0);
    assert_eq!(learned(&[moved(&asked(&action, CI, 0.9))]), ["digest d"]);
}
