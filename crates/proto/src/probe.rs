//! Recognises protocols by their bytes, on any port, each direction for itself.
//!
//! From the start of a connection the first bytes decide. After that, and on connections joined in
//! mid-stream, the lines and segments that look like the beginning of something do ("where it
//! begins to make sense").

use tw_model::Direction;

use crate::dns::{TELLING_BYTES, looks_like_message};
use crate::http1::{
    begins_with_progress, begun_request_line, looks_like_request, may_become_request,
    may_become_status, request_line, started_status_line,
};
use crate::http2::looks_like_frames;
use crate::level::{Next, Switch};
use crate::limits::{Limits, length};

/// RFC 9113 §3.4.
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// By then everything but a request line is told.
const DECIDED_BYTES: usize = 512;

/// What the first bytes of a direction are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// An HTTP/1 request.
    Request,
    /// An HTTP/1 response.
    Response,
    /// An HTTP/2 client's preface.
    Preface,
    /// A TLS record with a `ClientHello`.
    ClientHello,
    /// A TLS record with a `ServerHello`.
    ServerHello,
    /// A SOCKS client's greeting or request.
    Socks,
    /// An SSH banner.
    Ssh,
    /// Too early to say.
    More,
    /// None of these.
    Nothing,
}

/// Tells the first bytes of a direction.
pub(crate) fn probe(bytes: &[u8]) -> Verdict {
    let tests = [tls, preface, ssh, response, socks, request];
    let mut more = false;
    for test in tests {
        match test(bytes) {
            Verdict::More => more = true,
            Verdict::Nothing => {}
            found => return found,
        }
    }
    if more { Verdict::More } else { Verdict::Nothing }
}

/// RFC 8446 §5.1 and §4: a handshake record that begins with a hello.
fn tls(bytes: &[u8]) -> Verdict {
    let plausible = bytes.first().is_none_or(|&kind| kind == 22)
        && bytes.get(1).is_none_or(|&major| major == 3)
        && bytes.get(2).is_none_or(|&minor| minor <= 4)
        && bytes.get(3).is_none_or(|&high| high <= 0x48);
    match bytes.get(5) {
        _ if !plausible => Verdict::Nothing,
        None => Verdict::More,
        Some(1) => Verdict::ClientHello,
        Some(2) => Verdict::ServerHello,
        Some(_) => Verdict::Nothing,
    }
}

fn preface(bytes: &[u8]) -> Verdict {
    prefix(bytes, PREFACE, Verdict::Preface)
}

/// RFC 4253 §4.2.
fn ssh(bytes: &[u8]) -> Verdict {
    prefix(bytes, b"SSH-", Verdict::Ssh)
}

fn prefix(bytes: &[u8], pattern: &[u8], verdict: Verdict) -> Verdict {
    if bytes.starts_with(pattern) {
        verdict
    } else if pattern.starts_with(bytes) {
        Verdict::More
    } else {
        Verdict::Nothing
    }
}

fn response(bytes: &[u8]) -> Verdict {
    match may_become_status(bytes) {
        true if bytes.contains(&b' ') => Verdict::Response,
        true => Verdict::More,
        false => Verdict::Nothing,
    }
}

fn request(bytes: &[u8]) -> Verdict {
    let blank = bytes.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
    let bytes = bytes.get(blank..).unwrap_or_default();
    match bytes.iter().position(|&byte| byte == b'\n').and_then(|end| bytes.get(..end)) {
        Some(line) if request_line(line).is_some() => Verdict::Request,
        None if may_become_request(bytes.get(..256).unwrap_or(bytes)) => Verdict::More,
        _ => Verdict::Nothing,
    }
}

/// SOCKS 4 (request with its closing NUL) and SOCKS 5 (RFC 1928 §3, greeting). Either ends its
/// segment: the client waits for the answer.
fn socks(bytes: &[u8]) -> Verdict {
    match *bytes {
        [5] => Verdict::More,
        [5, count, ref methods @ ..] if (1..=10).contains(&count) => {
            let count = usize::from(count);
            let known = methods.iter().take(count).all(|method| matches!(method, 0..=9 | 0x80..));
            match methods.get(count..) {
                _ if !known => Verdict::Nothing,
                None => Verdict::More,
                Some([] | [5, ..] | [1, ..]) => Verdict::Socks,
                Some(_) => Verdict::Nothing,
            }
        }
        [4] => Verdict::More,
        [4, 1 | 2, ref rest @ ..] => match rest.get(6..) {
            None => Verdict::More,
            Some(user) if user.iter().all(|byte| matches!(byte, 0 | 0x20..=0x7e)) => {
                if user.contains(&0) { Verdict::Socks } else { Verdict::More }
            }
            Some(_) => Verdict::Nothing,
        },
        _ => Verdict::Nothing,
    }
}

