//! What a call means besides being a call: a build, an image, an action on a container.

use std::sync::Arc;

use tw_model::{ApiCall, Caveat, ObservationBody, Route, Secrets, StreamUse, Timestamp};
use tw_proto::{BodyEnd, RequestHead};

use crate::build::BuildCall;
use crate::call::Turn;
use crate::container::ContainerCall;
use crate::content::context::ContextLimits;
use crate::creation::CreationCall;
use crate::memory::host_key;
use crate::registry::TransferCall;
use crate::route::Target;

/// What the call means besides itself. Every event of the exchange goes to it.
pub(crate) enum Role {
    Plain,
    Build(Box<BuildCall>),
    Creation(Box<CreationCall>),
    Container(Box<ContainerCall>),
    Transfer(Box<TransferCall>),
    /// The request was not captured: one of these, as its lines will show.
    Answer(Box<BuildCall>, Box<CreationCall>, Box<TransferCall>, Box<ContainerCall>),
}

/// What came of reading a request's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RequestBody {
    /// It says nothing here.
    None,
    /// Read.
    Whole,
    /// A context that does not parse, or is over a limit.
    OddContext,
    /// JSON that is cut off, too large or malformed.
    OddJson,
}

impl Role {
    pub(crate) fn of_request(
        api: &ApiCall,
        target: &Target,
        head: &RequestHead,
        turn: &mut Turn<'_>,
    ) -> Self {
        match api.route {
            Route::Build => {
                let limits = context_limits(turn, api.certain);
                let media = head.header("content-type");
                let mut build = BuildCall::from_request(api, target, media, limits, turn.secrets);
                let host = host_key(api.daemon, api.tag);
                if let Some(call) = build.session().and_then(|id| turn.memory.session(host, id)) {
                    build.join(call);
                }
                Self::Build(Box::new(build))
            }
            Route::Commit | Route::ImageImport | Route::ImageLoad => {
                let creation = CreationCall::new(api, target, turn.secrets);
                creation.map_or(Self::Plain, |creation| Self::Creation(Box::new(creation)))
            }
            Route::ImagePull | Route::ImagePush => {
                let call = TransferCall::new(api, target);
                call.map_or(Self::Plain, |call| Self::Transfer(Box::new(call)))
            }
            _ => {
                let call = ContainerCall::new(api, target, turn.memory);
                call.map_or(Self::Plain, |call| Self::Container(Box::new(call)))
            }
        }
    }

    pub(crate) fn of_answer(api: &ApiCall, secrets: Secrets) -> Self {
        let build = BuildCall::from_answer(api, secrets);
        let creation = CreationCall::from_answer(api, secrets);
        let transfer = TransferCall::from_answer(api);
        let container = ContainerCall::from_answer(api);
        Self::Answer(Box::new(build), Box::new(creation), Box::new(transfer), Box::new(container))
    }

    /// Something weakens it.
    pub(crate) fn add_caveat(&mut self, caveat: Caveat) {
        match self {
            Self::Build(build) => build.add_caveat(caveat),
            Self::Creation(creation) => creation.add_caveat(caveat),
            Self::Answer(build, creation, ..) => {
                build.add_caveat(caveat);
                creation.add_caveat(caveat);
            }
            Self::Plain | Self::Container(_) | Self::Transfer(_) => {}
        }
    }

    pub(crate) fn request_body(&mut self, bytes: &[u8], now: Timestamp) {
        match self {
            Self::Build(build) => build.request_body(bytes, now),
            Self::Creation(creation) => creation.request_body(now),
            Self::Container(call) => call.request_body(bytes),
            Self::Plain | Self::Transfer(_) | Self::Answer(..) => {}
        }
    }

    pub(crate) fn request_gap(&mut self, bytes: u64) {
        match self {
            Self::Build(build) => build.request_gap(bytes),
            Self::Creation(creation) => creation.add_caveat(Caveat::Gaps),
            Self::Container(call) => call.request_gap(bytes),
            Self::Plain | Self::Transfer(_) | Self::Answer(..) => {}
        }
    }

    pub(crate) fn request_end(&mut self, turn: &Turn<'_>) -> RequestBody {
        let (is_odd, odd) = match self {
            Self::Build(build) => (build.request_end(), RequestBody::OddContext),
            Self::Container(call) => {
                (call.request_end(turn.secrets, turn.memory), RequestBody::OddJson)
            }
            Self::Plain | Self::Creation(_) | Self::Transfer(_) | Self::Answer(..) => {
                return RequestBody::None;
            }
        };
        if is_odd { odd } else { RequestBody::Whole }
    }

    pub(crate) fn response_head(&mut self, status: u16, now: Timestamp) {
        match self {
            Self::Plain => {}
            Self::Build(build) => build.response_head(status, now),
            Self::Creation(creation) => creation.response_head(status, now),
            Self::Container(call) => call.response_head(status, now),
            Self::Transfer(call) => call.response_head(status, now),
            Self::Answer(build, creation, transfer, container) => {
                build.response_head(status, now);
                creation.response_head(status, now);
                transfer.response_head(status, now);
                container.response_head(status, now);
            }
        }
    }

