//! SOCKS 4, 4a (as OpenSSH and curl speak them) and 5 (RFC 1928, RFC 1929): whereto, and from where
//! on the bytes are the tunnel's.

use std::net::{Ipv4Addr, Ipv6Addr};

use tw_model::{Direction, ProxyKind};

use crate::cursor::Cursor;
use crate::http::fields::text;
use crate::level::{Next, Switch};
use crate::limits::length;
use crate::out::Out;

/// A SOCKS handshake under way.
pub(crate) struct Socks {
    client: Direction,
    from_client: Vec<u8>,
    from_server: Vec<u8>,
    client_at: ClientStep,
    server_at: ServerStep,
    target: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ClientStep {
    /// The first message of either version.
    Greeting,
    /// RFC 1929, if the server chose it.
    Authentication,
    Request,
    /// All said.
    Done,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ServerStep {
    Greeting,
    Authentication,
    Reply5,
    Reply4,
    /// The tunnel is open.
    Done,
}

/// What one message came to.
enum Parsed {
    /// It took so many bytes.
    Taken(usize),
    More,
    Malformed,
}

impl Socks {
    pub(crate) const fn new(client: Direction) -> Self {
        Self {
            client,
            from_client: Vec::new(),
            from_server: Vec::new(),
            client_at: ClientStep::Greeting,
            server_at: ServerStep::Greeting,
            target: None,
        }
    }

    pub(crate) const fn client_direction(&self) -> Direction {
        self.client
    }

    /// Reads on; when the tunnel is open, or this is no SOCKS, the rest goes elsewhere.
    pub(crate) fn data(
        &mut self,
        direction: Direction,
        bytes: &[u8],
        out: &mut Out<'_>,
    ) -> Option<Switch> {
        let held =
            if direction == self.client { &mut self.from_client } else { &mut self.from_server };
        held.extend_from_slice(bytes);
        if held.len() > length(out.limits.held_bytes) {
            return Some(self.leave(Next::Unknown));
        }
        loop {
            let client = self.client_step();
            let server = match client {
                Parsed::Malformed => Parsed::Malformed,
                _ => self.server_step(),
            };
            match (client, server) {
                (_, Parsed::Malformed) => return Some(self.leave(Next::Unknown)),
                (Parsed::Taken(_), _) | (_, Parsed::Taken(_)) => {}
                _ => break,
            }
        }
        if self.server_at != ServerStep::Done || self.client_at != ClientStep::Done {
            return None;
        }
        let target = self.target.take()?;
        Some(self.leave(Next::Tunnel(target, ProxyKind::Socks)))
    }

    fn leave(&mut self, next: Next) -> Switch {
        let mut switch = Switch::new(next);
        switch.replay(self.client, &self.from_client);
        switch.replay(self.client.reversed(), &self.from_server);
        switch
    }

    fn client_step(&mut self) -> Parsed {
        let bytes = self.from_client.as_slice();
        let parsed = match (self.client_at, bytes.first()) {
            (ClientStep::Done, _) | (_, None) => return Parsed::More,
            // The server's choice of a method says whether an authentication comes first.
            (ClientStep::Authentication | ClientStep::Request, _)
                if self.server_at == ServerStep::Greeting =>
            {
                return Parsed::More;
            }
            (ClientStep::Greeting, Some(5)) => greeting5(bytes),
            (ClientStep::Greeting, Some(4)) => match request4(bytes) {
                Some(Some((target, len))) => {
                    self.target = Some(target);
                    Parsed::Taken(len)
                }
                Some(None) => Parsed::More,
                None => Parsed::Malformed,
            },
            (ClientStep::Authentication, Some(1)) => vectors(bytes, 2),
            (ClientStep::Request, Some(5)) => match request5(bytes) {
                Some(Some((target, len))) => {
                    self.target = Some(target);
                    Parsed::Taken(len)
                }
                Some(None) => Parsed::More,
                None => Parsed::Malformed,
            },
            _ => Parsed::Malformed,
        };
        if let Parsed::Taken(len) = parsed {
            let version4 = bytes.first() == Some(&4);
            self.from_client.drain(..len.min(self.from_client.len()));
            self.client_at = match self.client_at {
                ClientStep::Greeting if version4 => {
                    self.server_at = ServerStep::Reply4;
                    ClientStep::Done
                }
                ClientStep::Greeting | ClientStep::Authentication => ClientStep::Request,
                ClientStep::Request | ClientStep::Done => ClientStep::Done,
            };
        }
        parsed
    }

    fn server_step(&mut self) -> Parsed {
        let bytes = self.from_server.as_slice();
        let (next, len) = match (self.server_at, bytes) {
            (ServerStep::Done, _) | (_, [] | [_]) => return Parsed::More,
            (ServerStep::Greeting, _) if self.client_at == ClientStep::Greeting => {
                return Parsed::More;
            }
            (ServerStep::Greeting, [5, 0, ..]) => (ServerStep::Reply5, 2),
            (ServerStep::Greeting, [5, 2, ..]) => {
                self.client_at = ClientStep::Authentication;
                (ServerStep::Authentication, 2)
            }
            (ServerStep::Authentication, [1, 0, ..]) => (ServerStep::Reply5, 2),
            (ServerStep::Reply5, [5, 0, ..]) => match address5(bytes) {
                Some(Some((_, len))) => (ServerStep::Done, len),
                Some(None) => return Parsed::More,
                None => return Parsed::Malformed,
            },
            (ServerStep::Reply4, [0, 90, ..]) if bytes.len() >= 8 => (ServerStep::Done, 8),
            (ServerStep::Reply4, [0, 90, ..]) => return Parsed::More,
            _ => return Parsed::Malformed,
        };
        self.server_at = next;
        self.from_server.drain(..len.min(self.from_server.len()));
        Parsed::Taken(len)
    }
}

/// RFC 1928 §3: version, number of methods, methods.
fn greeting5(bytes: &[u8]) -> Parsed {
    vectors(bytes, 1)
}

/// A version byte and vectors with 8-bit lengths (RFC 1929 §2: user name and password).
fn vectors(bytes: &[u8], count: usize) -> Parsed {
    let mut cursor = Cursor::new(bytes);
    cursor.u8();
    for _ in 0..count {
        if cursor.vector8().is_none() {
            return Parsed::More;
        }
    }
    Parsed::Taken(bytes.len().saturating_sub(cursor.rest().len()))
}

/// A target and the bytes it took; the inner `None` where more are needed, the outer where it is
/// malformed.
type Target = Option<Option<(String, usize)>>;

/// RFC 1928 §4: only CONNECT opens a tunnel.
fn request5(bytes: &[u8]) -> Target {
    match bytes.get(1) {
        Some(1) => address5(bytes),
        None => Some(None),
        Some(_) => None,
    }
}

/// RFC 1928 §4 and §6: version, command or reply, reserved, address type, address, port.
fn address5(bytes: &[u8]) -> Target {
    let mut cursor = Cursor::new(bytes);
    let (Some(_), Some(kind)) = (cursor.take(3), cursor.u8()) else {
        return Some(None);
    };
    let host = match kind {
        1 => cursor
            .take(4)
            .and_then(|ip| ip.first_chunk().copied())
            .map(|ip: [u8; 4]| Ipv4Addr::from(ip).to_string()),
        3 => cursor.vector8().map(|name| text(name.rest())),
        4 => cursor
            .take(16)
            .and_then(|ip| ip.first_chunk().copied())
            .map(|ip: [u8; 16]| format!("[{}]", Ipv6Addr::from(ip))),
        _ => return None,
    };
    let (Some(host), Some(port)) = (host, cursor.u16()) else {
        return Some(None);
    };
    Some(Some((format!("{host}:{port}"), bytes.len().saturating_sub(cursor.rest().len()))))
}

/// SOCKS 4 CONNECT: port, address, user id, NUL; 4a: address 0.0.0.x, then a name and a NUL.
fn request4(bytes: &[u8]) -> Target {
    if bytes.get(1).is_some_and(|&command| command != 1) {
        return None;
    }
    let mut cursor = Cursor::new(bytes);
    cursor.take(2);
    let (Some(port), Some(ip)) = (cursor.u16(), cursor.take(4)) else {
        return Some(None);
    };
    let Some(_) = until_nul(&mut cursor) else {
        return Some(None);
    };
    let host = match *ip {
        [0, 0, 0, last] if last != 0 => match until_nul(&mut cursor) {
            Some(name) => text(name),
            None => return Some(None),
        },
        [a, b, c, d] => Ipv4Addr::new(a, b, c, d).to_string(),
        _ => return None,
    };
    Some(Some((format!("{host}:{port}"), bytes.len().saturating_sub(cursor.rest().len()))))
}

fn until_nul<'a>(cursor: &mut Cursor<'a>) -> Option<&'a [u8]> {
    let len = cursor.rest().iter().position(|&byte| byte == 0)?;
    let found = cursor.take(len)?;
    cursor.u8()?;
    Some(found)
}

