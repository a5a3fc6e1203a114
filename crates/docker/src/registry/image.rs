//! One image while it is pulled or pushed.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};
use tw_model::{
    Evidence, Layer, Observation, ObservationBody, RegistryAction, RegistryActionId, RegistryVerb,
    RegistryVia,
};

use crate::id::push_hex;

use super::manifest::{Child, MAX_LAYERS, Manifest};
use super::request::Step;

/// Connections that are kept with an image.
const MAX_FLOWS: usize = 64;
/// Places in the input that an image names.
const MAX_EVIDENCE: usize = 8;

/// One image under one reference.
pub(crate) struct Image {
    pub(crate) action: RegistryAction,
    /// Digest that the reference stands for: of the manifest, or of the index.
    pub(crate) top: Option<String>,
    pub(crate) children: Vec<Child>,
    pub(crate) evidence: Vec<Evidence>,
    /// More than a name was asked for: it may be told.
    pub(crate) is_real: bool,
    /// Changed since it was told.
    pub(crate) fresh: bool,
}

impl Image {
    pub(crate) fn new(step: &Step, verb: RegistryVerb, reference: Option<&str>) -> Self {
        let mut action = RegistryAction {
            id: RegistryActionId(String::new()),
            action: verb,
            via: RegistryVia::Registry,
            registry: step.place.registry.clone(),
            registry_ip: step.registry_ip,
            repository: step.place.repository.clone(),
            reference: reference.map(str::to_owned),
            manifest_digest: None,
            index_digest: None,
            config_digest: None,
            platform: None,
            layers: Vec::new(),
            docker_host: step.place.host,
            client: None,
            client_port: 0,
            daemon: None,
            call: None,
            builds: Vec::new(),
            user_agent: step.user_agent.clone(),
            bytes: 0,
            tls: Some(step.tls),
            tag: step.tag,
            flows: Vec::new(),
            started: step.started,
            ended: step.started,
            confirmed: false,
            failed: false,
        };
        action.id = id(&action);
        Self {
            action,
            top: None,
            children: Vec::new(),
            evidence: Vec::new(),
            is_real: false,
            fresh: false,
        }
    }

    /// A push gets its name last.
    pub(crate) fn rename(&mut self, reference: &str) {
        self.action.reference = Some(reference.to_owned());
        self.action.id = id(&self.action);
    }

    /// The reference has this digest.
    pub(crate) fn resolved(&mut self, digest: Option<&str>) {
        if self.top.is_none() {
            self.top = digest.map(str::to_owned);
        }
    }

    /// Takes what every step tells.
    pub(crate) fn note(&mut self, step: &Step) {
        let action = &mut self.action;
        action.bytes = action.bytes.saturating_add(step.bytes);
        action.ended = action.ended.max(step.last.timestamp);
        action.confirmed |= step.confirmed;
        if action.flows.len() < MAX_FLOWS && !action.flows.contains(&step.flow) {
            action.flows.push(step.flow);
        }
        for place in [step.first, step.last] {
            if self.evidence.len() < MAX_EVIDENCE && !self.evidence.contains(&place) {
                self.evidence.push(place);
            }
        }
        self.fresh = true;
    }

    /// A manifest of it: the one that its reference stands for, or one that its index names.
    pub(crate) fn manifest(&mut self, digest: Option<&str>, manifest: Option<Manifest>) {
        self.is_real = true;
        self.resolved(digest);
        match manifest {
            Some(Manifest::Index(children)) => {
                self.action.index_digest = digest.map(str::to_owned).or_else(|| self.top.clone());
                if self.action.manifest_digest == self.action.index_digest {
                    self.action.manifest_digest = None;
                }
                self.children = children;
            }
            Some(Manifest::Image { config, layers }) => self.chosen(digest, config, layers),
            None if self.children.is_empty() => {
                self.action.manifest_digest = digest.map(str::to_owned);
            }
            None => {}
        }
    }

    fn chosen(
        &mut self,
        digest: Option<&str>,
        config: Option<String>,
        layers: Vec<(String, Option<u64>)>,
    ) {
        let child = self.children.iter().find(|child| Some(child.digest.as_str()) == digest);
        let is_attestation = child.is_some_and(|child| child.platform.is_none());
        if is_attestation && !self.action.layers.is_empty() {
            return;
        }
        if let Some(child) = child {
            self.action.platform.clone_from(&child.platform);
        }
        let action = &mut self.action;
        action.manifest_digest = digest.map(str::to_owned);
        action.config_digest = config;
        let moved = std::mem::take(&mut action.layers);
        let was = |digest: &str| moved.iter().any(|l| l.digest == digest && l.transferred);
        action.layers = layers
            .into_iter()
            .map(|(digest, bytes)| Layer { transferred: was(&digest), digest, bytes })
            .collect();
    }

