//! What twolane reports is true: a check that passed has passed on a box, and a run that says that it destroyed
//! everything has left nothing.

use std::collections::{BTreeMap, BTreeSet};

use model::{check::Outcome, journal::Fact, verdict::Verdict};

use super::case::Case;
use crate::record::{Observation, outcomes};

pub(super) fn check(case: &Case<'_>) -> Vec<String> {
    let mut wrong = leftovers(case);
    wrong.extend(refused_but_created(case));
    let checks: Vec<_> = case
        .sim
        .clouds
        .values()
        .flat_map(|cloud| cloud.checks())
        .collect();
    let has_passed = |slug: &str| {
        checks
            .iter()
            .any(|(_, of, check)| of == slug && check.has_passed())
    };
    for (_, seen) in case.seen {
        let Observation::WorkedOn {
            run,
            verdict: Verdict::Passed,
            is_deploy: true,
        } = seen
        else {
            continue;
        };
        let stage2 = format!("{run}-stage2");
        if !checks
            .iter()
            .any(|(of, _, check)| of.as_str() == stage2 && check.has_passed())
        {
            wrong.push(format!("run {run} says that it deployed, and has on no box"));
        }
    }
    for (slug, outcome) in outcomes(case.seen) {
        if *outcome == Outcome::Passed && !has_passed(slug) {
            wrong.push(format!("check {slug} is said to have passed, and has on no box"));
        }
    }
    wrong
}

/// Of a run that says that nothing was created, no create call has arrived since it began, or was resumed. What another process
/// destroyed meanwhile it cannot have seen.
fn refused_but_created(case: &Case<'_>) -> Vec<String> {
    let mut created = BTreeSet::new();
    let mut processes = BTreeMap::new();
    let mut wrong = Vec::new();
    for (_, seen) in case.seen {
        match seen {
            Observation::Wrote {
                process,
                run,
                fact: Fact::RunBegan { .. },
                ..
            } => {
                created.remove(run.as_str());
                processes.insert(run.as_str(), *process);
            }
            Observation::DestroyAsked { process, tags, .. } => {
                let run = tags.get("mvm-run").map(String::as_str);
                if let Some(run) = run.filter(|run| processes.get(run).is_some_and(|own| own != process)) {
                    created.remove(run);
                }
            }
            Observation::CreateAsked { tags, .. } => created.extend(tags.get("mvm-run").map(String::as_str)),
            Observation::Ended {
                run,
                verdict: Verdict::Refused,
                ..
            } if created.contains(run.as_str()) => {
                wrong.push(format!(
                    "run {run} says that nothing was created, and created something"
                ));
            }
            _ => {}
        }
    }
    wrong
}

fn leftovers(case: &Case<'_>) -> Vec<String> {
    let ended = case.seen.iter().filter_map(|(_, seen)| match seen {
        Observation::Ended {
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
