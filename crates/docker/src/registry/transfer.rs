//! A pull or push that was asked of a Docker API: what the call names, and what the daemon says of
//! it. The transfer itself goes between the daemon and the registry, mostly over TLS.
//!
//! Limits: answers are read line by line, up to 64 KiB each.

use tw_model::{
    ApiCall, ObservationBody, RegistryAction, RegistryVerb, RegistryVia, Route, Timestamp,
};

use crate::json::Json;
use crate::lines::Lines;
use crate::route::Target;

use super::image::action_id;
use super::reference::Reference;
use super::target::{is_digest, is_tag};

/// One such call.
pub(crate) struct TransferCall {
    action: RegistryAction,
    lines: Lines,
    /// What is pulled or pushed is known.
    named: bool,
}

impl TransferCall {
    /// Docker Engine API v1.43, ImageCreate with `fromImage` and ImagePush; Podman's libpod API v4,
    /// ImagePullLibpod and ImagePushLibpod. `None` for every other call.
    pub(crate) fn new(api: &ApiCall, target: &Target) -> Option<Self> {
        let query = |key| target.query.first(key);
        let verb = match api.route {
            Route::ImagePull => RegistryVerb::Pull,
            Route::ImagePush => RegistryVerb::Push,
            _ => return None,
        };
        let name = match verb {
            RegistryVerb::Pull => query("fromImage").or_else(|| query("reference"))?,
            RegistryVerb::Push => query("destination").unwrap_or_else(|| target.object()),
        };
        let mut call = Self::blank(api, verb);
        let mut name = Reference::read(name)?;
        if let Some(tag) = query("tag").filter(|tag| is_tag(tag) || is_digest(tag)) {
            name.reference = Some(tag.to_owned());
        }
        call.take_name(name);
        Some(call)
    }

    /// A call of which only the answer is seen: its lines will tell what it is, if it is one.
    pub(crate) fn from_answer(api: &ApiCall) -> Self {
        Self::blank(api, RegistryVerb::Pull)
    }

    fn blank(api: &ApiCall, verb: RegistryVerb) -> Self {
        let action = RegistryAction {
            id: action_id(&[
                "call",
                &api.daemon.to_string(),
                &api.client.to_string(),
                &api.started.as_nanos().div_euclid(1_000).to_string(),
                &api.id.index.to_string(),
            ]),
            action: verb,
            via: RegistryVia::Api,
            registry: String::new(),
            registry_ip: None,
            repository: String::new(),
            reference: None,
            manifest_digest: None,
            index_digest: None,
            config_digest: None,
            platform: None,
            layers: Vec::new(),
            docker_host: api.daemon.ip.to_canonical(),
            client: Some(api.client.ip),
            client_port: api.client.port,
            daemon: Some(api.daemon),
            call: Some(api.id),
            builds: Vec::new(),
            user_agent: None,
            bytes: 0,
            tls: None,
            tag: api.tag,
            flows: Vec::new(),
            started: api.started,
            ended: api.started,
            confirmed: false,
            failed: false,
        };
        Self { action, lines: Lines::default(), named: false }
    }

    /// Which call it is, where the answer alone said so.
    pub(crate) const fn recognised(&self) -> Option<Route> {
        match (self.named, self.action.action) {
            (false, _) => None,
            (true, RegistryVerb::Pull) => Some(Route::ImagePull),
            (true, RegistryVerb::Push) => Some(Route::ImagePush),
        }
    }

    /// Did the daemon say, as only a daemon does, that it succeeded?
    pub(crate) const fn is_proven_by_answer(&self) -> bool {
        self.action.confirmed
    }

    /// The answer was no daemon's.
    pub(crate) const fn refuse(&mut self) {
        self.action.failed = true;
    }

    /// The answer's status.
    pub(crate) const fn response_head(&mut self, status: u16, at: Timestamp) {
        self.action.ended = at;
        self.action.failed |= status >= 300;
    }

    /// Bytes of the answer.
    pub(crate) fn response_body(&mut self, bytes: &[u8], at: Timestamp) {
        self.action.ended = at;
        let mut lines = std::mem::take(&mut self.lines);
        lines.push(bytes, &mut |line| self.line(line));
        self.lines = lines;
    }

    /// Missing bytes of the answer.
    pub(crate) fn response_gap(&mut self) {
        self.lines.gap();
    }

    /// The answer is over.
    pub(crate) fn response_end(&mut self) {
        let mut lines = std::mem::take(&mut self.lines);
        lines.end(&mut |line| self.line(line));
    }

    /// What is known so far.
    pub(crate) fn observation(&self) -> Option<ObservationBody> {
        self.named.then(|| ObservationBody::Registry(Box::new(self.action.clone())))
    }

    fn take_name(&mut self, name: Reference) {
        self.named = true;
        self.action.registry = name.registry;
        self.action.repository = name.repository;
        self.action.reference = name.reference;
    }

    /// One message of the daemon (observed: dockerd 20.10.24; `jsonmessage.JSONMessage` of its
    /// source names the fields).
    fn line(&mut self, line: &[u8]) {
        let message = Json::read(line).value;
        if message.field("error").is_some() || message.field("errorDetail").is_some() {
            self.action.failed = true;
        }
        if let Some(aux) = message.field("aux") {
            self.pushed(aux);
        }
        let Some(status) = message.field("status").and_then(Json::text) else { return };
        let id = message.field("id").and_then(Json::text);
        if let Some(repository) = status.strip_prefix("Pulling from ") {
            self.pulling(repository, id);
        } else if let Some(digest) = status.strip_prefix("Digest: ") {
            self.digest(digest.trim());
        } else if let Some(image) = status
            .strip_prefix("Status: Downloaded newer image for ")
            .or_else(|| status.strip_prefix("Status: Image is up to date for "))
        {
            self.pulled(image);
        } else if let Some(name) = status
            .strip_prefix("The push refers to repository [")
            .and_then(|rest| rest.strip_suffix(']'))
        {
            self.pushing(name);
        }
    }

    /// `3.18: Pulling from library/alpine`: the tag, where the call named none.
    fn pulling(&mut self, _repository: &str, id: Option<&str>) {
        let tag = id.filter(|tag| is_tag(tag) || is_digest(tag));
        if self.action.reference.is_none() {
            self.action.reference = tag.map(str::to_owned);
        }
    }

    fn digest(&mut self, digest: &str) {
        if is_digest(digest) {
            self.action.manifest_digest = Some(digest.to_owned());
        }
    }

    /// The last line of a pull says the whole name.
    fn pulled(&mut self, image: &str) {
        self.action.confirmed = true;
        if !self.named
            && let Some(name) = Reference::read(image)
        {
            self.take_name(name);
        }
    }

    /// The first line of a push.
    fn pushing(&mut self, repository: &str) {
        if !self.named
            && let Some(name) = Reference::read(repository)
        {
            self.action.action = RegistryVerb::Push;
            self.take_name(name);
        }
    }

    /// `{"Tag":"latest","Digest":"sha256:…","Size":739}`, the last word on a push.
    fn pushed(&mut self, aux: &Json) {
        let Some(digest) = aux.field("Digest").and_then(Json::text) else { return };
        if self.action.action != RegistryVerb::Push || !is_digest(digest) {
            return;
        }
        self.digest(digest);
        self.action.confirmed = true;
        if let Some(tag) = aux.field("Tag").and_then(Json::text).filter(|tag| is_tag(tag)) {
            self.action.reference = Some(tag.to_owned());
        }
    }
}
