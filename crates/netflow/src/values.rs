//! What one data record says, by slot, and how times and rates are read out of it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use tw_model::{FlowCounts, Timestamp};

use crate::cursor::unsigned;
use crate::element::Slot;

/// Values of one record. An IPv6 address needs all 16 octets; everything else is an integer of up
/// to 8. Made once and cleared for the next record: what is not present is not looked at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Values {
    present: u64,
    narrow: [u64; Slot::NARROW],
    wide: [u128; Slot::WIDE],
}

/// What times that are relative refer to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Clock {
    /// Export time of the datagram.
    pub(crate) export: Timestamp,
    /// Milliseconds since the exporter started, at export (v5, v7, v9).
    pub(crate) uptime_ms: Option<u32>,
    /// When the exporter started, where an options record said so (IPFIX).
    pub(crate) booted: Option<Timestamp>,
}

impl Values {
    pub(crate) const fn new() -> Self {
        Self { present: 0, narrow: [0; Slot::NARROW], wide: [0; Slot::WIDE] }
    }

    /// As if nothing had been set.
    pub(crate) const fn clear(&mut self) {
        self.present = 0;
    }

    /// Is any of these there?
    pub(crate) const fn has_any(&self, slots: u64) -> bool {
        self.present & slots != 0
    }

    /// Takes a field's octets; the first of several counts, and a length that the element cannot
    /// have leaves it unsaid.
    pub(crate) fn set(&mut self, slot: Slot, bytes: &[u8]) {
        if self.present & slot.bit() != 0 {
            return;
        }
        if let Some(place) = self.narrow.get_mut(slot as usize) {
            let Some(number) = unsigned(bytes) else { return };
            *place = number;
        } else if let Some(place) = self.wide.get_mut(slot as usize - Slot::NARROW) {
            let Ok(octets) = bytes.try_into() else { return };
            *place = u128::from_be_bytes(octets);
        }
        self.present |= slot.bit();
    }

    fn wide(&self, slot: Slot) -> Option<u128> {
        let present = self.present & slot.bit() != 0;
        self.wide.get((slot as usize).wrapping_sub(Slot::NARROW)).copied().filter(|_| present)
    }

    pub(crate) fn number(&self, slot: Slot) -> Option<u64> {
        let present = self.present & slot.bit() != 0;
        self.narrow.get(slot as usize).copied().filter(|_| present)
    }

    pub(crate) fn small<T: TryFrom<u64>>(&self, slot: Slot) -> Option<T> {
        T::try_from(self.number(slot)?).ok()
    }

    /// An address: the IPv4 slot, else the IPv6 slot.
    pub(crate) fn address(&self, v4: Slot, v6: Slot) -> Option<IpAddr> {
        if let Some(v4) = self.small::<u32>(v4) {
            return Some(Ipv4Addr::from(v4).into());
        }
        self.wide(v6).map(|v6| Ipv6Addr::from(v6).into())
    }

    /// Counters of the flow's own direction; delta before total.
    pub(crate) fn forward(&self) -> FlowCounts {
        FlowCounts {
            packets: self.either(&[Slot::PacketDelta, Slot::PacketTotal, Slot::InitiatorPackets]),
            bytes: self.either(&[Slot::OctetDelta, Slot::OctetTotal, Slot::InitiatorOctets]),
            tcp_flags: self.flags(Slot::TcpFlags),
        }
    }

    /// Counters of the other direction, where the record is of both.
    pub(crate) fn reverse(&self) -> Option<FlowCounts> {
        if !self.has_any(REVERSE) {
            return None;
        }
        let counts = FlowCounts {
            packets: self.either(&[
                Slot::ReversePacketDelta,
                Slot::ReversePacketTotal,
                Slot::ResponderPackets,
            ]),
            bytes: self.either(&[
                Slot::ReverseOctetDelta,
                Slot::ReverseOctetTotal,
                Slot::ResponderOctets,
            ]),
            tcp_flags: self.flags(Slot::ReverseTcpFlags),
        };
        (counts.packets.is_some() || counts.bytes.is_some()).then_some(counts)
    }

    fn either(&self, slots: &[Slot]) -> Option<u64> {
        slots.iter().find_map(|slot| self.number(*slot))
    }

    /// tcpControlBits may have one or two octets; the flags of RFC 793 are in the low one.
    fn flags(&self, slot: Slot) -> Option<u8> {
        self.number(slot).map(|flags| flags.to_be_bytes()).map(|[.., low]| low)
    }

    /// First and latest packet. Of absolute times the finest counts; times since the exporter's start
    /// need its export header or an options record; a duration fills in for one end.
    pub(crate) fn span(&self, clock: &Clock) -> (Option<Timestamp>, Option<Timestamp>) {
        let first = self.absolute(&FIRST, clock).or_else(|| self.uptime(Slot::FirstUptime, clock));
        let last = self.absolute(&LAST, clock).or_else(|| self.uptime(Slot::LastUptime, clock));
        let duration = self.duration();
        match (first, last, duration) {
            (None, None, None) => match self.number(Slot::EventMillis) {
                Some(at) => (Some(millis(at)), Some(millis(at))),
                None => (None, None),
            },
            (None, None, Some(duration)) => {
                (Some(clock.export.minus(duration)), Some(clock.export))
            }
            (Some(first), None, Some(duration)) => (Some(first), Some(first.plus(duration))),
            (None, Some(last), Some(duration)) => (Some(last.minus(duration)), Some(last)),
            (first, last, _) => (first, last),
        }
    }

