//! The decoder and the collector on hand-made datagrams.

mod collector;
mod decoder;
mod hostile;
mod message;
mod state;
