//! Files, folders, stores and configurations that are not what they should be: the exit status and
//! one line that says what is wrong.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use tw_testkit::gzip_stored;

use crate::captures::Capture;
use crate::support::{Lab, read_folder, testdata};

const PCAP_HEADER: usize = 24;
const RECORD_HEADER: usize = 16;

fn classic_http() -> Vec<u8> {
    fs::read(testdata("scenarios/classic-http.pcap")).expect("testdata is there")
}

/// Where record `number` (from 0) begins in a little-endian pcap file.
fn record_offset(file: &[u8], number: usize) -> usize {
    (0..number).fold(PCAP_HEADER, |at, _| {
        let len: [u8; 4] = file[at + 8..at + 12].try_into().expect("four bytes");
        at + RECORD_HEADER + usize::try_from(u32::from_le_bytes(len)).expect("a packet's length")
    })
}

#[test]
fn an_empty_file_is_no_capture() {
    let lab = Lab::new();
    lab.replay(&lab.file("empty.pcap", b"")).failed(1, &["empty.pcap", "empty"]);
}

#[test]
fn a_text_file_is_no_capture() {
    let lab = Lab::new();
    let file = lab.file("notes.txt", b"Dear diary,\nno packets today.\n");
    lab.replay(&file).failed(1, &["notes.txt", "text"]);
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let lab = Lab::new();
    lab.replay(&lab.path("missing.pcap")).failed(1, &["missing.pcap"]);
}

#[test]
fn a_path_through_a_file_is_named() {
    let lab = Lab::new();
    let path = lab.file("plain", b"x").join("below.pcap");
    lab.run("replay", [&path]).failed(1, &["below.pcap"]);
}

#[test]
fn a_folder_without_captures_is_named() {
    let lab = Lab::new();
    let folder = lab.path("nothing-here");
    fs::create_dir(&folder).expect("a writable temporary folder");
    lab.run("replay", [&folder]).failed(1, &["nothing-here"]);
}

#[test]
fn a_capture_cut_in_a_record_gives_what_comes_before_and_the_offset() {
    let whole = classic_http();
    let cut = record_offset(&whole, 170) + RECORD_HEADER + 5;
    let lab = Lab::learned();
    let run = lab.replay(&lab.file("cut.pcap", &whole[..cut])).succeeded();
    run.names(&["cut.pcap", "byte", &record_offset(&whole, 170).to_string()]);
    assert!(!run.events("finding").is_empty(), "the build lies before the cut");
}

/// It is read to where it ended when the reading got there: one clear outcome, whichever that is.
#[test]
fn a_capture_that_grows_while_it_is_read_gives_all_that_is_there() {
    let whole = classic_http();
    let begun = record_offset(&whole, 170) + RECORD_HEADER + 5;
    let lab = Lab::learned();
    let path = lab.file("growing.pcap", &whole[..begun]);
    let rest = whole[begun..].to_vec();
    let growing = path.clone();
    let writer = std::thread::spawn(move || {
        let mut file = File::options().append(true).open(growing).expect("it is there");
        rest.chunks(64).try_for_each(|piece| file.write_all(piece)).expect("room");
    });
    let run = lab.replay(&path).succeeded();
    writer.join().expect("no panic");
    assert!(!run.events("finding").is_empty(), "the build lies before all that");
    let printed = run.text();
    let stats = printed.lines().last().expect("a last line");
    let stats: serde_json::Value = serde_json::from_str(stats).expect("JSON");
    let frames = stats["frames"].as_u64().expect("a number");
    assert!((170..=177).contains(&frames), "{frames}");
    assert!(run.stderr.lines().count() <= 1, "{}", run.stderr);
    assert!(!lab.replay(&path).succeeded().stderr.contains("growing.pcap"), "now it is whole");
}

#[test]
fn a_record_of_4_gib_is_not_believed() {
    let mut file = classic_http();
    let at = record_offset(&file, 170);
    file[at + 8..at + 12].copy_from_slice(&u32::MAX.to_le_bytes());
    let lab = Lab::learned();
    let run = lab.replay(&lab.file("huge.pcap", &file)).succeeded();
    run.names(&["huge.pcap", "byte", &at.to_string()]);
    assert!(!run.events("finding").is_empty(), "the build lies before the damage");
}

