//! What the engine needs of a store, live or thrown away.

use tw_detect::{Fact, Key, Seen};
use tw_model::Timestamp;

use crate::key::SeenAxis;
use crate::row::How;

/// A seen-before store that can also be told: [`Store`](crate::Store), [`Reader`](crate::Reader)
/// and [`Overlay`](crate::Overlay).
///
/// An answer counts only contacts from before the time asked about. So it does not matter whether a
/// contact is recorded before or after the question about it, and late input gets the answer of its
/// own time. Nothing here fails; what goes wrong is counted and shown by the owner's statistics.
pub trait Memory: Seen {
    /// This environment is being watched at this packet time: call it at its first packet and then
    /// at least hourly of packet time; a call that changes nothing is cheap.
    fn watching(&mut self, environment: &str, at: Timestamp) {
        self.watching_axes(environment, &SeenAxis::ALL, at);
    }

    /// The same for some axes, where the input cannot teach on the others: of those nothing can be said
    /// to have never been seen.
    fn watching_axes(&mut self, environment: &str, axes: &[SeenAxis], at: Timestamp);

    /// Remembers a contact.
    fn record(&mut self, fact: &Fact<'_>, how: How);

    /// This stands in a finding of medium or above: from now on only the operator's word makes it
    /// known.
    fn mark_in_finding(&mut self, environment: &str, key: Key<'_>);
}
