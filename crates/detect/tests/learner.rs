//! Learn strictly: only what really happened.

mod common;

use common::*;
use tw_detect::{Environments, Fact, Key, Learner};
use tw_model::*;

/// Facts as text: `host key`.
fn learn(observations: &[Observation]) -> Vec<String> {
    let mut learner = Learner::new(Environments::default());
    let mut facts = Vec::new();
    for observation in observations {
        learner.push(observation, &mut |fact: Fact<'_>| {
            assert_eq!(fact.environment, "default");
            let key = match fact.key {
                Key::Address(ip) => format!("address {ip}"),
                Key::Name(name) => format!("name {name}"),
                Key::NameAddress(name, ip) => format!("mapped {name} {ip}"),
                Key::Caller { client, .. } => format!("caller {client}"),
                Key::Builder { client, .. } => format!("builder {client}"),
                Key::Registry(name) => format!("registry {name}"),
                Key::Repository(name) => format!("repository {name}"),
                Key::Digest(digest) => format!("digest {digest}"),
                Key::Tenant(tenant) => format!("tenant {tenant}"),
            };
            facts.push(format!("{} {key}", fact.host));
        });
    }
    facts
}

fn one(change: impl Fn(&mut Connection)) -> usize {
    let mut c = connection(1, HOST, EVIL, 80, 3.0);
    change(&mut c);
    learn(&[observe(3.0, 1, ObservationBody::Connection(c))]).len()
}

#[test]
fn a_conversation_opened_from_inside_is_learned_once() {
    let twice = [connect(1, EVIL, 80, 3.0), connect(1, EVIL, 80, 3.0)];
    assert_eq!(learn(&twice), [format!("{HOST} address {EVIL}")]);
}

#[test]
fn a_syn_a_scan_a_reset_and_midstream_teach_nothing() {
    assert_eq!(one(|_| {}), 1);
    assert_eq!(one(|c| (c.state, c.payload_bytes) = (ConnectionState::Attempted, [0, 0])), 0);
    assert_eq!(one(|c| c.state = ConnectionState::Refused), 0);
    assert_eq!(one(|c| c.payload_bytes = [10, 0]), 0);
    assert_eq!(one(|c| c.payload_bytes = [0, 10]), 0);
    assert_eq!(one(|c| c.midstream = true), 0);
    assert_eq!(one(|c| c.opener_known = Opener::ByProtocol), 0);
    let resolver = |app| one(|c| (c.responder.port, c.app) = (53, app));
    assert_eq!(resolver(Some(AppProtocol::Dns)), 0, "asking a resolver is no download");
    assert_eq!(resolver(None), 1, "what is no DNS is one on its port too");
    assert_eq!(one(|c| c.protocol = Protocol::UDP), 1);
}

#[test]
fn an_inbound_caller_never_becomes_a_destination() {
    let inbound = connection(1, ATTACKER, HOST, 2375, 0.0);
    assert!(learn(&[observe(0.0, 1, ObservationBody::Connection(inbound))]).is_empty());
    assert_eq!(one(|c| c.opener.ip = ip(ATTACKER)), 0);
}

#[test]
fn names_are_learned_when_the_address_is_contacted() {
    let asked = dns(HOST, "mirror.example", "192.0.2.80", 1.0);
    assert_eq!(
        learn(std::slice::from_ref(&asked)),
        [format!("{HOST} mapped mirror.example 192.0.2.80")]
    );
    let facts = learn(&[asked, connect(1, "192.0.2.80", 80, 2.0)]);
    assert_eq!(
        facts[1..],
        [format!("{HOST} address 192.0.2.80"), format!("{HOST} name mirror.example")]
    );
}

#[test]
fn the_name_of_a_tls_server_is_learned_in_either_order_and_only_with_the_conversation() {
    let sni = || hello(1, EVIL, "Mirror.Example", 3.0);
    assert!(learn(&[sni()]).is_empty());
    for order in [[sni(), connect(1, EVIL, 443, 3.0)], [connect(1, EVIL, 443, 3.0), sni()]] {
        assert!(learn(&order).contains(&format!("{HOST} name mirror.example")));
    }
}

