//! From frames to observations: decoder, connection table, protocol readers and Docker semantics,
//! on one thread, without IO or a clock of its own.
//!
//! This is what `replay`, `learn`, `dissect`, the benches and the fuzz targets run.

use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;

use tw_detect::{ExporterList, ShapeMeter};
use tw_docker::{Api, ConnFacts};
use tw_model::{
    Anomaly, AppProtocol, Connection, DestinationName, Direction, Endpoint, Evidence, MacAddress,
    NameOrigin, Observation, ObservationBody, Opener, Protocol, ProxyKind, Secrets, TlsHello,
    TlsShape, Via,
};
use tw_netflow::{Collector, Datagram, looks_like_export};
use tw_proto::{Event, HttpEventKind, KeyLog, KeyLogCounters, Reader, TlsRecord};
use tw_stream::{CloseReason, Flow, Interest, StreamEvent, Table};
use tw_wire::{Decoded, Decoder, Frame, LinkType};

use self::held::{Held, Parked};

mod exports;
mod held;

/// Names kept with one connection.
const NAMES_PER_FLOW: usize = 8;
/// Docker hosts whose downloads are hashed.
const HASHED_HOSTS: usize = 65_536;

/// Limits of every stage.
#[derive(Clone, Debug, Default)]
pub struct Limits {
    /// Of the decoder.
    pub wire: tw_wire::Limits,
    /// Of the connection table.
    pub stream: tw_stream::Limits,
    /// Of the protocol readers.
    pub proto: tw_proto::Limits,
    /// Of the Docker semantics.
    pub docker: tw_docker::Limits,
    /// Of the flow collector.
    pub netflow: tw_netflow::Limits,
    /// Ports that a Docker API is expected on; the shape of TLS there is measured.
    pub docker_ports: DockerPorts,
    /// Whose flow records are taken.
    pub exporters: ExporterList,
}

/// Ports that a Docker API is expected on.
#[derive(Clone, Debug)]
pub struct DockerPorts(pub Vec<u16>);

impl Default for DockerPorts {
    fn default() -> Self {
        Self(tw_detect::Policy::default().docker_ports)
    }
}

/// Counters of every stage.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    /// Frames pushed.
    pub frames: u64,
    /// Captured bytes pushed.
    pub bytes: u64,
    /// Anomalies observed.
    pub anomalies: u64,
    /// Of the decoder.
    pub wire: tw_wire::Counters,
    /// Of the connection table.
    pub stream: tw_stream::Counters,
    /// Of the Docker semantics.
    pub docker: tw_docker::Counters,
    /// Of the flow collector.
    pub netflow: tw_netflow::Counters,
    /// Export datagrams of exporters that are not on the list.
    pub unlisted_datagrams: u64,
    /// Who sent those, as far as there was room, with how many.
    pub unlisted_exporters: BTreeMap<IpAddr, u64>,
    /// Of the TLS key log.
    pub keys: KeyLogCounters,
    /// TLS connections that were given up waiting for their secrets, for want of room.
    pub keys_not_awaited: u64,
}

/// What the engine keeps with every connection.
#[derive(Default)]
struct Tracked {
    reader: Option<Box<Reader>>,
    names: Vec<DestinationName>,
    tunnel: Option<(String, ProxyKind)>,
    first: Option<Evidence>,
    announced: bool,
    app: Option<AppProtocol>,
    client: Option<Direction>,
    /// What waits for TLS secrets.
    held: Option<Box<Held>>,
    /// Shape of opaque TLS where a Docker API may be.
    shape: Option<Box<ShapeMeter>>,
}

/// The engine. Order of calls: any number of [`push`](Self::push) and
/// [`keys`](Self::keys), then one [`finish`](Self::finish).
pub struct Engine {
    decoder: Decoder,
    table: Table<Tracked>,
    rest: Rest,
    frames: u64,
    bytes: u64,
}

/// Everything but the decoder and the table, so that both can call it while they are borrowed.
struct Rest {
    api: Api,
    collector: Collector,
    exporters: ExporterList,
    unlisted_datagrams: u64,
    unlisted_exporters: BTreeMap<IpAddr, u64>,
    /// Is every flow record told, and not only what they add up to?
    records_wanted: bool,
    limits: tw_proto::Limits,
    hosts: HashSet<IpAddr>,
    host_macs: HashSet<MacAddress>,
    anomalies: u64,
    docker_ports: DockerPorts,
    /// Are ALPN and JA4 of all TLS clients told?
    fingerprints: bool,
    keys: KeyLog,
    await_keys: bool,
    /// Since closed connections that wait were looked at.
    keys_came: bool,
    /// Connections that ended while they waited for secrets.
    parked: Vec<Parked>,
    /// Bytes that wait for secrets, over all connections.
    held_bytes: usize,
    keys_not_awaited: u64,
}

