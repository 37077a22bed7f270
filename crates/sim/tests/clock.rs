//! An operator's clock that is set again and again: what was just made is found all the same.

use std::time::Duration;

use sim::{Faults, Scenario};

#[test]
fn a_clock_that_is_set_at_every_call_hides_nothing() {
    let faults = Faults {
        clock_steps: 1_000_000,
        create_repeated: 300,
        listing_lag: Duration::from_secs(240),
        ..Faults::default()
    };
    for seed in 0..200 {
        let outcome = Scenario {
            seed,
            faults: Some(faults.clone()),
            ..Scenario::default()
        }
        .outcome();
        assert_eq!(outcome.wrong, [""; 0], "seed {seed}");
    }
}
