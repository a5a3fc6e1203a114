//! The registry protocol (OCI Distribution Specification v1.1): images that are pulled and pushed.
//!
//! In: requests under `/v2/` and their answers, of all connections. Out: one `RegistryAction` for
//! each image under each reference between a host and a registry, grown as manifests and content
//! follow. A name that is only resolved (`HEAD`) is no pull. Nothing is kept of credentials or
//! content but digests and sizes. Limits: [`Limits`](crate::Limits) has the number of repositories
//! that are followed at once and of manifests that are read at once.

mod image;
mod manifest;
mod reference;
mod request;
mod target;
mod transfer;

use std::collections::BTreeMap;
use std::time::Duration;

use tw_model::{Evidence, Observation, RegistryVerb};

use crate::bounded::Bounded;
use image::Image;
use manifest::Manifest;
use request::{Deed, Place};

pub(crate) use request::{Request, Step, Tokens};
pub(crate) use transfer::TransferCall;

/// After this, the same reference is pulled anew.
const MAX_IDLE: Duration = Duration::from_secs(600);
/// Images of one repository that are followed at once.
const MAX_IMAGES: usize = 16;
/// Uploads, and contents, of one push.
const MAX_UPLOADS: usize = 256;

type Sink<'s> = dyn FnMut(Observation) + 's;

/// Puts requests together to images.
pub(crate) struct Registries {
    repositories: Bounded<Place, Repository>,
    pub(crate) tokens: Tokens,
    images_evicted: u64,
}

/// One repository as one host uses it.
#[derive(Default)]
struct Repository {
    /// In the order of their start.
    images: Vec<Image>,
    push: Option<Push>,
}

/// Content on its way to a manifest that will name it.
struct Push {
    /// Without a reference as yet.
    image: Image,
    /// Bytes of unfinished uploads.
    uploads: BTreeMap<String, u64>,
    /// Bytes of finished ones by digest.
    sent: BTreeMap<String, u64>,
}

impl Registries {
    pub(crate) fn new(repositories: usize, manifests: usize) -> Self {
        Self {
            repositories: Bounded::new(repositories),
            tokens: Tokens::new(manifests),
            images_evicted: 0,
        }
    }

    /// Takes one step of a pull or a push.
    pub(crate) fn step(&mut self, step: &Step, sink: &mut Sink<'_>) {
        if !self.repositories.contains(&step.place) {
            let evicted = self.repositories.insert(step.place.clone(), Repository::default());
            if let Some((_, repository)) = evicted {
                repository.tell_rest(step.last, sink);
            }
        }
        let Some(repository) = self.repositories.get_mut(&step.place) else { return };
        repository.forget_idle(step, sink);
        if let Some(image) = repository.take(step) {
            image.tell(step.last, sink);
        }
        if repository.images.len() > MAX_IMAGES {
            let mut oldest = repository.images.remove(0);
            self.images_evicted = self.images_evicted.saturating_add(1);
            oldest.tell_last(step.last, sink);
        }
    }

    /// The end of input: what is open is told for the last time.
    pub(crate) fn finish(&mut self, at: Evidence, sink: &mut Sink<'_>) {
        let places: Vec<Place> = self.repositories.iter().map(|(place, _)| place.clone()).collect();
        for place in places {
            if let Some(repository) = self.repositories.remove(&place) {
                repository.tell_rest(at, sink);
            }
        }
    }

    /// Repositories and images that had to go to stay within the limits.
    pub(crate) const fn evicted(&self) -> u64 {
        self.repositories.evicted().saturating_add(self.images_evicted)
    }
}

impl Repository {
    /// Takes one step; gives the image that there is more to tell of.
    fn take(&mut self, step: &Step) -> Option<&mut Image> {
        match &step.deed {
            Deed::Resolved { reference, digest } => {
                let image = self.pulled(step, reference, digest.as_deref())?;
                image.resolved(digest.as_deref());
                None
            }
            Deed::Manifest { reference, digest, manifest } => {
                let image = self.pulled(step, reference, digest.as_deref())?;
                image.manifest(digest.as_deref(), manifest.clone());
                Some(image)
            }
            Deed::Content { digest } => {
                let image = self.holder(step, digest)?;
                image.content(digest, step.bytes).then_some(image)
            }
            Deed::Upload { id, digest } => {
                self.upload(step, id, digest.as_deref());
                None
            }
            Deed::Published { reference, digest, manifest } => {
                self.published(step, reference, digest.as_deref(), manifest.clone())
            }
        }
    }

