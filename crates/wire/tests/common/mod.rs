//! Builds frames byte by byte, and collects what the decoder makes of them.
#![allow(dead_code, reason = "each test file uses a part")]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use tw_model::{AnomalyKind, MacAddress, NetworkTag, SourceId, Timestamp};
use tw_wire::{Counters, Decoded, Decoder, Frame, Limits, LinkType, Packet, Transport};

pub(crate) const ETHERNET: LinkType = LinkType(1);
pub(crate) const DST_MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 0xdd];
pub(crate) const SRC_MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 0xaa];

/// A packet that outlives the sink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Owned {
    pub(crate) number: u64,
    pub(crate) src: IpAddr,
    pub(crate) dst: IpAddr,
    pub(crate) protocol: u8,
    pub(crate) ports: (u16, u16),
    pub(crate) seq: u32,
    pub(crate) payload: Vec<u8>,
    pub(crate) payload_len: u32,
    pub(crate) tag: NetworkTag,
    pub(crate) macs: Option<(MacAddress, MacAddress)>,
    pub(crate) ip_len: u32,
    pub(crate) ip_id: u16,
    pub(crate) hop_limit: u8,
}

impl Owned {
    pub(crate) fn new(packet: &Packet<'_>) -> Self {
        let tw_model::RecordNumber::Frame(number) = packet.evidence.record else {
            panic!("a decoder's evidence is a frame")
        };
        let (protocol, ports, seq, payload, payload_len) = match packet.transport {
            Transport::Tcp(s) => (6, (s.src_port, s.dst_port), s.seq, s.payload, s.payload_len),
            Transport::Udp(d) => (17, (d.src_port, d.dst_port), 0, d.payload, d.payload_len),
            Transport::Other { protocol, payload } => {
                (protocol, (0, 0), 0, payload, payload.len() as u32)
            }
        };
        Self {
            number,
            src: packet.src,
            dst: packet.dst,
            protocol,
            ports,
            seq,
            payload: payload.to_vec(),
            payload_len,
            tag: packet.tag,
            macs: packet.macs,
            ip_len: packet.ip_len,
            ip_id: packet.ip_id,
            hop_limit: packet.hop_limit,
        }
    }

    /// What no wrapping may change.
    pub(crate) fn core(&self) -> (IpAddr, IpAddr, u8, (u16, u16), u32, &[u8], u32) {
        let Self { src, dst, protocol, ports, seq, payload, payload_len, .. } = self;
        (*src, *dst, *protocol, *ports, *seq, payload, *payload_len)
    }
}

pub(crate) struct Outcome {
    pub(crate) packets: Vec<Owned>,
    pub(crate) anomalies: Vec<AnomalyKind>,
    pub(crate) counters: Counters,
}

pub(crate) fn frame(link: LinkType, bytes: &[u8], number: u64) -> Frame<'_> {
    Frame {
        timestamp: Timestamp::from_secs_nanos(1_700_000_000, number as i64),
        link,
        bytes,
        original_len: bytes.len() as u32,
        source: SourceId(0),
        number,
        interface: 0,
    }
}

/// Decodes `frames`, one a microsecond or so, all of one link type.
pub(crate) fn decode_all(link: LinkType, frames: &[Vec<u8>]) -> Outcome {
    let mut decoder = Decoder::new(Limits::default());
    let (mut packets, mut anomalies) = (Vec::new(), Vec::new());
    for (bytes, number) in frames.iter().zip(1..) {
        decoder.push(&frame(link, bytes, number), &mut |decoded: Decoded<'_>| match decoded {
            Decoded::Packet(packet) => packets.push(Owned::new(&packet)),
            Decoded::Anomaly { kind, .. } => anomalies.push(kind),
        });
    }
    decoder.finish();
    Outcome { packets, anomalies, counters: decoder.counters().clone() }
}

/// Decodes one frame that must give one packet.
pub(crate) fn decode(link: LinkType, bytes: &[u8]) -> Owned {
    let mut outcome = decode_all(link, &[bytes.to_vec()]);
    assert_eq!(outcome.packets.len(), 1, "{:?}", outcome.counters);
    outcome.packets.remove(0)
}

