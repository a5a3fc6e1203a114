//! Windows: when a contact of a docker host belongs to a build, to a deployed image, or to a
//! container.
//!
//! A contact belongs to the open window that names it; else to the most recently started image
//! maker still open on that host; else to the most recently started container; and only if nothing
//! is open, to the grace after an image maker's end; and last to a call of which it is in doubt what
//! it does.

use std::collections::BTreeMap;
use std::net::IpAddr;

use tw_model::{ContainerAction, Timestamp};

use crate::destination::Contact;
use crate::host::HostId;
use crate::life::Life;
use crate::maker::{Maker, Named};
use crate::policy::Policy;

/// Whose a window is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Owner {
    /// Index of a maker.
    Maker(usize),
    /// Index of a life: a container that was not just built.
    Life(usize),
}

/// What of the owner is going on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The image is made.
    Make,
    /// Something is done that may change a container or an image.
    Doubt,
    /// A container runs.
    Run,
    /// Something is executed in a container.
    Exec,
}

/// One window.
#[derive(Clone, Debug)]
pub(crate) struct Window {
    owner: Owner,
    phase: Phase,
    start: Timestamp,
    /// Anything that the host opens until then belongs to it.
    open_until: Timestamp,
    /// Where nothing is open, until then.
    grace_until: Timestamp,
    /// What it names, until then.
    named_until: Timestamp,
    named: Named,
}

/// Windows by host.
#[derive(Debug)]
pub(crate) struct Windows(Vec<HostWindows>);

/// Windows of one host in the order of their start, with what finds them fast.
#[derive(Debug, Default)]
struct HostWindows {
    list: Vec<Window>,
    /// For each window the latest `grace_until` of it and those before it.
    latest_end: Vec<Timestamp>,
    /// Windows that name a host.
    by_name: BTreeMap<String, Vec<usize>>,
    by_ip: BTreeMap<IpAddr, Vec<usize>>,
}

/// To whom a contact belongs.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Attribution {
    /// The likeliest first.
    pub(crate) owners: Vec<Owner>,
    pub(crate) phase: Phase,
    /// Does the owner name it?
    pub(crate) named: bool,
}

impl Attribution {
    pub(crate) fn is_ambiguous(&self) -> bool {
        self.owners.len() > 1
    }
}

