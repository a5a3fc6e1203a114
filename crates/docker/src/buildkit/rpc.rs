//! One call of BuildKit: its messages in both directions, and what they mean.

use tw_model::{ApiCall, Caveat, Direction, Evidence};
use tw_proto::{BodyEnd, Header, HttpEventKind, RequestHead};

use super::filesync::{DiffCopy, Folder};
use super::grpc::{Messages, Room};
use super::hub::{Hub, SessionKey, UNNAMED};
use super::method::Method;
use super::protobuf::Fields;
use super::solve::{self, BridgeSolve, SolveRequest};
use crate::query::bounded;

/// One call.
pub(crate) struct Rpc {
    request: Messages,
    response: Messages,
    request_over: bool,
    response_over: bool,
    call: Call,
}

/// What is known of it.
struct Call {
    /// `None` where the request was not seen.
    method: Option<Method>,
    api: ApiCall,
    /// Why calls of its build may have been missed.
    missed: Caveat,
    /// `Ref` of the build that it belongs to.
    reference: Option<String>,
    session: Option<SessionKey>,
    copy: Option<DiffCopy>,
}

impl Rpc {
    /// gRPC over HTTP/2, "Requests". `buildkit-controlapi-buildid` names the build of a
    /// gateway's call.
    pub(crate) fn new(method: Method, api: ApiCall, missed: Caveat, head: &RequestHead) -> Self {
        let mut rpc = Self::blank(Some(method), api, missed);
        rpc.request.coding(head.header("grpc-encoding"));
        rpc.call.reference = head.header("buildkit-controlapi-buildid").map(|id| bounded(id, 128));
        rpc.call.copy = (method == Method::DiffCopy).then(|| {
            DiffCopy::new(match head.header("dir-name") {
                Some("dockerfile") => Folder::Dockerfile,
                Some(_) => Folder::Context,
                None => Folder::Unknown,
            })
        });
        rpc
    }

    /// Only its answer is seen: on a session's connection files, else progress. `begun`: not from
    /// its beginning.
    pub(crate) fn of_answer(api: ApiCall, missed: Caveat, on_session: bool, begun: bool) -> Self {
        let mut rpc = Self::blank(on_session.then_some(Method::DiffCopy), api, missed);
        rpc.call.copy = on_session.then(|| DiffCopy::new(Folder::Unknown));
        rpc.request_over = true;
        if begun {
            rpc.response = Messages::joined();
        }
        rpc
    }

    fn blank(method: Option<Method>, api: ApiCall, missed: Caveat) -> Self {
        let call = Call { method, api, missed, reference: None, session: None, copy: None };
        Self {
            request: Messages::default(),
            response: Messages::default(),
            request_over: false,
            response_over: false,
            call,
        }
    }

    /// Does it copy files?
    pub(crate) const fn is_file_copy(&self) -> bool {
        matches!(self.call.method, Some(Method::DiffCopy))
    }

    /// The call as every call is told.
    pub(crate) const fn api(&self) -> &ApiCall {
        &self.call.api
    }

    /// The session that its connection is.
    pub(crate) fn join_session(&mut self, session: Option<&SessionKey>) {
        self.call.session = session.cloned();
    }

    /// Were both directions seen to their ends?
    pub(crate) const fn is_over(&self) -> bool {
        self.request_over && self.response_over
    }

