use std::io::{self, Read};

use tw_model::{SourceId, Timestamp};

use super::{DamageKind, MAX_FRAME, OpenError, Reader};
use crate::LinkType;

/// A frame that outlives the reader's buffer: time, link type, interface, original length, bytes.
type Owned = (i64, u16, u32, u32, Vec<u8>);

/// Gives at most `at_most` bytes a call.
struct Trickle<'a> {
    bytes: &'a [u8],
    at_most: usize,
}

impl Read for Trickle<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let most = self.at_most.min(buf.len());
        self.bytes.read(&mut buf[..most])
    }
}

fn read_with(bytes: &[u8], at_most: usize, capacity: usize) -> (Vec<Owned>, Option<String>) {
    let input = Trickle { bytes, at_most };
    let mut reader = Reader::with_capacity(input, SourceId(0), capacity).unwrap();
    let mut frames = Vec::new();
    loop {
        match reader.next_frame() {
            Ok(Some(frame)) => {
                assert!(frame.number > frames.len() as u64);
                frames.push((
                    frame.timestamp.as_nanos(),
                    frame.link.0,
                    frame.interface,
                    frame.original_len,
                    frame.bytes.to_vec(),
                ));
            }
            Ok(None) => {
                assert_eq!(reader.bytes_read(), bytes.len() as u64);
                return (frames, None);
            }
            Err(damage) => {
                assert!(matches!(reader.next_frame(), Ok(None)), "nothing follows a damage");
                return (frames, Some(damage.to_string()));
            }
        }
    }
}

fn read(bytes: &[u8]) -> (Vec<Owned>, Option<String>) {
    read_with(bytes, usize::MAX, 1 << 20)
}

/// Writes numbers in one byte order.
#[derive(Clone, Copy)]
struct Order {
    big: bool,
}

const BOTH: [Order; 2] = [Order { big: false }, Order { big: true }];

impl Order {
    fn u16(self, value: u16) -> [u8; 2] {
        if self.big { value.to_be_bytes() } else { value.to_le_bytes() }
    }

    fn u32(self, value: u32) -> [u8; 4] {
        if self.big { value.to_be_bytes() } else { value.to_le_bytes() }
    }

    fn words(self, values: &[u32]) -> Vec<u8> {
        values.iter().flat_map(|&value| self.u32(value)).collect()
    }

    fn pcap(self, magic: u32, network: u32) -> Vec<u8> {
        [&self.u32(magic)[..], &self.u16(2), &self.u16(4), &self.words(&[0, 0, 0, network])]
            .concat()
    }

    fn pcap_record(self, seconds: u32, fraction: u32, original_len: u32, bytes: &[u8]) -> Vec<u8> {
        let header = self.words(&[seconds, fraction, bytes.len() as u32, original_len]);
        [&header, bytes].concat()
    }

    fn block(self, kind: u32, body: &[u8]) -> Vec<u8> {
        let mut padded = body.to_vec();
        padded.resize(body.len().next_multiple_of(4), 0);
        let length = padded.len() as u32 + 12;
        [self.words(&[kind, length]), padded, self.words(&[length])].concat()
    }

    fn section(self) -> Vec<u8> {
        let version = [self.u16(1), self.u16(0)].concat();
        self.block(0x0a0d_0d0a, &[&self.words(&[0x1a2b_3c4d]), &version, &[0xff; 8][..]].concat())
    }

    fn interface(self, link: u16, snap_len: u32, options: &[(u16, &[u8])]) -> Vec<u8> {
        let mut body = [&self.u16(link)[..], &[0, 0], &self.u32(snap_len)].concat();
        for (code, value) in options {
            body.extend([self.u16(*code), self.u16(value.len() as u16)].concat());
            body.extend_from_slice(value);
            body.resize(body.len().next_multiple_of(4), 0);
        }
        self.block(1, &body)
    }

    fn packet(self, interface: u32, ticks: u64, original_len: u32, bytes: &[u8]) -> Vec<u8> {
        let (high, low) = ((ticks >> 32) as u32, ticks as u32);
        let head = self.words(&[interface, high, low, bytes.len() as u32, original_len]);
        self.block(6, &[&head, bytes].concat())
    }
}

