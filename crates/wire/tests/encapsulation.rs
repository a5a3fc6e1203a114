//! Whatever a packet is wrapped in, the same packet comes out.

mod common;

use common::*;
use tw_model::{AnomalyKind, MacAddress};
use tw_wire::LinkType;

#[test]
fn every_wrapping_gives_the_same_packet() {
    for packet in [plain_v4(), plain_v6()] {
        let plain = decode(LinkType(101), &packet);
        assert_eq!(plain.ports, (40000, 2375));
        assert_eq!(plain.payload, b"POST /build HTTP/1.1\r\n");
        for (name, link, frame) in wrappings(&packet) {
            let found = decode(link, &frame);
            assert_eq!(found.core(), plain.core(), "{name}");
            assert_eq!(found.ip_len, packet.len() as u32, "{name}");
            assert_eq!((found.ip_id, found.hop_limit), (plain.ip_id, plain.hop_limit), "{name}");
        }
    }
}

#[test]
fn a_frame_cut_anywhere_gives_a_prefix_of_the_payload_and_its_true_length() {
    for packet in [plain_v4(), plain_v6()] {
        let plain = decode(LinkType(101), &packet);
        for (name, link, bytes) in wrappings(&packet) {
            let header_len = bytes.windows(11).position(|w| w == b"POST /build").unwrap();
            for cut in 0..bytes.len() {
                let cut_frame = tw_wire::Frame {
                    original_len: bytes.len() as u32,
                    ..frame(link, &bytes[..cut], 1)
                };
                let mut decoder = tw_wire::Decoder::new(tw_wire::Limits::default());
                let mut packets = Vec::new();
                decoder.push(&cut_frame, &mut |decoded: tw_wire::Decoded<'_>| {
                    if let tw_wire::Decoded::Packet(packet) = decoded {
                        packets.push(Owned::new(&packet));
                    }
                });
                if cut >= header_len {
                    assert_eq!(packets.len(), 1, "{name} {cut}");
                    assert_eq!(packets[0].payload_len, plain.payload_len, "{name} {cut}");
                    assert!(plain.payload.starts_with(&packets[0].payload), "{name} {cut}");
                    assert_eq!(packets[0].ports, plain.ports, "{name} {cut}");
                } else if let Some(found) = packets.first() {
                    assert_ne!(found.ports, plain.ports, "{name} {cut}");
                }
            }
        }
    }
}

fn wrapped(name: &str) -> Owned {
    let all = wrappings(&plain_v4());
    let (_, link, bytes) = all.iter().find(|(found, ..)| *found == name).unwrap();
    decode(*link, bytes)
}

#[test]
fn tags_tell_the_innermost_network() {
    assert_eq!(wrapped("ethernet").tag.vlan, None);
    assert_eq!(wrapped("802.1ad").tag.vlan, Some(5));
    assert_eq!(wrapped("erspan ii").tag.vlan, Some(0x21));
    let vxlan = wrapped("vxlan in gre in vlan");
    assert_eq!((vxlan.tag.vlan, vxlan.tag.vni), (None, Some(0x1234)));
    assert_eq!(wrapped("geneve").tag.vni, Some(0x1234));
}

#[test]
fn link_layer_addresses_are_the_packet_s_own() {
    let own = Some((MacAddress(SRC_MAC), MacAddress(DST_MAC)));
    assert_eq!(wrapped("ethernet").macs, own);
    assert_eq!(wrapped("vxlan").macs, own);
    assert_eq!(wrapped("cooked").macs, Some((MacAddress(SRC_MAC), MacAddress([0; 6]))));
    assert_eq!(wrapped("gre").macs, None);
    assert_eq!(wrapped("raw").macs, None);
}

#[test]
fn a_mirror_session_may_shorten_what_it_sends() {
    let (mirrored, full) = (ethernet_ip(&plain_v4()), decode(LinkType(101), &plain_v4()));
    let shortened = &mirrored[..mirrored.len() - 10];
    let gre = concat(&[&[0x10, 0, 0x88, 0xbe, 0, 0, 0, 1, 0x10, 0, 0, 0, 0, 0, 0, 0], shortened]);
    let found = decode(ETHERNET, &ethernet_ip(&ipv4("192.0.2.1", "192.0.2.2", 47, &gre)));
    assert_eq!((found.ports, found.payload_len), (full.ports, full.payload_len));
    assert_eq!(found.payload, full.payload[..full.payload.len() - 10]);
}

