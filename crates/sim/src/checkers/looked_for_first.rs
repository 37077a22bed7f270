//! A create that was not answered is looked for before anything is asked again.

use std::collections::BTreeMap;

use model::machine::ResourceKind;

use super::Case;
use crate::record::Seen;

pub(super) fn check(case: &Case<'_>) -> Vec<String> {
    // By provider, label and kind: a create call about which nobody knows anything yet.
    let mut unknown: BTreeMap<(String, String, ResourceKind), bool> = BTreeMap::new();
    let mut wrong = Vec::new();
    for (_, seen) in &case.seen {
        match seen {
            Seen::CreateAsked {
                provider,
                kind,
                tags,
                is_unanswered,
            } => {
                let label = tags.get("mvm-label").cloned().unwrap_or_default();
                let key = (provider.to_string(), label.clone(), *kind);
                if unknown.get(&key) == Some(&true) {
                    wrong.push(format!(
                        "{provider} was asked for a second {kind} of {label} without a look"
                    ));
                }
                unknown.insert(key, *is_unanswered);
            }
            Seen::Looked { provider } => unknown.retain(|key, _| key.0 != provider.as_str()),
            // Whoever was killed does not know either.
            Seen::Killed { .. } => {}
            _ => {}
        }
    }
    wrong
}
