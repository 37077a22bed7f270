//! Tests that were compiled on the operator's machine are those of the sources on the box, and nothing is compiled for a
//! process that is through. Where they do not compile, the run does not pass.

use std::collections::{BTreeMap, BTreeSet};

use model::{check::Outcome, event::Event, verdict::Verdict};

use super::Case;
use crate::record::{Compilation, Observation};

pub(super) fn check(case: &Case<'_>) -> Vec<String> {
    let mut compiling: BTreeMap<u32, usize> = BTreeMap::new();
    let (mut with_mistakes, mut holds) = (BTreeSet::new(), BTreeMap::new());
    let mut wrong = Vec::new();
    for (_, seen) in case.seen {
        match seen {
            Observation::RanStale { what } => wrong.push(what.clone()),
            Observation::Compiles { process } => *compiling.entry(*process).or_default() += 1,
            Observation::Compiled { process, end } => {
                *compiling.entry(*process).or_default() -= 1;
                if *end == (Compilation::Done { has_mistakes: true }) {
                    with_mistakes.insert(*process);
                }
            }
            Observation::Holds { process, run } => {
                holds.insert(run.clone(), *process);
            }
            Observation::Killed { process } | Observation::Over { process }
                if compiling.get(process).is_some_and(|count| *count > 0) =>
            {
                wrong.push(format!("process {process} is over, and compiles"));
            }
            Observation::Outcome(record) => {
                if let Event::CheckEnded {
                    check,
                    outcome: Outcome::Failed { how },
                    ..
                } = &record.event
                    && how.contains("do not compile")
                    && with_mistakes.is_empty()
                {
                    wrong.push(format!("{check} is said not to compile, and nothing was wrong"));
                }
            }
            Observation::Ended { run, verdict, .. } | Observation::WorkedOn { run, verdict, .. } => {
                let is_of = |process: &u32| holds.get(run) == Some(process);
                // With edits and refusals in between the box may have compiled what was right.
                if case.is_calm && *verdict == Verdict::Passed && with_mistakes.iter().any(is_of) {
                    wrong.push(format!("run {run} passed, and not all of its tests compile"));
                }
            }
            _ => {}
        }
    }
    wrong
}
