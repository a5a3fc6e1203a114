//! The rules for builds and other makers of images.

mod common;

use common::*;
use tw_detect::{Environments, Policy};
use tw_model::*;

const NEW: Rule = Rule::BuildNewDestination;

#[test]
fn a_named_and_contacted_destination_is_observed_and_high() {
    let url = format!("http://{EVIL}/xmrig");
    let told = run(
        &[built(build("evil", CI, 0.0, 10.0, &[&url])), connect(1, EVIL, 80, 3.0)],
        &Store::baseline(),
    );
    let finding = told.one(NEW);
    assert_eq!(finding.verdict, Some(Verdict::Observed));
    assert_eq!(finding.severity, Severity::High);
    assert_eq!(finding.techniques, ["T1612"]);
    assert_eq!(finding.docker_host, ip(HOST));
    assert_eq!(finding.client.as_ref().unwrap().ip, ip(CI));
    assert_eq!(finding.timestamp, at(3.0));
    assert_eq!(finding.builds, [BuildId("build-evil".into())]);
    assert_eq!(finding.novelty.as_ref().unwrap().axes, [Axis::Address]);
    assert!(finding.caveats.is_empty());
    let destination = &told.builds[0].destinations[0];
    assert!(destination.named && !destination.known);
    assert_eq!((destination.bytes_in, destination.bytes_out), (1_000, 100));
}

#[test]
fn a_name_in_the_dockerfile_is_joined_through_the_dns_answer() {
    let told = run(
        &[
            built(build("evil", CI, 0.0, 10.0, &["https://update-cache.example/x"])),
            dns(HOST, "update-cache.example", EVIL, 2.9),
            connect(1, EVIL, 443, 3.0),
        ],
        &Store::baseline(),
    );
    let finding = told.one(NEW);
    assert_eq!(finding.verdict, Some(Verdict::Observed));
    let names = &finding.destination.as_ref().unwrap().names;
    let dns = DestinationName { name: "update-cache.example".into(), from: NameOrigin::Dns };
    assert_eq!(names[0], dns);
    assert!(names.iter().any(|n| n.from == NameOrigin::Dockerfile));
    assert_eq!(finding.novelty.as_ref().unwrap().axes, [Axis::Address, Axis::Name]);
}

#[test]
fn an_unnamed_destination_is_correlated_and_a_new_caller_raises_it() {
    let case = |client| {
        let told = run(
            &[built(build("x", client, 0.0, 10.0, &[])), connect(1, EVIL, 80, 3.0)],
            &Store::baseline(),
        );
        let finding = told.one(NEW).clone();
        assert_eq!(finding.verdict, Some(Verdict::Correlated));
        finding
    };
    assert_eq!(case(CI).severity, Severity::Medium);
    let raised = case(ATTACKER);
    assert_eq!(raised.severity, Severity::High);
    assert!(raised.novelty.unwrap().axes.contains(&Axis::Caller));
}

#[test]
fn a_known_destination_is_listed_in_the_build_and_is_no_finding() {
    let told = run(
        &[built(build("app", CI, 0.0, 10.0, &[])), connect(1, "192.0.2.80", 80, 3.0)],
        &Store::baseline(),
    );
    assert!(told.of(NEW).is_empty());
    assert!(told.builds[0].destinations[0].known);
}

#[test]
fn touched_by_another_host_five_minutes_ago_is_still_new_and_says_by_whom() {
    let mut store = Store::baseline();
    store.touched.push((format!("address {EVIL}"), at(-300.0), ip("10.10.20.12")));
    let told = run(&[built(build("x", CI, 0.0, 10.0, &[])), connect(1, EVIL, 80, 3.0)], &store);
    let novelty = told.one(NEW).novelty.clone().unwrap();
    assert_eq!(novelty.first_seen, Some(at(-300.0)));
    assert_eq!(novelty.first_seen_by, Some(ip("10.10.20.12")));
    assert_eq!(novelty.scope, Scope::Environment);
}

