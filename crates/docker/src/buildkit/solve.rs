//! What a client asks of BuildKit, and what it is answered.

use std::collections::BTreeMap;

use super::llb::Definition;
use super::protobuf::{Fields, Value};
use crate::query::bounded;

const MAX_ATTRIBUTES: usize = 256;
const MAX_KEY: usize = 512;
const MAX_VALUE: usize = 8 * 1024;
const MAX_ID: usize = 128;

/// `moby.buildkit.v1.SolveRequest`, as far as it is read. Build arguments still carry their secrets.
#[derive(Default)]
pub(crate) struct SolveRequest {
    /// 1 `Ref`.
    pub(crate) reference: Option<String>,
    /// 2 `Definition`: the build itself, where no frontend makes it.
    pub(crate) definition: Definition,
    /// Some exporter is named: 3 `ExporterDeprecated` or 13 `Exporters`.
    pub(crate) exports: bool,
    /// `name` of 4 `ExporterAttrsDeprecated` or of an exporter.
    pub(crate) name: Option<String>,
    /// 5 `Session`.
    pub(crate) session: Option<String>,
    /// 6 `Frontend`.
    pub(crate) frontend: Option<String>,
    /// 7 `FrontendAttrs`.
    pub(crate) attributes: BTreeMap<String, String>,
}

impl SolveRequest {
    /// `moby/buildkit`, `api/services/control/control.proto`, `SolveRequest`.
    pub(crate) fn read(message: &[u8]) -> Self {
        let mut solve = Self::default();
        for (number, value) in Fields::new(message) {
            match number {
                1 => solve.reference = id(value),
                2 => solve.definition.read(value.message()),
                3 => solve.exports |= value.text().is_some_and(|kind| !kind.is_empty()),
                4 => solve.exporter_attribute(value),
                5 => solve.session = id(value),
                6 => solve.frontend = id(value),
                7 => attribute(&mut solve.attributes, value),
                13 => solve.exporter(value),
                _ => {}
            }
        }
        solve
    }

    /// Does it ask for something? buildx first sends one that asks for nothing, to learn what the
    /// daemon can do, and has sources that it looks into solved through the gateway.
    pub(crate) fn is_build(&self) -> bool {
        self.exports
            || self.frontend.is_some()
            || !self.attributes.is_empty()
            || !self.definition.is_empty()
    }

    fn exporter(&mut self, value: Value<'_>) {
        self.exports = true;
        for (number, value) in value.message() {
            if number == 2 {
                self.exporter_attribute(value);
            }
        }
    }

    fn exporter_attribute(&mut self, value: Value<'_>) {
        let Some(("name", value)) = value.entry() else { return };
        if let (None, Some(name)) = (&self.name, value.text()) {
            self.name = Some(bounded(name, MAX_VALUE)).filter(|name| !name.is_empty());
        }
    }
}

/// `moby.buildkit.v1.frontend.SolveRequest`, as far as it is read.
#[derive(Default)]
pub(crate) struct BridgeSolve {
    /// 1 `Definition`.
    pub(crate) definition: Definition,
    /// 2 `Frontend`.
    pub(crate) frontend: Option<String>,
    /// 3 `FrontendOpt`.
    pub(crate) attributes: BTreeMap<String, String>,
}

impl BridgeSolve {
    /// `moby/buildkit`, `frontend/gateway/pb/gateway.proto`, `SolveRequest`.
    pub(crate) fn read(message: &[u8]) -> Self {
        let mut solve = Self::default();
        for (number, value) in Fields::new(message) {
            match number {
                1 => solve.definition.read(value.message()),
                2 => solve.frontend = id(value),
                3 => attribute(&mut solve.attributes, value),
                _ => {}
            }
        }
        solve
    }
}

/// The build that a gateway client returns: `ReturnRequest` of the same file, `result` (1), there
/// `ref` (3) or the entries of `refs` (4), there `def` (2).
pub(crate) fn returned(message: &[u8]) -> Definition {
    let mut definition = Definition::default();
    let mut of_ref = |reference: Value<'_>| {
        for (number, value) in reference.message() {
            if number == 2 {
                definition.read(value.message());
            }
        }
    };
    for (_, result) in Fields::new(message).filter(|(number, _)| *number == 1) {
        for (number, value) in result.message() {
            match number {
                3 => of_ref(value),
                4 => {
                    let entries = value.message().filter(|(number, _)| *number == 1);
                    entries.filter_map(|(_, entry)| entry.entry()).for_each(|(_, r)| of_ref(r));
                }
                _ => {}
            }
        }
    }
    definition
}

/// `StatusRequest` and others that only name a build: 1 `Ref`.
pub(crate) fn reference(message: &[u8]) -> Option<String> {
    Fields::new(message).find(|(number, _)| *number == 1).and_then(|(_, value)| id(value))
}

/// The image of `SolveResponse`: 1 `ExporterResponse`. `containerimage.digest` is the id that a
/// dockerd shows (observed: dockerd 20.10.24); the digest of the configuration stands in for it.
pub(crate) fn answered_image(message: &[u8]) -> Option<String> {
    let mut config = None;
    for (_, value) in Fields::new(message).filter(|(number, _)| *number == 1) {
        match value.entry() {
            Some(("containerimage.digest", value)) => {
                if let Some(digest) = digest(value.text()) {
                    return Some(digest);
                }
            }
            Some(("containerimage.config.digest", value)) => config = digest(value.text()),
            _ => {}
        }
    }
    config
}

/// `sha256:` and 64 digits.
pub(crate) fn digest(text: Option<&str>) -> Option<String> {
    let digits = text?.strip_prefix("sha256:")?;
    let is_hex = digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hex.then(|| format!("sha256:{}", digits.to_ascii_lowercase()))
}

fn id(value: Value<'_>) -> Option<String> {
    value.text().filter(|text| !text.is_empty()).map(|text| bounded(text, MAX_ID))
}

fn attribute(attributes: &mut BTreeMap<String, String>, value: Value<'_>) {
    let Some((key, value)) = value.entry() else { return };
    let Some(text) = value.text() else { return };
    if attributes.len() < MAX_ATTRIBUTES && key.len() <= MAX_KEY {
        attributes.insert(key.to_owned(), bounded(text, MAX_VALUE));
    }
}
