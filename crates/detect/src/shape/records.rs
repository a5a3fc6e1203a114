//! Builds in flow records: what the sizes of a conversation with a Docker API tell.
//!
//! Records have no requests, only bytes, packets and times. Two shapes are taken for a build, each
//! by what sets it apart from the calls that look alike; the numbers are measured, see
//! `docs/inference.md`:
//! - *upload, then a trickle*: more goes in than the head of any request, as the smallest archive
//!   is larger, and the answer comes in many small packets, a line of the build's log in each. Pulls,
//!   logs, events and attached terminals send nothing but a head; a copy or a load sends more, but its
//!   answer is one line; starting a container has an answer of a few packets. Many calls on one
//!   connection have longer answers, each with a head of its own; where they are a build's besides
//!   others, its context is most of what goes in.
//! - *session*: two conversations of one client that begin and end together, of which one is chatty
//!   both ways in frames of a few bytes (BuildKit's session) and the other carries the log.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use tw_model::{
    Build, BuildId, Caveat, Connection, ConnectionState, Endpoint, Evidence, Frontend, Inference,
    Opener, Timestamp, Transport,
};

use crate::environment::EnvironmentId;
use crate::ledger::Held;
use crate::text::stable_id;

/// What a conversation must have to be an upload with a trickle.
struct Bounds {
    /// Payload bytes to the daemon.
    uploaded: u64,
    /// Payload bytes from it.
    answered: u64,
    /// Packets from it.
    packets: u64,
    /// Payload bytes from it in a packet on the average: no less than lines have.
    least: u64,
    /// And no more, but for what is answered besides them: heads, a version, an image; in TLS
    /// certificates.
    line: u64,
    besides: u64,
    /// The same where the context is most of what goes in: then other calls may be among it.
    most: u64,
}

/// In clear: a head is up to 1 KiB with credentials in it, the smallest archive 2 KiB.
const CLEAR: Bounds = Bounds {
    uploaded: 1_100,
    answered: 500,
    packets: 15,
    least: 25,
    line: 100,
    besides: 1_500,
    most: 300,
};
/// In TLS: certificates go both ways first, and each record adds to its line.
const TLS: Bounds = Bounds {
    uploaded: 5_500,
    answered: 3_000,
    packets: 18,
    least: 50,
    line: 125,
    besides: 3_500,
    most: 320,
};
/// Payload bytes in a packet to the daemon above which a context is most of what goes in: requests
/// with a head and a little JSON have up to 262, acknowledgments lower it.
const MOSTLY_CONTEXT: u64 = 300;
/// Payload bytes in a packet to the daemon above which it is a large upload; then most packets from the
/// daemon acknowledge it, and their number says nothing.
const BULK: u64 = 700;
/// Answer to a large upload that is more than that of a copy or a load, and in no full packets.
const BULK_ANSWER: u64 = 1_000;
const BULK_PACKET: u64 = 500;
/// Go's net package probes an idle connection that often.
const PROBE_SECONDS: u64 = 15;
/// Packets that must have been seen each way, whatever they stand for under sampling.
const SEEN_PACKETS: u64 = 3;

/// A session ends with the conversation that carries the log, within this.
const TOGETHER: Duration = Duration::from_secs(1);
/// It begins so soon after it: some round trips, which at 80 ms took 1.6 s.
const OPENED_WITHIN: Duration = Duration::from_secs(3);
/// Packets of a session each way.
const SESSION_PACKETS: u64 = 20;
/// Payload bytes in a packet from the daemon on a session, on the average: HTTP/2 frames with a head
/// of nine octets and little else. In TLS each is a record, and the certificates count in.
const SESSION_FRAME: u64 = 40;
const SESSION_FRAME_TLS: u64 = 60;
/// Payload bytes to the daemon on a session; a terminal's keystrokes are fewer in a packet than
/// [`KEYSTROKES`].
const SESSION_UPLOAD: u64 = 1_000;
const KEYSTROKES: u64 = 20;
/// Payload bytes and packets of the answer that carries the log.
const SESSION_LOG: u64 = 2_000;
const SESSION_LOG_PACKETS: u64 = 20;

/// The port on which Docker's API is in TLS by custom (IANA docker-s).
const TLS_PORT: u16 = 2376;
/// Conversations of one caller that lie no further apart are one build.
const ONE_BUILD: Duration = Duration::from_secs(2);