/// A connection that has not been recognised.
#[derive(Debug)]
pub(crate) struct Probing {
    /// By `Direction::index`: bytes that may be the beginning of something.
    held: [Vec<u8>; 2],
    /// What is held began in the middle of a segment.
    doubtful: [bool; 2],
    /// The first bytes were none of ours: look at the beginnings of segments and lines.
    scanning: [bool; 2],
    seen_bytes: [u64; 2],
    midstream: bool,
    /// Is it a name server's port?
    dns: bool,
    /// What began here was taken for something that it was not: it is not tried again.
    misled: bool,
}

impl Probing {
    pub(crate) const fn new(midstream: bool, dns: bool) -> Self {
        Self {
            held: [Vec::new(), Vec::new()],
            doubtful: [false; 2],
            scanning: [midstream; 2],
            seen_bytes: [0; 2],
            midstream,
            dns,
            misled: false,
        }
    }

    /// For bytes that began like something and were nothing: only clear beginnings count now.
    pub(crate) const fn misled(dns: bool) -> Self {
        let mut probing = Self::new(true, dns);
        probing.misled = true;
        probing
    }

    /// False when both directions had their chance.
    pub(crate) fn wants_more(&self, limits: &Limits) -> bool {
        let most = u64::from(limits.probe_midstream_bytes);
        let each = if self.midstream { most } else { u64::from(limits.probe_bytes) };
        let [one, other] = self.seen_bytes;
        one.min(other) <= each && one.max(other) <= most
    }

    /// Missing bytes. A first line that they cut may have said enough.
    pub(crate) fn gap(&mut self, direction: Direction, len: u64) -> Option<Switch> {
        let index = direction.index();
        let held = std::mem::take(self.held.get_mut(index)?);
        let doubtful = std::mem::take(self.doubtful.get_mut(index)?);
        let next = if doubtful {
            None
        } else if begun_request_line(&held).is_some() {
            Some(Next::Http1(direction, self.lost(direction)))
        } else if started_status_line(&held).is_some() {
            Some(Next::Http1(direction.reversed(), self.lost(direction)))
        } else {
            None
        };
        let Some(next) = next else {
            *self.scanning.get_mut(index)? = true;
            // As if joined here.
            self.midstream = true;
            return None;
        };
        let mut switch = self.switch(next, direction, &[]);
        switch.replay_with_gap(direction, &held, len);
        Some(switch)
    }

    /// What the very first bytes of a connection are, where they alone tell and nothing is held: most
    /// are recognised here, and their bytes need not be held.
    pub(crate) fn at_once(&self, direction: Direction, bytes: &[u8]) -> Option<Next> {
        let untouched = self.seen_bytes == [0; 2] && !self.midstream && !self.misled;
        untouched.then(|| self.next(direction, probe(bytes)))?
    }

    pub(crate) fn data(
        &mut self,
        direction: Direction,
        bytes: &[u8],
        limits: &Limits,
    ) -> Option<Switch> {
        let index = direction.index();
        let held = self.held.get_mut(index)?;
        let scanning = self.scanning.get_mut(index)?;
        let seen = self.seen_bytes.get_mut(index)?;
        let first = *seen == 0 && !self.misled;
        *seen = seen.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        if *scanning && held.is_empty() {
            // The first segment of a joined connection may still be the beginning of anything.
            if first && let found @ Some(_) = self.decide(direction, probe(bytes), bytes) {
                return found;
            }
            return self.scan(direction, bytes);
        }
        // Only a line end can settle what was undecided for so long; looking at all of it again with
        // every segment would cost the square of its length.
        let settled = held.len() <= DECIDED_BYTES || bytes.contains(&b'\n');
        held.extend_from_slice(bytes);
        if !settled && held.len() <= length(limits.held_bytes) {
            return None;
        }
        // A request line of that length is one that says enough by its beginning.
        let verdict = match held.len() > length(limits.held_bytes) {
            true if begun_request_line(held).is_some() => Verdict::Request,
            true => Verdict::Nothing,
            false => probe(held),
        };
        // Some send the length of a DNS message in a segment of its own.
        let dns_to_come = self.dns && !*scanning && held.len() < TELLING_BYTES;
        if verdict == Verdict::More || (verdict == Verdict::Nothing && dns_to_come) {
            return None;
        }
        let held = std::mem::take(held);
        if let found @ Some(_) = self.decide(direction, verdict, &held) {
            return found;
        }
        if self.dns
            && !self.scanning.get(index).copied().unwrap_or(true)
            && looks_like_message(&held)
        {
            return Some(self.switch(Next::Dns, direction, &held));
        }
        *self.scanning.get_mut(index)? = true;
        // What began in an earlier segment was nothing; this segment has not been looked at.
        self.scan(direction, bytes)
    }

