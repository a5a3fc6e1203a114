//! TLS (RFC 5246, RFC 8446): its hellos, the shape of its records, and where the secrets are known
//! what is said inside.
//!
//! Without secrets nothing after the hellos is read. With them the content goes to a reader of its own,
//! as that of a proxy's tunnel does.

mod client_auth;
mod decrypt;
mod hello;
mod hellos;
mod ja4;
mod keylog;
mod messages;
mod meter;
mod protection;
mod record;
mod side;

#[cfg(test)]
mod tests;

use tw_model::{ClientAuth, ClientCertificate, Direction, NetworkTag};

pub(crate) use self::hello::ClientHello;
pub(crate) use self::ja4::Carrier;
pub use self::keylog::{ClientRandom, KeyLog, KeyLogCounters, SessionSecrets};
pub(crate) use self::protection::expand_label;

use self::client_auth::{ClientAuthReader, Shown};
use self::decrypt::{Decryption, Piece};
use self::hellos::Hellos;
use self::meter::Meter;
use crate::event::Event;
use crate::out::Out;
use crate::reader::{Ends, Reader};

/// One TLS connection, or one inside another.
pub(crate) struct Tls {
    ends: Ends,
    hellos: Hellos,
    decryption: Option<Box<Decryption>>,
    /// Set where the records are to be told of while they are not decrypted.
    meter: Option<Box<Meter>>,
    /// Set where it is to be told what the handshake shows of client certificates.
    client_auth: Option<Box<ClientAuthReader>>,
    inner: Option<Box<Reader>>,
    tunnels: u32,
}

impl Tls {
    /// `tunnels` are those that it is inside of. Secrets are asked for where `decrypt` is set.
    pub(crate) fn new(ends: Ends, tunnels: u32, decrypt: bool, limits: &crate::Limits) -> Self {
        let decrypt = decrypt && tunnels < limits.tunnels;
        Self {
            ends,
            hellos: Hellos::new(ends),
            decryption: decrypt.then(|| Box::new(Decryption::new(limits))),
            meter: None,
            client_auth: decrypt.then(Box::default),
            inner: None,
            tunnels,
        }
    }

    /// Records are told of while they are not decrypted, and client certificates where they show.
    pub(crate) fn tell_records(&mut self) {
        self.meter = Some(Box::default());
        self.client_auth = Some(Box::default());
    }

    pub(crate) const fn client_direction(&self) -> Option<Direction> {
        self.hellos.client_direction()
    }

    pub(crate) fn wants_more(&self) -> bool {
        self.hellos.wants_more()
            || self.meter.is_some()
            || self.client_auth.is_some()
            || self.decryption.is_some()
                && self.inner.as_ref().is_none_or(|inner| inner.wants_more())
    }

    /// Set where the secrets of this client would open what comes next.
    pub(crate) fn wants_secrets(&self) -> Option<ClientRandom> {
        let own = self.decryption.as_ref().and_then(|decryption| decryption.wants_secrets());
        own.or_else(|| self.inner.as_ref()?.wants_secrets())
    }

    pub(crate) fn unlock(&mut self, secrets: &SessionSecrets, out: &mut Out<'_>) {
        let wanted = self.decryption.as_ref().is_some_and(|own| own.wants_secrets().is_some());
        if wanted {
            self.meter = None;
            self.decrypt(out, |decryption, sink| decryption.unlock(secrets, sink));
        } else if let Some(inner) = &mut self.inner {
            inner.inside(out, |inner, sink| inner.unlock(secrets, sink));
        }
    }

    pub(crate) fn data(&mut self, direction: Direction, bytes: &[u8], out: &mut Out<'_>) {
        self.give_up_secrets();
        if self.hellos.wants_more() {
            self.hellos.data(direction, bytes, out);
        }
        if let Some(reader) = &mut self.client_auth {
            let shown = reader.data(direction, bytes, out.limits);
            self.client_auth(shown, out);
        }
        if let Some(meter) = &mut self.meter {
            let tell = &mut |record| out.event(Event::TlsRecord(record));
            meter.data(direction, bytes, self.hellos.suite(), tell);
        }
        self.decrypt(out, |decryption, sink| decryption.data(direction, bytes, sink));
    }

    pub(crate) fn gap(&mut self, direction: Direction, len: u64, out: &mut Out<'_>) {
        self.give_up_secrets();
        self.hellos.end(direction, out);
        self.end_client_auth(direction, out);
        if let Some(meter) = &mut self.meter {
            meter.gap(direction, len, &mut |record| out.event(Event::TlsRecord(record)));
        }
        self.decrypt(out, |decryption, sink| decryption.gap(direction, len, sink));
    }

    pub(crate) fn half_close(&mut self, direction: Direction, out: &mut Out<'_>) {
        self.give_up_secrets();
        self.hellos.end(direction, out);
        self.end_client_auth(direction, out);
        if let Some(inner) = &mut self.inner {
            inner.inside(out, |inner, sink| inner.half_close(direction, sink));
        }
    }

    pub(crate) fn close(&mut self, out: &mut Out<'_>) {
        self.hellos.close(out);
        self.end_client_auth(Direction::ToResponder, out);
        self.end_client_auth(Direction::ToOpener, out);
        self.decryption = None;
        if let Some(inner) = &mut self.inner {
            inner.inside(out, Reader::close);
        }
    }

    fn end_client_auth(&mut self, direction: Direction, out: &mut Out<'_>) {
        if let Some(reader) = &mut self.client_auth {
            let shown = reader.end(direction);
            self.client_auth(shown, out);
        }
    }

    fn client_auth(&mut self, shown: Shown, out: &mut Out<'_>) {
        if shown == Shown::More {
            return;
        }
        let client = self.client_auth.take().and_then(|reader| reader.client());
        if let (Shown::This(certificate), Some(client)) = (shown, client) {
            out.event(Event::ClientAuth(auth(self.ends, client, certificate)));
        }
    }

    /// Who has secrets gives them before anything else comes.
    fn give_up_secrets(&mut self) {
        if self.decryption.as_ref().is_some_and(|own| own.wants_secrets().is_some()) {
            self.decryption = None;
        }
    }

    fn decrypt(
        &mut self,
        out: &mut Out<'_>,
        act: impl FnOnce(&mut Decryption, &mut dyn FnMut(Piece<'_>)),
    ) {
        let Self { ends, decryption, inner, tunnels, hellos, .. } = self;
        let Some(own) = decryption else { return };
        act(own, &mut |piece| {
            if let Piece::ClientAuth(certificate) = piece {
                if let Some(client) = hellos.client_direction() {
                    out.event(Event::ClientAuth(auth(*ends, client, certificate)));
                }
                return;
            }
            let inner =
                inner.get_or_insert_with(|| Box::new(Reader::inside_tls(*ends, *tunnels, out)));
            inner.inside(out, |inner, sink| match piece {
                Piece::Data(direction, bytes) => inner.data(direction, bytes, sink),
                Piece::Gap(direction, len) => inner.gap(direction, len, sink),
                Piece::ClientAuth(_) => {}
            });
        });
        if own.is_over() {
            *decryption = None;
        }
    }
}

fn auth(ends: Ends, client: Direction, certificate: ClientCertificate) -> ClientAuth {
    let (client, server) = ends.sender_and_receiver(client);
    ClientAuth { flow: ends.flow, client, server, tag: NetworkTag::default(), certificate }
}
