//! What has brought down HTTP/2 servers, sent to a Docker daemon: the memory of a run stays what it is, the limit
//! that was reached is said, and what comes afterwards on other connections is read.

use tw_model::Timestamp;
use tw_testkit::{Conversation, http_request, to_pcap};

use crate::support::{Lab, check_all, parse};

/// Address space that the program gets, code and threads included: no room for some hundred bytes a frame.
const MOST_KIB: u32 = 120 << 10;
const FLOOD_BYTES: usize = 4 << 20;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// RFC 9113 §4.1.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).expect("a frame").to_be_bytes();
    [&len[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// RFC 7541: `GET /_ping`, the path as a literal that is not indexed.
fn request(stream: u32, flags: u8) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | flags, stream, b"\x82\x86\x04\x06/_ping")
}

struct Flood {
    name: &'static str,
    /// Before it.
    begins: Vec<u8>,
    /// Each next part of it, by its number.
    part: fn(u32) -> Vec<u8>,
    /// Is a limit reached that has to be said?
    is_said: bool,
}

fn floods() -> Vec<Flood> {
    let open = |flags| frame(HEADERS, flags, 1, b"\x82\x86\x04\x06/_ping");
    // An entry of 4,000 bytes in the table, at index 62.
    let bomb = [&b"\x40\x01a\x7f\xa1\x1e"[..], &[b'x'; 4000]].concat();
    vec![
        Flood {
            name: "continuations",
            begins: open(0),
            part: |_| frame(CONTINUATION, 0, 1, &[0x82; 16_000]),
            is_said: true,
        },
        Flood {
            name: "empty continuations",
            begins: open(0),
            part: |_| frame(CONTINUATION, 0, 1, &[]),
            is_said: false,
        },
        Flood {
            name: "streams opened and reset",
            begins: Vec::new(),
            part: |n| {
                let stream = 2 * n + 1;
                [request(stream, END_STREAM), frame(RST_STREAM, 0, stream, &[0, 0, 0, 8])].concat()
            },
            is_said: true,
        },
        Flood {
            name: "streams opened",
            begins: Vec::new(),
            part: |n| request(2 * n + 1, 0),
            is_said: true,
        },
        Flood {
            name: "references to one long field",
            begins: frame(HEADERS, END_HEADERS, 1, &[&b"\x82\x86\x84"[..], &bomb].concat()),
            part: |n| frame(HEADERS, END_HEADERS | END_STREAM, 2 * n + 3, &[0xbe; 16_000]),
            is_said: true,
        },
        Flood {
            name: "entries for the table",
            begins: Vec::new(),
            part: |n| {
                let entry = [&b"\x40\x01a\x7f\xa1\x1e"[..], &[b'x'; 4000]].concat();
                frame(HEADERS, END_HEADERS | END_STREAM, 2 * n + 1, &entry)
            },
            is_said: false,
        },
        Flood {
            name: "settings",
            begins: Vec::new(),
            part: |n| frame(SETTINGS, 0, 0, &[&[0, 1][..], &n.to_be_bytes()].concat()),
            is_said: false,
        },
        Flood {
            name: "pings",
            begins: Vec::new(),
            part: |n| frame(PING, 0, 0, &[n.to_be_bytes(), [0; 4]].concat()),
            is_said: false,
        },
        Flood {
            name: "empty data",
            begins: request(1, 0),
            part: |_| frame(DATA, 0, 1, &[]),
            is_said: false,
        },
        Flood {
            name: "empty heads",
            begins: request(1, 0),
            part: |_| frame(HEADERS, END_HEADERS, 1, &[]),
            is_said: false,
        },
        Flood {
            name: "priorities and windows",
            begins: Vec::new(),
            part: |n| {
                let stream = 2 * n + 1;
                let window = frame(WINDOW_UPDATE, 0, stream, &[0, 0, 0, 1]);
                [frame(PRIORITY, 0, stream, &[0, 0, 0, 0, 1]), window].concat()
            },
            is_said: false,
        },
    ]
}

impl Flood {
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = [PREFACE, &frame(SETTINGS, 0, 0, &[]), &self.begins].concat();
        for number in 0.. {
            if bytes.len() >= FLOOD_BYTES {
                break;
            }
            bytes.extend((self.part)(number));
        }
        bytes
    }

    fn complaints(&self) -> Vec<String> {
        let daemon = "10.10.1.5:2375".parse().expect("an address");
        let client = |port| format!("198.51.100.23:{port}").parse().expect("an address");
        let at = Timestamp::from_secs_nanos(1_795_560_000, 0);
        let flood = Conversation::open(client(40_000), daemon, at)
            .client_sends(&self.bytes())
            .server_sends(&frame(SETTINGS, 0, 0, &[]))
            .close();
        let answer =
            b"HTTP/1.1 200 OK\r\nServer: Docker/20.10.24 (linux)\r\nContent-Length: 2\r\n\r\nOK";
        let after = flood.last().expect("packets").at.plus(std::time::Duration::from_secs(1));
        let later = Conversation::open(client(40_001), daemon, after)
            .client_sends(&http_request("GET", "/after-the-flood/_ping", &[], b""))
            .server_sends(answer)
            .close();
        let lab = Lab::new();
        let capture = lab.file("flood.pcap", &to_pcap(&[flood, later].concat()));
        self.judged(&lab, &capture)
    }

    fn judged(&self, lab: &Lab, capture: &std::path::Path) -> Vec<String> {
        let script = format!("ulimit -v {MOST_KIB} && exec \"$@\"");
        let output = std::process::Command::new("sh")
            .args(["-c", &script, "sh", env!("CARGO_BIN_EXE_tidewaiter"), "replay"])
            .args(["--all-events", "--format", "json", "--data-dir"])
            .args([&lab.data_dir(), capture])
            .output()
            .expect("a shell");
        let text = String::from_utf8_lossy(&output.stdout);
        let mut complaints = Vec::new();
        if output.status.code() != Some(0) {
            let said = String::from_utf8_lossy(&output.stderr);
            complaints.push(format!("{}: {} {said}", self.name, output.status));
        }
        if !text.contains("/after-the-flood/_ping") {
            complaints.push(format!("{}: what came later was not read", self.name));
        }
        let limits = text
            .lines()
            .filter(|line| line.contains("http2-limit") && parse(line)["event_type"] == "anomaly");
        if (limits.count() > 0) != self.is_said {
            complaints.push(format!("{}: is a limit said? {}", self.name, self.is_said));
        }
        complaints
    }
}

#[test]
fn floods_of_http2_take_no_memory() {
    check_all(&floods(), Flood::complaints);
}
