//! The `stats` line: the last of a run.

use serde::Serialize;
use tw_model::{Evidence, RecordNumber, Timestamp};

use super::case::Case;
use super::sources::Sources;
use super::text::Reading;

#[derive(Serialize)]
struct Committed<'a> {
    source: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    frame: Option<u64>,
    timestamp: Timestamp,
}

/// Where each input got to.
pub(crate) fn committed<'a>(sources: &'a Sources, places: &[Evidence]) -> impl Serialize + use<'a> {
    let mut all = Vec::new();
    for place in places {
        let frame = match place.record {
            RecordNumber::Frame(number) => Some(number),
            RecordNumber::Record(_) => None,
        };
        all.push(Committed {
            source: sources.name(place.source),
            frame,
            timestamp: place.timestamp,
        });
    }
    all
}
