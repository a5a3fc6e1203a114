//! One request of the registry protocol, and what it did.
//!
//! In: the events of its exchange. Out: a [`Step`], once. A request counts where the answer proves a
//! registry (its headers, a manifest's media type, a manifest), or, where the answer was not
//! captured, where a registry's client sent it. Credentials are not read.

use std::net::IpAddr;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use tw_model::{Evidence, FlowId, HttpExchange, NetworkTag, Timestamp};
use tw_proto::{RequestHead, ResponseHead};

use crate::api::ConnFacts;
use crate::collected::Collected;
use crate::id::push_hex;

use super::manifest::{Manifest, is_manifest_type};
use super::reference::host_port;
use super::target::{Part, Target, is_digest};

/// Largest manifest that is read (Distribution Specification: registries take at least 4 MiB).
const MAX_MANIFEST_BYTES: usize = 4 << 20;

/// Between whom.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    /// Who speaks to the registry.
    pub(crate) host: IpAddr,
    pub(crate) vlan: Option<u16>,
    pub(crate) vni: Option<u32>,
    /// `host:port`, as asked for.
    pub(crate) registry: String,
    pub(crate) repository: String,
}

/// What a request did.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) place: Place,
    pub(crate) deed: Deed,
    /// Bytes of the manifest or content.
    pub(crate) bytes: u64,
    /// The registry answered.
    pub(crate) confirmed: bool,
    pub(crate) flow: FlowId,
    pub(crate) registry_ip: Option<IpAddr>,
    pub(crate) tag: NetworkTag,
    pub(crate) tls: bool,
    pub(crate) user_agent: Option<String>,
    pub(crate) started: Timestamp,
    pub(crate) first: Evidence,
    pub(crate) last: Evidence,
}

/// The ways to take part in a pull or a push.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Deed {
    /// `HEAD manifests`: which digest a reference has.
    Resolved { reference: String, digest: Option<String> },
    /// `GET manifests`.
    Manifest { reference: String, digest: Option<String>, manifest: Option<Manifest> },
    /// `GET blobs`.
    Content { digest: String },
    /// `POST`, `PATCH` or `PUT blobs/uploads`; the digest comes with the last of an upload.
    Upload { id: String, digest: Option<String> },
    /// `PUT manifests`.
    Published { reference: String, digest: Option<String>, manifest: Option<Manifest> },
}

/// Reads one exchange. Order of calls: as HTTP events come; [`answered`](Self::answered) at the end
/// of the answer, [`over`](Self::over) when nothing more will come. Both give a step, together one.
pub(crate) struct Request {
    conn: ConnFacts,
    target: Target,
    method: Method,
    /// Its `User-Agent` is a registry client's.
    by_client: bool,
    user_agent: Option<String>,
    status: Option<u16>,
    proof: bool,
    digest: Option<String>,
    body: Option<Body>,
    bytes: u64,
    first: Evidence,
    done: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Method {
    Get,
    Head,
    Put,
    Post,
    Patch,
}

/// A manifest while it passes by. Each holds a clone of the token that counts them.
struct Body {
    collected: Collected,
    hasher: Option<Sha256>,
    _token: Arc<()>,
}

impl Request {
    /// `None` where it is none, or does nothing that matters here.
    pub(crate) fn new(
        head: &RequestHead,
        record: &HttpExchange,
        conn: &ConnFacts,
        at: Evidence,
    ) -> Option<Self> {
        let target = Target::read(&head.target)?;
        let method = match head.method.as_str() {
            "GET" => Method::Get,
            "HEAD" => Method::Head,
            "PUT" => Method::Put,
            "POST" => Method::Post,
            "PATCH" => Method::Patch,
            _ => return None,
        };
        let fits = match target.part {
            Part::Manifest(_) => matches!(method, Method::Get | Method::Head | Method::Put),
            Part::Blob(_) => method == Method::Get,
            Part::Upload { .. } => matches!(method, Method::Put | Method::Post | Method::Patch),
        };
        fits.then(|| Self {
            conn: *conn,
            target,
            method,
            by_client: record.user_agent.as_deref().is_some_and(is_registry_client),
            user_agent: record.user_agent.clone(),
            status: None,
            proof: false,
            digest: None,
            body: None,
            bytes: 0,
            first: at,
            done: false,
        })
    }

    /// Bytes of the request's body: what is pushed. `tokens` counts the manifests that are read.
    pub(crate) fn request_body(&mut self, bytes: &[u8], tokens: &mut Tokens) {
        match self.method {
            Method::Put | Method::Post | Method::Patch => self.take(bytes, tokens),
            Method::Get | Method::Head => {}
        }
    }

    /// RFC 9112 §4; Distribution Specification, the headers of a registry.
    pub(crate) fn response_head(&mut self, head: &ResponseHead) {
        let is_success = (200..300).contains(&head.status);
        let redirected =
            matches!(head.status, 301..=308) && matches!(self.target.part, Part::Blob(_));
        self.status = Some(head.status);
        let marked =
            ["docker-distribution-api-version", "docker-content-digest", "docker-upload-uuid"]
                .iter()
                .any(|name| head.header(name).is_some());
        let media = head.header("content-type").is_some_and(is_manifest_type);
        self.proof |= (marked || media || self.by_client) && (is_success || redirected);
        self.digest =
            head.header("docker-content-digest").filter(|d| is_digest(d)).map(str::to_owned);
    }

