//! A whole run, killed once at each call of the world; and bugs that are put in on purpose, each of which is caught.

use std::{collections::BTreeSet, time::Duration};

use model::{check, event::Event, verdict::Verdict};
use sim::{
    Action, BoxEnd, Bug, Faults, Outcome, Scenario,
    record::{Compilation, Observation},
};

/// Kills what a process does at each of its calls of the world.
#[track_caller]
fn kill_at_every_call(action: Action, calls_min: u64) {
    let calm = Scenario {
        seed: 7,
        is_calm: true,
        action: Some(action),
        ..Scenario::default()
    };
    let whole = calm.outcome();
    assert_eq!(whole.wrong, [""; 0]);
    assert!(
        whole.calls > calls_min,
        "{} calls are no whole {action:?}",
        whole.calls
    );
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
fn run_can_be_killed_at_every_call() {
    kill_at_every_call(Action::Run, 100);
}

#[test]
fn up_can_be_killed_at_every_call() {
    kill_at_every_call(Action::Up, 60);
}

#[test]
fn test_can_be_killed_at_every_call() {
    kill_at_every_call(Action::Test, 20);
}

#[test]
fn deploy_can_be_killed_at_every_call() {
    kill_at_every_call(Action::Deploy, 20);
}

#[test]
fn smoke_can_be_killed_at_every_call() {
    kill_at_every_call(Action::Smoke, 15);
}

/// Ends the boxes at some of the calls that a process makes, in each way.
#[track_caller]
fn end_boxes_at_calls(action: Action) {
    let calm = Scenario {
        seed: 11,
        is_calm: true,
        action: Some(action),
        ..Scenario::default()
    };
    let calls = calm.outcome().calls;
    for (index, call) in (1..=calls).step_by(calls as usize / 90 + 1).enumerate() {
        let box_end = Some((call, BoxEnd::ALL[index % 3]));
        let outcome = Scenario {
            box_end,
            ..calm.clone()
        }
        .outcome();
        assert_eq!(outcome.wrong, [""; 0], "boxes end: {box_end:?}");
    }
}

#[test]
fn box_that_ends_at_any_call_of_a_run_is_noticed() {
    end_boxes_at_calls(Action::Run);
}

#[test]
fn box_that_ends_at_any_call_of_up_is_noticed() {
    end_boxes_at_calls(Action::Up);
}

#[test]
fn box_that_ends_at_any_call_of_test_is_noticed() {
    end_boxes_at_calls(Action::Test);
}

#[test]
fn box_that_ends_at_any_call_of_deploy_is_noticed() {
    end_boxes_at_calls(Action::Deploy);
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
    for bug in Bug::ALL.into_iter().filter(|bug| !bug.is_of_runner()) {
        // Where other things go wrong too, few processes are still at work when their box ends.
        let box_ends = Faults {
            box_ends: 1000,
            ..Faults::default()
        };
        let faults = (bug == Bug::SaysThatTheDeadRun).then_some(box_ends);
        let is_wrong = |seed, bug| {
            let scenario = Scenario {
                seed,
                bug,
                faults: faults.clone(),
                ..Scenario::default()
            };
            !scenario.outcome().wrong.is_empty()
        };
        let is_caught = |seed| is_wrong(seed, Some(bug)) && !is_wrong(seed, None);
        let caught_by = (0..1000).find(|&seed| is_caught(seed));
        assert!(caught_by.is_some(), "{bug:?} is not caught by any of 1000 seeds");
    }
}

/// A whole run of which nothing goes wrong but that.
#[track_caller]
fn calm_but(seed: u64, faults: Faults) -> Outcome {
    let scenario = Scenario {
        seed,
        is_calm: true,
        faults: Some(faults),
        ..Scenario::default()
    };
    let outcome = scenario.outcome();
    assert_eq!(outcome.wrong, [""; 0], "seed {seed}");
    outcome
}

/// Both lanes get their boxes, and leave none, although that goes wrong.
#[track_caller]
fn overcomes(faults: &Faults) {
    for seed in 0..20 {
        let outcome = calm_but(seed, faults.clone());
        let is_served = outcome.seen.iter().any(
            |(_, seen)| matches!(seen, Observation::Ended { verdict, .. } if *verdict < Verdict::Refused),
        );
        assert!(is_served, "seed {seed}");
    }
}

#[test]
fn replaced_host_key_is_read_again() {
    overcomes(&Faults {
        agent_renews: 1000,
        ..Faults::default()
    });
}

#[test]
fn denied_region_that_has_nothing_is_no_failure() {
    overcomes(&Faults {
        is_region_denied: true,
        ..Faults::default()
    });
}

#[test]
fn request_that_every_provider_refuses_creates_nothing_and_is_the_users_to_correct() {
    let refused = Faults {
        create_refused: 1000,
        ..Faults::default()
    };
    let mut ended = 0;
    for seed in 0..20 {
        for (_, seen) in calm_but(seed, refused.clone()).seen {
            if let Observation::Ended { verdict, .. } = seen {
                assert_eq!(verdict, Verdict::Refused, "seed {seed}");
                ended += 1;
            }
        }
    }
    assert!(ended >= 20, "{ended}");
}

#[test]
fn box_that_is_off_while_young_is_waited_for() {
    overcomes(&Faults {
        is_off_while_young: true,
        ..Faults::default()
    });
}

#[test]
fn box_that_is_born_dead_is_followed_by_another() {
    overcomes(&Faults {
        born_dead: 300,
        ..Faults::default()
    });
}

#[test]
fn delete_that_takes_twenty_minutes_is_waited_for() {
    overcomes(&Faults {
        deletes_take: Duration::from_secs(1200),
        ..Faults::default()
    });
}

#[test]
fn thing_that_vanishes_while_its_deletion_is_refused_is_no_failure() {
    overcomes(&Faults {
        delete_belied: 500,
        ..Faults::default()
    });
}

#[test]
fn credentials_that_expire_too_soon_are_named_and_lose_no_box() {
    for seed in 0..20 {
        let expiry = Faults {
            credentials_last: Duration::from_secs(300),
            ..Faults::default()
        };
        let outcome = calm_but(seed, expiry);
        let is_named = outcome.lines().any(|line| {
            line.contains("the credentials of alpha expire at") && line.contains("before the box's deadline")
        });
        assert!(is_named, "seed {seed}");
    }
}

#[test]
fn spot_box_that_is_taken_back_is_followed_by_the_next_candidate() {
    let faults = Faults {
        box_ends: 1000,
        ..Faults::default()
    };
    let mut followed = 0;
    for seed in 0..200 {
        let scenario = Scenario {
            seed,
            faults: Some(faults.clone()),
            ..Scenario::default()
        };
        let outcome = scenario.outcome();
        assert_eq!(outcome.wrong, [""; 0], "seed {seed}");
        let (mut began, mut taken) = (BTreeSet::new(), BTreeSet::new());
        for (_, seen) in &outcome.seen {
            let Observation::Outcome(record) = seen else {
                continue;
            };
            let lane = &record.lane;
            match &record.event {
                Event::CheckBegan { .. } => drop(began.insert(lane)),
                Event::CandidateRejected { why, .. }
                    if why.contains("it was a spot box") && began.contains(lane) =>
                {
                    taken.insert(lane);
                }
                Event::CheckEnded {
                    outcome: check::Outcome::Passed,
                    ..
                } => {
                    followed += usize::from(taken.contains(lane));
                }
                _ => {}
            }
        }
    }
    // By chance: a few of the seeds come so far.
    assert!(followed >= 3, "{followed}");
}

/// Returns how the whole run ended.
fn verdict(outcome: &Outcome) -> Option<Verdict> {
    outcome.seen.iter().find_map(|(_, seen)| match seen {
        Observation::Ended { verdict, .. } => Some(*verdict),
        _ => None,
    })
}

fn compilations(outcome: &Outcome) -> Vec<Compilation> {
    let ends = outcome.seen.iter().filter_map(|(_, seen)| match seen {
        Observation::Compiled { end, .. } => Some(*end),
        _ => None,
    });
    ends.collect()
}

#[test]
fn tests_that_do_not_compile_fail_the_run() {
    let mistakes = Faults {
        build_mistakes: 1000,
        ..Faults::default()
    };
    let outcomes: Vec<_> = (0..20).map(|seed| calm_but(seed, mistakes.clone())).collect();
    let compiled: Vec<_> = outcomes
        .iter()
        .filter(|outcome| !compilations(outcome).is_empty())
        .collect();
    assert!(!compiled.is_empty());
    for outcome in compiled {
        assert_eq!(verdict(outcome), Some(Verdict::Failed));
    }
}

#[test]
fn box_compiles_what_the_operators_machine_cannot() {
    for faults in [
        Faults {
            build_refused: 1000,
            ..Faults::default()
        },
        // What changes for ever is never the same here and there.
        Faults {
            edits: 1000,
            ..Faults::default()
        },
    ] {
        let outcomes: Vec<_> = (0..20).map(|seed| calm_but(seed, faults.clone())).collect();
        assert!(outcomes.iter().any(|outcome| !compilations(outcome).is_empty()));
        for outcome in &outcomes {
            // A check that takes too long fails.
            assert!(verdict(outcome).is_some_and(|verdict| verdict < Verdict::Refused));
        }
    }
}

#[test]
fn seeds_stop_compilations_in_their_midst() {
    let is_stopped = |seed| {
        let scenario = Scenario {
            seed,
            ..Scenario::default()
        };
        let seen = scenario.outcome().seen;
        let is_compilation = |seen: &Observation| {
            matches!(
                seen,
                Observation::Compiled {
                    end: Compilation::Stopped,
                    ..
                }
            )
        };
        let is_interruption = |seen: &Observation| matches!(seen, Observation::Outcome(record) if matches!(record.event, Event::Interrupted));
        seen.windows(2)
            .any(|pair| is_compilation(&pair[0].1) && is_interruption(&pair[1].1))
    };
    assert!((0..1000).any(is_stopped));
}

#[test]
fn others_run_what_a_lost_box_of_a_shared_lane_left() {
    let is_made_good = |seed| {
        let scenario = Scenario {
            seed,
            ..Scenario::default()
        };
        let outcome = scenario.outcome();
        let is_taken_over = |seen: &Observation| matches!(seen, Observation::Outcome(record) if matches!(record.event, Event::CheckTakenOver { .. }));
        let begin = outcome.seen.iter().position(|(_, seen)| is_taken_over(seen));
        let is_passed = |seen: &Observation| {
            matches!(
                seen,
                Observation::Ended {
                    verdict: Verdict::Passed,
                    ..
                }
            )
        };
        begin.is_some_and(|begin| outcome.seen[begin..].iter().any(|(_, seen)| is_passed(seen)))
    };
    assert!((0..1000).any(is_made_good));
}
