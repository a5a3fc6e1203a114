//! Which events become JSON lines, and in which order.

use serde::Serialize;
use tw_model::{HttpExchange, Observation, ObservationBody, Timestamp};

use super::case::Case;
use super::id;
use super::json::{self, About, Writer};

/// An observation as `dissect` and `--all-events` print it; nothing where it will be said again.
pub(crate) fn streamed(
    writer: &Writer<'_>,
    environment: &str,
    observation: &Observation,
) -> Option<String> {
    let about = |event| About {
        event,
        timestamp: observation.at,
        environment,
        evidence: &observation.evidence,
    };
    let line = match &observation.body {
        ObservationBody::Connection(connection) if connection.ended => writer.line(
            &About { timestamp: connection.first, ..about("connection") },
            json::connection(connection),
        ),
        ObservationBody::Http(exchange) if is_whole(exchange) => writer
            .line(&About { timestamp: exchange.started, ..about("http") }, json::http(exchange)),
        ObservationBody::ApiCall(call) if call.complete => writer
            .line(&About { timestamp: call.started, ..about("api_call") }, json::api_call(call)),
        ObservationBody::Tls(hello) => writer.line(&about("tls"), json::tls(hello)),
        ObservationBody::NameAnswer(answer) => writer.line(&about("dns"), json::dns(answer)),
        ObservationBody::FlowRecord(record) => {
            writer.line(&about("flow_record"), json::flow_record(record))
        }
        ObservationBody::Anomaly(anomaly) => writer.line(&about("anomaly"), json::anomaly(anomaly)),
        _ => return None,
    };
    Some(line)
}

/// A request whose head was seen to its end, told for the last time.
const fn is_whole(exchange: &HttpExchange) -> bool {
    exchange.last && !exchange.cut && !exchange.method.is_empty()
}

/// Where a live event stands in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Stage {
    /// What was done to it.
    pub(crate) status: Status,
    /// Counts from 1; readers keep the highest.
    pub(crate) revision: u32,
}

/// What was done to a live event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Status {
    /// Told for the first time.
    Open,
    /// Told again, for more is known.
    Updated,
}

/// A body with its stage, where it has one.
#[derive(Serialize)]
struct Staged<B> {
    #[serde(flatten)]
    stage: Option<Stage>,
    #[serde(flatten)]
    body: B,
}

/// All events of a case, sorted by (`timestamp`, `id`).
pub(crate) fn sorted(writer: &Writer<'_>, case: &Case) -> Vec<String> {
    staged(writer, case, &|_| None)
}

/// The same with the stage that `stage` gives an id.
pub(crate) fn staged(
    writer: &Writer<'_>,
    case: &Case,
    stage: &dyn Fn(&str) -> Option<Stage>,
) -> Vec<String> {
    let mut lines: Vec<(Timestamp, String, String)> = Vec::new();
    for finding in &case.findings {
        let about = About {
            event: "finding",
            timestamp: finding.timestamp,
            environment: &finding.environment,
            evidence: &finding.evidence,
        };
        lines.push((
            finding.timestamp,
            finding.id.clone(),
            writer.line(&about, Staged { stage: stage(&finding.id), body: finding }),
        ));
    }
    for incident in &case.incidents {
        let about = About {
            event: "incident",
            timestamp: incident.started,
            environment: &incident.environment,
            evidence: &incident.evidence,
        };
        lines.push((
            incident.started,
            incident.id.clone(),
            writer.line(&about, Staged { stage: stage(&incident.id), body: incident }),
        ));
    }
    for told in &case.builds {
        let line = writer
            .line(&told.about("build"), Staged { stage: stage(&told.body.id.0), body: &told.body });
        lines.push((told.at, told.body.id.0.clone(), line));
    }
    for told in &case.creations {
        let line = writer.line(
            &told.about("image_creation"),
            Staged { stage: stage(&told.body.id.0), body: &told.body },
        );
        lines.push((told.at, told.body.id.0.clone(), line));
    }
    for told in &case.registries {
        let line = writer.line(&told.about("registry"), &told.body);
        lines.push((told.at, told.body.id.0.clone(), line));
    }
    for told in &case.containers {
        let line = writer.line(&told.about("container"), json::container(&told.body));
        lines.push((told.at, id::container(&told.body), line));
    }
    for told in &case.anomalies {
        let line = writer.line(&told.about("anomaly"), json::anomaly(&told.body));
        lines.push((told.at, line.clone(), line));
    }
    lines.sort();
    lines.into_iter().map(|(_, _, line)| line).collect()
}
