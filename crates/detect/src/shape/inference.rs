//! Whether a shape is a build's.

use tw_model::{Build, BuildId, CallId, Caveat, Frontend, Inference, Outcome, TlsShape, Transport};

use crate::text::stable_id;

/// Content of a request that has a body: a head alone is shorter than that and the smallest archive
/// together, what JSON bodies are sent with is told by the lines of the answer.
const UPLOAD_BYTES: u64 = 300;
/// Records of each side that a session has at least which a build uses; one that is thrown away
/// exchanges settings only.
const SESSION_RECORDS: u64 = 8;

/// The build that a shape shows, if it shows one.
pub(crate) fn inferred(shape: &TlsShape) -> Option<Build> {
    let signs = classic(shape).or_else(|| session(shape))?;
    let started = if shape.upgraded.is_some() { shape.started } else { shape.asked };
    let mut caveats = vec![Caveat::TlsOpaque];
    if shape.gaps {
        caveats.push(Caveat::Gaps);
    }
    let how = (Frontend::Inferred, Transport::Rest);
    let ends = (shape.client, shape.server);
    Some(Build {
        calls: vec![CallId { flow: shape.flow, index: shape.exchange }],
        tls: true,
        inference: Some(Inference { ja4: shape.ja4.clone(), signs, doubtful: false }),
        ended: shape.ended.max(started),
        end_seen: shape.end_seen,
        outcome: if shape.lines.built > 0 { Outcome::Succeeded } else { Outcome::Unknown },
        caveats,
        ..Build::begun(id(shape), ends, shape.tag, how, started)
    })
}

/// The classic builder's answer begins with steps. Where something was uploaded before, one of them is
/// enough; without, there must be two, one of them run or cached.
fn classic(shape: &TlsShape) -> Option<Vec<String>> {
    let lines = &shape.lines;
    let uploaded = shape.request_bytes >= UPLOAD_BYTES;
    let enough = uploaded || lines.steps >= 2 && lines.running.max(lines.cached) > 0;
    if !lines.opening || lines.steps == 0 || !enough {
        return None;
    }
    let mut signs = vec![format!(
        "the answer has {} that are as long as the first lines of a build step",
        count(lines.steps, "pair of records", "pairs of records")
    )];
    for (seen, line) in [
        (lines.running, "\"Running in\""),
        (lines.cached, "\"Using cache\""),
        (lines.removed, "\"Removing intermediate container\""),
        (lines.built, "\"Successfully built\""),
    ] {
        if seen > 0 {
            signs.push(format!("{} as long as {line}", count(seen, "record", "records")));
        }
    }
    if uploaded {
        signs.push(format!("{} bytes were sent before it", shape.request_bytes));
    }
    Some(signs)
}

/// BuildKit's session: an upgrade to HTTP/2 in which the *server* is the one that calls (Docker Engine
/// API, Session), and does.
fn session(shape: &TlsShape) -> Option<Vec<String>> {
    let upgraded = shape.upgraded.filter(|upgraded| upgraded.by_server == Some(true))?;
    if upgraded.client_records.min(upgraded.server_records) < SESSION_RECORDS {
        return None;
    }
    Some(vec![
        "the connection went over to HTTP/2, on which the daemon calls the client: a BuildKit session"
            .to_owned(),
        format!(
            "{} records to the daemon and {} from it followed",
            upgraded.client_records, upgraded.server_records
        ),
    ])
}

/// As other builds' ids: of what is the same in every run, with time cut to microseconds.
fn id(shape: &TlsShape) -> BuildId {
    let micros = shape.started.as_nanos().div_euclid(1_000).to_string();
    let (client, server) = (shape.client.to_string(), shape.server.to_string());
    let parts = ["inferred", &server, &client, &micros, &shape.exchange.to_string()];
    BuildId(stable_id("build-", &parts))
}

fn count(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::time::Duration;

    use tw_model::{Endpoint, FlowId, NetworkTag, Timestamp, TlsShape};

    use super::super::ShapeMeter;
    use super::inferred;

    fn endpoint(last: u8, port: u16) -> Endpoint {
        Endpoint::new(IpAddr::from([192, 0, 2, last]), port)
    }

    /// Positive lengths go up, negative ones down; TLS 1.3's records, 100 ms apart.
    fn shapes(records: &[i32]) -> Vec<TlsShape> {
        let (client, server) = (endpoint(1, 40_000), endpoint(2, 2376));
        let mut meter = ShapeMeter::new(FlowId(1), client, server, NetworkTag::default(), None);
        let mut shapes = Vec::new();
        let mut at = Timestamp::EPOCH;
        for record in records {
            at = at.plus(Duration::from_millis(100));
            let content = u16::try_from(record.abs() - 17).unwrap();
            let sender = if *record > 0 { client } else { server };
            meter.record(at, sender, content, &mut |shape| shapes.push(shape));
        }
        meter.close(&mut |shape| shapes.push(shape));
        shapes
    }

    fn is_build(records: &[i32]) -> bool {
        shapes(records).last().and_then(inferred).is_some()
    }

    const STEPS: [i32; 10] = [-282, -40, -63, -92, -40, -74, -84, -63, -71, -22];

    #[test]
    fn the_classic_builder_is_told_with_and_without_an_upload() {
        assert!(is_build(&[&[10_424], &STEPS[..]].concat()));
        assert!(is_build(&[&[200], &STEPS[..]].concat()));
        assert!(is_build(&[10_424, -282, -40, -63]), "while it still runs");
    }

    #[test]
    fn a_build_ends_where_the_next_request_begins() {
        let told = shapes(&[&[105, -304, 10_424], &STEPS[..], &[150, -300]].concat());
        let last = told.last().unwrap();
        assert_eq!((last.exchange, last.end_seen, last.request_bytes), (1, true, 10_407));
        let build = inferred(last).unwrap();
        assert_eq!(build.started, Timestamp::from_nanos(300_000_000));
        assert_eq!(build.ended, Timestamp::from_nanos(1_300_000_000));
    }

    #[test]
    fn lines_of_all_lengths_are_a_log() {
        let mut records = vec![242, -202];
        records.extend((0..3000).map(|n| -(20 + n * 7919 % 101)));
        assert!(!is_build(&records));
        records[0] = 5_000;
        assert!(!is_build(&records), "even after an upload");
    }

    #[test]
    fn blank_lines_in_the_output_of_a_step_do_not_hide_the_build() {
        let mut records = vec![10_424, -282, -40, -63, -92, -40, -74];
        records.extend([-40, -55].repeat(500));
        assert!(is_build(&records));
    }

    #[test]
    fn a_session_is_told_when_it_is_used() {
        let switching = [443, -51, -27, -19, -24, -19, -24, -19, -20, -19, -19];
        let settings = [62, -41, -26, -26, 30, 26];
        assert!(!is_build(&[&switching[..], &settings[..]].concat()));
        let used = [-164, 86, 60, 31, -63, 34, 146, 33, -63, 34, 33, -47, 51, -30, -53];
        assert!(is_build(&[&switching[..], &settings[..], &used[..]].concat()));
        let other_way = [41, -62, -26, 26, 30];
        assert!(!is_build(&[&switching[..], &other_way[..], &used[..]].concat()), "/grpc alone");
    }
}
