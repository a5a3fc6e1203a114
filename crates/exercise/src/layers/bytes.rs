//! Capture files, frames, and the engine as a whole.

use tidewaiter::engine::{Engine, Limits};
use tw_model::{RecordNumber, Secrets, SourceId};
use tw_wire::file::Reader;
use tw_wire::{Decoded, Decoder, Frame, LinkType, Packet, Transport};

use crate::input::{Input, evidence};

/// A capture file: frames are numbered, and lie within the file.
pub fn capture_file(input: &[u8]) {
    let Ok(mut reader) = Reader::with_capacity(input, SourceId(0), 512) else { return };
    let mut last = 0;
    while let Ok(Some(frame)) = reader.next_frame() {
        assert!(frame.number > last, "frame {} after {last}", frame.number);
        assert!(frame.bytes.len() <= input.len());
        last = frame.number;
    }
    let kept: usize = reader.take_secrets().iter().map(Vec::len).sum();
    assert!(kept <= input.len() && reader.bytes_read() <= input.len() as u64);
}

/// Frames: link type, milliseconds since the one before, bytes. No payload is longer than it was on the wire.
pub fn frames(input: &[u8]) {
    let mut decoder = Decoder::new(tw_wire::Limits {
        fragmented_datagrams: 16,
        fragmented_datagrams_per_source: 8,
        fragment_bytes: 1 << 16,
        ..tw_wire::Limits::default()
    });
    let mut input = Input::new(input);
    let (mut number, mut millis) = (0, 0);
    while !input.is_empty() {
        let link = LinkType(input.u16());
        millis += u64::from(input.u16());
        let bytes = input.block();
        number += 1;
        let at = evidence(number, millis);
        let frame = Frame {
            timestamp: at.timestamp,
            link,
            bytes,
            original_len: bytes.len() as u32,
            source: at.source,
            number,
            interface: 0,
        };
        let mut packets = 0;
        decoder.push(&frame, &mut |decoded| {
            if let Decoded::Packet(packet) = decoded {
                packets += 1;
                check_lengths(&packet);
            }
        });
        assert!(packets <= 1, "{packets} packets of one frame");
    }
    decoder.finish();
}

fn check_lengths(packet: &Packet<'_>) {
    let (kept, sent) = match packet.transport {
        Transport::Tcp(segment) => (segment.payload.len(), segment.payload_len),
        Transport::Udp(datagram) => (datagram.payload.len(), datagram.payload_len),
        Transport::Other { .. } => return,
    };
    assert!(kept <= sent as usize, "{kept} bytes kept of {sent}");
}

/// A capture file through every core: evidence never lies ahead of what was pushed.
pub fn engine(input: &[u8]) {
    let Ok(mut reader) = Reader::with_capacity(input, SourceId(0), 512) else { return };
    let mut engine = Engine::new(Limits::default(), Secrets::Redact);
    let mut frames = 0;
    while let Ok(Some(frame)) = reader.next_frame() {
        let now = frame.evidence();
        frames += 1;
        engine.push(&frame, &mut |observation| {
            assert!(!observation.evidence.is_empty(), "without evidence: {observation:?}");
            let is_ahead = observation.evidence.iter().any(|place| {
                matches!(place.record, RecordNumber::Frame(_)) && place.record > now.record
            });
            assert!(!is_ahead, "ahead of frame {frames}: {observation:?}");
        });
    }
    engine.finish(&mut |_| {});
    assert_eq!(engine.counters().frames, frames);
}