#[test]
fn registries_repositories_and_digests_are_learned_from_answers() {
    let digest = format!("sha256:{}", "0".repeat(64));
    let target = format!("/v2/base/alpine/manifests/{digest}");
    let exchange = get(1, "10.10.3.50", 5000, "registry.corp.example:5000", &target, 3.0);
    let facts = learn(&[connect(1, "10.10.3.50", 5000, 3.0), fetched(exchange.clone())]);
    for expected in [
        "registry registry.corp.example:5000".to_owned(),
        "repository registry.corp.example:5000/base/alpine".to_owned(),
        format!("digest {digest}"),
        "name registry.corp.example".to_owned(),
    ] {
        assert!(facts.contains(&format!("{HOST} {expected}")), "{expected}: {facts:?}");
    }
    let refused = HttpExchange { status: Some(404), ..exchange };
    let facts = learn(&[connect(1, "10.10.3.50", 5000, 3.0), fetched(refused)]);
    assert!(!facts.iter().any(|f| f.contains("registry registry")));
}

#[test]
fn tenants_of_shared_names_are_learned() {
    let exchange = get(1, "192.0.2.9", 80, "github.com", "/corp/app/x.tgz", 3.0);
    let facts = learn(&[connect(1, "192.0.2.9", 80, 3.0), fetched(exchange)]);
    assert!(facts.contains(&format!("{HOST} tenant github.com/corp/app")));
}

#[test]
fn callers_are_learned_from_answered_calls_and_builders_from_images_made() {
    let mut refused = call(CI, Route::Version, 0.0);
    if let ObservationBody::ApiCall(c) = &mut refused.body {
        c.status = Some(403);
    }
    assert!(learn(&[refused]).is_empty());
    assert_eq!(learn(&[call(CI, Route::Version, 0.0)]), [format!("{HOST} caller {CI}")]);
    let facts = learn(&[built(build("x", CI, 0.0, 1.0, &[]))]);
    assert_eq!(facts, [format!("{HOST} caller {CI}"), format!("{HOST} builder {CI}")]);
    let mut failed = build("x", CI, 0.0, 1.0, &[]);
    failed.outcome = Outcome::Failed;
    assert!(learn(&[built(failed)]).is_empty());
}

#[test]
fn a_docker_host_outside_every_network_is_watched_once_its_api_answered() {
    let mut answered = call(CI, Route::Version, 0.0);
    if let ObservationBody::ApiCall(c) = &mut answered.body {
        c.daemon = endpoint("203.0.113.5", 2375);
    }
    let out = connection(1, "203.0.113.5", EVIL, 80, 3.0);
    let facts = learn(&[answered, observe(3.0, 1, ObservationBody::Connection(out))]);
    assert_eq!(facts[1], format!("203.0.113.5 address {EVIL}"));
}

#[test]
fn a_name_that_another_host_asked_for_is_not_this_host_s_unless_it_is_the_resolver() {
    let by_office = dns("10.10.20.11", "intranet.example", "192.0.2.80", 1.0);
    let facts = learn(&[by_office, connect(1, "192.0.2.80", 80, 2.0)]);
    assert!(!facts.iter().any(|f| f.contains("name intranet")));
    let to_resolver = dns(HOST, "unrelated.example", "192.0.2.81", 0.5);
    let by_resolver = dns("10.10.4.53", "mirror.example", "192.0.2.80", 1.0);
    let facts = learn(&[to_resolver, by_resolver, connect(1, "192.0.2.80", 80, 2.0)]);
    assert!(facts.contains(&format!("{HOST} name mirror.example")));
}

#[test]
fn an_inferred_build_makes_no_builder() {
    let mut b = build("x", CI, 0.0, 1.0, &[]);
    b.frontend = Frontend::Inferred;
    assert!(learn(&[built(b)]).is_empty());
}
