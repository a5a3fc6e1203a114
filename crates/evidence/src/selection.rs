//! Which packets belong to which incident.

use std::collections::HashMap;
use std::time::Duration;

use tw_model::{Conversation, Endpoint, Incident, KeyedHash, Protocol, Timestamp};
use tw_wire::{Packet, Transport};

/// What comes so soon after the last packet that is known of a conversation is its end: what a call's
/// connection still says, and retransmissions.
const TAIL: Duration = Duration::from_secs(60);
/// RFC 1035 §4.2, RFC 6762 §3, RFC 4795 §2.5: DNS, multicast DNS, LLMNR.
const DNS_PORTS: [u16; 3] = [53, 5353, 5355];
/// RFC 1035 §2.3.4.
const MAX_NAME: usize = 255;

/// Of which incident, and when.
type Stretch = (usize, Timestamp, Timestamp);

/// Looks packets up by who speaks to whom and when; and answers of the DNS by the name that was asked
/// for, whoever asked.
#[derive(Debug, Default)]
pub struct Selection {
    conversations: HashMap<(Endpoint, Endpoint, Protocol), Vec<Stretch>, KeyedHash>,
    names: HashMap<Vec<u8>, Vec<Stretch>, KeyedHash>,
}

impl Selection {
    /// What these incidents are made of. An incident's place in the list is what [`Self::of`] gives.
    pub fn new<'a>(incidents: impl IntoIterator<Item = &'a Incident>) -> Self {
        let mut selection = Self::default();
        for (index, incident) in incidents.into_iter().enumerate() {
            for c in &incident.conversations {
                let stretch = (index, c.first, c.last.plus(TAIL));
                selection.conversations.entry(key(c)).or_default().push(stretch);
            }
            let until = incident.ended.plus(TAIL);
            for name in &incident.names {
                let stretch = (index, Timestamp::from_nanos(i64::MIN), until);
                let name = name.to_ascii_lowercase().into_bytes();
                selection.names.entry(name).or_default().push(stretch);
            }
        }
        selection
    }

    /// The incidents that the packet belongs to, in `found`, which is emptied first. Costs two look-ups.
    pub fn of(&self, packet: &Packet<'_>, found: &mut Vec<usize>) {
        found.clear();
        let (source, target, protocol) = ends(packet);
        let at = packet.evidence.timestamp;
        let span = (at, at);
        let key = key(&Conversation::between(source, target, protocol, span));
        let spoken = self.conversations.get(&key).into_iter().flatten();
        let asked = match question(packet, source, target) {
            Some(name) => self.names.get(&name),
            None => None,
        };
        for (index, first, last) in spoken.chain(asked.into_iter().flatten()) {
            if *first <= at && at <= *last && !found.contains(index) {
                found.push(*index);
            }
        }
    }
}

/// Addresses in the one form that all are compared in.
fn key(c: &Conversation) -> (Endpoint, Endpoint, Protocol) {
    let canonical = |end: Endpoint| Endpoint::new(end.ip.to_canonical(), end.port);
    let (a, b) = (canonical(c.ends.0), canonical(c.ends.1));
    (a.min(b), a.max(b), c.protocol)
}

fn ends(packet: &Packet<'_>) -> (Endpoint, Endpoint, Protocol) {
    let (protocol, src_port, dst_port) = match packet.transport {
        Transport::Tcp(tcp) => (Protocol::TCP, tcp.src_port, tcp.dst_port),
        Transport::Udp(udp) => (Protocol::UDP, udp.src_port, udp.dst_port),
        Transport::Other { protocol, .. } => (Protocol(protocol), 0, 0),
    };
    (Endpoint::new(packet.src, src_port), Endpoint::new(packet.dst, dst_port), protocol)
}

