//! Ids for printed events that carry none of their own; the same in every run.

use sha2::{Digest, Sha256};
use tw_model::{ApiCall, ContainerEvent};

/// `call-` and 16 hex digits.
pub(crate) fn call(call: &ApiCall) -> String {
    let parts = [call.daemon.to_string(), call.client.to_string(), call.path.clone()];
    digest("call", &parts, &[micros(call.started), call.id.index])
}

/// `container-` and 16 hex digits.
pub(crate) fn container(event: &ContainerEvent) -> String {
    let client = tw_model::Endpoint::new(event.client, event.client_port);
    let parts = [event.daemon.to_string(), client.to_string(), format!("{:?}", event.action)];
    digest("container", &parts, &[micros(event.started), event.call.index])
}

fn micros(at: tw_model::Timestamp) -> u64 {
    at.as_nanos().div_euclid(1_000).unsigned_abs()
}

fn digest(kind: &str, parts: &[String], numbers: &[u64]) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part.as_bytes());
        hasher.update([0]);
    }
    for number in numbers {
        hasher.update(number.to_be_bytes());
    }
    let hash = hasher.finalize();
    let hex: String = hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("{kind}-{hex}")
}
