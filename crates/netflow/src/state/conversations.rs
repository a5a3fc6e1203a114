//! Conversations under way.

use tw_model::{FlowId, Protocol};

use crate::Limits;
use crate::conversation::Conversation;
use crate::cursor::Cursor;
use crate::join::Join;
use crate::piece::{Key, Source};
use crate::state::Out;
use crate::track::Track;

pub(super) fn save(out: &mut Out, join: &Join) {
    out.u64(join.next_id);
    let mut all: Vec<_> = join.all().collect();
    all.sort_unstable_by_key(|conversation| (conversation.touched, conversation.id));
    out.count(all.len());
    for conversation in all {
        let key = &conversation.key;
        key.ends.iter().for_each(|end| out.endpoint(*end));
        out.u8(key.protocol.0);
        out.u64(conversation.id.0);
        out.time(conversation.first);
        out.time(conversation.last);
        out.time(conversation.touched);
        out.u8(u8::from(conversation.told));
        out.u8(conversation.seen.next);
        conversation.seen.ring.iter().for_each(|fingerprint| out.u64(*fingerprint));
        out.count(conversation.tracks.iter().count());
        conversation.tracks.iter().for_each(|track| save_track(out, track));
        out.count(conversation.evidence.len());
        conversation.evidence.iter().for_each(|place| out.evidence(*place));
    }
}

fn save_track(out: &mut Out, track: &Track) {
    out.address(track.source.exporter);
    out.u16(track.source.version);
    out.u32(track.source.domain);
    out.u8(u8::from(track.sender != 0));
    out.time(track.first);
    out.u8(u8::from(track.begins));
    out.u64(track.seen_packets);
    out.u64(track.packets);
    out.u64(track.bytes);
    out.maybe(track.flags, Out::u8);
    out.u8(u8::from(track.sampled));
    out.u8(u8::from(track.rate_unknown));
    out.u32(track.one_in);
    out.maybe(track.opener, |out, end| out.u8(u8::from(end != 0)));
}

/// Of more conversations than the limit allows, those that were silent longest are left out.
pub(super) fn read(cursor: &mut Cursor<'_>, limits: &Limits) -> Option<Join> {
    let mut join = Join::new();
    join.next_id = cursor.u64()?.max(join.next_id);
    let count = cursor.count()?;
    let too_many = count.saturating_sub(limits.conversations);
    for index in 0..count {
        let ends = [cursor.endpoint()?, cursor.endpoint()?];
        let key = Key { ends, protocol: Protocol(cursor.u8()?) };
        let conversation = read_conversation(cursor, key)?;
        if index >= too_many && conversation.tracks.iter().next().is_some() {
            join.restore(conversation, limits);
        }
    }
    Some(join)
}

fn read_conversation(cursor: &mut Cursor<'_>, key: Key) -> Option<Conversation> {
    let id = FlowId(cursor.u64()?);
    let (first, last) = (cursor.time()?, cursor.time()?);
    let mut conversation = Conversation::empty(id, key, cursor.time()?);
    (conversation.first, conversation.last) = (first, last);
    conversation.told = cursor.flag()?;
    conversation.seen.next = cursor.u8()?;
    for place in &mut conversation.seen.ring {
        *place = cursor.u64()?;
    }
    for _ in 0..cursor.count()? {
        let track = read_track(cursor)?;
        conversation.tracks.restore(track);
    }
    for _ in 0..cursor.count()? {
        conversation.note(cursor.evidence()?);
    }
    Some(conversation)
}

fn read_track(cursor: &mut Cursor<'_>) -> Option<Track> {
    let exporter = cursor.address()?;
    Some(Track {
        source: Source { exporter, version: cursor.u16()?, domain: cursor.u32()? },
        sender: usize::from(cursor.flag()?),
        first: cursor.time()?,
        begins: cursor.flag()?,
        seen_packets: cursor.u64()?,
        packets: cursor.u64()?,
        bytes: cursor.u64()?,
        flags: cursor.maybe(Cursor::u8)?,
        sampled: cursor.flag()?,
        rate_unknown: cursor.flag()?,
        one_in: cursor.u32()?,
        opener: cursor.maybe(|cursor| Some(usize::from(cursor.flag()?)))?,
    })
}
