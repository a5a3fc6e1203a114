//! Follows connections: TCP reassembly, UDP conversations, timers on packet time.
#![forbid(unsafe_code)]

mod event;

pub use event::{CloseReason, Flow, Interest, StreamEvent};
