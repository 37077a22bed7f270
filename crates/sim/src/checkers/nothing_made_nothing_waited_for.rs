//! Who is asked to stop ends within seconds where no provider has answered anything yet: nothing can have been made. Only
//! where the operator's machine is awake, and the journal can say that.

use std::time::Duration;

use super::Case;
use crate::record::Observation;

/// How long a process may take to its end.
const ENDING: Duration = Duration::from_secs(10);

pub(super) fn check(case: &Case<'_>) -> Vec<String> {
    if !(case.is_clock_right && case.is_journal_readable) {
        return Vec::new();
    }
    let is_answer =
        |seen: &Observation| matches!(seen, Observation::Looked { .. } | Observation::CreateAsked { .. });
    let answered = case.seen.iter().find(|(_, seen)| is_answer(seen));
    let is_before_answers = |moment| answered.is_none_or(|(at, _)| moment < *at);
    let mut wrong = Vec::new();
    for (_, seen) in case.seen {
        let Observation::StopsAt { process, at } = seen else {
            continue;
        };
        let is_its_end =
            |seen: &Observation| matches!(seen, Observation::Over { process: of } if of == process);
        let has_begun = case.seen.iter().any(|(begun, seen)| {
            begun <= at && matches!(seen, Observation::Holds { process: of, .. } if of == process)
        });
        let end = case.seen.iter().find(|(_, seen)| is_its_end(seen));
        if let Some((end, _)) = end
            && has_begun
            && is_before_answers(*at)
            && end.saturating_sub(*at) > ENDING
        {
            wrong.push(format!(
                "process {process} went on for {} s when it was asked to stop, and nothing was made",
                (*end - *at).as_secs()
            ));
        }
    }
    wrong
}
