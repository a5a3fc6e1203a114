//! Puts IP datagrams together from their fragments (RFC 791 §3.2, RFC 8200 §4.5).
//!
//! The first bytes win where fragments overlap, and the datagram says that they did. Everything held is bounded by
//! [`Limits`]: datagrams in all, datagrams from one source, and bytes; the oldest go first. Packet time
//! alone lets them expire.

mod datagram;

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use tw_model::{AnomalyKind, NetworkTag, Timestamp};

use crate::cut::Cut;
use crate::walk::{IpHeader, Part};
use crate::{Counters, Limits};
use datagram::{Add, Datagram};

/// Fragments that come this long after their datagram was complete are copies of it, as a mirror port
/// makes them. Later ones begin a new datagram, since fast senders use an identification again soon.
const REPEATED_WITHIN: Duration = Duration::from_secs(1);

/// Limits are reached once a fragment under attack; one anomaly in this time is enough.
const ANOMALY_INTERVAL: Duration = Duration::from_secs(1);

/// A fragment as it was captured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fragment<'a> {
    pub(crate) header: IpHeader,
    pub(crate) part: Part,
    pub(crate) data: Cut<'a>,
}

/// A datagram that is complete.
#[derive(Debug)]
pub(crate) struct Whole {
    /// Header of the first fragment, with the length of the whole.
    pub(crate) header: IpHeader,
    pub(crate) protocol: u8,
    /// Payload up to the first byte that the snap length cut off.
    pub(crate) bytes: Vec<u8>,
    /// Length of the payload on the wire.
    pub(crate) wire: u32,
}

/// What adding a fragment led to.
#[derive(Debug, Default)]
pub(crate) struct Added {
    pub(crate) whole: Option<Whole>,
    pub(crate) anomaly: Option<AnomalyKind>,
}

/// What belongs to one datagram. IPv6 leaves the protocol out (RFC 8200 §4.5): there it is 44.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    src: IpAddr,
    dst: IpAddr,
    id: u32,
    protocol: u8,
    tag: NetworkTag,
}

/// Distinguishes a datagram from an earlier one of the same key.
type Serial = u64;

/// Datagrams under reassembly.
#[derive(Debug)]
pub(crate) struct Fragments {
    limits: Limits,
    datagrams: HashMap<Key, (Serial, Datagram)>,
    /// All keys by age; entries whose serial is no longer in `datagrams` are skipped.
    by_age: VecDeque<(Key, Serial)>,
    by_source: HashMap<IpAddr, Source>,
    held_bytes: usize,
    next_serial: Serial,
    last_limit_anomaly: Option<Timestamp>,
}

/// The datagrams of one source by age; stale entries as in [`Fragments::by_age`].
#[derive(Debug, Default)]
struct Source {
    by_age: VecDeque<(Key, Serial)>,
    live: usize,
}

