//! The protocol readers, and the Docker API behind them.

use tw_docker::{Api, ConnFacts};
use tw_model::{Direction, FlowId, NetworkTag, Protocol, Secrets};
use tw_proto::{Event, HttpEvent, HttpEventKind, Limits, Reader};

use crate::input::{Input, endpoint, evidence};

/// Port of the responder, then what happens: bit 0 is the direction; bits 1 to 3 are 0 for a hole
/// (two bytes of length), 1 for the end of the direction, else data (a block). 255 as the port's high
/// byte means that the start was not seen.
///
/// How the data is cut changes nothing of what is told.
pub fn protocols(input: &[u8]) {
    let whole = told(input, usize::MAX);
    for size in [1, 7] {
        let cut = told(input, size);
        for (number, (whole, cut)) in whole.iter().zip(&cut).enumerate() {
            assert_eq!(whole, cut, "event {number}, cut into pieces of {size}");
        }
        assert_eq!(whole.len(), cut.len(), "cut into pieces of {size}");
    }
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
    converse(input, usize::MAX, &mut |event| {
        number += 1;
        if let Event::Http(http) = event {
            api.http(&facts, &http, evidence(number, number), &mut |_| {});
        }
    });
    api.close(flow, evidence(number + 1, number + 1), &mut |_| {});
    api.finish(&mut |_| {});
}

fn converse(input: &[u8], size: usize, sink: &mut dyn FnMut(Event<'_>)) {
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
                for piece in input.block().chunks(size).filter(|_| !over) {
                    reader.data(direction, piece, sink);
                }
            }
        }
    }
    reader.close(sink);
}

/// Everything that is told, adjacent pieces of one body joined.
fn told(input: &[u8], size: usize) -> Vec<String> {
    let mut events: Vec<String> = Vec::new();
    let mut body: Option<(String, Vec<u8>)> = None;
    let close = |body: &mut Option<(String, Vec<u8>)>, events: &mut Vec<String>| {
        if let Some((of, bytes)) = body.take() {
            events.push(format!("{of} {bytes:?}"));
        }
    };
    converse(input, size, &mut |event| {
        if let Event::Http(http) = &event
            && let Some((kind, bytes)) = piece(http)
        {
            let of = format!("{} {kind}", http.exchange);
            if body.as_ref().is_some_and(|(before, _)| *before != of) {
                close(&mut body, &mut events);
            }
            body.get_or_insert((of, Vec::new())).1.extend(bytes);
            return;
        }
        close(&mut body, &mut events);
        events.push(format!("{event:?}"));
    });
    close(&mut body, &mut events);
    events
}

fn piece<'a>(http: &HttpEvent<'a>) -> Option<(&'static str, &'a [u8])> {
    match http.kind {
        HttpEventKind::RequestBody(bytes) => Some(("request", bytes)),
        HttpEventKind::ResponseBody(bytes) => Some(("response", bytes)),
        HttpEventKind::Upstream { direction: Direction::ToResponder, bytes } => Some(("up", bytes)),
        HttpEventKind::Upstream { direction: Direction::ToOpener, bytes } => Some(("down", bytes)),
        _ => None,
    }
}
