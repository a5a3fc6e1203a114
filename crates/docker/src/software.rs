//! What an answer says of the daemon that gave it: fields of its head, and one value in the body of
//! `/version`, `/info` and `/networks/host`. Limits: 64 KiB of a body, 128 characters of each value.

use tw_model::{Route, Software};
use tw_proto::ResponseHead;

use crate::collected::Collected;
use crate::json::Json;
use crate::query::bounded;

/// Longest body that is read.
const MAX_BODY: usize = 64 * 1024;
/// Path of the network that is the host's own.
const HOST_NETWORK: &str = "/networks/host";
/// Longest value.
const MAX_VALUE: usize = 128;

/// Reads the answer to one call.
pub(crate) struct SoftwareReader {
    body: Option<Collected>,
    key: &'static str,
}

impl SoftwareReader {
    /// Docker Engine API v1.43, SystemVersion (`Version`), SystemInfo (`ServerVersion`) and
    /// NetworkInspect (`Id`): clients name networks of services by their ids.
    pub(crate) fn new(route: Route, path: &str) -> Self {
        let key = match (route, path) {
            (Route::Version, _) => "Version",
            (Route::Info, _) => "ServerVersion",
            (Route::Network, HOST_NETWORK) => "Id",
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

    /// The answer is over: the value that its body tells.
    pub(crate) fn end(&mut self) -> Option<String> {
        let bytes = self.body.take()?.take();
        let answer = Json::read(&bytes).value;
        let version = answer.field(self.key).and_then(Json::text)?;
        Some(bounded(version, MAX_VALUE))
    }
}
