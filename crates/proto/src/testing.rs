//! For the tests: events as plain values, bodies joined, and every way to cut a stream.

use std::net::{IpAddr, Ipv4Addr};

use tw_model::{Direction, Endpoint, FlowId, Protocol, Timestamp};

use crate::{Event, Extent, HttpEventKind, Limits, Reader};

/// What goes in.
#[derive(Clone, Debug)]
pub(crate) enum Feed {
    Data(Direction, Vec<u8>),
    Gap(Direction, u64),
    HalfClose(Direction),
    /// What comes next was captured so many seconds after the start.
    At(i64),
}

pub(crate) const UP: Direction = Direction::ToResponder;
pub(crate) const DOWN: Direction = Direction::ToOpener;

pub(crate) fn up(bytes: impl AsRef<[u8]>) -> Feed {
    Feed::Data(UP, bytes.as_ref().to_vec())
}

pub(crate) fn down(bytes: impl AsRef<[u8]>) -> Feed {
    Feed::Data(DOWN, bytes.as_ref().to_vec())
}

pub(crate) fn endpoint(last: u8, port: u16) -> Endpoint {
    Endpoint::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, last)), port)
}

pub(crate) fn reader(port: u16, limits: Limits) -> Reader {
    let mut reader =
        Reader::new(FlowId(7), endpoint(1, 40_000), endpoint(2, port), Protocol::TCP, limits);
    reader.fingerprint();
    reader
}

/// Everything that is told, as lines; adjacent body pieces are joined.
pub(crate) fn read_with(mut reader: Reader, feeds: &[Feed]) -> Vec<String> {
    let mut told = Told::default();
    for feed in feeds {
        match feed {
            Feed::Data(direction, bytes) => {
                reader.data(*direction, bytes, &mut |event| told.take(event));
            }
            Feed::Gap(direction, len) => {
                reader.gap(*direction, *len, &mut |event| told.take(event))
            }
            Feed::At(seconds) => reader.at(Timestamp::from_nanos(seconds * 1_000_000_000)),
            Feed::HalfClose(direction) => {
                reader.half_close(*direction, &mut |event| told.take(event));
            }
        }
    }
    reader.close(&mut |event| told.take(event));
    told.finish()
}

pub(crate) fn read(feeds: &[Feed]) -> Vec<String> {
    read_with(reader(2375, Limits::default()), feeds)
}

pub(crate) fn read_midstream(feeds: &[Feed]) -> Vec<String> {
    let mut reader = reader(2375, Limits::default());
    reader.joined_midstream();
    read_with(reader, feeds)
}

/// Asserts that the feeds mean the same however each of them is cut, and returns what they mean.
pub(crate) fn read_at_every_cut(feeds: &[Feed]) -> Vec<String> {
    let whole = read(feeds);
    for (index, feed) in feeds.iter().enumerate() {
        let Feed::Data(direction, bytes) = feed else { continue };
        for at in 1..bytes.len() {
            let mut cut = feeds.to_vec();
            let (head, tail) = bytes.split_at(at);
            cut[index] = Feed::Data(*direction, head.to_vec());
            cut.insert(index + 1, Feed::Data(*direction, tail.to_vec()));
            assert_eq!(read(&cut), whole, "feed {index} cut at {at}");
        }
    }
    for seed in 1..40 {
        assert_eq!(read(&cut_at_random(feeds, seed)), whole, "seed {seed}");
    }
    let bytes: Vec<Feed> = feeds.iter().flat_map(|feed| pieces(feed, |_| 1)).collect();
    assert_eq!(read(&bytes), whole, "byte by byte");
    whole
}

fn cut_at_random(feeds: &[Feed], seed: u64) -> Vec<Feed> {
    let mut random = Random(seed);
    feeds.iter().flat_map(|feed| pieces(feed, |left| 1 + random.below(left.min(97)))).collect()
}

fn pieces(feed: &Feed, mut len: impl FnMut(usize) -> usize) -> Vec<Feed> {
    let Feed::Data(direction, bytes) = feed else { return vec![feed.clone()] };
    let mut rest = bytes.as_slice();
    let mut cut = Vec::new();
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(len(rest.len()).min(rest.len()));
        cut.push(Feed::Data(*direction, piece.to_vec()));
        rest = after;
    }
    cut
}