type Pair = (EnvironmentId, Endpoint, IpAddr);

/// All builds that conversations with Docker APIs show, with their evidence.
pub(crate) fn builds<'a>(
    conversations: impl Iterator<Item = &'a Held<Connection>>,
) -> Vec<(Build, Vec<Evidence>)> {
    let mut by_pair: BTreeMap<Pair, Vec<&Held<Connection>>> = BTreeMap::new();
    for held in conversations {
        let c = &held.value;
        let pair = (held.environment, c.responder, c.opener.ip);
        by_pair.entry(pair).or_default().push(held);
    }
    let mut builds = Vec::new();
    for list in by_pair.values_mut() {
        list.sort_by_key(|held| (held.value.first, held.value.opener));
        let shapes = list.iter().enumerate().filter_map(|(index, held)| {
            let signs = trickle(&held.value).or_else(|| session(list, index))?;
            Some((*held, signs))
        });
        builds.extend(joined(shapes, false).into_iter().map(Draft::into_build));
        let others = list.iter().enumerate().filter_map(|(index, held)| {
            let is_build = trickle(&held.value).is_some() || session(list, index).is_some();
            Some((*held, change(&held.value).filter(|_| !is_build)?))
        });
        builds.extend(joined(others, true).into_iter().map(Draft::into_build));
    }
    builds
}

/// Conversations that are parts of one build: the earliest and, with it, all.
struct Draft<'a> {
    first: &'a Held<Connection>,
    parts: Vec<&'a Held<Connection>>,
    signs: Vec<String>,
    last: Timestamp,
    doubtful: bool,
}

fn joined<'a>(
    shapes: impl Iterator<Item = (&'a Held<Connection>, Vec<String>)>,
    doubtful: bool,
) -> Vec<Draft<'a>> {
    let mut drafts: Vec<Draft<'a>> = Vec::new();
    for (held, signs) in shapes {
        let c = &held.value;
        match drafts.last_mut().filter(|draft| c.first.since(draft.last) <= ONE_BUILD) {
            Some(draft) => {
                draft.last = draft.last.max(c.last);
                draft.parts.push(held);
                if draft.signs.len() < MAX_SIGNS {
                    draft.signs.extend(signs);
                }
            }
            None => {
                drafts.push(Draft { first: held, parts: vec![held], signs, last: c.last, doubtful })
            }
        }
    }
    drafts
}

impl Draft<'_> {
    fn into_build(self) -> (Build, Vec<Evidence>) {
        let mut evidence: Vec<Evidence> =
            self.parts.iter().flat_map(|held| held.evidence.iter().copied()).collect();
        evidence.truncate(MAX_EVIDENCE);
        let c = &self.first.value;
        let over =
            |c: &Connection| matches!(c.state, ConnectionState::Closed | ConnectionState::Reset);
        let how = (Frontend::Inferred, Transport::Flow);
        let build = Build {
            tls: c.responder.port == TLS_PORT,
            caveats: self.caveats(),
            inference: Some(Inference { ja4: None, signs: self.signs, doubtful: self.doubtful }),
            ended: self.last,
            end_seen: self.parts.iter().all(|held| over(&held.value)),
            ..Build::begun(id(c), (c.opener, c.responder), c.tag, how, c.first)
        };
        (build, evidence)
    }

    fn caveats(&self) -> Vec<Caveat> {
        let parts = || self.parts.iter().map(|held| &held.value);
        let exported = parts().filter_map(|c| c.exported.as_ref());
        let mut caveats: Vec<Caveat> = exported.flat_map(|e| e.caveats.iter().copied()).collect();
        if parts().any(|c| c.opener_known != Opener::Seen) {
            caveats.push(Caveat::OpenerInferred);
        }
        if parts().any(|c| c.responder.port == TLS_PORT) {
            caveats.push(Caveat::TlsOpaque);
        }
        caveats.sort_unstable();
        caveats.dedup();
        caveats
    }
}

/// As other builds' ids: of what is the same in every run, with time cut to microseconds.
fn id(c: &Connection) -> BuildId {
    let micros = c.first.as_nanos().div_euclid(1_000).to_string();
    let (client, daemon) = (c.opener.to_string(), c.responder.to_string());
    BuildId(stable_id("build-", &["records", &daemon, &client, &micros]))
}

