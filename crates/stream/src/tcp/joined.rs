//! Where a connection whose SYN was not seen begins.

use tw_model::{Direction, Timestamp};

use super::side::Side;
use super::{DIRECTIONS, Tcp};
use crate::step::{Sink, Step};

impl Tcp {
    /// Each direction begins with the lowest byte that is held. What is held of both is handed on as it
    /// came, so that a question stays before its answer.
    pub(super) fn begin<S, F: Sink<S>>(&mut self, step: &mut Step<'_, S, F>) {
        for direction in DIRECTIONS {
            self.side_mut(direction).begin_at_first_held();
        }
        while let Some(direction) = self.first_ready() {
            self.side_mut(direction).deliver_first(step, direction);
        }
        for direction in DIRECTIONS {
            let side = self.side_mut(direction);
            side.drain(step, direction);
            side.reach_end(step, direction);
        }
    }

    fn first_ready(&self) -> Option<Direction> {
        let ready = DIRECTIONS
            .into_iter()
            .filter_map(|direction| Some((self.side(direction).first_ready()?, direction)));
        ready.min_by_key(|(came, _)| *came).map(|(_, direction)| direction)
    }
}

impl Side {
    fn begin_at_first_held(&mut self) {
        if self.started || self.hole.is_none() {
            return;
        }
        let end = if self.end == 0 { self.next } else { self.end };
        self.start(self.first_held().unwrap_or(end));
    }

    /// When the next bytes came, if they are held.
    fn first_ready(&self) -> Option<Timestamp> {
        let (position, evidence) = self.hole.as_ref()?.first_with_evidence()?;
        (self.started && position <= self.next).then_some(evidence.timestamp)
    }

    fn deliver_first<S, F: Sink<S>>(&mut self, step: &mut Step<'_, S, F>, direction: Direction) {
        if let Some((at, held)) = self.hole.as_mut().and_then(|hole| hole.pop_first()) {
            self.deliver_held(step, direction, at, &held);
        }
    }

    /// The lowest byte held is the first.
    pub(super) fn start_at_first_held<S, F: Sink<S>>(
        &mut self,
        step: &mut Step<'_, S, F>,
        direction: Direction,
    ) {
        if self.started || self.hole.is_none() {
            return;
        }
        self.begin_at_first_held();
        self.drain(step, direction);
        self.reach_end(step, direction);
    }
}
