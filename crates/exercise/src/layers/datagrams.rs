//! The reader of UDP conversations: DNS and QUIC.

use tw_model::{Direction, FlowId, Protocol};
use tw_proto::{Event, Limits, Reader};

use crate::input::{Input, endpoint};

/// Port of the responder, then datagrams: bit 0 is the direction, bits 1 to 3 how many bytes are missing,
/// then a block. One hello is told at most, and what has nothing more to tell wants no more.
pub fn datagrams(input: &[u8]) {
    let mut input = Input::new(input);
    let (opener, responder) = (endpoint(1, 40_000), endpoint(2, input.u16()));
    let mut reader = Reader::new(FlowId(1), opener, responder, Protocol::UDP, Limits::default());
    let mut hellos = 0;
    while !input.is_empty() {
        let what = input.u8();
        let direction = if what & 1 == 0 { Direction::ToResponder } else { Direction::ToOpener };
        let over = !reader.wants_more();
        reader.datagram(direction, input.block(), u32::from(what >> 1 & 7), &mut |event| {
            assert!(!over, "after the end: {event:?}");
            hellos += u32::from(matches!(event, Event::Tls(_)));
        });
    }
    reader.close(&mut |event| panic!("at the end: {event:?}"));
    assert!(hellos <= 1, "{hellos} hellos");
}
