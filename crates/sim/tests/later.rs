//! A run is killed at each call of the world in turn, and a later one finishes what it left.

use sim::{Next, Scenario};

#[track_caller]
fn check(next: Next) {
    let calm = Scenario {
        seed: 3,
        is_calm: true,
        next: Some(next),
        ..Scenario::default()
    };
    let whole = calm.outcome();
    assert_eq!(whole.wrong, [""; 0]);
    for kill_at in 1..=whole.calls {
        let kill_at = Some(kill_at);
        let outcome = Scenario {
            kill_at,
            ..calm.clone()
        }
        .outcome();
        assert_eq!(outcome.wrong, [""; 0], "killed at call {kill_at:?}");
    }
}

#[test]
fn the_next_run_with_the_same_labels_destroys_what_is_left_before_its_own() {
    check(Next::SameLabels);
}

#[test]
fn the_next_run_with_other_labels_destroys_what_is_left_beside_its_own() {
    check(Next::OtherLabels);
}

#[test]
fn a_newer_run_of_the_same_change_takes_the_older_ones_place_from_another_machine() {
    check(Next::Newer);
}