#[test]
fn pcap_is_read_in_both_orders_and_resolutions() {
    for order in BOTH {
        for (magic, nanos_per_tick) in [(0xa1b2_c3d4, 1000), (0xa1b2_3c4d, 1)] {
            let file = [
                order.pcap(magic, 0x1000_0071),
                order.pcap_record(3, 7, 90, b"abc"),
                order.pcap_record(4, 0, 0, b""),
            ]
            .concat();
            let first = (3_000_000_000 + 7 * nanos_per_tick, 0x71, 0, 90, b"abc".to_vec());
            assert_eq!(read(&file), (vec![first, (4_000_000_000, 0x71, 0, 0, vec![])], None));
        }
    }
}

#[test]
fn a_pcap_cut_anywhere_gives_the_whole_records_before_and_names_the_offset() {
    let order = BOTH[0];
    let records: Vec<_> =
        (0..5).map(|n| order.pcap_record(n, 0, 9, &vec![7; n as usize])).collect();
    let file = [order.pcap(0xa1b2_c3d4, 1), records.concat()].concat();
    for cut in 24..=file.len() {
        let mut whole = 0;
        let mut at = 24;
        while let Some(record) = records.get(whole)
            && at + record.len() <= cut
        {
            at += record.len();
            whole += 1;
        }
        let (frames, damage) = read(&file[..cut]);
        assert_eq!(frames.len(), whole, "cut {cut}");
        let expected =
            (at != cut).then(|| format!("cut off in the middle of a record at byte {at}"));
        assert_eq!(damage, expected);
    }
}

#[test]
fn an_impossible_record_length_is_named_and_allocates_nothing() {
    let order = BOTH[1];
    for length in [u32::MAX, MAX_FRAME as u32 + 1] {
        let file = [
            order.pcap(0xa1b2_c3d4, 1),
            order.pcap_record(1, 0, 3, b"abc"),
            order.words(&[1, 0, length, length]),
            vec![0; 100],
        ]
        .concat();
        let (frames, damage) = read(&file);
        assert_eq!(frames.len(), 1);
        assert_eq!(damage, Some(format!("impossible record length {length} at byte 43")));
    }
}

#[test]
fn frames_longer_than_the_buffer_are_read() {
    let order = BOTH[0];
    let file = [
        order.pcap(0xa1b2_c3d4, 1),
        order.pcap_record(1, 0, 0, &vec![5; MAX_FRAME]),
        order.pcap_record(1, 0, 0, &[6; 10]),
    ]
    .concat();
    let (frames, damage) = read_with(&file, 70_000, 512);
    assert_eq!(frames.iter().map(|frame| frame.4.len()).collect::<Vec<_>>(), [MAX_FRAME, 10]);
    assert_eq!(damage, None);
}

fn everything_pcapng(order: Order) -> Vec<u8> {
    let other = Order { big: !order.big };
    [
        order.section(),
        order.interface(1, 0, &[(2, b"eth0"), (9, &[9]), (0, b"")]),
        order.interface(101, 4, &[(9, &[0x80 | 10])]),
        order.block(0x0bbb, b"unknown"),
        order.packet(0, 5, 80, b"nano"),
        order.packet(1, 1536, 3, b"ten"),
        order.block(4, &[0; 8]),
        other.section(),
        other.interface(113, 3, &[(14, &[[0; 7], [9; 7]].concat()[..8])]),
        other.block(3, &[&other.words(&[100]), &b"simple"[..]].concat()),
        other.packet(0, 1 << 32, 4, b"four"),
        other.block(2, &[&other.words(&[0, 0, 2, 2, 2]), &b"pb"[..]].concat()),
    ]
    .concat()
}