impl Windows {
    pub(crate) fn new(
        hosts: usize,
        makers: &[Maker<'_>],
        lives: &[Life<'_>],
        policy: &Policy,
    ) -> Self {
        let mut windows = Self((0..hosts).map(|_| HostWindows::default()).collect());
        for (i, maker) in makers.iter().enumerate() {
            windows.add(maker.host, make_window(i, maker, policy));
        }
        for (i, life) in lives.iter().enumerate() {
            let owner = life.built_by.map_or(Owner::Life(i), Owner::Maker);
            let runs = run_windows(owner, life, policy);
            for window in runs.chain(exec_windows(owner, life, policy)) {
                windows.add(life.host, window);
            }
        }
        windows.0.iter_mut().for_each(HostWindows::index);
        windows
    }

    fn add(&mut self, host: HostId, window: Window) {
        if let Some(windows) = self.0.get_mut(host.0) {
            windows.list.push(window);
        }
    }

    /// To whom the contact belongs, if to anybody.
    pub(crate) fn attribute(&self, contact: &Contact<'_>) -> Option<Attribution> {
        let windows = self.0.get(contact.host.0)?;
        windows.naming(contact).or_else(|| windows.open(contact.at))
    }
}

impl HostWindows {
    fn index(&mut self) {
        self.list.sort_by_key(|w| (w.start, w.owner));
        let mut latest = Timestamp::from_nanos(i64::MIN);
        for (i, window) in self.list.iter().enumerate() {
            latest = latest.max(window.grace_until);
            self.latest_end.push(latest);
            for name in &window.named.names {
                self.by_name.entry(name.clone()).or_default().push(i);
            }
            for ip in &window.named.ips {
                self.by_ip.entry(*ip).or_default().push(i);
            }
        }
    }

    /// The window that names the contact: an image maker's first, then the latest.
    fn naming(&self, contact: &Contact<'_>) -> Option<Attribution> {
        let by_ip = contact.ip.and_then(|ip| self.by_ip.get(&ip)).into_iter().flatten();
        let by_name = contact.names.iter().filter_map(|n| self.by_name.get(&n.name)).flatten();
        let (_, index) = by_ip
            .chain(by_name)
            .filter_map(|i| Some((self.list.get(*i)?, *i)))
            .filter(|(w, _)| w.start <= contact.at && contact.at <= w.named_until)
            .map(|(w, i)| (w.phase == Phase::Make, i))
            .max()?;
        let window = self.list.get(index)?;
        Some(Attribution { owners: vec![window.owner], phase: window.phase, named: true })
    }

    /// Windows that are open at `at`, or in their grace, the latest start first.
    fn at(&self, at: Timestamp) -> impl Iterator<Item = &Window> + Clone {
        let begun = self.list.partition_point(|w| w.start <= at);
        let pairs = self.list.iter().zip(&self.latest_end).take(begun).rev();
        pairs.take_while(move |(_, latest)| at <= **latest).map(|(window, _)| window)
    }

    fn open(&self, at: Timestamp) -> Option<Attribution> {
        let open = self.at(at).filter(move |w| at <= w.open_until);
        let mut owners: Vec<Owner> = Vec::new();
        for window in open.clone().filter(|w| w.phase == Phase::Make).take(MAX_OPEN) {
            if !owners.contains(&window.owner) && owners.len() < MAX_OWNERS {
                owners.push(window.owner);
            }
        }
        if !owners.is_empty() {
            return Some(Attribution { owners, phase: Phase::Make, named: false });
        }
        let sure = |w: &&Window| w.phase != Phase::Doubt;
        let in_grace = || self.at(at).filter(move |w| at <= w.grace_until);
        let window = open
            .clone()
            .find(sure)
            .or_else(|| in_grace().find(sure))
            .or_else(|| open.clone().next())
            .or_else(|| in_grace().next())?;
        Some(Attribution { owners: vec![window.owner], phase: window.phase, named: false })
    }
}

/// Is the contact one of the hosts that are named?
pub(crate) fn names(named: &Named, contact: &Contact<'_>) -> bool {
    contact.ip.is_some_and(|ip| named.ips.contains(&ip))
        || contact.names.iter().any(|n| named.names.contains(&n.name))
}

fn make_window(index: usize, maker: &Maker<'_>, policy: &Policy) -> Window {
    let mut open_until = maker.ended.max(maker.started);
    if maker.is_inferred() {
        open_until = open_until.min(maker.started.plus(policy.inferred_window_max));
    }
    let grace_until = open_until.plus(policy.time_window);
    Window {
        owner: Owner::Maker(index),
        phase: if maker.is_doubtful() { Phase::Doubt } else { Phase::Make },
        start: maker.opened,
        open_until,
        grace_until,
        named_until: grace_until,
        named: maker.named.clone(),
    }
}

/// From each start until the stop or for `deploy_window`; for what the container itself names,
/// until the stop.
fn run_windows<'a>(
    owner: Owner,
    life: &'a Life<'_>,
    policy: &'a Policy,
) -> impl Iterator<Item = Window> + 'a {
    let mut named = Named::default();
    named.add_urls(life.events.iter().flat_map(|e| &e.value.urls));
    life.runs.iter().map(move |(start, stop)| {
        let stop = stop.unwrap_or(Timestamp::MAX);
        let open_until = stop.min(start.plus(policy.deploy_window));
        Window {
            owner,
            phase: Phase::Run,
            start: *start,
            open_until,
            grace_until: open_until,
            named_until: stop,
            named: named.clone(),
        }
    })
}

fn exec_windows<'a>(
    owner: Owner,
    life: &'a Life<'_>,
    policy: &'a Policy,
) -> impl Iterator<Item = Window> + 'a {
    let execs = life.events.iter().filter(|e| e.value.action == ContainerAction::Exec);
    execs.map(move |held| {
        let event = &held.value;
        let mut named = Named::default();
        named.add_urls(event.urls.iter());
        Window {
            owner,
            phase: Phase::Exec,
            start: event.started,
            open_until: event.ended,
            grace_until: event.ended.plus(policy.time_window),
            named_until: event.ended.plus(policy.deploy_window),
            named,
        }
    })
}

const MAX_OWNERS: usize = 8;
const MAX_OPEN: usize = 1_024;
