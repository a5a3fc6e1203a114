//! Which calls of BuildKit are read.

/// A call that is read. All others (secrets, credentials, agents, health, telemetry) are not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    /// `moby.buildkit.v1.Control/Solve`.
    Solve,
    /// `moby.buildkit.v1.Control/Status`.
    Status,
    /// `moby.buildkit.v1.frontend.LLBBridge/Solve`.
    BridgeSolve,
    /// `moby.buildkit.v1.frontend.LLBBridge/Return`.
    BridgeReturn,
    /// `moby.filesync.v1.FileSync/DiffCopy`.
    DiffCopy,
}

impl Method {
    /// From a `:path` (gRPC over HTTP/2, "Path").
    pub(crate) fn of(path: &str) -> Option<Self> {
        Some(match path {
            "/moby.buildkit.v1.Control/Solve" => Self::Solve,
            "/moby.buildkit.v1.Control/Status" => Self::Status,
            "/moby.buildkit.v1.frontend.LLBBridge/Solve" => Self::BridgeSolve,
            "/moby.buildkit.v1.frontend.LLBBridge/Return" => Self::BridgeReturn,
            "/moby.filesync.v1.FileSync/DiffCopy" => Self::DiffCopy,
            _ => return None,
        })
    }
}
