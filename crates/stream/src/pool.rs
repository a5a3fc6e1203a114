//! The flows in memory: slots, and for each class of flows a list in the order they were last seen.

use std::time::Duration;

use tw_model::{ConnectionState, Direction, Evidence, Protocol};

use crate::key::{Addressed, FlowKey};
use crate::recent::Recent;
use crate::tcp::Tcp;
use crate::{Flow, IdleTimes, Interest};

/// Index of a flow in the pool.
pub(crate) type Slot = u32;

/// What a flow is worth, least first: in this order they are evicted. Each has its own idle time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// Closed; swallows late packets.
    Closed,
    /// TCP without handshake or payload.
    Attempted,
    /// UDP one way; TCP with a FIN whose other direction was never captured.
    OneWay,
    /// UDP both ways, and other protocols.
    Conversation,
    /// TCP of which one direction was captured.
    HalfSeen,
    /// TCP that its reader only counts.
    Counted,
    /// TCP that is being read.
    Read,
}

impl Class {
    const ALL: [Self; 7] = [
        Self::Closed,
        Self::Attempted,
        Self::OneWay,
        Self::Conversation,
        Self::HalfSeen,
        Self::Counted,
        Self::Read,
    ];

    /// Its place in [`Self::ALL`].
    const fn index(self) -> usize {
        match self {
            Self::Closed => 0,
            Self::Attempted => 1,
            Self::OneWay => 2,
            Self::Conversation => 3,
            Self::HalfSeen => 4,
            Self::Counted => 5,
            Self::Read => 6,
        }
    }

    const fn idle(self, times: &IdleTimes) -> Duration {
        match self {
            Self::Closed => times.closed,
            Self::Attempted => times.attempted,
            Self::OneWay => times.one_way,
            Self::Conversation => times.conversation,
            Self::HalfSeen | Self::Counted | Self::Read => times.established,
        }
    }
}

/// A flow and what the table keeps with it.
#[derive(Debug)]
pub(crate) struct Entry<S> {
    pub(crate) flow: Flow<S>,
    pub(crate) key: FlowKey,
    pub(crate) tcp: Tcp,
    pub(crate) recent: Recent,
    /// Latest packet.
    pub(crate) evidence: Evidence,
    /// The opener is the lower endpoint of the key.
    pub(crate) opener_is_low: bool,
    /// `Close` was emitted.
    pub(crate) closed: bool,
    /// When its earliest hole is due, by the table's clock; as it stands in the table's agenda.
    pub(crate) hole_due: Option<u64>,
    /// When it was last seen, to the second, by the table's clock.
    seen: u64,
    class: Class,
    before: Option<Slot>,
    after: Option<Slot>,
}

impl<S> Entry<S> {
    pub(crate) fn new(flow: Flow<S>, to: &Addressed, opener_is_low: bool, at: Evidence) -> Self {
        Self {
            flow,
            key: to.key,
            tcp: Tcp::default(),
            recent: Recent::default(),
            evidence: at,
            opener_is_low,
            closed: false,
            hole_due: None,
            seen: 0,
            class: Class::Attempted,
            before: None,
            after: None,
        }
    }

    pub(crate) const fn direction(&self, from_low: bool) -> Direction {
        if from_low == self.opener_is_low { Direction::ToResponder } else { Direction::ToOpener }
    }

    /// Is it where it belongs, in the lists and in the agenda? Then a packet changes nothing there.
    pub(crate) fn is_settled(&self, now: u64) -> bool {
        self.hole_due.is_none() && !self.tcp.has_holes() && self.is_in_place(self.worth(), now)
    }

    fn is_in_place(&self, class: Class, now: u64) -> bool {
        class == self.class && now.saturating_sub(self.seen) < PRECISION
    }

    fn worth(&self) -> Class {
        let one_way = self.flow.packets.contains(&0);
        if self.closed {
            Class::Closed
        } else if self.flow.protocol == Protocol::UDP && one_way {
            Class::OneWay
        } else if self.flow.protocol != Protocol::TCP {
            Class::Conversation
        } else if self.flow.state != ConnectionState::Established {
            Class::Attempted
        } else if one_way {
            if self.tcp.saw_fin() { Class::OneWay } else { Class::HalfSeen }
        } else if self.flow.interest == Interest::Counts {
            Class::Counted
        } else {
            Class::Read
        }
    }
}

#[derive(Debug, Default)]
struct List {
    first: Option<Slot>,
    last: Option<Slot>,
    len: usize,
}

