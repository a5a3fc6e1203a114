//! Turns captured frames into transport packets.
#![forbid(unsafe_code)]

mod frame;
mod packet;

pub use frame::{Frame, LinkType};
pub use packet::{Packet, TcpFlags, TcpSegment, Transport, UdpDatagram};
