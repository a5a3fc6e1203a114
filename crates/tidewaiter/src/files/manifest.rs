//! What is said of an extracted object.

use std::collections::BTreeSet;

use serde::Serialize;
use tw_model::{Evidence, RecordNumber};

/// What the manifest says of an object.
#[derive(Serialize)]
pub(super) struct Entry {
    pub(super) file: String,
    pub(super) sha256: String,
    pub(super) kind: &'static str,
    pub(super) bytes: u64,
    /// Was all of it seen and written?
    pub(super) whole: bool,
    pub(super) mime_type: String,
    pub(super) incidents: BTreeSet<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) client: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) server: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) source: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) first_frame: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) last_frame: Option<u64>,
}

pub(super) fn frame_of(place: &Evidence) -> Option<u64> {
    match place.record {
        RecordNumber::Frame(number) => Some(number),
        RecordNumber::Record(_) => None,
    }
}

/// By content, never by what the server said.
pub(super) fn mime_type(head: &[u8]) -> String {
    let known = infer::get(head).map(|kind| kind.mime_type());
    let text = || match std::str::from_utf8(head) {
        Err(error) if error.error_len().is_some() => "application/octet-stream",
        _ if head.contains(&0) => "application/octet-stream",
        _ => "text/plain",
    };
    known.unwrap_or_else(text).to_owned()
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
