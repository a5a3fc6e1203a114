//! IPFIX over TCP (RFC 7011 §10.4): a stream is cut into messages by the length in their headers.

use std::io::{self, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{Batch, Opened, Outlet, PATIENCE};

/// Octets of a message header (RFC 7011 §3.1).
const HEADER: usize = 16;
/// Version of IPFIX.
const VERSION: u16 = 10;
/// What is read from a connection at a time; a message has at most 65,535 octets.
const BUFFER: usize = 128 << 10;

/// A listening socket.
#[derive(Debug)]
pub(super) struct Listener {
    listener: TcpListener,
    address: SocketAddr,
}

impl Listener {
    pub(super) fn open(address: SocketAddr) -> io::Result<Self> {
        let listener = bind(address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address })
    }

    pub(super) const fn opened(&self) -> Opened {
        Opened { address: self.address, receive_buffer: None }
    }
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    use nix::sys::socket::{
        AddressFamily, Backlog, SockFlag, SockType, SockaddrStorage, listen, setsockopt, socket,
        sockopt,
    };
    let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let fd = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    if address.is_ipv6() {
        setsockopt(&fd, sockopt::Ipv6V6Only, &true)?;
    }
    setsockopt(&fd, sockopt::ReuseAddr, &true)?;
    nix::sys::socket::bind(std::os::fd::AsRawFd::as_raw_fd(&fd), &SockaddrStorage::from(address))?;
    listen(&fd, Backlog::new(64)?)?;
    Ok(TcpListener::from(fd))
}

/// Takes connections until it is stopped, one thread for each.
pub(super) fn serve(listeners: &[Listener], outlet: &Outlet, most: usize) {
    let open = Arc::new(AtomicUsize::new(0));
    let mut threads = Vec::new();
    while !outlet.is_stopped() {
        let mut any = false;
        for listener in listeners {
            let Ok((stream, from)) = listener.listener.accept() else { continue };
            any = true;
            if open.load(Ordering::Relaxed) >= most {
                outlet.counters.refused.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            open.fetch_add(1, Ordering::Relaxed);
            let (own, open) = (outlet.clone(), Arc::clone(&open));
            let work = move || {
                read(stream, from, &own);
                open.fetch_sub(1, Ordering::Relaxed);
            };
            match std::thread::Builder::new().name("ipfix".to_owned()).spawn(work) {
                Ok(thread) => threads.push(thread),
                Err(_) => outlet.failed(),
            }
        }
        threads.retain(|thread| !thread.is_finished());
        if !any {
            std::thread::sleep(PATIENCE);
        }
    }
    for thread in threads {
        let _ = thread.join();
    }
}

/// Reads one connection to its end, or to the first octets that cannot be a message.
fn read(mut stream: TcpStream, from: SocketAddr, outlet: &Outlet) {
    if stream.set_nonblocking(false).is_err() || stream.set_read_timeout(Some(PATIENCE)).is_err() {
        outlet.failed();
        return;
    }
    let mut buffer = vec![0; BUFFER];
    let mut filled = 0;
    while !outlet.is_stopped() {
        let Some(room) = buffer.get_mut(filled..) else { return };
        match stream.read(room) {
            Ok(0) => return,
            Ok(count) => filled += count,
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock
                | io::ErrorKind::TimedOut
                | io::ErrorKind::Interrupted => {
                    continue;
                }
                _ => return,
            },
        }
        let mut batch = Batch::default();
        let Some(taken) = messages(buffer.get(..filled).unwrap_or_default(), |message| {
            batch.push(from, message);
        }) else {
            outlet.counters.broken.fetch_add(1, Ordering::Relaxed);
            return;
        };
        buffer.copy_within(taken..filled, 0);
        filled -= taken;
        if !batch.is_empty() && !outlet.send(batch) {
            return;
        }
    }
}

/// Gives each whole message of `bytes`; says how much of them that was, nothing where what stands
/// there is no message (RFC 7011 §3.1).
pub(crate) fn messages(bytes: &[u8], mut each: impl FnMut(&[u8])) -> Option<usize> {
    let mut taken = 0;
    while let Some(rest) = bytes.get(taken..)
        && let [a, b, c, d, ..] = *rest
    {
        let len = usize::from(u16::from_be_bytes([c, d]));
        if u16::from_be_bytes([a, b]) != VERSION || len < HEADER {
            return None;
        }
        let Some(message) = rest.get(..len) else { break };
        each(message);
        taken += len;
    }
    Some(taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(len: u16, fill: u8) -> Vec<u8> {
        let mut bytes = vec![fill; usize::from(len)];
        bytes[..2].copy_from_slice(&VERSION.to_be_bytes());
        bytes[2..4].copy_from_slice(&len.to_be_bytes());
        bytes
    }

    #[test]
    fn wherever_a_stream_is_cut_its_messages_are_the_same() {
        let stream = [message(20, 1), message(16, 2), message(300, 3)].concat();
        for first in 0..=stream.len() {
            let mut lens = Vec::new();
            let taken = messages(&stream[..first], |m| lens.push(m.len())).unwrap();
            let rest = messages(&stream[taken..], |m| lens.push(m.len())).unwrap();
            assert_eq!((lens, taken + rest), (vec![20, 16, 300], stream.len()), "cut at {first}");
        }
    }

    #[test]
    fn what_is_no_message_ends_the_stream() {
        assert_eq!(messages(b"GET / HTTP/1.1", |_| {}), None);
        assert_eq!(messages(&[0, 10, 0, 15], |_| {}), None, "shorter than its own header");
        assert_eq!(messages(&[0, 10], |_| {}), Some(0), "not there yet");
    }
}
