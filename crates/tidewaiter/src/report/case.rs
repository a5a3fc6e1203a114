//! Everything that one run found, in the order in which it is printed.

use super::json::About;
use tw_detect::Judgement;
use tw_model::{
    Anomaly, Build, ContainerEvent, Evidence, Finding, ImageCreation, Incident, RegistryAction,
    Rule, Severity, Timestamp,
};

/// Something with its environment and where it stands in the input.
#[derive(Clone, Debug)]
pub(crate) struct Told<T> {
    /// When.
    pub(crate) at: Timestamp,
    /// Whose.
    pub(crate) environment: String,
    /// Where.
    pub(crate) evidence: Vec<Evidence>,
    /// What.
    pub(crate) body: T,
}

impl<T> Told<T> {
    /// What its JSON line begins with.
    pub(crate) fn about(&self, event: &'static str) -> About<'_> {
        About {
            event,
            timestamp: self.at,
            environment: &self.environment,
            evidence: &self.evidence,
        }
    }
}

/// What one run found.
#[derive(Clone, Debug, Default)]
pub(crate) struct Case {
    pub(crate) incidents: Vec<Incident>,
    pub(crate) findings: Vec<Finding>,
    pub(crate) builds: Vec<Told<Build>>,
    pub(crate) creations: Vec<Told<ImageCreation>>,
    pub(crate) registries: Vec<Told<RegistryAction>>,
    pub(crate) containers: Vec<Told<ContainerEvent>>,
    pub(crate) anomalies: Vec<Told<Anomaly>>,
}

impl Case {
    /// Takes in what the detector judged.
    pub(crate) fn take(&mut self, judgement: Judgement) {
        match judgement {
            Judgement::Finding(finding) => self.findings.push(*finding),
            Judgement::Incident(incident) => self.incidents.push(*incident),
            Judgement::Build { environment, build, evidence } => {
                self.builds.push(Told { at: build.started, environment, evidence, body: *build });
            }
            Judgement::ImageCreation { environment, creation, evidence } => {
                let at = creation.started;
                self.creations.push(Told { at, environment, evidence, body: *creation });
            }
            Judgement::Registry { environment, action, evidence } => {
                let at = action.started;
                self.registries.push(Told { at, environment, evidence, body: *action });
            }
            Judgement::Container { environment, event, evidence } => {
                let at = event.started;
                self.containers.push(Told { at, environment, evidence, body: *event });
            }
        }
    }

    /// The events whose id is `wanted`; of those without one, none.
    pub(crate) fn only(self, wanted: impl Fn(&str) -> bool) -> Self {
        let Self { mut incidents, mut findings, mut builds, mut creations, .. } = self;
        incidents.retain(|incident| wanted(&incident.id));
        findings.retain(|finding| wanted(&finding.id));
        builds.retain(|told| wanted(&told.body.id.0));
        creations.retain(|told| wanted(&told.body.id.0));
        Self { incidents, findings, builds, creations, ..Self::default() }
    }

    /// Do findings tell of novelty, none of them against a baseline, and was nothing known besides?
    pub(crate) fn lacks_baseline(&self) -> bool {
        let novelties: Vec<_> = self.findings.iter().filter_map(|f| f.novelty.as_ref()).collect();
        let known = |destinations: &[tw_model::Destination]| destinations.iter().any(|d| d.known);
        !novelties.is_empty()
            && !novelties.iter().any(|novelty| novelty.baseline)
            && !self.builds.iter().any(|told| known(&told.body.destinations))
    }

    /// Findings of each severity, worst first, those that have any.
    pub(crate) fn by_severity(&self) -> Vec<(Severity, usize)> {
        use Severity::{Critical, High, Info, Low, Medium};
        [Critical, High, Medium, Low, Info]
            .into_iter()
            .map(|severity| {
                (severity, self.findings.iter().filter(|found| found.severity == severity).count())
            })
            .filter(|(_, count)| *count > 0)
            .collect()
    }

    /// The worst severity.
    pub(crate) fn worst(&self) -> Option<Severity> {
        self.findings.iter().map(|finding| finding.severity).max()
    }

    /// Incidents, worst first, then in time order.
    pub(crate) fn incidents_by_weight(&self) -> Vec<&Incident> {
        let mut incidents: Vec<&Incident> = self.incidents.iter().collect();
        incidents.sort_by(|a, b| {
            b.severity.cmp(&a.severity).then(a.started.cmp(&b.started)).then(a.id.cmp(&b.id))
        });
        incidents
    }

    /// Findings of one incident, worst first; of equal ones, those about a destination before those
    /// about a caller, then in time order.
    pub(crate) fn findings_of(&self, incident: &Incident) -> Vec<&Finding> {
        let mut findings: Vec<&Finding> =
            self.findings.iter().filter(|finding| finding.incident == incident.id).collect();
        findings.sort_by(|a, b| {
            let rank = |f: &Finding| (f.severity, f.verdict, f.rule != Rule::ApiExposed);
            rank(b).cmp(&rank(a)).then((a.timestamp, &a.id).cmp(&(b.timestamp, &b.id)))
        });
        findings
    }
}
