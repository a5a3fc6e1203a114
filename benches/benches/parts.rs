//! What single parts cost: `cargo bench -p tw-bench`. Wall time, so only differences on a quiet
//! machine mean something; the gate in `.ci/run` counts instructions instead.
#![allow(missing_docs, reason = "criterion_group! makes a public function")]

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tidewaiter::engine::{Engine, Limits};
use tw_bench::{Packets, Sessions, write_mix};
use tw_detect::{Detector, Environments, Fact, Key, Policy, Seen};
use tw_model::{Direction, Endpoint, FlowId, Observation, Protocol, Secrets, SourceId, Timestamp};
use tw_proto::Reader;
use tw_store::{How, Memory, Options, Overlay};
use tw_stream::Table;
use tw_wire::{Decoded, Decoder, Frame, Packet, Transport};

const RECORDING: &[u8] = include_bytes!("../../testdata/scenarios/classic-http.pcap");

/// A capture of some hundred flows of every kind, two builds among them.
fn mix() -> Vec<u8> {
    let mut sessions = Sessions::new(RECORDING).expect("a capture of builds");
    let mut file = Vec::new();
    write_mix(1_000, 1, Packets::Full, &mut sessions, &mut file).expect("memory takes it");
    file
}

fn each_frame(file: &[u8], mut each: impl FnMut(&Frame<'_>)) -> u64 {
    let mut reader = tw_wire::file::Reader::open(file, SourceId(0)).expect("a capture");
    let mut frames = 0;
    while let Some(frame) = reader.next_frame().expect("whole") {
        frames += 1;
        each(&frame);
    }
    frames
}

fn each_packet(file: &[u8], mut each: impl FnMut(&Packet<'_>)) -> u64 {
    let mut decoder = Decoder::new(tw_wire::Limits::default());
    each_frame(file, |frame| {
        decoder.push(frame, &mut |decoded| {
            if let Decoded::Packet(packet) = decoded {
                each(&packet);
            }
        });
    })
}

/// The payload of the first packet that `wanted` takes.
fn payload(file: &[u8], wanted: impl Fn(&Packet<'_>, &[u8]) -> bool) -> Vec<u8> {
    let mut found = Vec::new();
    each_packet(file, |packet| {
        let bytes = match packet.transport {
            Transport::Tcp(tcp) => tcp.payload,
            Transport::Udp(udp) => udp.payload,
            Transport::Other { .. } => return,
        };
        if found.is_empty() && wanted(packet, bytes) {
            found = bytes.to_vec();
        }
    });
    assert!(!found.is_empty(), "no such packet");
    found
}

fn packets(criterion: &mut Criterion) {
    let file = mix();
    let mut group = criterion.benchmark_group("packets");
    group.throughput(Throughput::Elements(each_frame(&file, |_| {})));
    group.bench_function("read", |bencher| {
        bencher.iter(|| {
            each_frame(&file, |frame| {
                black_box(frame.number);
            })
        });
    });
    group.bench_function("decode", |bencher| {
        bencher.iter(|| {
            each_packet(&file, |packet| {
                black_box(packet.ip_len);
            })
        });
    });
    group.bench_function("reassemble", |bencher| {
        bencher.iter(|| {
            let mut table = Table::<()>::new(tw_stream::Limits::default());
            each_packet(&file, |packet| table.push(packet, &mut |_, _, _| {}))
        });
    });
    group.bench_function("engine", |bencher| {
        bencher.iter(|| {
            let mut engine = Engine::new(Limits::default(), Secrets::Redact);
            each_frame(&file, |frame| engine.push(frame, &mut |_| {}));
            engine.finish(&mut |_| {});
        });
    });
    group.finish();
}

fn endpoint(last: u8, port: u16) -> Endpoint {
    Endpoint::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, last)), port)
}

fn reader(protocol: Protocol, port: u16) -> Reader {
    let limits = tw_proto::Limits::default();
    Reader::new(FlowId(1), endpoint(1, 40_000), endpoint(2, port), protocol, limits)
}

