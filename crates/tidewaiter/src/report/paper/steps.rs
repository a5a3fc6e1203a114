//! When the steps of builds were announced.

use std::collections::BTreeMap;

use tw_model::{Build, BuildId, Timestamp};

/// Builds, and steps of one build.
const MAX_BUILDS: usize = 8_192;
const MAX_STEPS: usize = 256;

/// Times of steps, by build: each build is told again as its daemon announces steps.
#[derive(Debug, Default)]
pub(crate) struct Steps(BTreeMap<BuildId, Vec<Timestamp>>);

impl Steps {
    /// Takes a build as it stands at `at`.
    pub(crate) fn note(&mut self, build: &Build, at: Timestamp) {
        if !self.0.contains_key(&build.id) && self.0.len() >= MAX_BUILDS {
            return;
        }
        let times = self.0.entry(build.id.clone()).or_default();
        let count = build.steps.len().min(MAX_STEPS);
        // Steps of the Dockerfile give way to those that are announced, which are fewer at first.
        if count < times.len() {
            times.clear();
        }
        times.resize(count, at);
    }

    /// When each step was announced; nothing where all of them came at once, out of the Dockerfile.
    pub(crate) fn of(&self, build: &BuildId) -> &[Timestamp] {
        let times = self.0.get(build).map_or(&[][..], Vec::as_slice);
        if times.first() == times.last() { &[] } else { times }
    }
}
