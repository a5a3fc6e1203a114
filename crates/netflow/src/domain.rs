//! One observation domain of one exporter: its templates, what waits for them, its options and its
//! numbers.

use std::collections::BTreeMap;

use tw_model::{Evidence, Timestamp};

use crate::cursor::Cursor;
use crate::decoder::Budget;
use crate::header::Header;
use crate::held::{Held, HeldSet};
use crate::options::Told;
use crate::sequence::{Sequence, Step, Tally};
use crate::set::{Set, sets};
use crate::template::{
    Announced, Dialect, Kind, Template, options_templates, templates as flow_templates,
};
use crate::values::{Clock, Values};
use crate::{Counters, fixed};

/// State of one (version, observation domain) of an exporter.
#[derive(Clone, Debug, Default)]
pub(crate) struct Domain {
    pub(crate) used: Timestamp,
    pub(crate) told: Told,
    pub(crate) templates: BTreeMap<u16, Template>,
    pub(crate) held: Held,
    pub(crate) sequence: Sequence,
    /// When records were last missing by the sequence numbers, or the exporter began anew.
    pub(crate) last_gap: Option<Timestamp>,
    /// When a data set last had no template, and still has none.
    pub(crate) last_missing: Option<Timestamp>,
}

/// A flow record's values on their way out.
pub(crate) type Emit<'a> = dyn FnMut(&Values, &Clock, &Told, Evidence, &Header) + 'a;

impl Domain {
    /// Takes the body of one datagram.
    pub(crate) fn push(
        &mut self,
        header: &Header,
        body: &[u8],
        at: Evidence,
        port: u16,
        budget: &mut Budget<'_>,
        emit: &mut Emit<'_>,
    ) {
        self.used = at.timestamp;
        self.trim(at.timestamp, budget);
        let tally = match header.version {
            5 | 7 => self.fixed(header, body, at, budget, emit),
            _ => self.sets(header, body, at, budget, emit),
        };
        let booted = header
            .uptime_ms
            .map(|ms| header.export.minus(std::time::Duration::from_millis(ms.into())))
            .or(self.told.booted);
        match self.sequence.step(header, booted, port, tally) {
            Step::Fine => {}
            Step::Gap(missing) => {
                budget.counters.gaps += 1;
                budget.counters.missing += u64::from(missing);
                self.last_gap = Some(at.timestamp);
            }
            // What it had not exported yet is gone.
            Step::Restart => {
                budget.counters.restarts += 1;
                self.last_gap = Some(at.timestamp);
            }
            Step::Late => budget.counters.reordered += 1,
        }
    }

    fn fixed(
        &self,
        header: &Header,
        body: &[u8],
        at: Evidence,
        budget: &mut Budget<'_>,
        emit: &mut Emit<'_>,
    ) -> Tally {
        let clock = self.clock(header);
        let records = body.chunks_exact(fixed::record_len(header.version));
        let mut tally = Tally { flows: header.count.into(), ..Tally::default() };
        let mut whole = 0;
        let mut values = Values::new();
        for record in records.take(header.count.into()) {
            whole += 1;
            fixed::read(record, &mut values);
            emit(&values, &clock, &self.told, at, header);
        }
        budget.counters.malformed += u64::from(whole < tally.flows);
        budget.counters.records += u64::from(whole);
        tally.uncounted = whole < tally.flows;
        tally
    }

