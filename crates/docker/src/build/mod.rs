//! `POST /build`: a [`Build`] from its query, its uploaded or fetched context, and its answer.
//!
//! Any of the three may be missing: what was not captured is taken from the others, and a caveat says
//! so. Limits: those of the context and answer readers, and [`MAX_URLS`], [`MAX_FORM`].

mod grpc;
mod params;
mod upload;

use std::sync::Arc;

use tw_model::{
    ApiCall, Build, CallId, Caveat, Frontend, ObservationBody, Outcome, Secrets, Timestamp,
    Transport, redact_url, redact_value,
};
use tw_proto::BodyEnd;

use self::grpc::GrpcAnswer;
use self::params::Params;
use self::upload::Given;
pub(crate) use self::upload::Upload;
use crate::buildkit::Progress;
use crate::collected::Collected;
use crate::content::answer::{AnswerFacts, AnswerReader};
use crate::content::context::{ContextFacts, ContextLimits, ContextReader};
use crate::content::{dockerfile, urls};
use crate::id::BuildIdentity;
use crate::outcome::{Ending, add_caveat};
use crate::query::Query;
use crate::route::Target;

const MAX_URLS: usize = 256;
const MAX_GROWTHS: u32 = 64;
const MAX_FORM: usize = 64 * 1024;

/// One build call.
pub(crate) struct BuildCall {
    build: Build,
    params: Params,
    query: Query,
    secrets: Secrets,
    /// With a token by which open readers are counted.
    context: Option<(ContextReader, Arc<()>)>,
    form: Option<Collected>,
    file: FileFacts,
    answer: Option<AnswerReader>,
    said: AnswerFacts,
    /// What BuildKit tells while it works.
    progress: Progress,
    grpc: Option<GrpcAnswer>,
    given: Given,
    ending: Ending,
    has_dockerfile: bool,
    growths: u32,
}

/// What the Dockerfile says.
#[derive(Default)]
struct FileFacts {
    base_images: Vec<String>,
    steps: Vec<String>,
    urls: Vec<String>,
    proxies: Vec<String>,
}

impl BuildCall {
    /// Docker Engine API v1.43, ImageBuild. `limits` is `None` where too many builds are open to read
    /// another context. `content_type` tells forms.
    pub(crate) fn from_request(
        api: &ApiCall,
        target: &Target,
        content_type: Option<&str>,
        limits: Option<(ContextLimits, Arc<()>)>,
        secrets: Secrets,
    ) -> Self {
        let frontend = if target.libpod { Frontend::Libpod } else { Frontend::Classic };
        let mut call = Self::blank(api, frontend, secrets);
        call.query = target.query.clone();
        call.apply_params();
        let form = content_type.is_some_and(|media| {
            media.trim_start().to_ascii_lowercase().starts_with("application/x-www-form-urlencoded")
        });
        call.form = form.then(|| Collected::new(MAX_FORM));
        let name = call.params.dockerfile.clone();
        let name = name.as_deref().unwrap_or("");
        call.context = limits.map(|(limits, token)| (ContextReader::new(name, limits), token));
        if call.context.is_none() {
            call.add_caveat(Caveat::Truncated);
        }
        call.refresh();
        call
    }

    /// A build of which only the answer is seen.
    pub(crate) fn from_answer(api: &ApiCall, secrets: Secrets) -> Self {
        Self::blank(api, Frontend::Classic, secrets)
    }

    fn blank(api: &ApiCall, frontend: Frontend, secrets: Secrets) -> Self {
        let identity = BuildIdentity {
            kind: "build",
            daemon: api.daemon,
            client: api.client,
            started: api.started,
            exchange: api.id.index,
        };
        let query = Query::default();
        Self {
            build: blank_build(api, identity, frontend),
            params: Params::read(&query),
            query,
            secrets,
            context: None,
            form: None,
            file: FileFacts::default(),
            answer: None,
            said: AnswerFacts::default(),
            progress: Progress::default(),
            grpc: None,
            given: Given::default(),
            ending: Ending::default(),
            has_dockerfile: false,
            growths: 0,
        }
    }

    /// Session that carries the rest of a BuildKit build.
    pub(crate) fn session(&self) -> Option<&str> {
        self.params.session.as_deref()
    }

    /// Another call belongs to it.
    pub(crate) fn join(&mut self, call: CallId) {
        self.build.calls.push(call);
    }

    /// `remote=` as sent, where the daemon fetches it.
    pub(crate) fn remote(&self) -> Option<&str> {
        self.params.remote.as_deref()
    }

    /// A reader for what the daemon fetches as context.
    pub(crate) fn fetched_context(&self, limits: ContextLimits) -> ContextReader {
        ContextReader::new(self.params.dockerfile.as_deref().unwrap_or(""), limits)
    }

