//! Follows connections: TCP reassembly, UDP conversations, timers on packet time.
//!
//! In go [`tw_wire::Packet`]s, out come [`StreamEvent`]s: what was opened, its payload in order, what
//! is missing from it, and how it ended. [`Table`] is the whole of it. It refuses to look into
//! payload, to join connections, and to know any other clock than the packets'.
//!
//! Everything is bounded by [`Limits`], and everything that was given up is in [`Counters`].
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::cast_possible_truncation
    )
)]

mod clock;
mod counters;
mod event;
mod key;
mod limits;
mod opener;
mod pair;
mod pool;
mod recent;
mod step;
mod table;
mod tcp;

pub use counters::Counters;
pub use event::{CloseReason, Flow, Interest, Passed, StreamEvent};
pub use limits::{IdleTimes, Limits};
pub use table::Table;
