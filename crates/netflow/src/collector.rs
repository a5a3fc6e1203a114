//! The collector: export datagrams to flow records and connections.

use std::time::Duration;

use tw_model::{Caveat, Connection, Evidence, FlowRecord, Timestamp};

use crate::conversation::Conversation;
use crate::join::{Join, Prepared};
use crate::state::{self, NotAState};
use crate::{Counters, Datagram, Decoder, Limits, Usage};

/// What the collector tells.
#[derive(Debug)]
pub enum Told<'a> {
    /// A flow record, as exported.
    Record(&'a FlowRecord, Evidence),
    /// A conversation as it stands, with its records; readers keep the last of each id.
    Connection(Box<Connection>, Vec<Evidence>),
}

/// Turns the datagrams of any number of exporters into connections.
///
/// Order of calls: any number of [`push`](Self::push) and [`advance`](Self::advance), then one
/// [`finish`](Self::finish). A conversation is told once records of both directions are there, or
/// one direction has waited long enough, again a while after more records came, and at last with `ended` set.
#[derive(Debug)]
pub struct Collector {
    limits: Limits,
    pub(crate) decoder: Decoder,
    pub(crate) join: Join,
    counters: Counters,
    /// When datagrams were last dropped before they got here, by the collector's clock.
    dropped: Option<Timestamp>,
    /// Records of the datagram that is being taken.
    prepared: Vec<Prepared>,
}

impl Collector {
    /// A collector that has seen nothing.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            decoder: Decoder::new(limits),
            join: Join::new(),
            counters: Counters::default(),
            dropped: None,
            prepared: Vec::new(),
        }
    }

    /// Datagrams were dropped on their way here, just now or shortly before: nobody knows of whom.
    pub fn dropped(&mut self, count: u64, now: Timestamp) {
        self.counters.dropped = self.counters.dropped.saturating_add(count);
        if count > 0 {
            self.dropped = Some(now);
        }
    }

    /// Takes one datagram. Never fails.
    pub fn push(&mut self, datagram: &Datagram<'_>, sink: &mut dyn FnMut(Told<'_>)) {
        let arrived = datagram.evidence.timestamp;
        let Self { limits, decoder, join, counters, dropped, prepared } = self;
        let mut changed: Vec<u32> = Vec::new();
        prepared.clear();
        decoder.push(datagram, &mut |record, at| {
            sink(Told::Record(record, at));
            match join.prepare(record, at) {
                Some(record) => prepared.push(record),
                None => counters.unjoined += 1,
            }
        });
        join.look_ahead(prepared);
        for record in prepared.iter() {
            changed.extend(join.push(record, arrived, limits, counters));
        }
        let teller = Teller { decoder, dropped: *dropped };
        for conversation in changed.iter().filter_map(|place| join.get(*place)) {
            teller.tell(conversation, false, sink);
        }
        join.trim(limits, counters, &mut |conversation, ended| {
            teller.tell(conversation, ended, sink);
        });
        self.advance(arrived, sink);
    }

    /// Time passed: what has waited long enough is told.
    pub fn advance(&mut self, now: Timestamp, sink: &mut dyn FnMut(Told<'_>)) {
        let Self { limits, decoder, join, dropped, .. } = self;
        let teller = Teller { decoder, dropped: *dropped };
        join.advance(now, limits, &mut |conversation, ended| {
            teller.tell(conversation, ended, sink);
        });
    }

    /// End of input: everything that is under way is told.
    pub fn finish(&mut self, sink: &mut dyn FnMut(Told<'_>)) {
        let Self { decoder, join, dropped, .. } = self;
        let teller = Teller { decoder, dropped: *dropped };
        join.finish(&mut |conversation, ended| {
            teller.tell(conversation, ended, sink);
        });
    }

    /// All that it knows and holds, for [`Self::restore`] in another run: templates, sampling and
    /// numbers of each exporter, data sets that wait, and conversations under way. Cost: a pass over
    /// all of it.
    #[must_use]
    pub fn save(&self) -> Vec<u8> {
        state::save(&self.decoder, &self.join)
    }

    /// Takes back what was saved, within the limits, and tells what had been told, so that those who
    /// listen know it again. Call it before the first [`Self::push`].
    ///
    /// # Errors
    /// When it is no state, or cut off: then nothing is taken.
    pub fn restore(
        &mut self,
        saved: &[u8],
        sink: &mut dyn FnMut(Told<'_>),
    ) -> Result<(), NotAState> {
        let (decoder, join) = state::read(saved, &self.limits).ok_or(NotAState)?;
        (self.decoder, self.join) = (decoder, join);
        let Self { decoder, join, dropped, .. } = self;
        let teller = Teller { decoder, dropped: *dropped };
        let mut all: Vec<_> = join.all().filter(|conversation| conversation.told).collect();
        all.sort_unstable_by_key(|conversation| conversation.id);
        for conversation in all {
            teller.tell(conversation, false, sink);
        }
        Ok(())
    }

    /// What was counted so far; data sets that still wait for their template count as lost.
    #[must_use]
    pub fn counters(&self) -> Counters {
        let decoded = self.decoder.counters();
        Counters {
            sets_lost: decoded.sets_lost.saturating_add(self.decoder.waiting()),
            repeated: self.counters.repeated,
            unjoined: self.counters.unjoined,
            conversations_lost: self.counters.conversations_lost,
            dropped: self.counters.dropped,
            ..decoded
        }
    }

    /// What is held at the moment.
    #[must_use]
    pub fn usage(&self) -> Usage {
        Usage { conversations: self.join.len(), ..self.decoder.usage() }
    }

    /// The decoder, for what it knows of exporters.
    #[must_use]
    pub const fn decoder(&self) -> &Decoder {
        &self.decoder
    }
}

/// How long after the latest record of a conversation more of it may be expected.
const MAY_FOLLOW: Duration = Duration::from_secs(120);

/// Tells conversations, with what may be missing of them.
struct Teller<'a> {
    decoder: &'a Decoder,
    dropped: Option<Timestamp>,
}

impl Teller<'_> {
    /// What was lost of an exporter's records from when the conversation began to some time after its
    /// latest record may have been of it.
    fn tell(&self, conversation: &Conversation, ended: bool, sink: &mut dyn FnMut(Told<'_>)) {
        let mut connection = conversation.connection(ended);
        let Some(exported) = &mut connection.exported else { return };
        for source in conversation.sources() {
            let losses = self.decoder.losses(source.exporter, (source.version, source.domain));
            for (at, caveat) in [
                (losses.0, Caveat::ExporterGaps),
                (losses.1, Caveat::TemplatesMissing),
                (self.dropped, Caveat::Drops),
            ] {
                let touched = at.is_some_and(|at| {
                    let event = self.decoder.exporters_time(source.exporter, at);
                    event >= conversation.first && at <= conversation.touched.plus(MAY_FOLLOW)
                });
                if touched && !exported.caveats.contains(&caveat) {
                    exported.caveats.push(caveat);
                }
            }
        }
        sink(Told::Connection(Box::new(connection), conversation.evidence.clone()));
    }
}