#[test]
fn pcapng_sections_interfaces_and_resolutions_are_kept_apart() {
    for order in BOTH {
        let (frames, damage) = read(&everything_pcapng(order));
        assert_eq!(damage, None);
        let offset = if order.big { 9 << 56 } else { 9 };
        let at = |nanos| Timestamp::from_secs_nanos(offset, nanos).as_nanos();
        assert_eq!(
            frames,
            [
                (5, 1, 0, 80, b"nano".to_vec()),
                (1_500_000_000, 101, 1, 3, b"ten".to_vec()),
                (0, 113, 2, 100, b"sim".to_vec()),
                (at((1 << 32) * 1000), 113, 2, 4, b"four".to_vec()),
                (at(2000), 113, 2, 2, b"pb".to_vec()),
            ]
        );
    }
}

#[test]
fn reads_of_any_size_give_the_same_frames() {
    let order = BOTH[0];
    let pcap =
        [order.pcap(0xa1b2_c3d4, 1), order.pcap_record(1, 2, 3, &[9; 700]).repeat(5)].concat();
    for file in [pcap, everything_pcapng(order)] {
        let whole = read(&file);
        for at_most in [1, 2, 3, 7, 100, 513] {
            assert_eq!(read_with(&file, at_most, 512), whole, "{at_most} bytes a read");
        }
    }
}

#[test]
fn a_pcapng_cut_anywhere_gives_a_prefix() {
    let file = everything_pcapng(BOTH[0]);
    let (whole, _) = read(&file);
    for cut in 28..file.len() {
        let (frames, damage) = read(&file[..cut]);
        assert!(whole.starts_with(&frames), "cut {cut}");
        assert!(frames.len() < whole.len());
        if let Some(damage) = damage {
            assert!(damage.starts_with("cut off in the middle of a record at byte "), "{damage}");
        }
    }
}

#[test]
fn broken_pcapng_blocks_are_named() {
    let order = BOTH[0];
    let head = [order.section(), order.interface(1, 0, &[])].concat();
    let with = |block: Vec<u8>| read(&[head.clone(), block, order.packet(0, 0, 1, b"x")].concat());
    let at = head.len();
    let (frames, damage) = with(order.packet(7, 0, 1, b"x"));
    assert_eq!(frames.len(), 0);
    assert_eq!(
        damage,
        Some(format!("packet of interface 7, which is not described, at byte {at}"))
    );
    let (_, damage) = with(order.words(&[6, 8, 0, 0]));
    assert_eq!(damage, Some(format!("impossible record length 8 at byte {at}")));
    let (_, damage) = with(order.words(&[6, 0xffff_fff0, 0, 0]));
    assert_eq!(damage, Some(format!("impossible record length {} at byte {at}", 0xffff_fff0_u32)));
    let (_, damage) = with(order.words(&[0x0bbb, 0xffff_fff0, 0, 0]));
    assert_eq!(damage, Some(format!("cut off in the middle of a record at byte {at}")));
    let mut mismatch = order.packet(0, 0, 1, b"x");
    *mismatch.last_mut().unwrap() = 1;
    assert_eq!(with(mismatch).1, Some(format!("block lengths that differ at byte {at}")));
    let mut too_long = order.packet(0, 0, 1, b"x");
    too_long[20] = 99;
    assert_eq!(with(too_long).1, Some(format!("impossible record length 36 at byte {at}")));
}

#[test]
fn frames_are_numbered_as_wireshark_does() {
    let order = BOTH[0];
    let file = [
        order.section(),
        order.interface(1, 0, &[]),
        order.block(0x0bad, &[0; 8]),
        order.packet(0, 0, 1, b"x"),
        order.block(0x0bbb, &[0; 8]),
        order.block(9, b"MESSAGE"),
        order.packet(0, 0, 1, b"y"),
    ]
    .concat();
    let mut reader = Reader::open(&file[..], SourceId(0)).unwrap();
    assert_eq!(reader.next_frame().unwrap().map(|frame| frame.number), Some(2));
    assert_eq!(reader.next_frame().unwrap().map(|frame| frame.number), Some(4));
}

