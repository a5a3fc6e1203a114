//! One transport packet: what is left of a frame when links, tags, tunnels and fragments are undone.

use std::net::IpAddr;

use tw_model::{Evidence, MacAddress, NetworkTag};

/// TCP flags (RFC 9293 §3.1), the low 8 bits of the flags field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpFlags(pub u8);

impl TcpFlags {
    /// FIN.
    pub const FIN: u8 = 0x01;
    /// SYN.
    pub const SYN: u8 = 0x02;
    /// RST.
    pub const RST: u8 = 0x04;
    /// ACK.
    pub const ACK: u8 = 0x10;
    /// URG.
    pub const URG: u8 = 0x20;

    /// Are all bits of `mask` set?
    #[must_use]
    pub const fn has(self, mask: u8) -> bool {
        self.0 & mask == mask
    }
}

/// A TCP segment.
#[derive(Clone, Copy, Debug)]
pub struct TcpSegment<'a> {
    /// Source port.
    pub src_port: u16,
    /// Destination port.
    pub dst_port: u16,
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgment number; meaningless without ACK.
    pub ack: u32,
    /// Flags.
    pub flags: TcpFlags,
    /// The header as captured, options included.
    pub header: &'a [u8],
    /// Payload bytes that were captured.
    pub payload: &'a [u8],
    /// Payload bytes on the wire by the IP length (at least `payload.len()`); the rest was cut off
    /// by the snap length.
    pub payload_len: u32,
}

impl TcpSegment<'_> {
    /// How many bytes behind the first the urgent byte is. By the urgent pointer as systems read it: it
    /// points behind that byte (RFC 6093 §3.1).
    #[must_use]
    pub fn urgent(&self) -> Option<u16> {
        let pointer: [u8; 2] = self.header.get(18..20)?.try_into().ok()?;
        let urgent = self.flags.has(TcpFlags::URG);
        urgent.then(|| u16::from_be_bytes(pointer).checked_sub(1)).flatten()
    }
}

/// A UDP datagram.
#[derive(Clone, Copy, Debug)]
pub struct UdpDatagram<'a> {
    /// Source port.
    pub src_port: u16,
    /// Destination port.
    pub dst_port: u16,
    /// Payload bytes that were captured.
    pub payload: &'a [u8],
    /// Payload bytes on the wire (at least `payload.len()`).
    pub payload_len: u32,
}

/// What an IP packet carries.
#[derive(Clone, Copy, Debug)]
pub enum Transport<'a> {
    /// TCP.
    Tcp(TcpSegment<'a>),
    /// UDP.
    Udp(UdpDatagram<'a>),
    /// Anything else, or a TCP or UDP header that was cut off or contradicts itself.
    Other {
        /// IANA protocol number.
        protocol: u8,
        /// Bytes after the IP headers that were captured.
        payload: &'a [u8],
    },
}

/// One transport packet.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    /// The frame that it came from; after reassembly of fragments, the one that completed it.
    pub evidence: Evidence,
    /// Source address of the innermost IP header.
    pub src: IpAddr,
    /// Destination address of the innermost IP header.
    pub dst: IpAddr,
    /// Which network: innermost VLAN, innermost VNI, interface.
    pub tag: NetworkTag,
    /// Source and destination of the innermost Ethernet header; Linux cooked captures know the source only
    /// (destination all zero).
    pub macs: Option<(MacAddress, MacAddress)>,
    /// Length of the innermost IP packet in bytes by its own header (headers and payload).
    pub ip_len: u32,
    /// Identification field of the innermost IPv4 header, for telling mirror duplicates; 0 for IPv6.
    pub ip_id: u16,
    /// Innermost hop limit, for telling the same packet mirrored before and behind a router.
    pub hop_limit: u8,
    /// Put together of fragments that overlap in part, or contradict each other about its end: Linux and
    /// RFC 8200 §4.5 drop such a packet, other systems do not.
    pub overlapped: bool,
    /// What it carries.
    pub transport: Transport<'a>,
}
