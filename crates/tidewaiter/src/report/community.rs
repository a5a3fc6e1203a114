//! Community ID v1, seed 0, for printed connections.

use tw_model::{Endpoint, Protocol};

/// The id of a conversation, whichever side is given first; none where the addresses are of
/// different versions.
pub(crate) fn id(a: Endpoint, b: Endpoint, protocol: Protocol) -> Option<String> {
    let ported = matches!(
        protocol,
        Protocol::TCP | Protocol::UDP | Protocol::SCTP | Protocol::ICMP | Protocol::ICMP6
    );
    let port = |end: Endpoint| ported.then_some(end.port);
    community_id::calculate_community_id(0, a.ip, b.ip, port(a), port(b), protocol.0, false).ok()
}