#[test]
fn a_snap_length_of_zero_means_nothing() {
    let mut file = classic_http();
    file[16..20].fill(0);
    let lab = Lab::learned();
    let run = lab.replay(&lab.file("classic-http.pcap", &file)).succeeded();
    assert_eq!(run.lines(), Capture::new("scenarios/classic-http").replayed().lines());
}

#[test]
fn a_gzip_of_garbage_is_an_error() {
    let lab = Lab::new();
    let mut file = gzip_stored(b"");
    file.truncate(10);
    file.extend_from_slice(&[0xff; 64]);
    lab.replay(&lab.file("broken.pcap.gz", &file)).failed(1, &["broken.pcap.gz", "gzip"]);
}

#[test]
fn a_gzip_that_breaks_off_gives_what_comes_before() {
    let lab = Lab::learned();
    let mut file = gzip_stored(&classic_http());
    file.truncate(file.len() - 1000);
    let run = lab.replay(&lab.file("short.pcap.gz", &file)).succeeded();
    run.names(&["short.pcap.gz"]);
    assert!(!run.events("finding").is_empty(), "the build lies before the end");
}

#[test]
fn a_whole_gzip_is_read_like_the_capture_in_it() {
    let lab = Lab::learned();
    let file = lab.file("classic-http.pcap", &gzip_stored(&classic_http()));
    let run = lab.replay(&file).succeeded();
    assert_eq!(run.lines(), Capture::new("scenarios/classic-http").replayed().lines());
}

/// The file of the store that `is_it`.
fn stored(lab: &Lab, is_it: impl Fn(&Path, &[u8]) -> bool) -> PathBuf {
    let files = read_folder(&lab.data_dir());
    let (path, _) = files.iter().find(|(path, content)| is_it(path, content)).expect("a store");
    lab.data_dir().join(path)
}

#[test]
fn a_store_of_a_later_version_is_left_alone() {
    let lab = Lab::learned();
    let path = stored(&lab, |_, content| content.starts_with(b"SQLite format 3\0"));
    let mut content = fs::read(&path).expect("a readable file");
    // SQLite file format §1.3: the user version is a big-endian number at byte 60.
    content[60..64].copy_from_slice(&1_000_000_u32.to_be_bytes());
    fs::write(&path, &content).expect("a writable file");
    let capture = testdata("scenarios/classic-http.pcap");
    lab.replay(&capture).failed(1, &["schema", "1000000"]);
    lab.learn(&capture).failed(1, &["schema", "1000000"]);
    assert_eq!(fs::read(&path).expect("a readable file"), content);
}

#[test]
fn a_second_writer_is_turned_away() {
    let lab = Lab::learned();
    let lock = stored(&lab, |path, _| path.extension().is_some_and(|e| e == "lock"));
    let held = File::options().write(true).open(lock).expect("a writable file");
    held.lock().expect("nobody else holds it");
    lab.learn(&testdata("scenarios/classic-http.pcap")).failed(1, &["data", "written by"]);
    held.unlock().expect("it was held");
    lab.learn(&testdata("scenarios/classic-http.pcap")).succeeded();
}

#[test]
fn a_damaged_database_is_an_error() {
    let lab = Lab::learned();
    let path = stored(&lab, |_, content| content.starts_with(b"SQLite format 3\0"));
    let mut content = fs::read(&path).expect("a readable file");
    content[100..].fill(0x5a);
    fs::write(&path, &content).expect("a writable file");
    let capture = testdata("scenarios/classic-http.pcap");
    lab.replay(&capture).failed(1, &["malformed"]);
    lab.learn(&capture).failed(1, &["malformed"]);
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let lab = Lab::new();
    lab.file("data", b"in the way");
    let capture = testdata("scenarios/classic-http.pcap");
    lab.learn(&capture).failed(1, &["data"]);
    lab.replay(&capture).failed(1, &["data"]);
}

/// `replay --config` with this configuration.
#[track_caller]
fn configuration_fails(content: &str, clues: &[&str]) {
    let lab = Lab::new();
    let config = lab.file("tw.toml", content.as_bytes());
    let capture = testdata("scenarios/benign-no-download.pcap");
    lab.run("replay", ["--config".as_ref(), config.as_os_str(), capture.as_os_str()])
        .failed(2, clues);
}

#[test]
fn an_unknown_key_is_named_with_its_line() {
    configuration_fails("[policy]\ntime_window = \"5s\"\nfoo = 1\n", &["tw.toml", "foo", "3"]);
}

