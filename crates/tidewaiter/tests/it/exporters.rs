//! The collector against exporters as they are packaged: softflowd, pmacct's pmacctd with its nfprobe,
//! nfdump's nfpcapd with nfreplay. They read recorded packets and send what they make of them over UDP
//! sockets; what is found must be what is true of the packets.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::collecting::{Collecting, QUICK, findings};
use crate::support::{Lab, parse, testdata};

/// One exporter, as it is asked to export.
#[derive(Clone, Copy, Debug)]
enum Exporter {
    /// Version, and further arguments.
    Softflowd(&'static str, &'static [&'static str]),
    /// Version, and further lines of configuration.
    Pmacctd(&'static str, &'static str),
    /// Version.
    Nfreplay(&'static str),
}
use Exporter::{Nfreplay, Pmacctd, Softflowd};

/// An active timeout far shorter than the builds of the recordings: they come in pieces.
const PIECES: &str = "nfprobe_timeouts: expint=1:maxlife=2\n";

const WHOLE: [Exporter; 9] = [
    Softflowd("5", &[]),
    Softflowd("9", &["-t", "expint=1", "-t", "maxlife=1"]),
    Softflowd("10", &[]),
    Softflowd("10", &["-b"]),
    Pmacctd("5", ""),
    Pmacctd("9", PIECES),
    Pmacctd("10", PIECES),
    Nfreplay("5"),
    Nfreplay("9"),
];

const SAMPLED: [Exporter; 4] = [
    Softflowd("5", &["-s", "10"]),
    Softflowd("9", &["-s", "10"]),
    Softflowd("10", &["-s", "10"]),
    Pmacctd("9", "sampling_rate: 10\n"),
];

impl Exporter {
    /// Reads a capture and exports to this address, until it has done so.
    fn export(self, lab: &Lab, capture: &Path, to: SocketAddr) {
        match self {
            Softflowd(version, more) => {
                let to = to.to_string();
                let mut arguments = vec!["-d", "-a", "-v", version, "-n", &to, "-r"];
                let capture = capture.to_str().expect("a path in UTF-8");
                arguments.push(capture);
                run(lab, "softflowd", &[&arguments, more].concat());
            }
            Pmacctd(version, more) => {
                let text = format!(
                    "daemonize: false\npcap_savefile: {}\nplugins: nfprobe\nnfprobe_receiver: {to}\n\
                     nfprobe_version: {version}\naggregate: src_host, dst_host, src_port, dst_port, \
                     proto, tos, tcpflags\n{more}",
                    capture.display()
                );
                let config = lab.file("pmacctd.conf", text.as_bytes());
                run(lab, "pmacctd", &["-f", config.to_str().expect("a path in UTF-8")]);
            }
            Nfreplay(version) => {
                let flows = lab.path("nfcapd");
                fs::create_dir_all(&flows).expect("a writable folder");
                let (flows, capture) = (flows.to_str().expect("UTF-8"), capture.to_str());
                let capture = capture.expect("a path in UTF-8");
                run(lab, "nfpcapd", &["-r", capture, "-w", flows, "-e", "2,1"]);
                let port = to.port().to_string();
                for file in fs::read_dir(flows).expect("a readable folder") {
                    let file = file.expect("a readable folder").path();
                    let file = file.to_str().expect("UTF-8");
                    run(
                        lab,
                        "nfreplay",
                        &["-r", file, "-H", "127.0.0.1", "-p", &port, "-v", version],
                    );
                }
            }
        }
    }
}

/// Runs a program to its end; one that does not even start well gets another chance.
fn run(lab: &Lab, program: &str, arguments: &[&str]) {
    let path = std::env::var("PATH").unwrap_or_default();
    let mut last = String::new();
    for _ in 0..3 {
        let output = Command::new("timeout")
            .args(["--signal=INT", "60", program])
            .args(arguments)
            .env("PATH", format!("{path}:/usr/sbin:/sbin"))
            .current_dir(lab.data_dir())
            .stdin(Stdio::null())
            .output()
            .expect("timeout is there");
        if output.status.success() {
            return;
        }
        last = format!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    panic!("{program} {arguments:?}: {last}");
}

/// What a collector prints of this capture, as the exporter tells of it.
fn collected(exporter: Exporter, capture: &str) -> Vec<Value> {
    let lab = Lab::learned();
    let mut collecting = Collecting::start(&lab, QUICK, &["--listen=127.0.0.1:0"]);
    let packets = testdata(&format!("scenarios/{capture}.pcap"));
    exporter.export(&lab, &packets, collecting.addresses[0]);
    collecting.until_records(1);
    collecting.stop()
}

fn pairs<'a>(findings: impl Iterator<Item = &'a Value>) -> BTreeSet<String> {
    findings
        .map(|f| {
            let to = f["destination"].as_str().or_else(|| f["destination"]["ip"].as_str());
            let host = f["docker_host"].as_str().or_else(|| f["host"].as_str());
            format!("{} {}", host.unwrap_or_default(), to.unwrap_or_default())
        })
        .collect()
}

fn truth(capture: &str) -> BTreeSet<String> {
    let path = testdata(&format!("scenarios/{capture}.truth.json"));
    let truth = parse(&fs::read_to_string(path).expect("a truth"));
    pairs(truth["findings"].as_array().expect("a list").iter())
}

#[test]
fn every_exporter_shows_the_build_and_all_that_it_fetched_and_nothing_else() {
    for exporter in WHOLE {
        for capture in ["slow-multi-stage", "benign-new-dst-no-build"] {
            let events = collected(exporter, capture);
            let told = findings(&events);
            let builds = told.values().filter(|f| f["rule"] == "build-new-destination");
            let medium = builds.filter(|f| f["severity"] != "low");
            assert_eq!(pairs(medium), truth(capture), "{exporter:?} {capture}");
            let stats = &events.last().expect("statistics")["exports"];
            for wrong in ["malformed", "sets_lost", "missing", "gaps", "unjoined"] {
                assert_eq!(stats[wrong], 0, "{wrong} of {exporter:?} {capture}: {stats}");
            }
        }
    }
}

#[test]
fn builds_in_pieces_are_really_in_pieces() {
    for exporter in [Pmacctd("9", PIECES), Nfreplay("9")] {
        let events = collected(exporter, "slow-multi-stage");
        let build = events.iter().rfind(|event| event["event_type"] == "build").expect("a build");
        let pieces = build["evidence"].as_array().map_or(0, Vec::len);
        assert!(pieces > 2, "{exporter:?}: {pieces} records, both ways");
    }
}

#[test]
fn sampled_records_say_so_and_claim_little() {
    for exporter in SAMPLED {
        for capture in ["slow-multi-stage", "benign-new-dst-no-build"] {
            let events = collected(exporter, capture);
            for finding in findings(&events).values() {
                let caveats = finding["caveats"].to_string();
                assert!(caveats.contains("\"sampled\""), "{exporter:?} {capture}: {finding}");
                assert_eq!(finding["severity"], "low", "{exporter:?} {capture}: {finding}");
            }
        }
    }
}
