//! Export datagrams from sockets: several UDP sockets, and IPFIX over TCP, as one stream of batches.
//!
//! One thread reads all UDP sockets with `recvmmsg`, one more each TCP connection, and all hand
//! over batches through a channel that holds few of them. Nothing here drops: where the reader of the
//! batches is slow the channel is full, then the kernel's buffer, and what the kernel drops then it
//! counts, and so do we. No byte is looked at, but for the lengths that cut a TCP stream into messages.

mod socket;
mod tcp;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use tw_model::Timestamp;

use crate::CaptureError;
use socket::Socket;
use tcp::Listener;

/// Batches under way between the threads.
const BATCHES: usize = 64;
/// Bytes at which a batch is handed over.
pub(crate) const BATCH_BYTES: usize = 256 << 10;
/// How long a reader waits before it looks whether it should end.
pub(crate) const PATIENCE: Duration = Duration::from_millis(100);

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listening {
    /// UDP addresses.
    pub udp: Vec<SocketAddr>,
    /// TCP addresses, for IPFIX.
    pub tcp: Vec<SocketAddr>,
    /// Bytes of receive buffer to ask the kernel for, for each UDP socket.
    pub receive_buffer: usize,
    /// TCP connections at a time.
    pub tcp_connections: usize,
}

/// What the threads counted.
#[derive(Debug, Default)]
pub struct Counters {
    /// Datagrams and messages handed over.
    pub datagrams: AtomicU64,
    /// Datagrams that the kernel dropped because the receive buffer was full.
    pub dropped: AtomicU64,
    /// TCP connections refused because there were too many.
    pub refused: AtomicU64,
    /// TCP connections ended because what they carried is no IPFIX.
    pub broken: AtomicU64,
    /// Errors of the sockets.
    pub errors: AtomicU64,
}

/// Datagrams that arrived together.
#[derive(Debug, Default)]
pub struct Batch {
    arrived: Timestamp,
    bytes: Vec<u8>,
    ends: Vec<(SocketAddr, usize)>,
}

impl Batch {
    /// When they were taken from the socket.
    #[must_use]
    pub const fn arrived(&self) -> Timestamp {
        self.arrived
    }

    /// How many.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.ends.len()
    }

    /// Is there none?
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The datagrams, in the order in which they came, with who sent them.
    pub fn datagrams(&self) -> impl Iterator<Item = (SocketAddr, &[u8])> {
        let begins = std::iter::once(0).chain(self.ends.iter().map(|(_, end)| *end));
        let spans = begins.zip(&self.ends);
        spans.map(|(begin, (from, end))| (*from, self.bytes.get(begin..*end).unwrap_or_default()))
    }

    pub(crate) fn push(&mut self, from: SocketAddr, bytes: &[u8]) {
        if self.ends.is_empty() {
            self.arrived = crate::clock::now();
        }
        self.bytes.extend_from_slice(bytes);
        self.ends.push((from, self.bytes.len()));
    }

    pub(crate) const fn is_full(&self) -> bool {
        self.bytes.len() >= BATCH_BYTES
    }
}

/// What the threads share with the reader of their batches.
#[derive(Clone, Debug)]
pub(crate) struct Outlet {
    batches: SyncSender<Batch>,
    pub(crate) counters: Arc<Counters>,
    stop: Arc<AtomicBool>,
}

impl Outlet {
    /// Hands a batch over, and waits while there is no room. False when nobody wants it any more.
    pub(crate) fn send(&self, batch: Batch) -> bool {
        let count = batch.len() as u64;
        self.counters.datagrams.fetch_add(count, Ordering::Relaxed);
        self.batches.send(batch).is_ok()
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    pub(crate) fn failed(&self) {
        self.counters.errors.fetch_add(1, Ordering::Relaxed);
    }
}

/// A socket as it was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// The address that it is bound to.
    pub address: SocketAddr,
    /// Bytes of receive buffer that the kernel gave; nothing for TCP.
    pub receive_buffer: Option<usize>,
}

/// All sockets, read in the background.
#[derive(Debug)]
pub struct Exports {
    batches: Receiver<Batch>,
    counters: Arc<Counters>,
    stop: Arc<AtomicBool>,
    opened: Vec<Opened>,
    threads: Vec<JoinHandle<()>>,
}

impl Exports {
    /// Opens all sockets and begins to read them.
    ///
    /// # Errors
    /// When an address cannot be listened on.
    pub fn open(listening: &Listening) -> Result<Self, CaptureError> {
        let (batches, receiver) = sync_channel(BATCHES);
        let counters = Arc::new(Counters::default());
        let stop = Arc::new(AtomicBool::new(false));
        let outlet = Outlet { batches, counters: Arc::clone(&counters), stop: Arc::clone(&stop) };
        let cannot =
            |address: &SocketAddr, error| CaptureError::Listen { address: *address, error };
        let mut opened = Vec::new();
        let mut sockets = Vec::new();
        for address in &listening.udp {
            let socket = Socket::open(*address, listening.receive_buffer);
            let socket = socket.map_err(|error| cannot(address, error))?;
            opened.push(socket.opened());
            sockets.push(socket);
        }
        let mut listeners = Vec::new();
        for address in &listening.tcp {
            let listener = Listener::open(*address).map_err(|error| cannot(address, error))?;
            opened.push(listener.opened());
            listeners.push(listener);
        }
        let mut threads = Vec::new();
        let spawn = |name: &str, work: Box<dyn FnOnce() + Send>| {
            std::thread::Builder::new().name(name.to_owned()).spawn(work)
        };
        let thread_error = |error: io::Error| CaptureError::Thread { error };
        if !sockets.is_empty() {
            let outlet = outlet.clone();
            let work = Box::new(move || socket::read_all(&mut sockets, &outlet));
            threads.push(spawn("udp", work).map_err(thread_error)?);
        }
        if !listeners.is_empty() {
            let most = listening.tcp_connections;
            let work = Box::new(move || tcp::serve(&listeners, &outlet, most));
            threads.push(spawn("tcp", work).map_err(thread_error)?);
        }
        Ok(Self { batches: receiver, counters, stop, opened, threads })
    }

    /// The sockets, in the order in which they were asked for.
    #[must_use]
    pub fn opened(&self) -> &[Opened] {
        &self.opened
    }

    /// What was counted so far.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The next batch, or nothing where none came in time.
    #[must_use]
    pub fn next(&self, wait: Duration) -> Option<Batch> {
        match self.batches.recv_timeout(wait) {
            Ok(batch) => Some(batch),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => {
                std::thread::sleep(wait);
                None
            }
        }
    }

    /// Stops reading the sockets; what was taken from them is still given by
    /// [`Self::next`], until that gives nothing.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

impl Drop for Exports {
    fn drop(&mut self) {
        self.stop();
        // Whoever waits for room in the channel gets it.
        while self.threads.iter().any(|thread| !thread.is_finished()) {
            let _ = self.batches.recv_timeout(Duration::from_millis(10));
        }
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests;
