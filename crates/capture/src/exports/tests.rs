use std::io::Write;
use std::net::{TcpStream, UdpSocket};

use super::*;

fn open(udp: &[&str], tcp: &[&str]) -> Exports {
    let addresses = |list: &[&str]| list.iter().map(|text| text.parse().unwrap()).collect();
    let listening = Listening {
        udp: addresses(udp),
        tcp: addresses(tcp),
        receive_buffer: 1 << 20,
        tcp_connections: 2,
    };
    Exports::open(&listening).unwrap()
}

/// All datagrams until `count` of them are there.
fn take(exports: &Exports, count: usize) -> Vec<(SocketAddr, Vec<u8>)> {
    let mut taken = Vec::new();
    for _ in 0..600 {
        let batch = exports.next(Duration::from_millis(50));
        for (from, bytes) in batch.iter().flat_map(Batch::datagrams) {
            taken.push((from, bytes.to_vec()));
        }
        if taken.len() >= count {
            break;
        }
    }
    taken
}

#[test]
fn datagrams_keep_their_bytes_their_sender_and_their_order() {
    let exports = open(&["127.0.0.1:0", "127.0.0.1:0"], &[]);
    let senders: Vec<UdpSocket> = (0..2).map(|_| UdpSocket::bind("127.0.0.1:0").unwrap()).collect();
    for number in 0..200u16 {
        for (sender, opened) in senders.iter().zip(exports.opened()) {
            let bytes = vec![7; usize::from(number) + 1];
            sender.send_to(&bytes, opened.address).unwrap();
        }
    }
    let taken = take(&exports, 400);
    for sender in &senders {
        let own = sender.local_addr().unwrap();
        let lens: Vec<usize> =
            taken.iter().filter(|(from, _)| *from == own).map(|(_, b)| b.len()).collect();
        assert_eq!(lens, (1..=200).collect::<Vec<_>>());
    }
    assert_eq!(exports.counters().datagrams.load(Ordering::Relaxed), 400);
    assert_eq!(exports.counters().dropped.load(Ordering::Relaxed), 0);
}

#[test]
fn what_the_kernel_drops_is_counted() {
    let listening = Listening {
        udp: vec!["127.0.0.1:0".parse().unwrap()],
        tcp: Vec::new(),
        receive_buffer: 4_096,
        tcp_connections: 0,
    };
    let mut socket = Socket::open(listening.udp[0], listening.receive_buffer).unwrap();
    let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
    let to = socket.opened().address;
    for _ in 0..500 {
        sender.send_to(&[0; 1_000], to).unwrap();
    }
    let (batches, receiver) = sync_channel(BATCHES);
    let counters = Arc::new(Counters::default());
    let stop = Arc::new(AtomicBool::new(false));
    let outlet = Outlet { batches, counters: Arc::clone(&counters), stop };
    let mut buffers: Vec<Vec<u8>> = (0..64).map(|_| vec![0; 65_536]).collect();
    let mut batch = Batch::default();
    assert!(socket::read(&mut socket, &mut buffers, &mut batch, &outlet));
    // The count comes with what is received after the loss.
    sender.send_to(&[1; 8], to).unwrap();
    assert!(socket::read(&mut socket, &mut buffers, &mut batch, &outlet));
    drop(receiver);
    let (kept, dropped) = (batch.len() as u64, counters.dropped.load(Ordering::Relaxed));
    assert_eq!(kept + dropped, 501, "{kept} kept");
    assert!(dropped > 0);
}

#[test]
fn ipfix_over_tcp_is_cut_into_messages_and_anything_else_is_hung_up_on() {
    let exports = open(&[], &["127.0.0.1:0"]);
    let to = exports.opened()[0].address;
    let message = [&[0, 10, 0, 20][..], &[9; 16]].concat();
    let stream = message.repeat(50);
    let mut good = TcpStream::connect(to).unwrap();
    for part in stream.chunks(33) {
        good.write_all(part).unwrap();
    }
    let taken = take(&exports, 50);
    assert_eq!(taken.len(), 50);
    assert!(taken.iter().all(|(_, bytes)| *bytes == message));
    let mut bad = TcpStream::connect(to).unwrap();
    bad.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let mut end = [0; 1];
    let hung_up = io::Read::read(&mut bad, &mut end);
    assert!(matches!(hung_up, Ok(0) | Err(_)), "{hung_up:?}");
    assert_eq!(exports.counters().broken.load(Ordering::Relaxed), 1);
}
