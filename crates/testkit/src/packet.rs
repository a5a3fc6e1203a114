//! Single packets: Ethernet, IPv4, TCP and UDP with right lengths and checksums.

use std::net::SocketAddrV4;

use tw_model::Timestamp;

use crate::checksum::{internet, pseudo_header};

/// TCP flag FIN.
pub const FIN: u8 = 0x01;
/// TCP flag SYN.
pub const SYN: u8 = 0x02;
/// TCP flag RST.
pub const RST: u8 = 0x04;
pub(crate) const PSH: u8 = 0x08;
pub(crate) const ACK: u8 = 0x10;

const TCP: u8 = 6;
const UDP: u8 = 17;

/// A frame and when it is seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// When it is seen.
    pub at: Timestamp,
    /// The Ethernet frame, without check sequence.
    pub frame: Vec<u8>,
}

/// An Ethernet frame around an IPv4 packet; the link-layer addresses are made from the addresses.
#[must_use]
pub fn ethernet(source: [u8; 4], destination: [u8; 4], ipv4: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(14 + ipv4.len());
    for ip in [destination, source] {
        frame.extend_from_slice(&[0x02, 0x00]);
        frame.extend_from_slice(&ip);
    }
    frame.extend_from_slice(&[0x08, 0x00]);
    frame.extend_from_slice(ipv4);
    frame
}

/// RFC 9293 §3.1: a frame with one TCP segment.
#[must_use]
pub fn tcp_packet(
    (source, destination): (SocketAddrV4, SocketAddrV4),
    (seq, ack): (u32, u32),
    flags: u8,
    payload: &[u8],
) -> Vec<u8> {
    let mut segment = Vec::with_capacity(20 + payload.len());
    segment.extend_from_slice(&source.port().to_be_bytes());
    segment.extend_from_slice(&destination.port().to_be_bytes());
    segment.extend_from_slice(&seq.to_be_bytes());
    segment.extend_from_slice(&ack.to_be_bytes());
    segment.extend_from_slice(&[5 << 4, flags, 0xff, 0xff, 0, 0, 0, 0]);
    segment.extend_from_slice(payload);
    frame(source, destination, TCP, &segment)
}

/// RFC 768: a frame with one UDP datagram.
#[must_use]
pub fn udp_packet(source: SocketAddrV4, destination: SocketAddrV4, payload: &[u8]) -> Vec<u8> {
    let len = u16::try_from(8 + payload.len()).expect("fits a datagram");
    let mut datagram = Vec::with_capacity(usize::from(len));
    datagram.extend_from_slice(&source.port().to_be_bytes());
    datagram.extend_from_slice(&destination.port().to_be_bytes());
    datagram.extend_from_slice(&len.to_be_bytes());
    datagram.extend_from_slice(&[0, 0]);
    datagram.extend_from_slice(payload);
    frame(source, destination, UDP, &datagram)
}

/// RFC 791 §3.1: a segment or datagram in an IPv4 packet without options that may not be fragmented.
fn frame(source: SocketAddrV4, destination: SocketAddrV4, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let (source, destination) = (source.ip().octets(), destination.ip().octets());
    let len = u16::try_from(20 + payload.len()).expect("fits an IPv4 packet");
    let mut packet = Vec::with_capacity(usize::from(len));
    packet.extend_from_slice(&[0x45, 0]);
    packet.extend_from_slice(&len.to_be_bytes());
    packet.extend_from_slice(&[0, 0, 0x40, 0, 64, protocol, 0, 0]);
    packet.extend_from_slice(&source);
    packet.extend_from_slice(&destination);
    packet.extend_from_slice(payload);
    checksums(&mut packet);
    ethernet(source, destination, &packet)
}

/// Makes the checksums of an Ethernet frame with IPv4 anew, and with them a changed packet whole.
///
/// # Panics
/// Where the frame is too short for that.
pub fn with_checksums(frame: &mut [u8]) {
    let (_, ipv4) = frame.split_at_mut(14);
    checksums(ipv4);
}

/// Makes the header checksum of an IPv4 packet without options and that of the TCP or UDP in it.
pub(crate) fn checksums(ipv4: &mut [u8]) {
    let (header, payload) = ipv4.split_at_mut(20);
    header[10..12].fill(0);
    let sum = internet(0, header);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    let at = match header[9] {
        TCP => 16,
        UDP => 6,
        _ => return,
    };
    let len = u16::try_from(payload.len()).expect("fits an IPv4 packet");
    let address = |at: usize| [header[at], header[at + 1], header[at + 2], header[at + 3]];
    payload[at..at + 2].fill(0);
    let sum = internet(pseudo_header(address(12), address(16), header[9], len), payload);
    payload[at..at + 2].copy_from_slice(&sum.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_of_a_packet_add_up() {
        let (a, b) = ("10.0.0.1:1000".parse().unwrap(), "10.0.0.2:80".parse().unwrap());
        let frame = tcp_packet((a, b), (1, 2), ACK, b"odd");
        assert_eq!(internet(0, &frame[14..34]), 0);
        let len = u16::try_from(frame.len() - 34).unwrap();
        let pseudo = pseudo_header(a.ip().octets(), b.ip().octets(), TCP, len);
        assert_eq!(internet(pseudo, &frame[34..]), 0);
    }
}