    /// Says whether it is worth telling at once.
    pub(crate) fn response_body(&mut self, bytes: &[u8], now: Timestamp) -> bool {
        match self {
            Self::Plain => return false,
            Self::Build(build) => return build.response_body(bytes, now),
            Self::Creation(creation) => creation.response_body(bytes, now),
            Self::Container(call) => call.response_body(bytes, now),
            Self::Transfer(call) => call.response_body(bytes, now),
            Self::Answer(build, creation, transfer, container) => {
                creation.response_body(bytes, now);
                transfer.response_body(bytes, now);
                container.response_body(bytes, now);
                return build.response_body(bytes, now);
            }
        }
        false
    }

    pub(crate) fn response_gap(&mut self, bytes: u64, now: Timestamp) {
        match self {
            Self::Build(build) => build.response_gap(bytes, now),
            Self::Creation(creation) => creation.response_gap(now),
            Self::Transfer(call) => call.response_gap(),
            Self::Answer(build, creation, transfer, _) => {
                build.response_gap(bytes, now);
                creation.response_gap(now);
                transfer.response_gap();
            }
            Self::Plain | Self::Container(_) => {}
        }
    }

    pub(crate) fn response_end(&mut self, end: BodyEnd, turn: &mut Turn<'_>) {
        match self {
            Self::Container(call) => call.settle(turn.memory),
            Self::Plain => {}
            Self::Build(build) => build.response_end(end, turn.now),
            Self::Creation(creation) => creation.response_end(end, turn.now),
            Self::Transfer(call) => call.response_end(),
            Self::Answer(build, creation, transfer, container) => {
                build.response_end(end, turn.now);
                creation.response_end(end, turn.now);
                transfer.response_end();
                container.settle(turn.memory);
            }
        }
    }

    /// Bytes on a hijacked connection.
    pub(crate) fn running(&mut self, now: Timestamp) {
        if let Self::Container(call) = self {
            call.running(now);
        }
    }

    /// How much a hijacked connection carried.
    pub(crate) fn streamed(&mut self, stream: &StreamUse) {
        if let Self::Container(call) = self {
            call.streamed(stream);
        }
    }

    /// Nothing more will come. `client_gone`: the connection was seen to end.
    pub(crate) fn over(&mut self, client_gone: bool, turn: &mut Turn<'_>) {
        let at = client_gone.then_some(turn.now);
        match self {
            Self::Plain | Self::Transfer(_) => {}
            Self::Build(build) => build.over(at),
            Self::Creation(creation) => creation.over(at),
            Self::Container(call) => call.over(at, turn.memory),
            Self::Answer(build, creation, ..) => {
                build.over(at);
                creation.over(at);
            }
        }
    }

    /// The answer was no daemon's: nothing was made.
    pub(crate) fn refuse(&mut self) {
        match self {
            Self::Build(build) => build.refuse(),
            Self::Creation(creation) => creation.refuse(),
            Self::Transfer(call) => call.refuse(),
            Self::Plain | Self::Container(_) | Self::Answer(..) => {}
        }
    }

    /// What is known so far.
    pub(crate) fn observation(&self) -> Option<ObservationBody> {
        match self {
            Self::Plain => None,
            Self::Build(build) => Some(build.observation()),
            Self::Creation(creation) => Some(creation.observation()),
            Self::Container(call) => call.observation(),
            Self::Transfer(call) => call.observation(),
            Self::Answer(build, ..) if build.is_proven_by_answer() => Some(build.observation()),
            Self::Answer(_, creation, transfer, container) => transfer
                .observation()
                .or_else(|| creation.recognised().map(|_| creation.observation()))
                .or_else(|| container.observation()),
        }
    }

    /// Does the request's body say what only a Docker client says?
    pub(crate) const fn is_proven_by_request(&self) -> bool {
        match self {
            Self::Build(build) => build.is_proven_by_context(),
            Self::Container(call) => call.names_image(),
            Self::Plain | Self::Creation(_) | Self::Transfer(_) | Self::Answer(..) => false,
        }
    }

    /// Does the answer's body say what only a daemon says?
    pub(crate) fn is_proven_by_answer(&self) -> bool {
        match self {
            Self::Plain => false,
            Self::Build(build) | Self::Answer(build, ..) => build.is_proven_by_answer(),
            Self::Creation(creation) => creation.is_proven_by_answer(),
            Self::Container(call) => call.is_proven_by_answer(),
            Self::Transfer(call) => call.is_proven_by_answer(),
        }
    }
}

/// What may be a web form gets no more than half of the readers, so that it cannot take them all.
fn context_limits(turn: &mut Turn<'_>, certain: bool) -> Option<(ContextLimits, Arc<()>)> {
    let limit = turn.limits.open_builds;
    let token = turn.memory.context_token(if certain { limit } else { limit / 2 });
    if token.is_none() {
        turn.counters.contexts_unread += 1;
    }
    Some((turn.limits.context(), token?))
}