/// xorshift64*: seeded, so that a failure can be had again.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() >> 33).unwrap() % end.max(1)
    }
}

const fn extent(extent: Extent) -> &'static str {
    match extent {
        Extent::Whole => "",
        Extent::Fields => " cut",
        Extent::Line => " cut in its line",
        Extent::Missing => " missing",
    }
}

#[derive(Default)]
pub(crate) struct Told {
    lines: Vec<String>,
    body: Option<(String, Vec<u8>)>,
}

impl Told {
    pub(crate) fn take(&mut self, event: Event<'_>) {
        let line = match event {
            Event::Http(http) => {
                let via = http.via.map_or_else(String::new, |(to, _)| format!(" via {to}"));
                let start = format!("{}{via}", http.exchange);
                match http.kind {
                    HttpEventKind::RequestBody(bytes) => {
                        return self.piece(format!("{start} > body "), bytes);
                    }
                    HttpEventKind::ResponseBody(bytes) => {
                        return self.piece(format!("{start} < body "), bytes);
                    }
                    HttpEventKind::Upstream { direction, bytes } => {
                        let way = if direction == UP { "up" } else { "down" };
                        return self.piece(format!("{start} {way} "), bytes);
                    }
                    HttpEventKind::RequestHead(head) => format!(
                        "{start} > {} {} {} host={}{}",
                        head.method,
                        head.target,
                        head.version.as_str(),
                        head.authority.as_deref().unwrap_or("-"),
                        extent(head.extent),
                    ),
                    HttpEventKind::ResponseHead(head) => {
                        let (version, cut) = (head.version.as_str(), extent(head.extent));
                        format!("{start} < {version} {}{cut}", head.status)
                    }
                    HttpEventKind::RequestGap(len) => format!("{start} > gap {len}"),
                    HttpEventKind::ResponseGap(len) => format!("{start} < gap {len}"),
                    HttpEventKind::RequestUnread(len) => format!("{start} > unread {len}"),
                    HttpEventKind::ResponseUnread(len) => format!("{start} < unread {len}"),
                    HttpEventKind::RequestEnd(end) => format!("{start} > {end:?}"),
                    HttpEventKind::ResponseEnd(end) => format!("{start} < {end:?}"),
                    HttpEventKind::ResponseTrailers(fields) => {
                        let all = fields.iter().map(|f| format!(" {}={}", f.name, f.value));
                        format!("{start} < trailers{}", all.collect::<String>())
                    }
                    HttpEventKind::Reset(UP) => format!("{start} > reset"),
                    HttpEventKind::Reset(DOWN) => format!("{start} < reset"),
                    HttpEventKind::Upgraded(to) => format!("{start} upgraded {to:?}"),
                }
            }
            Event::Tls(hello) => format!(
                "tls {} -> {} {} {} {:?} {}",
                hello.client,
                hello.server,
                hello.sni.as_deref().unwrap_or("-"),
                hello.version.as_deref().unwrap_or("-"),
                hello.alpn,
                hello.ja4.as_deref().unwrap_or("-"),
            ),
            Event::TlsRecord(record) => format!("{record:?}"),
            Event::ClientAuth(auth) => format!("client certificate {:?}", auth.certificate),
            Event::Dns(answer) => format!(
                "dns {} {} rcode={} {:?} {:?} {:?}",
                answer.query,
                answer.qtype,
                answer.rcode,
                answer.cnames,
                answer.addresses,
                answer.other
            ),
            Event::Tunnel(to, kind) => format!("tunnel {to} {kind:?}"),
            Event::Anomaly(kind) => format!("anomaly {kind:?}"),
        };
        self.flush();
        self.lines.push(line);
    }

    fn piece(&mut self, start: String, bytes: &[u8]) {
        match &mut self.body {
            Some((open, body)) if *open == start => body.extend_from_slice(bytes),
            _ => {
                self.flush();
                self.body = Some((start, bytes.to_vec()));
            }
        }
    }

    fn flush(&mut self) {
        if let Some((start, body)) = self.body.take() {
            let shown = String::from_utf8_lossy(&body);
            let long = body.len() > 80;
            self.lines.push(if long {
                format!("{start}{} bytes", body.len())
            } else {
                format!("{start}{shown}")
            });
        }
    }

    pub(crate) fn finish(mut self) -> Vec<String> {
        self.flush();
        self.lines
    }
}
