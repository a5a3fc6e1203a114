//! Plain frames read as `etherparse` reads them.

mod common;

use common::*;
use etherparse::{LaxNetSlice, LaxSlicedPacket, TransportSlice};

/// Source, destination, ports, payload.
type Read = (String, String, (u16, u16), Vec<u8>);

fn oracle(bytes: &[u8]) -> Option<Read> {
    let sliced = LaxSlicedPacket::from_ethernet(bytes).ok()?;
    let (src, dst) = match sliced.net? {
        LaxNetSlice::Ipv4(ip) => {
            (ip.header().source_addr().to_string(), ip.header().destination_addr().to_string())
        }
        LaxNetSlice::Ipv6(ip) => {
            (ip.header().source_addr().to_string(), ip.header().destination_addr().to_string())
        }
        LaxNetSlice::Arp(_) => return None,
    };
    let (ports, payload) = match sliced.transport? {
        TransportSlice::Tcp(tcp) => {
            ((tcp.source_port(), tcp.destination_port()), tcp.payload().to_vec())
        }
        TransportSlice::Udp(udp) => {
            ((udp.source_port(), udp.destination_port()), udp.payload().to_vec())
        }
        _ => return None,
    };
    Some((src, dst, ports, payload))
}

#[test]
fn plain_frames_read_as_etherparse_reads_them() {
    let mut random = Random(7);
    for round in 0..5000 {
        let payload: Vec<u8> = (0..random.below(200)).map(|_| random.next() as u8).collect();
        let ports = (random.next() as u16, random.below(2000) as u16);
        let (protocol, transport) = if random.below(2) == 0 {
            (6, tcp(ports.0, ports.1, random.next() as u32, &payload))
        } else {
            (17, udp(ports.0, ports.1, &payload))
        };
        let packet = match random.below(3) {
            0 => ipv6("fd00::5", "2001:db8::9", protocol, &transport),
            1 => {
                let options = concat(&[&[protocol, 0, 1, 4, 0, 0, 0, 0], &transport]);
                ipv6("fd00::5", "2001:db8::9", 60, &options)
            }
            _ => ipv4("10.9.8.7", "203.0.113.250", protocol, &transport),
        };
        let mut bytes = ethernet_ip(&packet);
        if random.below(3) == 0 {
            bytes.splice(12..12, [0x81, 0, 0, 9]);
        }
        if random.below(3) == 0 {
            bytes.extend([0; 12]);
        }
        let (src, dst, ports, payload) = oracle(&bytes).expect("the oracle reads it");
        let found = decode(ETHERNET, &bytes);
        assert_eq!((found.src.to_string(), found.dst.to_string()), (src, dst), "round {round}");
        assert_eq!((found.ports, found.payload), (ports, payload), "round {round}");
    }
}
