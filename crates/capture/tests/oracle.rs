//! Our reading of captures against libpcap's, frame by frame. Needs libpcap's development files, hence
//! the feature `oracle`: `cargo test -p tw-capture --features oracle`.
#![cfg(feature = "oracle")]

use std::path::{Path, PathBuf};

use tw_capture::Inputs;
use tw_model::Timestamp;

/// Time, length on the wire and bytes of a frame.
type Seen = (Timestamp, u32, Vec<u8>);

fn ours(path: &Path) -> Vec<Seen> {
    let mut inputs = Inputs::open(&[path.to_owned()]).unwrap();
    let mut frames = Vec::new();
    while let Some(frame) = inputs.next_frame().unwrap() {
        frames.push((frame.timestamp, frame.original_len, frame.bytes.to_vec()));
    }
    frames
}

fn libpcap(path: &Path) -> Vec<Seen> {
    let mut capture = pcap::Capture::from_file_with_precision(path, pcap::Precision::Nano).unwrap();
    let mut frames = Vec::new();
    loop {
        match capture.next_packet() {
            Ok(packet) => {
                let at = packet.header.ts;
                let at = Timestamp::from_secs_nanos(at.tv_sec, at.tv_usec);
                frames.push((at, packet.header.len, packet.data.to_vec()));
            }
            Err(pcap::Error::NoMorePackets) => return frames,
            Err(error) => panic!("{}: {error}", path.display()),
        }
    }
}

fn captures(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata").join(folder);
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ext| ext == "pcap"))
        .collect();
    paths.sort();
    paths
}

#[test]
fn every_recording_is_read_as_libpcap_reads_it() {
    let mut frames = 0;
    for folder in ["scenarios", "wire", "flows"] {
        let paths = captures(folder);
        assert!(!paths.is_empty(), "{folder}");
        for path in paths {
            let (ours, theirs) = (ours(&path), libpcap(&path));
            assert_eq!(ours.len(), theirs.len(), "{}", path.display());
            assert!(ours == theirs, "{}", path.display());
            frames += ours.len();
        }
    }
    assert!(frames > 10_000, "{frames}");
}
