//! What is told is true: a check that passed has passed on a box, and a run that says that it destroyed
//! everything has left nothing.

use model::{check::Outcome, report::Verdict};

use super::Case;
use crate::record::{Seen, outcomes};

pub(super) fn check(case: &Case<'_>) -> Vec<String> {
    let mut wrong = leftovers(case);
    for (slug, outcome) in outcomes(&case.seen) {
        if *outcome == Outcome::Passed && !has_passed(case, slug) {
            wrong.push(format!("check {slug} is said to have passed, and has on no box"));
        }
    }
    wrong
}

fn has_passed(case: &Case<'_>, slug: &str) -> bool {
    let everything = case.sim.clouds.values().flat_map(|cloud| cloud.everything());
    let insides = everything.filter_map(|thing| thing.inside);
    insides.into_iter().any(|inside| {
        inside
            .checks()
            .any(|(_, of, check)| of == slug && check.has_passed())
    })
}

fn leftovers(case: &Case<'_>) -> Vec<String> {
    let ended = case.seen.iter().filter_map(|(_, seen)| match seen {
        Seen::Ended {
            run,
            verdict,
            remains,
        } if *verdict != Verdict::Left && !remains.is_empty() => Some(format!(
            "run {run} says `{}`, and left {}",
            verdict.words(),
            remains.join(", ")
        )),
        _ => None,
    });
    ended.collect()
}
