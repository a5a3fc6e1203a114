//! Runs the real binary on recorded and hand-made captures.
//!
//! One program for all of it, so that a capture that several tests look at is replayed once.

mod account;
mod audit;
mod bad_input;
mod captures;
mod collecting;
mod collector;
mod comfort;
mod commands;
mod determinism;
mod evasion;
#[cfg(feature = "exporters")]
mod exporters;
mod extract;
mod floods;
mod flows;
mod golden;
mod handshakes;
mod hostile_text;
mod inference;
mod keylog;
mod layering;
mod packets;
mod readme;
mod report;
mod secrets;
mod support;
mod truth;
mod wrapping;
