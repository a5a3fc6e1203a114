//! What is a registry, and which one is unfamiliar.

mod common;

use common::*;
use tw_detect::{Environments, Policy};
use tw_model::*;

const NEW: Rule = Rule::BuildNewDestination;
const REGISTRY: Rule = Rule::RegistryNew;
const PULLED: &str = "/v2/k8s/pause/manifests/3.9";

fn pull(to: &str, port: u16, host: &str) -> Vec<Observation> {
    vec![
        connect(1, to, port, 1.0),
        connect(2, to, port, 1.1),
        fetched(get(2, to, port, host, "/v2/", 1.1)),
        connect(3, to, port, 1.2),
        fetched(get(3, to, port, host, PULLED, 1.2)),
    ]
}

#[test]
fn an_unfamiliar_registry_in_a_build_is_registry_new_and_no_t1612_pair() {
    let mut observations = pull("203.0.113.100", 5000, "203.0.113.100:5000");
    observations.push(built(build("x", CI, 0.0, 10.0, &[])));
    let told = run(&observations, &Store::baseline());
    let finding = told.one(REGISTRY);
    assert_eq!(finding.techniques, ["T1204.003"]);
    assert_eq!(finding.severity, Severity::Medium, "never low");
    assert!(finding.summary.contains("k8s/pause"));
    assert_eq!(finding.builds, [BuildId("build-x".into())]);
    assert!(
        told.t1612().is_empty(),
        "the failed TLS attempt at the same place is the registry too"
    );
    assert_eq!(told.incidents.len(), 1);
    assert_eq!(told.builds[0].destinations.len(), 1);
}

#[test]
fn a_pull_from_an_unfamiliar_registry_is_registry_new_and_raised_by_a_new_caller() {
    let mut observations = pull("203.0.113.100", 5000, "203.0.113.100:5000");
    observations.push(call(ATTACKER, Route::ImagePull, 0.99));
    let told = run(&observations, &Store::baseline());
    assert_eq!(told.one(REGISTRY).severity, Severity::High);
    assert!(told.t1612().is_empty());
}

#[test]
fn a_known_or_allow_listed_registry_is_part_of_the_build() {
    let mut observations = pull("10.10.3.50", 5000, "registry.corp.example:5000");
    observations.push(built(build("x", CI, 0.0, 10.0, &[])));
    assert!(run(&observations, &Store::baseline()).findings.iter().all(|f| address(f).is_none()));
    let policy =
        Policy { registry_allow_list: vec!["10.10.3.50:5000".into()], ..Policy::default() };
    let allowed = run_with(policy, Environments::default(), &observations, &Store::default());
    assert!(allowed.findings.iter().all(|f| address(f).is_none()));
    assert_eq!(run(&observations, &Store::default()).of(REGISTRY).len(), 1);
}

#[test]
fn a_public_registry_by_sni_is_part_of_the_build_unless_dns_says_otherwise() {
    let tls = |id| {
        let mut c = connection(id, HOST, "198.51.100.9", 443, 1.0);
        c.app = Some(AppProtocol::Tls);
        observe(1.0, id, ObservationBody::Connection(c))
    };
    let case = |more: Vec<Observation>| {
        let mut observations = vec![
            built(build("x", CI, 0.0, 10.0, &[])),
            tls(1),
            hello(1, "198.51.100.9", "registry-1.docker.io", 1.0),
        ];
        observations.extend(more);
        let told = run(&observations, &Store::baseline());
        (told.of(REGISTRY).len(), told.of(NEW).len())
    };
    assert_eq!(case(vec![]), (0, 0), "no DNS seen");
    assert_eq!(case(vec![dns(HOST, "registry-1.docker.io", "198.51.100.9", 0.5)]), (0, 0));
    assert_eq!(
        case(vec![dns(HOST, "evil.example", "198.51.100.9", 0.5)]),
        (1, 0),
        "claimed, not borne out"
    );
}