    /// Does it stand for this manifest, or name it?
    pub(crate) fn has_manifest(&self, digest: &str) -> bool {
        self.top.as_deref() == Some(digest)
            || self.action.manifest_digest.as_deref() == Some(digest)
            || self.children.iter().any(|child| child.digest == digest)
    }

    /// Is this content part of it?
    pub(crate) fn has_content(&self, digest: &str) -> bool {
        self.action.config_digest.as_deref() == Some(digest)
            || self.action.layers.iter().any(|layer| layer.digest == digest)
    }

    /// Content was transferred; says whether that is news. Where no manifest was read, content is
    /// all that is known of the layers.
    pub(crate) fn content(&mut self, digest: &str, bytes: u64) -> bool {
        self.is_real = true;
        if self.action.config_digest.as_deref() == Some(digest) {
            return true;
        }
        let layers = &mut self.action.layers;
        let mut found = false;
        let mut news = false;
        for layer in layers.iter_mut().filter(|layer| layer.digest == digest) {
            news |= !layer.transferred;
            found = true;
            layer.transferred = true;
        }
        let unread = self.action.config_digest.is_none() && layers.len() < MAX_LAYERS;
        if !found && unread {
            let bytes = (bytes > 0).then_some(bytes);
            layers.push(Layer { digest: digest.to_owned(), bytes, transferred: true });
            news = true;
        }
        news
    }

    /// Content that was sent before the manifest that names it.
    pub(crate) fn sent(&mut self, sent: &BTreeMap<String, u64>) {
        for layer in &mut self.action.layers {
            layer.transferred |= sent.contains_key(&layer.digest);
        }
        if self.action.manifest_digest.is_some() && self.action.config_digest.is_some() {
            return;
        }
        for (digest, bytes) in sent.iter().take(MAX_LAYERS) {
            let layer = Layer { digest: digest.clone(), bytes: Some(*bytes), transferred: true };
            self.action.layers.push(layer);
        }
    }

    /// Is this one of the manifests of its index, for a platform?
    pub(crate) fn has_platform(&self, digest: &str) -> bool {
        self.children.iter().any(|child| child.digest == digest && child.platform.is_some())
    }

    /// Of the manifests of its index, this one was seen.
    pub(crate) fn choose(&mut self, child: &RegistryAction) {
        let action = &mut self.action;
        action.manifest_digest.clone_from(&child.manifest_digest);
        action.config_digest.clone_from(&child.config_digest);
        action.layers.clone_from(&child.layers);
        let platform =
            self.children.iter().find(|c| Some(&c.digest) == child.manifest_digest.as_ref());
        action.platform = platform.and_then(|c| c.platform.clone());
    }

    /// Tells it, if it has changed.
    pub(crate) fn tell(&mut self, at: Evidence, sink: &mut dyn FnMut(Observation)) {
        if std::mem::take(&mut self.fresh) {
            let body = ObservationBody::Registry(Box::new(self.action.clone()));
            sink(Observation { at: at.timestamp, evidence: self.evidence.clone(), body });
        }
    }

    /// Tells it for the last time, if there was more to it than a name.
    pub(crate) fn tell_last(&mut self, at: Evidence, sink: &mut dyn FnMut(Observation)) {
        if self.is_real {
            self.tell(at, sink);
        }
    }
}

/// The same in every run over the same traffic; time is cut to microseconds because not every
/// capture format keeps more.
fn id(action: &RegistryAction) -> RegistryActionId {
    action_id(&[
        &format!("{:?}", action.action),
        &action.docker_host.to_string(),
        &action.registry,
        &action.repository,
        action.reference.as_deref().unwrap_or_default(),
        &action.started.as_nanos().div_euclid(1_000).to_string(),
    ])
}

/// `registry-` and 16 hex digits.
pub(crate) fn action_id(parts: &[&str]) -> RegistryActionId {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part.as_bytes());
        hasher.update([0]);
    }
    let mut id = String::from("registry-");
    push_hex(&mut id, hasher.finalize().iter().take(8).copied());
    RegistryActionId(id)
}