/// Something is uploaded, and the answer comes in many small packets.
fn trickle(c: &Connection) -> Option<Vec<String>> {
    let [uploaded, answered] = c.payload_bytes;
    let [sent, received] = c.packets;
    let bounds = if c.responder.port == TLS_PORT { &TLS } else { &CLEAR };
    if uploaded < bounds.uploaded || answered < bounds.answered || !is_seen_enough(c) {
        return None;
    }
    let in_packet = uploaded / sent.max(1);
    let a_packet = answered / (received - probes(c)).max(1);
    let told = if in_packet >= BULK {
        let lines = a_packet <= BULK_PACKET || is_sampled(c);
        lines && answered >= BULK_ANSWER.max(bounds.answered)
    } else {
        let lines = bounds.line.saturating_mul(received).saturating_add(bounds.besides);
        let short = answered <= lines || in_packet >= MOSTLY_CONTEXT && a_packet <= bounds.most;
        received >= bounds.packets && a_packet >= bounds.least && short
    };
    told.then(|| {
        vec![
            format!(
                "{uploaded} bytes of payload went to the daemon: more than a request without a body"
            ),
            format!("{answered} bytes came back in {received} packets, over {}", seconds(c)),
        ]
    })
}

/// Packets from the daemon that only ask whether the client is still there, in a build that is silent
/// for minutes.
fn probes(c: &Connection) -> u64 {
    let [_, received] = c.packets;
    (c.duration().as_secs() / PROBE_SECONDS).min(received / 2)
}

/// Something is uploaded, and that is all that can be said: a container made, files copied in, an
/// image committed or loaded.
fn change(c: &Connection) -> Option<Vec<String>> {
    let [uploaded, _] = c.payload_bytes;
    let bounds = if c.responder.port == TLS_PORT { &TLS } else { &CLEAR };
    (uploaded >= bounds.uploaded && is_seen_enough(c))
        .then(|| vec![format!("{uploaded} bytes of payload went to the daemon")])
}

/// A conversation of a session, where another begins and ends with it.
fn session(list: &[&Held<Connection>], index: usize) -> Option<Vec<String>> {
    let c = &list.get(index)?.value;
    let [uploaded, answered] = c.payload_bytes;
    let [sent, received] = c.packets;
    let frame = if c.responder.port == TLS_PORT { SESSION_FRAME_TLS } else { SESSION_FRAME };
    let chatty = sent.min(received) >= SESSION_PACKETS
        && answered / received.max(1) <= frame
        && uploaded >= SESSION_UPLOAD
        && uploaded / sent.max(1) >= KEYSTROKES;
    if !chatty || !is_seen_enough(c) {
        return None;
    }
    let near = |a: Timestamp, b: Timestamp, most| a.since(b).max(b.since(a)) <= most;
    let before = list.get(index.saturating_sub(MAX_NEIGHBOURS)..index)?.iter();
    let after = list.get(index + 1..)?.iter().take(MAX_NEIGHBOURS);
    let log = before.chain(after).map(|held| &held.value).find(|other| {
        let ([_, answered], [_, packets]) = (other.payload_bytes, other.packets);
        let log = answered >= SESSION_LOG && packets >= SESSION_LOG_PACKETS;
        near(other.first, c.first, OPENED_WITHIN) && near(other.last, c.last, TOGETHER) && log
    })?;
    let [_, log_bytes] = log.payload_bytes;
    Some(vec![
        format!(
            "{sent} packets to the daemon and {received} from it in frames of {} bytes on the average, over {}",
            answered / received.max(1),
            seconds(c)
        ),
        format!(
            "another conversation began and ended with it, on which {log_bytes} bytes came back"
        ),
    ])
}

/// Of a few sampled packets the mean says little.
fn is_sampled(c: &Connection) -> bool {
    c.exported.as_ref().is_some_and(|exported| exported.one_in > 1)
}

/// Under sampling a few packets stand for many, and for anything.
fn is_seen_enough(c: &Connection) -> bool {
    let one_in = c.exported.as_ref().map_or(1, |exported| exported.one_in.max(1));
    c.packets.iter().all(|packets| packets / u64::from(one_in) >= SEEN_PACKETS)
}

fn seconds(c: &Connection) -> String {
    format!("{:.1} s", c.duration().as_secs_f64())
}

const MAX_SIGNS: usize = 8;
const MAX_EVIDENCE: usize = 8;
const MAX_NEIGHBOURS: usize = 64;
