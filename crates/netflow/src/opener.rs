//! Who opened a conversation of which only records are known.

use std::time::Duration;

use tw_model::{Opener, Protocol};

use crate::conversation::Side;
use crate::piece::{ACK, Key, SYN};

/// Index in [`Key::ends`] of the opener, and how that is known.
///
/// In this order: the exporter says it; one side sent a SYN that nobody answered; both directions
/// are from one exporter that saw every packet, the beginning is in them, and one began first; one
/// port offers a service; the lower port.
pub(crate) fn opener(key: &Key, sides: &[Side; 2], said: Option<usize>) -> (usize, Opener) {
    if let Some(index) = said {
        return (index, Opener::Seen);
    }
    if let Some(index) = unanswered(key, sides) {
        return (index, Opener::Seen);
    }
    if let Some(index) = began_first(key, sides) {
        return (index, Opener::Seen);
    }
    let [a, b] = key.ends;
    let opener = match (is_service(a.port), is_service(b.port)) {
        (true, false) => 1,
        (false, true) => 0,
        _ => usize::from(a.port < b.port),
    };
    (opener, Opener::ByPorts)
}

fn unanswered(key: &Key, sides: &[Side; 2]) -> Option<usize> {
    let bare = |side: &Side| side.flags.is_some_and(|flags| flags & (SYN | ACK) == SYN);
    let [a, b] = sides;
    match (bare(a), bare(b)) {
        _ if key.protocol != Protocol::TCP => None,
        (true, false) => Some(0),
        (false, true) => Some(1),
        _ => None,
    }
}

fn began_first(key: &Key, sides: &[Side; 2]) -> Option<usize> {
    let [a, b] = sides;
    if a.source != b.source || a.sampled || b.sampled || a.packets.min(b.packets) == 0 {
        return None;
    }
    let whole = key.protocol != Protocol::TCP || (a.has(SYN) && b.has(SYN));
    if !whole {
        return None;
    }
    let apart = |early: &Side, late: &Side| late.first.since(early.first) >= RESOLUTION;
    match (apart(a, b), apart(b, a)) {
        (true, _) => Some(0),
        (_, true) => Some(1),
        _ => None,
    }
}

/// Times of v5, v9 and most of IPFIX have milliseconds.
const RESOLUTION: Duration = Duration::from_millis(1);

/// Ports that are seldom ephemeral, as for packets: below 1024, container APIs, registries, proxies.
fn is_service(port: u16) -> bool {
    port < 1024 || SERVICES.contains(&port)
}

const SERVICES: [u16; 13] =
    [1080, 1234, 2375, 2376, 2377, 3128, 4243, 4244, 5000, 6443, 8080, 8443, 10250];
