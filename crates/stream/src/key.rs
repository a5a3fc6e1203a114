//! Which flow a packet belongs to.

use std::hash::{BuildHasher, Hash, Hasher};
use std::net::IpAddr;

use tw_model::{Endpoint, Protocol};
use tw_wire::{Packet, Transport};

/// A packet's flow: the pair of endpoints in canonical order, the protocol, and the VXLAN or GENEVE
/// network. The VLAN is not in it, since the two directions may differ in tag, nor the interface,
/// since one may see the requests and another the answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FlowKey {
    low: u128,
    high: u128,
    low_port: u16,
    high_port: u16,
    vni: u32,
    protocol: u8,
    /// Bit 0: low is IPv6, bit 1: high is IPv6, bit 2: there is a VNI.
    kind: u8,
}

impl Hash for FlowKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // Two IPv4 addresses are one word.
        if let (0, Ok(low), Ok(high)) =
            (self.kind, u32::try_from(self.low), u32::try_from(self.high))
        {
            state.write_u64(u64::from(low) << 32 | u64::from(high));
            let ports = u64::from(self.low_port) << 16 | u64::from(self.high_port);
            return state.write_u64(ports | u64::from(self.protocol) << 32);
        }
        state.write_u128(self.low);
        state.write_u128(self.high);
        let rest = u128::from(self.low_port)
            | u128::from(self.high_port) << 16
            | u128::from(self.vni) << 32
            | u128::from(self.protocol) << 64
            | u128::from(self.kind) << 72;
        state.write_u128(rest);
    }
}

/// A packet's flow and which way it goes in it.
pub(crate) struct Addressed {
    pub(crate) key: FlowKey,
    pub(crate) protocol: Protocol,
    pub(crate) src: Endpoint,
    pub(crate) dst: Endpoint,
    /// The source is the lower endpoint of the canonical order.
    pub(crate) from_low: bool,
}

impl Addressed {
    pub(crate) fn of(packet: &Packet<'_>) -> Self {
        let (protocol, src_port, dst_port) = ports(&packet.transport);
        let src = Endpoint::new(packet.src, src_port);
        let dst = Endpoint::new(packet.dst, dst_port);
        Self::new(Protocol(protocol), src, dst, packet.tag.vni)
    }

    pub(crate) fn new(protocol: Protocol, src: Endpoint, dst: Endpoint, vni: Option<u32>) -> Self {
        let (a, b) = (bits(src.ip), bits(dst.ip));
        let from_low = (a.0, src.port) <= (b.0, dst.port);
        let (low, high, low_port, high_port) =
            if from_low { (a, b, src.port, dst.port) } else { (b, a, dst.port, src.port) };
        let kind = u8::from(low.1) | u8::from(high.1) << 1 | u8::from(vni.is_some()) << 2;
        let key = FlowKey {
            low: low.0,
            high: high.0,
            low_port,
            high_port,
            vni: vni.unwrap_or(0),
            protocol: protocol.0,
            kind,
        };
        Self { key, protocol, src, dst, from_low }
    }
}

/// The address as a number, and whether it is IPv6.
fn bits(ip: IpAddr) -> (u128, bool) {
    match ip {
        IpAddr::V4(ip) => (u128::from(u32::from(ip)), false),
        IpAddr::V6(ip) => (u128::from(ip), true),
    }
}

/// Protocol number, source and destination port. Protocols without ports have 0, but for ICMP,
/// which has what Community ID v1 takes instead: the type, and the type of the answer or else the code.
fn ports(transport: &Transport<'_>) -> (u8, u16, u16) {
    match *transport {
        Transport::Tcp(tcp) => (Protocol::TCP.0, tcp.src_port, tcp.dst_port),
        Transport::Udp(udp) => (Protocol::UDP.0, udp.src_port, udp.dst_port),
        Transport::Other { protocol, payload } => {
            let (src, dst) = match (Protocol(protocol), payload) {
                (Protocol::ICMP, &[kind, code, ..]) => icmp(kind, code, &ICMP_PAIRS),
                (Protocol::ICMP6, &[kind, code, ..]) => icmp(kind, code, &ICMP6_PAIRS),
                (Protocol::TCP | Protocol::UDP | Protocol::SCTP, &[a, b, c, d, ..]) => {
                    (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]))
                }
                _ => (0, 0),
            };
            (protocol, src, dst)
        }
    }
}

fn icmp(kind: u8, code: u8, pairs: &[(u8, u8)]) -> (u16, u16) {
    let answer = pairs.iter().find_map(|&(ask, answer)| match kind {
        _ if kind == ask => Some(answer),
        _ if kind == answer => Some(ask),
        _ => None,
    });
    (u16::from(kind), u16::from(answer.unwrap_or(code)))
}

/// Types that answer each other (RFC 792, RFC 950, RFC 1256).
const ICMP_PAIRS: [(u8, u8); 5] = [(8, 0), (13, 14), (15, 16), (17, 18), (10, 9)];
/// Types that answer each other (RFC 4443, RFC 2710, RFC 4861, RFC 4620, RFC 6275).
const ICMP6_PAIRS: [(u8, u8); 6] =
    [(128, 129), (130, 131), (133, 134), (135, 136), (139, 140), (144, 145)];

/// Hashes with keys that are drawn once a process, so that nobody outside can build collisions.
/// Nothing that is put out depends on it.
#[derive(Debug)]
pub(crate) struct Keyed(ahash::RandomState);

impl Keyed {
    pub(crate) fn new() -> Self {
        let draw = || std::hash::RandomState::new().hash_one(0_u8);
        Self(ahash::RandomState::with_seeds(draw(), draw(), draw(), draw()))
    }

    pub(crate) fn of(&self, value: &impl Hash) -> u64 {
        self.0.hash_one(value)
    }

    /// What stays the same of a packet that is captured twice.
    pub(crate) fn fingerprint(&self, packet: &Packet<'_>, from_low: bool) -> u64 {
        let mut state = self.0.build_hasher();
        state.write_u32(u32::from(packet.ip_id) << 1 | u32::from(from_low));
        match packet.transport {
            Transport::Tcp(tcp) => {
                state.write_u64(u64::from(tcp.seq) << 32 | u64::from(tcp.ack));
                state.write_u64(u64::from(tcp.flags.0) << 32 | u64::from(tcp.payload_len));
            }
            Transport::Udp(udp) => {
                state.write_u32(udp.payload_len);
                state.write(udp.payload);
            }
            Transport::Other { payload, .. } => state.write(payload),
        }
        state.finish()
    }
}