/// Slots and lists. Everything is O(1), and nothing is moved when there are more: slots come in chunks.
#[derive(Debug)]
pub(crate) struct Pool<S> {
    chunks: Vec<Vec<Option<Entry<S>>>>,
    slots: Slot,
    free: Vec<Slot>,
    lists: [List; Class::ALL.len()],
    len: usize,
}

impl<S> Pool<S> {
    pub(crate) fn new() -> Self {
        Self { chunks: Vec::new(), slots: 0, free: Vec::new(), lists: Default::default(), len: 0 }
    }

    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn get(&self, slot: Slot) -> Option<&Entry<S>> {
        let (chunk, place) = place(slot)?;
        self.chunks.get(chunk)?.get(place)?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, slot: Slot) -> Option<&mut Entry<S>> {
        self.place_mut(slot)?.as_mut()
    }

    fn place_mut(&mut self, slot: Slot) -> Option<&mut Option<Entry<S>>> {
        let (chunk, place) = place(slot)?;
        self.chunks.get_mut(chunk)?.get_mut(place)
    }

    /// Slots in use.
    pub(crate) fn slots(&self) -> impl Iterator<Item = (Slot, &Entry<S>)> {
        (0..)
            .zip(self.chunks.iter().flatten())
            .filter_map(|(slot, entry)| Some((slot, entry.as_ref()?)))
    }

    /// `None` only if there are 2^32 already.
    pub(crate) fn insert(&mut self, mut entry: Entry<S>, now: u64) -> Option<Slot> {
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => self.one_more()?,
        };
        entry.seen = now;
        entry.class = entry.worth();
        let class = entry.class;
        *self.place_mut(slot)? = Some(entry);
        self.len += 1;
        self.append(slot, class);
        Some(slot)
    }

    fn one_more(&mut self) -> Option<Slot> {
        let slot = self.slots;
        let (chunk, _) = place(slot)?;
        if chunk == self.chunks.len() {
            self.chunks.push(Vec::with_capacity(CHUNK));
        }
        self.chunks.get_mut(chunk)?.push(None);
        self.slots = slot.checked_add(1)?;
        Some(slot)
    }

    pub(crate) fn remove(&mut self, slot: Slot) -> Option<Entry<S>> {
        self.unlink(slot);
        let entry = self.place_mut(slot)?.take()?;
        self.free.push(slot);
        self.len -= 1;
        Some(entry)
    }

    /// Takes note that the flow was seen now. Moves it in the lists at most once a second, because
    /// that touches its neighbours.
    pub(crate) fn touch(&mut self, slot: Slot, now: u64) {
        let Some(entry) = self.get(slot) else { return };
        let class = entry.worth();
        if entry.is_in_place(class, now) {
            return;
        }
        self.unlink(slot);
        let Some(entry) = self.get_mut(slot) else { return };
        entry.seen = now;
        entry.class = class;
        self.append(slot, class);
    }

    /// Some flow whose idle time is over.
    pub(crate) fn idle(&self, now: u64, times: &IdleTimes) -> Option<Slot> {
        Class::ALL.into_iter().zip(&self.lists).find_map(|(class, list)| {
            let first = list.first?;
            let seen = self.get(first)?.seen;
            let limit = u64::try_from(class.idle(times).as_nanos()).unwrap_or(u64::MAX);
            (now.saturating_sub(seen) >= limit).then_some(first)
        })
    }

    /// The least recently seen of the least valuable.
    pub(crate) fn least_valuable(&self) -> Option<Slot> {
        self.lists.iter().find_map(|list| list.first)
    }

    /// The least recently seen attempt, if there are more attempts than `limit`.
    pub(crate) fn surplus_attempt(&self, limit: usize) -> Option<Slot> {
        let list = self.list(Class::Attempted)?;
        if list.len > limit { list.first } else { None }
    }

    fn list(&self, class: Class) -> Option<&List> {
        self.lists.get(class.index())
    }

    fn list_mut(&mut self, class: Class) -> Option<&mut List> {
        self.lists.get_mut(class.index())
    }

    fn append(&mut self, slot: Slot, class: Class) {
        let Some(list) = self.list_mut(class) else { return };
        let before = list.last.replace(slot);
        list.first = list.first.or(Some(slot));
        list.len += 1;
        if let Some(entry) = self.get_mut(slot) {
            (entry.before, entry.after) = (before, None);
        }
        if let Some(neighbour) = before.and_then(|before| self.get_mut(before)) {
            neighbour.after = Some(slot);
        }
    }

    fn unlink(&mut self, slot: Slot) {
        let Some(entry) = self.get_mut(slot) else { return };
        let (before, after, class) = (entry.before.take(), entry.after.take(), entry.class);
        if let Some(neighbour) = before.and_then(|before| self.get_mut(before)) {
            neighbour.after = after;
        }
        if let Some(neighbour) = after.and_then(|after| self.get_mut(after)) {
            neighbour.before = before;
        }
        let Some(list) = self.list_mut(class) else { return };
        list.len = list.len.saturating_sub(1);
        if list.first == Some(slot) {
            list.first = after;
        }
        if list.last == Some(slot) {
            list.last = before;
        }
    }
}

