//! Pulls and pushes, between host and registry and as a Docker API tells of them.

use sha2::{Digest, Sha256};
use tw_model::{ObservationBody, RegistryAction, RegistryVerb, RegistryVia, Route};
use tw_proto::{BodyEnd, Extent, HttpEventKind, HttpVersion, RequestHead};

use super::{Conn, DAEMON, Driver, headers};
use crate::Limits;

const HOST: &str = "10.10.1.5";
const REGISTRY: &str = "203.0.113.100:5000";
const DOCKER: &str = "docker/20.10.24 go/go1.19.8 UpstreamClient(Docker-Client/28.2.2)";
const V2: (&str, &str) = ("docker-distribution-api-version", "registry/2.0");
const IMAGE: (&str, &str) = ("content-type", "application/vnd.oci.image.manifest.v1+json");

fn digest(fill: char) -> String {
    format!("sha256:{}", fill.to_string().repeat(64))
}

fn hash(text: &str) -> String {
    let hex: String = Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// An image of a base layer (`a`) and one on top (`b`), configured by `c`.
fn manifest() -> String {
    format!(
        r#"{{"schemaVersion":2,"config":{{"digest":"{}","size":9}},"layers":[
        {{"digest":"{}","size":1000}},{{"digest":"{}","size":50}}]}}"#,
        digest('c'),
        digest('a'),
        digest('b')
    )
}

impl Driver {
    /// One exchange with the registry on a connection of its own; without an answer where `status`
    /// is 0.
    fn registry(
        &mut self,
        flow: u64,
        agent: &str,
        line: &str,
        sent: &str,
        (status, fields, body): (u16, &[(&str, &str)], &str),
    ) {
        let conn = Conn::new(flow, &format!("{HOST}:{}", 40_000 + flow), REGISTRY);
        let (method, target) = line.split_once(' ').expect("method and target");
        let head = RequestHead {
            method: method.into(),
            target: target.into(),
            version: HttpVersion::Http11,
            authority: Some("Reg.Example:5000".into()),
            headers: headers(&[("user-agent", agent), ("authorization", "Bearer hunter2")]),
            extent: Extent::Whole,
        };
        self.event(conn, 0, HttpEventKind::RequestHead(&head));
        if !sent.is_empty() {
            self.event(conn, 0, HttpEventKind::RequestBody(sent.as_bytes()));
        }
        self.event(conn, 0, HttpEventKind::RequestEnd(BodyEnd::Complete));
        if status != 0 {
            self.answer(conn, 0, status, fields, body);
        }
        self.close(conn);
    }

    fn pulls_of(&mut self, flow: u64, path: &str, answer: (u16, &[(&str, &str)], &str)) {
        self.registry(flow, DOCKER, &format!("GET /v2/k8s/pause/{path}"), "", answer);
    }

    fn actions(&self) -> Vec<RegistryAction> {
        let pick = |body: &ObservationBody| match body {
            ObservationBody::Registry(action) => Some((**action).clone()),
            _ => None,
        };
        self.last(pick, |action| action.id.clone())
    }

    fn action(&self) -> RegistryAction {
        let mut actions = self.actions();
        assert_eq!(actions.len(), 1, "{actions:#?}");
        actions.remove(0)
    }
}

fn moved(action: &RegistryAction) -> Vec<(char, Option<u64>, bool)> {
    let letter = |digest: &str| digest.chars().last().unwrap_or(' ');
    action.layers.iter().map(|l| (letter(&l.digest), l.bytes, l.transferred)).collect()
}

