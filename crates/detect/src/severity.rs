//! How sure and how bad: the ladder, in the order that the documentation gives.

use tw_model::{Caveat, Severity, Verdict};

use crate::freshness::Level;

/// What the ladder looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is one condition of the ladder")]
pub(crate) struct Case {
    pub(crate) verdict: Verdict,
    pub(crate) level: Level,
    /// The caller is new, not merely unknown.
    pub(crate) new_caller: bool,
    /// The caller has built on this daemon before.
    pub(crate) known_builder: bool,
    pub(crate) caller_outside: bool,
    /// Loss touched the trigger's or the destination's own connection.
    pub(crate) loss: bool,
    pub(crate) sampled: bool,
    /// A DNS answer had mapped this known name to this address before.
    pub(crate) known_name: bool,
    pub(crate) multi_tenant: bool,
    pub(crate) bare_address_in_url: bool,
    pub(crate) executable: bool,
    /// Live, and the docker host has neither baseline nor been watched for `learning_period`.
    pub(crate) learning: bool,
    /// A privileged or host-mounting container of the image was started, or an indicator matched.
    pub(crate) critical: bool,
}

/// Base, raise, lower, critical: in this order.
pub(crate) fn severity(case: &Case) -> Severity {
    let mut severity = match case.verdict {
        Verdict::Observed => Severity::High,
        Verdict::Correlated | Verdict::Inferred => Severity::Medium,
        Verdict::Noted => Severity::Low,
    };
    if case.verdict == Verdict::Correlated && case.new_caller {
        severity = Severity::High;
    }
    if case.verdict == Verdict::Inferred && case.sampled {
        severity = severity.min(Severity::Low);
    }
    if case.loss {
        severity = severity.lowered();
    }
    if case.level == Level::Host && case.known_builder {
        severity = severity.lowered();
    }
    if case.known_name
        && !case.multi_tenant
        && case.known_builder
        && !case.bare_address_in_url
        && !case.executable
    {
        severity = severity.min(Severity::Low);
    }
    let unsure = matches!(case.verdict, Verdict::Correlated | Verdict::Inferred);
    if case.learning && unsure && !case.caller_outside {
        severity = severity.min(Severity::Low);
    }
    if case.critical { Severity::Critical } else { severity }
}

/// Does this say that bytes of the connection itself are missing? What was dropped at the capture
/// or at the collector's socket meanwhile may have been anything: it is said, but who floods us does
/// not lower what we say.
pub(crate) const fn is_loss(caveat: Caveat) -> bool {
    matches!(caveat, Caveat::Gaps)
}

/// Does this say that flow records are sampled? That an exporter says nothing of sampling is a
/// caveat, but no sampling: most that do not sample say nothing.
pub(crate) const fn is_sampling(caveat: Caveat) -> bool {
    matches!(caveat, Caveat::Sampled)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CASE: Case = Case {
        verdict: Verdict::Correlated,
        level: Level::Environment,
        new_caller: false,
        known_builder: false,
        caller_outside: false,
        loss: false,
        sampled: false,
        known_name: false,
        multi_tenant: false,
        bare_address_in_url: false,
        executable: false,
        learning: false,
        critical: false,
    };

    #[test]
    fn base_is_high_medium_medium_low() {
        let base = |verdict| severity(&Case { verdict, ..CASE });
        assert_eq!(base(Verdict::Observed), Severity::High);
        assert_eq!(base(Verdict::Correlated), Severity::Medium);
        assert_eq!(base(Verdict::Inferred), Severity::Medium);
        assert_eq!(base(Verdict::Noted), Severity::Low);
    }

    #[test]
    fn a_new_caller_raises_correlated_only() {
        let raised = |verdict| severity(&Case { verdict, new_caller: true, ..CASE });
        assert_eq!(raised(Verdict::Correlated), Severity::High);
        assert_eq!(raised(Verdict::Inferred), Severity::Medium);
    }

    #[test]
    fn a_host_only_novelty_goes_down_one_step_with_a_known_builder_and_none_otherwise() {
        let host = Case { level: Level::Host, ..CASE };
        assert_eq!(severity(&host), Severity::Medium);
        assert_eq!(severity(&Case { known_builder: true, ..host }), Severity::Low);
        assert_eq!(severity(&Case { known_builder: true, ..CASE }), Severity::Medium);
    }

    #[test]
    fn a_known_name_lowers_only_if_all_conditions_hold() {
        let known =
            Case { verdict: Verdict::Observed, known_name: true, known_builder: true, ..CASE };
        assert_eq!(severity(&known), Severity::Low);
        for broken in [
            Case { known_name: false, ..known },
            Case { multi_tenant: true, ..known },
            Case { known_builder: false, ..known },
            Case { bare_address_in_url: true, ..known },
            Case { executable: true, ..known },
        ] {
            assert_eq!(severity(&broken), Severity::High, "{broken:?}");
        }
    }

    #[test]
    fn loss_lowers_one_step_and_sampling_lowers_inferred_to_low() {
        assert_eq!(severity(&Case { loss: true, ..CASE }), Severity::Low);
        let inferred = Case { verdict: Verdict::Inferred, sampled: true, ..CASE };
        assert_eq!(severity(&inferred), Severity::Low);
        assert_eq!(severity(&Case { sampled: true, ..CASE }), Severity::Medium);
    }

    #[test]
    fn critical_comes_last() {
        let case =
            Case { critical: true, loss: true, known_name: true, known_builder: true, ..CASE };
        assert_eq!(severity(&case), Severity::Critical);
    }

    #[test]
    fn a_learning_host_stays_low_unless_the_caller_is_outside() {
        let learning = Case { learning: true, ..CASE };
        assert_eq!(severity(&learning), Severity::Low);
        assert_eq!(severity(&Case { caller_outside: true, ..learning }), Severity::Medium);
        assert_eq!(severity(&Case { verdict: Verdict::Observed, ..learning }), Severity::High);
    }
}
