//! Signals as something that is asked for, not something that interrupts.

use std::io;

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

/// What a service is asked to do from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// SIGTERM or SIGINT: end in order.
    Stop,
    /// SIGHUP: read the configuration again.
    Reload,
}

/// Signals that wait to be looked at.
#[derive(Debug)]
pub struct Signals(SignalFd);

impl Signals {
    /// Takes the signals over. Call it before any other thread is started: those that come later
    /// inherit that they are held back.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn take() -> io::Result<Self> {
        let mut set = SigSet::empty();
        for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
            set.add(signal);
        }
        set.thread_block()?;
        Ok(Self(SignalFd::with_flags(&set, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?))
    }

    /// What was asked since, if anything. Does not wait.
    pub fn next(&self) -> Option<Asked> {
        let signal = self.0.read_signal().ok().flatten()?;
        let number = i32::try_from(signal.ssi_signo).ok()?;
        let hup = number == Signal::SIGHUP as i32;
        Some(if hup { Asked::Reload } else { Asked::Stop })
    }
}
