//! One function for each core, and one for all of them together.

mod bytes;
mod datagrams;
mod exports;
mod protocol;
mod stream;

pub use bytes::{capture_file, engine, frames};
pub use datagrams::datagrams;
pub use exports::exports;
pub use protocol::{docker_api, protocols};
pub use stream::packets;
