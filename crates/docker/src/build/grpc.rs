//! A build that was asked for over gRPC: `Control/Solve` and the calls around it.

use std::collections::BTreeMap;

use tw_model::{
    ApiCall, Context, Frontend, Secrets, Timestamp, Transport, redact_command, redact_url,
};
use tw_proto::BodyEnd;

use super::{BuildCall, Caveat};
use crate::buildkit::{Definition, Synced};
use crate::content::answer::AnswerFacts;
use crate::content::context::ContextFacts;
use crate::content::urls;
use crate::outcome::Ending;

/// gRPC, "Status codes".
const OK: u32 = 0;
const CANCELLED: u32 = 1;

/// What is known of a build besides what every build has.
#[derive(Default)]
pub(super) struct GrpcAnswer {
    definition: Definition,
    image: Option<String>,
    status: Option<u32>,
    /// The answer will not come: what was told so far decides.
    over: bool,
    wrote_image: bool,
    step_failed: bool,
}

impl GrpcAnswer {
    pub(super) const fn settle(&self, ending: &mut Ending) {
        match self.status {
            Some(OK) => ending.made_image(true),
            Some(CANCELLED) => ending.cancel(),
            Some(_) => ending.failed(),
            None if self.over && self.step_failed => ending.failed(),
            None if self.over && self.wrote_image => ending.made_image(true),
            None => {}
        }
    }
}

impl BuildCall {
    /// `api` is the call that shows it first, best `Control/Solve` itself.
    pub(crate) fn from_grpc(api: &ApiCall, secrets: Secrets) -> Self {
        let mut call = Self::blank(api, Frontend::Buildkit, secrets);
        call.build.transport = Transport::Grpc;
        call.params.buildkit = true;
        call.grpc = Some(GrpcAnswer::default());
        call
    }

    /// Attributes of the frontend; `name` is the exporter's.
    pub(crate) fn add_attributes(
        &mut self,
        attributes: &BTreeMap<String, String>,
        name: Option<&str>,
    ) {
        let mut params = self.params.clone();
        params.add_attributes(attributes, name);
        self.take_params(params);
        self.refresh();
    }

    /// A graph of operations that belongs to it.
    pub(crate) fn define(&mut self, definition: Definition) {
        let Some(grpc) = &mut self.grpc else { return };
        if !definition.is_empty() {
            grpc.definition = definition;
            self.refresh();
        }
    }

    /// One message of `Control/Status`. Says whether it told something new worth telling.
    pub(crate) fn progress(&mut self, message: &[u8], at: Timestamp) -> bool {
        self.alive(at);
        let fresh = self.progress.message(message) && self.growths < super::MAX_GROWTHS;
        if fresh {
            self.growths += 1;
            self.refresh();
        }
        fresh
    }

    /// What the client sent through its session.
    pub(crate) fn synced(&mut self, synced: &Synced) {
        let name = self.params.dockerfile.clone().unwrap_or_default();
        let file = synced.dockerfile(&name);
        let facts = ContextFacts {
            context: Context::clone(&synced.context),
            dockerfile: file.map(|file| String::from_utf8_lossy(&file.content).into_owned()),
            dockerfile_truncated: file.is_some_and(|file| file.truncated),
            plain_dockerfile: synced.context.files == 0,
            ..ContextFacts::default()
        };
        self.apply_context(facts, false);
    }

    /// Is this what it has the daemon fetch?
    pub(crate) fn fetches(&self, url: &str) -> bool {
        let known = self.grpc.as_ref().map(|grpc| &grpc.definition);
        known.is_some_and(|known| known.remotes.iter().any(|remote| remote == url))
    }

    /// Was its end seen?
    pub(crate) const fn has_ended(&self) -> bool {
        self.build.end_seen
    }

    /// Its last sign of life.
    pub(crate) const fn ended(&self) -> Timestamp {
        self.build.ended
    }

    /// It goes on.
    pub(crate) const fn alive(&mut self, at: Timestamp) {
        if !self.build.end_seen {
            self.build.ended = at;
        }
    }

    /// The daemon answers some call of it.
    pub(crate) const fn answered(&mut self, status: u16) {
        self.ending.head(status);
    }

    /// The image that the answer names.
    pub(crate) fn answered_image(&mut self, image: Option<String>) {
        let Some(grpc) = &mut self.grpc else { return };
        grpc.image = image;
        self.refresh();
    }

    /// `grpc-status` of the answer.
    pub(crate) const fn grpc_status(&mut self, status: u32) {
        if let Some(grpc) = &mut self.grpc {
            grpc.status = Some(status);
        }
    }

    /// The answer is over.
    pub(crate) fn grpc_end(&mut self, end: BodyEnd, at: Timestamp) {
        self.ending.body_end(end, at, &mut self.build.ended);
        self.refresh();
    }

    /// The client took it back.
    pub(crate) fn grpc_cancel(&mut self, at: Timestamp) {
        if !self.build.end_seen {
            self.build.ended = at;
            self.ending.cancel();
            self.refresh();
        }
    }

    /// Nothing more will come: see [`over`](Self::over). `requested`: its request was seen.
    pub(crate) fn grpc_over(&mut self, gone: Option<Timestamp>, requested: bool) {
        if let Some(grpc) = &mut self.grpc {
            grpc.over = true;
            grpc.wrote_image = self.progress.image().is_some();
            grpc.step_failed = self.progress.has_failed();
        }
        if self.progress.limit_hit {
            self.add_caveat(Caveat::Truncated);
        }
        let known = self.build.caveats.contains(&Caveat::OneDirection);
        self.over(gone);
        // Without its request, that no answer to it was seen says nothing of directions.
        if !requested && !known {
            self.build.caveats.retain(|caveat| *caveat != Caveat::OneDirection);
        }
    }

    /// Does the daemon's progress alone prove a build?
    pub(crate) fn is_proven_by_progress(&self) -> bool {
        !self.progress.is_empty()
    }

    /// `remote` of a build whose request was not seen, and what its graph says.
    pub(super) fn add_definition(&mut self, said: &mut AnswerFacts) {
        let Some(grpc) = &self.grpc else { return };
        let definition = &grpc.definition;
        let remote = definition.git.as_ref().or(self.progress.remote.as_ref());
        if let (None, Some(remote)) = (&self.build.remote, remote) {
            self.build.remote = Some(redact_url(remote, self.secrets));
        }
        for url in self.progress.remote.iter().chain(&definition.remotes) {
            if !said.urls.contains(url) {
                said.urls.push(url.clone());
            }
        }
        if said.steps.is_empty() && self.file.steps.is_empty() {
            for run in &definition.runs {
                said.urls.extend(urls::find(run));
                said.steps.push(format!("RUN {}", redact_command(run, self.secrets)));
            }
        }
        if said.base_images.is_empty() {
            said.base_images.clone_from(&definition.images);
        }
        if said.image_id.is_none() {
            said.image_id.clone_from(&grpc.image);
        }
    }
}
