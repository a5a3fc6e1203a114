//! Sessions: what one caller does to one docker host without a pause of `incident_gap`. They depend on
//! what was called and on nothing that is known, so that an incident is called the same with and
//! without a baseline.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use tw_model::Timestamp;

use crate::draft::Draft;
use crate::host::HostId;
use crate::scene::Scene;
use crate::text::stable_id;

/// One session: when it began and ended, and which of its day it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Session {
    start: Timestamp,
    end: Timestamp,
    ordinal: usize,
}

/// Sessions of everybody, and which ids were given.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    by_caller: BTreeMap<(HostId, IpAddr), Vec<Session>>,
    given: BTreeMap<String, usize>,
}

impl Sessions {
    pub(crate) fn new(scene: &Scene<'_>) -> Self {
        let mut acts: BTreeMap<(HostId, IpAddr), Vec<(Timestamp, Timestamp)>> = BTreeMap::new();
        for held in scene.ledger.calls.values() {
            let call = &held.value;
            let host = scene.hosts.find(scene.environments, held.environment, call.daemon.ip);
            if let Some(host) = host {
                let list = acts.entry((host, call.client.ip)).or_default();
                list.push((call.started, call.ended));
            }
        }
        for maker in &scene.makers {
            let list = acts.entry((maker.host, maker.client)).or_default();
            list.push((maker.started, maker.ended));
        }
        for life in &scene.lives {
            for held in &life.events {
                let list = acts.entry((life.host, held.value.client)).or_default();
                list.push((held.value.started, held.value.ended));
            }
        }
        let gap = scene.policy.incident_gap;
        let by_caller = acts.into_iter().map(|(caller, acts)| (caller, sessions(acts, gap)));
        Self { by_caller: by_caller.collect(), given: BTreeMap::new() }
    }

    /// The id of the incident that these make up: docker host, caller and day of the session that
    /// began it. A second incident of one session has an id of its own.
    pub(crate) fn incident_id(&mut self, scene: &Scene<'_>, members: &[&Draft]) -> Option<String> {
        let first = members.first()?;
        let begun = members.iter().flat_map(|draft| {
            let at = draft.finding.timestamp;
            draft.clients.iter().map(move |client| (draft.host, *client, at))
        });
        let begun = begun.filter_map(|(host, client, at)| {
            let session = self.session_at(host, client, at)?;
            Some((session.start, client, session.ordinal))
        });
        let environment = first.finding.environment.as_str();
        let host = scene.hosts.addresses(first.host).first().map(ToString::to_string);
        let id = match begun.min() {
            Some((start, client, ordinal)) => {
                let day = start.utc_day().to_string();
                let parts =
                    [host.unwrap_or_default(), client.to_string(), day, ordinal.to_string()];
                let [host, client, day, ordinal] = &parts;
                stable_id("i-", &[environment, host, client, day, ordinal])
            }
            None => stable_id("i-", &[environment, &first.finding.id]),
        };
        let given = self.given.entry(id.clone()).or_insert(0);
        *given += 1;
        Some(if *given == 1 { id } else { stable_id("i-", &[&id, &given.to_string()]) })
    }

    fn session_at(&self, host: HostId, client: IpAddr, at: Timestamp) -> Option<&Session> {
        let list = self.by_caller.get(&(host, client))?;
        let begun = list.partition_point(|session| session.start <= at);
        list.get(begun.checked_sub(1)?)
    }
}

fn sessions(mut acts: Vec<(Timestamp, Timestamp)>, gap: Duration) -> Vec<Session> {
    acts.sort_unstable();
    let mut sessions: Vec<Session> = Vec::new();
    for (start, end) in acts {
        match sessions.last_mut() {
            Some(open) if start.since(open.end) <= gap => open.end = open.end.max(end),
            last => {
                let same_day = last.filter(|last| last.start.utc_day() == start.utc_day());
                let ordinal = same_day.map_or(0, |last| last.ordinal.saturating_add(1));
                sessions.push(Session { start, end: end.max(start), ordinal });
            }
        }
    }
    sessions
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(hours: i64) -> Timestamp {
        Timestamp::from_nanos(hours * 3_600_000_000_000)
    }

    #[test]
    fn a_pause_ends_a_session_and_a_day_counts_anew() {
        let gap = Duration::from_secs(3600);
        let acts =
            vec![(at(5), at(5)), (at(1), at(1)), (at(2), at(4)), (at(9), at(9)), (at(25), at(25))];
        let told = sessions(acts, gap);
        let told: Vec<_> = told.iter().map(|s| (s.start, s.end, s.ordinal)).collect();
        assert_eq!(told, [(at(1), at(5), 0), (at(9), at(9), 1), (at(25), at(25), 0)]);
        assert!(sessions(Vec::new(), gap).is_empty());
    }
}