#[test]
fn known_elsewhere_is_one_step_down_for_a_known_builder_only() {
    let mut store = Store::baseline();
    store.elsewhere.insert(format!("address {EVIL}"));
    let url = format!("http://{EVIL}/x");
    let case = |client| {
        let told = run(
            &[built(build("x", client, 0.0, 10.0, &[&url])), connect(1, EVIL, 80, 3.0)],
            &store,
        );
        let finding = told.one(NEW).clone();
        assert_eq!(finding.novelty.as_ref().unwrap().scope, Scope::Host);
        finding.severity
    };
    assert_eq!(case(CI), Severity::Medium);
    assert_eq!(case(ATTACKER), Severity::High);
}

#[test]
fn without_a_baseline_the_finding_is_made_unraised_and_says_so() {
    let store = Store { no_baseline: true, ..Store::default() };
    let told =
        run(&[built(build("x", ATTACKER, 0.0, 10.0, &[])), connect(1, EVIL, 80, 3.0)], &store);
    let finding = told.one(NEW);
    assert_eq!(finding.severity, Severity::Medium);
    assert_eq!(finding.caveats, [Caveat::NoBaseline]);
    let novelty = finding.novelty.as_ref().unwrap();
    assert!(novelty.axes.is_empty() && !novelty.baseline);
}

#[test]
fn a_store_that_cannot_be_asked_is_said() {
    let store = Store { down: true, ..Store::default() };
    let told = run(&[built(build("x", CI, 0.0, 10.0, &[])), connect(1, EVIL, 80, 3.0)], &store);
    assert_eq!(told.one(NEW).caveats, [Caveat::StoreUnavailable]);
}

#[test]
fn a_known_name_lowers_to_low_but_not_by_sni_alone() {
    let store = Store::baseline().know(&[&format!("mapped mirror.example {EVIL}")]);
    let url = ["https://mirror.example/x"];
    let case = |store: &Store, client: &str, by: Observation| {
        let observations =
            [by, built(build("x", client, 0.0, 10.0, &url)), connect(1, EVIL, 443, 3.0)];
        run(&observations, store).one(NEW).severity
    };
    let answer = || dns(HOST, "mirror.example", EVIL, 2.0);
    assert_eq!(case(&store, CI, answer()), Severity::Low);
    assert_eq!(case(&store, ATTACKER, answer()), Severity::High, "no known builder");
    let never_mapped = Store::baseline();
    assert_eq!(case(&never_mapped, CI, answer()), Severity::High, "DNS never said so before");
    let sni = || hello(1, EVIL, "mirror.example", 3.1);
    assert_eq!(case(&never_mapped, CI, sni()), Severity::High, "the client's own word");
}

#[test]
fn a_new_path_on_a_known_multi_tenant_name_is_new() {
    let store = Store::baseline().know(&[
        "address 140.82.121.4",
        "name github.com",
        "tenant github.com/corp/app",
    ]);
    let case = |target| {
        let observations = [
            built(build("x", CI, 0.0, 10.0, &[])),
            connect(1, "140.82.121.4", 80, 3.0),
            fetched(get(1, "140.82.121.4", 80, "github.com", target, 3.1)),
        ];
        run(&observations, &store).of(NEW).len()
    };
    assert_eq!(case("/corp/app/releases/x.tgz"), 0);
    assert_eq!(case("/evil/miner/releases/x.tgz"), 1);
}

#[test]
fn a_new_name_on_a_known_address_is_new_by_its_name() {
    let observations = [
        built(build("x", CI, 0.0, 10.0, &[])),
        dns(HOST, "fresh.example", "192.0.2.80", 2.0),
        connect(1, "192.0.2.80", 443, 3.0),
    ];
    let told = run(&observations, &Store::baseline());
    assert_eq!(told.one(NEW).novelty.as_ref().unwrap().axes, [Axis::Name]);
    let by_other = [
        observations[0].clone(),
        dns("10.10.20.11", "fresh.example", "192.0.2.80", 2.0),
        observations[2].clone(),
    ];
    assert!(
        run(&by_other, &Store::baseline()).of(NEW).is_empty(),
        "another host's lookup says nothing of this one's"
    );
}

