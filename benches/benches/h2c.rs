//! What HTTP/2 in clear costs: `cargo bench -p tw-bench --bench h2c`. The bytes of the connections of two
//! recorded BuildKit builds, through the reader alone, with Docker's meaning, and packet by packet.
#![allow(missing_docs, reason = "criterion_group! makes a public function")]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tidewaiter::engine::{Engine, Limits};
use tw_docker::{Api, ConnFacts};
use tw_model::{
    Direction, Endpoint, Evidence, FlowId, NetworkTag, Protocol, Secrets, SourceId, Timestamp,
};
use tw_proto::{Event, Reader};
use tw_stream::{Flow, StreamEvent, Table};
use tw_wire::{Decoded, Decoder, Frame};

const RECORDINGS: [&[u8]; 2] = [
    include_bytes!("../../testdata/scenarios/buildx-grpc.pcap"),
    include_bytes!("../../testdata/scenarios/buildkit-dns.pcap"),
];

/// A connection to a Docker API: what was sent, in order.
struct Conversation {
    opener: Endpoint,
    responder: Endpoint,
    said: Vec<(Direction, Vec<u8>)>,
}

fn each_frame(file: &[u8], mut each: impl FnMut(&Frame<'_>)) {
    let mut reader = tw_wire::file::Reader::open(file, SourceId(0)).expect("a capture");
    while let Some(frame) = reader.next_frame().expect("whole") {
        each(&frame);
    }
}

/// Those that become HTTP/2.
fn conversations() -> Vec<Conversation> {
    let mut all = Vec::new();
    let mut take = |flow: &mut Flow<Vec<(Direction, Vec<u8>)>>, event: StreamEvent<'_>| match event
    {
        StreamEvent::Data { direction, bytes, .. } => flow.user.push((direction, bytes.to_vec())),
        StreamEvent::Close(_) => {
            let said = std::mem::take(&mut flow.user);
            let is_h2c = said.iter().any(|(_, bytes)| bytes.starts_with(b"PRI * HTTP/2.0"));
            if is_h2c {
                all.push(Conversation { opener: flow.opener, responder: flow.responder, said });
            }
        }
        _ => {}
    };
    for file in RECORDINGS {
        let mut table = Table::new(tw_stream::Limits::default());
        let mut decoder = Decoder::new(tw_wire::Limits::default());
        each_frame(file, |frame| {
            decoder.push(frame, &mut |decoded| {
                if let Decoded::Packet(packet) = decoded {
                    table.push(&packet, &mut |flow, _, event| take(flow, event));
                }
            });
        });
        table.finish(&mut |flow, _, event| take(flow, event));
    }
    all
}

fn read(conversation: &Conversation, flow: FlowId, sink: &mut dyn FnMut(Event<'_>)) {
    let Conversation { opener, responder, said } = conversation;
    let limits = tw_proto::Limits::default();
    let mut reader = Reader::new(flow, *opener, *responder, Protocol::TCP, limits);
    for (direction, bytes) in said {
        reader.data(*direction, bytes, sink);
    }
    reader.close(sink);
}

fn h2c(criterion: &mut Criterion) {
    let all = conversations();
    let bytes: usize = all.iter().flat_map(|c| &c.said).map(|(_, bytes)| bytes.len()).sum();
    let mut group = criterion.benchmark_group("h2c");
    group.throughput(Throughput::Bytes(u64::try_from(bytes).expect("some hundred kilobytes")));
    group.bench_function("reader", |bencher| {
        bencher.iter(|| {
            let mut sink = |event: Event<'_>| drop(black_box(event));
            (1..).zip(&all).for_each(|(flow, c)| read(c, FlowId(flow), &mut sink));
        });
    });
    group.bench_function("reader and Docker semantics", |bencher| {
        bencher.iter(|| {
            let mut api = Api::new(tw_docker::Limits::default(), Secrets::Redact);
            let at = Evidence::frame(SourceId(0), 1, Timestamp::from_nanos(1));
            let mut told = 0_u64;
            for (flow, conversation) in (1..).zip(&all) {
                let facts = ConnFacts {
                    flow: FlowId(flow),
                    opener: conversation.opener,
                    responder: conversation.responder,
                    tag: NetworkTag::default(),
                    tls: false,
                    midstream: false,
                    hash: false,
                };
                read(conversation, facts.flow, &mut |event| {
                    if let Event::Http(http) = event {
                        api.http(&facts, &http, at, &mut |_| told += 1);
                    }
                });
                api.close(facts.flow, at, &mut |_| told += 1);
            }
            told
        });
    });
    let file_bytes: usize = RECORDINGS.iter().map(|file| file.len()).sum();
    group.throughput(Throughput::Bytes(u64::try_from(file_bytes).expect("small files")));
    group.bench_function("captures through the engine", |bencher| {
        bencher.iter(|| {
            for file in RECORDINGS {
                let mut engine = Engine::new(Limits::default(), Secrets::Redact);
                each_frame(file, |frame| engine.push(frame, &mut |_| {}));
                engine.finish(&mut |_| {});
            }
        });
    });
    group.finish();
}

criterion_group!(benches, h2c);
criterion_main!(benches);
