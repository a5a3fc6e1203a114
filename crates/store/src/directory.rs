//! Environments and hosts with their small integers, and how long each axis has been watched.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use tw_model::{KeyedHash, Timestamp};

use crate::key::SeenAxis;

/// Environments come from configuration, hosts from the network: both have a limit.
const MAX_ENVIRONMENTS: usize = 10_000;
const MAX_HOSTS: usize = 1_000_000;
/// `last_watched` is written down when it has moved by this much.
const WATCH_STEP: Duration = Duration::from_secs(60);

/// How long one axis of one environment has been watched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Watch {
    pub(crate) since: Option<Timestamp>,
    pub(crate) last: Option<Timestamp>,
    /// Something was learned or imported.
    pub(crate) baseline: bool,
}

impl Watch {
    fn extend(&mut self, at: Timestamp) -> bool {
        let earlier = self.since.is_none_or(|since| at < since);
        let later = self.last.is_none_or(|last| at.since(last) >= WATCH_STEP);
        if earlier {
            self.since = Some(at);
        }
        if later {
            self.last = Some(at);
        }
        earlier || later
    }

    /// Takes all that another store knows of the same axis.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.since = match (self.since, other.since) {
            (Some(ours), Some(theirs)) => Some(ours.min(theirs)),
            (ours, theirs) => ours.or(theirs),
        };
        self.last = self.last.max(other.last);
        self.baseline |= other.baseline;
    }

    /// Whether it is too young to call anything new.
    pub(crate) fn is_unjudged(&self, at: Timestamp, known_after: Duration) -> bool {
        !self.baseline && self.since.is_none_or(|since| at.since(since) < known_after)
    }
}

/// One environment.
#[derive(Clone, Debug)]
pub(crate) struct Environment {
    pub(crate) name: Box<str>,
    watch: [Watch; SeenAxis::ALL.len()],
    /// Something changed since it was last written.
    dirty: bool,
}

impl Environment {
    pub(crate) fn watch(&self, axis: SeenAxis) -> Watch {
        self.watch.get(slot(axis)).copied().unwrap_or_default()
    }
}

/// What a commit must write of the directory.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    pub(crate) environments: Vec<(u32, Environment)>,
    pub(crate) hosts: Vec<(u32, IpAddr)>,
}

/// All environments and hosts. Ids are positions counted from 1.
#[derive(Debug, Default)]
pub(crate) struct Directory {
    environments: Vec<Environment>,
    by_name: HashMap<Box<str>, u32, KeyedHash>,
    hosts: Vec<IpAddr>,
    host_ids: HashMap<IpAddr, u32, KeyedHash>,
    hosts_written: usize,
    /// Environments or hosts that were refused because there are too many.
    pub(crate) refused: u64,
}

impl Directory {
    pub(crate) fn environment_id(&self, name: &str) -> Option<u32> {
        self.by_name.get(name).copied()
    }

    pub(crate) fn environment(&self, id: u32) -> Option<&Environment> {
        self.environments.get(position(id)?)
    }

    pub(crate) fn environments(&self) -> &[Environment] {
        &self.environments
    }

    pub(crate) fn host_id(&self, address: IpAddr) -> Option<u32> {
        self.host_ids.get(&address.to_canonical()).copied()
    }

    pub(crate) fn host(&self, id: u32) -> Option<IpAddr> {
        self.hosts.get(position(id)?).copied()
    }

    /// The id of an environment, new or not; `None` when there are too many.
    pub(crate) fn add_environment(&mut self, name: &str) -> Option<u32> {
        if let Some(id) = self.environment_id(name) {
            return Some(id);
        }
        if self.environments.len() >= MAX_ENVIRONMENTS {
            self.refused = self.refused.saturating_add(1);
            return None;
        }
        self.environments.push(Environment {
            name: name.into(),
            watch: Default::default(),
            dirty: true,
        });
        let id = u32::try_from(self.environments.len()).ok()?;
        self.by_name.insert(name.into(), id);
        Some(id)
    }

    /// The id of a host, new or not; `None` when there are too many.
    pub(crate) fn add_host(&mut self, address: IpAddr) -> Option<u32> {
        let address = address.to_canonical();
        if let Some(id) = self.host_ids.get(&address) {
            return Some(*id);
        }
        if self.hosts.len() >= MAX_HOSTS {
            self.refused = self.refused.saturating_add(1);
            return None;
        }
        self.hosts.push(address);
        let id = u32::try_from(self.hosts.len()).ok()?;
        self.host_ids.insert(address, id);
        Some(id)
    }

    /// One axis was watched at this time; it may have got a baseline too.
    pub(crate) fn extend(&mut self, id: u32, axis: SeenAxis, at: Timestamp, baseline: bool) {
        self.change(id, axis, |watch| {
            let grown = watch.extend(at);
            let first = baseline && !watch.baseline;
            watch.baseline |= baseline;
            grown || first
        });
    }

    /// Whether [`Directory::extend`] would change nothing.
    pub(crate) fn covers(&self, id: u32, axis: SeenAxis, at: Timestamp, baseline: bool) -> bool {
        self.environment(id).is_some_and(|environment| {
            let mut watch = environment.watch(axis);
            !watch.extend(at) && (watch.baseline || !baseline)
        })
    }

    /// Merges what another store says about an axis.
    pub(crate) fn merge_watch(&mut self, id: u32, axis: SeenAxis, other: &Watch) {
        self.change(id, axis, |watch| {
            let before = *watch;
            watch.merge(other);
            *watch != before
        });
    }

    /// After forgetting: this axis has a baseline, or has it no more.
    pub(crate) fn set_baseline(&mut self, id: u32, axis: SeenAxis, baseline: bool) {
        self.change(id, axis, |watch| {
            let changed = watch.baseline != baseline;
            watch.baseline = baseline;
            changed
        });
    }

    /// What is not on disk yet. It counts as written until [`Directory::take_back`].
    pub(crate) fn take_changes(&mut self) -> Changes {
        let mut changes = Changes::default();
        for (id, environment) in (1..).zip(&mut self.environments) {
            if std::mem::take(&mut environment.dirty) {
                changes.environments.push((id, environment.clone()));
            }
        }
        let hosts = (1..).zip(&self.hosts).skip(self.hosts_written);
        changes.hosts.extend(hosts.map(|(id, &address)| (id, address)));
        self.hosts_written = self.hosts.len();
        changes
    }

    /// These changes did not reach the disk.
    pub(crate) fn take_back(&mut self, changes: &Changes) {
        for (id, _) in &changes.environments {
            let environment =
                position(*id).and_then(|position| self.environments.get_mut(position));
            if let Some(environment) = environment {
                environment.dirty = true;
            }
        }
        let first = changes.hosts.first().and_then(|(id, _)| position(*id));
        self.hosts_written =
            first.map_or(self.hosts_written, |first| self.hosts_written.min(first));
    }

    fn change(&mut self, id: u32, axis: SeenAxis, change: impl FnOnce(&mut Watch) -> bool) {
        let environment = position(id).and_then(|position| self.environments.get_mut(position));
        let Some(environment) = environment else { return };
        if let Some(watch) = environment.watch.get_mut(slot(axis)) {
            environment.dirty |= change(watch);
        }
    }
}

fn position(id: u32) -> Option<usize> {
    usize::try_from(id).ok()?.checked_sub(1)
}

fn slot(axis: SeenAxis) -> usize {
    usize::from(axis.code()).saturating_sub(1)
}