#[test]
fn key_logs_are_collected_before_their_frames() {
    let order = BOTH[0];
    let secrets = |kind: u32, data: &[u8]| {
        order.block(10, &[&order.words(&[kind, data.len() as u32]), data].concat())
    };
    let file = [
        order.section(),
        order.interface(1, 0, &[]),
        secrets(0x544c_534b, b"CLIENT_RANDOM 1 2\n"),
        secrets(0x5747_4b4c, b"wireguard"),
        order.packet(0, 0, 1, b"x"),
    ]
    .concat();
    let mut reader = Reader::open(&file[..], SourceId(3)).unwrap();
    let frame = reader.next_frame().unwrap().unwrap();
    assert_eq!((frame.source, frame.link, frame.number), (SourceId(3), LinkType(1), 1));
    assert_eq!(reader.take_secrets(), [b"CLIENT_RANDOM 1 2\n".to_vec()]);
    assert!(reader.take_secrets().is_empty());
}

#[test]
fn what_is_no_capture_is_named() {
    let mut tar = vec![b'a'; 300];
    tar[200] = 0;
    tar[257..262].copy_from_slice(b"ustar");
    for (bytes, message) in [
        (&b""[..], "not a capture file: it is empty"),
        (b"a", "not a capture file: it looks like text"),
        (b"hello, world\n", "not a capture file: it looks like text"),
        (b"\x1f\x8b\x08\0", "not a capture file: it looks like gzip-compressed data"),
        (b"\x7fELF\x02\x01", "not a capture file: it looks like an ELF program"),
        (b"\n <!DOCTYPE html>", "not a capture file: it looks like an HTML page"),
        (b"{\"a\":1}", "not a capture file: it looks like JSON"),
        (&[0; 40], "not a capture file: it looks like nothing but zero bytes"),
        (&tar, "not a capture file: it looks like a tar archive"),
        (b"\x01\x02\x03\x04", "not a capture file: it looks like unknown data"),
        (b"\x34\xcd\xb2\xa1", "modified pcap (magic a1b2cd34) is not supported"),
        (b"\xd4\xc3\xb2\xa1\x02", "cut off inside the file header, at byte 5"),
        (b"\x0a\x0d\x0d\x0a\x1c\0\0\0", "cut off inside the file header, at byte 8"),
    ] {
        let error = Reader::open(bytes, SourceId(0)).unwrap_err();
        assert_eq!(error.to_string(), message);
    }
}

#[test]
fn a_read_error_ends_with_what_was_read_before() {
    struct Fails;
    impl Read for Fails {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("broken disk"))
        }
    }
    assert!(matches!(Reader::open(Fails, SourceId(0)), Err(OpenError::Read(_))));
    let order = BOTH[0];
    let file = [order.pcap(0xa1b2_c3d4, 1), order.pcap_record(1, 0, 3, b"abc")].concat();
    let mut reader = Reader::open(file.chain(Fails), SourceId(0)).unwrap();
    assert!(reader.next_frame().unwrap().is_some());
    let damage = reader.next_frame().unwrap_err();
    assert!(matches!(damage.kind, DamageKind::Read(_)));
    assert_eq!(damage.to_string(), "read error (broken disk) at byte 43");
}

#[test]
fn mutated_files_end_and_never_panic() {
    let order = BOTH[0];
    let pcap =
        [order.pcap(0xa1b2_c3d4, 1), order.pcap_record(1, 2, 3, &[9; 30]).repeat(5)].concat();
    let mut state = 0x1234_5678_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as usize
    };
    for file in [pcap, everything_pcapng(BOTH[0]), everything_pcapng(BOTH[1])] {
        for _ in 0..10_000 {
            let mut file = file.clone();
            for _ in 0..=random() % 4 {
                let at = random() % file.len();
                file[at] = random() as u8;
            }
            let Ok(mut reader) = Reader::with_capacity(&file[..], SourceId(0), 512) else {
                continue;
            };
            let mut frames = 0;
            while let Ok(Some(frame)) = reader.next_frame() {
                assert!(frame.bytes.len() <= file.len());
                frames += 1;
            }
            assert!(frames <= file.len() / 12);
        }
    }
}
