//! What is remembered of one connection: itself, the exchanges on it, and how its address and
//! names stood when they were first seen.

use std::collections::BTreeMap;
use std::net::IpAddr;

use tw_model::{Connection, Evidence, HttpExchange, Timestamp};

use crate::Answer;
use crate::environment::EnvironmentId;
use crate::text::shortened;

/// A connection, as far as told. The parts may arrive in any order.
#[derive(Debug, Default)]
pub(crate) struct Sighting {
    pub(crate) connection: Option<Connection>,
    pub(crate) evidence: Vec<Evidence>,
    pub(crate) environment: Option<EnvironmentId>,
    /// How the responder's address stood.
    pub(crate) address: Option<Answer>,
    pub(crate) sni: Option<Box<Asked>>,
    /// Boxed, as most connections carry one and a map makes room for eleven.
    pub(crate) exchanges: BTreeMap<u64, Box<Exchange>>,
    /// Names that came with the connection itself.
    pub(crate) names: Vec<Asked>,
    /// What a proxy was asked to open a tunnel to.
    pub(crate) tunnel: Option<Requested>,
}

/// An authority that was asked of a proxy, with how it stood when it was first seen.
#[derive(Clone, Debug)]
pub(crate) struct Requested {
    pub(crate) host: String,
    pub(crate) port: Option<u16>,
    pub(crate) standing: Answer,
}

/// A name with how it stood when it was first seen on this connection.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) name: String,
    pub(crate) origin: tw_model::NameOrigin,
    pub(crate) standing: Answer,
    /// Whether DNS had given this name this address before.
    pub(crate) mapping: Answer,
}

/// An exchange, reduced to what the join needs.
#[derive(Clone, Debug)]
pub(crate) struct Exchange {
    pub(crate) host: Option<String>,
    pub(crate) target: String,
    pub(crate) url: Option<String>,
    pub(crate) sha256: Option<String>,
    pub(crate) executable: bool,
    pub(crate) proxied: bool,
    pub(crate) started: Timestamp,
    pub(crate) ended: Timestamp,
    pub(crate) evidence: Vec<Evidence>,
    /// A registry's client asks a token service for a repository.
    token: bool,
    /// How the requested authority stood: address or name, and the tenant on a multi-tenant name.
    pub(crate) address: Option<(IpAddr, Answer)>,
    pub(crate) name: Option<Asked>,
    pub(crate) tenant: Option<Answer>,
}

impl Exchange {
    pub(crate) fn new(x: &HttpExchange, evidence: &[Evidence]) -> Self {
        Self {
            host: x.host.as_deref().map(|h| shortened(h, 300)),
            target: shortened(&x.target, MAX_URL_CHARS),
            url: x.url.as_deref().map(|u| shortened(u, MAX_URL_CHARS)),
            sha256: x.sha256.as_deref().map(|s| shortened(s, 64)),
            executable: x.executable,
            proxied: x.proxy.is_some(),
            started: x.started,
            ended: x.ended,
            evidence: evidence.iter().take(2).copied().collect(),
            token: is_token_request(x),
            address: None,
            name: None,
            tenant: None,
        }
    }

    /// Takes what is newer; what was asked of the store at first sight stays.
    pub(crate) fn update(&mut self, newer: Self) {
        let asked = (self.address.take(), self.name.take(), self.tenant.take());
        if newer.ended >= self.ended {
            *self = newer;
        }
        (self.address, self.name, self.tenant) = asked;
    }

    /// The registry protocol, or what belongs to it: the token service.
    pub(crate) fn is_registry(&self) -> bool {
        self.token || self.is_distribution()
    }

    /// Is this the registry protocol?
    pub(crate) fn is_distribution(&self) -> bool {
        is_distribution(&self.target)
    }

    /// Would it be either, before anything of it is kept?
    pub(crate) fn may_be_registry(x: &HttpExchange) -> bool {
        is_distribution(&x.target) || is_token_request(x)
    }
}

/// Is this the registry protocol (OCI Distribution Specification: end-1 to end-13)? A path that merely
/// begins with `/v2/` is not.
pub(crate) fn is_distribution(target: &str) -> bool {
    let Some(rest) = target.strip_prefix("/v2") else { return false };
    let rest = rest.split(['?', '#']).next().unwrap_or("");
    rest.is_empty()
        || rest == "/"
        || ["/manifests/", "/blobs/", "/tags/list", "/referrers/"].iter().any(|p| rest.contains(p))
        || rest == "/_catalog"
}

/// Distribution token authentication: `GET …?service=…&scope=repository:NAME:pull`, answered with
/// JSON.
fn is_token_request(x: &HttpExchange) -> bool {
    let Some((_, query)) = x.target.split_once('?') else { return false };
    let has = |start: &str| query.split('&').any(|pair| pair.starts_with(start));
    let scope =
        has("scope=repository:") || has("scope=repository%3A") || has("scope=repository%3a");
    let json = x.content_type.as_deref().is_some_and(|t| t.starts_with("application/json"));
    x.method == "GET" && has("service=") && scope && json && !x.executable
}

impl Sighting {
    pub(crate) fn exchanges(&self) -> impl Iterator<Item = &Exchange> {
        self.exchanges.values().map(|exchange| &**exchange)
    }

    /// Is the responder a proxy, so that names on this connection are not its own?
    pub(crate) fn is_proxied(&self) -> bool {
        self.tunnel.is_some() || self.exchanges().any(|x| x.proxied)
    }

    /// Takes the connection if it tells more than what is there.
    pub(crate) fn update(&mut self, c: Connection, evidence: &[Evidence]) {
        let newer =
            self.connection.as_ref().is_none_or(|old| (c.ended, c.last) >= (old.ended, old.last));
        if newer {
            self.connection = Some(c);
        }
        for e in evidence {
            if self.evidence.len() < MAX_EVIDENCE && !self.evidence.contains(e) {
                self.evidence.push(*e);
            }
        }
    }
}

pub(crate) const MAX_EVIDENCE: usize = 8;
const MAX_URL_CHARS: usize = 2_048;
