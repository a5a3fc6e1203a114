use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::Inputs;
use crate::WarningKind;

/// Source, number, seconds and first byte of a frame.
type Seen = (u32, u64, i64, u8);

/// A capture with one frame of `len` bytes for each of `times`, which all begin with `mark`.
fn pcap(times: &[u32], mark: u8, len: usize) -> Vec<u8> {
    let mut file = b"\xd4\xc3\xb2\xa1\x02\0\x04\0\0\0\0\0\0\0\0\0\xff\xff\0\0\x01\0\0\0".to_vec();
    for (&seconds, salt) in times.iter().zip(0_u32..) {
        for word in [seconds, 0, len as u32, len as u32] {
            file.extend(word.to_le_bytes());
        }
        file.push(mark);
        file.extend((1..len as u32).map(|at| (at.wrapping_mul(salt * 2 + 1) >> 3) as u8));
    }
    file
}

fn write(folder: &TempDir, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.path().join(name);
    fs::write(&path, bytes).unwrap();
    path
}

fn drain(inputs: &mut Inputs) -> Vec<Seen> {
    let mut seen = Vec::new();
    while let Some(frame) = inputs.next_frame().unwrap() {
        let seconds = frame.timestamp.as_nanos() / 1_000_000_000;
        seen.push((frame.source.0, frame.number, seconds, frame.bytes[0]));
    }
    assert!(inputs.next_frame().unwrap().is_none(), "the end stays the end");
    let progress = inputs.progress();
    assert_eq!(progress.done_bytes, progress.total_bytes);
    seen
}

/// What a run over `paths` gives, and its warnings as text.
fn run(paths: &[PathBuf]) -> (Vec<Seen>, Vec<String>) {
    let mut inputs = Inputs::open(paths).unwrap();
    let seen = drain(&mut inputs);
    (seen, inputs.take_warnings().iter().map(ToString::to_string).collect())
}

fn error(paths: &[PathBuf]) -> String {
    match Inputs::open(paths) {
        Ok(_) => panic!("no error"),
        Err(error) => error.to_string(),
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8], window_log: u32) -> Vec<u8> {
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.window_log(window_log).unwrap();
    encoder.long_distance_matching(true).unwrap();
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn xz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 1);
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn bzip2(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A capture in two parts, whole in itself, each compressed alone.
fn all_codings(first: &[u8], second: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("gzip", [gzip(first), gzip(second)].concat()),
        ("zstd", [zstd(first, 27), zstd(second, 20)].concat()),
        ("xz", [xz(first), xz(second)].concat()),
        ("bzip2", [bzip2(first), bzip2(second)].concat()),
    ]
}

#[test]
fn several_inputs_are_one_run_in_time_order() {
    let folder = TempDir::new().unwrap();
    let a = write(&folder, "a", &pcap(&[1, 4, 4, 9], b'a', 60));
    let b = write(&folder, "b", &pcap(&[4, 2, 7], b'b', 60));
    let c = write(&folder, "c", &pcap(&[0, 20], b'c', 60));
    let (seen, warnings) = run(&[a, b, c]);
    let order: String = seen.iter().map(|&(.., mark)| char::from(mark)).collect();
    assert_eq!(order, "caaabbbac");
    assert_eq!(seen[3], (0, 3, 4, b'a'));
    assert_eq!(seen[4..7], [(1, 1, 4, b'b'), (1, 2, 2, b'b'), (1, 3, 7, b'b')]);
    assert!(warnings.is_empty());
}

#[test]
fn sorted_inputs_merge_as_a_stable_sort_would() {
    let folder = TempDir::new().unwrap();
    let mut state = 99_u32;
    let mut random = move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state >> 16
    };
    for round in 0..20 {
        let mut paths = Vec::new();
        let mut expected: Vec<Seen> = Vec::new();
        for source in 0..1 + random() % 6 {
            let mut times: Vec<u32> = (0..random() % 20).map(|_| random() % 15).collect();
            times.sort_unstable();
            paths.push(write(
                &folder,
                &format!("{round}-{source}"),
                &pcap(&times, source as u8, 9),
            ));
            let frames = times.iter().zip(1..);
            expected.extend(frames.map(|(&at, n)| (source, n, i64::from(at), source as u8)));
        }
        expected.sort_by_key(|&(source, _, at, _)| (at, source));
        assert_eq!(run(&paths).0, expected, "round {round}");
    }
}

#[test]
fn rotated_files_are_opened_when_the_run_gets_there() {
    let folder = TempDir::new().unwrap();
    let mut paths: Vec<_> = (0..100_u32)
        .map(|n| write(&folder, &format!("{n}"), &pcap(&[10 * n, 10 * n + 11], 0, 9)))
        .collect();
    paths.reverse();
    let mut inputs = Inputs::open(&paths).unwrap();
    let mut count = 0;
    while inputs.next_frame().unwrap().is_some() {
        count += 1;
        let open = inputs.slots.iter().filter(|slot| slot.open.is_some()).count();
        assert!(open <= 3, "{open} open at frame {count}");
    }
    assert_eq!(count, 200);
}

