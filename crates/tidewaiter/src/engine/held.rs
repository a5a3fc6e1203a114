//! Packets that wait for the TLS secrets which open them.
//!
//! Lines of a key log may come later than the packets. What waits keeps its place in the input, so
//! that what is decrypted later is told as of its own time. Bounded for each connection and in all.

use tw_model::{Direction, Evidence, Observation};
use tw_stream::{CloseReason, Flow, StreamEvent};

use super::{Rest, Tracked};

/// Most that waits of one connection.
const PER_FLOW_BYTES: usize = 1 << 20;
/// Most that waits in all.
const TOTAL_BYTES: usize = 64 << 20;
/// What an event costs beside its bytes.
const EVENT_BYTES: usize = 96;
/// Secrets that one event may need: one for each TLS inside TLS.
const NESTED: usize = 8;

/// Most connections that wait after their end.
const PARKED: usize = 4096;

/// A connection to a Docker API's port that ended while it waited.
pub(super) struct Parked {
    flow: Flow<Tracked>,
    at: Evidence,
    reason: CloseReason,
}

/// What waits of one connection.
#[derive(Default)]
pub(super) struct Held {
    events: Vec<(Evidence, Waiting)>,
    bytes: usize,
}

enum Waiting {
    Data(Direction, Vec<u8>),
    Gap(Direction, u64),
    HalfClose(Direction),
}

impl Waiting {
    fn of(event: &StreamEvent<'_>) -> Option<Self> {
        match *event {
            StreamEvent::Data { direction, bytes, .. } => {
                Some(Self::Data(direction, bytes.to_vec()))
            }
            StreamEvent::Gap { direction, len, .. } => Some(Self::Gap(direction, len)),
            StreamEvent::HalfClose { direction } => Some(Self::HalfClose(direction)),
            _ => None,
        }
    }

    fn event(&self) -> StreamEvent<'_> {
        match self {
            Self::Data(direction, bytes) => {
                StreamEvent::Data { direction: *direction, offset: 0, bytes }
            }
            Self::Gap(direction, len) => {
                StreamEvent::Gap { direction: *direction, offset: 0, len: *len }
            }
            Self::HalfClose(direction) => StreamEvent::HalfClose { direction: *direction },
        }
    }

    fn cost_bytes(&self) -> usize {
        match self {
            Self::Data(_, bytes) => bytes.len() + EVENT_BYTES,
            _ => EVENT_BYTES,
        }
    }
}

impl Rest {
    /// After an event: gives the reader the secrets that it wants, or lets what follows wait for them.
    pub(super) fn unlock(
        &mut self,
        flow: &mut Flow<Tracked>,
        at: Evidence,
        sink: &mut dyn FnMut(Observation),
    ) {
        for _ in 0..NESTED {
            let Some(random) = wanted(flow) else { return };
            let complete = self.keys.find(&random).is_some_and(|secrets| secrets.is_complete());
            if !complete && self.await_keys {
                flow.user.held = Some(Box::default());
                return;
            }
            if !self.give(flow, at, sink) {
                return;
            }
        }
    }

    /// A connection that waits: true where it still does, after this event too.
    pub(super) fn still_waits(
        &mut self,
        flow: &mut Flow<Tracked>,
        at: Evidence,
        event: &StreamEvent<'_>,
        sink: &mut dyn FnMut(Observation),
    ) -> bool {
        if !self.has_secrets(flow)
            && let (Some(waiting), Some(held)) = (Waiting::of(event), &mut flow.user.held)
        {
            let cost = waiting.cost_bytes();
            if held.bytes + cost <= PER_FLOW_BYTES && self.held_bytes + cost <= TOTAL_BYTES {
                held.bytes += cost;
                self.held_bytes += cost;
                held.events.push((at, waiting));
                return true;
            }
            self.keys_not_awaited += 1;
        }
        self.release(flow, at, sink);
        false
    }

    /// May a connection that ended wait on? Only calls to a Docker API are worth it.
    pub(super) fn may_park(&self, flow: &Flow<Tracked>) -> bool {
        let ports = &self.docker_ports.0;
        let waits = flow.user.held.is_some() && !self.has_secrets(flow);
        waits && ports.contains(&flow.responder.port) && self.parked.len() < PARKED
    }

    pub(super) fn park(&mut self, flow: &mut Flow<Tracked>, at: Evidence, reason: CloseReason) {
        let flow = Flow { user: std::mem::take(&mut flow.user), ..*flow };
        self.parked.push(Parked { flow, at, reason });
    }

    /// Reads the ended connections whose secrets have come.
    pub(super) fn unpark(&mut self, sink: &mut dyn FnMut(Observation)) {
        if !std::mem::take(&mut self.keys_came) || self.parked.is_empty() {
            return;
        }
        let parked = std::mem::take(&mut self.parked);
        let (ready, waiting) =
            parked.into_iter().partition(|parked| self.has_secrets(&parked.flow));
        self.parked = waiting;
        self.end_all(ready, sink);
    }

    /// No more secrets will come.
    pub(super) fn unpark_all(&mut self, sink: &mut dyn FnMut(Observation)) {
        let parked = std::mem::take(&mut self.parked);
        self.end_all(parked, sink);
    }

    fn end_all(&mut self, parked: Vec<Parked>, sink: &mut dyn FnMut(Observation)) {
        for Parked { mut flow, at, reason } in parked {
            self.end(&mut flow, at, reason, sink);
        }
    }

    fn has_secrets(&self, flow: &Flow<Tracked>) -> bool {
        wanted(flow)
            .and_then(|random| self.keys.find(&random))
            .is_some_and(|secrets| secrets.is_complete())
    }

    /// Reads what has waited, as of the time when it came.
    fn release(
        &mut self,
        flow: &mut Flow<Tracked>,
        at: Evidence,
        sink: &mut dyn FnMut(Observation),
    ) {
        let Some(held) = flow.user.held.take() else { return };
        self.held_bytes -= held.bytes;
        let first = held.events.first().map_or(at, |(at, _)| *at);
        self.give(flow, first, sink);
        for (at, waiting) in &held.events {
            self.feed(flow, *at, waiting.event(), sink);
            for _ in 0..NESTED {
                if !self.give(flow, *at, sink) {
                    break;
                }
            }
        }
    }

    /// Gives the reader what there is of the secrets that it wants.
    fn give(
        &mut self,
        flow: &mut Flow<Tracked>,
        at: Evidence,
        sink: &mut dyn FnMut(Observation),
    ) -> bool {
        let Some(secrets) = wanted(flow).and_then(|random| self.keys.find(&random)).cloned() else {
            return false;
        };
        let Some(mut reader) = flow.user.reader.take() else { return false };
        reader.unlock(&secrets, &mut |told| self.on_protocol(flow, at, told, sink));
        flow.user.reader = Some(reader);
        true
    }
}

fn wanted(flow: &Flow<Tracked>) -> Option<tw_proto::ClientRandom> {
    flow.user.reader.as_ref().and_then(|reader| reader.wants_secrets())
}