/// RFC 1035 §4.1.2: the name that a message's first question asks for, in lower case. Over TCP a length
/// stands in front (§4.2.2).
fn question(packet: &Packet<'_>, source: Endpoint, target: Endpoint) -> Option<Vec<u8>> {
    let of_dns = |end: Endpoint| DNS_PORTS.contains(&end.port);
    if !of_dns(source) && !of_dns(target) {
        return None;
    }
    let message = match packet.transport {
        Transport::Tcp(tcp) => tcp.payload.get(2..)?,
        Transport::Udp(udp) => udp.payload,
        Transport::Other { .. } => return None,
    };
    let mut rest = message.get(12..)?;
    let mut name = Vec::new();
    loop {
        let (len, after) = rest.split_first()?;
        if *len == 0 {
            return Some(name);
        }
        let label = after.get(..usize::from(*len)).filter(|label| label.len() < 64)?;
        if !name.is_empty() {
            name.push(b'.');
        }
        name.extend(label.iter().map(u8::to_ascii_lowercase));
        if name.len() > MAX_NAME {
            return None;
        }
        rest = after.get(usize::from(*len)..)?;
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use tw_model::{Evidence, NetworkTag, Severity, SourceId};
    use tw_wire::UdpDatagram;

    use super::*;

    const HOST: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
    const SERVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_secs_nanos(secs, 0)
    }

    fn incident(conversations: Vec<Conversation>, names: &[&str]) -> Incident {
        Incident {
            id: "i".to_owned(),
            environment: String::new(),
            severity: Severity::High,
            techniques: Vec::new(),
            docker_host: HOST.into(),
            clients: Vec::new(),
            started: at(100),
            ended: at(200),
            timeline: Vec::new(),
            caveats: Vec::new(),
            conversations,
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            evidence: Vec::new(),
        }
    }

    fn udp<'a>(src: (IpAddr, u16), dst: (IpAddr, u16), secs: i64, payload: &'a [u8]) -> Packet<'a> {
        Packet {
            evidence: Evidence::frame(SourceId(0), 1, at(secs)),
            src: src.0,
            dst: dst.0,
            tag: NetworkTag::default(),
            macs: None,
            ip_len: 100,
            ip_id: 0,
            hop_limit: 64,
            overlapped: false,
            transport: Transport::Udp(UdpDatagram {
                src_port: src.1,
                dst_port: dst.1,
                payload,
                payload_len: 0,
            }),
        }
    }

    fn found(selection: &Selection, packet: &Packet<'_>) -> Vec<usize> {
        let mut found = vec![9];
        selection.of(packet, &mut found);
        found
    }

    #[test]
    fn both_directions_and_both_spellings_of_an_address_count_and_other_times_do_not() {
        let (host, server) = (Endpoint::new(HOST.into(), 5000), Endpoint::new(SERVER.into(), 443));
        let spoken = Conversation::between(server, host, Protocol::UDP, (at(100), at(110)));
        let selection = Selection::new(&[incident(Vec::new(), &[]), incident(vec![spoken], &[])]);
        let (h, s) = ((IpAddr::from(HOST), 5000), (IpAddr::from(SERVER), 443));
        let mapped = (IpAddr::from(HOST.to_ipv6_mapped()), 5000);
        assert_eq!(found(&selection, &udp(h, s, 100, &[])), [1]);
        assert_eq!(found(&selection, &udp(s, h, 110, &[])), [1]);
        assert_eq!(found(&selection, &udp(mapped, s, 105, &[])), [1]);
        assert!(found(&selection, &udp(h, s, 99, &[])).is_empty());
        assert!(found(&selection, &udp(h, s, 171, &[])).is_empty());
        assert!(found(&selection, &udp((HOST.into(), 5001), s, 105, &[])).is_empty());
    }

    #[test]
    fn who_asks_for_a_name_of_the_incident_is_in_it() {
        let selection = Selection::new(&[incident(Vec::new(), &["cdn.example"])]);
        let (h, s) = ((IpAddr::from(HOST), 5000), (IpAddr::from(SERVER), 53));
        let mut message = vec![0; 12];
        message.extend(b"\x03CDN\x07example\x00\x00\x01\x00\x01");
        assert_eq!(found(&selection, &udp(h, s, 5, &message)), [0]);
        assert!(found(&selection, &udp(h, (SERVER.into(), 54), 5, &message)).is_empty());
        assert!(found(&selection, &udp(h, s, 261, &message)).is_empty());
        for cut in 0..message.len() - 4 {
            assert!(found(&selection, &udp(h, s, 5, &message[..cut])).is_empty(), "{cut}");
        }
        message[12] = 0xc0;
        assert!(found(&selection, &udp(h, s, 5, &message)).is_empty());
    }
}