/// Pipes can be opened once, so they are read from the start of the run on.
#[cfg(target_os = "linux")]
#[test]
fn pipes_merge_with_files() {
    use std::os::fd::AsRawFd;
    let folder = TempDir::new().unwrap();
    let (reader, mut writer) = std::io::pipe().unwrap();
    writer.write_all(&gzip(&pcap(&[2, 4], b'p', 60))).unwrap();
    drop(writer);
    let paths = [
        write(&folder, "a", &pcap(&[1, 3, 5], b'a', 60)),
        PathBuf::from(format!("/proc/self/fd/{}", reader.as_raw_fd())),
    ];
    let (seen, warnings) = run(&paths);
    let order: String = seen.iter().map(|&(.., mark)| char::from(mark)).collect();
    assert_eq!((order.as_str(), warnings.len()), ("apapa", 0));
}

#[test]
fn compression_is_told_from_the_content() {
    let folder = TempDir::new().unwrap();
    let plain = pcap(&[1, 2, 3, 4, 5], b'x', 700);
    let (expected, _) = run(&[write(&folder, "plain", &plain)]);
    assert_eq!(expected.len(), 5);
    for split in [0, 10, 1000] {
        let (first, second) = plain.split_at(split);
        for (coding, bytes) in all_codings(first, second) {
            let path = write(&folder, "misnamed.pcap", &bytes);
            assert_eq!(run(&[path]), (expected.clone(), vec![]), "{coding} split at {split}");
        }
    }
}

#[test]
fn cut_compressed_captures_give_what_stood_before_and_a_warning() {
    let folder = TempDir::new().unwrap();
    let times: Vec<u32> = (0..400).collect();
    let plain = pcap(&times, b'x', 700);
    let (expected, _) = run(&[write(&folder, "plain", &plain)]);
    let (first, second) = plain.split_at(150_000);
    for (coding, bytes) in all_codings(first, second) {
        for (part, least) in [(99, 210), (70, 100)] {
            let kept = bytes.len() * part / 100;
            let path = write(&folder, "cut", &bytes[..kept]);
            let (seen, warnings) = run(std::slice::from_ref(&path));
            assert!(expected.starts_with(&seen), "{coding}");
            assert!((least..400).contains(&seen.len()), "{coding} {part}: {}", seen.len());
            assert_eq!(warnings.len(), 1);
            let start =
                format!("{}: {coding}-compressed data cut off at byte {kept}", path.display());
            assert!(warnings[0].starts_with(&start), "{}", warnings[0]);
        }
    }
}

#[test]
fn broken_compressed_captures_never_panic() {
    let folder = TempDir::new().unwrap();
    let plain = pcap(&[1, 2, 3, 4, 5, 6, 7, 8], b'x', 300);
    let mut state = 5_u32;
    let mut random = move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as usize
    };
    for (_, bytes) in all_codings(&plain[..1000], &plain[1000..]) {
        for _ in 0..100 {
            let mut broken = bytes.clone();
            let at = random() % broken.len();
            broken[at] ^= 1 << (random() % 8);
            let path = write(&folder, "broken", &broken);
            if let Ok(mut inputs) = Inputs::open(&[path]) {
                assert!(drain(&mut inputs).len() <= 9);
            }
        }
    }
}

#[test]
fn a_damaged_input_ends_and_the_others_go_on() {
    let folder = TempDir::new().unwrap();
    let mut cut = pcap(&[1, 3], b'a', 60);
    cut.pop();
    let a = write(&folder, "a", &cut);
    let b = write(&folder, "b", &pcap(&[2, 4], b'b', 60));
    let c = write(&folder, "c", &pcap(&[], b'c', 60));
    let (seen, warnings) = run(&[a.clone(), b, c.clone()]);
    assert_eq!(seen.len(), 3);
    assert_eq!(
        warnings,
        [
            format!("{}: no frames in this capture", c.display()),
            format!(
                "{}: cut off in the middle of a record at byte 100; everything before that was read",
                a.display()
            ),
        ]
    );
}

