//! tidewaiter: finds image builds on Docker hosts that download from a place this environment has
//! never talked to (MITRE ATT&CK T1612).
//!
//! [`engine::Engine`] turns frames into observations; the commands in [`cli`] feed it and print what
//! the detector makes of them.
#![forbid(unsafe_code)]

pub mod cli;
pub mod engine;
mod files;
mod live;
mod pipeline;
pub mod report;
pub mod settings;