    /// Something weakens it.
    pub(crate) fn add_caveat(&mut self, caveat: Caveat) {
        add_caveat(&mut self.build.caveats, caveat);
    }

    /// Bytes of the uploaded context, or of a form.
    pub(crate) fn request_body(&mut self, bytes: &[u8], at: Timestamp) {
        self.build.ended = at;
        if let Some(form) = &mut self.form {
            form.push(bytes);
        }
        if let Some((context, _)) = &mut self.context {
            context.push(bytes);
        }
    }

    /// Missing bytes of the uploaded context.
    pub(crate) fn request_gap(&mut self, bytes: u64) {
        self.add_caveat(Caveat::Gaps);
        if let Some(form) = &mut self.form {
            form.cut();
        }
        if let Some((context, _)) = &mut self.context {
            context.gap(bytes);
        }
    }

    /// No more of the request will come. Says whether the context is malformed or over a limit.
    pub(crate) fn request_end(&mut self) -> bool {
        if let Some(mut form) = self.form.take() {
            self.read_form(&form.take());
        }
        let Some((context, _)) = self.context.take() else { return false };
        let facts = context.finish();
        let odd = facts.malformed || facts.limit_hit;
        self.keep_for_another(&facts);
        self.apply_context(facts, self.params.remote.is_some());
        odd
    }

    /// A context that the daemon fetched came whole.
    pub(crate) fn fetched(&mut self, facts: ContextFacts) {
        self.apply_context(facts, false);
    }

    /// The answer's status.
    pub(crate) fn response_head(&mut self, status: u16, at: Timestamp) {
        self.build.ended = at;
        self.ending.head(status);
        self.answer = Some(AnswerReader::new(self.params.args.clone(), self.secrets));
        self.refresh();
    }

    /// Bytes of the answer. Says whether it told something new; after [`MAX_GROWTHS`] times only
    /// its end does.
    pub(crate) fn response_body(&mut self, bytes: &[u8], at: Timestamp) -> bool {
        self.build.ended = at;
        let Some(answer) = &mut self.answer else { return false };
        let before = answer.announced_steps();
        let (progress, mut fresh) = (&mut self.progress, false);
        answer.push_with(bytes, &mut |trace| fresh |= progress.message(trace));
        fresh |= answer.announced_steps() != before;
        if !fresh || self.growths >= MAX_GROWTHS {
            return false;
        }
        self.growths += 1;
        self.said = answer.so_far();
        if self.said.buildkit_traces > 0 {
            self.build.frontend = Frontend::Buildkit;
            self.build.transport = Transport::RestSession;
        }
        self.refresh();
        true
    }

    /// Missing bytes of the answer.
    pub(crate) fn response_gap(&mut self, bytes: u64, at: Timestamp) {
        self.build.ended = at;
        self.add_caveat(Caveat::Gaps);
        self.ending.gap();
        if let Some(answer) = &mut self.answer {
            answer.gap(bytes);
        }
    }

    /// The answer is over.
    pub(crate) fn response_end(&mut self, end: BodyEnd, at: Timestamp) {
        self.finish_answer();
        self.ending.body_end(end, at, &mut self.build.ended);
        self.refresh();
    }

    /// Nothing more will come; `gone` as for [`Ending::conclude`].
    pub(crate) fn over(&mut self, gone: Option<Timestamp>) {
        self.give_up_giving();
        self.request_end();
        self.finish_answer();
        self.refresh();
        let Build { ended, end_seen, caveats, .. } = &mut self.build;
        self.ending.conclude(*end_seen, gone, ended, caveats);
        self.refresh();
    }

    /// What is known so far.
    pub(crate) fn observation(&self) -> ObservationBody {
        ObservationBody::Build(Box::new(self.build.clone()))
    }

    /// The daemon sent the caller elsewhere, or knows no such call.
    pub(crate) const fn was_not_taken(&self) -> bool {
        self.ending.was_not_taken()
    }

    /// The answer was no daemon's: nothing was built.
    pub(crate) fn refuse(&mut self) {
        self.ending.failed();
        self.refresh();
    }

    /// Does the answer itself prove that something was built?
    pub(crate) fn is_proven_by_answer(&self) -> bool {
        !self.said.steps.is_empty() || self.is_proven_by_progress()
    }

    /// Does the uploaded context prove that a build was asked for?
    pub(crate) const fn is_proven_by_context(&self) -> bool {
        self.has_dockerfile
    }

    fn finish_answer(&mut self) {
        if let Some(answer) = self.answer.take() {
            let progress = &mut self.progress;
            self.said = answer.finish_with(&mut |trace| {
                progress.message(trace);
            });
        }
    }

    /// dockerd 20.10 reads no form; another daemon may. The query wins.
    fn read_form(&mut self, form: &[u8]) {
        let Ok(text) = std::str::from_utf8(form) else { return };
        self.query.fill_from(Query::read(text));
        self.apply_params();
        self.refresh();
    }

