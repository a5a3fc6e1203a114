//! Secrets are printed nowhere and kept nowhere.

use std::net::SocketAddrV4;
use std::path::Path;
use std::time::Duration;

use tw_model::Timestamp;
use tw_testkit::{BuildRequest, Conversation, conversation, daemon_answer, http_request, to_pcap};

use crate::support::{Lab, read_folder};

/// Each stands in another place of the capture; none may be anywhere in what comes out.
const SECRETS: [&str; 9] = [
    "c2VjcmV0LXJlZ2lzdHJ5LWF1dGg",
    "c2VjcmV0LXJlZ2lzdHJ5LWNvbmZpZw",
    "Qm9iOnNlY3JldC1iYXNpYw",
    "secret-cookie-5f1d",
    "secret-in-dockerfile-url",
    "secret-in-remote-url",
    "ghp_secretBuildArgument0123456789abcdefgh",
    "secret-container-environment",
    "secret-download-authorization",
];

fn socket(address: &str) -> SocketAddrV4 {
    address.parse().expect("an address")
}

fn capture() -> Vec<u8> {
    let daemon = socket("10.10.1.5:2375");
    let at = Timestamp::from_secs_nanos(1_795_560_000, 0);
    let after = |secs| at.plus(Duration::from_secs(secs));
    let authorization = format!("Basic {}", SECRETS[2]);
    let cookie = format!("session={}", SECRETS[3]);
    let headers = [
        ("X-Registry-Auth", SECRETS[0]),
        ("X-Registry-Config", SECRETS[1]),
        ("Authorization", authorization.as_str()),
        ("Cookie", cookie.as_str()),
    ];
    let dockerfile = format!(
        "FROM alpine:3.18\nARG GITHUB_TOKEN\nRUN wget http://bob:{}@203.0.113.9/x\n",
        SECRETS[4]
    );
    let query = format!("t=app:1&buildargs=%7B%22GITHUB_TOKEN%22%3A%22{}%22%7D", SECRETS[6]);
    let build =
        BuildRequest { query: &query, headers: &headers, dockerfile: dockerfile.as_bytes() };
    let remote = format!(
        "/v1.41/build?t=app:2&remote=http%3A%2F%2Fbob%3A{}%40203.0.113.9%2FDockerfile",
        SECRETS[5]
    );
    let create = format!(
        "{{\"Image\":\"app:1\",\"Env\":[\"DB_PASSWORD={}\"],\"Cmd\":[\"sh\"]}}",
        SECRETS[7]
    );
    let built = daemon_answer(&["{\"stream\":\"Successfully built 0123456789ab\\n\"}"]);
    let created = "{\"Id\":\"c1\",\"Warnings\":[]}";
    let created =
        format!("HTTP/1.1 201 Created\r\nContent-Length: {}\r\n\r\n{created}", created.len());

    let mut packets = Conversation::open(socket("198.51.100.23:40000"), daemon, at)
        .client_sends(&build.to_bytes())
        .wait(Duration::from_secs(3))
        .server_sends(&built)
        .client_sends(&http_request("POST", &remote, &headers, b""))
        .wait(Duration::from_secs(1))
        .server_sends(&built)
        .client_sends(&http_request(
            "POST",
            "/v1.41/containers/create",
            &[("Content-Type", "application/json")],
            create.as_bytes(),
        ))
        .server_sends(created.as_bytes())
        .close();
    let bearer = format!("Bearer {}", SECRETS[8]);
    let download = http_request("GET", "/x", &[("Authorization", &bearer)], b"");
    packets.extend(conversation(
        socket("10.10.1.5:41000"),
        socket("203.0.113.9:80"),
        after(1),
        &download,
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n\x7fELF",
    ));
    to_pcap(&packets)
}

#[track_caller]
fn assert_free_of_secrets(what: &str, bytes: &[u8]) {
    for secret in SECRETS {
        let is_there = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
        assert!(!is_there, "{secret} is in {what}");
    }
}

#[track_caller]
fn assert_folder_is_free_of_secrets(folder: &Path) {
    for (path, content) in read_folder(folder) {
        assert_free_of_secrets(&path.display().to_string(), &content);
    }
}

#[test]
fn secrets_are_not_printed() {
    let lab = Lab::learned();
    let file = lab.file("secrets.pcap", &capture());
    for format in ["json", "text"] {
        let arguments = ["--format".as_ref(), format.as_ref(), file.as_os_str()];
        let run = lab.run("replay", arguments).succeeded();
        assert!(run.text().contains("203.0.113.9"), "the builds are told: {}", run.text());
        assert_free_of_secrets(&format!("{format} output"), &run.stdout);
        assert_free_of_secrets("standard error", run.stderr.as_bytes());
    }
    assert_folder_is_free_of_secrets(&lab.data_dir());
    for name in ["case.html", "case.md"] {
        let path = lab.path(name);
        let objects = lab.path("objects");
        let all = [
            "--report".as_ref(),
            path.as_os_str(),
            "--extract".as_ref(),
            objects.as_os_str(),
            file.as_os_str(),
        ];
        lab.run("replay", all).succeeded();
        assert_free_of_secrets(name, &std::fs::read(&path).expect("written"));
        let manifest = std::fs::read(objects.join("manifest.json")).expect("written");
        assert_free_of_secrets("the manifest", &manifest);
    }
}

#[test]
fn redacted_secrets_can_be_told_to_be_equal() {
    let lab = Lab::learned();
    let file = lab.file("secrets.pcap", &capture());
    let run = lab.replay(&file).succeeded();
    let builds = run.events("build");
    let argument = builds.iter().find_map(|build| build["build_args"]["GITHUB_TOKEN"].as_str());
    assert_eq!(argument, Some(&*tw_model::redacted(SECRETS[6].as_bytes())));
}

#[test]
fn secrets_are_not_learned() {
    let lab = Lab::new();
    let file = lab.file("secrets.pcap", &capture());
    let run = lab.learn(&file).succeeded();
    assert_free_of_secrets("standard output", &run.stdout);
    assert_free_of_secrets("standard error", run.stderr.as_bytes());
    assert_folder_is_free_of_secrets(&lab.data_dir());
}
