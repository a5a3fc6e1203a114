//! IP and transport headers: options, extensions, odd lengths, and headers that contradict themselves.

mod common;

use common::*;
use tw_wire::LinkType;

const RAW: LinkType = LinkType(101);

fn patched(at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut packet = plain_v4();
    packet[at..at + bytes.len()].copy_from_slice(bytes);
    packet
}

#[test]
fn ip_options_are_skipped() {
    let mut packet = plain_v4();
    packet[0] = 0x47;
    packet[3] += 8;
    packet.splice(20..20, [1; 8]);
    assert_eq!(decode(RAW, &packet).core(), decode(RAW, &plain_v4()).core());
}

#[test]
fn tcp_options_are_skipped_even_when_they_were_cut_off() {
    let mut segment = tcp(1, 2, 3, b"");
    segment[12] = 0x80;
    segment.extend([1; 12]);
    segment.extend(b"data");
    let packet = ipv4("10.0.0.1", "10.0.0.2", 6, &segment);
    assert_eq!(decode(RAW, &packet).payload, b"data");
    let cut = tw_wire::Frame { original_len: packet.len() as u32, ..frame(RAW, &packet[..44], 1) };
    let mut decoder = tw_wire::Decoder::new(tw_wire::Limits::default());
    decoder.push(&cut, &mut |decoded: tw_wire::Decoded<'_>| {
        let tw_wire::Decoded::Packet(packet) = decoded else { panic!("no packet") };
        let found = Owned::new(&packet);
        assert_eq!((found.ports, found.payload.len(), found.payload_len), ((1, 2), 0, 4));
    });
    assert_eq!(decoder.counters().snapped_packets, 1);
}

#[test]
fn ipv6_extension_headers_are_skipped() {
    let segment = tcp(40000, 2375, 1000, b"POST /build HTTP/1.1\r\n");
    let extensions = concat(&[
        &[43, 0, 1, 4, 0, 0, 0, 0],
        &[60, 0, 0, 0, 0, 0, 0, 0],
        &[51, 1, 1, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        &[44, 4, 0, 0],
        &[0; 20],
        &[6, 0, 0, 0, 0, 0, 0, 1],
        &segment,
    ]);
    let packet = ipv6("fd00::1", "fd00::2", 0, &extensions);
    assert_eq!(decode(RAW, &packet).core(), decode(RAW, &plain_v6()).core());
    let beyond = ipv6("fd00::1", "fd00::2", 0, &[6, 200, 0, 0, 0, 0, 0, 0]);
    assert_eq!(decode_all(RAW, &[beyond]).counters.ip_malformed, 1);
}

#[test]
fn a_total_length_of_0_is_segmentation_offload() {
    let found = decode(RAW, &patched(2, &[0, 0]));
    assert_eq!(found.core(), decode(RAW, &plain_v4()).core());
    let mut packet = plain_v6();
    packet[4..6].copy_from_slice(&[0, 0]);
    assert_eq!(decode(RAW, &packet).core(), decode(RAW, &plain_v6()).core());
}

#[test]
fn a_length_beyond_the_frame_is_payload_that_was_not_captured() {
    let outcome = decode_all(RAW, &[patched(2, &[1, 0])]);
    assert_eq!(outcome.packets[0].payload_len, 256 - 40);
    assert_eq!(outcome.packets[0].payload.len(), 22);
    assert_eq!(outcome.counters.length_beyond_frame, 1);
}

#[test]
fn ip_headers_that_contradict_themselves_give_nothing() {
    for bad in [patched(0, &[0x44]), patched(0, &[0x55]), patched(2, &[0, 19]), patched(0, &[0x75])]
    {
        let outcome = decode_all(RAW, &[bad]);
        assert_eq!((outcome.packets.len(), outcome.counters.ip_malformed), (0, 1));
    }
    let outcome = decode_all(RAW, &[plain_v4()[..19].to_vec(), vec![]]);
    assert_eq!(outcome.counters.ip_cut, 2);
}

#[test]
fn transport_headers_that_contradict_themselves_give_their_ports_only() {
    let short_udp = {
        let mut datagram = udp(1, 2, b"abc");
        datagram[5] = 7;
        ipv4("10.0.0.1", "10.0.0.2", 17, &datagram)
    };
    let no_room = ipv4("10.0.0.1", "10.0.0.2", 6, &tcp(1, 2, 3, b"")[..19]);
    for bad in [patched(32, &[0x40]), patched(32, &[0xf0]), short_udp, no_room] {
        let outcome = decode_all(RAW, &[bad]);
        assert_eq!(outcome.counters.transport_malformed, 1);
        let [packet] = outcome.packets.as_slice() else { panic!("{:?}", outcome.packets) };
        // What `Transport::Other` has: everything behind the IP header, and no ports of its own.
        assert_eq!((packet.ports, packet.seq), ((0, 0), 0));
        assert!(packet.payload.len() >= 8 && packet.payload[0..4] != [0; 4], "{packet:?}");
    }
}

#[test]
fn udp_length_trims_and_never_extends() {
    for (length, payload) in [(11, b"abc".as_slice()), (0, b"abcdef"), (999, b"abcdef")] {
        let mut datagram = udp(1, 2, b"abcdef");
        datagram[4..6].copy_from_slice(&u16::to_be_bytes(length));
        let found = decode(RAW, &ipv4("10.0.0.1", "10.0.0.2", 17, &datagram));
        assert_eq!(found.payload, payload, "{length}");
    }
}

#[test]
fn what_is_not_ip_is_counted() {
    let arp = ethernet(0x0806, &[0; 28]);
    let spanning_tree = ethernet(38, &[0x42, 0x42, 3, 0, 0]);
    let discovery = ethernet(0x8864, &[0x11, 9, 0, 0, 0, 0]);
    let outcome = decode_all(ETHERNET, &[arp, spanning_tree, discovery, vec![1, 2, 3]]);
    assert_eq!((outcome.counters.not_ip, outcome.counters.link_cut), (3, 1));
}
