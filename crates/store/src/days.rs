//! The UTC days on which something was seen, as runs of consecutive days.
//!
//! A set and not a count: counts cannot be merged without counting a day twice, and a count cannot
//! say how things stood on an earlier day. A day costs four bytes, and so does a whole month.

use std::ops::RangeInclusive;

/// Days older than this before the latest one are dropped: about twice the longest useful
/// `forget_after`, and what bounds the set to 256 runs.
const KEPT_DAYS: i32 = 511;
/// Added before encoding, so that days before 1970 are positive too.
const OFFSET: i64 = 1 << 20;

/// A set of UTC days since the epoch. Merging is commutative, associative and idempotent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Days {
    runs: Runs,
}

/// Sorted, disjoint and not adjacent. One run needs no memory of its own: most sets never have more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Runs {
    #[default]
    None,
    One((i32, i32)),
    More(Vec<(i32, i32)>),
}

impl Runs {
    fn as_slice(&self) -> &[(i32, i32)] {
        match self {
            Self::None => &[],
            Self::One(run) => std::slice::from_ref(run),
            Self::More(runs) => runs,
        }
    }
}

impl From<Vec<(i32, i32)>> for Runs {
    fn from(runs: Vec<(i32, i32)>) -> Self {
        match *runs {
            [] => Self::None,
            [run] => Self::One(run),
            _ => Self::More(runs),
        }
    }
}

/// The latest days of a set that follow each other without a gap longer than `forget_after`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stretch {
    /// First day.
    pub(crate) first: i32,
    /// Last day, at or before the day asked about.
    pub(crate) last: i32,
    /// How many days of it are in the set.
    pub(crate) count: u32,
}

impl Days {
    /// Adds one day.
    pub(crate) fn insert(&mut self, day: i32) {
        match self.runs.as_slice() {
            [] => self.runs = Runs::One((day, day)),
            [.., (first, last)] if *first <= day && day <= *last => {}
            _ => self.add(&[(day, day)]),
        }
    }

    /// Adds all days of another set.
    pub(crate) fn merge(&mut self, other: &Self) {
        if other.runs != Runs::None && self != other {
            self.add(other.runs.as_slice());
        }
    }

    fn add(&mut self, runs: &[(i32, i32)]) {
        let mut runs = [self.runs.as_slice(), runs].concat();
        runs.sort_unstable();
        let mut joined: Vec<(i32, i32)> = Vec::with_capacity(runs.len());
        for &(first, last) in &runs {
            match joined.last_mut() {
                Some(run) if first <= run.1.saturating_add(1) => run.1 = run.1.max(last),
                _ => joined.push((first, last)),
            }
        }
        let oldest = joined.last().map_or(0, |run| run.1.saturating_sub(KEPT_DAYS));
        joined.retain(|run| run.1 >= oldest);
        if let Some(run) = joined.first_mut() {
            run.0 = run.0.max(oldest);
        }
        self.runs = joined.into();
    }

    /// How many days.
    pub(crate) fn count(&self) -> u32 {
        self.runs.as_slice().iter().map(|&(first, last)| length(first, last)).sum()
    }

    /// The runs, in order.
    pub(crate) fn runs(&self) -> impl Iterator<Item = RangeInclusive<i32>> + '_ {
        self.runs.as_slice().iter().map(|&(first, last)| first..=last)
    }

    /// The stretch of days at or before `day` in which no gap is longer than `gap` days; `None` if
    /// nothing was seen by then, or not within `gap` before it.
    pub(crate) fn stretch(&self, day: i32, gap: i32) -> Option<Stretch> {
        let mut found: Option<Stretch> = None;
        for &(first, last) in self.runs.as_slice().iter().rev().filter(|run| run.0 <= day) {
            let last = last.min(day);
            let next = found.map_or(day, |stretch| stretch.first);
            if next.saturating_sub(last) > gap {
                break;
            }
            let stretch = found.get_or_insert(Stretch { first, last, count: 0 });
            stretch.first = first;
            stretch.count = stretch.count.saturating_add(length(first, last));
        }
        found
    }

    /// LEB128 numbers: the first day, its run's further days, then gap and further days.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut previous = -OFFSET;
        for &(first, last) in self.runs.as_slice() {
            put(&mut out, i64::from(first).saturating_sub(previous));
            put(&mut out, i64::from(last).saturating_sub(i64::from(first)));
            previous = i64::from(last);
        }
        out
    }

    /// The reverse of [`Days::encode`]; `None` if the bytes are no such thing.
    pub(crate) fn decode(mut bytes: &[u8]) -> Option<Self> {
        let mut runs = Vec::new();
        let mut previous = -OFFSET;
        while !bytes.is_empty() {
            let first = previous.checked_add(take(&mut bytes)?)?;
            let last = first.checked_add(take(&mut bytes)?)?;
            runs.push((i32::try_from(first).ok()?, i32::try_from(last).ok()?));
            previous = last;
        }
        let mut days = Self::default();
        days.add(&runs);
        Some(days)
    }
}