#[cfg(test)]
mod tests {
    use crate::testing::{down, read, read_at_every_cut, up};

    const REQUEST: &str = "GET /in HTTP/1.1\r\n\r\n";

    #[test]
    fn socks5_with_a_name() {
        let lines = read_at_every_cut(&[
            up(b"\x05\x02\0\x02"),
            down(b"\x05\0"),
            up(b"\x05\x01\0\x03\x09h.example\0\x50"),
            down(b"\x05\0\0\x01\x0a\0\0\x01\x12\x34"),
            up(REQUEST),
            down("HTTP/1.1 204 x\r\n\r\n"),
        ]);
        assert_eq!(lines[0], "tunnel h.example:80 Socks");
        assert_eq!(lines[1], "0 via h.example:80 > GET /in HTTP/1.1 host=-");
        assert_eq!(lines[3], "0 via h.example:80 < HTTP/1.1 204");
    }

    #[test]
    fn socks5_with_a_password_and_an_ipv6_address() {
        let lines = read_at_every_cut(&[
            up(b"\x05\x01\x02"),
            down(b"\x05\x02"),
            up(b"\x01\x02me\x03key"),
            down(b"\x01\0"),
            up(b"\x05\x01\0\x04\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\x01\xbb"),
            down(b"\x05\0\0\x01\0\0\0\0\0\0"),
        ]);
        assert_eq!(lines, ["tunnel [2001:db8::1]:443 Socks"]);
    }

    #[test]
    fn socks4_and_4a() {
        let reply = b"\0\x5a\0\0\0\0\0\0";
        let lines =
            read_at_every_cut(&[up(b"\x04\x01\0\x50\xc0\0\x02\x07me\0"), down(reply), up(REQUEST)]);
        assert_eq!(
            lines[..2],
            ["tunnel 192.0.2.7:80 Socks", "0 via 192.0.2.7:80 > GET /in HTTP/1.1 host=-"]
        );
        let lines = read_at_every_cut(&[up(b"\x04\x01\0\x50\0\0\0\x01\0h.example\0"), down(reply)]);
        assert_eq!(lines, ["tunnel h.example:80 Socks"]);
    }

    #[test]
    fn a_refusal_is_no_tunnel() {
        let lines = read(&[
            up(b"\x05\x01\0"),
            down(b"\x05\0"),
            up(b"\x05\x01\0\x01\x0a\0\0\x01\0\x50"),
            down(b"\x05\x05\0\x01\0\0\0\0\0\0"),
        ]);
        assert!(lines.is_empty(), "{lines:?}");
        assert!(read(&[up(b"\x05\x01\0"), down(b"\x05\xff")]).is_empty());
    }
}
