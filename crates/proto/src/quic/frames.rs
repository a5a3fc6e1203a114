//! Frames of Initial packets (RFC 9000 §19; which may stand there: §12.4, table 3).

use super::packet::integer;
use crate::cursor::Cursor;

const PADDING: u64 = 0;
const PING: u64 = 1;
const ACK: u64 = 2;
const ACK_WITH_ECN: u64 = 3;
const CRYPTO: u64 = 6;
const CONNECTION_CLOSE: u64 = 0x1c;

/// Hands out offset and bytes of each CRYPTO frame. False where the payload is not what a client may
/// send; what came before that is handed out.
pub(super) fn each_crypto(payload: &[u8], each: &mut dyn FnMut(u64, &[u8])) -> bool {
    let mut cursor = Cursor::new(payload);
    while !cursor.is_empty() {
        if frame(&mut cursor, each).is_none() {
            return false;
        }
    }
    true
}

fn frame(cursor: &mut Cursor<'_>, each: &mut dyn FnMut(u64, &[u8])) -> Option<()> {
    match integer(cursor)? {
        PADDING | PING => {}
        kind @ (ACK | ACK_WITH_ECN) => acknowledgement(cursor, kind == ACK_WITH_ECN)?,
        CRYPTO => {
            let offset = integer(cursor)?;
            let len = integer(cursor)?;
            each(offset, cursor.take(usize::try_from(len).ok()?)?);
        }
        CONNECTION_CLOSE => {
            integer(cursor)?;
            integer(cursor)?;
            let len = integer(cursor)?;
            cursor.take(usize::try_from(len).ok()?)?;
        }
        _ => return None,
    }
    Some(())
}

/// RFC 9000 §19.3. Each range takes two bytes at least, so that a lie about their number ends with the packet.
fn acknowledgement(cursor: &mut Cursor<'_>, ecn: bool) -> Option<()> {
    integer(cursor)?;
    integer(cursor)?;
    let ranges = integer(cursor)?;
    integer(cursor)?;
    for _ in 0..ranges {
        integer(cursor)?;
        integer(cursor)?;
    }
    for _ in 0..if ecn { 3 } else { 0 } {
        integer(cursor)?;
    }
    Some(())
}
