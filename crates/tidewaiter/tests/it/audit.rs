//! Who exposes a Docker API, by `audit` and by the findings that say so.

use std::ffi::OsStr;
use std::net::SocketAddrV4;

use serde_json::Value;
use tw_model::Timestamp;
use tw_testkit::{Conversation, Packet, conversation, http_request, to_pcap};

use crate::captures::Capture;
use crate::support::{Lab, Run, testdata};

fn audit(capture: &str, options: &[&str]) -> Run {
    let path = testdata(&format!("scenarios/{capture}.pcap"));
    let folder = path.parent().expect("a file in a folder");
    let mut command = Lab::new().command("audit");
    let output = command.args(options).arg(path.file_name().expect("a file")).current_dir(folder);
    let output = output.output().expect("the binary starts");
    Run {
        status: output.status.code(),
        stdout: output.stdout,
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
    .succeeded()
}

fn json(capture: &str, options: &[&str]) -> Run {
    audit(capture, &[&["--format", "json"], options].concat())
}

/// The only daemon of a capture.
fn daemon(run: &Run) -> Value {
    let mut daemons = run.events("audit_daemon");
    assert_eq!(daemons.len(), 1, "{daemons:#?}");
    daemons.remove(0)
}

fn evidence(daemon: &Value, id: &str, side: &str) -> String {
    let all = daemon["mitigations"].as_array().expect("a list");
    let one = all.iter().find(|one| one["id"] == id).expect("it is there");
    one[side].to_string()
}

#[test]
fn an_open_daemon_is_told_with_callers_images_and_containers() {
    let run = json("full-chain", &[]);
    let daemon = daemon(&run);
    assert_eq!(daemon["daemon"], "10.10.1.5:2375");
    assert_eq!(daemon["known_by"], "answers");
    assert_eq!(daemon["versions"], serde_json::json!(["20.10.24+dfsg1"]));
    assert_eq!(daemon["api_versions"], serde_json::json!(["1.41"]));
    assert_eq!(daemon["transport"]["open_calls"], 19);
    let caller = &daemon["callers"][0];
    assert_eq!(
        (caller["ip"].as_str(), caller["outside"].as_bool()),
        (Some("198.51.100.23"), Some(true))
    );
    for (operation, calls) in [("build", 1), ("deploy", 3), ("exec", 2), ("stop", 2)] {
        assert_eq!(caller["operations"][operation]["answered"], calls, "{operation}");
    }
    assert!(evidence(&daemon, "M1035", "against").contains("19 calls"));
    assert!(evidence(&daemon, "M1030", "against").contains("198.51.100.23"));
    assert!(evidence(&daemon, "M1026", "against").contains("root-user: nx0 and nx"));
    let images = run.events("audit_image");
    let made = images.iter().find(|one| one["action"] == "built").expect("it was built");
    let deployed = images.iter().find(|one| one["action"] == "deployed").expect("it was deployed");
    assert_eq!(made["digest"], deployed["digest"]);
    assert_eq!(deployed["count"], 2);
    let containers = run.events("audit_container");
    let risks: Vec<&Value> = containers.iter().map(|one| &one["risks"]).collect();
    assert_eq!(risks.len(), 2);
    assert!(
        risks.iter().all(|risks| risks.as_array().is_some_and(|r| r.contains(&"root-user".into())))
    );
}

#[test]
fn client_certificates_are_told_where_the_handshake_shows_them() {
    let certificates = |capture: &str, options: &[&str]| {
        let daemon = daemon(&json(capture, options));
        (daemon["known_by"].clone(), daemon["client_certificates"].clone())
    };
    let (by, clear) = certificates("tls12-keylog", &[]);
    assert_eq!((by.as_str(), clear["given"].as_u64()), (Some("tls_port"), Some(1)));
    let (by, sealed) = certificates("tls-keylog", &[]);
    assert_eq!((by.as_str(), sealed["given"].as_u64()), (Some("tls_port"), Some(0)));
    assert_ne!(sealed["unknown"], 0);
    let (by, opened) = certificates("tls-keylog", &["--keylog", "tls-keylog.keys"]);
    assert_eq!((by.as_str(), opened["unknown"].as_u64()), (Some("answers"), Some(0)));
    assert_eq!(opened["given"], sealed["unknown"]);
}

#[test]
fn services_and_plugins_are_deployed_with_their_risks() {
    let risks = |capture: &str, kind: &str| {
        let containers = json(capture, &[]).events("audit_container");
        let one = containers.iter().find(|one| one["kind"] == kind).expect("it is there");
        one["risks"].to_string()
    };
    let service = risks("service-deploy", "service");
    for risk in ["host-root-mount", "host-network", "docker-socket", "dangerous-capability"] {
        assert!(service.contains(risk), "{risk}: {service}");
    }
    let plugin = risks("plugin-install", "plugin");
    for risk in ["host-root-mount", "host-network", "host-pid", "device", "dangerous-capability"] {
        assert!(plugin.contains(risk), "{risk}: {plugin}");
    }
}

#[test]
fn an_exposed_api_is_high_from_outside_and_medium_from_inside() {
    let exposures = |capture: &str| -> Vec<Value> {
        let run = Capture::new(&format!("scenarios/{capture}")).replayed();
        run.events("finding").into_iter().filter(|f| f["rule"] == "api-exposed").collect()
    };
    for (capture, severities) in [
        ("recon-scan", &["high"][..]),
        ("benign-ci-known", &["medium"]),
        ("two-daemons", &["high", "high"]),
        ("tls-keylog", &[]),
        ("tls-opaque", &[]),
    ] {
        let found = exposures(capture);
        let told: Vec<&str> = found.iter().filter_map(|f| f["severity"].as_str()).collect();
        assert_eq!(told, severities, "{capture}");
        for finding in &found {
            assert_eq!(finding["techniques"], serde_json::json!(["T1133"]));
            assert!(finding["destination"].is_null());
        }
    }
}

#[test]
fn an_incident_keeps_its_name_without_a_baseline() {
    let capture = Capture::new("scenarios/full-chain");
    let id = |lab: &Lab| {
        let incidents = lab.replay(&capture.path).succeeded().events("incident");
        assert_eq!(incidents.len(), 1);
        incidents[0]["id"].clone()
    };
    assert_eq!(id(&Lab::learned()), id(&Lab::new()));
}

#[test]
fn a_stream_is_counted_and_not_told() {
    let run = Capture::new("scenarios/exec-streams").replayed();
    let events = run.events("container");
    let execs: Vec<&Value> = events.iter().filter(|e| e["action"] == "exec").collect();
    let streams: Vec<&Value> =
        execs.iter().map(|e| &e["stream"]).filter(|s| !s.is_null()).collect();
    assert!(streams.iter().any(|s| s["framing"] == "raw"), "a terminal: {streams:?}");
    assert!(streams.iter().any(|s| s["error_bytes"] == 4), "err and a line feed: {streams:?}");
    assert!(streams.iter().all(|s| s["framing"] != "unknown"), "{streams:?}");
    let names: Vec<&str> = events.iter().filter_map(|e| e["name"].as_str()).collect();
    assert!(names.iter().all(|name| ["box", "shell", "att"].contains(name)), "{names:?}");
}

fn endpoint(text: &str) -> SocketAddrV4 {
    text.parse().expect("an address and port")
}

fn answer(status: &str, head: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\n{head}Content-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

/// One call to a daemon that answers with its marks.
fn call(
    from: &str,
    method: &str,
    target: &str,
    fields: &[(&str, &str)],
    body: &[u8],
) -> Vec<Packet> {
    let request = http_request(method, target, fields, body);
    let marks = "Api-Version: 1.43\r\nServer: Docker/24.0.7 (linux)\r\n";
    let id = format!("{{\"Id\":\"{}\",\"Warnings\":[]}}", "ab".repeat(32));
    let at = Timestamp::from_secs_nanos(1_795_560_000, 0);
    conversation(
        endpoint(from),
        endpoint("10.10.1.5:2375"),
        at,
        &request,
        &answer("201 Created", marks, &id),
    )
}

fn audited(packets: &[Packet], format: &str) -> Run {
    let lab = Lab::new();
    let file = lab.file("made.pcap", &to_pcap(packets));
    lab.run("audit", [OsStr::new("--format"), OsStr::new(format), file.as_os_str()]).succeeded()
}

#[test]
fn a_spreadsheet_computes_nothing_and_a_terminal_obeys_nothing() {
    let body =
        br#"{"Image":"=HYPERLINK(\"http://203.0.113.9/\",\"x\")","User":"@SUM(1)","Cmd":["x"]}"#;
    let fields = [("User-Agent", "=cmd|' /C calc'!A0")];
    let target = "/containers/create?name=%2B1%2B%1b%5b2J%2C%22%0d%0a=2";
    let packets = call("198.51.100.23:40000", "POST", target, &fields, body);
    let csv = audited(&packets, "csv").text();
    assert!(csv.starts_with("record,environment,docker_host,port,"), "{csv}");
    assert!(csv.contains("HYPERLINK") && csv.contains("cmd|"), "{csv}");
    for line in csv.lines().skip(1) {
        assert!(!line.chars().any(char::is_control), "{line:?}");
        for cell in line.split(',') {
            let begins = cell.trim_start_matches('"');
            assert!(!begins.starts_with(['=', '+', '-', '@', '\t']), "{cell:?} in {line:?}");
        }
    }
    let text = audited(&packets, "text").text();
    assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text:?}");
}

#[test]
fn refusals_and_attempts_speak_for_a_daemon() {
    let at = Timestamp::from_secs_nanos(1_795_560_100, 0);
    let daemon = endpoint("10.10.1.5:2375");
    let mut packets =
        call("10.10.2.20:40000", "POST", "/containers/create", &[], b"{\"Image\":\"a\"}");
    let marks = "Api-Version: 1.43\r\nServer: Docker/24.0.7 (linux)\r\n";
    let request = http_request("GET", "/v1.43/info", &[], b"");
    let refused = answer("403 Forbidden", marks, "{\"message\":\"no\"}");
    packets.extend(conversation(endpoint("198.51.100.23:40001"), daemon, at, &request, &refused));
    packets.extend(Conversation::refused(endpoint("198.51.100.24:40002"), daemon, at));
    let run = audited(&packets, "json");
    let one = self::daemon(&run);
    assert!(evidence(&one, "M1035", "for").contains("refuses: 1 call"), "{one:#}");
    assert!(evidence(&one, "M1030", "for").contains("1 attempt"), "{one:#}");
    assert_eq!(one["attempts"]["addresses"], 1);
}

#[test]
fn what_is_sent_after_a_stream_is_agreed_to_is_no_request() {
    let at = Timestamp::from_secs_nanos(1_795_560_000, 0);
    let id = "cd".repeat(32);
    let start =
        http_request("POST", &format!("/v1.43/exec/{id}/start"), &[], b"{\"Detach\":false}");
    let phantom =
        http_request("POST", "/v1.43/containers/create?name=phantom", &[], b"{\"Image\":\"p\"}");
    let agreed = b"HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.raw-stream\r\nApi-Version: 1.43\r\nServer: Docker/24.0.7 (linux)\r\n\r\n\x01\0\0\0\0\0\0\x02ok";
    let packets =
        Conversation::open(endpoint("198.51.100.23:40000"), endpoint("10.10.1.5:2375"), at)
            .client_sends(&start)
            .server_sends(agreed)
            .client_sends(&phantom)
            .close();
    let run = audited(&packets, "json");
    assert!(!run.text().contains("phantom"), "{}", run.text());
    assert_eq!(daemon(&run)["operations"]["exec"]["calls"], 1);
}
