//! JSON lines, as the output contract has them (schema 1).

use std::net::IpAddr;

use serde::Serialize;
use tw_model::{
    Anomaly, ApiCall, Connection, ContainerEvent, Evidence, FlowRecord, HttpExchange, NameAnswer,
    Protocol, RecordNumber, Sampling, Timestamp, TlsHello,
};

use super::sources::Sources;
use super::{community, id};

/// Version of the output contract.
pub(crate) const SCHEMA: u32 = 1;

/// What all events have in common.
#[derive(Serialize)]
struct Envelope<'a, B> {
    event_type: &'static str,
    schema: u32,
    timestamp: Timestamp,
    #[serde(skip_serializing_if = "str::is_empty")]
    environment: &'a str,
    sensor: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    evidence: Vec<Place<'a>>,
    #[serde(flatten)]
    body: B,
}

/// One place in the input.
#[derive(Serialize)]
struct Place<'a> {
    source: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    frame: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    record: Option<u64>,
    timestamp: Timestamp,
}

/// What a line is about, apart from its body.
pub(crate) struct About<'a> {
    /// `event_type`.
    pub(crate) event: &'static str,
    /// When.
    pub(crate) timestamp: Timestamp,
    /// Whose, empty where no environment applies.
    pub(crate) environment: &'a str,
    /// Where it stands.
    pub(crate) evidence: &'a [Evidence],
}

/// Writes events as lines.
pub(crate) struct Writer<'a> {
    sources: &'a Sources,
    sensor: &'a str,
}

impl<'a> Writer<'a> {
    pub(crate) const fn new(sources: &'a Sources, sensor: &'a str) -> Self {
        Self { sources, sensor }
    }

    /// One line without its line feed.
    pub(crate) fn line<B: Serialize>(&self, about: &About<'_>, body: B) -> String {
        let envelope = Envelope {
            event_type: about.event,
            schema: SCHEMA,
            timestamp: about.timestamp,
            environment: about.environment,
            sensor: self.sensor,
            evidence: about.evidence.iter().map(|place| self.place(place)).collect(),
            body,
        };
        serde_json::to_string(&envelope).unwrap_or_default()
    }

    fn place(&self, evidence: &Evidence) -> Place<'_> {
        let (frame, record) = match evidence.record {
            RecordNumber::Frame(number) => (Some(number), None),
            RecordNumber::Record(number) => (None, Some(number)),
        };
        let source = self.sources.name(evidence.source);
        Place { source, frame, record, timestamp: evidence.timestamp }
    }
}

/// The fields of Suricata's EVE that say who spoke to whom.
#[derive(Serialize)]
struct Tuple {
    flow_id: u64,
    src_ip: IpAddr,
    src_port: u16,
    dest_ip: IpAddr,
    dest_port: u16,
    proto: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    community_id: Option<String>,
}

/// `connection` event.
pub(crate) fn connection(connection: &Connection) -> impl Serialize + '_ {
    #[derive(Serialize)]
    struct Body {
        #[serde(flatten)]
        tuple: Tuple,
        #[serde(skip_serializing_if = "Option::is_none")]
        app_proto: Option<tw_model::AppProtocol>,
        bytes_toserver: u64,
        bytes_toclient: u64,
        pkts_toserver: u64,
        pkts_toclient: u64,
        start: Timestamp,
        end: Timestamp,
        state: tw_model::ConnectionState,
        via: tw_model::Via,
    }
    let [bytes_toserver, bytes_toclient] = connection.bytes;
    let [pkts_toserver, pkts_toclient] = connection.packets;
    Body {
        tuple: Tuple {
            flow_id: connection.id.0,
            src_ip: connection.opener.ip,
            src_port: connection.opener.port,
            dest_ip: connection.responder.ip,
            dest_port: connection.responder.port,
            proto: connection.protocol.to_string(),
            community_id: community::id(
                connection.opener,
                connection.responder,
                connection.protocol,
            ),
        },
        app_proto: connection.app,
        bytes_toserver,
        bytes_toclient,
        pkts_toserver,
        pkts_toclient,
        start: connection.first,
        end: connection.last,
        state: connection.state,
        via: connection.via,
    }
}

