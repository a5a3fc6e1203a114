//! Records of NetFlow v5 and v7, which have a fixed layout.

use crate::cursor::unsigned;
use crate::element::Slot;
use crate::values::Values;

/// Octets of a record.
pub(crate) const fn record_len(version: u16) -> usize {
    if version == 7 { 52 } else { 48 }
}

/// Cisco, NetFlow Export Datagram Format, tables B-4 (v5) and B-6 (v7): up to the protocol both are
/// the same.
pub(crate) fn read(record: &[u8], values: &mut Values) {
    values.clear();
    for (slot, offset, len) in LAYOUT {
        if let Some(bytes) = record.get(offset..offset + len) {
            values.set(slot, bytes);
        }
    }
}

const LAYOUT: [(Slot, usize, usize); 10] = [
    (Slot::Source4, 0, 4),
    (Slot::Destination4, 4, 4),
    (Slot::PacketDelta, 16, 4),
    (Slot::OctetDelta, 20, 4),
    (Slot::FirstUptime, 24, 4),
    (Slot::LastUptime, 28, 4),
    (Slot::SourcePort, 32, 2),
    (Slot::DestinationPort, 34, 2),
    (Slot::TcpFlags, 37, 1),
    (Slot::Protocol, 38, 1),
];

/// v5's sampling word: the interval, where a mode is set or an interval is given (several exporters
/// leave the mode 0).
pub(crate) fn rate(sampling: u16) -> u32 {
    let interval = unsigned(&(sampling & 0x3fff).to_be_bytes()).unwrap_or(0);
    u32::try_from(interval).unwrap_or(1).max(1)
}
