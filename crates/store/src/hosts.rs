//! The rows of the hosts that contacted one thing. Most things are contacted by one host.

use std::collections::BTreeMap;

use crate::row::Row;

/// Rows by host id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Hosts {
    /// The first that came; most entries have no other, and a map costs a kilobyte.
    first: Option<(u32, Row)>,
    others: BTreeMap<u32, Box<Row>>,
}

impl Hosts {
    pub(crate) fn len(&self) -> usize {
        self.others.len().saturating_add(usize::from(self.first.is_some()))
    }

    pub(crate) fn get(&self, host: u32) -> Option<&Row> {
        match &self.first {
            Some((id, row)) if *id == host => Some(row),
            _ => self.others.get(&host).map(|row| &**row),
        }
    }

    /// The row of a host, new or not.
    pub(crate) fn row(&mut self, host: u32) -> &mut Row {
        match self.first.get_or_insert_with(|| (host, Row::default())) {
            (id, row) if *id == host => row,
            _ => self.others.entry(host).or_default(),
        }
    }

    /// All of them, in no order that means anything.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &Row)> {
        let first = self.first.iter().map(|(host, row)| (*host, row));
        first.chain(self.others.iter().map(|(host, row)| (*host, &**row)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_host_has_one_row_of_its_own() {
        let mut hosts = Hosts::default();
        for host in [7, 3, 7, 9, 3] {
            hosts.row(host).marks += 1;
        }
        assert_eq!(hosts.len(), 3);
        let marks = |host| hosts.get(host).map(|row| row.marks);
        assert_eq!([7, 3, 9, 1].map(marks), [Some(2), Some(2), Some(1), None]);
        let mut all: Vec<_> = hosts.iter().map(|(host, _)| host).collect();
        all.sort_unstable();
        assert_eq!(all, [3, 7, 9]);
    }
}
