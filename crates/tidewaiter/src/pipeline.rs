//! From frames to a case: engine, detector, learner and memory, in the order in which each may
//! look at an observation.

use std::collections::HashMap;

use tw_detect::{Detector, Learner, Reviewed};
use tw_model::{
    Anomaly, AppProtocol, Evidence, Observation, ObservationBody, Secrets, SourceId, Timestamp, Via,
};
use tw_netflow::{Datagram, NotAState};
use tw_store::{How, Memory, SeenAxis};
use tw_wire::Frame;

use crate::engine::{Counters, DockerPorts, Engine, Limits};
use crate::report::case::{Case, Told};
use crate::settings::Settings;

/// Packet time between two notes that an environment is being watched.
const WATCH_EVERY: std::time::Duration = std::time::Duration::from_secs(600);

/// Anomalies that are printed one by one; the engine counts all.
const ANOMALIES: usize = 10_000;

/// One run.
pub(crate) struct Pipeline<M> {
    engine: Engine,
    rest: Rest<M>,
    /// The last frame of each input but that of the latest frame.
    reached: HashMap<SourceId, Evidence>,
    latest: Option<Evidence>,
    span: Option<(Timestamp, Timestamp)>,
}

struct Rest<M> {
    detector: Detector,
    learner: Learner,
    memory: M,
    how: How,
    settings: Settings,
    /// Environments, and when it was noted last that each is watched: on all axes, and on those of
    /// records. Few.
    watched: Vec<(String, [Option<Timestamp>; 2])>,
    anomalies: Vec<Told<Anomaly>>,
}

impl<M: Memory> Pipeline<M> {
    /// A run that asks and tells `memory`; facts are recorded as `how`.
    pub(crate) fn new(settings: Settings, memory: M, how: How, secrets: Secrets) -> Self {
        let mut detector = Detector::new(settings.policy.clone(), settings.environments.clone());
        if how == How::Learned {
            detector = detector.asking_at_once();
        }
        let docker_ports = DockerPorts(settings.policy.docker_ports.clone());
        let exporters = settings.environments.exporters().clone();
        let limits = Limits { docker_ports, exporters, ..Limits::default() };
        let learner = Learner::new(settings.environments.clone())
            .with_docker_ports(settings.policy.docker_ports.clone());
        Self {
            engine: Engine::new(limits, secrets),
            rest: Rest {
                detector,
                learner,
                memory,
                how,
                settings,
                watched: Vec::new(),
                anomalies: Vec::new(),
            },
            reached: HashMap::new(),
            latest: None,
            span: None,
        }
    }

    /// Takes one frame; `each` sees every observation after it was judged.
    pub(crate) fn push(&mut self, frame: &Frame<'_>, each: &mut dyn FnMut(&str, &Observation)) {
        if let Some(before) = self.latest.replace(frame.evidence())
            && before.source != frame.source
        {
            self.reached.insert(before.source, before);
        }
        let now = frame.timestamp;
        let (first, last) = self.span.get_or_insert((now, now));
        (*first, *last) = ((*first).min(now), (*last).max(now));
        let Self { engine, rest, .. } = self;
        engine.push(frame, &mut |observation| rest.observe(observation, each));
    }

    /// Takes in lines of a TLS key log.
    pub(crate) fn keys(&mut self, lines: &[u8]) {
        self.engine.keys(lines);
    }

    /// Everything is going to be printed.
    pub(crate) const fn fingerprint(&mut self) {
        self.engine.fingerprint();
    }

    /// Lines may come later than the packets that they are for.
    pub(crate) const fn await_keys(&mut self) {
        self.engine.await_keys();
    }

    /// Takes one export datagram that came on a socket.
    pub(crate) fn export(&mut self, datagram: &Datagram<'_>) {
        let Self { engine, rest, .. } = self;
        engine.export(datagram, &mut |observation| rest.observe(observation, &mut |_, _| {}));
    }

    /// Time passed by the collector's clock.
    pub(crate) fn advance(&mut self, now: Timestamp) {
        let Self { engine, rest, .. } = self;
        engine.advance(now, &mut |observation| rest.observe(observation, &mut |_, _| {}));
    }

    /// Takes back what was saved of flow records.
    pub(crate) fn restore_exports(&mut self, saved: &[u8]) -> Result<(), NotAState> {
        let Self { engine, rest, .. } = self;
        engine.restore_exports(saved, &mut |seen| rest.observe(seen, &mut |_, _| {}))
    }

    /// Everything that is still open is told; the run may go on to [`Self::review`], but not to more
    /// input.
    pub(crate) fn end_of_input(&mut self) {
        let Self { engine, rest, .. } = self;
        engine.finish(&mut |observation| rest.observe(observation, &mut |_, _| {}));
    }

    /// How things stand.
    pub(crate) fn review(&mut self) -> Vec<Reviewed> {
        let Rest { detector, memory, .. } = &mut self.rest;
        detector.review(memory)
    }

    pub(crate) const fn engine(&self) -> &Engine {
        &self.engine
    }

    pub(crate) const fn engine_mut(&mut self) -> &mut Engine {
        &mut self.engine
    }

    pub(crate) const fn memory(&mut self) -> &mut M {
        &mut self.rest.memory
    }

    /// Gives the memory back; nothing more is told.
    pub(crate) fn into_memory(self) -> M {
        self.rest.memory
    }