#[test]
fn a_pull_over_many_connections_is_one_action() {
    let mut driver = Driver::new();
    let (text, top) = (manifest(), hash(&manifest()));
    let named = [V2, IMAGE, ("docker-content-digest", top.as_str())];
    driver.registry(1, DOCKER, "HEAD /v2/k8s/pause/manifests/3.9", "", (200, &named, ""));
    assert!(driver.actions().is_empty(), "a name that is resolved is no pull");
    driver.pulls_of(2, &format!("manifests/{top}"), (200, &named, &text));
    driver.pulls_of(3, &format!("blobs/{}", digest('c')), (200, &[V2], "{config}"));
    driver.pulls_of(4, &format!("blobs/{}", digest('b')), (200, &[V2], &"x".repeat(50)));
    let action = driver.action();
    assert_eq!((action.action, action.via), (RegistryVerb::Pull, RegistryVia::Registry));
    assert_eq!(
        (action.registry.as_str(), action.repository.as_str()),
        ("reg.example:5000", "k8s/pause")
    );
    assert_eq!(action.registry_ip.map(|ip| ip.to_string()).as_deref(), Some("203.0.113.100"));
    assert_eq!(action.docker_host.to_string(), HOST);
    assert_eq!(action.reference.as_deref(), Some("3.9"));
    assert_eq!(action.manifest_digest, Some(top));
    assert_eq!(action.config_digest, Some(digest('c')));
    assert_eq!(moved(&action), [('a', Some(1000), false), ('b', Some(50), true)]);
    assert_eq!(action.bytes, u64::try_from(text.len()).expect("small") + 8 + 50);
    assert_eq!((action.tls, action.confirmed, action.client), (Some(false), true, None));
    assert_eq!(action.flows.len(), 4);
    assert!(!format!("{:?}", driver.seen).contains("hunter2"));
}

#[test]
fn of_a_list_the_platform_that_is_fetched_counts_and_attestations_do_not() {
    let mut driver = Driver::new();
    let (text, chosen) = (manifest(), hash(&manifest()));
    let attestation = text.replace(&digest('c'), &digest('d'));
    let list = format!(
        r#"{{"schemaVersion":2,"manifests":[
        {{"digest":"{chosen}","platform":{{"os":"linux","architecture":"amd64"}}}},
        {{"digest":"{}","platform":{{"os":"unknown","architecture":"unknown"}}}}]}}"#,
        hash(&attestation)
    );
    driver.pulls_of(1, "manifests/3.9", (200, &[V2], &list));
    driver.pulls_of(2, &format!("manifests/{chosen}"), (200, &[V2, IMAGE], &text));
    driver.pulls_of(3, &format!("manifests/{}", hash(&attestation)), (200, &[V2], &attestation));
    let action = driver.action();
    assert_eq!(action.index_digest, Some(hash(&list)));
    assert_eq!(action.manifest_digest, Some(chosen));
    assert_eq!(action.platform.as_deref(), Some("linux/amd64"));
    assert_eq!(action.config_digest, Some(digest('c')));
}

#[test]
fn any_cut_of_a_manifest_gives_the_same_action() {
    let text = manifest();
    let conn = Conn::new(9, &format!("{HOST}:40009"), REGISTRY);
    let run = |cut: usize| {
        let mut driver = Driver::new();
        driver.request(conn, 0, "GET /v2/a/manifests/1", &[], b"");
        driver.answer_head(conn, 0, 200, &[V2]);
        let (first, second) = text.split_at(cut);
        driver.answer_body(conn, 0, first);
        driver.answer_body(conn, 0, second);
        driver.event(conn, 0, HttpEventKind::ResponseEnd(BodyEnd::Complete));
        let mut action = driver.action();
        action.ended = action.started;
        action
    };
    let whole = run(0);
    assert_eq!(whole.layers.len(), 2);
    for cut in 1..text.len() {
        assert_eq!(run(cut), whole, "{cut}");
    }
}

#[test]
fn a_push_is_named_by_the_manifest_that_comes_last() {
    let mut driver = Driver::new();
    let text = manifest();
    let put = |digest: &str| format!("PUT /v2/team/app/blobs/uploads/u1?_state=s&digest={digest}");
    let upload = "/v2/team/app/blobs/uploads/";
    driver.registry(1, DOCKER, &format!("POST {upload}"), "", (202, &[V2], ""));
    driver.registry(2, DOCKER, &format!("PATCH {upload}u1?_state=s"), "12345", (202, &[V2], ""));
    driver.registry(3, DOCKER, &put(&digest('b')), "", (201, &[V2], ""));
    driver.registry(4, DOCKER, &put(&digest('c')), "{}", (201, &[V2], ""));
    assert!(driver.actions().is_empty(), "content alone is no image yet");
    driver.registry(5, DOCKER, "PUT /v2/team/app/manifests/latest", &text, (201, &[V2], ""));
    let action = driver.action();
    assert_eq!((action.action, action.reference.as_deref()), (RegistryVerb::Push, Some("latest")));
    assert_eq!(action.manifest_digest, Some(hash(&text)), "by its content: no header says it");
    assert_eq!(moved(&action), [('a', Some(1000), false), ('b', Some(50), true)]);
    assert_eq!(action.bytes, 7 + u64::try_from(text.len()).expect("small"));
    assert!(!format!("{:?}", driver.seen).contains("_state=s"));
    driver.finish();
    assert_eq!(driver.actions().len(), 1);
}