    fn absolute(&self, slots: &[Slot; 5], clock: &Clock) -> Option<Timestamp> {
        if !self.has_any(ABSOLUTE_TIMES) {
            return None;
        }
        let [nanos, micros, milliseconds, seconds, delta] = *slots;
        if let Some(ntp) = self.number(nanos) {
            return Some(from_ntp(ntp));
        }
        if let Some(ntp) = self.number(micros) {
            return Some(from_ntp(ntp & !0x7ff));
        }
        if let Some(ms) = self.number(milliseconds) {
            return Some(millis(ms));
        }
        if let Some(secs) = self.small(seconds) {
            return Some(Timestamp::from_secs_nanos(secs, 0));
        }
        let micros = self.number(delta)?;
        Some(clock.export.minus(std::time::Duration::from_micros(micros)))
    }

    /// Milliseconds since the exporter's start, which wrap after 49.7 days: the reading next to the
    /// time of export.
    fn uptime(&self, slot: Slot, clock: &Clock) -> Option<Timestamp> {
        let at: u32 = self.small(slot)?;
        if let Some(now) = clock.uptime_ms {
            let ago = i64::from(now.wrapping_sub(at).cast_signed());
            return Some(shift(clock.export, ago.saturating_neg()));
        }
        if let Some(booted) = self.number(Slot::BootMillis).map(millis).or(clock.booted) {
            let up = clock.export.as_nanos().saturating_sub(booted.as_nanos()) / 1_000_000;
            let [.., a, b, c, d] = up.to_be_bytes();
            let now = u32::from_be_bytes([a, b, c, d]);
            let ago = i64::from(now.wrapping_sub(at).cast_signed());
            return Some(shift(booted, up.saturating_sub(ago)));
        }
        let other: u32 = self.small(Slot::LastUptime)?;
        Some(shift(clock.export, i64::from(at.wrapping_sub(other).cast_signed())))
    }

    fn duration(&self) -> Option<std::time::Duration> {
        let ms = self.number(Slot::DurationMillis).map(std::time::Duration::from_millis);
        ms.or_else(|| self.number(Slot::DurationMicros).map(std::time::Duration::from_micros))
    }

    /// One packet in so many, where this record says it.
    pub(crate) fn rate(&self) -> Option<u32> {
        if !self.has_any(SAMPLING) {
            return None;
        }
        if let Some(n) = self.either(&[Slot::SamplingInterval, Slot::SamplerInterval]) {
            return Some(u32::try_from(n).unwrap_or(u32::MAX).max(1));
        }
        if let Some(taken) = self.number(Slot::PacketInterval).map(|n| n.max(1)) {
            let Some(space) = self.number(Slot::PacketSpace) else {
                return Some(u32::try_from(taken).unwrap_or(u32::MAX));
            };
            return Some(ratio(taken.saturating_add(space), taken));
        }
        if let (Some(size), Some(of)) =
            (self.number(Slot::SampleSize), self.number(Slot::SamplePopulation))
        {
            return Some(ratio(of, size.max(1)));
        }
        let probability = f64::from_bits(self.number(Slot::SampleProbability)?);
        let within = probability.is_finite() && probability > 0.0 && probability <= 1.0;
        let one_in = (1.0 / probability).round();
        (within && one_in <= 1e9).then(|| one_in.to_string().parse().ok())?
    }
}

/// Counters of the other direction.
const REVERSE: u64 = Slot::set_of(&[
    Slot::ReverseOctetDelta,
    Slot::ReversePacketDelta,
    Slot::ReverseOctetTotal,
    Slot::ReversePacketTotal,
    Slot::ResponderOctets,
    Slot::ResponderPackets,
]);
/// Whatever tells of a rate.
const SAMPLING: u64 = Slot::set_of(&[
    Slot::SamplingInterval,
    Slot::SamplerInterval,
    Slot::PacketInterval,
    Slot::SampleSize,
    Slot::SamplePopulation,
    Slot::SampleProbability,
]);
/// Addresses and ports after translation.
pub(crate) const TRANSLATED: u64 = Slot::set_of(&[
    Slot::NatSource4,
    Slot::NatDestination4,
    Slot::NatSource6,
    Slot::NatDestination6,
    Slot::NatSourcePort,
    Slot::NatDestinationPort,
]);
const ABSOLUTE_TIMES: u64 = Slot::set_of(&[
    Slot::FirstSeconds,
    Slot::LastSeconds,
    Slot::FirstMillis,
    Slot::LastMillis,
    Slot::FirstMicros,
    Slot::LastMicros,
    Slot::FirstNanos,
    Slot::LastNanos,
    Slot::FirstDelta,
    Slot::LastDelta,
]);