    /// What the detector counted.
    pub(crate) fn detector_counters(&self) -> tw_detect::Counters {
        self.rest.detector.counters()
    }

    /// End of input: the case, and the memory back.
    pub(crate) fn finish(mut self, each: &mut dyn FnMut(&str, &Observation)) -> Outcome<M> {
        let Self { engine, rest, .. } = &mut self;
        engine.finish(&mut |observation| rest.observe(observation, each));
        let Rest { detector, memory, anomalies, .. } = rest;
        let mut case = Case { anomalies: std::mem::take(anomalies), ..Case::default() };
        detector.finish(memory, &mut |judgement| case.take(judgement));
        self.reached.extend(self.latest.map(|latest| (latest.source, latest)));
        let mut reached: Vec<Evidence> = self.reached.into_values().collect();
        reached.sort_by_key(|place| place.source);
        Outcome {
            case,
            counters: self.engine.counters(),
            detector: self.rest.detector.counters(),
            reached,
            span: self.span,
            memory: self.rest.memory,
        }
    }
}

/// What a run gives.
pub(crate) struct Outcome<M> {
    pub(crate) case: Case,
    pub(crate) counters: Counters,
    pub(crate) detector: tw_detect::Counters,
    /// The last frame of each input.
    pub(crate) reached: Vec<Evidence>,
    pub(crate) span: Option<(Timestamp, Timestamp)>,
    pub(crate) memory: M,
}

impl<M: Memory> Rest<M> {
    /// What the learner tells makes nothing known by its own arrival: the memory answers as of before
    /// the time asked about. A baseline counts for all times, so there the detector goes first.
    fn observe(&mut self, observation: Observation, each: &mut dyn FnMut(&str, &Observation)) {
        let Self { detector, learner, memory, how, settings, watched, anomalies } = self;
        if let Some((ip, tag)) = owner(&observation) {
            let environment = settings.environments.of(ip, tag);
            if let Some(axes) = watched_by(&observation, learner) {
                watch(watched, memory, environment, axes, observation.at);
            }
            each(environment, &observation);
        } else {
            each("", &observation);
        }
        if let ObservationBody::Anomaly(anomaly) = &observation.body
            && anomalies.len() < ANOMALIES
        {
            anomalies.push(Told {
                at: observation.at,
                environment: String::new(),
                evidence: observation.evidence.clone(),
                body: anomaly.clone(),
            });
        }
        if *how == How::Learned {
            detector.push(observation.clone(), memory, &mut |_| {});
            learner.push(&observation, &mut |fact| memory.record(&fact, *how));
            return;
        }
        learner.push(&observation, &mut |fact| memory.record(&fact, *how));
        detector.push(observation, memory, &mut |_| {});
    }
}

/// Whose observation it is: the host whose environment it belongs to.
fn owner(observation: &Observation) -> Option<(std::net::IpAddr, tw_model::NetworkTag)> {
    match &observation.body {
        ObservationBody::ApiCall(call) => Some((call.daemon.ip, call.tag)),
        ObservationBody::Build(build) => Some((build.daemon.ip, build.tag)),
        ObservationBody::ImageCreation(creation) => Some((creation.daemon.ip, creation.tag)),
        ObservationBody::Container(event) => Some((event.daemon.ip, event.tag)),
        ObservationBody::Registry(action) => Some((action.docker_host, action.tag)),
        ObservationBody::TlsShape(shape) => Some((shape.server.ip, shape.tag)),
        ObservationBody::ClientAuth(auth) => Some((auth.server.ip, auth.tag)),
        ObservationBody::Connection(connection) => Some((connection.opener.ip, connection.tag)),
        ObservationBody::Http(_)
        | ObservationBody::NameAnswer(_)
        | ObservationBody::Tls(_)
        | ObservationBody::FlowRecord(_)
        | ObservationBody::Anomaly(_) => None,
    }
}

/// The axes on which what shows this could teach: only there what was never seen is new. Flow records
/// have no names, registries or builders, those that may not teach have nothing, and what carries
/// records is none of the traffic that they tell of.
fn watched_by(observation: &Observation, learner: &Learner) -> Option<&'static [SeenAxis]> {
    let ObservationBody::Connection(c) = &observation.body else { return Some(&SeenAxis::ALL) };
    match c.via {
        Via::Packets => (c.app != Some(AppProtocol::Netflow)).then_some(&SeenAxis::ALL),
        Via::Netflow => learner.may_learn_of(c).then_some(&IN_RECORDS),
    }
}

/// Axes on which flow records teach.
const IN_RECORDS: [SeenAxis; 2] = [SeenAxis::Address, SeenAxis::Caller];

fn watch<M: Memory>(
    watched: &mut Vec<(String, [Option<Timestamp>; 2])>,
    memory: &mut M,
    environment: &str,
    axes: &[SeenAxis],
    at: Timestamp,
) {
    let kind = usize::from(axes.len() < SeenAxis::ALL.len());
    let place = watched.iter().position(|(name, _)| name == environment);
    let place = place.unwrap_or_else(|| {
        watched.push((environment.to_owned(), [None; 2]));
        watched.len().saturating_sub(1)
    });
    let Some(noted) = watched.get_mut(place).and_then(|(_, noted)| noted.get_mut(kind)) else {
        return;
    };
    if noted.is_none_or(|last| at.since(last) >= WATCH_EVERY) {
        *noted = Some(at);
        memory.watching_axes(environment, axes, at);
    }
}
