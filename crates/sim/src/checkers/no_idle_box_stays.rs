//! A runner has no more boxes without a job than it is to keep warm, or than jobs wait, for longer than it may. Judged only
//! while its process hears of the job service, and where calls take no minutes.

use std::{collections::BTreeMap, time::Duration};

use model::{journal::Fact, name::Label};

use super::Case;
use crate::{clock::Elapsed, jobs::label_of, record::Observation};

/// How much longer it may take: the service is asked, collecting and destroying begin.
const SLACK: Duration = Duration::from_secs(5 * 60);

#[derive(Default)]
struct Boxes {
    /// Those that are up, and whether they have a job.
    up: BTreeMap<Label, bool>,
    assigned: usize,
    warm: usize,
    idle: Duration,
    /// Since when there have been too many.
    since: Option<Elapsed>,
}

impl Boxes {
    fn are_too_many(&self) -> bool {
        let busy = self.up.values().filter(|has_job| **has_job).count();
        self.up.len() - busy > self.assigned.max(self.warm).saturating_sub(busy)
    }

    fn take(&mut self, seen: &Observation) {
        match seen {
            Observation::Serves { warm, idle, .. } => (self.warm, self.idle) = (*warm, *idle),
            Observation::News { assigned, .. } => self.assigned = *assigned,
            Observation::Wrote {
                fact: Fact::Up { machine },
                ..
            } => {
                self.up.insert(machine.label.clone(), false);
            }
            // What could not be written is so all the same.
            Observation::Wrote { fact, .. } | Observation::NotWritten { fact } => {
                if let Fact::DownBegan { label } | Fact::Gone { label, .. } = fact {
                    self.up.remove(label);
                }
            }
            Observation::JobGiven { runner, .. } => {
                if let Some(has_job) = label_of(runner).and_then(|label| self.up.get_mut(&label)) {
                    *has_job = true;
                }
            }
            _ => {}
        }
    }
}

pub(super) fn check(case: &Case<'_>) -> Vec<String> {
    let serves = |(_, seen): &(Elapsed, Observation)| matches!(seen, Observation::Serves { .. });
    if !case.are_calls_quick || !case.seen.iter().any(serves) {
        return Vec::new();
    }
    let mut boxes = Boxes::default();
    let mut wrong = Vec::new();
    for (at, seen) in case.seen {
        if let Some(since) = boxes.since.filter(|since| *at > *since + boxes.idle + SLACK) {
            wrong.push(format!(
                "too many from {:.3} to {:.3}",
                since.as_secs_f64(),
                at.as_secs_f64()
            ));
            boxes.since = None;
            break;
        }
        boxes.take(seen);
        let is_judged = !matches!(
            seen,
            Observation::ServiceAway { .. }
                | Observation::Began { .. }
                | Observation::Killed { .. }
                | Observation::Over { .. }
                | Observation::NotWritten { .. }
        );
        boxes.since = match boxes.are_too_many() && is_judged {
            true => boxes.since.or(Some(*at)),
            false => None,
        };
    }
    wrong
}