    /// One event.
    pub(crate) fn event(
        &mut self,
        kind: &HttpEventKind<'_>,
        at: Evidence,
        room: &mut Room,
        hub: &mut Hub,
    ) {
        let Self { request, response, call, .. } = self;
        match *kind {
            HttpEventKind::RequestHead(_) => call.begins(at, hub),
            HttpEventKind::RequestBody(bytes) => {
                request.push(bytes, room, &mut |message, _| call.asked(message, at, hub));
            }
            HttpEventKind::RequestGap(len) | HttpEventKind::RequestUnread(len) => {
                request.gap(len, room, &mut |message, _| call.asked(message, at, hub));
                call.gap(hub);
            }
            HttpEventKind::RequestEnd(_) => {
                request.finish(room, &mut |message, _| call.asked(message, at, hub));
                self.request_over = true;
            }
            HttpEventKind::ResponseHead(head) => {
                response.coding(head.header("grpc-encoding"));
                call.answers(head.status, &head.headers, at, hub);
            }
            HttpEventKind::ResponseBody(bytes) => {
                response.push(bytes, room, &mut |m, whole| call.answered(m, whole, at, hub));
            }
            HttpEventKind::ResponseGap(len) | HttpEventKind::ResponseUnread(len) => {
                response.gap(len, room, &mut |m, whole| call.answered(m, whole, at, hub));
                call.gap(hub);
            }
            HttpEventKind::ResponseTrailers(fields) => call.status(fields, hub),
            HttpEventKind::ResponseEnd(end) => {
                response.finish(room, &mut |m, whole| call.answered(m, whole, at, hub));
                call.ends(end, at, hub);
                self.response_over = true;
            }
            HttpEventKind::Reset(from) => {
                call.reset(from, at, hub);
                // An answer that was on its way may still come, but no other end.
                self.request_over = true;
            }
            HttpEventKind::Upgraded(_) | HttpEventKind::Upstream { .. } => {}
        }
    }

    /// Nothing more will come.
    pub(crate) fn over(&mut self, at: Evidence, room: &mut Room, hub: &mut Hub) {
        let Self { request, response, call, .. } = self;
        request.finish(room, &mut |message, _| call.asked(message, at, hub));
        response.finish(room, &mut |m, whole| call.answered(m, whole, at, hub));
    }
}

impl Call {
    /// The daemon asks for files only once it builds.
    fn begins(&self, at: Evidence, hub: &mut Hub) {
        if let (Some(Method::DiffCopy), Some(session)) = (self.method, &self.session) {
            hub.session_is_used(session, true, self.missed, at);
        }
    }

    /// A message of the request.
    fn asked(&mut self, message: &[u8], at: Evidence, hub: &mut Hub) {
        match self.method {
            Some(Method::Solve) => {
                let mut solve = SolveRequest::read(message);
                solve.reference.get_or_insert_with(|| unnamed(&self.api));
                self.reference.clone_from(&solve.reference);
                hub.solve(&self.api, self.missed, solve, at);
            }
            Some(Method::Status) => self.reference = solve::reference(message),
            Some(Method::BridgeSolve) => {
                let BridgeSolve { definition, frontend, attributes } = BridgeSolve::read(message);
                let is_build = frontend.is_some() || !definition.is_empty();
                self.with_build(is_build, at, hub, |build| {
                    build.add_attributes(&attributes, None);
                    build.define(definition);
                });
            }
            Some(Method::BridgeReturn) => {
                let definition = solve::returned(message);
                let is_build = !definition.is_empty();
                self.with_build(is_build, at, hub, |build| build.define(definition));
            }
            Some(Method::DiffCopy) | None => {}
        }
    }

    /// The answer begins.
    fn answers(&mut self, status: u16, fields: &[Header], at: Evidence, hub: &mut Hub) {
        if let Some(build) = self.reference.as_ref().and_then(|id| hub.build(&self.api, id)) {
            build.call.answered(if self.method == Some(Method::Solve) { status } else { 200 });
            build.note(at);
        }
        self.status(fields, hub);
    }

    /// A message of the answer.
    fn answered(&mut self, message: &[u8], whole: bool, at: Evidence, hub: &mut Hub) {
        match self.method {
            Some(Method::Solve) => {
                let image = solve::answered_image(message);
                if let Some(build) = self.reference.as_ref().and_then(|id| hub.build(&self.api, id))
                {
                    build.call.answered_image(image);
                }
            }
            None | Some(Method::Status) if !whole && begins_progress(message) => {
                let id = self.reference.get_or_insert_with(|| unnamed(&self.api));
                hub.progress_begun(&self.api, self.missed, id, at);
                self.progress(message, at, hub);
            }
            Some(Method::Status) => self.progress(message, at, hub),
            None if whole && (self.reference.is_some() || is_progress(message)) => {
                self.reference.get_or_insert_with(|| unnamed(&self.api));
                self.progress(message, at, hub);
            }
            Some(Method::DiffCopy) => {
                if let (Some(copy), Some(session)) = (&mut self.copy, &self.session) {
                    hub.packet(session, copy, message, whole);
                }
            }
            Some(Method::BridgeSolve | Method::BridgeReturn) | None => {}
        }
    }

