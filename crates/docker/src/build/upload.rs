//! A context that comes by a call of its own: `POST /build?remote=upload-request&buildid=ID` is the
//! build, `POST /build?buildid=upload-request:ID` only brings the archive (Docker Engine API v1.39
//! with `version=2`, ImageBuild; the CLI's `docker build -` does so).
//!
//! A daemon that knows nothing of this builds what is uploaded, as every other. So the second call is
//! a build until its first is seen, and whenever its answer shows steps.

use super::BuildCall;
use crate::content::context::ContextFacts;

/// How a call takes part in an upload; both sides name the same id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Upload {
    /// The build: its context comes by another call.
    Takes(String),
    /// The call that brings it.
    Gives(String),
}

const PREFIX: &str = "upload-request";

impl Upload {
    /// `remote` and `buildid` of a call with `version=2`.
    pub(super) fn read(remote: Option<&str>, id: &str) -> Option<Self> {
        match id.strip_prefix(PREFIX).and_then(|id| id.strip_prefix(':')) {
            Some(id) => Some(Self::Gives(id.to_owned())),
            None if remote == Some(PREFIX) => Some(Self::Takes(id.to_owned())),
            None => None,
        }
    }

    /// What both sides name.
    pub(crate) fn id(&self) -> &str {
        match self {
            Self::Takes(id) | Self::Gives(id) => id,
        }
    }
}

/// What has become of a context that a call brings.
#[derive(Default)]
pub(super) struct Given {
    facts: Option<Box<ContextFacts>>,
    claimed: bool,
    over: bool,
}

impl BuildCall {
    /// How it takes part in an upload.
    pub(crate) const fn upload(&self) -> Option<&Upload> {
        self.params.upload.as_ref()
    }

    /// The build that its context belongs to was seen.
    pub(crate) const fn claim(&mut self) {
        self.given.claimed = true;
    }

    /// The context, once it is there and belongs to another build; once. `dockerfile` is that
    /// build's: where it is not the one that was read, nothing is said of it.
    pub(crate) fn give(&mut self, dockerfile: Option<&str>) -> Option<ContextFacts> {
        if !self.given.claimed {
            return None;
        }
        let mut facts = *self.given.facts.take()?;
        if self.params.dockerfile.as_deref() != dockerfile {
            facts.dockerfile_truncated |= facts.dockerfile.take().is_some();
        }
        Some(facts)
    }

    /// The `dockerfile` parameter.
    pub(crate) fn dockerfile_name(&self) -> Option<&str> {
        self.params.dockerfile.as_deref()
    }

    /// Does it only bring what another call builds, as far as that can be said?
    pub(crate) fn only_gives(&self) -> bool {
        let gives = matches!(self.params.upload, Some(Upload::Gives(_)));
        gives && (self.given.claimed || !self.given.over) && !self.is_proven_by_answer()
    }

    pub(super) fn keep_for_another(&mut self, facts: &ContextFacts) {
        if let Some(Upload::Gives(_)) = self.params.upload {
            self.given.facts = Some(Box::new(facts.clone()));
        }
    }

    pub(super) const fn give_up_giving(&mut self) {
        self.given.over = true;
    }
}
