//! x
use tw_model::Secrets;
#[derive(Default)]
pub(crate) struct AnswerFacts {
    pub(crate) steps: Vec<String>,
    pub(crate) base_images: Vec<String>,
    pub(crate) image_id: Option<String>,
    pub(crate) tags: Vec<String>,
    pub(crate) loaded: Vec<String>,
    pub(crate) step_containers: Vec<String>,
    pub(crate) urls: Vec<String>,
    pub(crate) error: Option<String>,
    pub(crate) saw_end: bool,
}
impl AnswerFacts {
    pub(crate) fn size(&self) -> usize {
        self.steps.len() + usize::from(self.saw_end)
    }
}
pub(crate) struct AnswerReader {
    f: AnswerFacts,
}
impl AnswerReader {
    pub(crate) fn new(_: Secrets) -> Self {
        Self { f: AnswerFacts::default() }
    }
    pub(crate) fn push(&mut self, b: &[u8]) {
        for l in String::from_utf8_lossy(b).lines() {
            if l.contains("Step ") {
                self.f.steps.push(l.to_owned())
            }
            if l.contains("Successfully built") {
                self.f.saw_end = true
            }
        }
    }
    pub(crate) fn gap(&mut self, _: u64) {}
    pub(crate) fn end(&mut self) {}
    pub(crate) fn facts(&self) -> &AnswerFacts {
        &self.f
    }
}
