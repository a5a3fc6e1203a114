//! The conversations between the same ends, of which there mostly is one.

use crate::conversation::Conversation;

#[derive(Debug, Default)]
pub(crate) enum List {
    /// None, for a moment.
    #[default]
    Empty,
    /// One.
    One(Box<Conversation>),
    /// Several.
    Many(Vec<Conversation>),
}

impl List {
    pub(crate) fn as_slice(&self) -> &[Conversation] {
        match self {
            Self::Empty => &[],
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many,
        }
    }

    pub(crate) fn as_mut_slice(&mut self) -> &mut [Conversation] {
        match self {
            Self::Empty => &mut [],
            Self::One(one) => std::slice::from_mut(one),
            Self::Many(many) => many,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.as_slice().len()
    }

    pub(crate) fn push(&mut self, conversation: Conversation) {
        *self = match std::mem::take(self) {
            Self::Empty => Self::One(Box::new(conversation)),
            Self::One(one) => Self::Many(vec![*one, conversation]),
            Self::Many(mut many) => {
                many.push(conversation);
                Self::Many(many)
            }
        }
    }

    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&Conversation) -> bool) {
        match self {
            Self::Empty => {}
            Self::One(one) if keep(one) => {}
            Self::One(_) => *self = Self::Empty,
            Self::Many(many) => many.retain(keep),
        }
    }
}