#[test]
fn a_folder_stands_for_its_captures_by_name() {
    let folder = TempDir::new().unwrap();
    write(&folder, "b.pcap", &pcap(&[1], b'b', 60));
    write(&folder, "a.gz", &gzip(&pcap(&[1], b'a', 60)));
    write(&folder, ".hidden.pcap", &pcap(&[1], b'h', 60));
    write(&folder, "readme.txt", b"hello\n");
    fs::create_dir(folder.path().join("deeper")).unwrap();
    fs::write(folder.path().join("deeper/c.pcap"), pcap(&[1], b'c', 60)).unwrap();
    let path = folder.path().to_path_buf();
    let mut inputs = Inputs::open(std::slice::from_ref(&path)).unwrap();
    let name = |file: &str| path.join(file).display().to_string();
    assert_eq!(inputs.sources(), [name("a.gz"), name("b.pcap")]);
    assert_eq!(drain(&mut inputs), [(0, 1, 1, b'a'), (1, 1, 1, b'b')]);
    let warnings = inputs.take_warnings();
    assert!(
        matches!(&warnings[..], [one] if matches!(one.kind, WarningKind::Skipped { count: 3, .. }))
    );
    assert_eq!(
        warnings[0].to_string(),
        format!(
            "{}: skipped 3 entries that are no capture files (.hidden.pcap, …)",
            path.display()
        )
    );
}

#[test]
fn what_cannot_be_read_is_told_in_one_line() {
    let folder = TempDir::new().unwrap();
    let empty = folder.path().to_path_buf();
    let text = |path: &Path| path.display().to_string();
    assert_eq!(error(&[]), "no capture files were given");
    assert_eq!(
        error(std::slice::from_ref(&empty)),
        format!("{}: no capture files in this folder", text(&empty))
    );
    let missing = empty.join("missing");
    assert!(
        error(std::slice::from_ref(&missing))
            .starts_with(&format!("cannot open {}: ", text(&missing)))
    );
    for (bytes, message) in [
        (b"hello\n".to_vec(), "not a capture file: it looks like text"),
        (vec![], "not a capture file: it is empty"),
        (gzip(b"hello\n"), "in gzip-compressed data: not a capture file: it looks like text"),
        (gzip(b""), "in gzip-compressed data: not a capture file: it is empty"),
    ] {
        let path = write(&folder, "file", &bytes);
        assert_eq!(error(std::slice::from_ref(&path)), format!("{}: {message}", text(&path)));
    }
    let twice = [PathBuf::from("-"), PathBuf::from("-")];
    assert_eq!(error(&twice), "standard input can be read only once");
}

#[test]
fn key_logs_come_with_the_first_frame_of_their_capture() {
    let folder = TempDir::new().unwrap();
    let block = |kind: u32, body: &[u8]| {
        let length = (body.len() as u32 + 12).to_le_bytes();
        [&kind.to_le_bytes()[..], &length, body, &length].concat()
    };
    let section = [&0x1a2b_3c4d_u32.to_le_bytes()[..], &[1, 0, 0, 0], &[0xff; 8]].concat();
    let secrets = [&0x544c_534b_u32.to_le_bytes()[..], &[4, 0, 0, 0], b"KEYS"].concat();
    let packet = [&[0; 12][..], &[1, 0, 0, 0, 1, 0, 0, 0], b"x\0\0\0"].concat();
    let file = [
        block(0x0a0d_0d0a, &section),
        block(1, &[1, 0, 0, 0, 0, 0, 0, 0]),
        block(10, &secrets),
        block(6, &packet),
    ]
    .concat();
    let paths = [write(&folder, "a", &file), write(&folder, "b", &pcap(&[9], b'b', 60))];
    let mut inputs = Inputs::open(&paths).unwrap();
    assert_eq!(inputs.next_frame().unwrap().unwrap().bytes, b"x");
    assert_eq!(inputs.take_secrets(), [b"KEYS".to_vec()]);
    assert_eq!(drain(&mut inputs).len(), 1);
}

#[test]
fn a_capture_that_grows_while_it_is_read_is_read_to_where_it_ends_then() {
    let folder = tempfile::tempdir().unwrap();
    let times: Vec<u32> = (1..=600).collect();
    let whole = pcap(&times, b'g', 2_000);
    let record = 2_016;
    // The first part is longer than any buffer and ends in the middle of a record.
    let cut = 24 + 400 * record + 700;
    let path = write(&folder, "growing.pcap", &whole[..cut]);
    let mut inputs = Inputs::open(std::slice::from_ref(&path)).unwrap();
    for _ in 0..100 {
        assert!(inputs.advance().unwrap());
    }
    fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(&whole[cut..]).unwrap();
    assert_eq!(drain(&mut inputs).len(), 500);
    assert!(inputs.take_warnings().is_empty());
}

#[test]
fn what_comes_after_the_end_was_reached_is_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let whole = pcap(&[1, 2, 3], b'g', 100);
    let path = write(&folder, "growing.pcap", &whole[..whole.len() - 7]);
    let mut inputs = Inputs::open(std::slice::from_ref(&path)).unwrap();
    assert_eq!(drain(&mut inputs).len(), 2);
    fs::OpenOptions::new()
        .append(true)
        .open(&path)
        .unwrap()
        .write_all(&whole[whole.len() - 7..])
        .unwrap();
    assert!(!inputs.advance().unwrap());
    let warnings = inputs.take_warnings();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].to_string().contains("256"), "{}", warnings[0]);
}