/// `curl --resolve auth.docker.io:443:203.0.113.9`: the attacker chooses the SNI.
#[test]
fn a_listed_name_that_nothing_bears_out_hides_no_download() {
    let name = "auth.docker.io";
    let tls = || {
        let mut c = connection(1, HOST, EVIL, 443, 1.0);
        c.app = Some(AppProtocol::Tls);
        observe(1.0, 1, ObservationBody::Connection(c))
    };
    let case = |client: &str, urls: &[&str], store: &Store, more: &[Observation]| {
        let mut observations =
            vec![built(build("x", client, 0.0, 10.0, urls)), tls(), hello(1, EVIL, name, 1.0)];
        observations.extend_from_slice(more);
        let told = run(&observations, store);
        let severities: Vec<Severity> = told.of(REGISTRY).iter().map(|f| f.severity).collect();
        (severities, told.of(NEW).len())
    };
    let baseline = Store::baseline();
    assert_eq!(case(ATTACKER, &[], &baseline, &[]), (vec![Severity::High], 0));
    let url = format!("https://{name}/x");
    assert_eq!(case(ATTACKER, &[&url], &baseline, &[]), (vec![], 1), "named: a download");
    // By a known builder: where its name service can be seen, and has been for a while.
    let other = |seconds| [dns(HOST, "mirror.example", "192.0.2.80", seconds)];
    assert_eq!(case(CI, &[], &baseline, &[]), (vec![], 0));
    assert_eq!(case(CI, &[], &baseline, &other(-600.0)), (vec![], 0), "it may be cached");
    assert_eq!(case(CI, &[], &baseline, &other(-4000.0)), (vec![Severity::Medium], 0));
    // Borne out: by an answer to whomever, by the store, by the address.
    let answer = [dns("10.10.4.53", name, EVIL, 0.5)];
    assert_eq!(case(ATTACKER, &[], &baseline, &answer), (vec![], 0));
    let mapped = Store::baseline().know(&[&format!("mapped {name} {EVIL}")]);
    assert_eq!(case(ATTACKER, &[], &mapped, &[]), (vec![], 0));
    let known = Store::baseline().know(&[&format!("address {EVIL}")]);
    assert_eq!(case(ATTACKER, &[], &known, &[]), (vec![], 0));
}

#[test]
fn an_opaque_registry_that_a_base_image_names_is_registry_new() {
    let mut b = build("x", CI, 0.0, 10.0, &[]);
    b.base_images = vec!["reg.evil.example/base:1".into()];
    let told = run(
        &[built(b), dns(HOST, "reg.evil.example", EVIL, 0.5), connect(1, EVIL, 443, 1.0)],
        &Store::baseline(),
    );
    assert_eq!((told.of(REGISTRY).len(), told.of(NEW).len()), (1, 0));
}

#[test]
fn a_payload_under_v2_is_a_download_all_the_same() {
    let case = |target: &str, urls: &[&str]| {
        let told = run(
            &[
                built(build("x", CI, 0.0, 10.0, urls)),
                connect(1, EVIL, 80, 1.0),
                fetched(get(1, EVIL, 80, EVIL, target, 1.0)),
            ],
            &Store::baseline(),
        );
        (told.of(NEW).len(), told.of(REGISTRY).len())
    };
    assert_eq!(case("/v2/xmrig", &[]), (1, 0));
    let blob = "/v2/x/blobs/sha256:00";
    assert_eq!(case(blob, &[]), (0, 1));
    assert_eq!(case(blob, &[&format!("http://{EVIL}{blob}")]), (1, 0), "named as a download");
}

#[test]
fn a_registry_without_any_trigger_is_no_finding() {
    let mut observations = pull("203.0.113.100", 5000, "203.0.113.100:5000");
    observations.push(call(CI, Route::Ping, 0.0));
    assert!(run(&observations, &Store::baseline()).of_others().is_empty());
}