/// Slots in a chunk.
const CHUNK: usize = 1024;

/// The chunk of a slot, and its place there.
fn place(slot: Slot) -> Option<(usize, usize)> {
    let slot = usize::try_from(slot).ok()?;
    Some((slot / CHUNK, slot % CHUNK))
}

/// How precisely the lists know when a flow was last seen.
const PRECISION: u64 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    use tw_model::{FlowId, NetworkTag, Opener, SourceId, Timestamp};
    use tw_wire::{Packet, TcpFlags, TcpSegment, Transport};

    const SECOND: u64 = 1_000_000_000;

    fn entry(host: u8) -> Entry<()> {
        let tcp = TcpSegment {
            src_port: 40_000,
            dst_port: 80,
            seq: 0,
            ack: 0,
            flags: TcpFlags(TcpFlags::SYN),
            header: &[],
            payload: &[],
            payload_len: 0,
        };
        let evidence = Evidence::frame(SourceId(0), 1, Timestamp::EPOCH);
        let packet = Packet {
            evidence,
            src: [192, 0, 2, host].into(),
            dst: [198, 51, 100, 1].into(),
            tag: NetworkTag::default(),
            macs: None,
            ip_len: 40,
            ip_id: 0,
            hop_limit: 64,
            overlapped: false,
            transport: Transport::Tcp(tcp),
        };
        let to = Addressed::of(&packet);
        let flow = Flow {
            id: FlowId(u64::from(host)),
            opener: to.src,
            responder: to.dst,
            opener_known: Opener::Seen,
            protocol: Protocol::TCP,
            tag: packet.tag,
            macs: None,
            first: evidence.timestamp,
            last: evidence.timestamp,
            first_payload: None,
            payload_bytes: [0; 2],
            packets: [1; 2],
            bytes: [0; 2],
            state: ConnectionState::Attempted,
            midstream: false,
            gap_bytes: 0,
            truncated: false,
            interest: Interest::Payload,
            unread: [0; 2],
            passed: [None; 2],
            user: (),
        };
        Entry::new(flow, &to, true, evidence)
    }

    #[test]
    fn idle_flow_is_small() {
        assert!(size_of::<Option<Entry<()>>>() <= 656);
    }

    #[test]
    fn lists_keep_the_order_of_last_sight() {
        let mut pool = Pool::new();
        let times = IdleTimes::default();
        let slots: Vec<_> = (0..3).filter_map(|host| pool.insert(entry(host), 0)).collect();
        pool.touch(slots[0], 5 * SECOND);
        assert_eq!(pool.least_valuable(), Some(slots[1]));
        assert_eq!(pool.idle(29 * SECOND, &times), None);
        assert_eq!(pool.idle(30 * SECOND, &times), Some(slots[1]));
        pool.remove(slots[1]);
        pool.remove(slots[2]);
        assert_eq!(pool.idle(34 * SECOND, &times), None);
        assert_eq!(pool.idle(35 * SECOND, &times), Some(slots[0]));
        assert_eq!(pool.len(), 1);
    }

    #[test]
    fn worth_moves_a_flow_between_lists() {
        let mut pool = Pool::new();
        let slots: Vec<_> = (0..2).filter_map(|host| pool.insert(entry(host), 0)).collect();
        assert_eq!(pool.surplus_attempt(1), Some(slots[0]));
        pool.get_mut(slots[0]).unwrap().flow.state = ConnectionState::Established;
        pool.touch(slots[0], 0);
        assert_eq!(pool.surplus_attempt(1), None);
        assert_eq!(pool.least_valuable(), Some(slots[1]));
        // Freed slots are used again.
        pool.remove(slots[1]);
        assert_eq!(pool.least_valuable(), Some(slots[0]));
        assert_eq!(pool.insert(entry(9), 0), Some(slots[1]));
    }
}
