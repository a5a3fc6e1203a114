//! Frames in, transport packets out.

use tw_model::{AnomalyKind, Evidence, NetworkTag, Timestamp};

use crate::cut::Cut;
use crate::fragments::{Fragment, Fragments, Whole};
use crate::walk::{Found, IpHeader, Layer, Part, Reject, Walk, first_layer};
use crate::{Counters, Frame, Limits, LinkType, Packet, Transport};

/// What a [`Decoder`] hands on.
#[derive(Clone, Copy, Debug)]
pub enum Decoded<'a> {
    /// A packet.
    Packet(Packet<'a>),
    /// Something that ought not to be.
    Anomaly {
        /// What: `FragmentOverlapConflict`, `FragmentLimit` or `NestingLimit`.
        kind: AnomalyKind,
        /// The frame that showed it.
        evidence: Evidence,
    },
}

/// Turns frames into transport packets. Its only state is fragments that wait for the rest of their
/// datagram, so frames may come in any order and from any number of sources.
#[derive(Debug)]
pub struct Decoder {
    limits: Limits,
    counters: Counters,
    fragments: Fragments,
}

impl Decoder {
    /// A decoder that stays within `limits`.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { limits, counters: Counters::default(), fragments: Fragments::new(limits) }
    }

    /// Decodes one frame: gives at most one packet, and never fails.
    pub fn push<F: FnMut(Decoded<'_>)>(&mut self, frame: &Frame<'_>, sink: &mut F) {
        self.counters.frames += 1;
        self.counters.frame_bytes += frame.bytes.len() as u64;
        let mut walk = Walk {
            rest: Cut::new(frame.bytes, frame.original_len),
            evidence: frame.evidence(),
            tag: NetworkTag { interface: frame.interface, ..NetworkTag::default() },
            macs: None,
            header: IpHeader::NONE,
            budget: self.limits.nesting,
            length_beyond_frame: false,
            transport_malformed: false,
            outer: None,
        };
        match first_layer(frame.link) {
            Ok(layer) => self.walk(&mut walk, layer, frame.link, sink),
            Err(reject) => self.counters.reject(reject, frame.link),
        }
    }

    /// Forgets fragments whose time is over at `now`; for owners whose input pauses.
    pub fn advance(&mut self, now: Timestamp) {
        self.fragments.expire(now, &mut self.counters);
    }

    /// End of input: counts incomplete datagrams as timed out.
    pub fn finish(&mut self) {
        self.fragments.expire(Timestamp::MAX, &mut self.counters);
    }

    /// What was done so far.
    #[must_use]
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    fn walk<'a, F: FnMut(Decoded<'_>)>(
        &mut self,
        walk: &mut Walk<'a>,
        layer: Layer,
        link: LinkType,
        sink: &mut F,
    ) {
        let found = walk.run(layer);
        self.counters.length_beyond_frame += u64::from(walk.length_beyond_frame);
        self.counters.transport_malformed += u64::from(walk.transport_malformed);
        match found {
            Ok(Found::Packet(packet)) => {
                self.counters.packets += 1;
                self.counters.snapped_packets += u64::from(is_snapped(&packet));
                sink(Decoded::Packet(packet));
            }
            Ok(Found::Fragment(part)) => self.fragment(walk, part, link, sink),
            Err(reject) => {
                self.counters.reject(reject, link);
                if reject == Reject::NestingLimit {
                    let evidence = walk.evidence;
                    sink(Decoded::Anomaly { kind: AnomalyKind::NestingLimit, evidence });
                }
            }
        }
    }

    /// Adds a fragment; where it completes its datagram, the walk goes on in that. This recurses once
    /// for each fragmented IP header around another, which [`Limits::nesting`] bounds.
    fn fragment<F: FnMut(Decoded<'_>)>(
        &mut self,
        walk: &Walk<'_>,
        part: Part,
        link: LinkType,
        sink: &mut F,
    ) {
        let evidence = walk.evidence;
        let fragment = Fragment { header: walk.header, part, data: walk.rest };
        let added = self.fragments.add(&fragment, walk.tag, evidence.timestamp, &mut self.counters);
        if let Some(kind) = added.anomaly {
            sink(Decoded::Anomaly { kind, evidence });
        }
        let Some(Whole { header, protocol, bytes, wire }) = added.whole else { return };
        let mut inner = Walk {
            rest: Cut::new(&bytes, wire),
            evidence,
            tag: walk.tag,
            macs: walk.macs,
            header,
            budget: walk.budget,
            length_beyond_frame: false,
            transport_malformed: false,
            outer: None,
        };
        self.walk(&mut inner, Layer::IpPayload(protocol), link, sink);
    }
}

fn is_snapped(packet: &Packet<'_>) -> bool {
    let (payload, payload_len) = match &packet.transport {
        Transport::Tcp(segment) => (segment.payload, segment.payload_len),
        Transport::Udp(datagram) => (datagram.payload, datagram.payload_len),
        Transport::Other { .. } => return false,
    };
    (payload.len() as u64) < u64::from(payload_len)
}