    fn sets(
        &mut self,
        header: &Header,
        body: &[u8],
        at: Evidence,
        budget: &mut Budget<'_>,
        emit: &mut Emit<'_>,
    ) -> Tally {
        let dialect = if header.version == 9 { Dialect::V9 } else { Dialect::Ipfix };
        let mut tally = Tally::default();
        for set in sets(body) {
            let (id, bytes) = match set {
                Set::Whole { id, body } => (id, body),
                Set::Cut { id, body } => {
                    budget.counters.malformed += 1;
                    tally.uncounted = true;
                    (id, body)
                }
                Set::Padding => break,
                Set::Malformed => {
                    budget.counters.malformed += 1;
                    tally.uncounted = true;
                    break;
                }
            };
            match (dialect, id) {
                (Dialect::V9, 0) | (Dialect::Ipfix, 2) => {
                    self.announced(bytes, dialect, Kind::Flow, header, at, budget, emit);
                }
                (Dialect::V9, 1) | (Dialect::Ipfix, 3) => {
                    self.announced(bytes, dialect, Kind::Options, header, at, budget, emit);
                }
                (_, 256..) => self.data(id, bytes, header, at, &mut tally, budget, emit),
                _ => tally.uncounted = true,
            }
        }
        tally
    }

    #[expect(clippy::too_many_arguments, reason = "a set and what surrounds it")]
    fn announced(
        &mut self,
        bytes: &[u8],
        dialect: Dialect,
        kind: Kind,
        header: &Header,
        at: Evidence,
        budget: &mut Budget<'_>,
        emit: &mut Emit<'_>,
    ) {
        let mut cursor = Cursor::new(bytes);
        let read = if kind == Kind::Flow { flow_templates } else { options_templates };
        let limit = budget.limits.fields_per_template;
        while cursor.len() >= 4 {
            match read(&mut cursor, dialect, limit, at.timestamp) {
                Some(Announced::Template(id, template)) => {
                    if self.keep(id, template, budget) {
                        self.release(id, header, budget, emit);
                    }
                }
                Some(Announced::Withdrawn(id)) => self.withdraw(id, kind, budget),
                Some(Announced::Refused) => budget.counters.templates_lost += 1,
                None => {
                    budget.counters.malformed += u64::from(!is_padding(bytes, cursor.len()));
                    break;
                }
            }
        }
    }

    /// True where the template is new or another than before.
    fn keep(&mut self, id: u16, template: Template, budget: &mut Budget<'_>) -> bool {
        let Counters { templates, templates_changed, templates_lost, .. } = budget.counters;
        if let Some(known) = self.templates.get_mut(&id) {
            if known.is_same(&template) {
                known.seen = template.seen;
                return false;
            }
            let fields = budget.fields.saturating_sub(known.cost()).saturating_add(template.cost());
            if fields > budget.limits.fields {
                *templates_lost += 1;
                return false;
            }
            *budget.fields = fields;
            *templates_changed += 1;
            *known = template;
            return true;
        }
        let fields = budget.fields.saturating_add(template.cost());
        let full = self.templates.len() >= budget.limits.templates_per_domain;
        if full || fields > budget.limits.fields {
            *templates_lost += 1;
            return false;
        }
        *budget.fields = fields;
        *templates += 1;
        self.templates.insert(id, template);
        true
    }

    /// RFC 7011 §8.1: one id, or the set's own id for all templates of its kind.
    fn withdraw(&mut self, id: u16, kind: Kind, budget: &mut Budget<'_>) {
        let before = self.templates.len();
        let fields = &mut *budget.fields;
        self.templates.retain(|known, template| {
            let gone = *known == id || (id < 256 && template.kind == kind);
            *fields = fields.saturating_sub(if gone { template.cost() } else { 0 });
            !gone
        });
        let gone = before.saturating_sub(self.templates.len());
        budget.counters.templates_withdrawn += gone as u64;
    }

    #[expect(clippy::too_many_arguments, reason = "a set and what surrounds it")]
    fn data(
        &mut self,
        id: u16,
        bytes: &[u8],
        header: &Header,
        at: Evidence,
        tally: &mut Tally,
        budget: &mut Budget<'_>,
        emit: &mut Emit<'_>,
    ) {
        let oldest = at.timestamp.minus(budget.limits.template_age);
        if self.templates.get(&id).is_none_or(|template| template.seen < oldest) {
            tally.uncounted = true;
            self.hold(id, bytes, header, at, budget);
            return;
        }
        let counted = self.records(id, bytes, header, at, budget, emit);
        tally.flows = tally.flows.saturating_add(counted.flows);
        tally.options = tally.options.saturating_add(counted.options);
    }

