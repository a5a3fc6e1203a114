//! All conversations under way, within a limit, and when each is told.

use std::collections::{HashMap, VecDeque};

use tw_model::{Evidence, FlowId, FlowRecord, Timestamp};

use crate::conversation::Conversation;
use crate::piece::{Key, Piece, pieces};
use crate::{Counters, Limits};

/// The sink of conversations: how it stands, and whether that is the last word.
pub(crate) type Tell<'a> = dyn FnMut(&Key, &Conversation, bool) + 'a;

/// Conversations by their ends.
#[derive(Debug)]
pub(crate) struct Join {
    pub(crate) by_key: HashMap<Key, Vec<Conversation>>,
    count: usize,
    pub(crate) next_id: u64,
    /// When a one-way record has waited long enough, when what changed is told again, and when a
    /// conversation is complete; all in about the order of time.
    waiting: VecDeque<(Timestamp, Key)>,
    stale: VecDeque<(Timestamp, Key)>,
    lingering: VecDeque<(Timestamp, Key)>,
}

impl Join {
    pub(crate) fn new() -> Self {
        Self {
            by_key: HashMap::new(),
            count: 0,
            next_id: FIRST_ID,
            waiting: VecDeque::new(),
            stale: VecDeque::new(),
            lingering: VecDeque::new(),
        }
    }

    /// Takes a record; returns whose conversation is worth telling now, for both directions are there
    /// for the first time. One that was told is told again a while after something new came.
    pub(crate) fn push(
        &mut self,
        record: &FlowRecord,
        at: Evidence,
        arrived: Timestamp,
        limits: &Limits,
        counters: &mut Counters,
    ) -> Option<(Key, FlowId)> {
        let Some((key, piece, reverse)) = pieces(record, at) else {
            counters.unjoined += 1;
            return None;
        };
        let mut new = self.add(&key, piece, arrived, limits);
        if let Some(reverse) = reverse {
            new |= self.add(&key, reverse, arrived, limits);
        }
        counters.repeated += u64::from(!new);
        let list = self.by_key.get_mut(&key).filter(|_| new)?;
        let conversation = list.iter_mut().find(|c| c.has_room_for(&key, &piece))?;
        if conversation.told {
            if !std::mem::replace(&mut conversation.stale, true) {
                self.stale.push_back((arrived.plus(limits.tell_every), key));
            }
            return None;
        }
        conversation.told = conversation.is_both_ways();
        conversation.told.then_some((key, conversation.id))
    }

    /// How many conversations are under way.
    pub(crate) const fn len(&self) -> usize {
        self.count
    }

    /// All conversations under way, in no order.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&Key, &Conversation)> {
        self.by_key.iter().flat_map(|(key, list)| list.iter().map(move |one| (key, one)))
    }

    /// A conversation under way.
    pub(crate) fn get(&self, key: &Key, id: FlowId) -> Option<&Conversation> {
        self.by_key.get(key)?.iter().find(|conversation| conversation.id == id)
    }

    /// Tells and forgets those that were seen first, down to the limit.
    pub(crate) fn trim(&mut self, limits: &Limits, counters: &mut Counters, tell: &mut Tell<'_>) {
        while self.count > limits.conversations && self.give_up_one(counters, tell) {}
        while self.waiting.len() > limits.conversations {
            self.waiting.pop_front();
        }
        while self.stale.len() > limits.conversations.saturating_mul(2) {
            self.stale.pop_front();
        }
    }

    fn add(&mut self, key: &Key, piece: Piece, arrived: Timestamp, limits: &Limits) -> bool {
        let list = self.by_key.entry(*key).or_default();
        let place = list.iter().position(|c| c.has_room_for(key, &piece));
        let full = list.len() >= MAX_BETWEEN;
        let known = place.or_else(|| full.then(|| list.len() - 1));
        if let Some(known) = known.and_then(|index| list.get_mut(index)) {
            return known.add(piece, arrived, limits.pieces);
        }
        let id = FlowId(self.next_id);
        self.next_id = self.next_id.saturating_add(1);
        list.push(Conversation::new(id, piece, arrived));
        self.count += 1;
        self.waiting.push_back((arrived.plus(limits.pair_wait), *key));
        self.lingering.push_back((arrived.plus(limits.linger), *key));
        true
    }

    /// Time passed: tells what waited for its other direction long enough, and closes what is complete.
    pub(crate) fn advance(&mut self, now: Timestamp, limits: &Limits, tell: &mut Tell<'_>) {
        while let Some((due, key)) = self.waiting.front().copied()
            && due <= now
        {
            self.waiting.pop_front();
            for conversation in self.by_key.get_mut(&key).into_iter().flatten() {
                if !conversation.told && conversation.touched.plus(limits.pair_wait) <= now {
                    conversation.told = true;
                    tell(&key, conversation, false);
                }
            }
        }
        while let Some((due, key)) = self.stale.front().copied()
            && due <= now
        {
            self.stale.pop_front();
            for conversation in self.by_key.get_mut(&key).into_iter().flatten() {
                if std::mem::take(&mut conversation.stale) {
                    tell(&key, conversation, false);
                }
            }
        }
        while let Some((due, key)) = self.lingering.front().copied()
            && due <= now
        {
            self.lingering.pop_front();
            self.close(&key, now, limits, tell);
        }
    }

    fn close(&mut self, key: &Key, now: Timestamp, limits: &Limits, tell: &mut Tell<'_>) {
        let Some(list) = self.by_key.get_mut(key) else { return };
        let before = list.len();
        list.retain(|conversation| {
            let done = conversation.touched.plus(limits.linger) <= now;
            if done {
                tell(key, conversation, true);
            }
            !done
        });
        self.count -= before - list.len();
        match list.iter().map(|conversation| conversation.touched).min() {
            Some(oldest) => self.lingering.push_back((oldest.plus(limits.linger), *key)),
            None => drop(self.by_key.remove(key)),
        }
    }

    /// Tells the conversations between the ends that were seen first, and forgets them.
    fn give_up_one(&mut self, counters: &mut Counters, tell: &mut Tell<'_>) -> bool {
        let Some((_, key)) = self.lingering.pop_front() else { return false };
        for conversation in self.by_key.remove(&key).into_iter().flatten() {
            self.count -= 1;
            counters.conversations_lost += 1;
            tell(&key, &conversation, true);
        }
        true
    }

    /// Takes back a conversation that was saved, the longest silent first.
    pub(crate) fn restore(&mut self, key: Key, conversation: Conversation, limits: &Limits) {
        let touched = conversation.touched;
        if !conversation.told {
            self.waiting.push_back((touched.plus(limits.pair_wait), key));
        }
        self.lingering.push_back((touched.plus(limits.linger), key));
        self.by_key.entry(key).or_default().push(conversation);
        self.count += 1;
    }

    /// End of input: all that is left, in the order in which it was seen first.
    pub(crate) fn finish(&mut self, tell: &mut Tell<'_>) {
        let all = std::mem::take(&mut self.by_key);
        let flat = all.into_iter().flat_map(|(key, list)| list.into_iter().map(move |c| (key, c)));
        let mut all: Vec<_> = flat.collect();
        all.sort_unstable_by_key(|(_, conversation)| conversation.id);
        for (key, conversation) in &all {
            tell(key, conversation, true);
        }
        self.count = 0;
        self.waiting.clear();
        self.stale.clear();
        self.lingering.clear();
    }
}

/// Conversations between the same ports at a time; what would be one more is taken for the latest.
const MAX_BETWEEN: usize = 16;
/// Far above what packets of the same run are numbered with.
const FIRST_ID: u64 = 1 << 48;
