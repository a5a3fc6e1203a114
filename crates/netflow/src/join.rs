//! All conversations under way, within a limit, and when each is told.

use std::collections::VecDeque;
use std::hash::BuildHasher;

use ahash::RandomState;
use hashbrown::HashTable;
use tw_model::{Evidence, FlowId, FlowRecord, Timestamp};

use crate::conversation::Conversation;
use crate::piece::{Key, Piece, pieces};
use crate::slab::Slab;
use crate::{Counters, Limits};

/// The sink of conversations: how it stands, and whether that is the last word.
pub(crate) type Tell<'a> = dyn FnMut(&Conversation, bool) + 'a;

/// Conversations by their ends. Those between the same ends are a chain, the earliest seen first.
#[derive(Debug)]
pub(crate) struct Join {
    /// The first of each chain.
    heads: HashTable<u32>,
    slab: Slab,
    hashes: RandomState,
    count: usize,
    pub(crate) next_id: u64,
    /// When a one-way record has waited long enough, when what changed is told again, and when a
    /// conversation is complete; all in about the order of time.
    waiting: VecDeque<Due>,
    /// Those on ports that matter, and all others.
    stale: [VecDeque<Due>; 2],
    lingering: VecDeque<Due>,
}

/// A record on its way in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Prepared {
    key: Key,
    piece: Piece,
    reverse: Option<Piece>,
    hash: u64,
}

/// A conversation that is to be looked at; its place may be another's by then.
#[derive(Clone, Copy, Debug)]
struct Due {
    at: Timestamp,
    place: u32,
    id: FlowId,
}

impl Join {
    pub(crate) fn new() -> Self {
        Self {
            heads: HashTable::new(),
            slab: Slab::default(),
            hashes: hashes(),
            count: 0,
            next_id: FIRST_ID,
            waiting: VecDeque::new(),
            stale: [VecDeque::new(), VecDeque::new()],
            lingering: VecDeque::new(),
        }
    }

    /// Makes a record ready to be taken: finds out where its conversation would be.
    pub(crate) fn prepare(&self, record: &FlowRecord, at: Evidence) -> Option<Prepared> {
        let (key, piece, reverse) = pieces(record, at)?;
        let hash = self.hashes.hash_one(key);
        Some(Prepared { key, piece, reverse, hash })
    }

    /// Looks at the conversations of all records of a datagram before any is changed: these looks do not
    /// depend on each other, so that memory is waited for once and not for each.
    pub(crate) fn look_ahead(&self, prepared: &[Prepared]) {
        let mut latest = Timestamp::EPOCH;
        for Prepared { key, hash, .. } in prepared {
            let is_its = |place: &u32| self.slab.get(*place).is_some_and(|c| c.key == *key);
            let head = self.heads.find(*hash, is_its);
            let touched = head.and_then(|place| self.slab.get(*place)).map(|c| c.end());
            latest = latest.max(touched.unwrap_or_default());
        }
        std::hint::black_box(latest);
    }

    /// Takes a record; returns the place of a conversation that is worth telling now, for both
    /// directions are there for the first time. One that was told is told again a while after something
    /// new came.
    pub(crate) fn push(
        &mut self,
        prepared: &Prepared,
        arrived: Timestamp,
        limits: &Limits,
        counters: &mut Counters,
    ) -> Option<u32> {
        let (mut new, place) = self.add(prepared, prepared.piece, arrived, limits)?;
        if let Some(reverse) = prepared.reverse {
            new |= self.add(prepared, reverse, arrived, limits)?.0;
        }
        if !new {
            counters.repeated += 1;
            return None;
        }
        let conversation = self.slab.get_mut(place)?;
        if conversation.told {
            if !std::mem::replace(&mut conversation.stale, true) {
                let [eager, others] = &mut self.stale;
                let matters = limits.matter(conversation.key.ends.map(|end| end.port));
                let (queue, wait) = if matters {
                    (eager, limits.tell_every)
                } else {
                    (others, limits.tell_others_every)
                };
                queue.push_back(Due { at: arrived.plus(wait), place, id: conversation.id });
            }
            return None;
        }
        conversation.told = conversation.is_both_ways();
        conversation.told.then_some(place)
    }

