//! Names of the run's inputs.

use tw_model::SourceId;

/// Names by [`SourceId`].
#[derive(Clone, Debug, Default)]
pub struct Sources(Vec<String>);

impl Sources {
    /// In the order of their ids.
    #[must_use]
    pub const fn new(names: Vec<String>) -> Self {
        Self(names)
    }

    /// Adds one, and says its id.
    pub(crate) fn add(&mut self, name: String) -> SourceId {
        let id = SourceId(u32::try_from(self.0.len()).unwrap_or(u32::MAX));
        self.0.push(name);
        id
    }

    /// All names, in the order of their ids.
    pub(crate) fn names(&self) -> &[String] {
        &self.0
    }

    /// The name of one; empty when there is none.
    #[must_use]
    pub fn name(&self, id: SourceId) -> &str {
        let index = usize::try_from(id.0).unwrap_or(usize::MAX);
        self.0.get(index).map_or("", String::as_str)
    }
}
