//! Makes bytes for tests and benches: packets, whole TCP conversations, Docker API requests, pcap
//! files, and captures rewritten to other addresses and times.
//!
//! It only writes what the rest of tidewaiter reads, and shares no code with it but the
//! timestamp: a mistake in a parser cannot be hidden by the same mistake here. It trusts its caller, and
//! panics where a test asks for what cannot be (a packet above 65,535 bytes).
#![forbid(unsafe_code)]

mod archive;
mod checksum;
mod conversation;
mod docker;
mod packet;
mod pcap;
mod rewrite;

pub use archive::{gzip_stored, tar};
pub use conversation::{Conversation, conversation, dns_exchange};
pub use docker::{BuildRequest, daemon_answer, http_request};
pub use packet::{FIN, Packet, RST, SYN, ethernet, tcp_packet, udp_packet, with_checksums};
pub use pcap::{PcapWriter, Records, to_pcap};
pub use rewrite::Rewrite;