    /// Says whether the piece tells anything new, and the place of its conversation.
    fn add(
        &mut self,
        Prepared { key, hash, .. }: &Prepared,
        piece: Piece,
        arrived: Timestamp,
        limits: &Limits,
    ) -> Option<(bool, u32)> {
        let hash = *hash;
        let is_its = |place: &u32| self.slab.get(*place).is_some_and(|c| c.key == *key);
        let head = self.heads.find(hash, is_its).copied();
        let (mut next, mut last, mut len) = (head, None, 0);
        while let Some(place) = next {
            let conversation = self.slab.get_mut(place)?;
            if conversation.has_room_for(&piece) || len + 1 >= MAX_BETWEEN {
                return Some((conversation.add(piece, arrived), place));
            }
            (last, next, len) = (next, conversation.next, len + 1);
        }
        let id = FlowId(self.next_id);
        self.next_id = self.next_id.saturating_add(1);
        let place = self.insert(Conversation::new(id, *key, piece, arrived), hash, last)?;
        self.waiting.push_back(Due { at: arrived.plus(limits.pair_wait), place, id });
        self.lingering.push_back(Due { at: arrived.plus(limits.linger), place, id });
        Some((true, place))
    }

    /// Puts a conversation behind the last of its chain, or makes it the first of one.
    fn insert(&mut self, conversation: Conversation, hash: u64, last: Option<u32>) -> Option<u32> {
        let place = self.slab.insert(conversation)?;
        self.count += 1;
        if let Some(last) = last {
            self.slab.get_mut(last)?.next = Some(place);
            return Some(place);
        }
        let Self { heads, slab, hashes, .. } = self;
        let rehash = |place: &u32| slab.get(*place).map_or(0, |c| hashes.hash_one(c.key));
        heads.insert_unique(hash, place, rehash);
        Some(place)
    }

    /// Takes a conversation out of its chain; its place is free after that.
    fn remove(&mut self, place: u32) {
        let Some(gone) = self.slab.get(place) else { return };
        let (key, next) = (gone.key, gone.next);
        let hash = self.hashes.hash_one(key);
        let Self { heads, slab, .. } = self;
        let is_its = |head: &u32| slab.get(*head).is_some_and(|c| c.key == key);
        if let Ok(entry) = heads.find_entry(hash, is_its) {
            let mut before = *entry.get();
            match next {
                Some(next) if before == place => *entry.into_mut() = next,
                None if before == place => drop(entry.remove()),
                _ => {
                    while let Some(conversation) = slab.get_mut(before) {
                        match conversation.next {
                            Some(found) if found == place => {
                                conversation.next = next;
                                break;
                            }
                            Some(after) => before = after,
                            None => break,
                        }
                    }
                }
            }
        }
        slab.remove(place);
        self.count -= 1;
    }

    /// How many conversations are under way.
    pub(crate) const fn len(&self) -> usize {
        self.count
    }

