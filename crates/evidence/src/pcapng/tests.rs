use std::process::{Command, Stdio};

use tw_model::{SourceId, Timestamp};
use tw_wire::file::Reader;
use tw_wire::{Frame, LinkType};

use super::*;

const NO_COMMENT: [&str; 0] = [];

fn frame(bytes: &[u8], nanos: i64, number: u64) -> Frame<'_> {
    Frame {
        timestamp: Timestamp::from_nanos(nanos),
        link: LinkType(1),
        bytes,
        original_len: u32::try_from(bytes.len()).expect("short"),
        source: SourceId(0),
        number,
        interface: 0,
    }
}

fn writer(limits: Limits) -> Writer<Vec<u8>> {
    Writer::new(Vec::new(), limits, "tidewaiter test", "a case").expect("a vector takes all")
}

/// What our own reader makes of a file: link, interface, time, bytes and length on the wire.
fn read(file: &[u8]) -> Vec<(LinkType, u32, i64, Vec<u8>, u32)> {
    let mut reader = Reader::open(file, SourceId(0)).expect("a capture");
    let mut frames = Vec::new();
    while let Some(frame) = reader.next_frame().expect("whole") {
        let at = frame.timestamp.as_nanos();
        frames.push((frame.link, frame.interface, at, frame.bytes.to_vec(), frame.original_len));
    }
    frames
}

#[test]
fn frames_come_back_as_they_were() {
    let mut writer = writer(Limits::default());
    let first = frame(b"twelve bytes", 1_795_558_894_067_063_999, 7);
    let odd = Frame { link: LinkType(113), original_len: 1_500, ..frame(b"odd", 1, 8) };
    let other = Frame { interface: 3, ..frame(b"", 2, 9) };
    for frame in [&first, &odd, &other, &first] {
        assert!(writer.frame(frame, "case.pcap", &["a finding", "another"]).expect("written"));
    }
    let (file, counters) = writer.finish().expect("written");
    assert_eq!(counters.frames, 4);
    assert_eq!(counters.bytes, file.len() as u64);
    assert_eq!(counters.left_out, 0);
    let back = read(&file);
    let first = (LinkType(1), 0, 1_795_558_894_067_063_999, b"twelve bytes".to_vec(), 12);
    assert_eq!(back[0], first);
    assert_eq!(back[1], (LinkType(113), 1, 1, b"odd".to_vec(), 1_500));
    assert_eq!(back[2], (LinkType(1), 2, 2, Vec::new(), 0));
    assert_eq!(back[3], first);
}

#[test]
fn a_full_file_says_what_is_missing_and_stays_readable() {
    let mut writer = writer(Limits { bytes: 400, interfaces: 1 });
    let bytes = [0; 60];
    for number in 1..=10 {
        writer.frame(&frame(&bytes, 5, number), "x", &NO_COMMENT).expect("written");
    }
    let (file, counters) = writer.finish().expect("written");
    let back = read(&file);
    assert!(!back.is_empty() && back.len() < 10);
    assert_eq!(counters.frames, back.len() as u64);
    assert_eq!(counters.frames + counters.left_out, 10);
    let said = format!("{} frames are missing", counters.left_out);
    assert!(String::from_utf8_lossy(&file).contains(&said));
}

#[test]
fn after_a_frame_that_is_left_out_none_follows() {
    let mut writer = writer(Limits { bytes: 400, interfaces: 1 });
    let large = [0; 400];
    assert!(writer.frame(&frame(b"small", 1, 1), "x", &NO_COMMENT).expect("written"));
    assert!(!writer.frame(&frame(&large, 2, 2), "x", &NO_COMMENT).expect("written"));
    assert!(!writer.frame(&frame(b"small", 3, 3), "x", &NO_COMMENT).expect("written"));
    assert_eq!(writer.counters().left_out, 2);
}

#[test]
fn interfaces_are_bounded() {
    let mut writer = writer(Limits { interfaces: 2, ..Limits::default() });
    for interface in 0..5 {
        let frame = Frame { interface, ..frame(b"x", 1, 1) };
        writer.frame(&frame, "x", &NO_COMMENT).expect("written");
    }
    let (file, counters) = writer.finish().expect("written");
    assert_eq!((counters.frames, counters.left_out), (2, 3));
    assert_eq!(read(&file).len(), 2);
}

#[test]
fn what_no_capture_holds_is_counted() {
    let mut writer = writer(Limits::default());
    let message = Frame { link: LinkType::IPFIX_MESSAGE, ..frame(b"x", 1, 1) };
    assert!(!writer.frame(&message, "x", &NO_COMMENT).expect("written"));
    let early = frame(b"x", -5, 1);
    assert!(writer.frame(&early, "x", &NO_COMMENT).expect("written"));
    let (file, counters) = writer.finish().expect("written");
    assert_eq!((counters.not_frames, counters.clamped_times), (1, 1));
    assert_eq!(read(&file)[0].2, 0);
}

#[test]
fn comments_steer_nothing_and_end_somewhere() {
    let mut writer = writer(Limits::default());
    let long = "\u{1b}[2J\u{202e}".repeat(30_000);
    writer.frame(&frame(b"x", 1, 1), &long, &[&long]).expect("written");
    let (file, _) = writer.finish().expect("written");
    assert_eq!(read(&file).len(), 1);
    assert!(!file.contains(&0x1b));
    assert!(file.len() < 10_000);
}

/// Another program's opinion, where it is installed: `.ci/run` installs it.
#[test]
fn tshark_takes_it_without_complaint() {
    let Some(said) = tshark(&["--version"], &[]) else { return };
    assert!(said.contains("Shark"), "{said}");
    let mut writer = writer(Limits::default());
    let bytes = [0; 61];
    writer
        .frame(&frame(&bytes, 1_795_558_894_067_063_999, 1), "a", &["見つけた"])
        .expect("written");
    let cooked = Frame { link: LinkType(113), ..frame(&bytes, 1_795_558_895_000_000_001, 2) };
    writer.frame(&cooked, "b", &NO_COMMENT).expect("written");
    let (file, _) = writer.finish().expect("written");
    let fields = ["-T", "fields", "-e", "frame.number", "-e", "frame.time_epoch"];
    let more = ["-e", "frame.comment", "-r", "-"];
    let all: Vec<&str> = fields.into_iter().chain(more).collect();
    let said = tshark(&all, &file).expect("installed");
    assert_eq!(said, "1\t1795558894.067063999\t見つけた\n2\t1795558895.000000001\t\n");
}

fn tshark(arguments: &[&str], input: &[u8]) -> Option<String> {
    let mut child = Command::new("tshark")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .ok()?;
    child.stdin.take().expect("piped").write_all(input).expect("taken");
    let output = child.wait_with_output().expect("ends");
    let complaints = String::from_utf8_lossy(&output.stderr).into_owned();
    let complaints: Vec<_> = complaints.lines().filter(|l| !l.contains("root")).collect();
    assert!(output.status.success() && complaints.is_empty(), "{complaints:?}");
    Some(String::from_utf8(output.stdout).expect("UTF-8"))
}