    /// Bytes of the response's body: what is pulled.
    pub(crate) fn response_body(&mut self, bytes: &[u8], tokens: &mut Tokens) {
        if self.method == Method::Get
            && self.status.is_some_and(|status| (200..300).contains(&status))
        {
            self.take(bytes, tokens);
        }
    }

    /// Bytes are missing.
    pub(crate) fn gap(&mut self, bytes: u64) {
        self.bytes = self.bytes.saturating_add(bytes);
        if let Some(body) = &mut self.body {
            body.collected.cut();
            body.hasher = None;
        }
    }

    /// The answer is over: what it did.
    pub(crate) fn answered(&mut self, record: &HttpExchange, at: Evidence) -> Option<Step> {
        let refused = self.status.is_some_and(|status| status >= 400);
        if refused || self.done {
            self.done = true;
            return None;
        }
        self.step(record, at)
    }

    /// Nothing more will come: without an answer, the request stands for itself.
    pub(crate) fn over(&mut self, record: &HttpExchange, at: Evidence) -> Option<Step> {
        if self.status.is_none() {
            self.proof = self.by_client;
        }
        self.answered(record, at)
    }

    fn take(&mut self, bytes: &[u8], tokens: &mut Tokens) {
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        if matches!(self.target.part, Part::Manifest(_)) {
            if self.bytes == 0 && self.body.is_none() {
                self.body = tokens.take().map(|token| Body {
                    collected: Collected::new(MAX_MANIFEST_BYTES),
                    hasher: Some(Sha256::new()),
                    _token: token,
                });
            }
            if let Some(body) = &mut self.body {
                body.collected.push(bytes);
                if let Some(hasher) = &mut body.hasher {
                    hasher.update(bytes);
                }
            }
        }
        self.bytes = self.bytes.saturating_add(length);
    }

    fn step(&mut self, record: &HttpExchange, at: Evidence) -> Option<Step> {
        self.done = true;
        let conn = self.conn;
        let (manifest, hash) = self.read_manifest();
        if !(self.proof || manifest.is_some() && self.status.is_some()) {
            return None;
        }
        let deed = self.deed(manifest, hash)?;
        let authority = record.host.clone().unwrap_or_else(|| record.server.to_string());
        let default_port = match (record.proxy.is_some(), conn.tls) {
            (false, _) => record.server.port,
            (true, true) => 443,
            (true, false) => 80,
        };
        Some(Step {
            place: Place {
                host: record.client.ip.to_canonical(),
                vlan: conn.tag.vlan,
                vni: conn.tag.vni,
                registry: host_port(&authority, default_port)?,
                repository: self.target.repository.clone(),
            },
            deed,
            bytes: self.bytes,
            confirmed: self.status.is_some(),
            flow: conn.flow,
            registry_ip: record.proxy.is_none().then_some(record.server.ip.to_canonical()),
            tag: conn.tag,
            tls: conn.tls,
            user_agent: self.user_agent.clone(),
            started: record.started,
            first: self.first,
            last: at,
        })
    }

    fn read_manifest(&mut self) -> (Option<Manifest>, Option<String>) {
        let Some(mut body) = self.body.take() else { return (None, None) };
        let manifest = Manifest::read(&body.collected.take());
        let hash = body.hasher.filter(|_| self.bytes > 0).map(|hasher| {
            let mut text = String::from("sha256:");
            push_hex(&mut text, hasher.finalize().iter().copied());
            text
        });
        (manifest, hash)
    }

    fn deed(&self, manifest: Option<Manifest>, hash: Option<String>) -> Option<Deed> {
        Some(match &self.target.part {
            Part::Manifest(reference) => {
                let asked = is_digest(reference).then(|| reference.clone());
                let digest = asked.or_else(|| self.digest.clone()).or(hash);
                let reference = reference.clone();
                match self.method {
                    Method::Head => Deed::Resolved { reference, digest },
                    Method::Get => Deed::Manifest { reference, digest, manifest },
                    _ => Deed::Published { reference, digest, manifest },
                }
            }
            Part::Blob(digest) => Deed::Content { digest: digest.clone() },
            Part::Upload { id, digest, mount } => {
                let mounted = mount.clone().filter(|_| self.status == Some(201));
                if id.is_empty() && digest.is_none() && mounted.is_none() {
                    return None;
                }
                Deed::Upload { id: id.clone(), digest: digest.clone().or(mounted) }
            }
        })
    }
}

/// How many manifests are read at once, at most.
pub(crate) struct Tokens {
    all: Arc<()>,
    limit: usize,
    pub(crate) refused: u64,
}

impl Tokens {
    pub(crate) fn new(limit: usize) -> Self {
        Self { all: Arc::new(()), limit, refused: 0 }
    }

    fn take(&mut self) -> Option<Arc<()>> {
        if Arc::strong_count(&self.all) > self.limit {
            self.refused = self.refused.saturating_add(1);
            return None;
        }
        Some(Arc::clone(&self.all))
    }
}

/// `User-Agent`s of programs that pull and push images.
fn is_registry_client(agent: &str) -> bool {
    const CLIENTS: [&str; 14] = [
        "docker/",
        "containerd/",
        "buildkit/",
        "containers/",
        "podman/",
        "buildah/",
        "skopeo/",
        "cri-o/",
        "nerdctl/",
        "kaniko/",
        "go-containerregistry",
        "crane/",
        "oras",
        "libpod/",
    ];
    CLIENTS.iter().any(|known| agent.starts_with(known)) || agent.contains("UpstreamClient(")
}