    fn records(
        &mut self,
        id: u16,
        bytes: &[u8],
        header: &Header,
        at: Evidence,
        budget: &mut Budget<'_>,
        emit: &mut Emit<'_>,
    ) -> Tally {
        let clock = self.clock(header);
        let Self { templates, told, .. } = self;
        let mut tally = Tally::default();
        let Some(template) = templates.get(&id) else { return tally };
        let mut cursor = Cursor::new(bytes);
        let mut values = Values::new();
        while template.record(&mut cursor, &mut values).is_some() {
            match template.kind {
                Kind::Flow => {
                    tally.flows = tally.flows.saturating_add(1);
                    emit(&values, &clock, told, at, header);
                }
                Kind::Options => {
                    tally.options = tally.options.saturating_add(1);
                    told.take(&values, budget.limits.samplers);
                }
            }
        }
        budget.counters.records += u64::from(tally.flows);
        budget.counters.options += u64::from(tally.options);
        tally
    }

    fn hold(
        &mut self,
        id: u16,
        bytes: &[u8],
        header: &Header,
        at: Evidence,
        budget: &mut Budget<'_>,
    ) {
        self.last_missing = Some(at.timestamp);
        let before = self.held.bytes();
        if budget.held.saturating_add(bytes.len()) > budget.limits.held_bytes {
            budget.counters.sets_lost += 1;
            return;
        }
        budget.counters.sets_held += 1;
        self.held.push(HeldSet { id, bytes: bytes.into(), header: *header, evidence: at });
        let oldest = at.timestamp.minus(budget.limits.held_age);
        let dropped = self.held.trim(oldest, budget.limits.held_bytes_per_domain);
        budget.counters.sets_lost += dropped;
        *budget.held = budget.held.saturating_add(self.held.bytes()).saturating_sub(before);
    }

    /// Decodes what waited for this template.
    fn release(&mut self, id: u16, header: &Header, budget: &mut Budget<'_>, emit: &mut Emit<'_>) {
        let before = self.held.bytes();
        let waited = self.held.take(id);
        *budget.held = budget.held.saturating_add(self.held.bytes()).saturating_sub(before);
        if waited.is_empty() {
            return;
        }
        if self.held.len() == 0 && budget.counters.sets_lost == 0 {
            self.last_missing = None;
        }
        for set in waited.iter().filter(|set| set.header.version == header.version) {
            self.records(id, &set.bytes, &set.header, set.evidence, budget, emit);
        }
    }

    fn trim(&mut self, now: Timestamp, budget: &mut Budget<'_>) {
        let before = self.held.bytes();
        let oldest = now.minus(budget.limits.held_age);
        budget.counters.sets_lost += self.held.trim(oldest, usize::MAX);
        *budget.held = budget.held.saturating_add(self.held.bytes()).saturating_sub(before);
    }

    /// What it holds is given back before it is forgotten.
    pub(crate) fn drop_all(&mut self, budget: &mut Budget<'_>) {
        budget.counters.sets_lost += self.held.len();
        *budget.held = budget.held.saturating_sub(self.held.bytes());
        let fields: usize = self.templates.values().map(Template::cost).sum();
        *budget.fields = budget.fields.saturating_sub(fields);
    }

    /// Sets that still wait for a template.
    pub(crate) fn waiting(&self) -> u64 {
        self.held.len()
    }

    fn clock(&self, header: &Header) -> Clock {
        Clock { export: header.export, uptime_ms: header.uptime_ms, booted: self.told.booted }
    }
}

/// Are the last `len` bytes of the set nothing but padding?
fn is_padding(bytes: &[u8], len: usize) -> bool {
    bytes.iter().rev().take(len).all(|byte| *byte == 0)
}
