//! What the ledger keeps of registries: images pulled and pushed, with how each stood when it was
//! first seen.

use tw_model::{Evidence, RegistryAction, RegistryVia, Timestamp};

use super::{Held, Inquiry, Ledger};
use crate::environment::EnvironmentId;
use crate::policy::Policy;
use crate::{Answer, Key};

/// How the parts of an image's name stood.
#[derive(Clone, Debug)]
pub(crate) struct ImageAnswers {
    pub(crate) registry: Answer,
    pub(crate) repository: Answer,
    /// Of the manifest, once its digest is known.
    pub(crate) digest: Option<Answer>,
}

/// A registry action with those answers.
#[derive(Clone, Debug)]
pub(crate) struct HeldAction {
    pub(crate) held: Held<RegistryAction>,
    pub(crate) answers: ImageAnswers,
}

impl Ledger {
    pub(super) fn registry(
        &mut self,
        action: RegistryAction,
        evidence: Vec<Evidence>,
        policy: &Policy,
        inquiry: &mut Inquiry<'_>,
    ) {
        let environment = match (action.via, action.daemon) {
            (RegistryVia::Api, Some(daemon)) => {
                let environment = self.daemon(daemon.ip, daemon.port, action.tag, inquiry);
                if let Some(client) = action.client {
                    let pair = (environment, client, daemon.ip);
                    self.caller(pair, action.started, policy, inquiry);
                }
                environment
            }
            _ => self.judged_for(action.docker_host, action.tag, inquiry.environments).0,
        };
        let end = action.ended.plus(policy.time_window);
        self.watch(action.docker_host, action.started, end);
        match self.registry_actions.get_mut(&action.id) {
            Some(known) => {
                let answers = &mut known.answers;
                if answers.digest.is_none() {
                    answers.digest = digest(&action, environment, action.ended, inquiry);
                }
                if action.ended >= known.held.value.ended {
                    known.held = Held { value: action, evidence, environment };
                }
            }
            None => {
                let (id, answers) = (action.id.clone(), answers(&action, environment, inquiry));
                let held = Held { value: action, evidence, environment };
                self.registry_actions.insert(id, HeldAction { held, answers });
            }
        }
        while self.registry_actions.len() > policy.limits.registry_actions {
            self.registry_actions.pop_first();
            self.counters.registry_actions_lost += 1;
        }
    }
}

fn answers(
    action: &RegistryAction,
    environment: EnvironmentId,
    inquiry: &mut Inquiry<'_>,
) -> ImageAnswers {
    let (host, at) = (action.docker_host, action.started);
    let repository = format!("{}/{}", action.registry, action.repository);
    ImageAnswers {
        registry: inquiry.ask(environment, host, Key::Registry(&action.registry), at),
        repository: inquiry.ask(environment, host, Key::Repository(&repository), at),
        digest: digest(action, environment, at, inquiry),
    }
}

fn digest(
    action: &RegistryAction,
    environment: EnvironmentId,
    at: Timestamp,
    inquiry: &mut Inquiry<'_>,
) -> Option<Answer> {
    let digest = action.manifest_digest.as_deref().or(action.index_digest.as_deref())?;
    Some(inquiry.ask(environment, action.docker_host, Key::Digest(digest), at))
}
