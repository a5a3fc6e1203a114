//! What a connection becomes after CONNECT and Upgrade.

use tw_model::ProxyKind;

use super::pairing::{Pending, upgrade};
use super::side::{Held, Phase};
use super::{Http1, Role};
use crate::http::fields::list;
use crate::http2::looks_like_frames;
use crate::level::{Next, Switch};
use crate::out::Out;
use crate::probe::{PREFACE, Verdict, probe};
use crate::{BodyEnd, Extent, HttpEventKind, ResponseHead, Upgrade};

impl Http1 {
    /// Does this response end HTTP/1 on the connection? Tells so, if it does.
    pub(crate) fn switches(
        &mut self,
        exchange: u64,
        head: &ResponseHead,
        pending: Option<&Pending>,
        out: &mut Out<'_>,
    ) -> bool {
        let asked = pending.and_then(|pending| pending.upgrade);
        if let Some(target) = pending.and_then(|pending| pending.target.as_deref())
            && (200..300).contains(&head.status)
        {
            self.leave(exchange, Upgrade::Tunnel, out);
            self.switch = Some(Switch::new(Next::Tunnel(target.to_owned(), ProxyKind::Connect)));
        } else if head.status == 101 {
            let answered = upgrade(list(&head.headers, "upgrade"));
            let becomes = answered.or(asked).unwrap_or(Upgrade::Other);
            self.leave(exchange, becomes, out);
            if becomes == Upgrade::H2c {
                // What is left of a head that was cut is no frame.
                let joined = head.extent != Extent::Whole;
                self.switch = Some(Switch::new(Next::Http2(joined)));
            }
        } else if is_hijacked(head, pending) {
            self.leave(exchange, Upgrade::Tcp, out);
        } else {
            return false;
        }
        self.hand_over_held(exchange, out);
        true
    }

    fn leave(&mut self, exchange: u64, becomes: Upgrade, out: &mut Out<'_>) {
        if matches!(self.requests.phase, Phase::Body(_)) {
            self.end_body(Role::Request, BodyEnd::Cut, out);
        }
        let complete = HttpEventKind::ResponseEnd(BodyEnd::Complete);
        out.http(exchange, self.request_direction, complete);
        out.http(exchange, self.request_direction, HttpEventKind::Upgraded(becomes));
        self.responses.phase = Phase::Upstream(exchange);
    }

    /// The request direction's bytes that waited go where the connection goes.
    fn hand_over_held(&mut self, exchange: u64, out: &mut Out<'_>) {
        let phase = std::mem::replace(&mut self.requests.phase, Phase::Upstream(exchange));
        let held = match phase {
            Phase::Held(held) => held,
            Phase::Done if self.switch.is_none() => {
                self.requests.phase = Phase::Done;
                return;
            }
            _ => Held::default(),
        };
        let direction = self.request_direction;
        match &mut self.switch {
            Some(switch) => switch.replay_with_gap(direction, &held.bytes, held.missing),
            None if held.bytes.is_empty() => {}
            None => {
                let kind = HttpEventKind::Upstream { direction, bytes: &held.bytes };
                out.http(exchange, direction, kind);
            }
        }
    }

    /// A client sends HTTP/2 only after the daemon agreed to it: where its answer was not captured,
    /// what it sends tells.
    pub(crate) fn guess_h2c(&mut self, out: &mut Out<'_>) {
        let Phase::Held(held) = &self.requests.phase else { return };
        let (exchange, bytes) = (held.exchange, held.bytes.as_slice());
        let begins = bytes.starts_with(PREFACE) || looks_like_frames(bytes);
        if begins && self.is_h2c(exchange) {
            self.guess_held(out);
        }
    }

    fn is_h2c(&self, exchange: u64) -> bool {
        let pending = self.pairing.pending(exchange);
        pending.is_some_and(|pending| pending.upgrade == Some(Upgrade::H2c))
    }

    /// No answer was captured, and none will be: the held bytes themselves tell what they are.
    pub(crate) fn guess_held(&mut self, out: &mut Out<'_>) {
        let Phase::Held(held) = &self.requests.phase else {
            return;
        };
        let (exchange, connect) = (held.exchange, held.connect);
        let next = match (probe(&held.bytes), connect) {
            // Its answer may still come, and is no frame.
            (Verdict::Preface, false) => Some((Next::Http2(true), Upgrade::H2c)),
            (_, false) if self.is_h2c(exchange) && looks_like_frames(&held.bytes) => {
                Some((Next::Http2(true), Upgrade::H2c))
            }
            (Verdict::ClientHello | Verdict::Request | Verdict::Preface, true) => {
                let target = self.pairing.pending(exchange).and_then(|p| p.target.clone());
                target.map(|to| (Next::Tunnel(to, ProxyKind::Connect), Upgrade::Tunnel))
            }
            (Verdict::Request, false) => {
                self.released = true;
                return;
            }
            _ => None,
        };
        match next {
            Some((next, becomes)) => {
                let upgraded = HttpEventKind::Upgraded(becomes);
                out.http(exchange, self.request_direction, upgraded);
                self.switch = Some(Switch::new(next));
                self.hand_over_held(exchange, out);
            }
            None => self.requests.phase = Phase::Done,
        }
    }
}

/// Docker daemons before 1.6, and some proxies before them, answer attach and exec start with 200
/// and the raw stream (Docker Engine API, ContainerAttach, "Hijacking").
fn is_hijacked(head: &ResponseHead, pending: Option<&Pending>) -> bool {
    let raw = |kind: &str| {
        kind.starts_with("application/vnd.docker.raw-stream")
            || kind.starts_with("application/vnd.docker.multiplexed-stream")
    };
    head.status == 200
        && pending.is_some_and(|pending| pending.post)
        && head.header("content-type").is_some_and(raw)
        && head.header("content-length").is_none()
        && head.header("transfer-encoding").is_none()
}
