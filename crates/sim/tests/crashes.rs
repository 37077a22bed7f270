//! A whole run, killed once at each call of the world; and bugs that are put in on purpose, each of which is caught.

use sim::{Bug, Scenario};

#[test]
fn a_run_can_be_killed_at_every_call() {
    let whole = Scenario {
        seed: 7,
        is_calm: true,
        ..Scenario::default()
    }
    .outcome();
    assert_eq!(whole.wrong, [""; 0]);
    assert!(whole.calls > 100, "{} calls are no whole run", whole.calls);
    for kill_at in 1..=whole.calls {
        let outcome = Scenario {
            seed: 7,
            is_calm: true,
            kill_at: Some(kill_at),
            ..Scenario::default()
        }
        .outcome();
        assert_eq!(outcome.wrong, [""; 0], "killed at call {kill_at}");
    }
}

#[test]
fn a_seed_reports_the_same_story_twice() {
    for seed in 0..5 {
        let play = || {
            Scenario {
                seed,
                ..Scenario::default()
            }
            .outcome()
        };
        assert_eq!(play().seen, play().seen, "seed {seed}");
    }
}

#[test]
fn every_bug_that_is_put_in_is_caught() {
    for bug in Bug::ALL {
        let is_caught = |seed| {
            !Scenario {
                seed,
                bug: Some(bug),
                ..Scenario::default()
            }
            .outcome()
            .wrong
            .is_empty()
        };
        let is_wrong_without = |seed| {
            !Scenario {
                seed,
                ..Scenario::default()
            }
            .outcome()
            .wrong
            .is_empty()
        };
        let caught_by = (0..200).find(|&seed| is_caught(seed) && !is_wrong_without(seed));
        assert!(caught_by.is_some(), "{bug:?} is not caught by any of 200 seeds");
    }
}