#[test]
fn dns_ntp_and_a_bare_syn_are_no_downloads_but_http_on_port_53_is() {
    let case = |change: fn(&mut Connection)| {
        let mut c = connection(1, HOST, EVIL, 80, 3.0);
        change(&mut c);
        let connection = observe(3.0, 1, ObservationBody::Connection(c));
        run(&[built(build("x", CI, 0.0, 10.0, &[])), connection], &Store::baseline()).of(NEW).len()
    };
    assert_eq!(case(|_| {}), 1);
    assert_eq!(case(|c| (c.responder.port, c.protocol) = (53, Protocol::UDP)), 0);
    assert_eq!(case(|c| (c.responder.port, c.protocol) = (123, Protocol::UDP)), 0);
    assert_eq!(case(|c| c.responder.port = 123), 1, "NTP is UDP");
    assert_eq!(case(|c| c.app = Some(AppProtocol::Dns)), 0);
    assert_eq!(case(|c| (c.responder.port, c.app) = (53, Some(AppProtocol::Http))), 1);
    assert_eq!(case(|c| c.protocol = Protocol::ICMP), 0);
    assert_eq!(case(|c| c.state = ConnectionState::Attempted), 0);
    assert_eq!(case(|c| (c.payload_bytes, c.first_payload) = ([0, 0], None)), 0);
    assert_eq!(case(|c| c.payload_bytes = [0, 9]), 1, "one direction is enough");
    assert_eq!(case(|c| c.responder.ip = ip("224.0.0.1")), 0);
}

#[test]
fn what_weakens_the_connection_is_said() {
    let mut c = connection(1, HOST, EVIL, 80, 3.0);
    c.midstream = true;
    c.gap_bytes = 1;
    c.packets = [0, 9];
    c.truncated = true;
    c.opener_known = Opener::ByPorts;
    let told = run(
        &[built(build("x", CI, 0.0, 10.0, &[])), observe(3.0, 1, ObservationBody::Connection(c))],
        &Store::baseline(),
    );
    let finding = told.one(NEW);
    let expected = [
        Caveat::Midstream,
        Caveat::Gaps,
        Caveat::OneDirection,
        Caveat::Truncated,
        Caveat::OpenerInferred,
    ];
    assert_eq!(finding.caveats, expected);
    assert_eq!(finding.severity, Severity::Low, "loss lowers one step");
    assert!(finding.summary.contains("bytes are missing"));
}

#[test]
fn connections_that_the_host_accepts_are_no_destinations() {
    let inbound = connection(1, ATTACKER, HOST, 2375, 0.0);
    let mut mistaken = connection(2, HOST, ATTACKER, 50_000, 0.0);
    mistaken.opener.port = 2375;
    mistaken.opener_known = Opener::ByPorts;
    let told = run(
        &[
            built(build("x", ATTACKER, 0.0, 10.0, &[])),
            observe(0.0, 1, ObservationBody::Connection(inbound)),
            observe(0.0, 2, ObservationBody::Connection(mistaken)),
        ],
        &Store::baseline(),
    );
    assert!(told.of(NEW).is_empty());
    let back = run(
        &[built(build("x", ATTACKER, 0.0, 10.0, &[])), connect(3, ATTACKER, 8080, 3.0)],
        &Store::baseline(),
    );
    assert_eq!(
        address(back.one(NEW)),
        Some(ip(ATTACKER)),
        "a connection to the caller is a destination"
    );
}

#[test]
fn named_but_not_contacted_is_said_at_low_without_an_address() {
    let urls = [
        format!("http://{EVIL}/a"),
        "http://203.0.113.114/b".to_owned(),
        "http://192.0.2.80/c".to_owned(),
    ];
    let urls: Vec<&str> = urls.iter().map(String::as_str).collect();
    let told = run(
        &[built(build("x", CI, 0.0, 10.0, &urls)), connect(1, EVIL, 80, 3.0)],
        &Store::baseline(),
    );
    assert_eq!(told.t1612(), [(HOST.to_owned(), EVIL.to_owned())]);
    let silent: Vec<_> = told.of(NEW).into_iter().filter(|f| address(f).is_none()).collect();
    assert_eq!(silent.len(), 1);
    assert_eq!(silent[0].severity, Severity::Low);
    assert_eq!(silent[0].destination.as_ref().unwrap().names[0].name, "203.0.113.114");
}

#[test]
fn a_name_is_not_called_uncontacted_where_contacts_have_no_names() {
    let told = run(
        &[
            built(build("x", CI, 0.0, 10.0, &["https://evil.example/x"])),
            connect(1, EVIL, 443, 3.0),
        ],
        &Store::baseline(),
    );
    assert_eq!(told.of(NEW).len(), 1);
    assert_eq!(told.one(NEW).verdict, Some(Verdict::Correlated));
}

