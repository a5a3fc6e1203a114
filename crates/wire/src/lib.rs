//! Turns captured frames into transport packets.
//!
//! [`file::Reader`] frames pcap and pcapng files; [`Decoder`] undoes link headers, tags, tunnels and
//! fragments. Nothing here opens a file, asks a clock or fails on what the network sends: what cannot
//! be decoded is counted in [`Counters`].
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

mod checksum;
mod counters;
mod cut;
mod decoder;
pub mod file;
mod fragments;
mod frame;
mod ip;
mod limits;
mod link;
mod packet;
mod rare;
mod transport;
mod tunnel;
mod walk;

pub use checksum::Checksum;
pub use counters::Counters;
pub use decoder::{Decoded, Decoder};
pub use frame::{Frame, LinkType};
pub use limits::Limits;
pub use packet::{Packet, TcpFlags, TcpSegment, Transport, UdpDatagram};