    /// All conversations under way, in no order.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Conversation> {
        self.heads.iter().flat_map(|head| {
            std::iter::successors(self.slab.get(*head), |c| self.slab.get(c.next?))
        })
    }

    /// A conversation under way.
    pub(crate) fn get(&self, place: u32) -> Option<&Conversation> {
        self.slab.get(place)
    }

    /// The conversation that is due, unless its place is another's by now.
    fn still(&mut self, due: Due) -> Option<&mut Conversation> {
        self.slab.get_mut(due.place).filter(|conversation| conversation.id == due.id)
    }

    /// Tells and forgets those that were seen first, down to the limit.
    pub(crate) fn trim(&mut self, limits: &Limits, counters: &mut Counters, tell: &mut Tell<'_>) {
        while self.count > limits.conversations {
            let Some(due) = self.lingering.pop_front() else { return };
            if let Some(conversation) = self.still(due) {
                counters.conversations_lost += 1;
                tell(conversation, true);
                conversation.id = GONE;
                self.remove(due.place);
            }
        }
        let [eager, others] = &mut self.stale;
        for queue in [&mut self.waiting, eager, others] {
            while queue.len() > limits.conversations.saturating_mul(2) {
                queue.pop_front();
            }
        }
    }

    /// Time passed: tells what waited for its other direction long enough and what changed, and closes
    /// what is complete.
    pub(crate) fn advance(&mut self, now: Timestamp, limits: &Limits, tell: &mut Tell<'_>) {
        while let Some(due) = self.waiting.pop_front_if(|due| due.at <= now) {
            let Some(conversation) = self.still(due).filter(|c| !c.told) else { continue };
            let at = conversation.touched.plus(limits.pair_wait);
            if at <= now {
                conversation.told = true;
                tell(conversation, false);
            } else {
                self.waiting.push_back(Due { at, ..due });
            }
        }
        for queue in 0..self.stale.len() {
            while let Some(due) = self.next_stale(queue, now) {
                if let Some(conversation) = self.still(due)
                    && std::mem::take(&mut conversation.stale)
                {
                    tell(conversation, false);
                }
            }
        }
        while let Some(due) = self.lingering.pop_front_if(|due| due.at <= now) {
            let Some(conversation) = self.still(due) else { continue };
            let at = conversation.touched.plus(limits.linger);
            if at <= now {
                tell(conversation, true);
                conversation.id = GONE;
                self.remove(due.place);
            } else {
                self.lingering.push_back(Due { at, ..due });
            }
        }
    }

    fn next_stale(&mut self, queue: usize, now: Timestamp) -> Option<Due> {
        self.stale.get_mut(queue)?.pop_front_if(|due| due.at <= now)
    }

    /// Takes back a conversation that was saved, the longest silent first.
    pub(crate) fn restore(&mut self, conversation: Conversation, limits: &Limits) {
        let (id, touched, told) = (conversation.id, conversation.touched, conversation.told);
        let hash = self.hashes.hash_one(conversation.key);
        let is_its = |place: &u32| self.slab.get(*place).is_some_and(|c| c.key == conversation.key);
        let mut last = self.heads.find(hash, is_its).copied();
        let mut len = 0;
        while let Some(next) = last.and_then(|place| self.slab.get(place)).and_then(|c| c.next) {
            (last, len) = (Some(next), len + 1);
        }
        if len + 1 >= MAX_BETWEEN && last.is_some() {
            return;
        }
        let Some(place) = self.insert(Conversation { next: None, ..conversation }, hash, last)
        else {
            return;
        };
        if !told {
            self.waiting.push_back(Due { at: touched.plus(limits.pair_wait), place, id });
        }
        self.lingering.push_back(Due { at: touched.plus(limits.linger), place, id });
    }

    /// End of input: all that is left, in the order in which it was seen first.
    pub(crate) fn finish(&mut self, tell: &mut Tell<'_>) {
        let mut all: Vec<&Conversation> = self.all().collect();
        all.sort_unstable_by_key(|conversation| conversation.id);
        for conversation in all {
            tell(conversation, true);
        }
        *self = Self { next_id: self.next_id, ..Self::new() };
    }
}

/// Hashes that nobody outside can foresee, so that no sender can make all conversations fall together.
fn hashes() -> RandomState {
    let draw = || std::hash::RandomState::new().hash_one(0_u8);
    RandomState::with_seeds(draw(), draw(), draw(), draw())
}

/// Conversations between the same ports at a time; what would be one more is taken for the latest.
const MAX_BETWEEN: usize = 16;
/// Far above what packets of the same run are numbered with.
const FIRST_ID: u64 = 1 << 48;
/// Of no conversation: in a place that is free.
const GONE: FlowId = FlowId(0);
