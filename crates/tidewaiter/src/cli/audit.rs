//! `audit`: who exposes a Docker API, who calls it, what was made and deployed there.

use tw_detect::{Audit, AuditLimits, Judgement};
use tw_model::{Secrets, Timestamp};
use tw_store::How;

use super::Ended;
use super::args::{Audit as Args, AuditFormat};
use super::common;
use crate::pipeline::Pipeline;
use crate::report::case::{Case, Told};
use crate::report::{audit, json, stats, text};

pub(crate) fn run(args: &Args) -> anyhow::Result<Ended> {
    let settings = common::settings(&args.place)?;
    let mut taken = Audit::new(
        settings.environments.clone(),
        settings.policy.docker_ports.clone(),
        AuditLimits::default(),
    );
    // What is known matters to findings, which an audit does not print.
    let memory = tw_store::Overlay::empty(common::options(&settings));
    let pipeline = Pipeline::new(settings, memory, How::Observed, Secrets::Redact);
    let mut each = |_: &_, _: &str, observation: &_| {
        taken.push(observation);
        Ok(())
    };
    let (outcome, read) = common::read(&args.captures, &args.reading, pipeline, &mut each)?;
    let findings = outcome.case.by_severity().into_iter().collect();
    judge(&mut taken, &outcome.case);
    let inventory = taken.finish();
    let printed = match args.format {
        AuditFormat::Csv => audit::csv(&inventory),
        AuditFormat::Text => {
            let reading = text::Reading {
                counters: outcome.counters,
                span: outcome.span,
                baseline: false,
                warnings: read.warnings,
            };
            text::inventory(&inventory, &read.sources, &reading)
        }
        AuditFormat::Json => {
            let writer = json::Writer::new(&read.sources, "audit");
            let mut lines = audit::lines(&writer, &inventory);
            let run = stats::Run {
                counters: &outcome.counters,
                detector: &outcome.detector,
                audit: Some(&inventory.counters),
                findings,
                sources: &read.sources,
                reached: &outcome.reached,
                committed: false,
                warnings: &read.warnings,
                until: outcome.span.map_or(Timestamp::EPOCH, |(_, last)| last),
                elapsed: read.elapsed,
                files: None,
            };
            lines.push(stats::line(&writer, &run));
            lines.join("\n") + "\n"
        }
    };
    common::print(&printed)?;
    Ok(Ended::Ran)
}

/// Hands on what the detector judged.
pub(crate) fn judge(taken: &mut Audit, case: &Case) {
    for Told { environment, evidence, body, .. } in case.builds.iter().cloned() {
        taken.judged(&Judgement::Build { environment, build: Box::new(body), evidence });
    }
    for Told { environment, evidence, body, .. } in case.creations.iter().cloned() {
        taken.judged(&Judgement::ImageCreation { environment, creation: Box::new(body), evidence });
    }
    for Told { environment, evidence, body, .. } in case.registries.iter().cloned() {
        taken.judged(&Judgement::Registry { environment, action: Box::new(body), evidence });
    }
    for Told { environment, evidence, body, .. } in case.containers.iter().cloned() {
        taken.judged(&Judgement::Container { environment, event: Box::new(body), evidence });
    }
}
