//! The information elements that matter here (IANA's IPFIX registry), as slots of one record's
//! [`Values`](crate::values::Values).

/// Enterprise number under which an element counts the other direction (RFC 5103 §6.1).
pub(crate) const REVERSE: u32 = 29_305;

/// A numeric element. The first of several in a record counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Slot {
    OctetDelta,
    PacketDelta,
    OctetTotal,
    PacketTotal,
    Protocol,
    TcpFlags,
    SourcePort,
    DestinationPort,
    Source4,
    Destination4,
    FirstUptime,
    LastUptime,
    FirstSeconds,
    LastSeconds,
    FirstMillis,
    LastMillis,
    FirstMicros,
    LastMicros,
    FirstNanos,
    LastNanos,
    FirstDelta,
    LastDelta,
    BootMillis,
    DurationMillis,
    DurationMicros,
    EventMillis,
    BiflowDirection,
    ReverseOctetDelta,
    ReversePacketDelta,
    ReverseOctetTotal,
    ReversePacketTotal,
    ReverseTcpFlags,
    InitiatorOctets,
    ResponderOctets,
    InitiatorPackets,
    ResponderPackets,
    NatSource4,
    NatDestination4,
    NatSourcePort,
    NatDestinationPort,
    SamplingInterval,
    SamplerId,
    SamplerInterval,
    SelectorId,
    PacketInterval,
    PacketSpace,
    SampleSize,
    SamplePopulation,
    SampleProbability,
    Source6,
    Destination6,
    NatSource6,
    NatDestination6,
}

impl Slot {
    /// Slots of up to 8 octets; the IPv6 addresses follow them.
    pub(crate) const NARROW: usize = Self::Source6 as usize;
    /// Slots of 16 octets.
    pub(crate) const WIDE: usize = Self::NatDestination6 as usize + 1 - Self::NARROW;

    /// Its bit in a set of slots.
    pub(crate) const fn bit(self) -> u64 {
        1 << self as u8
    }

    /// A set of slots.
    pub(crate) const fn set_of(slots: &[Self]) -> u64 {
        let (mut set, mut rest) = (0, slots);
        while let [first, more @ ..] = rest {
            set |= first.bit();
            rest = more;
        }
        set
    }

    /// The slot of an element, if it matters. `enterprise` is 0 for IANA's own.
    pub(crate) const fn of(element: u16, enterprise: u32) -> Option<Self> {
        match enterprise {
            0 => Self::standard(element),
            REVERSE => Self::reverse(element),
            _ => None,
        }
    }

    const fn standard(element: u16) -> Option<Self> {
        Some(match element {
            1 => Self::OctetDelta,
            2 => Self::PacketDelta,
            4 => Self::Protocol,
            6 => Self::TcpFlags,
            7 => Self::SourcePort,
            8 => Self::Source4,
            11 => Self::DestinationPort,
            12 => Self::Destination4,
            21 => Self::LastUptime,
            22 => Self::FirstUptime,
            27 => Self::Source6,
            28 => Self::Destination6,
            34 => Self::SamplingInterval,
            48 => Self::SamplerId,
            50 => Self::SamplerInterval,
            85 => Self::OctetTotal,
            86 => Self::PacketTotal,
            150 => Self::FirstSeconds,
            151 => Self::LastSeconds,
            152 => Self::FirstMillis,
            153 => Self::LastMillis,
            154 => Self::FirstMicros,
            155 => Self::LastMicros,
            156 => Self::FirstNanos,
            157 => Self::LastNanos,
            158 => Self::FirstDelta,
            159 => Self::LastDelta,
            160 => Self::BootMillis,
            161 => Self::DurationMillis,
            162 => Self::DurationMicros,
            225 => Self::NatSource4,
            226 => Self::NatDestination4,
            227 => Self::NatSourcePort,
            228 => Self::NatDestinationPort,
            231 => Self::InitiatorOctets,
            232 => Self::ResponderOctets,
            239 => Self::BiflowDirection,
            281 => Self::NatSource6,
            282 => Self::NatDestination6,
            298 => Self::InitiatorPackets,
            299 => Self::ResponderPackets,
            302 => Self::SelectorId,
            305 => Self::PacketInterval,
            306 => Self::PacketSpace,
            309 => Self::SampleSize,
            310 => Self::SamplePopulation,
            311 => Self::SampleProbability,
            323 => Self::EventMillis,
            _ => return None,
        })
    }

    const fn reverse(element: u16) -> Option<Self> {
        Some(match element {
            1 => Self::ReverseOctetDelta,
            2 => Self::ReversePacketDelta,
            6 => Self::ReverseTcpFlags,
            85 => Self::ReverseOctetTotal,
            86 => Self::ReversePacketTotal,
            _ => return None,
        })
    }
}
