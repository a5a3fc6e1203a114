use super::*;
use crate::testing::{Random, at, ip};

const HOST: &str = "10.0.0.5";

fn seen(times: &[Timestamp]) -> Row {
    let mut row = Row::default();
    for &time in times {
        row.touch(time, ip(HOST), How::Observed, Via::Packets);
    }
    row
}

fn standing(row: &Row, at: Timestamp) -> Knowledge {
    row.standing(row.is_in_finding(), at, &Rules::default())
}

fn touched(first_seen: Timestamp) -> Knowledge {
    Knowledge::Touched { first_seen, first_seen_by: Some(ip(HOST)) }
}

#[test]
fn three_days_make_known_and_two_do_not() {
    let first = at(1, 86_399);
    let two = seen(&[first, at(2, 0), at(2, 50_000)]);
    assert_eq!(standing(&two, at(9, 0)), touched(first));
    let three = seen(&[first, at(2, 0), at(3, 0)]);
    assert_eq!(standing(&three, at(3, 0)), touched(first), "the third is the one asked about");
    assert_eq!(standing(&three, at(3, 1)), Knowledge::Known);
}

#[test]
fn the_first_contact_must_be_known_after_ago_to_the_nanosecond() {
    let rules = Rules { known_after: DAY * 3, ..Rules::default() };
    let row = seen(&[at(1, 100), at(2, 0), at(3, 0)]);
    let edge = at(4, 100);
    assert_eq!(
        row.standing(false, edge.minus(Duration::from_nanos(1)), &rules),
        touched(at(1, 100))
    );
    assert_eq!(row.standing(false, edge, &rules), Knowledge::Known);
}

#[test]
fn only_what_came_before_the_time_asked_about_counts() {
    let row = seen(&[at(1, 100), at(2, 100), at(3, 100), at(9, 0)]);
    assert_eq!(standing(&row, at(1, 99)), Knowledge::Never);
    assert_eq!(standing(&row, at(1, 100)), Knowledge::Never);
    assert_eq!(standing(&row, at(1, 101)), touched(at(1, 100)));
    assert_eq!(standing(&row, at(3, 99)), touched(at(1, 100)));
    assert_eq!(standing(&row, at(4, 0)), Knowledge::Known);
}

#[test]
fn silence_longer_than_forget_after_forgets() {
    let row = seen(&[at(1, 500), at(2, 500), at(3, 500)]);
    let edge = at(3, 500).plus(Rules::default().forget_after);
    assert_eq!(standing(&row, edge), Knowledge::Known);
    assert_eq!(standing(&row, edge.plus(Duration::from_nanos(1))), Knowledge::Never);
}

#[test]
fn a_new_contact_does_not_revive_what_was_forgotten() {
    let mut row = seen(&[at(1, 0), at(2, 0), at(3, 0)]);
    row.touch(at(300, 7), ip(HOST), How::Observed, Via::Packets);
    let start = at(300, 0);
    assert_eq!(
        standing(&row, at(300, 8)),
        Knowledge::Touched { first_seen: start, first_seen_by: None }
    );
    row.touch(at(301, 0), ip(HOST), How::Observed, Via::Packets);
    row.touch(at(302, 0), ip(HOST), How::Observed, Via::Packets);
    assert_eq!(standing(&row, at(302, 1)), Knowledge::Known);
}

#[test]
fn the_operators_word_holds_at_once_and_is_forgotten_too() {
    for how in [How::Learned, How::Imported, How::Accepted] {
        let mut row = Row::told(at(10, 0), how);
        assert_eq!(standing(&row, at(10, 0)), Knowledge::Known);
        assert_eq!(standing(&row, at(0, 0)), Knowledge::Known, "a baseline may be younger");
        assert_eq!(standing(&row, at(191, 0)), Knowledge::Never);
        row.touch(at(191, 0), ip(HOST), How::Observed, Via::Packets);
        assert_eq!(standing(&row, at(191, 5)), touched(at(191, 0)), "no revival by a contact");
        row.touch(at(100, 0), ip(HOST), How::Observed, Via::Packets);
        assert_eq!(standing(&row, at(191, 5)), Knowledge::Known, "kept alive in between");
    }
}

#[test]
fn a_thing_in_a_finding_is_known_only_by_the_operators_word() {
    let mut row = seen(&[at(1, 0), at(2, 0), at(3, 0)]);
    row.merge(&Row::in_a_finding());
    assert_eq!(standing(&row, at(9, 0)), touched(at(1, 0)));
    row.merge(&Row::told(at(9, 0), How::Accepted));
    assert_eq!(standing(&row, at(9, 0)), Knowledge::Known);
    assert_eq!(standing(&Row::in_a_finding(), at(9, 0)), Knowledge::Never);
}

#[test]
fn merging_is_commutative_associative_and_idempotent() {
    let mut random = Random::new(3);
    let mut row = || {
        let mut row = Row::default();
        for _ in 0..random.below(5) {
            let by = IpAddr::from([10, 0, 0, u8::try_from(random.below(4)).unwrap()]);
            let how = How::ALL[usize::try_from(random.below(4)).unwrap()];
            row.touch(at(random.below(9), random.below(3)), by, how, Via::Packets);
        }
        if random.below(4) == 0 {
            row.merge(&Row::in_a_finding());
        }
        row
    };
    let merged = |rows: &[&Row]| {
        rows.iter().fold(Row::default(), |mut all, row| {
            all.merge(row);
            all
        })
    };
    for _ in 0..500 {
        let (a, b, c) = (row(), row(), row());
        assert_eq!(merged(&[&a, &b, &c]), merged(&[&c, &b, &a, &b]));
        assert_eq!(merged(&[&a, &merged(&[&b, &c])]), merged(&[&merged(&[&a, &b]), &c]));
    }
}

#[test]
fn any_time_of_the_clock_is_safe() {
    let rules = Rules { known_after: Duration::MAX, known_days: 0, forget_after: Duration::MAX };
    let times = [i64::MIN, -1, 0, 1, i64::MAX].map(Timestamp::from_nanos);
    let row = seen(&times);
    for time in times {
        let _ = row.standing(false, time, &rules);
        let _ = standing(&row, time);
    }
}