#[test]
fn a_tunnel_port_without_a_tunnel_is_plain_udp() {
    let not_vxlan = b"\x08\0\0\0\0\x12\x34\0 this is no ethernet frame at all, is it".as_slice();
    let no_flag = concat(&[&[0; 8], &ethernet_ip(&plain_v4())]);
    let arp = concat(&[&[8, 0, 0, 0, 0, 0, 1, 0], &ethernet(0x0806, &[0; 28])]);
    let mut lying = concat(&[&[8, 0, 0, 0, 0, 0, 1, 0], &ethernet_ip(&plain_v4())]);
    lying[8 + 14 + 2] = 0x7f;
    for payload in [not_vxlan, &no_flag, &arp, &lying] {
        let packet = ipv4("192.0.2.1", "192.0.2.2", 17, &udp(50000, 4789, payload));
        let found = decode(ETHERNET, &ethernet_ip(&packet));
        assert_eq!(found.ports, (50000, 4789));
        assert_eq!(found.payload, payload);
        assert_eq!((found.tag.vni, found.src.to_string().as_str()), (None, "192.0.2.1"));
    }
}

#[test]
fn a_tunnel_protocol_without_a_tunnel_is_a_packet_of_that_protocol() {
    for (protocol, payload) in
        [(4, b"nope".as_slice()), (41, b"nope"), (47, b"\x00\x00\x12\x34abcd")]
    {
        let packet = ipv4("192.0.2.1", "192.0.2.2", protocol, payload);
        let found = decode(ETHERNET, &ethernet_ip(&packet));
        assert_eq!((found.protocol, found.payload.as_slice()), (protocol, payload));
    }
}

#[test]
fn rare_links_carry_the_same_packet() {
    let packet = plain_v4();
    let snap = [0xaa, 0xaa, 3, 0, 0, 0, 8, 0];
    let heads: [(u16, Vec<u8>); 11] = [
        (6, concat(&[&[0x10, 0x40], &[0; 12], &snap])),
        (6, concat(&[&[0x10, 0x40], &[0; 6], &[0x80, 0, 0, 0, 0, 0], &[4, 0x30, 0, 0], &snap])),
        (10, concat(&[&[0x50], &[0; 12], &snap])),
        (107, vec![0x18, 0x41, 0x03, 0xcc]),
        (107, vec![0x18, 0x40, 0x40, 0x01, 0x03, 0, 0x80, 0, 0, 0, 8, 0]),
        (107, vec![0x18, 0x41, 8, 0]),
        (123, concat(&[&[0x02, 0, 0, 5], &snap])),
        (129, vec![1, 2, 0, 0, 240]),
        (129, vec![1, 2, 0, 0, 212, 0, 0, 1]),
        (129, vec![1, 2, 0, 0, 212, 0xff, 0, 0, 0xff, 0, 0, 1]),
        (226, vec![0; 24]),
    ];
    for (link, head) in heads {
        let whole = concat(&[&head, &packet]);
        let found = decode(LinkType(link), &whole);
        assert_eq!(found.core(), decode(LinkType(101), &packet).core(), "link type {link}");
        for cut in 0..head.len() {
            let outcome = decode_all(LinkType(link), &[whole[..cut].to_vec()]);
            assert_eq!(outcome.packets.len(), 0, "link type {link} cut at {cut}");
        }
    }
}

#[test]
fn rare_links_without_ip_give_nothing() {
    let frames: [(u16, &[u8]); 5] = [
        (6, &[0x10, 0x00, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        (10, &[0x41, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        (107, &[0x18, 0x41, 0x03, 0x08]),
        (123, &[0x05, 0, 0, 5]),
        (129, &[1, 2, 0, 0, 212, 5, 0, 1]),
    ];
    for (link, bytes) in frames {
        let outcome = decode_all(LinkType(link), &[bytes.to_vec()]);
        assert_eq!((outcome.packets.len(), outcome.counters.not_ip), (0, 1), "link type {link}");
    }
}

#[test]
fn too_many_headers_are_an_anomaly() {
    let mut bytes = concat(&[&DST_MAC, &SRC_MAC]);
    for _ in 0..40 {
        bytes.extend([0x81, 0x00, 0, 1]);
    }
    let outcome = decode_all(ETHERNET, &[bytes]);
    assert_eq!(outcome.anomalies, [AnomalyKind::NestingLimit]);
    assert_eq!((outcome.packets.len(), outcome.counters.nesting_limit), (0, 1));
}

#[test]
fn unknown_link_types_are_counted_by_type() {
    let outcome = decode_all(LinkType(227), &[vec![1, 2, 3], vec![4]]);
    assert_eq!(outcome.counters.unknown_links.get(&LinkType(227)), Some(&2));
}
