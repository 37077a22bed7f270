//! Of a lane that is shared over several boxes every test runs on one of them: none is lost when the run says that it passed,
//! none runs again that is known to have ended, and none that failed is passed over.

use std::collections::{BTreeMap, BTreeSet};

use model::{event::Event, part::Part, verdict::Verdict};

use super::Case;
use crate::{boxes::TESTS, record::Observation};

/// What one process has seen of its run.
#[derive(Default)]
struct Run {
    /// The checks that are shared, by lane.
    checks: BTreeMap<String, usize>,
    /// What each check of each lane printed.
    printed: BTreeMap<(String, String), Vec<u8>>,
}

impl Run {
    /// Returns the tests of that lane's check that have ended, each with how.
    fn ended(printed: &[u8]) -> impl Iterator<Item = (&str, bool)> {
        let whole = printed
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |end| end + 1);
        let text = std::str::from_utf8(&printed[..whole]).unwrap_or_default();
        text.lines().filter_map(|line| {
            let (test, how) = line.strip_prefix("test ")?.split_once(" ... ")?;
            Some((test, how == "ok"))
        })
    }

    fn take(&mut self, lane: &str, event: &Event) -> Option<String> {
        match event {
            Event::LaneBegan { checks, .. } => {
                let shared = checks.iter().filter(|check| check.part.is_some()).count();
                self.checks.insert(lane.to_owned(), shared);
            }
            Event::CheckOutput { check, offset, bytes } => {
                let printed = self.printed.entry((lane.to_owned(), check.clone())).or_default();
                printed.truncate(usize::try_from(*offset).unwrap_or(usize::MAX));
                printed.extend_from_slice(bytes);
            }
            Event::CandidateRejected { .. } => self.printed.retain(|(of, _), _| of != lane),
            Event::CheckTakenOver { check } => {
                let from = check.taken_from.as_ref()?;
                let printed = self.printed.get(&(from.lane.clone(), from.slug.clone()))?;
                let again = Self::ended(printed).find(|(test, _)| runs(check.part.as_ref(), test));
                return again
                    .map(|(test, _)| format!("{test} of {} has ended, and runs again in {lane}", from.lane));
            }
            _ => {}
        }
        None
    }

    /// Returns what is wrong with a run that passed.
    fn of_passed(&self) -> Option<String> {
        let shared = self.checks.values().max().copied().unwrap_or(0);
        if shared == 0 {
            return None;
        }
        let all = self.printed.iter().flat_map(|((_, check), printed)| {
            Self::ended(printed).map(move |(test, is_good)| (check, test, is_good))
        });
        let all: Vec<_> = all.collect();
        if let Some((check, test, _)) = all.iter().find(|(_, _, is_good)| !is_good) {
            return Some(format!("passed, and {test} of {check} failed"));
        }
        (0..shared).find_map(|number| {
            let name = format!("lane0-check{number}-");
            let own = all.iter().filter(|(check, ..)| check.starts_with(&name));
            let ran: BTreeSet<&str> = own.map(|(_, test, _)| *test).collect();
            let lost = TESTS.iter().find(|test| !ran.contains(*test))?;
            Some(format!("passed, and ran {lost} of check {number} nowhere"))
        })
    }
}

/// Returns whether a part of a check has a test.
fn runs(part: Option<&Part>, test: &str) -> bool {
    use model::selection::Selection;
    part.is_some_and(|part| match &part.selection {
        Selection::Named(names) => names.iter().any(|name| name == test),
        Selection::Except(names) => !names.iter().any(|name| name == test),
        Selection::Matching(_) | Selection::Hash { .. } => false,
    })
}

pub(super) fn check(case: &Case<'_>) -> Vec<String> {
    let mut runs: BTreeMap<u32, Run> = BTreeMap::new();
    let mut holds = BTreeMap::new();
    let mut wrong = Vec::new();
    for (_, seen) in case.seen {
        match seen {
            Observation::Holds { process, run } => {
                holds.insert(run.clone(), *process);
            }
            Observation::Shared { process, record } => {
                let lane = record.lane.as_deref().unwrap_or_default();
                wrong.extend(runs.entry(*process).or_default().take(lane, &record.event));
            }
            Observation::Ended {
                run,
                verdict: Verdict::Passed,
                ..
            } => {
                let own = holds.get(run).and_then(|process| runs.get(process));
                let what = own.and_then(Run::of_passed);
                wrong.extend(what.map(|what| format!("run {run} {what}")));
            }
            _ => {}
        }
    }
    wrong
}