#[test]
fn a_bad_duration_is_named_with_its_key_and_line() {
    configuration_fails("[policy]\n\ntime_window = \"soon\"\n", &["tw.toml", "time_window", "3"]);
}

#[test]
fn a_bad_network_is_named_with_its_key() {
    let content = "[[environment]]\nname = \"plant\"\nnetworks = [\"10.0.0.0/33\"]\n";
    configuration_fails(content, &["tw.toml", "networks", "10.0.0.0/33"]);
}

#[test]
fn a_configuration_that_is_no_toml_is_named_with_its_line() {
    configuration_fails("[policy\n", &["tw.toml", "1"]);
}

#[test]
fn a_configuration_that_is_not_there_is_wrong_usage() {
    let lab = Lab::new();
    let capture = testdata("scenarios/benign-no-download.pcap");
    lab.run("replay", ["--config".as_ref(), "none.toml".as_ref(), capture.as_os_str()])
        .failed(2, &["none.toml"]);
}

#[test]
fn the_example_configuration_is_valid() {
    let lab = Lab::learned();
    let config = testdata("../deploy/tidewaiter.example.toml");
    let capture = testdata("scenarios/classic-http.pcap");
    let arguments = ["--config".as_ref(), config.as_os_str(), capture.as_os_str()];
    lab.run("replay", arguments).succeeded();
}

#[test]
fn link_types_that_are_not_decoded_are_named_once() {
    let lab = Lab::new();
    let mut file = classic_http();
    // The link type of the file header, USER0.
    file[20..24].copy_from_slice(&147_u32.to_le_bytes());
    let capture = lab.file("user.pcap", &file);
    let dissect = lab.command("dissect").arg(&capture).output().expect("the binary starts");
    let dissected = String::from_utf8_lossy(&dissect.stderr).into_owned();
    assert_eq!((dissect.status.code(), dissect.stdout.len()), (Some(0), 0));
    for stderr in [dissected, lab.replay(&capture).succeeded().stderr] {
        assert_eq!(stderr.matches("unsupported link type").count(), 1, "{stderr}");
        assert!(stderr.contains("147 (USER)"), "{stderr}");
    }
}

#[test]
fn wrong_usage_has_a_status_of_its_own() {
    let lab = Lab::new();
    let run = lab.run("replay", ["--no-such-option"]);
    assert_eq!(run.status, Some(2), "{}", run.stderr);
    run.names(&["--no-such-option"]);
}

#[test]
fn fail_on_answers_with_a_status_of_its_own() {
    let lab = Lab::learned();
    let fail_on = |severity: &str, capture: &str| {
        let path = testdata(&format!("scenarios/{capture}.pcap"));
        lab.run("replay", ["--fail-on".as_ref(), severity.as_ref(), path.as_os_str()]).status
    };
    assert_eq!(fail_on("high", "classic-http"), Some(3));
    assert_eq!(fail_on("high", "benign-ci-known"), Some(0));
}

#[test]
fn a_full_disk_is_named_and_the_store_goes_on_when_there_is_room() {
    let lab = Lab::new();
    let disk = lab.path("disk");
    fs::create_dir(&disk).expect("a writable temporary folder");
    // A file system of its own, in a name space of its own, that grows after the first failure.
    let script = r#"
        mount -t tmpfs -o size=64k tmpfs "$1" || exit 77
        "$2" learn --data-dir "$1/data" "$3" > /dev/null; echo "full: $?"
        mount -o remount,size=8m "$1"
        "$2" learn --data-dir "$1/data" "$3" > /dev/null; echo "room: $?"
        "$2" seen --data-dir "$1/data" verify
    "#;
    let output = std::process::Command::new("unshare")
        .args(["-rm", "sh", "-c", script, "sh"])
        .arg(&disk)
        .arg(env!("CARGO_BIN_EXE_tidewaiter"))
        .arg(testdata("scenarios/baseline.pcap"))
        .output()
        .expect("unshare of util-linux");
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(out.contains("full: 1"), "{out}{err}");
    assert!(out.contains("room: 0"), "{out}{err}");
    assert!(out.contains("no errors"), "{out}{err}");
    assert_eq!(err.lines().count(), 1, "one line for the full disk: {err}");
    assert!(err.contains("disk full"), "{err}");
}