/// `http` event.
pub(crate) fn http(exchange: &HttpExchange) -> impl Serialize + '_ {
    #[derive(Serialize)]
    struct Http<'a> {
        method: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        host: Option<&'a str>,
        url: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        status: Option<u16>,
        protocol: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        http_user_agent: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        http_content_type: Option<&'a str>,
        length: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        sha256: Option<&'a str>,
    }
    #[derive(Serialize)]
    struct Body<'a> {
        #[serde(flatten)]
        tuple: Tuple,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        decrypted: bool,
        http: Http<'a>,
    }
    Body {
        tuple: Tuple {
            flow_id: exchange.flow.0,
            src_ip: exchange.client.ip,
            src_port: exchange.client.port,
            dest_ip: exchange.server.ip,
            dest_port: exchange.server.port,
            proto: Protocol::TCP.to_string(),
            community_id: None,
        },
        decrypted: exchange.decrypted,
        http: Http {
            method: &exchange.method,
            host: exchange.host_field.as_deref().or(exchange.host.as_deref()),
            url: &exchange.target,
            status: exchange.status,
            protocol: exchange.protocol,
            http_user_agent: exchange.user_agent.as_deref(),
            http_content_type: exchange.content_type.as_deref(),
            length: exchange.body_bytes,
            sha256: exchange.sha256.as_deref(),
        },
    }
}

/// `tls` event.
pub(crate) fn tls(hello: &TlsHello) -> impl Serialize + '_ {
    #[derive(Serialize)]
    struct Tls<'a> {
        #[serde(skip_serializing_if = "Option::is_none")]
        sni: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        version: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        ja4: Option<&'a str>,
        #[serde(skip_serializing_if = "<[_]>::is_empty")]
        alpn: &'a [String],
    }
    #[derive(Serialize)]
    struct Body<'a> {
        #[serde(flatten)]
        tuple: Tuple,
        tls: Tls<'a>,
    }
    let proto = if hello.quic { Protocol::UDP } else { Protocol::TCP };
    Body {
        tuple: Tuple {
            flow_id: hello.flow.0,
            src_ip: hello.client.ip,
            src_port: hello.client.port,
            dest_ip: hello.server.ip,
            dest_port: hello.server.port,
            proto: proto.to_string(),
            community_id: None,
        },
        tls: Tls {
            sni: hello.sni.as_deref(),
            version: hello.version.as_deref(),
            ja4: hello.ja4.as_deref(),
            alpn: &hello.alpn,
        },
    }
}

/// `dns` event.
pub(crate) fn dns(answer: &NameAnswer) -> impl Serialize + '_ {
    #[derive(Serialize)]
    struct Dns<'a> {
        query: &'a str,
        qtype: &'a str,
        rcode: u8,
        answers: Vec<String>,
    }
    #[derive(Serialize)]
    struct Body<'a> {
        src_ip: IpAddr,
        src_port: u16,
        dest_ip: IpAddr,
        dest_port: u16,
        dns: Dns<'a>,
    }
    let addresses = answer.addresses.iter().map(ToString::to_string);
    let answers =
        addresses.chain(answer.cnames.iter().cloned()).chain(answer.other.iter().cloned());
    Body {
        src_ip: answer.client.ip,
        src_port: answer.client.port,
        dest_ip: answer.server.ip,
        dest_port: answer.server.port,
        dns: Dns {
            query: &answer.query,
            qtype: &answer.qtype,
            rcode: answer.rcode,
            answers: answers.collect(),
        },
    }
}

/// `api_call` event.
pub(crate) fn api_call(call: &ApiCall) -> impl Serialize + '_ {
    #[derive(Serialize)]
    struct Body<'a> {
        id: String,
        client: IpAddr,
        client_port: u16,
        daemon: String,
        route: tw_model::Route,
        #[serde(skip_serializing_if = "str::is_empty")]
        method: &'a str,
        path: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        api_version: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        user_agent: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        status: Option<u16>,
        #[serde(skip_serializing_if = "Option::is_none")]
        stream: Option<&'a tw_model::StreamUse>,
        tls: bool,
        certain: bool,
        complete: bool,
    }
    Body {
        id: id::call(call),
        client: call.client.ip,
        client_port: call.client.port,
        daemon: call.daemon.to_string(),
        route: call.route,
        method: &call.method,
        path: &call.path,
        api_version: call.api_version.as_deref(),
        user_agent: call.user_agent.as_deref(),
        status: call.status,
        stream: call.stream.as_ref(),
        tls: call.tls,
        certain: call.certain,
        complete: call.complete,
    }
}

