//! The audit by itself: what is told twice, limits, and honesty.

mod common;

use common::*;
use tw_detect::audit::*;
use tw_detect::*;
use tw_model::*;

fn taken(observations: &[Observation], limits: AuditLimits) -> Inventory {
    let ports = Policy::default().docker_ports;
    let mut audit = Audit::new(Environments::default(), ports, limits);
    observations.iter().for_each(|observation| audit.push(observation));
    audit.finish()
}

fn asked(client: &str, index: u64, status: Option<u16>) -> Observation {
    let mut observation = call(client, Route::Info, 1.0);
    if let ObservationBody::ApiCall(call) = &mut observation.body {
        call.id.index = index;
        call.status = status;
        call.complete = status.is_some();
    }
    observation
}

fn opened(id: u64, from: &str, port: u16, state: ConnectionState) -> Observation {
    let mut c = connection(id, from, HOST, port, 1.0);
    c.state = state;
    observe(1.0, id, ObservationBody::Connection(c))
}

fn handshake(
    id: u64,
    version: Option<&str>,
    certificate: Option<ClientCertificate>,
) -> Vec<Observation> {
    let (client, server) = (endpoint(CI, 40_000), endpoint(HOST, 2376));
    let hello = TlsHello {
        flow: FlowId(id),
        client,
        server,
        sni: None,
        alpn: Vec::new(),
        ja4: Some("t13".into()),
        version: version.map(str::to_owned),
        quic: false,
    };
    let auth = certificate.map(|certificate| {
        let tag = NetworkTag::default();
        let auth = ClientAuth { flow: FlowId(id), client, server, tag, certificate };
        observe(1.1, id, ObservationBody::ClientAuth(auth))
    });
    let mut all = vec![observe(1.0, id, ObservationBody::Tls(hello))];
    all.extend(auth);
    all
}

#[test]
fn a_call_counts_once_however_often_it_is_told() {
    let (early, late) = (asked(CI, 0, None), asked(CI, 0, Some(200)));
    for limits in [AuditLimits::default(), AuditLimits { open: 1, ..AuditLimits::default() }] {
        let inventory =
            taken(&[early.clone(), late.clone(), late.clone(), asked(CI, 1, Some(403))], limits);
        let [daemon] = &inventory.daemons[..] else { panic!("{inventory:#?}") };
        let tally = daemon.operations.0[&Operation::Read];
        assert_eq!((tally.calls, tally.answered, tally.refused), (2, 1, 1), "{limits:?}");
        assert_eq!(daemon.callers[0].network.as_deref(), Some("10.0.0.0/8"));
        assert_eq!(daemon.transport.open_calls, 1);
    }
}

#[test]
fn handshakes_are_counted_by_what_they_show() {
    use ClientCertificate::{Given, NotAsked, Withheld};
    let observations: Vec<Observation> = [
        handshake(1, Some("TLS 1.2"), Some(Given)),
        handshake(2, Some("TLS 1.2"), Some(NotAsked)),
        handshake(3, Some("TLS 1.2"), Some(Withheld)),
        handshake(4, Some("TLS 1.3"), None),
        handshake(5, None, None),
    ]
    .concat();
    let inventory = taken(&observations, AuditLimits::default());
    let [daemon] = &inventory.daemons[..] else { panic!("{inventory:#?}") };
    assert_eq!(daemon.known_by, KnownBy::TlsPort);
    let seen = Certificates { given: 1, withheld: 1, asked: 0, not_asked: 1, unknown: 1 };
    assert_eq!(daemon.client_certificates, seen, "no server answered the fifth");
    let access = &daemon.mitigations[0];
    assert!(access.against.iter().any(|text| text.contains("no client certificate: 1 handshake")));
    assert!(access.unseen.iter().any(|text| text.contains("1 handshake")), "{access:#?}");
    assert!(taken(&handshake(5, None, None), AuditLimits::default()).daemons.is_empty());
}

