//! What a [`Decoder`](crate::Decoder) did, and why frames gave no packet.

use std::collections::BTreeMap;

use crate::LinkType;
use crate::walk::Reject;

/// What a [`Decoder`](crate::Decoder) did, and why frames gave no packet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Frames pushed.
    pub frames: u64,
    /// Bytes of these frames that were captured.
    pub frame_bytes: u64,
    /// Packets handed on.
    pub packets: u64,
    /// Packets whose payload was cut by the snap length.
    pub snapped_packets: u64,
    /// Packets whose IP header claims more bytes than the frame had.
    pub length_beyond_frame: u64,
    /// Frames without an IP header: ARP, spanning tree, control frames.
    pub not_ip: u64,
    /// Frames of link types that are not decoded, by type.
    pub unknown_links: BTreeMap<LinkType, u64>,
    /// Frames that end inside a link, tag or tunnel header.
    pub link_cut: u64,
    /// Frames that end inside an IP header.
    pub ip_cut: u64,
    /// IP headers that contradict themselves (version, header length, total length).
    pub ip_malformed: u64,
    /// TCP or UDP headers that contradict themselves; of their packets only the ports are believed.
    pub transport_malformed: u64,
    /// Frames with more headers than the limit.
    pub nesting_limit: u64,
    /// IP fragments seen.
    pub fragments: u64,
    /// IP fragments that no host would take (past 65,535 bytes, empty).
    pub fragments_malformed: u64,
    /// IP fragments of a datagram that was complete a moment ago.
    pub fragments_repeated: u64,
    /// Datagrams put together from fragments.
    pub reassembled: u64,
    /// Fragmented datagrams that overlap with different bytes.
    pub fragment_conflicts: u64,
    /// Incomplete datagrams dropped when their time was over.
    pub fragment_timeouts: u64,
    /// Incomplete datagrams, or fragments, dropped because of a limit.
    pub fragment_limit: u64,
}

impl Counters {
    /// Counts a frame that gave no packet.
    pub(crate) fn reject(&mut self, reject: Reject, link: LinkType) {
        let counter = match reject {
            Reject::NotIp => &mut self.not_ip,
            Reject::UnknownLink => self.unknown_links.entry(link).or_default(),
            Reject::LinkCut => &mut self.link_cut,
            Reject::IpCut => &mut self.ip_cut,
            Reject::IpMalformed => &mut self.ip_malformed,
            Reject::NestingLimit => &mut self.nesting_limit,
        };
        *counter += 1;
    }
}
