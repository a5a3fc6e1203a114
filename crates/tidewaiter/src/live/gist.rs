//! What of a judgement makes it worth telling again.
//!
//! Numbers of bytes and words around them grow with every record and are no news; a new destination,
//! a higher severity or another caveat is.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tw_detect::Judgement;
use tw_model::{Build, Destination, Evidence, Finding, ImageCreation, Incident};

/// Its id, and a hash of what matters; nothing for what is told by other events.
pub(crate) fn of(judgement: &Judgement) -> Option<(&str, u64)> {
    let (id, gist) = match judgement {
        Judgement::Finding(finding) => (finding.id.as_str(), of_finding(finding)),
        Judgement::Incident(incident) => (incident.id.as_str(), of_incident(incident)),
        Judgement::Build { build, .. } => (build.id.0.as_str(), of_build(build)),
        Judgement::ImageCreation { creation, .. } => {
            (creation.id.0.as_str(), of_creation(creation))
        }
        Judgement::Registry { .. } | Judgement::Container { .. } => return None,
    };
    Some((id, hash(&gist)))
}

/// Where it stands in the input.
pub(crate) fn evidence(judgement: &Judgement) -> &[Evidence] {
    match judgement {
        Judgement::Finding(finding) => &finding.evidence,
        Judgement::Incident(incident) => &incident.evidence,
        Judgement::Build { evidence, .. }
        | Judgement::ImageCreation { evidence, .. }
        | Judgement::Registry { evidence, .. }
        | Judgement::Container { evidence, .. } => evidence,
    }
}

fn of_finding(finding: &Finding) -> Value {
    json!([
        finding.severity,
        finding.verdict,
        finding.techniques,
        finding.client,
        finding.destination,
        finding.novelty.as_ref().map(|novelty| &novelty.axes),
        finding.builds,
        finding.caveats,
    ])
}

fn of_incident(incident: &Incident) -> Value {
    let mut members: Vec<&str> =
        incident.timeline.iter().map(|entry| entry.reference.as_str()).collect();
    members.sort_unstable();
    members.dedup();
    json!([incident.severity, incident.techniques, incident.clients, members, incident.caveats])
}

fn of_build(build: &Build) -> Value {
    json!([build.outcome, build.ended, destinations(&build.destinations), build.caveats])
}

fn of_creation(creation: &ImageCreation) -> Value {
    json!([
        creation.outcome,
        creation.ended,
        destinations(&creation.destinations),
        creation.caveats
    ])
}

fn destinations(list: &[Destination]) -> Value {
    list.iter().map(|to| json!([to.ip, to.port, to.known, to.named])).collect()
}

/// The same in every build of the program, for it is kept over restarts.
fn hash(gist: &Value) -> u64 {
    let digest = Sha256::digest(gist.to_string());
    digest.iter().take(8).fold(0, |hash, byte| hash << 8 | u64::from(*byte))
}
