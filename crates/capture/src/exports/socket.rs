//! One UDP socket, and the thread that reads all of them.

use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::Ordering;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, MsgFlags, MultiHeaders, SockFlag, SockType,
    SockaddrLike as _, SockaddrStorage, bind, recvmmsg, setsockopt, socket, sockopt,
};

use super::{BATCHES, Batch, Opened, Outlet, PATIENCE};

/// Datagrams taken by one system call.
const AT_ONCE: usize = 64;
/// No UDP datagram is longer.
const LONGEST: usize = 65_536;

/// A socket and what the kernel said of it.
#[derive(Debug)]
pub(super) struct Socket {
    socket: UdpSocket,
    address: SocketAddr,
    receive_buffer: usize,
    /// The kernel's count of what it dropped, as it was told last; it wraps.
    dropped: u32,
}

impl Socket {
    /// Binds, with as much of a receive buffer as the kernel gives.
    pub(super) fn open(address: SocketAddr, buffer: usize) -> io::Result<Self> {
        let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let fd = socket(family, SockType::Datagram, flags, None)?;
        if address.is_ipv6() {
            // 0.0.0.0 has a socket of its own.
            setsockopt(&fd, sockopt::Ipv6V6Only, &true)?;
        }
        // Beyond net.core.rmem_max only with CAP_NET_ADMIN.
        if setsockopt(&fd, sockopt::RcvBufForce, &buffer).is_err() {
            setsockopt(&fd, sockopt::RcvBuf, &buffer)?;
        }
        setsockopt(&fd, sockopt::RxqOvfl, &1)?;
        bind(fd.as_raw_fd(), &SockaddrStorage::from(address))?;
        let socket = UdpSocket::from(fd);
        // socket(7): the kernel doubles what was asked, for its own needs.
        let given = nix::sys::socket::getsockopt(&socket, sockopt::RcvBuf)? / 2;
        let address = socket.local_addr()?;
        Ok(Self { socket, address, receive_buffer: given, dropped: 0 })
    }

    pub(super) const fn opened(&self) -> Opened {
        Opened { address: self.address, receive_buffer: Some(self.receive_buffer) }
    }

    /// Takes what is there, up to [`AT_ONCE`]; says how many.
    fn receive(
        &mut self,
        buffers: &mut [Vec<u8>],
        batch: &mut Batch,
    ) -> Result<(usize, u32), Errno> {
        // The kernel writes into the headers how long addresses and control messages were, and reads
        // the same fields as how long they may be: they are made anew for each call.
        let space = nix::cmsg_space!(u32);
        let mut headers = MultiHeaders::<SockaddrStorage>::preallocate(AT_ONCE, Some(space));
        let mut slices: Vec<[IoSliceMut<'_>; 1]> =
            buffers.iter_mut().map(|buffer| [IoSliceMut::new(buffer)]).collect();
        let fd = self.socket.as_raw_fd();
        let received = recvmmsg(fd, &mut headers, slices.iter_mut(), MsgFlags::MSG_DONTWAIT, None)?;
        let (mut count, mut dropped) = (0, 0);
        for message in received {
            count += 1;
            for control in message.cmsgs().into_iter().flatten() {
                if let ControlMessageOwned::RxqOvfl(total) = control {
                    dropped += total.wrapping_sub(self.dropped);
                    self.dropped = total;
                }
            }
            let Some(from) = message.address.as_ref().and_then(address_of) else { continue };
            batch.push(from, message.iovs().next().unwrap_or_default());
        }
        Ok((count, dropped))
    }
}

fn address_of(address: &SockaddrStorage) -> Option<SocketAddr> {
    if let Some(v4) = address.as_sockaddr_in() {
        return Some(SocketAddr::from((v4.ip(), v4.port())));
    }
    let v6 = address.as_sockaddr_in6().filter(|v6| v6.len() > 0)?;
    Some(SocketAddr::from((v6.ip(), v6.port())))
}

/// Reads all sockets until it is stopped.
pub(super) fn read_all(sockets: &mut [Socket], outlet: &Outlet) {
    let mut buffers: Vec<Vec<u8>> = (0..AT_ONCE).map(|_| vec![0; LONGEST]).collect();
    let timeout = PollTimeout::try_from(PATIENCE).unwrap_or(PollTimeout::ZERO);
    while !outlet.is_stopped() {
        let mut ready: Vec<PollFd<'_>> =
            sockets.iter().map(|s| PollFd::new(s.socket.as_fd(), PollFlags::POLLIN)).collect();
        match poll(&mut ready, timeout) {
            Ok(0) | Err(Errno::EINTR) => continue,
            Ok(_) => {}
            Err(_) => {
                outlet.failed();
                std::thread::sleep(PATIENCE);
                continue;
            }
        }
        let ready: Vec<bool> = ready.iter().map(|fd| fd.any().unwrap_or(false)).collect();
        let ready = sockets.iter_mut().zip(ready).filter_map(|(s, ready)| ready.then_some(s));
        if round(ready, &mut buffers, outlet).is_none() {
            return;
        }
    }
    // What had come before the stop is taken as well, but more may come without end.
    for _ in 0..BATCHES {
        if !round(sockets.iter_mut(), &mut buffers, outlet).is_some_and(|any| any) {
            return;
        }
    }
}

/// Reads each of the sockets; says whether there was anything, and nothing when nobody wants batches any
/// more.
fn round<'a>(
    sockets: impl Iterator<Item = &'a mut Socket>,
    buffers: &mut [Vec<u8>],
    outlet: &Outlet,
) -> Option<bool> {
    let mut batch = Batch::default();
    let before = outlet.counters.datagrams.load(Ordering::Relaxed);
    for socket in sockets {
        if !read(socket, buffers, &mut batch, outlet) {
            return None;
        }
    }
    if !batch.is_empty() && !outlet.send(batch) {
        return None;
    }
    Some(outlet.counters.datagrams.load(Ordering::Relaxed) > before)
}

/// Empties one socket, but does not let the others wait for longer than a batch. False when nobody
/// wants batches any more.
pub(super) fn read(
    socket: &mut Socket,
    buffers: &mut [Vec<u8>],
    batch: &mut Batch,
    outlet: &Outlet,
) -> bool {
    loop {
        match socket.receive(buffers, batch) {
            Ok((count, dropped)) => {
                outlet.counters.dropped.fetch_add(dropped.into(), Ordering::Relaxed);
                if batch.is_full() {
                    return outlet.send(std::mem::take(batch));
                }
                if count < AT_ONCE {
                    return true;
                }
            }
            Err(Errno::EAGAIN | Errno::EINTR) => return true,
            // An ICMP error of something that this socket never sent.
            Err(_) => {
                outlet.failed();
                return true;
            }
        }
    }
}