#[test]
fn an_import_from_a_new_url_is_observed() {
    let mut import = creation("rootfs", CreationKind::Import, ATTACKER, 0.0, 1.0);
    import.source = Some(format!("http://{EVIL}/rootfs.tar"));
    let told = run(&[created(import), connect(1, EVIL, 80, 0.1)], &Store::baseline());
    assert_eq!(told.one(NEW).verdict, Some(Verdict::Observed));
    assert_eq!(told.creations[0].destinations.len(), 1);
}

#[test]
fn a_load_without_a_download_is_no_finding_about_a_destination() {
    let told = run(
        &[created(creation("tool", CreationKind::Load, ATTACKER, 0.0, 1.0))],
        &Store::baseline(),
    );
    assert!(told.t1612().is_empty());
    assert_eq!(told.of(Rule::ImageCreated).len(), 1);
}

#[test]
fn an_inferred_build_is_medium_low_under_sampling_and_ends_after_half_an_hour() {
    let inferred = |caveats: Vec<Caveat>| {
        let mut b = build("x", ATTACKER, 0.0, 7_200.0, &[]);
        b.frontend = Frontend::Inferred;
        b.caveats = caveats;
        b.tags.clear();
        built(b)
    };
    let told =
        run(&[inferred(vec![Caveat::TlsOpaque]), connect(1, EVIL, 80, 3.0)], &Store::baseline());
    let finding = told.one(NEW);
    assert_eq!((finding.verdict, finding.severity), (Some(Verdict::Inferred), Severity::Medium));
    let sampled =
        run(&[inferred(vec![Caveat::Sampled]), connect(1, EVIL, 80, 3.0)], &Store::baseline());
    assert_eq!(sampled.one(NEW).severity, Severity::Low);
    let late = run(&[inferred(vec![]), connect(1, EVIL, 80, 1_900.0)], &Store::baseline());
    assert!(late.of(NEW).is_empty());
}

#[test]
fn more_than_five_new_destinations_of_an_inferred_build_are_one_finding() {
    let mut b = build("x", ATTACKER, 0.0, 60.0, &[]);
    b.frontend = Frontend::Inferred;
    let mut observations = vec![built(b)];
    for i in 1..=6u64 {
        observations.push(connect(i, &format!("203.0.113.{i}"), 80, 3.0));
    }
    let told = run(&observations, &Store::baseline());
    assert!(told.one(NEW).summary.contains("203.0.113.6 port 80"));
    observations.pop();
    assert_eq!(run(&observations, &Store::baseline()).of(NEW).len(), 5);
}

#[test]
fn a_privileged_container_of_the_image_makes_it_critical() {
    let mut start = container(ContainerAction::Start, "nx", "evil:1", ATTACKER, 20.0);
    start.risks = vec![Risk::HostPathMount];
    let observations = [
        built(build("evil", ATTACKER, 0.0, 10.0, &[])),
        connect(1, EVIL, 80, 3.0),
        acted(start.clone()),
    ];
    let told = run(&observations, &Store::baseline());
    assert_eq!(told.one(NEW).severity, Severity::Critical);
    assert_eq!(told.one(NEW).techniques, ["T1612", "T1610"]);
    start.image = Some("alpine:3.18".into());
    let other = [observations[0].clone(), observations[1].clone(), acted(start)];
    assert_eq!(run(&other, &Store::baseline()).one(NEW).severity, Severity::High);
}

#[test]
fn repeats_update_one_finding_and_its_id_is_stable() {
    let first = [built(build("a", CI, 0.0, 10.0, &[])), connect(1, EVIL, 80, 3.0)];
    let mut both = first.to_vec();
    both.extend([built(build("b", CI, 100.0, 110.0, &[])), connect(2, EVIL, 80, 103.0)]);
    let (one, two) = (run(&first, &Store::baseline()), run(&both, &Store::baseline()));
    assert_eq!(one.one(NEW).id, two.one(NEW).id);
    assert_eq!(two.one(NEW).builds.len(), 2);
    assert!(two.one(NEW).id.starts_with("f-") && two.one(NEW).id.len() == 18);
}