    fn progress(&mut self, message: &[u8], at: Evidence, hub: &mut Hub) {
        let Some(id) = &self.reference else { return };
        hub.progress(&self.api, self.missed, id, message, at);
    }

    /// gRPC over HTTP/2, "Responses": `grpc-status` in the trailers, or in a head without a body.
    fn status(&self, fields: &[Header], hub: &mut Hub) {
        if self.method != Some(Method::Solve) {
            return;
        }
        let status = fields.iter().find(|field| field.name == "grpc-status");
        let Some(status) = status.and_then(|field| field.value.parse().ok()) else { return };
        if let Some(id) = &self.reference {
            hub.status(&self.api, id, status);
        }
    }

    fn ends(&self, end: BodyEnd, at: Evidence, hub: &mut Hub) {
        if let (Some(Method::Solve), Some(id)) = (self.method, &self.reference) {
            hub.solved(&self.api, id, end, at);
        }
    }

    fn reset(&self, from: Direction, at: Evidence, hub: &mut Hub) {
        let by_client = from == Direction::ToResponder;
        if let (Some(Method::Solve), true, Some(id)) = (self.method, by_client, &self.reference) {
            hub.canceled(&self.api, id, at);
        }
    }

    fn gap(&self, hub: &mut Hub) {
        if let Some(build) = self.reference.as_ref().and_then(|id| hub.build(&self.api, id)) {
            build.gap();
        }
    }

    fn with_build(
        &self,
        is_build: bool,
        at: Evidence,
        hub: &mut Hub,
        act: impl FnOnce(&mut crate::build::BuildCall),
    ) {
        let Some(id) = &self.reference else { return };
        if is_build && let Some(build) = hub.build_or_new(&self.api, self.missed, id, at) {
            act(&mut build.call);
            build.is_build(at);
        }
    }
}

/// Stands for a `Ref` that was not seen; no client's can begin so.
fn unnamed(api: &ApiCall) -> String {
    format!("{UNNAMED}{}:{}", api.id.flow.0, api.id.index)
}

/// Of a message that was cut off: does it begin as `StatusResponse` with a vertex does, 1 {1 digest}?
/// Only what works on a build tells of vertices.
fn begins_progress(message: &[u8]) -> bool {
    const DIGEST: &[u8] = b"\x0a\x47sha256:";
    let Some(rest) = message.strip_prefix(b"\x0a") else { return false };
    let length = rest.iter().take(3).take_while(|byte| **byte & 0x80 != 0).count();
    rest.get(length..).and_then(|rest| rest.get(1..)).is_some_and(|rest| rest.starts_with(DIGEST))
}

/// Has it the shape of `StatusResponse` with a vertex: 1 {1 digest, 3 name}?
fn is_progress(message: &[u8]) -> bool {
    let mut fields = Fields::new(message);
    let vertex = fields.by_ref().find(|(number, _)| *number == 1);
    let Some((_, vertex)) = vertex else { return false };
    let (mut digest, mut name) = (false, false);
    let mut inner = vertex.message();
    for (number, value) in inner.by_ref() {
        digest |= number == 1 && solve::digest(value.text()).is_some();
        name |= number == 3 && value.text().is_some();
    }
    fields.for_each(drop);
    digest && name && inner.is_sound()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_beginning_of_progress_is_a_vertex_with_a_digest() {
        let whole = [b"\x0a\xb6\x01\x0a\x47sha256:".as_slice(), &[b'a'; 64]].concat();
        for at in 0..whole.len() {
            assert_eq!(begins_progress(&whole[..at]), at >= 12, "{at}");
        }
        for other in [&b"\x0a\x19abcdefghijklmnopqrstuvwxy"[..], b"\x12\x05\x0a\x03abc", b""] {
            assert!(!begins_progress(other));
        }
    }
}
