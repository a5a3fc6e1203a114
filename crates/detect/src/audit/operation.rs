//! Kinds of what is asked of a Docker API, and counts of them.

use std::collections::BTreeMap;

use serde::Serialize;
use tw_model::{ApiCall, Route, Timestamp};

/// What a call does, roughly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// A greeting.
    Ping,
    /// Looks at something, and changes nothing.
    Read,
    /// Builds an image, or is part of a build.
    Build,
    /// Makes an image without a build.
    MakeImage,
    /// Pulls an image.
    Pull,
    /// Pushes an image.
    Push,
    /// Names or removes an image.
    ManageImage,
    /// Makes or starts a container, a service or a plugin.
    Deploy,
    /// Executes something in a container, or attaches to it.
    Exec,
    /// Copies files into a container.
    Copy,
    /// Stops or removes a container, a service or a plugin.
    Stop,
    /// Changes networks, volumes, the swarm, secrets and the like.
    Manage,
    /// Only its answer was captured, and does not say what was asked.
    Unknown,
}

impl Operation {
    /// Docker Engine API v1.43, all operations.
    #[must_use]
    pub fn of(call: &ApiCall) -> Self {
        let reads = matches!(call.method.as_str(), "GET" | "HEAD");
        match call.route {
            _ if call.method.is_empty() && call.route == Route::Other => Self::Unknown,
            Route::Ping => Self::Ping,
            Route::Build | Route::Session | Route::Grpc => Self::Build,
            Route::Commit | Route::ImageLoad | Route::ImageImport => Self::MakeImage,
            Route::ImagePull => Self::Pull,
            Route::ImagePush => Self::Push,
            Route::ImageTag | Route::ImageRemove => Self::ManageImage,
            Route::ContainerCreate | Route::ContainerStart => Self::Deploy,
            Route::ExecCreate | Route::ExecStart | Route::ContainerAttach => Self::Exec,
            Route::ArchivePut => Self::Copy,
            Route::ContainerStop | Route::ContainerRemove => Self::Stop,
            Route::Service | Route::Plugin if !reads => of_deployment(call),
            Route::Version
            | Route::Info
            | Route::Events
            | Route::ContainerList
            | Route::ImageList
            | Route::ImageInspect
            | Route::ContainerWait
            | Route::ContainerLogs
            | Route::ArchiveGet
            | Route::ContainerInspect
            | Route::ExecInspect => Self::Read,
            _ if reads => Self::Read,
            _ => Self::Manage,
        }
    }

    /// As the output has it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ping => "ping",
            Self::Read => "read",
            Self::Build => "build",
            Self::MakeImage => "make_image",
            Self::Pull => "pull",
            Self::Push => "push",
            Self::ManageImage => "manage_image",
            Self::Deploy => "deploy",
            Self::Exec => "exec",
            Self::Copy => "copy",
            Self::Stop => "stop",
            Self::Manage => "manage",
            Self::Unknown => "unknown",
        }
    }
}

fn of_deployment(call: &ApiCall) -> Operation {
    let last = call.path.rsplit('/').next().unwrap_or("");
    match (call.method.as_str(), last) {
        ("DELETE", _) | (_, "disable") => Operation::Stop,
        (_, "create" | "update" | "pull" | "upgrade" | "enable") => Operation::Deploy,
        (_, "push") => Operation::Push,
        _ => Operation::Manage,
    }
}

/// Calls of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// How many.
    pub calls: u64,
    /// Answered as asked (2xx, or 101).
    pub answered: u64,
    /// Refused for want of a right (401, 403).
    pub refused: u64,
    /// Answered with any other error.
    pub failed: u64,
    /// The first.
    pub first: Timestamp,
    /// The last.
    pub last: Timestamp,
}

/// Calls by kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Operations(pub BTreeMap<Operation, Tally>);

impl Operations {
    pub(crate) fn count(&mut self, call: &ApiCall) {
        let (first, last) = (call.started, call.started);
        let blank = Tally { calls: 0, answered: 0, refused: 0, failed: 0, first, last };
        let tally = self.0.entry(Operation::of(call)).or_insert(blank);
        tally.calls = tally.calls.saturating_add(1);
        let slot = match call.status {
            Some(101 | 200..=299) => Some(&mut tally.answered),
            Some(401 | 403) => Some(&mut tally.refused),
            Some(400..) => Some(&mut tally.failed),
            _ => None,
        };
        if let Some(slot) = slot {
            *slot = slot.saturating_add(1);
        }
        tally.first = tally.first.min(call.started);
        tally.last = tally.last.max(call.started);
    }

    /// All calls.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.0.values().fold(0, |sum, tally| sum.saturating_add(tally.calls))
    }

    /// Calls that were refused for want of a right.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.0.values().fold(0, |sum, tally| sum.saturating_add(tally.refused))
    }
}
