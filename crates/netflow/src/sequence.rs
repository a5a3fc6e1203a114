//! Sequence numbers, by the rule of each version: v5 and v7 count flow records, v9 counts datagrams
//! (RFC 3954 §5.1), IPFIX counts data records (RFC 7011 §3.1).

use tw_model::Timestamp;

use crate::header::Header;

/// What a datagram's number says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Nothing to compare with, or as it should be.
    Fine,
    /// So many records (v9: datagrams) are missing before it.
    Gap(u32),
    /// The exporter began anew.
    Restart,
    /// It came late, or twice.
    Late,
}

/// Records of one datagram.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) flows: u32,
    pub(crate) options: u32,
    /// Some set could not be counted.
    pub(crate) uncounted: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Last {
    pub(crate) sequence: u32,
    pub(crate) tally: Tally,
    pub(crate) export: Timestamp,
    pub(crate) booted: Option<Timestamp>,
    pub(crate) port: u16,
}

/// Numbers of one exporter's domain.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sequence(pub(crate) Option<Last>);

impl Sequence {
    /// Takes a datagram that was counted.
    pub(crate) fn step(
        &mut self,
        header: &Header,
        booted: Option<Timestamp>,
        port: u16,
        tally: Tally,
    ) -> Step {
        let sequence = header.sequence;
        let now = Last { sequence, tally, export: header.export, booted, port };
        let Some(last) = self.0 else {
            self.0 = Some(now);
            return Step::Fine;
        };
        let step = judge(header, &last, &now);
        if step != Step::Late {
            self.0 = Some(now);
        }
        step
    }
}

fn judge(header: &Header, last: &Last, now: &Last) -> Step {
    if began_anew(last, now) {
        return Step::Restart;
    }
    let ahead = now.sequence.wrapping_sub(last.sequence);
    if is_expected(header.version, ahead, last.tally, now.tally) {
        return Step::Fine;
    }
    let due = match header.version {
        9 => 1,
        10 => last.tally.flows.saturating_add(last.tally.options),
        _ => last.tally.flows,
    };
    let off = ahead.wrapping_sub(due);
    match off.cast_signed() {
        _ if last.tally.uncounted && header.version == 10 => Step::Fine,
        1.. => Step::Gap(off),
        0 => Step::Fine,
        _ if now.port != last.port || now.export > last.export.plus(LATEST) => Step::Restart,
        _ => Step::Late,
    }
}

/// The exporter's own start moved: by the uptime of its headers, or by its options records.
fn began_anew(last: &Last, now: &Last) -> bool {
    match (last.booted, now.booted) {
        (Some(before), Some(after)) => after.since(before) > UPTIME_SLACK,
        _ => false,
    }
}

/// IPFIX exporters differ in whether options records count, and softflowd sends the count after the
/// datagram instead of before it.
fn is_expected(version: u16, ahead: u32, last: Tally, now: Tally) -> bool {
    let with = |tally: Tally| [tally.flows, tally.flows.saturating_add(tally.options)];
    match version {
        9 => ahead == 1,
        10 => with(last).contains(&ahead) || with(now).contains(&ahead),
        _ => ahead == last.flows,
    }
}

/// Export times have whole seconds in v9, and exporters' clocks are set now and then.
const UPTIME_SLACK: std::time::Duration = std::time::Duration::from_secs(5);
/// A number that goes back so long after the last datagram is no datagram that came late.
const LATEST: std::time::Duration = std::time::Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    fn header(version: u16, sequence: u32, secs: i64) -> Header {
        Header {
            version,
            count: 0,
            export: Timestamp::from_secs_nanos(secs, 0),
            uptime_ms: None,
            sequence,
            domain: 0,
            sampling: None,
        }
    }

    fn flows(flows: u32) -> Tally {
        Tally { flows, ..Tally::default() }
    }

    #[test]
    fn each_version_counts_by_its_own_rule() {
        for (version, second) in [(5, 130), (9, 101), (10, 130)] {
            let mut sequence = Sequence::default();
            assert_eq!(sequence.step(&header(version, 100, 1), None, 9, flows(30)), Step::Fine);
            assert_eq!(sequence.step(&header(version, second, 2), None, 9, flows(5)), Step::Fine);
            let third = if version == 9 { 104 } else { 137 };
            assert_eq!(
                sequence.step(&header(version, third, 3), None, 9, flows(1)),
                Step::Gap(2),
                "version {version}"
            );
        }
    }

    #[test]
    fn numbers_wrap() {
        let mut sequence = Sequence::default();
        sequence.step(&header(5, u32::MAX - 9, 1), None, 9, flows(30));
        assert_eq!(sequence.step(&header(5, 20, 2), None, 9, flows(1)), Step::Fine);
    }

    #[test]
    fn a_late_datagram_is_no_restart_and_a_restart_no_gap() {
        let mut sequence = Sequence::default();
        sequence.step(&header(9, 100, 1), None, 9, flows(1));
        assert_eq!(sequence.step(&header(9, 99, 1), None, 9, flows(1)), Step::Late);
        assert_eq!(sequence.step(&header(9, 101, 1), None, 9, flows(1)), Step::Fine);
        assert_eq!(sequence.step(&header(9, 0, 2), None, 1_234, flows(1)), Step::Restart);
    }

    #[test]
    fn a_start_that_moved_is_a_restart_whatever_the_numbers() {
        let boot = |secs| Some(Timestamp::from_secs_nanos(secs, 0));
        let mut sequence = Sequence::default();
        sequence.step(&header(9, 100, 50), boot(1), 9, flows(1));
        assert_eq!(sequence.step(&header(9, 900, 90), boot(60), 9, flows(1)), Step::Restart);
    }

    #[test]
    fn softflowd_counts_after_the_datagram() {
        let mut sequence = Sequence::default();
        sequence.step(
            &header(10, 24, 1),
            None,
            9,
            Tally { flows: 24, options: 1, uncounted: false },
        );
        assert_eq!(sequence.step(&header(10, 56, 2), None, 9, flows(32)), Step::Fine);
    }
}
