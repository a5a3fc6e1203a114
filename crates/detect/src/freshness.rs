//! How new something is, read out of the store's answers.

use std::net::IpAddr;

use tw_model::{Axis, Timestamp};

use crate::{Answer, Knowledge};

/// How new a destination is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Freshness {
    pub(crate) level: Level,
    pub(crate) axes: Vec<Axis>,
    pub(crate) first_seen: Option<(Timestamp, Option<IpAddr>)>,
    pub(crate) watched_since: Option<Timestamp>,
    pub(crate) baseline: bool,
    pub(crate) unavailable: bool,
}

/// For whom it is new.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    /// Known.
    Known,
    /// The environment knows it, this docker host does not.
    Host,
    /// Nothing can be said: no baseline, or no store.
    Unknown,
    /// Nobody in the environment knows it.
    Environment,
}

/// How an answer of the store reads.
pub(crate) fn level(answer: &Answer) -> Level {
    match (&answer.environment, &answer.host) {
        (Knowledge::Known, Knowledge::Never | Knowledge::Touched { .. }) => Level::Host,
        (Knowledge::Known, _) => Level::Known,
        (Knowledge::Never | Knowledge::Touched { .. }, _) => Level::Environment,
        (Knowledge::Unwatched | Knowledge::Unavailable, _) => Level::Unknown,
    }
}

/// How new a contacted address is. A known address under a name that nobody had (by the host's own
/// DNS answers, or by what the client claims in SNI or Host), or with a new tenant of a multi-tenant
/// name, is new by its name.
pub(crate) fn freshness(
    address: Option<&Answer>,
    dns: &[&Answer],
    own_dns: bool,
    claims: &[&Answer],
    tenants: &[&Answer],
) -> Freshness {
    let all_names_new = !dns.is_empty() && dns.iter().all(|a| level(a) == Level::Environment);
    let new_tenant = tenants.iter().any(|a| matches!(level(a), Level::Environment | Level::Host));
    let claims: Vec<&Answer> =
        claims.iter().copied().filter(|a| level(a) == Level::Environment).collect();
    let Some(address) = address else { return name_freshness(dns, tenants) };
    let mut fresh = from_answer(address, Axis::Address);
    let by_name = (own_dns && all_names_new) || new_tenant || !claims.is_empty();
    match fresh.level {
        Level::Environment if all_names_new => fresh.axes.push(Axis::Name),
        Level::Known | Level::Host if by_name => {
            let names = if own_dns && all_names_new { dns } else { &[] };
            let mut told_by = names.iter().chain(tenants).chain(&claims);
            if let Some(answer) = told_by.find(|a| level(a) != Level::Known) {
                fresh = from_answer(answer, Axis::Name);
                fresh.level = Level::Environment;
                fresh.axes = vec![Axis::Name];
            }
        }
        _ => {}
    }
    fresh
}

pub(crate) fn name_freshness(names: &[&Answer], tenants: &[&Answer]) -> Freshness {
    let most_new = tenants.iter().chain(names).max_by_key(|a| level(a));
    most_new.map_or_else(
        || Freshness {
            level: Level::Unknown,
            axes: Vec::new(),
            first_seen: None,
            watched_since: None,
            baseline: false,
            unavailable: false,
        },
        |answer| from_answer(answer, Axis::Name),
    )
}

pub(crate) fn from_answer(answer: &Answer, axis: Axis) -> Freshness {
    let level = level(answer);
    let told_by = if level == Level::Host { &answer.host } else { &answer.environment };
    let first_seen = match told_by {
        Knowledge::Touched { first_seen, first_seen_by } => Some((*first_seen, *first_seen_by)),
        _ => None,
    };
    Freshness {
        level,
        axes: if matches!(level, Level::Host | Level::Environment) {
            vec![axis]
        } else {
            Vec::new()
        },
        first_seen,
        watched_since: answer.watched_since,
        baseline: answer.baseline,
        unavailable: answer.environment == Knowledge::Unavailable,
    }
}