#[test]
fn a_push_without_a_manifest_is_told_at_the_end_without_a_name() {
    let mut driver = Driver::new();
    let line = format!("PUT /v2/team/app/blobs/uploads/u1?digest={}", digest('b'));
    driver.registry(1, DOCKER, &line, "12345", (201, &[V2], ""));
    driver.finish();
    let action = driver.action();
    assert_eq!((action.action, action.reference, action.bytes), (RegistryVerb::Push, None, 5));
}

#[test]
fn what_a_registry_refuses_or_no_registry_answers_is_no_action() {
    let mut driver = Driver::new();
    let text = manifest();
    driver.pulls_of(1, "manifests/3.9", (404, &[V2], "{}"));
    driver.pulls_of(2, "manifests/3.9", (401, &[V2], &text));
    let blob = format!("GET /v2/x/blobs/{}", digest('e'));
    driver.registry(3, "Wget", &blob, "", (200, &[("server", "nginx")], "\u{7f}ELF"));
    driver.registry(4, "Wget", "GET /v2/x/manifests/1", "", (200, &[], "#!/bin/sh"));
    driver.registry(5, "Wget", "GET /v2/x/manifests/1", "", (0, &[], ""));
    driver.registry(6, DOCKER, "DELETE /v2/x/manifests/1", "", (202, &[V2], ""));
    driver.finish();
    assert!(driver.actions().is_empty(), "{:#?}", driver.actions());
}

#[test]
fn requests_alone_count_where_a_registry_s_client_sent_them() {
    let mut driver = Driver::new();
    driver.pulls_of(1, "manifests/3.9", (0, &[], ""));
    driver.pulls_of(2, &format!("blobs/{}", digest('a')), (0, &[], ""));
    driver.finish();
    let action = driver.action();
    assert_eq!((action.reference.as_deref(), action.confirmed), (Some("3.9"), false));
    assert_eq!(moved(&action), [('a', None, true)]);
}

#[test]
fn another_digest_or_a_long_rest_is_another_pull() {
    let mut driver = Driver::new();
    let text = manifest();
    driver.pulls_of(1, "manifests/3.9", (200, &[V2], &text));
    driver.pulls_of(2, "manifests/3.9", (200, &[V2], &text));
    assert_eq!(driver.actions().len(), 1);
    driver.pulls_of(3, "manifests/3.9", (200, &[V2], &text.replace("1000", "1001")));
    assert_eq!(driver.actions().len(), 2);
    driver.frame += 700_000;
    driver.pulls_of(4, "manifests/3.9", (200, &[V2], &text));
    assert_eq!(driver.actions().len(), 3);
}

#[test]
fn every_table_is_bounded_and_says_so() {
    let limits = Limits { repositories: 2, open_manifests: 0, ..Limits::default() };
    let mut driver = Driver::with(limits);
    for flow in 1..=5 {
        let line = format!("GET /v2/r{flow}/manifests/1");
        driver.registry(flow, DOCKER, &line, "", (200, &[V2], &manifest()));
    }
    for flow in 10..30 {
        let line = format!("GET /v2/r/manifests/{flow}");
        driver.registry(flow, DOCKER, &line, "", (200, &[V2], "{}"));
    }
    driver.finish();
    let counters = driver.api.counters();
    assert_eq!(counters.repositories_evicted, 4 + 4);
    assert_eq!(counters.manifests_unread, 25);
    assert_eq!(driver.actions().len(), 25, "told all the same");
    assert!(driver.actions().iter().all(|a| a.layers.is_empty()));
}

