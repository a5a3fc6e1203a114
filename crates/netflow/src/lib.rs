//! NetFlow v5, v7 and v9 and IPFIX: export datagrams go in, flow records and the connections that
//! they add up to come out.
//!
//! [`Collector`] is the whole of it: a [`Decoder`] with templates, sampling and sequence numbers of
//! each exporter and observation domain, and the join of one-way, cut and repeated records into
//! conversations. It opens no socket, keeps no file and knows no clock but the capture's and the
//! exporters'. It refuses to guess: a data set whose template is missing is held for a while, then
//! counted; what a record does not say stays unsaid.
//!
//! Everything is bounded by [`Limits`], and everything that was given up is in [`Counters`]. The
//! `ipfix` crate is not used: 0.1.1 hangs and panics on hand-made datagrams, keeps one unbounded
//! template table for all exporters, and lets reverse elements overwrite forward ones.
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

mod collector;
mod conversation;
mod cursor;
mod decoder;
mod domain;
mod element;
mod exporter;
mod fixed;
mod header;
mod held;
mod join;
mod limits;
mod opener;
mod options;
mod piece;
mod recognise;
mod sequence;
mod set;
mod slab;
mod state;
mod template;
mod track;
mod values;

pub use collector::{Collector, Told};
pub use decoder::{Datagram, Decoder};
pub use exporter::ExporterState;
pub use limits::{Counters, Limits, Usage};
pub use recognise::looks_like_export;
pub use state::NotAState;
