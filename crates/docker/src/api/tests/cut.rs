//! Heads of which only the beginning was captured.

use tw_model::{Caveat, ContainerAction, ContainerEvent, CreationKind, Route};
use tw_proto::{BodyEnd, Extent, HttpEventKind, HttpVersion, RequestHead, ResponseHead};

use super::{Conn, DAEMON, Driver};

const ID: &str = "99fc2b032f52654a36d48d5c1d96a67ae2e2483";

impl Driver {
    /// A request of which the line was cut, and an answer of which the fields were.
    fn cut_call(&mut self, conn: Conn, exchange: u64, line: &str, status: u16) {
        let (method, target) = line.split_once(' ').expect("method and target");
        let (target, extent) = match target.strip_suffix(" HTTP") {
            Some(target) => (target, Extent::Fields),
            None => (target, Extent::Line),
        };
        let head = RequestHead {
            method: method.into(),
            target: target.into(),
            version: HttpVersion::Http11,
            authority: None,
            headers: Vec::new(),
            extent,
        };
        self.event(conn, exchange, HttpEventKind::RequestHead(&head));
        self.event(conn, exchange, HttpEventKind::RequestGap(100));
        self.event(conn, exchange, HttpEventKind::RequestEnd(BodyEnd::Cut));
        let head = ResponseHead {
            status,
            version: HttpVersion::Http11,
            headers: Vec::new(),
            extent: Extent::Fields,
        };
        self.event(conn, exchange, HttpEventKind::ResponseHead(&head));
        let end = if status == 204 { BodyEnd::Complete } else { BodyEnd::Cut };
        self.event(conn, exchange, HttpEventKind::ResponseEnd(end));
    }

    fn cut_containers(&mut self) -> Vec<ContainerEvent> {
        self.finish();
        self.containers()
    }
}

#[test]
fn a_build_whose_query_was_cut_keeps_whole_parameters_only() {
    let mut driver = Driver::new();
    let line = "POST /v1.41/build?dockerfile=D%2Fx&t=evil%3A1&remote=http%3A%2F%2F203.0.113.7%2";
    driver.cut_call(Conn::docker(1), 0, line, 200);
    driver.close(Conn::docker(1));
    let build = driver.build();
    assert_eq!(build.tags, ["evil:1"]);
    assert_eq!((build.remote.as_deref(), build.urls.len()), (None, 0));
    assert!(build.caveats.contains(&Caveat::Truncated), "{:?}", build.caveats);
}

#[test]
fn no_cut_of_a_request_line_tells_more_than_what_was_seen() {
    let line = "POST /v1.41/build?t=evil%3A1&remote=http%3A%2F%2F203.0.113.7%2Fctx";
    for at in "POST /".len()..line.len() {
        let mut driver = Driver::new();
        driver.cut_call(Conn::docker(1), 0, &line[..at], 200);
        driver.finish();
        let is_build = at >= "POST /v1.41/build?".len();
        assert_eq!(driver.builds().len(), usize::from(is_build), "cut at {at}");
        for build in driver.builds() {
            let has_tag = at > line.find('&').unwrap();
            assert_eq!(build.tags.len(), usize::from(has_tag), "cut at {at}");
            assert_eq!(build.remote, None, "cut at {at}");
        }
        assert!(driver.exchanges().iter().all(|exchange| exchange.cut && exchange.url.is_none()));
    }
}

#[test]
fn a_pull_is_told_from_an_import_by_what_was_seen_of_the_query() {
    for (query, route, imports) in [
        ("fromImage=10.10.2.2%3A5000%2Ftea", Route::ImagePull, 0),
        ("fromSrc=http%3A%2F%2F203.0.113.7%2Fr", Route::ImageImport, 1),
        ("changes=x&fro", Route::Other, 0),
    ] {
        let mut driver = Driver::new();
        driver.cut_call(Conn::docker(1), 0, &format!("POST /images/create?{query}"), 200);
        driver.finish();
        assert_eq!(driver.calls()[0].route, route, "{query}");
        let creations = driver.creations();
        assert_eq!(creations.len(), imports, "{query}");
        for creation in creations {
            assert_eq!((creation.kind, creation.source), (CreationKind::Import, None));
        }
    }
}

