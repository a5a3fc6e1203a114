//! Joins the two calls of an upload: see [`crate::build::Upload`].

use tw_model::{Evidence, Observation};

use super::{Api, Key};
use crate::build::{BuildCall, Upload};
use crate::exchange::Exchange;
use crate::memory::Sides;

impl Api {
    /// Is this request one side of an upload whose other side is there?
    pub(super) fn join_upload(
        &mut self,
        key: Key,
        at: Evidence,
        sink: &mut dyn FnMut(Observation),
    ) {
        let Some((host, upload)) = self.exchange(key.0, key.1).and_then(Exchange::upload) else {
            return;
        };
        let mut sides = *self.memory.upload(host, upload.id());
        sides.giver = sides.giver.filter(|giver| self.exchange(giver.0, giver.1).is_some());
        match upload {
            Upload::Takes(_) => sides.taker = Some(key),
            Upload::Gives(_) => {
                sides.giver.get_or_insert(key);
            }
        }
        *self.memory.upload(host, upload.id()) = sides;
        let Sides { taker: Some(taker), giver: Some(giver) } = sides else { return };
        let Some(id) = self.exchange(giver.0, giver.1).and_then(|giver| giver.call_id()) else {
            return;
        };
        let taker = self.exchange(taker.0, taker.1).and_then(Exchange::build_mut);
        let Some(taker) = taker else { return };
        taker.join(id);
        let giver_build = self.exchange(giver.0, giver.1).and_then(Exchange::build_mut);
        giver_build.into_iter().for_each(BuildCall::claim);
        self.deliver_upload(giver, at, sink);
    }

    /// Gives a build the context that this call has brought.
    pub(super) fn deliver_upload(
        &mut self,
        giver: Key,
        at: Evidence,
        sink: &mut dyn FnMut(Observation),
    ) {
        let exchange = self.conns.get_mut(&giver.0).and_then(|open| open.remove(&giver.1));
        let Some(mut exchange) = exchange else { return };
        self.hand_over(&mut exchange, at, sink);
        if let Some(open) = self.conns.get_mut(&giver.0) {
            open.insert(giver.1, exchange);
        }
    }

    pub(super) fn hand_over(
        &mut self,
        giver: &mut Exchange,
        at: Evidence,
        sink: &mut dyn FnMut(Observation),
    ) {
        let Some((host, upload @ Upload::Gives(_))) = giver.upload() else { return };
        let Some(taker) = self.memory.upload(host, upload.id()).taker else { return };
        let Some(taker) = self.exchange(taker.0, taker.1) else { return };
        let name = taker.build_mut().and_then(|build| build.dockerfile_name().map(str::to_owned));
        let facts = giver.build_mut().and_then(|build| build.give(name.as_deref()));
        if let Some(facts) = facts {
            taker.take_file(facts, at, sink);
        }
    }
}
