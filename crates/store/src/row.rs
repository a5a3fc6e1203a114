//! One remembered thing in one scope, and what it means for a question at a packet's time.
//!
//! Every field only grows under merging (earliest, latest, union), so rows can be merged in any
//! order and any number of times, and late or repeated facts change nothing. Judging is a function
//! of the row and the time asked about: only contacts before that time count, so that a replay over
//! a store that has gone on since gets the answers of back then.

use std::net::IpAddr;
use std::time::Duration;

use tw_detect::Knowledge;
use tw_model::{Timestamp, Via};

use crate::days::{Days, Stretch};
use crate::options::Rules;

const DAY: Duration = Duration::from_secs(86_400);
const DAY_NANOS: i64 = 86_400_000_000_000;

/// How a thing came into the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// Seen on the network.
    Observed,
    /// Seen in a baseline that the operator gave to `learn`.
    Learned,
    /// In a list that the operator imported.
    Imported,
    /// The operator accepted it by name.
    Accepted,
}

impl How {
    /// In the order of their bits.
    pub(crate) const ALL: [Self; 4] =
        [Self::Observed, Self::Learned, Self::Imported, Self::Accepted];

    pub(crate) const fn bit(self) -> u8 {
        match self {
            Self::Observed => 1,
            Self::Learned => 2,
            Self::Imported => 4,
            Self::Accepted => 8,
        }
    }

    /// Whether it makes a baseline of its axis.
    pub(crate) const fn is_baseline(self) -> bool {
        matches!(self, Self::Learned | Self::Imported)
    }

    /// The word used in exports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Observed => "observed",
            Self::Learned => "learned",
            Self::Imported => "imported",
            Self::Accepted => "accepted",
        }
    }
}

/// Bits of what contacts were seen in.
const IN_PACKETS: u8 = 32;
const IN_RECORDS: u8 = 64;
/// Bit of a thing that stands in a finding of medium or above.
const IN_FINDING: u8 = 16;
/// Bits that make a thing known because the operator said so.
const TOLD: u8 = 2 | 4 | 8;
/// Bits of what the operator names for the whole environment; a baseline tells of each host.
const TOLD_FOR_ALL: u8 = 4 | 8;
/// Bits that make a baseline.
pub(crate) const BASELINE: u8 = 2 | 4;
const ALL_MARKS: u8 = 127;

/// One remembered thing in one scope.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) first_seen: Option<Timestamp>,
    pub(crate) first_seen_by: Option<IpAddr>,
    pub(crate) last_seen: Option<Timestamp>,
    /// When the operator last learned, imported or accepted it.
    pub(crate) told_at: Option<Timestamp>,
    pub(crate) days: Days,
    /// Only [`Row::set_marks`] takes them from outside.
    pub(crate) marks: u8,
}

impl Row {
    /// A statement of the operator without a contact.
    pub(crate) fn told(at: Timestamp, how: How) -> Self {
        let told_at = (how != How::Observed).then_some(at);
        Self { told_at, marks: how.bit(), ..Self::default() }
    }

    /// A thing that stands in a finding.
    pub(crate) fn in_a_finding() -> Self {
        Self { marks: IN_FINDING, ..Self::default() }
    }

    /// Adds a contact without allocating on a day that is already in.
    pub(crate) fn touch(&mut self, at: Timestamp, by: IpAddr, how: How, via: Via) {
        self.earlier_first(Some(at), Some(by));
        self.last_seen = self.last_seen.max(Some(at));
        if how != How::Observed {
            self.told_at = self.told_at.max(Some(at));
        }
        self.days.insert(day(at));
        self.marks |= how.bit() | via_bit(via);
    }

