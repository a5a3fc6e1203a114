//! HPACK against a decoder and an encoder that share no code with ours (`httlib-hpack`): over the header
//! blocks of recorded connections, and over random fields in random encodings.

use std::fs;
use std::path::Path;

use httlib_hpack::{Decoder, Encoder};
use tw_exercise::Random;
use tw_model::{Direction, Endpoint, FlowId, Protocol, SourceId};
use tw_proto::{Event, Header, HttpEventKind, HttpVersion, Limits, Reader};
use tw_stream::{Flow, StreamEvent, Table};
use tw_wire::Decoded;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;

type Fields = Vec<(String, String)>;
type Said = Vec<(Direction, Vec<u8>)>;

/// The heads and trailers that our reader tells of HTTP/2, by who sent them.
fn ours(said: &Said) -> [Vec<Fields>; 2] {
    let end = |port| Endpoint::new([192, 0, 2, 1].into(), port);
    let mut reader = Reader::new(FlowId(1), end(1), end(2), Protocol::TCP, Limits::default());
    let mut heads: [Vec<Fields>; 2] = Default::default();
    let pairs = |fields: &[Header]| -> Fields {
        fields.iter().map(|field| (field.name.clone().into_owned(), field.value.clone())).collect()
    };
    let mut take = |event: Event<'_>| {
        let Event::Http(http) = event else { return };
        let (sender, fields) = match http.kind {
            HttpEventKind::RequestHead(head) if head.version == HttpVersion::Http2 => {
                let mut fields = vec![
                    (":method".to_owned(), head.method.clone()),
                    (":path".to_owned(), head.target.clone()),
                ];
                fields.extend(pairs(&head.headers));
                (http.request_direction, fields)
            }
            HttpEventKind::ResponseHead(head) if head.version == HttpVersion::Http2 => {
                let mut fields = vec![(":status".to_owned(), head.status.to_string())];
                fields.extend(pairs(&head.headers));
                (http.request_direction.reversed(), fields)
            }
            HttpEventKind::ResponseTrailers(fields) => {
                (http.request_direction.reversed(), pairs(fields))
            }
            _ => return,
        };
        heads[sender.index()].push(fields);
    };
    for (direction, bytes) in said {
        reader.data(*direction, bytes, &mut take);
    }
    reader.close(&mut take);
    heads
}

/// The header blocks of one direction: what begins after the preface, or after an upgrade's head.
fn blocks(bytes: &[u8]) -> Vec<Vec<u8>> {
    let preface = bytes.windows(PREFACE.len()).position(|window| window == PREFACE);
    let head = || Some(bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4);
    let begin = preface.map(|at| at + PREFACE.len()).or_else(head).unwrap_or(0);
    let mut rest = &bytes[begin..];
    let mut blocks: Vec<Vec<u8>> = Vec::new();
    while let Some((header, after)) = rest.split_first_chunk::<9>() {
        let len =
            usize::from(header[0]) << 16 | usize::from(header[1]) << 8 | usize::from(header[2]);
        let Some((payload, next)) = after.split_at_checked(len) else { break };
        match header[3] {
            HEADERS => blocks.push(unpadded(header[4], payload).to_vec()),
            CONTINUATION => blocks.last_mut().expect("a block to go on").extend(payload),
            _ => {}
        }
        rest = next;
    }
    blocks
}

/// RFC 9113 §6.2.
fn unpadded(flags: u8, payload: &[u8]) -> &[u8] {
    let padding = if flags & 8 == 0 { 0 } else { usize::from(payload[0]) + 1 };
    let front = padding.min(1) + if flags & 0x20 == 0 { 0 } else { 5 };
    &payload[front..payload.len() - padding.saturating_sub(1)]
}

fn theirs(blocks: &[Vec<u8>]) -> Vec<Fields> {
    let mut decoder = Decoder::default();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("recorded fields are text");
    let mut all = Vec::new();
    for block in blocks {
        let mut fields = Vec::new();
        decoder.decode(&mut block.clone(), &mut fields).expect("a recorded block");
        all.push(fields.into_iter().map(|(name, value, _)| (text(name), text(value))).collect());
    }
    all
}

/// Pseudo fields that our heads show in another place.
fn comparable(heads: Vec<Fields>) -> Vec<Fields> {
    let keep = |(name, _): &(String, String)| !matches!(&**name, ":scheme" | ":authority");
    let mut heads: Vec<Fields> =
        heads.into_iter().map(|fields| fields.into_iter().filter(keep).collect()).collect();
    heads.iter_mut().for_each(|fields: &mut Fields| fields.sort());
    heads
}

