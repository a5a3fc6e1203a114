//! How much one connection may hold.

/// What the reader of one connection may hold or do; the defaults are for a sensor.
///
/// None of them is ever reached by an ordinary client or server. Where one is, the reader says so
/// with an `Anomaly` and goes on with what still makes sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest request line, in bytes. Longer ones end the reading of that direction. Default 1 MiB and
    /// 4 KiB, which is where the server of Go's `net/http`, and so a Docker daemon, answers 431.
    pub request_line_bytes: u32,
    /// Header fields that are kept of one head, in bytes; the rest of the head is read for its
    /// framing only (`HttpLimit`). Default 64 KiB.
    pub head_bytes: u32,
    /// Header fields that are kept of one head (`HttpLimit`). Default 1,000.
    pub headers: u32,
    /// Longest chunk-size line or trailer field, in bytes (`HttpMalformed`). Default 16 KiB.
    pub chunk_line_bytes: u32,
    /// Requests that wait for their responses (`HttpLimit`). Default 1,024.
    pub pipelined: u32,
    /// Codings on one body (`HttpLimit`). Default 4.
    pub codings: u32,
    /// Output of all decompression on a connection before its ratio is looked at. Default 256 MiB.
    pub decoded_bytes: u32,
    /// Decompressed bytes for each compressed byte beyond `decoded_bytes`
    /// (`DecompressionLimit`). Default 128.
    pub decoded_ratio: u32,
    /// Tunnels inside tunnels (`NestingLimit`). Default 4.
    pub tunnels: u32,
    /// Bytes held in each direction while a protocol is not recognised, or while the answer to a
    /// CONNECT or an Upgrade is awaited. Default 64 KiB.
    pub held_bytes: u32,
    /// Bytes looked at in each direction of a connection seen from its start before it is given
    /// up as unknown. Default 4 KiB.
    pub probe_bytes: u32,
    /// The same where the connection was joined in mid-stream. Default 64 MiB.
    pub probe_midstream_bytes: u32,
    /// Streams of an HTTP/2 connection that are open at a time (`Http2Limit`). Default 1,024.
    pub streams: u32,
    /// Streams of an HTTP/2 connection that are reset before a word is said (`Http2Limit`). Default 1,000.
    pub resets: u32,
    /// Largest HTTP/2 header block, CONTINUATION included (`Http2Limit`; the rest of that direction
    /// is not read). Default 1 MiB.
    pub header_block_bytes: u32,
    /// Largest HPACK table (`Http2Limit`, likewise). Default 256 KiB.
    pub hpack_table_bytes: u32,
    /// Largest TLS hello, in bytes (`TlsMalformed`; in QUIC `QuicLimit`). Default 64 KiB.
    pub hello_bytes: u32,
    /// TLS records of one direction that wait for what the other says (the rest of that direction is
    /// not decrypted). Default 1 MiB.
    pub ciphertext_bytes: u32,
    /// Datagrams of a UDP conversation in which QUIC is looked for. Default 16.
    pub quic_datagrams: u8,
    /// QUIC Initial packets of a conversation that are opened, or tried to, until its hello is
    /// there (`QuicLimit`). Default 64.
    pub quic_initials: u32,
    /// Records of one DNS message that are read. Default 512.
    pub dns_records: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            request_line_bytes: (1 << 20) + (4 << 10),
            head_bytes: 64 << 10,
            headers: 1000,
            chunk_line_bytes: 16 << 10,
            pipelined: 1024,
            codings: 4,
            decoded_bytes: 256 << 20,
            decoded_ratio: 128,
            tunnels: 4,
            held_bytes: 64 << 10,
            probe_bytes: 4 << 10,
            probe_midstream_bytes: 64 << 20,
            streams: 1024,
            resets: 1000,
            header_block_bytes: 1 << 20,
            hpack_table_bytes: 256 << 10,
            hello_bytes: 64 << 10,
            ciphertext_bytes: 1 << 20,
            quic_datagrams: 16,
            quic_initials: 64,
            dns_records: 512,
        }
    }
}

/// A limit as a length.
pub(crate) fn length(limit: u32) -> usize {
    usize::try_from(limit).unwrap_or(usize::MAX)
}