    fn apply_params(&mut self) {
        self.take_params(Params::read(&self.query));
    }

    fn take_params(&mut self, params: Params) {
        let secrets = self.secrets;
        let build = &mut self.build;
        build.tags.clone_from(&params.tags);
        build.remote = params.remote.as_deref().map(|remote| redact_url(remote, secrets));
        build.platform.clone_from(&params.platform);
        build.network_mode.clone_from(&params.network_mode);
        let shown = params.args.iter();
        build.build_args =
            shown.map(|(name, value)| (name.clone(), redact_value(name, value, secrets))).collect();
        if params.buildkit && build.frontend == Frontend::Classic {
            build.frontend = Frontend::Buildkit;
            build.transport = Transport::RestSession;
        }
        self.params = params;
    }

    fn apply_context(&mut self, facts: ContextFacts, remote: bool) {
        if facts.dockerfile_truncated {
            self.add_caveat(Caveat::Truncated);
        }
        if facts.gap {
            self.add_caveat(Caveat::Gaps);
        }
        // With `remote=` an upload is ignored by the daemon; without bytes there was none; a lone
        // Dockerfile is no context.
        let has_content = facts.context.bytes > 0 || facts.context.files > 0;
        if !remote && has_content && !facts.plain_dockerfile {
            self.build.context = Some(facts.context);
        }
        if let (false, Some(text)) = (remote, facts.dockerfile) {
            self.has_dockerfile = !facts.plain_dockerfile;
            self.read_dockerfile(&text);
        }
        self.refresh();
    }

    fn read_dockerfile(&mut self, text: &str) {
        let target = self.params.target.as_deref();
        let facts = dockerfile::read(text, &self.params.args, target, self.secrets);
        self.build.dockerfile = Some(dockerfile::printable(text, self.secrets));
        self.file = FileFacts {
            base_images: facts.base_images,
            steps: facts.steps,
            urls: facts.urls,
            proxies: facts.proxies,
        };
    }

    /// Puts together what the query, the Dockerfile and the answer say.
    fn refresh(&mut self) {
        let mut said = self.said.clone();
        self.progress.add_to(&mut said, &self.params.args, self.secrets);
        self.add_definition(&mut said);
        let answer = &said;
        let build = &mut self.build;
        build.base_images = either(&self.file.base_images, &answer.base_images);
        build.steps = either(&answer.steps, &self.file.steps);
        build.tags = either(&self.params.tags, &answer.tags);
        build.image_id.clone_from(&answer.image_id);
        build.step_containers.clone_from(&answer.step_containers);
        match &self.grpc {
            Some(grpc) => grpc.settle(&mut self.ending),
            None if self.said.error.is_some() => self.ending.failed(),
            None => self.ending.made_image(self.said.image_id.is_some()),
        }
        build.outcome = outcome_of(&self.ending, &self.said);
        build.end_seen = self.ending.end_seen() || self.said.saw_end;
        build.urls = named_urls(&self.file, &self.params, answer, self.secrets);
        build.proxies = dockerfile::proxies_of(&self.params.args);
        for proxy in self.file.proxies.iter().chain(&answer.proxies) {
            dockerfile::add_proxy(&mut build.proxies, proxy);
        }
    }
}

/// BuildKit with an exporter that names no image, and `q=1` of some daemons, succeed without an id.
fn outcome_of(ending: &Ending, answer: &AnswerFacts) -> Outcome {
    match ending.outcome() {
        Outcome::Unknown | Outcome::Canceled if answer.saw_end => Outcome::Succeeded,
        outcome => outcome,
    }
}

fn either(first: &[String], second: &[String]) -> Vec<String> {
    if first.is_empty() { second.to_vec() } else { first.to_vec() }
}

/// Each once: `remote=`, the Dockerfile, build arguments, steps.
fn named_urls(
    file: &FileFacts,
    params: &Params,
    answer: &AnswerFacts,
    secrets: Secrets,
) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    let from_args = params.args.values().flat_map(|value| urls::find(value));
    let candidates = params
        .remote
        .iter()
        .cloned()
        .chain(file.urls.iter().cloned())
        .chain(from_args)
        .chain(answer.urls.iter().cloned());
    for url in candidates {
        let url = redact_url(&url, secrets);
        if all.len() < MAX_URLS && !all.contains(&url) {
            all.push(url);
        }
    }
    all
}

fn blank_build(api: &ApiCall, identity: BuildIdentity<'_>, frontend: Frontend) -> Build {
    let how = (frontend, Transport::Rest);
    Build {
        calls: vec![api.id],
        tls: api.tls,
        api_version: api.api_version.clone(),
        user_agent: api.user_agent.clone(),
        ..Build::begun(identity.id(), (api.client, api.daemon), api.tag, how, api.started)
    }
}