    /// The pull that this manifest belongs to: of a digest, the image that names it; of a tag, the
    /// one that resolved it, unless it has moved on to another digest.
    fn pulled(&mut self, step: &Step, reference: &str, digest: Option<&str>) -> Option<&mut Image> {
        let by_digest = target::is_digest(reference);
        let belongs = |image: &Image| {
            let same_name = image.action.reference.as_deref() == Some(reference);
            let top = image.top.as_deref();
            let moved_on = digest.is_some_and(|digest| top.is_some_and(|top| top != digest));
            image.action.action == RegistryVerb::Pull
                && (same_name && !moved_on || by_digest && image.has_manifest(reference))
        };
        let at = self.images.iter().rposition(belongs);
        self.image(at, step, Some(reference))
    }

    /// The pull that content belongs to: the one whose manifest names it, else the latest whose
    /// manifest was not read.
    fn holder(&mut self, step: &Step, digest: &str) -> Option<&mut Image> {
        let pulls = |image: &Image| image.action.action == RegistryVerb::Pull;
        let named = self.images.iter().rposition(|i| pulls(i) && i.has_content(digest));
        let unread = |i: &Image| pulls(i) && i.action.config_digest.is_none();
        let at = named.or_else(|| self.images.iter().rposition(unread));
        self.image(at, step, None)
    }

    /// The pull at that index, or a new one; the step is noted with it.
    fn image(
        &mut self,
        at: Option<usize>,
        step: &Step,
        reference: Option<&str>,
    ) -> Option<&mut Image> {
        if at.is_none() {
            self.images.push(Image::new(step, RegistryVerb::Pull, reference));
        }
        let image = match at {
            Some(at) => self.images.get_mut(at)?,
            None => self.images.last_mut()?,
        };
        image.note(step);
        Some(image)
    }

    fn upload(&mut self, step: &Step, id: &str, digest: Option<&str>) {
        let push = self.push.get_or_insert_with(|| Push::new(step));
        push.image.note(step);
        push.image.is_real |= step.bytes > 0 || digest.is_some();
        let before = push.uploads.remove(id).unwrap_or(0);
        let bytes = before.saturating_add(step.bytes);
        let (table, key) = match digest {
            Some(digest) => (&mut push.sent, digest),
            None => (&mut push.uploads, id),
        };
        if table.len() < MAX_UPLOADS {
            table.insert(key.to_owned(), bytes);
        }
    }

    /// A manifest names what was uploaded: from here on it is an image.
    fn published(
        &mut self,
        step: &Step,
        reference: &str,
        digest: Option<&str>,
        manifest: Option<Manifest>,
    ) -> Option<&mut Image> {
        let push = self.push.take().unwrap_or_else(|| Push::new(step));
        let Push { mut image, sent, .. } = push;
        image.note(step);
        image.rename(reference);
        image.manifest(digest, manifest);
        image.sent(&sent);
        let is_child = |other: &&Image| {
            let child = other.action.manifest_digest.as_deref();
            child.is_some_and(|child| image.has_platform(child))
        };
        let child = self.images.iter().rev().find(is_child).map(|child| child.action.clone());
        if let Some(child) = child {
            image.choose(&child);
        }
        self.images.push(image);
        self.images.last_mut()
    }

    /// Tells for the last time what has been quiet for too long before this step.
    fn forget_idle(&mut self, step: &Step, sink: &mut Sink<'_>) {
        let is_idle = |image: &Image| step.started.since(image.action.ended) > MAX_IDLE;
        if self.push.as_ref().is_some_and(|push| is_idle(&push.image))
            && let Some(mut push) = self.push.take()
        {
            push.image.tell_last(step.last, sink);
        }
        for image in self.images.iter_mut().filter(|image| is_idle(image)) {
            image.tell_last(step.last, sink);
        }
        self.images.retain(|image| !is_idle(image));
    }

    fn tell_rest(mut self, at: Evidence, sink: &mut Sink<'_>) {
        for image in &mut self.images {
            image.tell_last(at, sink);
        }
        if let Some(mut push) = self.push {
            push.image.tell_last(at, sink);
        }
    }
}

impl Push {
    fn new(step: &Step) -> Self {
        Self {
            image: Image::new(step, RegistryVerb::Push, None),
            uploads: BTreeMap::new(),
            sent: BTreeMap::new(),
        }
    }
}