impl Engine {
    /// An engine that has seen nothing.
    #[must_use]
    pub fn new(limits: Limits, secrets: Secrets) -> Self {
        Self {
            decoder: Decoder::new(limits.wire),
            table: Table::new(limits.stream),
            rest: Rest {
                api: Api::new(limits.docker, secrets),
                collector: Collector::new(tw_netflow::Limits {
                    eager_ports: eager_ports(&limits.docker_ports),
                    ..limits.netflow
                }),
                exporters: limits.exporters,
                unlisted_datagrams: 0,
                unlisted_exporters: BTreeMap::new(),
                records_wanted: true,
                limits: limits.proto,
                hosts: HashSet::new(),
                host_macs: HashSet::new(),
                anomalies: 0,
                docker_ports: limits.docker_ports,
                fingerprints: false,
                keys: KeyLog::default(),
                await_keys: false,
                keys_came: false,
                parked: Vec::new(),
                held_bytes: 0,
                keys_not_awaited: 0,
            },
            frames: 0,
            bytes: 0,
        }
    }

    /// Takes one frame. Never fails: hostile bytes become anomalies and counts.
    pub fn push(&mut self, frame: &Frame<'_>, sink: &mut dyn FnMut(Observation)) {
        let Self { decoder, table, rest, frames, bytes } = self;
        *frames += 1;
        *bytes += frame.bytes.len() as u64;
        rest.unpark(sink);
        if frame.link == LinkType::IPFIX_MESSAGE {
            rest.message(frame, sink);
            return;
        }
        decoder.push(frame, &mut |decoded| match decoded {
            Decoded::Packet(packet) => {
                table.push(&packet, &mut |flow, at, event| rest.on_event(flow, at, event, sink));
            }
            Decoded::Anomaly { kind, evidence } => {
                rest.anomaly(kind, None, None, evidence, sink);
            }
        });
    }

    /// Takes in whole lines of a TLS key log: connections whose secrets are known are decrypted.
    pub fn keys(&mut self, lines: &[u8]) {
        self.rest.keys.push(lines);
        self.rest.keys_came = true;
    }

    /// From here on key log lines may come after the packets that they are for, which wait for them
    /// as far as there is room.
    pub const fn await_keys(&mut self) {
        self.rest.await_keys = true;
    }

    /// Tells ALPN and JA4 of every TLS client, and not of those of Docker APIs only. Takes time.
    pub const fn fingerprint(&mut self) {
        self.rest.fingerprints = true;
    }

    /// From here on single flow records are not told, only connections.
    pub const fn without_records(&mut self) {
        self.rest.records_wanted = false;
    }

    /// End of input: everything that is still open is told.
    pub fn finish(&mut self, sink: &mut dyn FnMut(Observation)) {
        let Self { table, rest, .. } = self;
        table.finish(&mut |flow, at, event| rest.on_event(flow, at, event, sink));
        rest.unpark_all(sink);
        rest.finish_exports(sink);
        rest.api.finish(sink);
    }

    /// What was counted so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        Counters {
            frames: self.frames,
            bytes: self.bytes,
            anomalies: self.rest.anomalies,
            wire: self.decoder.counters().clone(),
            stream: self.table.counters(),
            docker: self.rest.api.counters(),
            netflow: self.rest.collector.counters(),
            unlisted_datagrams: self.rest.unlisted_datagrams,
            unlisted_exporters: self.rest.unlisted_exporters.clone(),
            keys: self.rest.keys.counters(),
            keys_not_awaited: self.rest.keys_not_awaited,
        }
    }
}

impl Rest {
    fn on_event(
        &mut self,
        flow: &mut Flow<Tracked>,
        at: Evidence,
        event: StreamEvent<'_>,
        sink: &mut dyn FnMut(Observation),
    ) {
        match event {
            StreamEvent::Open => {
                flow.user.first = Some(at);
                return;
            }
            StreamEvent::Anomaly(kind) => {
                let ends = Some((flow.opener, flow.responder));
                self.anomaly(kind, ends, Some(flow.protocol), at, sink);
                return;
            }
            StreamEvent::Close(reason) => {
                self.connection_closed(flow, at, reason, sink);
                return;
            }
            StreamEvent::Datagram { direction, bytes, missing }
                if looks_like_export(bytes, missing) =>
            {
                self.exported(flow, at, direction, bytes, sink);
                return;
            }
            StreamEvent::Data { .. } | StreamEvent::Datagram { .. } if !flow.user.announced => {
                flow.user.announced = true;
                self.read(flow, at, event, sink);
                self.connection(flow, at, sink);
            }
            _ => self.read(flow, at, event, sink),
        }
        self.decide(flow);
    }