    /// Looks for a beginning at the start of the segment and after every line end.
    fn scan(&mut self, direction: Direction, segment: &[u8]) -> Option<Switch> {
        if self.dns && looks_like_message(segment) {
            return Some(self.switch(Next::Dns, direction, segment));
        }
        match probe(segment) {
            hello @ (Verdict::ClientHello | Verdict::ServerHello | Verdict::Preface) => {
                return self.decide(direction, hello, segment);
            }
            // STARTTLS, with a record header that was cut into pieces.
            _ if tls(segment) == Verdict::More => {
                self.held.get_mut(direction.index())?.extend_from_slice(segment);
                return None;
            }
            _ => {}
        }
        if self.midstream && looks_like_frames(segment) {
            return Some(self.switch(Next::Http2(true), direction, segment));
        }
        if self.midstream && begins_with_progress(segment) {
            let next = Next::Http1(direction.reversed(), [true; 2]);
            return Some(self.switch(next, direction, segment));
        }
        let mut rest = segment;
        loop {
            let start = rest.get(..512).unwrap_or(rest);
            if !rest.is_empty() && (looks_like_request(start) || may_become_status(start)) {
                match probe(rest) {
                    Verdict::More => {
                        if let Some(held) = self.held.get_mut(direction.index()) {
                            held.extend_from_slice(rest);
                        }
                        if let Some(doubtful) = self.doubtful.get_mut(direction.index()) {
                            *doubtful = rest.len() < segment.len();
                        }
                        return None;
                    }
                    verdict @ (Verdict::Request | Verdict::Response) => {
                        return self.decide(direction, verdict, rest);
                    }
                    _ => {}
                }
            }
            let end = rest.iter().position(|&byte| byte == b'\n')?;
            rest = rest.get(end.saturating_add(1)..)?;
        }
    }

    fn decide(&mut self, direction: Direction, verdict: Verdict, bytes: &[u8]) -> Option<Switch> {
        let next = self.next(direction, verdict)?;
        Some(self.switch(next, direction, bytes))
    }

    fn next(&self, direction: Direction, verdict: Verdict) -> Option<Next> {
        Some(match verdict {
            Verdict::Request => Next::Http1(direction, self.lost(direction)),
            Verdict::Response => Next::Http1(direction.reversed(), self.lost(direction)),
            Verdict::Preface => Next::Http2(false),
            Verdict::ClientHello | Verdict::ServerHello => Next::Tls,
            Verdict::Socks => Next::Socks(direction),
            Verdict::Ssh => Next::Ssh,
            Verdict::More | Verdict::Nothing => return None,
        })
    }

    /// Which directions had bytes that were nothing; the one that decided is in step again.
    fn lost(&self, decided: Direction) -> [bool; 2] {
        let mut lost = self.scanning;
        if let Some(lost) = lost.get_mut(decided.index()) {
            *lost = false;
        }
        lost
    }

    fn switch(&mut self, next: Next, direction: Direction, bytes: &[u8]) -> Switch {
        let other = direction.reversed();
        let mut switch = Switch::new(next);
        switch.replay(direction, bytes);
        if let Some(held) = self.held.get(other.index()) {
            switch.replay(other, held);
        }
        switch
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_bytes_tell_the_protocol() {
        let cases: [(&[u8], Verdict); 16] = [
            (b"GET / HTTP/1.1\r\n", Verdict::Request),
            (b"\r\n\r\nfrob /x HTTP/1.0\n", Verdict::Request),
            (b"HTTP/1.1 200 OK", Verdict::Response),
            (PREFACE, Verdict::Preface),
            (b"\x16\x03\x01\x02\x00\x01\x00", Verdict::ClientHello),
            (b"\x16\x03\x03\x00\x31\x02", Verdict::ServerHello),
            (b"SSH-2.0-x", Verdict::Ssh),
            (b"\x05\x01\x00", Verdict::Socks),
            (b"\x04\x01\x00\x50\x7f\0\0\x01root\0", Verdict::Socks),
            (b"GET / RTSP/1.0\r\n", Verdict::Nothing),
            (b"OPTIONS sip:a@b SIP/2.0\r\n", Verdict::Nothing),
            (b"GET /unfinished", Verdict::More),
            (b"HTTP/1.", Verdict::More),
            (b"\x16\x03\x01\x02", Verdict::More),
            (b"PRI * HTTP/2", Verdict::More),
            (b"\0\0\0\0", Verdict::Nothing),
        ];
        for (bytes, verdict) in cases {
            assert_eq!(probe(bytes), verdict, "{}", String::from_utf8_lossy(bytes));
        }
    }
}