fn assert_same(said: &Said) -> usize {
    let ours = ours(said);
    let mut compared = 0;
    for direction in [Direction::ToResponder, Direction::ToOpener] {
        let bytes: Vec<u8> =
            said.iter().filter(|(way, _)| *way == direction).flat_map(|(_, b)| b.clone()).collect();
        let wanted = comparable(theirs(&blocks(&bytes)));
        assert_eq!(comparable(ours[direction.index()].clone()), wanted);
        compared += wanted.len();
    }
    compared
}

#[test]
fn recorded_blocks_are_read_as_another_decoder_reads_them() {
    for (capture, least) in [("buildx-grpc", 50), ("buildkit-dns", 6)] {
        let path = format!("../../testdata/scenarios/{capture}.pcap");
        let file = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).expect("testdata");
        let mut table: Table<Said> = Table::new(tw_stream::Limits::default());
        let mut compared = 0;
        let mut take = |flow: &mut Flow<Said>, event: StreamEvent<'_>| match event {
            StreamEvent::Data { direction, bytes, .. } => {
                flow.user.push((direction, bytes.to_vec()));
            }
            StreamEvent::Close(_)
                if flow.user.iter().any(|(_, bytes)| bytes.starts_with(PREFACE)) =>
            {
                compared += assert_same(&flow.user);
            }
            _ => {}
        };
        let mut decoder = tw_wire::Decoder::new(tw_wire::Limits::default());
        let mut reader = tw_wire::file::Reader::open(&*file, SourceId(0)).expect("a capture");
        while let Some(frame) = reader.next_frame().expect("whole") {
            decoder.push(&frame, &mut |decoded| {
                if let Decoded::Packet(packet) = decoded {
                    table.push(&packet, &mut |flow, _, event| take(flow, event));
                }
            });
        }
        table.finish(&mut |flow, _, event| take(flow, event));
        assert!(compared >= least, "{capture}: {compared} heads");
    }
}

fn any_text(random: &mut Random, alphabet: &[u8], most: usize) -> Vec<u8> {
    (0..random.below(most + 1)).map(|_| alphabet[random.below(alphabet.len())]).collect()
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).expect("a small frame").to_be_bytes();
    [&len[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Requests with random fields, encoded at random.
fn random_connection(random: &mut Random) -> Said {
    const NAME: &[u8] = b"abcdefghijklmnopqrstuvwxyz0123456789-";
    let printable: Vec<u8> = (b'!'..=b'~').collect();
    let mut encoder = Encoder::default();
    let mut bytes = PREFACE.to_vec();
    bytes.extend(frame(4, 0, 0, &[]));
    for number in 0..1 + u32::try_from(random.below(20)).expect("few") {
        let mut block = Vec::new();
        if random.below(6) == 0 {
            let size = [0, 64, 300, 4096][random.below(4)];
            encoder.update_max_dynamic_size(size, &mut block).expect("a size");
        }
        let mut fields: Vec<(Vec<u8>, Vec<u8>)> = vec![
            (b":method".to_vec(), [b"GET".to_vec(), b"POST".to_vec()][random.below(2)].clone()),
            (b":path".to_vec(), [b"/".to_vec(), any_text(random, &printable, 40)].concat()),
        ];
        for _ in 0..random.below(10) {
            let known = [b"accept".to_vec(), b"user-agent".to_vec(), b"x-a".to_vec()];
            let name = match random.below(4) {
                0 => [b"x-".to_vec(), any_text(random, NAME, 20)].concat(),
                at => known[at - 1].clone(),
            };
            let most = [0, 3, 200][random.below(3)];
            fields.push((name, any_text(random, &printable, most)));
        }
        for (name, value) in fields {
            let flags = [Encoder::HUFFMAN_NAME, Encoder::HUFFMAN_VALUE, Encoder::BEST_FORMAT];
            let mut how = flags.iter().fold(0, |all, flag| all | (flag * random.below(2) as u8));
            how |= [0, Encoder::WITH_INDEXING, Encoder::NEVER_INDEXED][random.below(3)];
            encoder.encode((name, value, how), &mut block).expect("a field");
        }
        let cut = random.below(block.len() + 1);
        let stream = 2 * number + 1;
        bytes.extend(frame(HEADERS, 0, stream, &block[..cut]));
        bytes.extend(frame(CONTINUATION, END_HEADERS, stream, &block[cut..]));
        bytes.extend(frame(DATA, 1, stream, &[]));
    }
    let pieces = bytes.chunks(1 + random.below(200));
    pieces.map(|piece| (Direction::ToResponder, piece.to_vec())).collect()
}

#[test]
fn random_fields_in_random_encodings_come_out_as_they_went_in() {
    let mut compared = 0;
    for seed in 1..=400 {
        compared += assert_same(&random_connection(&mut Random(seed)));
    }
    assert!(compared > 3000, "{compared} heads");
}
