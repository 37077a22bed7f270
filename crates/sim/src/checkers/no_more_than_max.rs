//! A runner never has more boxes than it may: from the first intent until it is final that nothing is there.

use std::collections::BTreeSet;

use model::{journal::Fact, name::Label};

use super::Case;
use crate::record::Observation;

pub(super) fn check(case: &Case<'_>) -> Vec<String> {
    let mut limit = None;
    let mut boxes: BTreeSet<&Label> = BTreeSet::new();
    let mut wrong = Vec::new();
    for (at, seen) in case.seen {
        match seen {
            Observation::Serves { max, .. } => limit = Some(*max),
            Observation::Wrote {
                fact: Fact::Intent { tags, .. },
                ..
            } => {
                let is_new = boxes.insert(&tags.label);
                if is_new && limit.is_some_and(|max| boxes.len() > max) {
                    wrong.push(format!(
                        "{} boxes at {:.3}: {boxes:?}",
                        boxes.len(),
                        at.as_secs_f64()
                    ));
                }
            }
            // What could not be written is so all the same.
            Observation::Wrote { fact, .. } | Observation::NotWritten { fact } => {
                if let Fact::Gone {
                    label,
                    is_final: true,
                    ..
                } = fact
                {
                    boxes.remove(label);
                }
            }
            _ => {}
        }
    }
    wrong
}
