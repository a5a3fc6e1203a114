//! Whole conversations, by hand-made HTTP events.

mod bounds;
mod buildkit;
mod builds;
mod containers;
mod creations;
mod cut;
mod recognition;
mod registries;
mod secrets;
mod tunnels;
mod uploads;

use tw_model::{
    ApiCall, Build, ContainerEvent, Direction, Endpoint, Evidence, FlowId, HttpExchange,
    ImageCreation, NetworkTag, Observation, ObservationBody, Secrets, SourceId, Timestamp,
};
use tw_proto::{
    BodyEnd, Extent, Header, HttpEvent, HttpEventKind, HttpVersion, RequestHead, ResponseHead,
};

use crate::{Api, ConnFacts, Limits};

/// What a daemon says in every answer.
const DAEMON: &[(&str, &str)] = &[("api-version", "1.41"), ("server", "Docker/20.10.24 (linux)")];

/// Drives an [`Api`], one frame an event, 1 ms apart, and keeps what it tells.
struct Driver {
    api: Api,
    frame: u64,
    seen: Vec<Observation>,
}

/// One connection of a [`Driver`].
#[derive(Clone, Copy)]
struct Conn(ConnFacts);

impl Conn {
    fn new(flow: u64, client: &str, server: &str) -> Self {
        let endpoint = |text: &str| {
            let socket: std::net::SocketAddr = text.parse().expect("an endpoint");
            Endpoint::new(socket.ip(), socket.port())
        };
        Self(ConnFacts {
            flow: FlowId(flow),
            opener: endpoint(client),
            responder: endpoint(server),
            tag: NetworkTag::default(),
            tls: false,
            midstream: false,
            hash: true,
        })
    }

    /// From an attacker to a daemon on its usual port.
    fn docker(flow: u64) -> Self {
        Self::new(flow, &format!("198.51.100.23:{}", 40_000 + flow), "10.10.1.5:2375")
    }

    /// From an attacker to any other port.
    fn web(flow: u64) -> Self {
        Self::new(flow, &format!("198.51.100.23:{}", 40_000 + flow), "10.10.1.5:80")
    }
}

fn headers(pairs: &[(&str, &str)]) -> Vec<Header> {
    pairs
        .iter()
        .map(|(name, value)| Header { name: (*name).to_owned().into(), value: (*value).into() })
        .collect()
}

impl Driver {
    fn new() -> Self {
        Self::with(Limits::default())
    }

    fn with(limits: Limits) -> Self {
        Self { api: Api::new(limits, Secrets::Redact), frame: 0, seen: Vec::new() }
    }

    fn at(&mut self) -> Evidence {
        self.frame += 1;
        let nanos = i64::try_from(self.frame).expect("a small number") * 1_000_000;
        Evidence::frame(SourceId(0), self.frame, Timestamp::from_nanos(nanos))
    }

    fn event(&mut self, conn: Conn, exchange: u64, kind: HttpEventKind<'_>) {
        let at = self.at();
        let event = HttpEvent {
            exchange,
            request_direction: Direction::ToResponder,
            via: None,
            decrypted: false,
            kind,
        };
        let seen = &mut self.seen;
        self.api.http(&conn.0, &event, at, &mut |observation| seen.push(observation));
    }

    fn request_head(&mut self, conn: Conn, exchange: u64, line: &str, fields: &[(&str, &str)]) {
        let (method, target) = line.split_once(' ').expect("method and target");
        let head = RequestHead {
            method: method.into(),
            target: target.into(),
            version: HttpVersion::Http11,
            authority: Some("10.10.1.5:2375".into()),
            headers: headers(fields),
            extent: Extent::Whole,
        };
        self.event(conn, exchange, HttpEventKind::RequestHead(&head));
    }

    fn request(
        &mut self,
        conn: Conn,
        exchange: u64,
        line: &str,
        fields: &[(&str, &str)],
        body: &[u8],
    ) {
        self.request_head(conn, exchange, line, fields);
        if !body.is_empty() {
            self.event(conn, exchange, HttpEventKind::RequestBody(body));
        }
        self.event(conn, exchange, HttpEventKind::RequestEnd(BodyEnd::Complete));
    }

