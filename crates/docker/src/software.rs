//! What an answer says of the daemon that gave it: fields of its head, and the body of `/version` and
//! `/info`. Limits: 64 KiB of a body, 128 characters of each value.

use tw_model::{Route, Software};
use tw_proto::ResponseHead;

use crate::collected::Collected;
use crate::json::Json;
use crate::query::bounded;

/// Longest body that is read.
const MAX_BODY: usize = 64 * 1024;
/// Longest value.
const MAX_VALUE: usize = 128;

/// Reads the answer to one call.
pub(crate) struct SoftwareReader {
    body: Option<Collected>,
    key: &'static str,
}

impl SoftwareReader {
    /// Docker Engine API v1.43, SystemVersion (`Version`) and SystemInfo (`ServerVersion`).
    pub(crate) fn new(route: Route) -> Self {
        let key = match route {
            Route::Version => "Version",
            Route::Info => "ServerVersion",
            _ => "",
        };
        Self { body: (!key.is_empty()).then(|| Collected::new(MAX_BODY)), key }
    }

    /// Docker Engine API v1.43, fields of every answer.
    pub(crate) fn head(head: &ResponseHead) -> Option<Box<Software>> {
        let field = |name| {
            head.header(name).filter(|text| !text.is_empty()).map(|text| bounded(text, MAX_VALUE))
        };
        let software =
            Software { server: field("server"), api_version: field("api-version"), version: None };
        (software != Software::default()).then(|| Box::new(software))
    }

    /// Bytes of the answer's body.
    pub(crate) fn body(&mut self, bytes: &[u8]) {
        if let Some(body) = &mut self.body {
            body.push(bytes);
        }
    }

    /// Missing bytes of the answer's body.
    pub(crate) const fn gap(&mut self) {
        if let Some(body) = &mut self.body {
            body.cut();
        }
    }

    /// The answer is over: the version that its body tells.
    pub(crate) fn end(&mut self) -> Option<String> {
        let bytes = self.body.take()?.take();
        let answer = Json::read(&bytes).value;
        let version = answer.field(self.key).and_then(Json::text)?;
        Some(bounded(version, MAX_VALUE))
    }
}