pub(crate) fn concat(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

pub(crate) fn ethernet(ether_type: u16, payload: &[u8]) -> Vec<u8> {
    concat(&[&DST_MAC, &SRC_MAC, &ether_type.to_be_bytes(), payload])
}

/// An Ethernet frame around an IPv4 or IPv6 packet.
pub(crate) fn ethernet_ip(packet: &[u8]) -> Vec<u8> {
    ethernet(ether_type_of(packet), packet)
}

pub(crate) fn ether_type_of(packet: &[u8]) -> u16 {
    if packet[0] >> 4 == 4 { 0x0800 } else { 0x86dd }
}

pub(crate) fn v4(text: &str) -> Ipv4Addr {
    text.parse().unwrap()
}

pub(crate) fn v6(text: &str) -> Ipv6Addr {
    text.parse().unwrap()
}

pub(crate) fn ipv4(src: &str, dst: &str, protocol: u8, payload: &[u8]) -> Vec<u8> {
    ipv4_with(src, dst, protocol, 7, 0, payload)
}

/// With identification and the field of flags and offset.
pub(crate) fn ipv4_with(
    src: &str,
    dst: &str,
    protocol: u8,
    id: u16,
    flags: u16,
    payload: &[u8],
) -> Vec<u8> {
    let total = (20 + payload.len()) as u16;
    concat(&[
        &[0x45, 0],
        &total.to_be_bytes(),
        &id.to_be_bytes(),
        &flags.to_be_bytes(),
        &[64, protocol, 0xba, 0xad],
        &v4(src).octets(),
        &v4(dst).octets(),
        payload,
    ])
}

pub(crate) fn ipv6(src: &str, dst: &str, next: u8, payload: &[u8]) -> Vec<u8> {
    concat(&[
        &[0x60, 0, 0, 0],
        &(payload.len() as u16).to_be_bytes(),
        &[next, 63],
        &v6(src).octets(),
        &v6(dst).octets(),
        payload,
    ])
}

pub(crate) fn tcp(src_port: u16, dst_port: u16, seq: u32, payload: &[u8]) -> Vec<u8> {
    concat(&[
        &src_port.to_be_bytes(),
        &dst_port.to_be_bytes(),
        &seq.to_be_bytes(),
        &[0, 0, 0, 9, 0x50, 0x18, 0xff, 0xff, 0xba, 0xad, 0, 0],
        payload,
    ])
}

pub(crate) fn udp(src_port: u16, dst_port: u16, payload: &[u8]) -> Vec<u8> {
    concat(&[
        &src_port.to_be_bytes(),
        &dst_port.to_be_bytes(),
        &((8 + payload.len()) as u16).to_be_bytes(),
        &[0xba, 0xad],
        payload,
    ])
}

/// The packet that the tests wrap: TCP from 10.1.0.1:40000 to 10.2.0.2:2375.
pub(crate) fn plain_v4() -> Vec<u8> {
    ipv4("10.1.0.1", "10.2.0.2", 6, &tcp(40000, 2375, 1000, b"POST /build HTTP/1.1\r\n"))
}

/// The same over IPv6.
pub(crate) fn plain_v6() -> Vec<u8> {
    ipv6("fd00::1", "fd00::2", 6, &tcp(40000, 2375, 1000, b"POST /build HTTP/1.1\r\n"))
}

/// A small generator of test input (SplitMix64).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }

    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

/// A wrapped packet: name, link type, frame.
pub(crate) type Wrapped = (&'static str, LinkType, Vec<u8>);

/// Every way of wrapping that the decoder undoes.
pub(crate) fn wrappings(packet: &[u8]) -> Vec<Wrapped> {
    let mut all = tags_and_labels(packet);
    all.extend(other_links(packet));
    all.extend(gre_tunnels(packet));
    all.extend(udp_tunnels(packet));
    all.extend(nested_tunnels(packet));
    all
}

/// An EtherType and the packet.
fn typed(packet: &[u8]) -> Vec<u8> {
    concat(&[&ether_type_of(packet).to_be_bytes(), packet])
}

fn snap(packet: &[u8]) -> Vec<u8> {
    concat(&[&[0xaa, 0xaa, 3, 0, 0, 0], &typed(packet)])
}

fn ppp(packet: &[u8]) -> Vec<u8> {
    let protocol = if packet[0] >> 4 == 4 { [0x00, 0x21] } else { [0x00, 0x57] };
    concat(&[&protocol, packet])
}

fn pppoe(packet: &[u8]) -> Vec<u8> {
    let ppp = ppp(packet);
    concat(&[&[0x11, 0, 0, 1], &(ppp.len() as u16).to_be_bytes(), &ppp])
}

fn vxlan(packet: &[u8]) -> Vec<u8> {
    concat(&[&[0x08, 0, 0, 0, 0, 0x12, 0x34, 0], &ethernet_ip(packet)])
}

/// Tags (identifier of a tag protocol and tag) between the addresses and what `packet` is.
fn tagged(tags: &[(u16, u16)], packet: &[u8]) -> Vec<u8> {
    let mut frame = concat(&[&DST_MAC, &SRC_MAC]);
    for (tpid, id) in tags {
        frame.extend([tpid.to_be_bytes(), id.to_be_bytes()].concat());
    }
    frame.extend(typed(packet));
    frame
}

fn tags_and_labels(packet: &[u8]) -> Vec<Wrapped> {
    let frame = ethernet_ip(packet);
    let snap = snap(packet);
    let mpls = |parts: &[&[u8]]| ethernet(0x8847, &concat(parts));
    vec![
        ("ethernet", ETHERNET, frame.clone()),
        ("ethernet with padding", ETHERNET, concat(&[&frame, &[0xee; 9]])),
        ("802.1q", ETHERNET, tagged(&[(0x8100, 5)], packet)),
        ("802.1ad", ETHERNET, tagged(&[(0x88a8, 9), (0x8100, 5)], packet)),
        ("0x9100", ETHERNET, tagged(&[(0x9100, 9), (0x9100, 5)], packet)),
        ("llc snap", ETHERNET, ethernet(snap.len() as u16, &snap)),
        ("mpls", ETHERNET, mpls(&[&[0, 1, 0, 9, 0, 2, 1, 9], packet])),
        ("mpls pseudowire", ETHERNET, mpls(&[&[0, 1, 1, 9, 0, 0, 0, 0], &frame])),
        ("mpls pseudowire, no word", ETHERNET, mpls(&[&[0, 1, 1, 9], &frame])),
        ("pppoe", ETHERNET, ethernet(0x8864, &pppoe(packet))),
        ("vn-tag", ETHERNET, ethernet(0x8926, &concat(&[&[0; 4], &typed(packet)]))),
        ("802.1ah", ETHERNET, ethernet(0x88e7, &concat(&[&[0, 0, 0, 7], &frame]))),
    ]
}

fn other_links(packet: &[u8]) -> Vec<Wrapped> {
    let is_v4 = packet[0] >> 4 == 4;
    let family: u32 = if is_v4 { 2 } else { 30 };
    let kind = ether_type_of(packet).to_be_bytes();
    let cooked = concat(&[&[0, 0, 0, 1, 0, 6], &SRC_MAC, &[0, 0], &typed(packet)]);
    let cooked2 = concat(&[&kind, &[0, 0, 0, 0, 0, 3, 0, 1, 0, 6], &SRC_MAC, &[0, 0], packet]);
    let wifi = concat(&[&[0x88, 0x01, 0, 0], &[2; 18], &[0, 0], &[0, 0], &snap(packet)]);
    vec![
        ("raw", LinkType(101), packet.to_vec()),
        ("raw 12", LinkType(12), packet.to_vec()),
        ("raw 228 or 229", LinkType(if is_v4 { 228 } else { 229 }), packet.to_vec()),
        ("null little", LinkType(0), concat(&[&family.to_le_bytes(), packet])),
        ("null big", LinkType(0), concat(&[&family.to_be_bytes(), packet])),
        ("loop", LinkType(108), concat(&[&family.to_be_bytes(), packet])),
        ("cooked", LinkType(113), cooked),
        ("cooked v2", LinkType(276), cooked2),
        ("ppp", LinkType(9), ppp(packet)),
        ("ppp hdlc", LinkType(50), concat(&[&[0xff, 3], &ppp(packet)])),
        ("ppp, short protocol", LinkType(9), concat(&[&[0xff, 3], &ppp(packet)[1..]])),
        ("cisco hdlc", LinkType(104), concat(&[&[0x0f, 0], &typed(packet)])),
        ("cisco hdlc as ppp", LinkType(9), concat(&[&[0x8f, 0], &typed(packet)])),
        ("ppp ether", LinkType(51), pppoe(packet)),
        (
            "per-packet information",
            LinkType(192),
            concat(&[&[0, 0, 12, 0, 1, 0, 0, 0, 9, 9, 9, 9], &ethernet_ip(packet)]),
        ),
        (
            "netfilter log",
            LinkType(239),
            concat(&[&[2, 0, 0, 0, 5, 0, 10, 0, b'x', 0, 0, 0, 44, 0, 9, 0], packet]),
        ),
        ("wifi", LinkType(105), wifi.clone()),
        ("radiotap", LinkType(127), concat(&[&[0, 0, 8, 0, 0, 0, 0, 0], &wifi])),
    ]
}

fn outer_v4(protocol: u8, payload: &[u8]) -> Vec<u8> {
    ethernet_ip(&ipv4("192.0.2.1", "192.0.2.2", protocol, payload))
}

fn outer_v6(protocol: u8, payload: &[u8]) -> Vec<u8> {
    ethernet_ip(&ipv6("2001:db8::1", "2001:db8::2", protocol, payload))
}

fn gre_tunnels(packet: &[u8]) -> Vec<Wrapped> {
    let frame = ethernet_ip(packet);
    let kind = ether_type_of(packet).to_be_bytes();
    let gre = |parts: &[&[u8]]| outer_v4(47, &concat(parts));
    let erspan2 = [0x10, 0x21, 0, 1, 0, 0, 0, 0];
    let erspan3 = [0x20, 0x21, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0];
    let erspan3_long = [0x20, 0x21, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1];
    let sequenced = |high: u8, low: u8| [0x10, 0, high, low, 0, 0, 0, 1];
    vec![
        ("gre", ETHERNET, gre(&[&[0, 0], &typed(packet)])),
        ("gre keyed", ETHERNET, gre(&[&[0xb0, 0], &kind, &[0; 12], packet])),
        ("gre ethernet", ETHERNET, gre(&[&[0x20, 0, 0x65, 0x58, 0, 0, 0, 1], &frame])),
        ("gre pptp", ETHERNET, gre(&[&[0x30, 0x81, 0x88, 0x0b], &[0; 12], &ppp(packet)])),
        ("erspan i", ETHERNET, gre(&[&[0, 0, 0x88, 0xbe], &frame])),
        ("erspan ii", ETHERNET, gre(&[&sequenced(0x88, 0xbe), &erspan2, &frame])),
        ("erspan iii", ETHERNET, gre(&[&sequenced(0x22, 0xeb), &erspan3, &frame])),
        (
            "erspan iii with subheader",
            ETHERNET,
            gre(&[&sequenced(0x22, 0xeb), &erspan3_long, &[9; 8], &frame]),
        ),
    ]
}

fn udp_tunnels(packet: &[u8]) -> Vec<Wrapped> {
    let frame = ethernet_ip(packet);
    let kind = ether_type_of(packet).to_be_bytes();
    let over_udp = |port: u16, parts: &[&[u8]]| outer_v4(17, &udp(50000, port, &concat(parts)));
    let gtp_extended = [0x34, 255, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0x85, 1, 0, 9, 0];
    vec![
        ("vxlan", ETHERNET, over_udp(4789, &[&vxlan(packet)])),
        ("vxlan 8472 over ipv6", ETHERNET, outer_v6(17, &udp(50000, 8472, &vxlan(packet)))),
        (
            "geneve",
            ETHERNET,
            over_udp(6081, &[&[1, 0, 0x65, 0x58, 0, 0x12, 0x34, 0, 1, 2, 3, 0], &frame]),
        ),
        ("geneve ip", ETHERNET, over_udp(6081, &[&[0, 0], &kind, &[0, 0x12, 0x34, 0], packet])),
        ("gtp-u", ETHERNET, over_udp(2152, &[&[0x30, 255, 0, 0, 0, 0, 0, 1], packet])),
        ("gtp-u extended", ETHERNET, over_udp(2152, &[&gtp_extended, packet])),
    ]
}

fn nested_tunnels(packet: &[u8]) -> Vec<Wrapped> {
    let protocol = if packet[0] >> 4 == 4 { 4 } else { 41 };
    let carrier = ipv4("192.0.2.1", "192.0.2.2", 17, &udp(1, 4789, &vxlan(packet)));
    let gre = concat(&[&[0, 0], &typed(&carrier)]);
    let outermost = ipv4("198.51.100.1", "198.51.100.2", 47, &gre);
    vec![
        ("ip in ip", ETHERNET, outer_v4(protocol, packet)),
        ("ip in ipv6", ETHERNET, outer_v6(protocol, packet)),
        ("vxlan in gre in vlan", ETHERNET, tagged(&[(0x8100, 77)], &outermost)),
    ]
}
