//! What must never be seen: one file for each. A checker reads the whole record and says what is wrong.

mod answers_are_true;
mod foreign_is_untouched;
mod gone_is_gone;
mod intent_first;
mod kept_stays;
mod label_is_one_runs;
mod live_is_untouched;
mod looked_for_first;
mod nothing_is_left;
mod older_goes_first;
mod tagged_when_made;

use std::collections::{BTreeMap, BTreeSet};

use model::{
    journal::Fact,
    name::{Label, RunId},
    tags::Tags,
    time::{Deadline, Timestamp},
};

use crate::{
    clock::Elapsed,
    record::{Observation, TagPairs},
    world::Sim,
};

/// What a checker is given: all that was seen, and the world as it is in the end.
pub struct Case<'a> {
    /// In order.
    pub seen: &'a [(Elapsed, Observation)],
    /// The world.
    pub sim: &'a Sim,
    /// Whether nothing went wrong but that processes were killed.
    pub is_calm: bool,
}

type Checker = fn(&Case<'_>) -> Vec<String>;

/// All checkers, by name.
pub const ALL: [(&str, Checker); 11] = [
    ("answers are true", answers_are_true::check),
    ("foreign is untouched", foreign_is_untouched::check),
    ("gone is gone", gone_is_gone::check),
    ("intent first", intent_first::check),
    ("kept stays", kept_stays::check),
    ("a label is one run's", label_is_one_runs::check),
    ("live is untouched", live_is_untouched::check),
    ("looked for first", looked_for_first::check),
    ("nothing is left", nothing_is_left::check),
    ("older goes first", older_goes_first::check),
    ("tagged when made", tagged_when_made::check),
];

/// Asks all checkers.
pub fn all(sim: &Sim, seen: &[(Elapsed, Observation)], is_calm: bool) -> Vec<String> {
    let case = Case { seen, sim, is_calm };
    let ask = |(name, check): &(&str, Checker)| {
        check(&case)
            .into_iter()
            .map(|wrong| format!("{name}: {wrong}"))
            .collect::<Vec<_>>()
    };
    ALL.iter().flat_map(ask).collect()
}

/// Which processes may have seen that a deadline was over before it was moved. To them it is over: no provider destroys
/// on a condition.
#[derive(Default)]
struct Revived {
    alive: BTreeSet<u32>,
    over_to: BTreeMap<(Label, RunId), BTreeSet<u32>>,
}

impl Revived {
    fn take(&mut self, seen: &Observation) {
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
    fn is_over_to(&self, process: u32, tags: &Tags) -> bool {
        let over_to = self.over_to.get(&(tags.label.clone(), tags.run.clone()));
        over_to.is_some_and(|over_to| over_to.contains(&process))
    }
}

/// The deadlines in force, as the journals have them: what was not listed yet when one was moved has the old one.
#[derive(Default)]
struct InForce(BTreeMap<(Label, RunId), Deadline>);

impl InForce {
    fn take(&mut self, seen: &Observation) {
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

    fn is_over(&self, tags: &Tags, now: Timestamp) -> bool {
        let deadline = self.0.get(&(tags.label.clone(), tags.run.clone()));
        deadline.is_some_and(|deadline| deadline.is_over(now))
    }
}

/// Which processes are to take the place of older runs of the same change, and with which run.
#[derive(Default)]
struct Superseding {
    runs: BTreeMap<u32, RunId>,
    /// Those that have begun.
    at_work: BTreeSet<u32>,
}

impl Superseding {
    fn take(&mut self, seen: &Observation) {
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
    fn may(&self, process: u32, tags: &TagPairs) -> bool {
        let newer = self.runs.get(&process);
        let older = tags.get("mvm-run");
        let is_older = newer
            .zip(older)
            .is_some_and(|(newer, older)| older.as_str() < newer.as_str());
        is_older && tags.get("mvm-ref").is_some_and(|reference| reference == "pr-17")
    }
}
