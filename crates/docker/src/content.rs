//! What the bodies of Docker API calls hold: Dockerfiles, build contexts, the daemon's answers, and
//! the URLs that any of them name.
//!
//! In: body bytes or text, as sent. Out: plain facts, secrets removed. Nothing here knows HTTP, and
//! nothing is ever run, fetched or written to disk.

pub(crate) mod answer;
pub(crate) mod context;
pub(crate) mod dockerfile;
mod expand;
pub(crate) mod urls;
