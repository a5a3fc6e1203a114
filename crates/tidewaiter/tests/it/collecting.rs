//! A collector that runs: what it prints, and what it is sent.
#![expect(clippy::disallowed_methods, reason = "nobody waits for a program for ever")]

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{Lab, parse, testdata};

/// Longer than anything takes on a machine that does much besides.
const PATIENCE: Duration = Duration::from_secs(60);

/// Settles at once, and tells of itself often.
pub(crate) const QUICK: &str =
    "[collector]\nlateness = \"0s\"\nstats_every = \"200ms\"\nsave_every = \"200ms\"\n";

/// `tidewaiter collector` under way.
pub(crate) struct Collecting {
    child: Child,
    lines: Receiver<String>,
    log: Receiver<String>,
    /// Addresses that it listens on, in the order asked for.
    pub(crate) addresses: Vec<SocketAddr>,
    /// Everything that it printed so far.
    pub(crate) events: Vec<Value>,
}

impl Collecting {
    /// Starts it with this configuration, listening as `arguments` say.
    pub(crate) fn start(lab: &Lab, config: &str, arguments: &[&str]) -> Self {
        let config = lab.file("collector.toml", config.as_bytes());
        let mut child = lab
            .command("collector")
            .args(["-v", "--format", "json"])
            .arg("--data-dir")
            .arg(lab.data_dir())
            .arg("--config")
            .arg(config)
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let lines = read(child.stdout.take().expect("a pipe"));
        let log = read(child.stderr.take().expect("a pipe"));
        let mut this = Self { child, lines, log, addresses: Vec::new(), events: Vec::new() };
        let wanted = arguments.iter().filter(|argument| argument.starts_with("--listen")).count();
        while this.addresses.len() < wanted {
            let line = this.logged("listening on ");
            let (_, rest) = line.split_once("listening on ").expect("what was looked for");
            let address = rest.split(' ').next().expect("an address");
            this.addresses.push(address.parse().expect("an address"));
        }
        this
    }

    /// Waits for a line of the log that says this.
    pub(crate) fn logged(&mut self, what: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        let mut all = Vec::new();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.log.recv_timeout(left) {
                Ok(line) if line.contains(what) => return line,
                Ok(line) => all.push(line),
                Err(_) => panic!("never logged {what:?}: {all:?}"),
            }
        }
    }

    /// Waits for an event.
    pub(crate) fn until(&mut self, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => {
                    let event = parse(&line);
                    self.events.push(event.clone());
                    if is(&event) {
                        return event;
                    }
                }
                Err(RecvTimeoutError::Timeout) => panic!("no {what} in {:#?}", self.events.last()),
                Err(RecvTimeoutError::Disconnected) => panic!("it ended without {what}"),
            }
        }
    }

    /// Waits until so many flow records were taken.
    pub(crate) fn until_records(&mut self, count: u64) -> Value {
        self.until(&format!("{count} records"), |event| {
            event["exports"]["records"].as_u64().is_some_and(|records| records >= count)
        })
    }

    /// Waits for statistics that were gathered from now on.
    pub(crate) fn next_stats(&mut self) -> Value {
        self.until("statistics", |event| event["event_type"] == "stats");
        self.until("statistics", |event| event["event_type"] == "stats")
    }

    /// `kill -NAME`.
    pub(crate) fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.child.id());
        let status = Command::new("sh").args(["-c", &kill]).status().expect("a shell");
        assert!(status.success(), "{kill}");
    }

    /// Stops it in order, and gives all that it printed.
    pub(crate) fn stop(mut self) -> Vec<Value> {
        self.signal("TERM");
        self.end(Some(0))
    }

    /// Waits for its end.
    pub(crate) fn end(&mut self, status: Option<i32>) -> Vec<Value> {
        while let Ok(line) = self.lines.recv_timeout(PATIENCE) {
            self.events.push(parse(&line));
        }
        let ended = self.child.wait().expect("it ends");
        let log: Vec<String> = self.log.iter().collect();
        assert_eq!(ended.code(), status, "{log:?}");
        std::mem::take(&mut self.events)
    }
}

impl Drop for Collecting {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read(stream: impl std::io::Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    receiver
}

/// The UDP payloads of a capture of Ethernet and IPv4 without options.
pub(crate) fn payloads(capture: &Path) -> Vec<Vec<u8>> {
    let bytes = fs::read(capture).expect("a readable file");
    let little = bytes[..2] == [0xd4, 0xc3] || bytes[..2] == [0x4d, 0x3c];
    let number = |at: usize| {
        let four: [u8; 4] = bytes[at..at + 4].try_into().expect("four octets");
        if little { u32::from_le_bytes(four) } else { u32::from_be_bytes(four) }
    };
    let (mut at, mut all) = (24, Vec::new());
    while at < bytes.len() {
        let len = usize::try_from(number(at + 8)).expect("a length");
        let frame = &bytes[at + 16..at + 16 + len];
        assert_eq!((frame[14], frame[23]), (0x45, 17), "IPv4 and UDP");
        all.push(frame[42..].to_vec());
        at += 16 + len;
    }
    all
}

/// The export datagrams of `testdata/flows/NAME.pcap`.
pub(crate) fn exports(name: &str) -> Vec<Vec<u8>> {
    payloads(&testdata(&format!("flows/{name}.pcap")))
}

/// Sends each as a datagram, from an address of the same kind.
pub(crate) fn send(to: SocketAddr, datagrams: &[Vec<u8>]) {
    let own = if to.is_ipv4() { "127.0.0.1:0" } else { "[::1]:0" };
    send_from(&UdpSocket::bind(own).expect("a socket"), to, datagrams);
}

/// The same from one socket: an exporter that begins anew mostly has another port.
pub(crate) fn send_from(socket: &UdpSocket, to: SocketAddr, datagrams: &[Vec<u8>]) {
    for datagram in datagrams {
        socket.send_to(datagram, to).expect("loopback takes it");
    }
}

/// Sends all as one stream.
pub(crate) fn stream(to: SocketAddr, messages: &[Vec<u8>]) -> TcpStream {
    let mut stream = TcpStream::connect(to).expect("it listens");
    for part in messages.concat().chunks(777) {
        stream.write_all(part).expect("it reads");
    }
    stream
}

/// What findings say at last, by their id: severity, verdict, destination and caveats.
pub(crate) fn findings(events: &[Value]) -> BTreeMap<String, Value> {
    let mut last: BTreeMap<String, (u64, Value)> = BTreeMap::new();
    for event in events.iter().filter(|event| event["event_type"] == "finding") {
        let revision = event["revision"].as_u64().unwrap_or(0);
        let id = event["id"].as_str().expect("an id").to_owned();
        let gist = serde_json::json!({
            "rule": event["rule"], "severity": event["severity"], "verdict": event["verdict"],
            "host": event["docker_host"], "destination": event["destination"],
            "builds": event["builds"], "caveats": event["caveats"], "novelty": event["novelty"],
        });
        match last.get(&id) {
            Some((before, _)) if *before >= revision => {}
            _ => drop(last.insert(id, (revision, gist))),
        }
    }
    last.into_iter().map(|(id, (_, gist))| (id, gist)).collect()
}