    fn answer_head(&mut self, conn: Conn, exchange: u64, status: u16, fields: &[(&str, &str)]) {
        let head = ResponseHead {
            status,
            version: HttpVersion::Http11,
            headers: headers(fields),
            extent: Extent::Whole,
        };
        self.event(conn, exchange, HttpEventKind::ResponseHead(&head));
    }

    fn answer_body(&mut self, conn: Conn, exchange: u64, body: &str) {
        self.event(conn, exchange, HttpEventKind::ResponseBody(body.as_bytes()));
    }

    fn answer(
        &mut self,
        conn: Conn,
        exchange: u64,
        status: u16,
        fields: &[(&str, &str)],
        body: &str,
    ) {
        self.answer_head(conn, exchange, status, fields);
        if !body.is_empty() {
            self.answer_body(conn, exchange, body);
        }
        self.event(conn, exchange, HttpEventKind::ResponseEnd(BodyEnd::Complete));
    }

    /// One call of a well-behaved client to a daemon.
    fn call(
        &mut self,
        conn: Conn,
        exchange: u64,
        line: &str,
        body: &str,
        status: u16,
        answer: &str,
    ) {
        let json = [("content-type", "application/json")];
        self.request(conn, exchange, line, &json, body.as_bytes());
        self.answer(conn, exchange, status, DAEMON, answer);
    }

    fn close(&mut self, conn: Conn) {
        let at = self.at();
        let seen = &mut self.seen;
        self.api.close(conn.0.flow, at, &mut |observation| seen.push(observation));
    }

    fn finish(&mut self) {
        let seen = &mut self.seen;
        self.api.finish(&mut |observation| seen.push(observation));
    }

    /// The last word on each thing, in the order of their first words.
    fn last<T: Clone, K: PartialEq>(
        &self,
        pick: impl Fn(&ObservationBody) -> Option<T>,
        key: impl Fn(&T) -> K,
    ) -> Vec<T> {
        let mut all: Vec<T> = Vec::new();
        for thing in self.seen.iter().filter_map(|observation| pick(&observation.body)) {
            match all.iter_mut().find(|known| key(known) == key(&thing)) {
                Some(known) => *known = thing,
                None => all.push(thing),
            }
        }
        all
    }

    fn builds(&self) -> Vec<Build> {
        let pick = |body: &ObservationBody| match body {
            ObservationBody::Build(build) => Some((**build).clone()),
            _ => None,
        };
        self.last(pick, |build| build.id.clone())
    }

    fn build(&self) -> Build {
        let mut builds = self.builds();
        assert_eq!(builds.len(), 1, "{builds:#?}");
        builds.remove(0)
    }

    fn creations(&self) -> Vec<ImageCreation> {
        let pick = |body: &ObservationBody| match body {
            ObservationBody::ImageCreation(creation) => Some((**creation).clone()),
            _ => None,
        };
        self.last(pick, |creation| creation.id.clone())
    }

    fn containers(&self) -> Vec<ContainerEvent> {
        let pick = |body: &ObservationBody| match body {
            ObservationBody::Container(event) => Some((**event).clone()),
            _ => None,
        };
        self.last(pick, |event| event.call)
    }

    fn calls(&self) -> Vec<ApiCall> {
        let pick = |body: &ObservationBody| match body {
            ObservationBody::ApiCall(call) => Some(call.clone()),
            _ => None,
        };
        self.last(pick, |call| call.id)
    }

    fn exchanges(&self) -> Vec<HttpExchange> {
        let pick = |body: &ObservationBody| match body {
            ObservationBody::Http(exchange) => Some((**exchange).clone()),
            _ => None,
        };
        self.last(pick, |exchange| (exchange.flow, exchange.index))
    }
}

/// A USTAR archive (POSIX.1-1988) of small files.
fn tar(files: &[(&str, &str)]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(u64::try_from(content.len()).expect("small"));
        header.set_mode(0o644);
        archive.append_data(&mut header, name, content.as_bytes()).expect("in memory");
    }
    archive.into_inner().expect("in memory")
}
