//! The protocol readers, and the Docker API behind them.

use std::collections::BTreeMap;

use tw_docker::{Api, ConnFacts};
use tw_model::{Direction, FlowId, NetworkTag, Protocol, Secrets};
use tw_proto::{Event, HttpEvent, HttpEventKind, Limits, Reader};

use crate::input::{Input, endpoint, evidence};

/// Port of the responder, then what happens: bit 0 is the direction; bits 1 to 3 are 0 for a hole
/// (two bytes of length), 1 for the end of the direction, else data (a block). 255 as the port's high
/// byte means that the start was not seen.
///
/// Of each message, a head comes before all else where it is readable, and nothing after the end.
pub fn protocols(input: &[u8]) {
    let mut messages = BTreeMap::new();
    converse(input, &mut |event| {
        if let Event::Http(http) = event
            && http.via.is_none()
        {
            follow(&mut messages, &http);
        }
    });
}

/// How far a message has come.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
enum Progress {
    Nothing,
    Body,
    End,
}

fn follow(messages: &mut BTreeMap<(u64, bool), Progress>, http: &HttpEvent<'_>) {
    let (is_response, at_most, next) = match http.kind {
        HttpEventKind::RequestHead(_) => (false, Progress::Nothing, Progress::Body),
        HttpEventKind::RequestBody(_)
        | HttpEventKind::RequestGap(_)
        | HttpEventKind::RequestUnread(_) => (false, Progress::Body, Progress::Body),
        HttpEventKind::RequestEnd(_) => (false, Progress::Body, Progress::End),
        HttpEventKind::ResponseHead(_) => (true, Progress::Nothing, Progress::Body),
        HttpEventKind::ResponseBody(_)
        | HttpEventKind::ResponseGap(_)
        | HttpEventKind::ResponseUnread(_) => (true, Progress::Body, Progress::Body),
        HttpEventKind::ResponseEnd(_) => (true, Progress::Body, Progress::End),
        _ => return,
    };
    let progress = messages.entry((http.exchange, is_response)).or_insert(Progress::Nothing);
    assert!(*progress <= at_most, "after {progress:?}: {http:?}");
    *progress = next;
}

/// The same conversation on the Docker API's port, read as its API.
pub fn docker_api(input: &[u8]) {
    let mut api = Api::new(tw_docker::Limits::default(), Secrets::Redact);
    let (flow, opener, responder) = (FlowId(1), endpoint(1, 40_000), endpoint(2, 2375));
    let facts = ConnFacts {
        flow,
        opener,
        responder,
        tag: NetworkTag::default(),
        tls: false,
        midstream: false,
        hash: true,
    };
    let mut number = 0;
    converse(input, &mut |event| {
        number += 1;
        if let Event::Http(http) = event {
            api.http(&facts, &http, evidence(number, number), &mut |_| {});
        }
    });
    api.close(flow, evidence(number + 1, number + 1), &mut |_| {});
    api.finish(&mut |_| {});
}

fn converse(input: &[u8], sink: &mut dyn FnMut(Event<'_>)) {
    let mut input = Input::new(input);
    let port = input.u16();
    let (opener, responder) = (endpoint(1, 40_000), endpoint(2, port));
    let limits = Limits { decoded_bytes: 1 << 20, ..Limits::default() };
    let mut reader = Reader::new(FlowId(1), opener, responder, Protocol::TCP, limits);
    if port >= 0xff00 {
        reader.joined_midstream();
    }
    let mut ended = [false; 2];
    while !input.is_empty() {
        let what = input.u8();
        let direction = if what & 1 == 0 { Direction::ToResponder } else { Direction::ToOpener };
        let over = ended[direction.index()];
        match what >> 1 & 7 {
            0 => {
                let len = u64::from(input.u16());
                if len > 0 && !over {
                    reader.gap(direction, len, sink);
                }
            }
            1 if !over => {
                ended[direction.index()] = true;
                reader.half_close(direction, sink);
            }
            1 => {}
            _ => {
                let block = input.block();
                if !block.is_empty() && !over {
                    reader.data(direction, block, sink);
                }
            }
        }
    }
    reader.close(sink);
}
