use tw_model::{Caveat, CreationKind, Outcome, Route};

use super::{Conn, DAEMON, Driver};

const DIGEST: &str = "sha256:dc36c70bb7b114e113973df8b8e63a2d4b023bad384e11459e523a0729ef7d7f";

#[test]
fn import_with_an_unescaped_url() {
    let mut driver = Driver::new();
    let line =
        "POST /v1.41/images/create?fromSrc=http://u:pw@203.0.113.102/rootfs.tar&repo=debian-slim";
    let answer = format!(
        "{{\"status\":\"Downloading from http://203.0.113.102/rootfs.tar\"}}\r\n\
         {{\"status\":\"Importing\",\"progress\":\"[=>  ]\"}}\r\n{{\"status\":\"{DIGEST}\"}}\r\n"
    );
    driver.call(Conn::docker(1), 0, line, "", 200, &answer);
    let creation = driver.creations().remove(0);
    assert_eq!(creation.kind, CreationKind::Import);
    let source = creation.source.expect("a source");
    assert!(source.starts_with("http://<redacted:"), "{source}");
    assert!(source.ends_with("@203.0.113.102/rootfs.tar"), "{source}");
    assert_eq!(creation.tags, ["debian-slim:latest"]);
    assert_eq!(creation.image_id.as_deref(), Some(DIGEST));
    assert_eq!((creation.outcome, creation.end_seen), (Outcome::Succeeded, true));
    assert!(creation.caveats.is_empty());
}

#[test]
fn import_without_a_name_and_podmans_import() {
    let mut driver = Driver::new();
    let line = "POST /images/create?fromSrc=http%3A%2F%2F203.0.113.102%2Fa.tar";
    let answer = format!("{{\"status\":\"{DIGEST}\"}}");
    driver.call(Conn::docker(1), 0, line, "", 200, &answer);
    assert!(driver.creations()[0].tags.is_empty());
    let line = "POST /v4.0.0/libpod/images/import?url=http://203.0.113.102/b.tar&reference=x:1";
    driver.call(Conn::docker(1), 1, line, "", 200, &format!("{{\"Id\":\"{}\"}}", &DIGEST[7..]));
    let creation = driver.creations().remove(1);
    assert_eq!(creation.source.as_deref(), Some("http://203.0.113.102/b.tar"));
    assert_eq!(creation.tags, ["x:1"]);
    assert_eq!(creation.image_id.as_deref(), Some(DIGEST));
}

#[test]
fn commit() {
    let mut driver = Driver::new();
    let line = "POST /v1.41/commit?container=web&repo=docker.io/library/app&tag=v2&author=x";
    driver.call(Conn::docker(1), 0, line, "{}", 201, &format!("{{\"Id\":\"{DIGEST}\"}}\n"));
    let creation = driver.creations().remove(0);
    assert_eq!(creation.kind, CreationKind::Commit);
    assert_eq!(creation.container.as_deref(), Some("web"));
    assert_eq!(creation.tags, ["docker.io/library/app:v2"]);
    assert_eq!(creation.image_id.as_deref(), Some(DIGEST));
    assert_eq!(creation.outcome, Outcome::Succeeded);
}

#[test]
fn load() {
    for answer in [
        "{\"stream\":\"Loaded image: app:1\\n\"}\r\n",
        "{\"Names\":[\"app:1\"]}",
        "{\"stream\":\"Loaded image(s): app:1\"}",
    ] {
        let mut driver = Driver::new();
        driver.call(Conn::docker(1), 0, "POST /images/load?quiet=1", "tar", 200, answer);
        let creation = driver.creations().remove(0);
        assert_eq!(creation.kind, CreationKind::Load);
        assert_eq!(creation.tags, ["app:1"]);
        assert_eq!(creation.outcome, Outcome::Succeeded);
    }
}

#[test]
fn pull_is_a_call_and_no_creation() {
    let mut driver = Driver::new();
    let line = "POST /images/create?fromImage=alpine&tag=3";
    driver.call(Conn::docker(1), 0, line, "", 200, "{}");
    assert!(driver.creations().is_empty());
    assert_eq!(driver.calls()[0].route, Route::ImagePull);
}

#[test]
fn refused_and_failed() {
    let mut driver = Driver::new();
    let line = "POST /commit?container=none";
    driver.call(Conn::docker(1), 0, line, "", 404, "{\"message\":\"x\"}");
    assert_eq!(driver.creations()[0].outcome, Outcome::Failed);
    let line = "POST /images/create?fromSrc=http://203.0.113.1/x";
    let answer = "{\"errorDetail\":{},\"error\":\"no route\"}";
    driver.call(Conn::docker(1), 1, line, "", 200, answer);
    assert_eq!(driver.creations()[1].outcome, Outcome::Failed);
}

#[test]
fn only_the_answer_was_captured() {
    let mut driver = Driver::new();
    let answer = format!(
        "{{\"status\":\"Downloading from http://203.0.113.102/a.tar\"}}\n\
         {{\"status\":\"{DIGEST}\"}}\n"
    );
    driver.answer(Conn::docker(1), 0, 200, DAEMON, &answer);
    let answer = "{\"stream\":\"Loaded image: app:1\\n\"}\n";
    driver.answer(Conn::docker(2), 0, 200, DAEMON, answer);
    driver.finish();
    let creations = driver.creations();
    assert_eq!(creations[0].kind, CreationKind::Import);
    assert_eq!(creations[0].source.as_deref(), Some("http://203.0.113.102/a.tar"));
    assert_eq!(creations[1].kind, CreationKind::Load);
    assert_eq!(creations[1].tags, ["app:1"]);
    assert_eq!(creations[1].caveats, [Caveat::OneDirection]);
    let routes: Vec<Route> = driver.calls().iter().map(|call| call.route).collect();
    assert_eq!(routes, [Route::ImageImport, Route::ImageLoad]);
}