impl FromIterator<RangeInclusive<i32>> for Days {
    fn from_iter<T: IntoIterator<Item = RangeInclusive<i32>>>(runs: T) -> Self {
        let runs = runs.into_iter().filter(|run| !run.is_empty());
        let runs: Vec<_> = runs.map(|run| (*run.start(), *run.end())).collect();
        let mut days = Self::default();
        days.add(&runs);
        days
    }
}

fn length(first: i32, last: i32) -> u32 {
    last.abs_diff(first).saturating_add(1)
}

fn put(out: &mut Vec<u8>, value: i64) {
    let mut rest = value.unsigned_abs();
    while rest >= 0x80 {
        out.push(u8::try_from(rest & 0x7f).unwrap_or(0) | 0x80);
        rest >>= 7;
    }
    out.push(u8::try_from(rest).unwrap_or(0));
}

fn take(bytes: &mut &[u8]) -> Option<i64> {
    let mut value = 0_i64;
    for shift in [0, 7, 14, 21, 28] {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= i64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::testing::Random;

    fn days(list: &[i32]) -> Days {
        list.iter().map(|&day| day..=day).collect()
    }

    #[test]
    fn agrees_with_a_plain_set() {
        let mut random = Random::new(7);
        for _ in 0..300 {
            let list: Vec<i32> =
                (0..random.below(60)).map(|_| 20_000 + random.below_i32(500)).collect();
            let mut one_by_one = Days::default();
            list.iter().for_each(|&day| one_by_one.insert(day));
            let model: BTreeSet<i32> = list.iter().copied().collect();
            assert_eq!(one_by_one, days(&list));
            assert_eq!(one_by_one.runs().flatten().collect::<Vec<_>>(), Vec::from_iter(model));
            assert_eq!(Days::decode(&one_by_one.encode()), Some(one_by_one));
        }
    }

    #[test]
    fn merging_is_commutative_associative_and_idempotent_even_where_old_days_drop() {
        let mut random = Random::new(11);
        let set = |random: &mut Random| -> Days {
            (0..random.below(40)).map(|_| random.below_i32(2_000)).map(|day| day..=day).collect()
        };
        let merged = |sets: &[&Days]| {
            sets.iter().fold(Days::default(), |mut all, set| {
                all.merge(set);
                all
            })
        };
        for _ in 0..300 {
            let (a, b, c) = (set(&mut random), set(&mut random), set(&mut random));
            assert_eq!(merged(&[&a, &b, &c]), merged(&[&c, &a, &b, &a, &c]));
            assert_eq!(merged(&[&a, &merged(&[&b, &c])]), merged(&[&merged(&[&a, &b]), &c]));
        }
    }

    #[test]
    fn a_stretch_ends_at_a_gap_and_at_the_day_asked_about() {
        let set = days(&[10, 11, 50, 60, 61]);
        let stretch = |first, last, count| Some(Stretch { first, last, count });
        assert_eq!(set.stretch(61, 20), stretch(50, 61, 3));
        assert_eq!(set.stretch(61, 39), stretch(10, 61, 5));
        assert_eq!(set.stretch(60, 20), stretch(50, 60, 2));
        assert_eq!(set.stretch(55, 20), stretch(50, 50, 1));
        assert_eq!(set.stretch(31, 20), stretch(10, 11, 2));
        assert_eq!(set.stretch(32, 20), None);
        assert_eq!(set.stretch(9, 20), None);
    }

    #[test]
    fn a_set_has_a_limit_and_damaged_bytes_are_no_set() {
        let alternating: Days = (0..5_000).map(|day| day * 2..=day * 2).collect();
        assert_eq!(alternating.runs().count(), 256);
        assert_eq!(Days::decode(&[0x80]), None);
        assert_eq!(Days::decode(&[0xff; 6]), None);
        assert_eq!(Days::decode(&[1]), None);
        assert_eq!(Days::decode(&[]), Some(Days::default()));
    }
}