fn protocols(criterion: &mut Criterion) {
    let file = mix();
    let mut group = criterion.benchmark_group("protocols");
    let hello = payload(&file, |_, bytes| bytes.starts_with(&[0x16, 3, 1]));
    group.bench_function("tls hello", |bencher| {
        bencher.iter(|| {
            let mut reader = reader(Protocol::TCP, 443);
            reader.data(Direction::ToResponder, &hello, &mut |event| drop(black_box(event)));
            reader.close(&mut |event| drop(black_box(event)));
        });
    });
    let answer = payload(
        &file,
        |packet, _| matches!(packet.transport, Transport::Udp(udp) if udp.src_port == 53),
    );
    group.bench_function("dns answer", |bencher| {
        let mut reader = reader(Protocol::UDP, 53);
        bencher.iter(|| {
            let mut sink = |event: tw_proto::Event<'_>| drop(black_box(event));
            reader.datagram(Direction::ToOpener, &answer, 0, &mut sink);
        });
    });
    let request = payload(&file, |_, bytes| bytes.starts_with(b"GET "));
    let body = vec![b'x'; 16 << 10];
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
    group.throughput(Throughput::Bytes(16 << 10));
    group.bench_function("http exchange of 16 KiB", |bencher| {
        let mut reader = reader(Protocol::TCP, 80);
        bencher.iter(|| {
            let mut sink = |event: tw_proto::Event<'_>| drop(black_box(event));
            reader.data(Direction::ToResponder, &request, &mut sink);
            reader.data(Direction::ToOpener, head.as_bytes(), &mut sink);
            for piece in body.chunks(1460) {
                reader.data(Direction::ToOpener, piece, &mut sink);
            }
        });
    });
    group.finish();
}

fn docker(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("docker");
    group.throughput(Throughput::Elements(each_frame(RECORDING, |_| {})));
    group.bench_function("a recorded build with its context", |bencher| {
        bencher.iter(|| {
            let mut engine = Engine::new(Limits::default(), Secrets::Redact);
            let mut told = 0_u64;
            let mut sink = |_: Observation| told += 1;
            each_frame(RECORDING, |frame| engine.push(frame, &mut sink));
            engine.finish(&mut sink);
            told
        });
    });
    group.finish();
}

fn facts(criterion: &mut Criterion) {
    let file = mix();
    let mut observations = Vec::new();
    let mut engine = Engine::new(Limits::default(), Secrets::Redact);
    each_frame(&file, |frame| engine.push(frame, &mut |told| observations.push(told)));
    engine.finish(&mut |told| observations.push(told));

    let mut group = criterion.benchmark_group("facts");
    group.throughput(Throughput::Elements(u64::try_from(observations.len()).expect("few")));
    group.bench_function("detector", |bencher| {
        bencher.iter(|| {
            let mut memory = Overlay::empty(Options::default());
            let mut detector = Detector::new(Policy::default(), Environments::default());
            for observation in &observations {
                detector.push(observation.clone(), &mut memory, &mut |_| {});
            }
        });
    });
    group.throughput(Throughput::Elements(1));
    let mut memory = Overlay::empty(Options::default());
    let host = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 5));
    let at = Timestamp::from_secs_nanos(1_795_593_600, 0);
    let address = |number: u32| Key::Address(IpAddr::V4(Ipv4Addr::from(number)));
    for number in 0..100_000 {
        let fact = Fact {
            environment: "default",
            host,
            key: address(number),
            at,
            via: tw_model::Via::Packets,
        };
        memory.record(&fact, How::Observed);
    }
    for (name, first) in [("ask, seen", 0), ("ask, never seen", 1 << 24)] {
        let mut number = 0;
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                number = (number + 7_919) % 100_000;
                memory.ask("default", host, address(first + number), at)
            });
        });
    }
    group.finish();
}

criterion_group!(benches, packets, protocols, docker, facts);
criterion_main!(benches);