    fn connection_closed(
        &mut self,
        flow: &mut Flow<Tracked>,
        at: Evidence,
        reason: CloseReason,
        sink: &mut dyn FnMut(Observation),
    ) {
        if self.may_park(flow) {
            self.connection(flow, at, sink);
            return self.park(flow, at, reason);
        }
        self.end(flow, at, reason, sink);
    }

    fn end(
        &mut self,
        flow: &mut Flow<Tracked>,
        at: Evidence,
        reason: CloseReason,
        sink: &mut dyn FnMut(Observation),
    ) {
        self.read(flow, at, StreamEvent::Close(reason), sink);
        match reason {
            CloseReason::Fin | CloseReason::Reset => self.api.close(flow.id, at, sink),
            _ => self.api.forget(flow.id, at, sink),
        }
        if let Some(mut shape) = flow.user.shape.take() {
            let mut tell = shaped(flow.user.first, at, sink);
            match reason {
                CloseReason::Fin | CloseReason::Reset => shape.close(&mut tell),
                _ => shape.forget(&mut tell),
            }
        }
        // The flow lingers to swallow late packets; nothing is told of it any more.
        let names = std::mem::take(&mut flow.user.names);
        let tunnel = flow.user.tunnel.take();
        let connection = Connection { names, tunnel, ended: true, ..describe(flow) };
        sink(observed(at, flow.user.first, ObservationBody::Connection(connection)));
        flow.user = Tracked::default();
    }

    /// The one place that decides what of a connection can still matter. Only counts are kept of one
    /// whose reader can learn nothing more: TLS after its hellos, a protocol that is not read. Of a
    /// plain HTTP body that nobody looks at (no API call, no file that a build waits for, no download
    /// of a docker host) the rest is only counted, up to its last byte; the heads are always read.
    fn decide(&self, flow: &mut Flow<Tracked>) {
        let Some(reader) = &flow.user.reader else { return };
        let wanted = flow.user.held.is_some() || reader.wants_more();
        flow.interest = if wanted { Interest::Payload } else { Interest::Counts };
        let client = reader.client_direction();
        let unread = |direction| match reader.plain_body(direction) {
            Some((exchange, left))
                if !self.api.reads_body(flow.id, exchange, client == Some(direction)) =>
            {
                left
            }
            _ => 0,
        };
        flow.unread = [Direction::ToResponder, Direction::ToOpener].map(unread);
    }

    fn read(
        &mut self,
        flow: &mut Flow<Tracked>,
        at: Evidence,
        event: StreamEvent<'_>,
        sink: &mut dyn FnMut(Observation),
    ) {
        if flow.user.held.is_some() && self.still_waits(flow, at, &event, sink) {
            return;
        }
        self.feed(flow, at, event, sink);
        self.unlock(flow, at, sink);
    }

    /// Hands an event to the connection's reader.
    fn feed(
        &mut self,
        flow: &mut Flow<Tracked>,
        at: Evidence,
        event: StreamEvent<'_>,
        sink: &mut dyn FnMut(Observation),
    ) {
        let mut reader = match flow.user.reader.take() {
            Some(reader) => reader,
            None if matches!(event, StreamEvent::Close(_)) => return,
            None => Box::new(self.reader(flow)),
        };
        reader.at(at.timestamp);
        let mut each = |told: Event<'_>| self.on_protocol(flow, at, told, sink);
        match event {
            StreamEvent::Data { direction, bytes, .. } => reader.data(direction, bytes, &mut each),
            StreamEvent::Gap { direction, len, .. } => reader.gap(direction, len, &mut each),
            StreamEvent::Unread { direction, len } => reader.unread(direction, len, &mut each),
            StreamEvent::HalfClose { direction } => reader.half_close(direction, &mut each),
            StreamEvent::Datagram { direction, bytes, missing } => {
                reader.datagram(direction, bytes, missing, &mut each);
            }
            StreamEvent::Close(_) => reader.close(&mut each),
            StreamEvent::Open | StreamEvent::Anomaly(_) => {}
        }
        flow.user.app = reader.app();
        flow.user.client = reader.client_direction();
        // A resolver's datagrams have nothing to do with each other.
        let goes_on = flow.protocol == Protocol::TCP || reader.app() != Some(AppProtocol::Dns);
        flow.user.reader = goes_on.then_some(reader);
    }

