//! A label belongs to one run at a time: no run intends a box under a label that another run's box may still have.

use model::journal::{Fact, Holdings};

use super::Case;

pub(super) fn check(case: &Case<'_>) -> Vec<String> {
    let entries = case.sim.disk.entries();
    let mut wrong = Vec::new();
    let mut holdings = Holdings::default();
    for entry in &entries {
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
