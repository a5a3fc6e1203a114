//! However the bytes of recorded connections are cut, the last word on everything that is read from them is
//! the same: one property over all readers that stand behind each other (HTTP/1, HTTP/2, TLS, tar and its
//! compressions, JSON, gRPC, BuildKit, registries).

use std::collections::BTreeMap;
use std::path::Path;
use std::{fs, thread};

use tw_docker::{Api, ConnFacts};
use tw_exercise::Random;
use tw_model::{Direction, Evidence, FlowId, ObservationBody, Secrets, SourceId, Timestamp};
use tw_proto::{Event, KeyLog, Limits, Reader};
use tw_stream::{CloseReason, Flow, StreamEvent, Table};
use tw_wire::Decoded;

const CAPTURES: [&str; 13] = [
    "buildkit-dns",
    "buildx-grpc",
    "commit-image",
    "curl-gzip-chunked",
    "curl-remote-context",
    "full-chain",
    "import-fromsrc",
    "load-image",
    "long-lived-api",
    "podman-libpod-dev",
    "push-implant",
    "tls-keylog",
    "tls12-keylog",
];

/// What happens on the TCP connections of a capture, in order.
enum Step {
    Data(Direction, Vec<u8>),
    HalfClose(Direction),
    Close(bool),
}

type Script = Vec<(ConnFacts, Step)>;

fn facts(flow: &Flow<()>) -> ConnFacts {
    ConnFacts {
        flow: flow.id,
        opener: flow.opener,
        responder: flow.responder,
        tag: flow.tag,
        tls: false,
        midstream: flow.midstream,
        hash: true,
    }
}

fn script(file: &[u8]) -> Script {
    let mut steps = Vec::new();
    let mut table: Table<()> = Table::new(tw_stream::Limits::default());
    let mut take = |flow: &mut Flow<()>, event: StreamEvent<'_>| {
        let step = match event {
            StreamEvent::Data { direction, bytes, .. } => Step::Data(direction, bytes.to_vec()),
            StreamEvent::HalfClose { direction } => Step::HalfClose(direction),
            StreamEvent::Close(CloseReason::Fin | CloseReason::Reset) => Step::Close(true),
            StreamEvent::Close(_) => Step::Close(false),
            _ => return,
        };
        steps.push((facts(flow), step));
    };
    let mut decoder = tw_wire::Decoder::new(tw_wire::Limits::default());
    let mut reader = tw_wire::file::Reader::open(file, SourceId(0)).expect("a capture");
    while let Some(frame) = reader.next_frame().expect("whole") {
        decoder.push(&frame, &mut |decoded| {
            if let Decoded::Packet(packet) = decoded {
                table.push(&packet, &mut |flow, _, event| take(flow, event));
            }
        });
    }
    table.finish(&mut |flow, _, event| take(flow, event));
    steps
}

/// The last word on everything, as text.
fn last_words(script: &Script, keys: &KeyLog, mut size: impl FnMut(usize) -> usize) -> Vec<String> {
    let mut api = Api::new(tw_docker::Limits::default(), Secrets::Redact);
    let mut readers: BTreeMap<FlowId, Reader> = BTreeMap::new();
    let mut words: BTreeMap<String, String> = BTreeMap::new();
    let at = Evidence::frame(SourceId(0), 1, Timestamp::from_nanos(1));
    for (facts, step) in script {
        let reader = readers.entry(facts.flow).or_insert_with(|| {
            let protocol = tw_model::Protocol::TCP;
            let limits = Limits::default();
            let mut reader =
                Reader::new(facts.flow, facts.opener, facts.responder, protocol, limits);
            reader.decrypt();
            reader
        });
        let mut told = Vec::new();
        let mut take = |event: Event<'_>, api: &mut Api| match event {
            Event::Http(http) => {
                let facts = ConnFacts { tls: http.decrypted, ..*facts };
                api.http(&facts, &http, at, &mut |seen| told.push(seen.body));
            }
            Event::Tls(hello) => told.push(ObservationBody::Tls(hello)),
            _ => {}
        };
        match step {
            Step::Data(direction, bytes) => {
                let mut rest = bytes.as_slice();
                while !rest.is_empty() {
                    let (piece, after) = rest.split_at(size(rest.len()).clamp(1, rest.len()));
                    reader.data(*direction, piece, &mut |event| take(event, &mut api));
                    while let Some(client) = reader.wants_secrets()
                        && let Some(secrets) = keys.find(&client)
                    {
                        reader.unlock(secrets, &mut |event| take(event, &mut api));
                    }
                    rest = after;
                }
            }
            Step::HalfClose(direction) => {
                reader.half_close(*direction, &mut |event| take(event, &mut api));
            }
            Step::Close(seen) => {
                reader.close(&mut |event| take(event, &mut api));
                let mut keep = |seen: tw_model::Observation| told.push(seen.body);
                if *seen {
                    api.close(facts.flow, at, &mut keep);
                } else {
                    api.forget(facts.flow, at, &mut keep);
                }
            }
        }
        words.extend(told.iter().map(word));
    }
    words.into_values().collect()
}

/// What it is about, and what is said of it.
fn word(body: &ObservationBody) -> (String, String) {
    let key = match body {
        ObservationBody::ApiCall(call) => format!("call {:?}", call.id),
        ObservationBody::Build(build) => format!("build {:?}", build.id),
        ObservationBody::ImageCreation(creation) => format!("creation {:?}", creation.id),
        ObservationBody::Container(event) => format!("container {:?}", event.call),
        ObservationBody::Http(exchange) => format!("http {:?} {}", exchange.flow, exchange.index),
        other => format!("{other:?}"),
    };
    (key, format!("{body:?}"))
}

fn check(capture: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/scenarios");
    let file = fs::read(folder.join(format!("{capture}.pcap"))).expect("testdata");
    let mut keys = KeyLog::default();
    keys.push(&fs::read(folder.join(format!("{capture}.keys"))).unwrap_or_default());
    let script = script(&file);
    let whole = last_words(&script, &keys, |left| left);
    let makes = |word: &&String| word.starts_with("Build(") || word.starts_with("ImageCreation(");
    assert!(whole.iter().any(|word| makes(&word)), "{capture}: {whole:?}");
    for seed in 1..=6 {
        let mut random = Random(seed);
        let most = [1, 2, 9, 100, 1000, 20_000][usize::try_from(seed).expect("few") - 1];
        let cut = last_words(&script, &keys, |_| 1 + random.below(most));
        for (cut, whole) in cut.iter().zip(&whole) {
            assert_eq!(cut, whole, "{capture}, seed {seed}");
        }
        assert_eq!(cut.len(), whole.len(), "{capture}, seed {seed}");
    }
}

#[test]
fn cuts_change_nothing_of_what_is_said_in_the_end() {
    thread::scope(|scope| {
        for half in CAPTURES.chunks(CAPTURES.len().div_ceil(2)) {
            scope.spawn(move || half.iter().copied().for_each(check));
        }
    });
}
