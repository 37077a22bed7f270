//! In one journal a label belongs to one run at a time: no run intends a box under a label that another run's box may still have.

use model::journal::{Entry, Fact, Holdings};

use super::case::Case;

pub(super) fn check(case: &Case<'_>) -> Vec<String> {
    let journals = case.sim.machines.iter().map(|machine| machine.disk.entries());
    journals.flat_map(|entries| in_journal(&entries)).collect()
}

fn in_journal(entries: &[Entry]) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut holdings = Holdings::default();
    for entry in entries {
        if let Fact::Intent { tags, .. } = &entry.fact
            && holdings.is_taken(&tags.label, &entry.run)
        {
            wrong.push(format!(
                "run {} took {} while another run had it",
                entry.run, tags.label
            ));
        }
        holdings.take(entry);
    }
    wrong
}