#[test]
fn random_requests_never_panic() {
    let mut seed = 0x9e37_79b9_7f4a_7c15u64;
    let mut next = |below: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        usize::try_from(seed % u64::try_from(below).expect("small")).expect("small")
    };
    let methods = ["GET", "HEAD", "PUT", "POST", "PATCH"];
    let (text, digests) = (manifest(), [digest('a'), digest('b'), digest('c'), hash(&manifest())]);
    let mut driver = Driver::with(Limits { repositories: 3, ..Limits::default() });
    for flow in 0..3_000 {
        let digest = &digests[next(4)];
        let path = match next(5) {
            0 => format!("manifests/{}", next(3)),
            1 => format!("manifests/{digest}"),
            2 => format!("blobs/{digest}"),
            3 => format!("blobs/uploads/{}?digest={digest}", next(4)),
            _ => format!("blobs/uploads/?mount={digest}"),
        };
        let line = format!("{} /v2/r{}/{path}", methods[next(5)], next(6));
        let body = text.get(..next(text.len())).unwrap_or("");
        let status = [0, 200, 201, 202, 307, 404][next(6)];
        driver.registry(flow, DOCKER, &line, body, (status, &[V2], body));
    }
    driver.finish();
    assert!(driver.actions().iter().all(|a| a.layers.len() <= 8), "no more than there are digests");
}

#[test]
fn a_pull_that_was_asked_of_the_api_is_told_from_its_answer() {
    let mut driver = Driver::new();
    let line = "POST /v1.41/images/create?fromImage=alpine&tag=3.18";
    let answer = format!(
        "{{\"status\":\"Pulling from library/alpine\",\"id\":\"3.18\"}}\r\n\
         {{\"status\":\"Digest: {}\"}}\r\n\
         {{\"status\":\"Status: Downloaded newer image for alpine:3.18\"}}\r\n",
        digest('a')
    );
    driver.call(Conn::docker(1), 0, line, "", 200, &answer);
    let action = driver.action();
    assert_eq!((action.via, action.action), (RegistryVia::Api, RegistryVerb::Pull));
    assert_eq!(
        (action.registry.as_str(), action.repository.as_str()),
        ("docker.io:443", "library/alpine")
    );
    assert_eq!(action.reference.as_deref(), Some("3.18"));
    assert_eq!(action.manifest_digest, Some(digest('a')));
    assert_eq!(action.client.map(|ip| ip.to_string()).as_deref(), Some("198.51.100.23"));
    assert_eq!((action.tls, action.confirmed, action.failed), (None, true, false));
    assert_eq!(action.docker_host.to_string(), HOST);
}

#[test]
fn a_push_and_its_failure() {
    let mut driver = Driver::new();
    let line = "POST /v1.41/images/reg.example:5000/team/app/push?tag=1";
    let answer = format!(
        "{{\"status\":\"The push refers to repository [reg.example:5000/team/app]\"}}\r\n\
         {{\"progressDetail\":{{}},\"aux\":{{\"Tag\":\"1\",\"Digest\":\"{}\",\"Size\":739}}}}\r\n",
        digest('b')
    );
    driver.call(Conn::docker(1), 0, line, "", 200, &answer);
    let refused = "{\"errorDetail\":{\"message\":\"denied\"},\"error\":\"denied\"}\r\n";
    driver.call(Conn::docker(2), 0, line, "", 200, refused);
    let actions = driver.actions();
    assert_eq!(actions[0].action, RegistryVerb::Push);
    assert_eq!(actions[0].manifest_digest, Some(digest('b')));
    assert_eq!(
        (actions[0].registry.as_str(), actions[0].repository.as_str()),
        ("reg.example:5000", "team/app")
    );
    assert!(actions[0].confirmed && !actions[0].failed);
    assert!(!actions[1].confirmed && actions[1].failed);
}

#[test]
fn an_answer_alone_shows_what_was_pulled() {
    let mut driver = Driver::new();
    let conn = Conn::docker(1);
    let answer = format!(
        "{{\"status\":\"Digest: {}\"}}\r\n\
         {{\"status\":\"Status: Image is up to date for reg.example:5000/x:1\"}}\r\n",
        digest('a')
    );
    driver.answer(conn, 0, 200, DAEMON, &answer);
    driver.close(conn);
    let action = driver.action();
    assert_eq!((action.registry.as_str(), action.repository.as_str()), ("reg.example:5000", "x"));
    assert_eq!(
        (action.reference.as_deref(), action.manifest_digest),
        (Some("1"), Some(digest('a')))
    );
    assert_eq!(driver.calls()[0].route, Route::ImagePull);
    assert!(driver.creations().is_empty() && driver.builds().is_empty());
}