impl Fragments {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            datagrams: HashMap::new(),
            by_age: VecDeque::new(),
            by_source: HashMap::new(),
            held_bytes: 0,
            next_serial: 0,
            last_limit_anomaly: None,
        }
    }

    /// Adds a fragment that was captured at `now`.
    pub(crate) fn add(
        &mut self,
        fragment: &Fragment<'_>,
        tag: NetworkTag,
        now: Timestamp,
        counters: &mut Counters,
    ) -> Added {
        counters.fragments += 1;
        self.expire(now, counters);
        if !datagram::is_possible(fragment) {
            counters.fragments_malformed += 1;
            return Added::default();
        }
        let key = key_of(fragment, tag);
        if let Some((_, datagram)) = self.datagrams.get(&key)
            && let Some(completed) = datagram.completed
        {
            if now.since(completed) <= REPEATED_WITHIN {
                counters.fragments_repeated += 1;
                return Added::default();
            }
            self.remove(&key);
        }
        let mut reached_limit = self.make_room(&key, counters);
        let added = self.add_to_datagram(key, fragment, now);
        if added == Add::TooManyPieces {
            self.remove(&key);
            counters.fragment_limit += 1;
            reached_limit = true;
        }
        let conflict = added == Add::Conflict;
        counters.fragment_conflicts += u64::from(conflict);
        let anomaly = if conflict {
            Some(AnomalyKind::FragmentOverlapConflict)
        } else {
            self.limit_anomaly(reached_limit, now)
        };
        Added { whole: self.take_whole(&key, now, counters), anomaly }
    }

    /// Drops what is older than the timeout.
    pub(crate) fn expire(&mut self, now: Timestamp, counters: &mut Counters) {
        while let Some(&(key, serial)) = self.by_age.front() {
            if let Some(datagram) = self.live(&key, serial) {
                if now.since(datagram.first_seen) <= self.limits.fragment_timeout {
                    return;
                }
                counters.fragment_timeouts += u64::from(datagram.completed.is_none());
                self.remove(&key);
            }
            self.by_age.pop_front();
        }
    }

    fn live(&self, key: &Key, serial: Serial) -> Option<&Datagram> {
        self.datagrams.get(key).filter(|(current, _)| *current == serial).map(|(_, found)| found)
    }

    fn add_to_datagram(&mut self, key: Key, fragment: &Fragment<'_>, now: Timestamp) -> Add {
        if !self.datagrams.contains_key(&key) {
            self.insert(key, Datagram::new(now));
        }
        let Some((_, datagram)) = self.datagrams.get_mut(&key) else { return Add::Kept };
        let before = datagram.held_bytes();
        let added = datagram.add(fragment);
        self.held_bytes = self.held_bytes - before + datagram.held_bytes();
        added
    }

    fn insert(&mut self, key: Key, datagram: Datagram) {
        let serial = self.next_serial;
        self.next_serial += 1;
        self.held_bytes += datagram.held_bytes();
        self.datagrams.insert(key, (serial, datagram));
        self.by_age.push_back((key, serial));
        let source = self.by_source.entry(key.src).or_default();
        source.by_age.push_back((key, serial));
        source.live += 1;
        let datagrams = &self.datagrams;
        let is_live = |(key, serial): &(Key, Serial)| {
            datagrams.get(key).is_some_and(|(current, _)| current == serial)
        };
        if source.by_age.len() > 2 * source.live + 16 {
            source.by_age.retain(is_live);
        }
        if self.by_age.len() > 2 * self.datagrams.len() + 16 {
            self.by_age.retain(is_live);
        }
    }

    fn remove(&mut self, key: &Key) {
        let Some((_, datagram)) = self.datagrams.remove(key) else { return };
        self.held_bytes -= datagram.held_bytes();
        let Some(source) = self.by_source.get_mut(&key.src) else { return };
        source.live -= 1;
        if source.live == 0 {
            self.by_source.remove(&key.src);
        }
    }

    /// Drops the oldest until one more fragment of `key` fits. Were incomplete ones dropped?
    fn make_room(&mut self, key: &Key, counters: &mut Counters) -> bool {
        let mut dropped = false;
        let is_new = !self.datagrams.contains_key(key);
        while is_new
            && let Some(source) = self.by_source.get(&key.src)
            && source.live >= self.limits.fragmented_datagrams_per_source
        {
            let Some(oldest) = self.oldest_of(&key.src) else { break };
            dropped |= self.drop_for_limit(&oldest, counters);
        }
        while (is_new && self.datagrams.len() >= self.limits.fragmented_datagrams)
            || self.held_bytes > self.limits.fragment_bytes
        {
            let Some((oldest, serial)) = self.by_age.pop_front() else { break };
            if self.live(&oldest, serial).is_some() {
                dropped |= self.drop_for_limit(&oldest, counters);
            }
        }
        dropped
    }

    fn oldest_of(&mut self, src: &IpAddr) -> Option<Key> {
        let source = self.by_source.get_mut(src)?;
        while let Some((key, serial)) = source.by_age.pop_front() {
            if self.datagrams.get(&key).is_some_and(|(current, _)| *current == serial) {
                return Some(key);
            }
        }
        None
    }

    fn drop_for_limit(&mut self, key: &Key, counters: &mut Counters) -> bool {
        let incomplete = self.datagrams.get(key).is_some_and(|(_, old)| old.completed.is_none());
        counters.fragment_limit += u64::from(incomplete);
        self.remove(key);
        incomplete
    }

    fn limit_anomaly(&mut self, reached: bool, now: Timestamp) -> Option<AnomalyKind> {
        let recent = self.last_limit_anomaly.is_some_and(|last| now.since(last) < ANOMALY_INTERVAL);
        if !reached || recent {
            return None;
        }
        self.last_limit_anomaly = Some(now);
        Some(AnomalyKind::FragmentLimit)
    }

    /// Takes the bytes of a complete datagram; what stays tells copies of its fragments.
    fn take_whole(&mut self, key: &Key, now: Timestamp, counters: &mut Counters) -> Option<Whole> {
        let (_, datagram) = self.datagrams.get_mut(key)?;
        let before = datagram.held_bytes();
        let whole = datagram.take_whole(now)?;
        self.held_bytes = self.held_bytes - before + datagram.held_bytes();
        counters.reassembled += 1;
        Some(whole)
    }
}

fn key_of(fragment: &Fragment<'_>, tag: NetworkTag) -> Key {
    let IpHeader { src, dst, .. } = fragment.header;
    let protocol = if src.is_ipv6() { 44 } else { fragment.part.protocol };
    Key { src, dst, id: fragment.part.id, protocol, tag }
}
