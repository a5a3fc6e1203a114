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

    /// The name of one; empty when there is none.
    #[must_use]
    pub fn name(&self, id: SourceId) -> &str {
        let index = usize::try_from(id.0).unwrap_or(usize::MAX);
        self.0.get(index).map_or("", String::as_str)
    }
}
