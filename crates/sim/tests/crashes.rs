//! A whole run, killed once at each call of the world; and bugs that are put in on purpose, each of which is caught.

use sim::{Bug, Story};

#[test]
fn a_run_can_be_killed_at_every_call() {
    let whole = Story {
        seed: 7,
        is_calm: true,
        ..Story::default()
    }
    .tell();
    assert_eq!(whole.wrong, [""; 0]);
    assert!(whole.calls > 100, "{} calls are no whole run", whole.calls);
    for kill_at in 1..=whole.calls {
        let told = Story {
            seed: 7,
            is_calm: true,
            kill_at: Some(kill_at),
            ..Story::default()
        }
        .tell();
        assert_eq!(told.wrong, [""; 0], "killed at call {kill_at}");
    }
}

#[test]
fn a_seed_tells_the_same_story_twice() {
    for seed in 0..5 {
        let tell = || {
            Story {
                seed,
                ..Story::default()
            }
            .tell()
        };
        assert_eq!(tell().seen, tell().seen, "seed {seed}");
    }
}

#[test]
fn every_bug_that_is_put_in_is_caught() {
    for bug in Bug::ALL {
        let is_caught = |seed| {
            !Story {
                seed,
                bug: Some(bug),
                ..Story::default()
            }
            .tell()
            .wrong
            .is_empty()
        };
        let is_wrong_without = |seed| {
            !Story {
                seed,
                ..Story::default()
            }
            .tell()
            .wrong
            .is_empty()
        };
        let caught_by = (0..200).find(|&seed| is_caught(seed) && !is_wrong_without(seed));
        assert!(caught_by.is_some(), "{bug:?} is not caught by any of 200 seeds");
    }
}