#[test]
fn calls_about_a_container_are_told_by_their_answers() {
    use ContainerAction::{Create, Exec, Start};
    let mut driver = Driver::new();
    let path = format!("POST /v1.41/containers/{ID}");
    driver.cut_call(Conn::docker(1), 0, "POST /v1.41/containers/create?name=job1 HTTP", 201);
    driver.cut_call(Conn::docker(1), 1, &path, 200);
    driver.cut_call(Conn::docker(2), 0, &path, 204);
    driver.cut_call(Conn::docker(3), 0, &path, 201);
    driver.cut_call(Conn::docker(4), 0, "POST /v1.41/exec/9eb96aa7c73c474fc6de", 101);
    driver.cut_call(Conn::docker(5), 0, &path, 204);
    let told: Vec<_> = driver
        .cut_containers()
        .into_iter()
        .map(|event| (event.action, event.name, event.container_id, event.image))
        .collect();
    let job = || Some("job1".to_owned());
    assert_eq!(
        told,
        [
            (Create, job(), None, None),
            (Start, job(), None, None),
            (Exec, job(), None, None),
            (Exec, None, None, None),
        ],
        "once it runs, 204 may be anything"
    );
}

#[test]
fn a_container_whose_creation_was_not_seen_is_not_taken_to_start() {
    let mut driver = Driver::new();
    driver.cut_call(Conn::docker(1), 0, &format!("POST /v1.41/containers/{ID}"), 204);
    assert!(driver.cut_containers().is_empty());
}

#[test]
fn removal_and_copy_are_certain_without_their_container() {
    let mut driver = Driver::new();
    driver.cut_call(Conn::docker(1), 0, &format!("PUT /v1.41/containers/{ID}"), 200);
    driver.cut_call(Conn::docker(1), 1, &format!("DELETE /v1.41/containers/{ID}"), 204);
    let told: Vec<_> = driver
        .cut_containers()
        .into_iter()
        .map(|event| (event.action, event.container_id))
        .collect();
    assert_eq!(told, [(ContainerAction::Copy, None), (ContainerAction::Remove, None)]);
}

#[test]
fn answers_alone_tell_a_commit_a_container_and_an_exec() {
    let mut driver = Driver::new();
    let id = "9eb96aa7c73c474fc6de5e6e490d0702774d147daa741737f39a97fa53b14235";
    for (flow, body) in [
        (1, format!("{{\"Id\":\"{id}\",\"Warnings\":[]}}")),
        (2, format!("{{\"Id\":\"{id}\"}}")),
        (3, format!("{{\"Id\":\"sha256:{id}\"}}")),
    ] {
        driver.answer(Conn::docker(flow), 0, 201, DAEMON, &body);
    }
    let creations = driver.creations();
    assert_eq!(creations.len(), 1);
    assert_eq!((creations[0].kind, creations[0].container.as_ref()), (CreationKind::Commit, None));
    assert!(creations[0].caveats.contains(&Caveat::OneDirection));
    let told: Vec<_> = driver
        .cut_containers()
        .into_iter()
        .map(|event| (event.action, event.container_id))
        .collect();
    let told_id = Some(id.to_owned());
    assert_eq!(told, [(ContainerAction::Create, told_id), (ContainerAction::Exec, None)]);
}

#[test]
fn a_whole_id_that_no_answer_gave_is_that_of_the_latest_creation() {
    let id = "9eb96aa7c73c474fc6de5e6e490d0702774d147daa741737f39a97fa53b14235";
    let mut driver = Driver::new();
    let json = [("content-type", "application/json")];
    let body = br#"{"Image":"alpine"}"#;
    driver.request(Conn::docker(1), 0, "POST /containers/create?name=job1", &json, body);
    let start = format!("POST /containers/{id}/start");
    driver.request(Conn::docker(2), 0, &start, &[], b"");
    let events = driver.cut_containers();
    assert_eq!(events[1].action, ContainerAction::Start);
    assert_eq!(events[1].name.as_deref(), Some("job1"));
    assert_eq!(events[1].image.as_deref(), Some("alpine"));
    assert_eq!(events[1].container_id.as_deref(), Some(id));
}