const FIRST: [Slot; 5] =
    [Slot::FirstNanos, Slot::FirstMicros, Slot::FirstMillis, Slot::FirstSeconds, Slot::FirstDelta];
const LAST: [Slot; 5] =
    [Slot::LastNanos, Slot::LastMicros, Slot::LastMillis, Slot::LastSeconds, Slot::LastDelta];

fn ratio(of: u64, taken: u64) -> u32 {
    u32::try_from(of.saturating_add(taken / 2) / taken.max(1)).unwrap_or(u32::MAX).max(1)
}

fn millis(ms: u64) -> Timestamp {
    shift(Timestamp::EPOCH, i64::try_from(ms).unwrap_or(i64::MAX))
}

fn shift(at: Timestamp, ms: i64) -> Timestamp {
    Timestamp::from_nanos(at.as_nanos().saturating_add(ms.saturating_mul(1_000_000)))
}

/// RFC 7011 §6.1.9 and §6.1.10: NTP time, 32 bits of seconds since 1900 and 32 bits of fraction;
/// seconds below 2^31 are of the era that begins in 2036.
fn from_ntp(ntp: u64) -> Timestamp {
    const TO_1970: i64 = 2_208_988_800;
    let secs = i64::try_from(ntp >> 32).unwrap_or(0);
    let era = if secs < 1 << 31 { 1 << 32 } else { 0 };
    let nanos = i64::try_from(((ntp & 0xffff_ffff) * 1_000_000_000) >> 32).unwrap_or(0);
    Timestamp::from_secs_nanos(secs + era - TO_1970, nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLOCK: Clock = Clock {
        export: Timestamp::from_secs_nanos(1_795_445_053, 0),
        uptime_ms: None,
        booted: None,
    };

    fn with(fields: &[(Slot, u64)]) -> Values {
        let mut values = Values::new();
        for (slot, number) in fields {
            values.set(*slot, &number.to_be_bytes());
        }
        values
    }

    fn at(secs: i64, ms: i64) -> Option<Timestamp> {
        Some(Timestamp::from_secs_nanos(secs, ms * 1_000_000))
    }

    #[test]
    fn uptime_wraps_next_to_the_export() {
        let clock = Clock { uptime_ms: Some(5_000), ..CLOCK };
        let values =
            with(&[(Slot::FirstUptime, u64::from(u32::MAX) - 999), (Slot::LastUptime, 4_000)]);
        assert_eq!(values.span(&clock), (at(1_795_445_047, 0), at(1_795_445_052, 0)));
    }

    #[test]
    fn uptime_counts_from_the_start_that_options_told() {
        let clock = Clock { booted: at(1_795_445_000, 0), ..CLOCK };
        let values = with(&[(Slot::FirstUptime, 1_500), (Slot::LastUptime, 2_000)]);
        assert_eq!(values.span(&clock), (at(1_795_445_001, 500), at(1_795_445_002, 0)));
    }

    #[test]
    fn every_encoding_of_time_is_the_same_time() {
        let ntp = (1_795_445_001 + 2_208_988_800u64) << 32 | 1 << 31;
        for slot in [Slot::FirstNanos, Slot::FirstMicros] {
            assert_eq!(with(&[(slot, ntp)]).span(&CLOCK).0, at(1_795_445_001, 500));
        }
        let ms = with(&[(Slot::FirstMillis, 1_795_445_001_500), (Slot::DurationMillis, 250)]);
        assert_eq!(ms.span(&CLOCK), (at(1_795_445_001, 500), at(1_795_445_001, 750)));
        assert_eq!(with(&[(Slot::FirstSeconds, 7)]).span(&CLOCK).0, at(7, 0));
        let delta = with(&[(Slot::FirstDelta, 1_500_000)]);
        assert_eq!(delta.span(&CLOCK).0, at(1_795_445_051, 500));
    }

    #[test]
    fn rates_are_read_in_every_way_they_are_told() {
        let rate = |fields: &[(Slot, u64)]| with(fields).rate();
        assert_eq!(rate(&[(Slot::SamplingInterval, 0)]), Some(1));
        assert_eq!(rate(&[(Slot::PacketInterval, 1), (Slot::PacketSpace, 9)]), Some(10));
        assert_eq!(rate(&[(Slot::PacketInterval, 100)]), Some(100));
        assert_eq!(rate(&[(Slot::SampleSize, 2), (Slot::SamplePopulation, 2_000)]), Some(1_000));
        assert_eq!(rate(&[(Slot::SampleProbability, 0.01f64.to_bits())]), Some(100));
        assert_eq!(rate(&[(Slot::SampleProbability, f64::NAN.to_bits())]), None);
        assert_eq!(rate(&[]), None);
    }

    #[test]
    fn the_first_of_several_counts() {
        let mut values = Values::new();
        values.set(Slot::OctetDelta, &[7]);
        values.set(Slot::OctetDelta, &[9]);
        assert_eq!(values.number(Slot::OctetDelta), Some(7));
    }
}
