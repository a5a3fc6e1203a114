//! Conversations under way, with their pieces.

use tw_model::{FlowId, Protocol, Sampling};

use crate::Limits;
use crate::conversation::Conversation;
use crate::cursor::Cursor;
use crate::join::Join;
use crate::piece::{Key, Piece, Source};
use crate::state::Out;

pub(super) fn save(out: &mut Out, join: &Join) {
    out.u64(join.next_id);
    let mut all: Vec<_> = join.all().collect();
    all.sort_unstable_by_key(|(_, conversation)| (conversation.touched, conversation.id));
    out.count(all.len());
    for (key, conversation) in all {
        key.ends.iter().for_each(|end| out.endpoint(*end));
        out.u8(key.protocol.0);
        out.u64(conversation.id.0);
        out.time(conversation.touched);
        out.u8(u8::from(conversation.told));
        out.count(conversation.pieces.len());
        for piece in &conversation.pieces {
            save_piece(out, piece);
        }
    }
}

fn save_piece(out: &mut Out, piece: &Piece) {
    out.address(piece.source.exporter);
    out.u16(piece.source.version);
    out.u32(piece.source.domain);
    out.u8(u8::from(piece.sender != 0));
    out.time(piece.first);
    out.time(piece.last);
    out.u64(piece.packets);
    out.u64(piece.bytes);
    out.maybe(piece.flags, Out::u8);
    let (kind, rate) = match piece.sampling {
        Sampling::Untold => (0, 0),
        Sampling::UnknownRate => (1, 0),
        Sampling::OneIn(rate) => (2, rate),
    };
    out.u8(kind);
    out.u32(rate);
    out.maybe(piece.opener, |out, end| out.u8(u8::from(end != 0)));
    out.evidence(piece.evidence);
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
        let conversation = read_conversation(cursor, limits)?;
        if index >= too_many {
            join.restore(key, conversation?, limits);
        }
    }
    Some(join)
}

/// Nothing inside where it has no piece.
fn read_conversation(cursor: &mut Cursor<'_>, limits: &Limits) -> Option<Option<Conversation>> {
    let (id, touched) = (FlowId(cursor.u64()?), cursor.time()?);
    let told = cursor.flag()?;
    let mut conversation: Option<Conversation> = None;
    for _ in 0..cursor.count()? {
        let piece = read_piece(cursor)?;
        match &mut conversation {
            Some(conversation) => drop(conversation.add(piece, touched, limits.pieces)),
            None => conversation = Some(Conversation::new(id, piece, touched)),
        }
    }
    Some(conversation.map(|conversation| Conversation { told, ..conversation }))
}

fn read_piece(cursor: &mut Cursor<'_>) -> Option<Piece> {
    let exporter = cursor.address()?;
    let source = Source { exporter, version: cursor.u16()?, domain: cursor.u32()? };
    let sender = usize::from(cursor.flag()?);
    let (first, last) = (cursor.time()?, cursor.time()?);
    let (packets, bytes) = (cursor.u64()?, cursor.u64()?);
    let flags = cursor.maybe(Cursor::u8)?;
    let (kind, rate) = (cursor.u8()?, cursor.u32()?);
    let sampling = match kind {
        0 => Sampling::Untold,
        1 => Sampling::UnknownRate,
        2 => Sampling::OneIn(rate),
        _ => return None,
    };
    let opener = cursor.maybe(|cursor| Some(usize::from(cursor.flag()?)))?;
    let evidence = cursor.evidence()?;
    Some(Piece { source, sender, first, last, packets, bytes, flags, sampling, opener, evidence })
}