    fn exported(
        &mut self,
        flow: &mut Flow<Tracked>,
        at: Evidence,
        direction: Direction,
        bytes: &[u8],
        sink: &mut dyn FnMut(Observation),
    ) {
        flow.user.app = Some(AppProtocol::Netflow);
        let exporter = match direction {
            Direction::ToResponder => flow.opener,
            Direction::ToOpener => flow.responder,
        };
        // Nobody sends from an address that stands for a file.
        if !tw_detect::is_file(exporter.ip.to_canonical()) {
            self.export(&Datagram { exporter, bytes, evidence: at }, sink);
        }
    }

    fn reader(&self, flow: &Flow<Tracked>) -> Reader {
        let mut reader =
            Reader::new(flow.id, flow.opener, flow.responder, flow.protocol, self.limits);
        if flow.midstream {
            reader.joined_midstream();
        }
        if self.await_keys || !self.keys.is_empty() {
            reader.decrypt();
        }
        let ports = &self.docker_ports.0;
        if ports.contains(&flow.responder.port) || ports.contains(&flow.opener.port) {
            reader.tell_records();
            reader.fingerprint();
        }
        if self.fingerprints {
            reader.fingerprint();
        }
        reader
    }

    fn on_protocol(
        &mut self,
        flow: &mut Flow<Tracked>,
        at: Evidence,
        event: Event<'_>,
        sink: &mut dyn FnMut(Observation),
    ) {
        match event {
            Event::Http(http) => {
                if let HttpEventKind::RequestHead(head) = http.kind
                    && let Some(authority) = &head.authority
                {
                    keep_name(&mut flow.user.names, host_of(authority), NameOrigin::Http);
                }
                let facts = self.facts(flow, http.decrypted);
                let Self { api, hosts, host_macs, .. } = self;
                let macs = flow.macs;
                api.http(&facts, &http, at, &mut |observation| {
                    note_host(hosts, host_macs, &observation, macs);
                    sink(observation);
                });
            }
            Event::Tls(hello) => {
                if let Some(sni) = &hello.sni {
                    keep_name(&mut flow.user.names, sni, NameOrigin::Sni);
                }
                flow.user.shape = self.shape(flow, &hello);
                sink(observed(at, flow.user.first, ObservationBody::Tls(hello)));
            }
            Event::TlsRecord(record) => measure(flow, at, record, sink),
            Event::ClientAuth(mut auth) => {
                auth.tag = flow.tag;
                sink(observed(at, flow.user.first, ObservationBody::ClientAuth(auth)));
            }
            Event::Dns(mut answer) => {
                answer.tag = flow.tag;
                sink(observed(at, None, ObservationBody::NameAnswer(answer)));
            }
            Event::Tunnel(authority, kind) => {
                keep_name(&mut flow.user.names, host_of(authority), NameOrigin::Http);
                flow.user.tunnel = Some((authority.chars().take(300).collect(), kind));
            }
            Event::Anomaly(kind) => {
                let ends = Some((flow.opener, flow.responder));
                self.anomaly(kind, ends, Some(flow.protocol), at, sink);
            }
        }
    }

    /// What is on a port of the client's says nothing.
    fn shape(&self, flow: &Flow<Tracked>, hello: &TlsHello) -> Option<Box<ShapeMeter>> {
        let TlsHello { client, server, ja4, .. } = hello;
        let meter = || ShapeMeter::new(flow.id, *client, *server, flow.tag, ja4.clone());
        let told = !hello.quic && self.docker_ports.0.contains(&server.port);
        told.then(|| Box::new(meter()))
    }

    fn facts(&self, flow: &Flow<Tracked>, tls: bool) -> ConnFacts {
        let hash = self.hosts.contains(&flow.opener.ip)
            || flow.macs.is_some_and(|(source, _)| self.host_macs.contains(&source));
        ConnFacts {
            flow: flow.id,
            opener: flow.opener,
            responder: flow.responder,
            tag: flow.tag,
            tls,
            midstream: flow.midstream,
            hash,
        }
    }

    fn connection(&self, flow: &Flow<Tracked>, at: Evidence, sink: &mut dyn FnMut(Observation)) {
        let connection = describe(flow);
        sink(observed(at, flow.user.first, ObservationBody::Connection(connection)));
    }

