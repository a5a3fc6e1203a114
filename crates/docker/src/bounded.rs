//! A map that never holds more than its limit: the entry that came first goes first.

use std::collections::{BTreeMap, VecDeque};

/// A map with a limit.
pub(crate) struct Bounded<K, V> {
    map: BTreeMap<K, V>,
    order: VecDeque<K>,
    limit: usize,
    evicted: u64,
}

impl<K: Ord + Clone, V: Default> Bounded<K, V> {
    /// The value of `key`, made now if there is none.
    pub(crate) fn entry(&mut self, key: &K) -> &mut V {
        if !self.contains(key) {
            self.insert(key.clone(), V::default());
        }
        self.map.entry(key.clone()).or_default()
    }
}

impl<K: Ord + Clone, V> Bounded<K, V> {
    /// An empty map that holds `limit` entries, at least one.
    pub(crate) fn new(limit: usize) -> Self {
        let limit = limit.max(1);
        Self { map: BTreeMap::new(), order: VecDeque::new(), limit, evicted: 0 }
    }

    /// The value of `key`.
    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        self.map.get(key)
    }

    /// The value of `key`.
    pub(crate) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.map.get_mut(key)
    }

    /// Is there a value of `key`?
    pub(crate) fn contains(&self, key: &K) -> bool {
        self.map.contains_key(key)
    }

    /// Takes the value of `key` out.
    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        let value = self.map.remove(key);
        // Keys that were removed stay in the queue until they outnumber the live ones.
        if self.order.len() > self.map.len().saturating_mul(2).saturating_add(64) {
            self.order.retain(|key| self.map.contains_key(key));
        }
        value
    }

    /// Sets the value of `key`; gives the entry that had to go, if any.
    pub(crate) fn insert(&mut self, key: K, value: V) -> Option<(K, V)> {
        if self.map.insert(key.clone(), value).is_some() {
            return None;
        }
        self.order.push_back(key);
        if self.map.len() <= self.limit {
            return None;
        }
        while let Some(oldest) = self.order.pop_front() {
            if let Some(value) = self.map.remove(&oldest) {
                self.evicted = self.evicted.saturating_add(1);
                return Some((oldest, value));
            }
        }
        None
    }

    /// Entries in the order of their keys.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.map.iter()
    }

    /// Entries that had to go so far.
    pub(crate) const fn evicted(&self) -> u64 {
        self.evicted
    }

    /// Entries now.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.map.len()
    }

    /// No entries?
    pub(crate) fn is_empty(&self) -> bool {
        self.map.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::Bounded;

    #[test]
    fn oldest_goes_first_and_is_counted() {
        let mut map = Bounded::new(2);
        assert_eq!(map.insert(1, 'a'), None);
        assert_eq!(map.insert(2, 'b'), None);
        assert_eq!(map.insert(2, 'c'), None);
        assert_eq!(map.insert(3, 'd'), Some((1, 'a')));
        assert_eq!((map.len(), map.evicted()), (2, 1));
        assert_eq!(map.get(&2), Some(&'c'));
    }

    #[test]
    fn queue_of_removed_keys_stays_short() {
        let mut map = Bounded::new(8);
        for key in 0..10_000 {
            map.insert(key, ());
            map.remove(&key);
        }
        assert!(map.is_empty());
        assert!(map.order.len() <= 65);
    }
}
