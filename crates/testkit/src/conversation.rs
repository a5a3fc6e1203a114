//! Whole conversations.

use std::net::SocketAddrV4;
use std::time::Duration;

use tw_model::Timestamp;

use crate::Packet;
use crate::packet::{ACK, FIN, PSH, RST, SYN, tcp_packet, udp_packet};

const SEGMENT_BYTES: usize = 1448;

/// A TCP connection as a tap sees it: handshake, then what either side sends, acknowledged at once.
#[derive(Clone, Debug)]
pub struct Conversation {
    client: SocketAddrV4,
    server: SocketAddrV4,
    next_client: u32,
    next_server: u32,
    now: Timestamp,
    step: Duration,
    packets: Vec<Packet>,
}

impl Conversation {
    /// Opens a connection: SYN, SYN and ACK, ACK.
    #[must_use]
    pub fn open(client: SocketAddrV4, server: SocketAddrV4, at: Timestamp) -> Self {
        let mut opened = Self {
            client,
            server,
            next_client: 1000,
            next_server: 5000,
            now: at,
            step: Duration::from_micros(50),
            packets: Vec::new(),
        };
        opened.client_segment(SYN, &[]);
        opened.server_segment(SYN | ACK, &[]);
        opened.client_segment(ACK, &[]);
        opened
    }

    /// A SYN that is answered with RST.
    #[must_use]
    pub fn refused(client: SocketAddrV4, server: SocketAddrV4, at: Timestamp) -> Vec<Packet> {
        let answer = at.plus(Duration::from_micros(50));
        vec![
            Packet { at, frame: tcp_packet((client, server), (1000, 0), SYN, &[]) },
            Packet { at: answer, frame: tcp_packet((server, client), (0, 1001), RST | ACK, &[]) },
        ]
    }

    /// Lets time pass.
    #[must_use]
    pub fn wait(mut self, pause: Duration) -> Self {
        self.now = self.now.plus(pause);
        self
    }

    /// The client sends `bytes`, in as many segments as it takes.
    #[must_use]
    pub fn client_sends(mut self, bytes: &[u8]) -> Self {
        for part in bytes.chunks(SEGMENT_BYTES) {
            self.client_segment(PSH | ACK, part);
        }
        self.server_segment(ACK, &[]);
        self
    }

    /// The server sends `bytes`, in as many segments as it takes.
    #[must_use]
    pub fn server_sends(mut self, bytes: &[u8]) -> Self {
        for part in bytes.chunks(SEGMENT_BYTES) {
            self.server_segment(PSH | ACK, part);
        }
        self.client_segment(ACK, &[]);
        self
    }

    /// The server sends `bytes` in segments of at most `segment_bytes`, and every second one is
    /// acknowledged (RFC 9293 §3.8.6.3), as a longer answer looks.
    #[must_use]
    pub fn server_streams(mut self, bytes: &[u8], segment_bytes: usize) -> Self {
        for (number, part) in bytes.chunks(segment_bytes.max(1)).enumerate() {
            self.server_segment(ACK, part);
            if number % 2 == 1 {
                self.client_segment(ACK, &[]);
            }
        }
        self.client_segment(ACK, &[]);
        self
    }

    /// Both sides close, the client first.
    #[must_use]
    pub fn close(mut self) -> Vec<Packet> {
        self.client_segment(FIN | ACK, &[]);
        self.server_segment(FIN | ACK, &[]);
        self.client_segment(ACK, &[]);
        self.packets
    }

    fn client_segment(&mut self, flags: u8, payload: &[u8]) {
        let ack = if flags & ACK == 0 { 0 } else { self.next_server };
        let ends = (self.client, self.server);
        self.emit(tcp_packet(ends, (self.next_client, ack), flags, payload));
        self.next_client = self.next_client.wrapping_add(sequence_len(flags, payload));
    }

    fn server_segment(&mut self, flags: u8, payload: &[u8]) {
        let ends = (self.server, self.client);
        self.emit(tcp_packet(ends, (self.next_server, self.next_client), flags, payload));
        self.next_server = self.next_server.wrapping_add(sequence_len(flags, payload));
    }

    fn emit(&mut self, frame: Vec<u8>) {
        self.packets.push(Packet { at: self.now, frame });
        self.now = self.now.plus(self.step);
    }
}

/// RFC 9293 §3.4: SYN and FIN take a sequence number each.
fn sequence_len(flags: u8, payload: &[u8]) -> u32 {
    let len = u32::try_from(payload.len()).expect("a segment");
    len + u32::from(flags & SYN != 0) + u32::from(flags & FIN != 0)
}

/// One request, one answer, closed.
#[must_use]
pub fn conversation(
    client: SocketAddrV4,
    server: SocketAddrV4,
    at: Timestamp,
    request: &[u8],
    answer: &[u8],
) -> Vec<Packet> {
    Conversation::open(client, server, at).client_sends(request).server_sends(answer).close()
}

/// RFC 1035 §4: a query for an A record and its answer.
#[must_use]
pub fn dns_exchange(
    client: SocketAddrV4,
    server: SocketAddrV4,
    at: Timestamp,
    name: &str,
    address: [u8; 4],
) -> Vec<Packet> {
    let id = client.port().to_be_bytes();
    let mut query = vec![id[0], id[1], 0x01, 0x00, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        query.push(u8::try_from(label.len()).expect("a label of at most 63 bytes"));
        query.extend_from_slice(label.as_bytes());
    }
    query.extend_from_slice(&[0, 0, 1, 0, 1]);
    let mut answer = query.clone();
    answer[2..4].copy_from_slice(&[0x81, 0x80]);
    answer[7] = 1;
    answer.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 1, 0, 0, 4]);
    answer.extend_from_slice(&address);
    vec![
        Packet { at, frame: udp_packet(client, server, &query) },
        Packet {
            at: at.plus(Duration::from_micros(400)),
            frame: udp_packet(server, client, &answer),
        },
    ]
}
