//! x
use tw_model::Context;
#[derive(Clone, Copy, Debug, Default)]
pub struct ContextLimits {}
pub(crate) struct ContextReader {
    b: Vec<u8>,
}
pub(crate) struct ContextFacts {
    pub(crate) context: Context,
    pub(crate) dockerfile: Option<String>,
    pub(crate) dockerfile_truncated: bool,
    pub(crate) malformed: bool,
    pub(crate) limit_hit: bool,
    pub(crate) gap: bool,
    pub(crate) plain_dockerfile: bool,
}
impl ContextReader {
    pub(crate) fn new(_: &str, _: ContextLimits) -> Self {
        Self { b: vec![] }
    }
    pub(crate) fn push(&mut self, b: &[u8]) {
        self.b.extend_from_slice(b)
    }
    pub(crate) fn gap(&mut self, _: u64) {}
    pub(crate) fn finish(self) -> ContextFacts {
        let t = String::from_utf8_lossy(&self.b).into_owned();
        ContextFacts {
            context: Context { bytes: self.b.len() as u64, ..Context::default() },
            dockerfile: Some(t).filter(|t| t.contains("FROM")),
            dockerfile_truncated: false,
            malformed: false,
            limit_hit: false,
            gap: false,
            plain_dockerfile: true,
        }
    }
}