    fn anomaly(
        &mut self,
        kind: tw_model::AnomalyKind,
        endpoints: Option<(Endpoint, Endpoint)>,
        protocol: Option<Protocol>,
        at: Evidence,
        sink: &mut dyn FnMut(Observation),
    ) {
        self.anomalies += 1;
        let anomaly = Anomaly { kind, endpoints, protocol, detail: "" };
        sink(observed(at, None, ObservationBody::Anomaly(anomaly)));
    }
}

/// As many of the Docker API's ports as flow records are followed closely on.
fn eager_ports(ports: &DockerPorts) -> [u16; 8] {
    let mut eager = [0; 8];
    for (place, port) in eager.iter_mut().zip(&ports.0) {
        *place = *port;
    }
    eager
}

/// A record of opaque TLS on a Docker API's port.
fn measure(
    flow: &mut Flow<Tracked>,
    at: Evidence,
    record: TlsRecord,
    sink: &mut dyn FnMut(Observation),
) {
    let Some(shape) = &mut flow.user.shape else { return };
    let mut tell = shaped(flow.user.first, at, sink);
    match record {
        TlsRecord::Begun { direction, content_bytes } => {
            let sender = match direction {
                Direction::ToResponder => flow.opener,
                Direction::ToOpener => flow.responder,
            };
            shape.record(at.timestamp, sender, content_bytes, &mut tell);
        }
        TlsRecord::Missing => shape.missing(),
    }
}

fn shaped(
    first: Option<Evidence>,
    at: Evidence,
    sink: &mut dyn FnMut(Observation),
) -> impl FnMut(TlsShape) {
    move |shape| sink(observed(at, first, ObservationBody::TlsShape(Box::new(shape))))
}

/// What is known of a connection now. Where no SYN told who opened it, what is spoken tells.
fn describe(flow: &Flow<Tracked>) -> Connection {
    let by_protocol = flow.opener_known != Opener::Seen && flow.user.client.is_some();
    let swap = by_protocol && flow.user.client == Some(Direction::ToOpener);
    let pair = |values: [u64; 2]| if swap { [values[1], values[0]] } else { values };
    let (opener, responder) =
        if swap { (flow.responder, flow.opener) } else { (flow.opener, flow.responder) };
    let macs =
        flow.macs.map(|(source, target)| if swap { (target, source) } else { (source, target) });
    Connection {
        id: flow.id,
        opener,
        responder,
        opener_known: if by_protocol { Opener::ByProtocol } else { flow.opener_known },
        protocol: flow.protocol,
        app: flow.user.app,
        tag: flow.tag,
        macs,
        first: flow.first,
        last: flow.last,
        first_payload: flow.first_payload,
        payload_bytes: pair(flow.payload_bytes),
        packets: pair(flow.packets),
        bytes: pair(flow.bytes),
        state: flow.state,
        midstream: flow.midstream,
        gap_bytes: flow.gap_bytes,
        truncated: flow.truncated,
        via: Via::Packets,
        names: flow.user.names.clone(),
        tunnel: flow.user.tunnel.clone(),
        exported: None,
        ended: false,
    }
}

fn observed(at: Evidence, first: Option<Evidence>, body: ObservationBody) -> Observation {
    let mut evidence = Vec::with_capacity(2);
    evidence.extend(first);
    if first != Some(at) {
        evidence.push(at);
    }
    Observation { at: at.timestamp, evidence, body }
}

fn note_host(
    hosts: &mut HashSet<IpAddr>,
    macs: &mut HashSet<MacAddress>,
    observation: &Observation,
    flow_macs: Option<(MacAddress, MacAddress)>,
) {
    let ObservationBody::ApiCall(call) = &observation.body else { return };
    if !call.certain || hosts.len() >= HASHED_HOSTS {
        return;
    }
    if hosts.insert(call.daemon.ip)
        && let Some((_, daemon)) = flow_macs
    {
        macs.insert(daemon);
    }
}

fn keep_name(names: &mut Vec<DestinationName>, name: &str, from: NameOrigin) {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    if name.is_empty() || name.len() > 255 || name.parse::<IpAddr>().is_ok() {
        return;
    }
    let entry = DestinationName { name, from };
    if names.len() < NAMES_PER_FLOW && !names.contains(&entry) {
        // Most connections have one.
        names.reserve_exact(1);
        names.push(entry);
    }
}

/// `example.org:8080` to `example.org`, `[2001:db8::1]:80` to `2001:db8::1`.
fn host_of(authority: &str) -> &str {
    if let Some(rest) = authority.strip_prefix('[') {
        return rest.split(']').next().unwrap_or(rest);
    }
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) && !host.contains(':') => {
            host
        }
        _ => authority,
    }
}
