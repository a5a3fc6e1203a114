//! Places for conversations, by number: they never move, and a place that was given back is used again.

use crate::conversation::Conversation;

/// Conversations by their place.
#[derive(Debug, Default)]
pub(crate) struct Slab {
    /// Blocks of one size, so that growing copies nothing.
    blocks: Vec<Vec<Conversation>>,
    free: Vec<u32>,
}

/// A power of two.
const BLOCK: usize = 1 << 10;

impl Slab {
    pub(crate) fn get(&self, place: u32) -> Option<&Conversation> {
        let place = usize::try_from(place).ok()?;
        self.blocks.get(place / BLOCK)?.get(place % BLOCK)
    }

    pub(crate) fn get_mut(&mut self, place: u32) -> Option<&mut Conversation> {
        let place = usize::try_from(place).ok()?;
        self.blocks.get_mut(place / BLOCK)?.get_mut(place % BLOCK)
    }

    /// Puts a conversation in a place; nothing where there are more than can be numbered.
    pub(crate) fn insert(&mut self, conversation: Conversation) -> Option<u32> {
        if let Some(place) = self.free.pop() {
            *self.get_mut(place)? = conversation;
            return Some(place);
        }
        if self.blocks.last().is_none_or(|block| block.len() >= BLOCK) {
            self.blocks.push(Vec::with_capacity(BLOCK));
        }
        let before = self.blocks.len().checked_sub(1)?.checked_mul(BLOCK)?;
        let block = self.blocks.last_mut()?;
        let place = u32::try_from(before.checked_add(block.len())?).ok()?;
        block.push(conversation);
        Some(place)
    }

    /// Gives a place back; what is in it is nobody's any more.
    pub(crate) fn remove(&mut self, place: u32) {
        self.free.push(place);
    }
}
