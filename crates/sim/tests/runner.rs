//! A runner of a job service: some simulations, each from its seed; a calm one that is killed again and again; and bugs that
//! are put in on purpose. `cargo run --profile simulation -p sim --bin seeds -- runner 0 5000` plays many.

use sim::{Bug, RunnerScenario, record::Observation};

#[test]
fn no_seed_leaks_a_box_of_a_runner() {
    for seed in 0..10 {
        let scenario = RunnerScenario {
            seed,
            ..RunnerScenario::default()
        };
        let wrong = scenario.outcome().wrong;
        assert_eq!(wrong, [""; 0], "cargo run -p sim --bin seeds -- runner {seed}");
    }
}

#[test]
fn calm_runner_runs_every_job() {
    let mut jobs = 0;
    for seed in 0..8 {
        let outcome = RunnerScenario {
            seed,
            is_calm: true,
            ..RunnerScenario::default()
        }
        .outcome();
        assert_eq!(outcome.wrong, [""; 0], "seed {seed}");
        let is_given = |seen: &&(_, Observation)| matches!(seen, (_, Observation::JobGiven { .. }));
        jobs += outcome.seen.iter().filter(is_given).count();
    }
    assert!(jobs > 16, "{jobs}");
}

#[test]
fn runner_that_is_killed_is_followed_by_one_that_ends_all() {
    let calm = RunnerScenario {
        seed: 3,
        is_calm: true,
        ..RunnerScenario::default()
    };
    let calls = calm.outcome().calls;
    assert!(calls > 300, "{calls} calls are no whole life of a runner");
    for kill_at in (1..=calls).step_by(61) {
        let outcome = RunnerScenario {
            kill_at: Some(kill_at),
            ..calm.clone()
        }
        .outcome();
        assert_eq!(outcome.wrong, [""; 0], "killed at call {kill_at}");
    }
}

#[track_caller]
fn is_caught(bug: Bug, is_calm: bool, checker: &str) {
    let is_caught = |seed: &u64| {
        let scenario = RunnerScenario {
            seed: *seed,
            is_calm,
            bug: Some(bug),
            ..RunnerScenario::default()
        };
        let wrong = scenario.outcome().wrong;
        wrong.iter().any(|wrong| wrong.starts_with(checker))
    };
    let caught_by = (0..1000).find(is_caught);
    assert!(caught_by.is_some(), "{bug:?} is not caught by `{checker}`");
}

#[test]
fn job_on_a_box_without_kvm_is_caught() {
    is_caught(Bug::PassesTheGate, false, "no job without gate");
}

#[test]
fn box_beyond_max_is_caught() {
    is_caught(Bug::RaisesMax, false, "no more than max");
}

#[test]
fn two_runners_of_one_name_are_caught() {
    is_caught(Bug::GivesALockTwice, false, "no more than max");
}

#[test]
fn box_that_waits_for_hours_is_caught() {
    is_caught(Bug::NeverIdle, true, "no idle box stays");
}

#[test]
fn disk_that_is_left_is_caught() {
    is_caught(Bug::LeavesTheDisk, false, "nothing is left");
}
