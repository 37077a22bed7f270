//! The intent is on the disk before a create call leaves.

use std::collections::BTreeSet;

use model::journal::Fact;

use super::case::Case;
use crate::record::Observation;

pub(super) fn check(case: &Case<'_>) -> Vec<String> {
    let mut intended = BTreeSet::new();
    let mut wrong = Vec::new();
    for (_, seen) in case.seen {
        match seen {
            Observation::Wrote {
                fact: Fact::Intent { tags, .. },
                ..
            } => {
                intended.insert(tags.token.to_string());
            }
            Observation::CreateAsked {
                kind, tags, provider, ..
            } => {
                let is_intended = tags
                    .get("mvm-token")
                    .is_some_and(|token| intended.contains(token));
                if !is_intended {
                    wrong.push(format!("{provider} was asked for a {kind} that no entry intends"));
                }
            }
            _ => {}
        }
    }
    wrong
}