    /// Takes all that another row of the same thing knows.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.earlier_first(other.first_seen, other.first_seen_by);
        self.last_seen = self.last_seen.max(other.last_seen);
        self.told_at = self.told_at.max(other.told_at);
        self.days.merge(&other.days);
        self.marks |= other.marks;
    }

    fn earlier_first(&mut self, at: Option<Timestamp>, by: Option<IpAddr>) {
        let Some(theirs) = at else { return };
        let earlier = self.first_seen.is_none_or(|ours| theirs < ours);
        let same = self.first_seen == at;
        if earlier
            || (same && by.is_some() && self.first_seen_by.is_none_or(|ours| by < Some(ours)))
        {
            self.first_seen = at;
            self.first_seen_by = by;
        }
    }

    /// The marks as they are stored.
    pub(crate) const fn marks(&self) -> u8 {
        self.marks
    }

    /// Marks from disk or an export; bits that mean nothing are dropped.
    pub(crate) const fn set_marks(&mut self, marks: u8) {
        self.marks = marks & ALL_MARKS;
    }

    /// In which ways it came into the store.
    pub(crate) fn how(&self) -> impl Iterator<Item = How> + '_ {
        How::ALL.into_iter().filter(|how| self.marks & how.bit() != 0)
    }

    /// In what contacts were seen; nothing for rows that were made before this was noted.
    pub(crate) fn via(&self) -> impl Iterator<Item = Via> + '_ {
        VIAS.into_iter().filter(|via| self.marks & via_bit(*via) != 0)
    }

    /// Contacts were seen in this.
    pub(crate) const fn add_via(&mut self, via: Via) {
        self.marks |= via_bit(via);
    }

    /// Whether it stands in a finding of medium or above.
    pub(crate) const fn is_in_finding(&self) -> bool {
        self.marks & IN_FINDING != 0
    }

    /// How it stands at a packet's time. `in_finding` is the environment's word and also holds for
    /// the rows of its hosts.
    pub(crate) fn standing(&self, in_finding: bool, at: Timestamp, rules: &Rules) -> Knowledge {
        let gap = whole_days(rules.forget_after);
        let stretch = self.days.stretch(self.day_asked(at), gap);
        if self.is_told(at, stretch, gap, rules) {
            return Knowledge::Known;
        }
        let Some(stretch) = stretch else { return Knowledge::Never };
        let (first_seen, first_seen_by, settled) = self.start_of(stretch);
        let last = self.last_seen.filter(|&last| day(last) == stretch.last);
        if first_seen >= at || last.is_some_and(|last| at.since(last) > rules.forget_after) {
            return Knowledge::Never;
        }
        let old_enough = at.since(settled) >= rules.known_after && settled <= at;
        if stretch.count >= rules.known_days && old_enough && !in_finding {
            return Knowledge::Known;
        }
        Knowledge::Touched { first_seen, first_seen_by }
    }

    /// Whether the operator told it for the whole environment, and that still counts.
    pub(crate) fn is_told_for_all(&self, at: Timestamp, rules: &Rules) -> bool {
        let gap = whole_days(rules.forget_after);
        let stretch = self.days.stretch(self.day_asked(at), gap);
        self.marks & TOLD_FOR_ALL != 0 && self.is_told(at, stretch, gap, rules)
    }

    /// The last day that may count: the day of `at`, but the day before where all that is known of
    /// the day of `at` may not have come before it.
    fn day_asked(&self, at: Timestamp) -> i32 {
        let today = day(at);
        let later = self.last_seen.is_some_and(|last| last >= at);
        let begun = self.first_seen.is_some_and(|first| first < at && day(first) == today);
        if later && !begun { today.saturating_sub(1) } else { today }
    }

    /// Whether the operator's word still counts: it is not older than `forget_after`, or contacts
    /// without a longer gap lead from it to `at`.
    fn is_told(&self, at: Timestamp, stretch: Option<Stretch>, gap: i32, rules: &Rules) -> bool {
        let Some(told_at) = self.told_at.filter(|_| self.marks & TOLD != 0) else { return false };
        at.since(told_at) <= rules.forget_after
            || stretch.is_some_and(|stretch| {
                stretch.first.saturating_sub(day(told_at)) <= gap
                    && day(at).saturating_sub(stretch.last) <= gap
            })
    }

    /// First contact of a stretch, by whom, and the moment from which it surely lasted: where older
    /// contacts are forgotten only the day of the first remembered one is known.
    fn start_of(&self, stretch: Stretch) -> (Timestamp, Option<IpAddr>, Timestamp) {
        match self.first_seen {
            Some(first) if day(first) == stretch.first => (first, self.first_seen_by, first),
            _ => {
                let start = i64::from(stretch.first).saturating_mul(DAY_NANOS);
                let start = Timestamp::from_nanos(start);
                (start, None, start.plus(DAY))
            }
        }
    }
}

/// In the order in which they are told.
pub(crate) const VIAS: [Via; 2] = [Via::Packets, Via::Netflow];

const fn via_bit(via: Via) -> u8 {
    match via {
        Via::Packets => IN_PACKETS,
        Via::Netflow => IN_RECORDS,
    }
}

/// The word used in exports.
pub(crate) const fn via_word(via: Via) -> &'static str {
    match via {
        Via::Packets => "packets",
        Via::Netflow => "netflow",
    }
}

/// The UTC day of a moment. The whole range of `Timestamp` is within ±106,752 days.
pub(crate) fn day(at: Timestamp) -> i32 {
    i32::try_from(at.utc_day()).unwrap_or(i32::MAX)
}

fn whole_days(duration: Duration) -> i32 {
    i32::try_from(duration.as_secs().div_ceil(DAY.as_secs())).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests;