#[test]
fn attempts_make_no_daemon_and_are_told_with_one() {
    let attempts = [
        opened(1, ATTACKER, 2375, ConnectionState::Attempted),
        opened(2, ATTACKER, 2375, ConnectionState::Refused),
        opened(3, "198.51.100.9", 2375, ConnectionState::Refused),
        opened(4, "198.51.100.9", 22, ConnectionState::Refused),
    ];
    assert!(taken(&attempts, AuditLimits::default()).daemons.is_empty());
    let with = [&attempts[..], &[asked(CI, 0, Some(200))]].concat();
    let inventory = taken(&with, AuditLimits::default());
    assert_eq!(inventory.daemons[0].attempts, Attempts { count: 3, addresses: 2 });
}

#[test]
fn what_goes_beyond_a_limit_is_counted() {
    let limits = AuditLimits {
        daemons: 1,
        callers_per_daemon: 2,
        images: 1,
        containers: 1,
        ..AuditLimits::default()
    };
    let mut audit = Audit::new(Environments::default(), vec![2375, 4243], limits);
    for i in 1..=5u64 {
        audit.push(&asked(&format!("10.10.2.{i}"), i, Some(200)));
        let mut other = asked(CI, 100 + i, Some(200));
        if let ObservationBody::ApiCall(call) = &mut other.body {
            call.daemon = endpoint("10.10.7.7", 4243);
        }
        audit.push(&other);
        let event = container(ContainerAction::Create, &format!("c{i}"), &format!("i{i}"), CI, 1.0);
        audit.judged(&Judgement::Container {
            environment: "default".into(),
            event: Box::new(event),
            evidence: Vec::new(),
        });
    }
    let inventory = audit.finish();
    let lost = inventory.counters;
    assert_eq!((inventory.daemons.len(), lost.daemons_lost), (1, 5));
    assert_eq!(
        (inventory.daemons[0].callers.len(), inventory.daemons[0].callers_not_listed),
        (2, 3)
    );
    assert_eq!(inventory.daemons[0].operations.calls(), 5, "the daemon's count is whole");
    assert_eq!((inventory.images.len(), lost.images_lost), (1, 4));
    assert_eq!((inventory.containers.len(), lost.containers_lost), (1, 4));
}

fn judged(build: Build) -> Judgement {
    let environment = "default".into();
    Judgement::Build { environment, build: Box::new(build), evidence: Vec::new() }
}

#[test]
fn what_was_made_is_told_from_what_was_asked_for_and_what_looks_like_it() {
    let made = build("made", CI, 0.0, 9.0, &[]);
    let mut silent = build("silent", CI, 0.0, 9.0, &[]);
    silent.outcome = Outcome::Unknown;
    let mut failed = build("failed", CI, 0.0, 9.0, &[]);
    failed.outcome = Outcome::Failed;
    let mut opaque = build("opaque", CI, 0.0, 9.0, &[]);
    opaque.frontend = Frontend::Inferred;
    let mut audit = Audit::new(Environments::default(), vec![2375], AuditLimits::default());
    audit.push(&asked(CI, 0, Some(200)));
    for build in [made, silent, failed, opaque] {
        audit.judged(&judged(build));
    }
    let inventory = audit.finish();
    let told = &inventory.daemons[0].mitigations[2];
    assert_eq!(told.id, "M1047");
    let against = told.against.join("\n");
    assert!(
        against.contains("made:1") && !against.contains("silent") && !against.contains("failed")
    );
    let unseen = told.unseen.join("\n");
    assert!(unseen.contains("silent:1") && unseen.contains("looks like a build"), "{unseen}");
}

#[test]
fn a_name_that_is_used_again_is_another_container() {
    let act = |action, start| {
        let mut event = container(action, "web", "alpine", CI, start);
        event.risks = if start < 10.0 { vec![Risk::Privileged] } else { Vec::new() };
        Judgement::Container {
            environment: "default".into(),
            event: Box::new(event),
            evidence: Vec::new(),
        }
    };
    let mut audit = Audit::new(Environments::default(), vec![2375], AuditLimits::default());
    for (action, start) in [
        (ContainerAction::Create, 1.0),
        (ContainerAction::Start, 2.0),
        (ContainerAction::Remove, 3.0),
        (ContainerAction::Create, 11.0),
        (ContainerAction::Exec, 12.0),
    ] {
        audit.judged(&act(action, start));
    }
    let containers = audit.finish().containers;
    let told: Vec<_> =
        containers.iter().map(|one| (one.risks.len(), one.started, one.execs)).collect();
    assert_eq!(told, [(1, true, 0), (0, false, 1)]);
}