#[test]
fn through_a_proxy_the_destination_is_the_authority_that_was_asked_for() {
    let case = |host: &str| {
        let mut x = get(1, "10.10.3.128", 3128, host, &format!("http://{host}/x"), 3.1);
        x.proxy = Some(ProxyKind::Absolute);
        let store = Store::baseline().know(&["address 10.10.3.128"]);
        let observations = [
            built(build("x", CI, 0.0, 10.0, &[])),
            connect(1, "10.10.3.128", 3128, 3.0),
            fetched(x),
        ];
        run(&observations, &store)
    };
    let told = case(EVIL);
    let destination = told.one(NEW).destination.clone().unwrap();
    assert_eq!(destination.ip, Some(ip(EVIL)));
    assert_eq!(destination.via_proxy.as_deref(), Some("10.10.3.128:3128"));
    assert_eq!(told.one(NEW).caveats, [Caveat::Proxied]);
    let named = case("evil.example");
    let finding = named.of(NEW)[0];
    assert_eq!(finding.destination.as_ref().unwrap().names[0].name, "evil.example");
    assert_eq!(finding.severity, Severity::Medium);
    assert!(case("mirror.example").of(NEW).is_empty());
}

#[test]
fn live_a_host_that_is_being_learned_stays_at_low_unless_the_caller_is_outside() {
    let store = Store { no_baseline: true, ..Store::default() };
    let policy = Policy {
        live: true,
        learning_period: std::time::Duration::from_secs(10_000_000),
        ..Policy::default()
    };
    let case = |client| {
        let observations = [built(build("x", client, 0.0, 10.0, &[])), connect(1, EVIL, 80, 3.0)];
        run_with(policy.clone(), Environments::default(), &observations, &store).one(NEW).severity
    };
    assert_eq!(case(CI), Severity::Low);
    assert_eq!(case(ATTACKER), Severity::Medium);
}

#[test]
fn wire_data_in_the_words_is_harmless() {
    let mut b = build("x", CI, 0.0, 10.0, &[]);
    b.tags = vec!["a\u{1b}[31m\u{202e}b\n".into()];
    let told = run(&[built(b), connect(1, EVIL, 80, 3.0)], &Store::baseline());
    let finding = told.one(NEW);
    for text in [&finding.title, &finding.summary] {
        assert!(!text.chars().any(|c| c.is_control() || c == '\u{202e}'), "{text:?}");
    }
    let lines = told.incidents.iter().flat_map(|i| &i.timeline);
    assert!(lines.into_iter().all(|e| !e.text.chars().any(char::is_control)));
}

#[test]
fn the_incident_tells_the_chain_in_order() {
    let mut start = container(ContainerAction::Start, "nx", "evil:1", ATTACKER, 20.0);
    start.risks = vec![Risk::Privileged];
    let observations = [
        call(ATTACKER, Route::Version, -5.0),
        built(build("evil", ATTACKER, 0.0, 10.0, &[&format!("http://{EVIL}/x")])),
        connect(1, EVIL, 80, 3.0),
        fetched(get(1, EVIL, 80, EVIL, "/x", 3.1)),
        acted(start),
        acted(container(ContainerAction::Exec, "nx", "evil:1", ATTACKER, 30.0)),
    ];
    let told = run(&observations, &Store::baseline());
    assert_eq!(told.incidents.len(), 1);
    let incident = &told.incidents[0];
    assert_eq!(incident.severity, Severity::Critical);
    assert_eq!(incident.clients, [ip(ATTACKER)]);
    assert_eq!(incident.techniques, ["T1133", "T1609", "T1610", "T1611", "T1612"]);
    assert!(told.findings.iter().all(|f| f.incident == incident.id));
    let words =
        ["called", "asked for", "received 1,000 bytes", "An image was made", "started", "executed"];
    assert_eq!(incident.timeline.len(), words.len(), "{:#?}", incident.timeline);
    for (entry, word) in incident.timeline.iter().zip(words) {
        assert!(entry.text.contains(word), "{entry:?} {word}");
    }
    assert!(incident.timeline[2].text.contains("SHA-256"));
    assert_eq!(incident.started, at(-5.0));
}
