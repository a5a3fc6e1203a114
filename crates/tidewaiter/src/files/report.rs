//! The report's file, which takes notes while the captures are read.

use std::io::Write as _;
use std::path::Path;

use anyhow::Context as _;
use tw_detect::{Audit, AuditLimits};
use tw_evidence::AtomicFile;
use tw_model::{Observation, ObservationBody};

use crate::report::Sources;
use crate::report::case::Case;
use crate::report::paper::{Ingredients, Lang, Page, Steps};
use crate::report::text::Reading;
use crate::settings::{Settings, SettingsError};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Html,
    Markdown,
}

/// A report that is being made.
pub(crate) struct ReportFile {
    file: AtomicFile,
    kind: Kind,
    lang: Lang,
    audit: Audit,
    steps: Steps,
}

impl ReportFile {
    /// Makes sure, before the work begins, that it can be written.
    pub(crate) fn prepare(path: &Path, lang: Lang, settings: &Settings) -> anyhow::Result<Self> {
        let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or("");
        let kind = match extension.to_ascii_lowercase().as_str() {
            "html" | "htm" => Kind::Html,
            "md" | "markdown" => Kind::Markdown,
            _ => {
                return Err(SettingsError::Usage(format!(
                    "--report {}: the name tells the format, so it must end in .html or .md",
                    path.display()
                ))
                .into());
            }
        };
        let file = AtomicFile::create(path)
            .with_context(|| format!("cannot write the report {}", path.display()))?;
        let ports = settings.policy.docker_ports.clone();
        let audit = Audit::new(settings.environments.clone(), ports, AuditLimits::default());
        Ok(Self { file, kind, lang, audit, steps: Steps::default() })
    }

    /// Takes note of an observation.
    pub(crate) fn observe(&mut self, observation: &Observation) {
        self.audit.push(observation);
        if let ObservationBody::Build(build) = &observation.body {
            self.steps.note(build, observation.at);
        }
    }

    /// Writes it.
    pub(crate) fn write(
        self,
        sources: &Sources,
        case: &Case,
        reading: &Reading,
    ) -> anyhow::Result<String> {
        let Self { mut file, kind, lang, mut audit, steps } = self;
        crate::cli::judge(&mut audit, case);
        let inventory = audit.finish();
        let page = Page::new(&Ingredients {
            case,
            inventory: &inventory,
            steps: &steps,
            sources,
            reading,
            lang,
        });
        let text = match kind {
            Kind::Html => page.html()?,
            Kind::Markdown => page.markdown(),
        };
        let name = file.target().display().to_string();
        file.write_all(text.as_bytes())
            .and_then(|()| file.commit())
            .with_context(|| format!("cannot write the report {name}"))?;
        Ok(name)
    }
}
