//! Makes large captures with known contents: an office's traffic, and in it Docker builds that must be
//! found and builds that must not.
//!
//! The same number of flows and the same seed give the same bytes on every machine.
#![forbid(unsafe_code)]

mod docker;
mod exports;
mod h2c;
mod hello;
mod mix;
mod office;
mod random;

pub use docker::{Sessions, Truth};
pub use exports::{Exports, Version as ExportVersion};
pub use h2c::write_h2c;
pub use hello::tls_handshake;
pub use mix::{Packets, Totals, write_mix};
