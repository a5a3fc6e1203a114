//! One captured frame, borrowed from the reader's or the ring's buffer.

use tw_model::{Evidence, SourceId, Timestamp};

/// A link type as in <https://www.tcpdump.org/linktypes.html>.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkType(pub u16);

impl LinkType {
    /// Not a link type but a whole IPFIX message, as IPFIX files have them (RFC 5655). The number is
    /// none that captures are made with.
    pub const IPFIX_MESSAGE: Self = Self(0xff10);
}

/// One captured frame.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// When it was captured.
    pub timestamp: Timestamp,
    /// What its first header is.
    pub link: LinkType,
    /// The bytes that were kept.
    pub bytes: &'a [u8],
    /// Bytes that it had on the wire; more than `bytes.len()` where the snap length cut it.
    pub original_len: u32,
    /// Which input.
    pub source: SourceId,
    /// 1-based number in that input, as Wireshark counts.
    pub number: u64,
    /// Interface in that input (pcapng interface id over all sections; 0 in pcap).
    pub interface: u32,
}

impl Frame<'_> {
    /// Where it stands in the input.
    #[must_use]
    pub const fn evidence(&self) -> Evidence {
        Evidence::frame(self.source, self.number, self.timestamp)
    }
}