/// `container` event.
pub(crate) fn container(event: &ContainerEvent) -> impl Serialize + '_ {
    #[derive(Serialize)]
    struct Body<'a> {
        id: String,
        #[serde(flatten)]
        event: &'a ContainerEvent,
    }
    Body { id: id::container(event), event }
}

/// `flow_record` event: what the record says, as exported.
pub(crate) fn flow_record(record: &FlowRecord) -> impl Serialize + '_ {
    #[derive(Serialize)]
    struct Flow {
        version: u16,
        exporter: IpAddr,
        observation_domain: u32,
        #[serde(skip_serializing_if = "Option::is_none")]
        src_ip: Option<IpAddr>,
        #[serde(skip_serializing_if = "Option::is_none")]
        dest_ip: Option<IpAddr>,
        #[serde(skip_serializing_if = "Option::is_none")]
        src_port: Option<u16>,
        #[serde(skip_serializing_if = "Option::is_none")]
        dest_port: Option<u16>,
        #[serde(skip_serializing_if = "Option::is_none")]
        proto: Option<u8>,
        #[serde(skip_serializing_if = "Option::is_none")]
        packets: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        bytes: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        reverse_packets: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        reverse_bytes: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        tcp_flags: Option<u8>,
        #[serde(skip_serializing_if = "Option::is_none")]
        start: Option<Timestamp>,
        #[serde(skip_serializing_if = "Option::is_none")]
        end: Option<Timestamp>,
        #[serde(skip_serializing_if = "Option::is_none")]
        sampling: Option<u32>,
    }
    #[derive(Serialize)]
    struct Body {
        flow: Flow,
    }
    Body {
        flow: Flow {
            version: record.version,
            exporter: record.exporter.ip,
            observation_domain: record.domain,
            src_ip: record.source,
            dest_ip: record.destination,
            src_port: record.source_port,
            dest_port: record.destination_port,
            proto: record.protocol,
            packets: record.forward.packets,
            bytes: record.forward.bytes,
            reverse_packets: record.reverse.and_then(|counts| counts.packets),
            reverse_bytes: record.reverse.and_then(|counts| counts.bytes),
            tcp_flags: record.forward.tcp_flags,
            start: record.first,
            end: record.last,
            sampling: match record.sampling {
                Sampling::OneIn(n) => Some(n),
                Sampling::Untold | Sampling::UnknownRate => None,
            },
        },
    }
}

/// `anomaly` event.
pub(crate) fn anomaly(anomaly: &Anomaly) -> impl Serialize + '_ {
    #[derive(Serialize)]
    struct Body {
        kind: tw_model::AnomalyKind,
        #[serde(skip_serializing_if = "Option::is_none")]
        community_id: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        src_ip: Option<IpAddr>,
        #[serde(skip_serializing_if = "Option::is_none")]
        src_port: Option<u16>,
        #[serde(skip_serializing_if = "Option::is_none")]
        dest_ip: Option<IpAddr>,
        #[serde(skip_serializing_if = "Option::is_none")]
        dest_port: Option<u16>,
        #[serde(skip_serializing_if = "Option::is_none")]
        proto: Option<String>,
    }
    let (source, target) = anomaly.endpoints.unzip();
    let community_id = match (source, target, anomaly.protocol) {
        (Some(a), Some(b), Some(protocol)) => community::id(a, b, protocol),
        _ => None,
    };
    Body {
        kind: anomaly.kind,
        community_id,
        src_ip: source.map(|end| end.ip),
        src_port: source.map(|end| end.port),
        dest_ip: target.map(|end| end.ip),
        dest_port: target.map(|end| end.port),
        proto: anomaly.protocol.map(|protocol| protocol.to_string()),
    }
}
