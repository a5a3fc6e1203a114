//! Windows: when a contact of a docker host belongs to a build, to a deployed image, or to a
//! container.
//!
//! A contact belongs to the open window that names it; else to the most recently started image
//! maker still open on that host; else to the most recently started container; and only if nothing
//! is open, to the grace after an image maker's end.

use tw_model::{ContainerAction, Timestamp};

use crate::destination::Contact;
use crate::host::HostId;
use crate::maker::{Life, Maker, Named};
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

/// Windows by host, in the order of their start.
#[derive(Debug)]
pub(crate) struct Windows(Vec<Vec<Window>>);

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
        let mut windows = Self((0..hosts).map(|_| Vec::new()).collect());
        for (i, maker) in makers.iter().enumerate() {
            windows.add(maker.host, make_window(i, maker, policy));
        }
        for (i, life) in lives.iter().enumerate() {
            let owner = life.built_by.map_or(Owner::Life(i), Owner::Maker);
            if let Some(window) = run_window(owner, life, policy) {
                windows.add(life.host, window);
            }
            for window in exec_windows(owner, life, policy) {
                windows.add(life.host, window);
            }
        }
        for list in &mut windows.0 {
            list.sort_by_key(|w| (w.start, w.owner));
        }
        windows
    }

    fn add(&mut self, host: HostId, window: Window) {
        if let Some(list) = self.0.get_mut(host.0) {
            list.push(window);
        }
    }

    /// To whom the contact belongs, if to anybody.
    pub(crate) fn attribute(&self, contact: &Contact<'_>) -> Option<Attribution> {
        let windows = self.0.get(contact.host.0)?;
        let at = contact.at;
        let begun = windows.partition_point(|w| w.start <= at);
        let begun = windows.get(..begun)?;
        let naming = begun.iter().rev().filter(|w| at <= w.named_until && names(&w.named, contact));
        let making = |w: &&Window| w.phase == Phase::Make;
        if let Some(window) = naming.clone().find(making).or_else(|| naming.clone().next()) {
            return Some(Attribution {
                owners: vec![window.owner],
                phase: window.phase,
                named: true,
            });
        }
        let open = begun.iter().rev().filter(|w| at <= w.open_until);
        let mut owners: Vec<Owner> = Vec::new();
        for window in open.clone().filter(making) {
            if !owners.contains(&window.owner) && owners.len() < MAX_OWNERS {
                owners.push(window.owner);
            }
        }
        if !owners.is_empty() {
            return Some(Attribution { owners, phase: Phase::Make, named: false });
        }
        let running = open.clone().next();
        let grace = || begun.iter().rev().find(|w| at <= w.grace_until);
        let window = running.or_else(grace)?;
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
        phase: Phase::Make,
        start: maker.opened,
        open_until,
        grace_until,
        named_until: grace_until,
        named: maker.named.clone(),
    }
}

/// From the start until the stop or for `deploy_window`; for what the container itself names,
/// until the stop.
fn run_window(owner: Owner, life: &Life<'_>, policy: &Policy) -> Option<Window> {
    let start = life.started?;
    let stop = life.stopped.unwrap_or(Timestamp::MAX);
    let open_until = stop.min(start.plus(policy.deploy_window));
    let mut named = Named::default();
    named.add_urls(life.events.iter().flat_map(|e| &e.value.urls));
    Some(Window {
        owner,
        phase: Phase::Run,
        start,
        open_until,
        grace_until: open_until,
        named_until: stop,
        named,
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
