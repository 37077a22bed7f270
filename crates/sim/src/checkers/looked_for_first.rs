//! A create that was not answered is looked for before the same run asks for anything again.

use std::collections::BTreeMap;

use model::machine::ResourceKind;

use super::case::Case;
use crate::record::Observation;

pub(super) fn check(case: &Case<'_>) -> Vec<String> {
    // By provider, label, run and kind: a create call about which nobody knows anything yet.
    let mut unknown: BTreeMap<(String, String, String, ResourceKind), bool> = BTreeMap::new();
    let mut wrong = Vec::new();
    for (_, seen) in case.seen {
        match seen {
            Observation::CreateAsked {
                provider,
                kind,
                tags,
                is_unanswered,
            } => {
                let label = tags.get("mvm-label").cloned().unwrap_or_default();
                let run = tags.get("mvm-run").cloned().unwrap_or_default();
                let key = (provider.to_string(), label.clone(), run, *kind);
                if unknown.get(&key) == Some(&true) {
                    wrong.push(format!(
                        "{provider} was asked for a second {kind} of {label} without a look"
                    ));
                }
                unknown.insert(key, *is_unanswered);
            }
            Observation::Looked {
                provider,
                label,
                kind,
            } => unknown.retain(|(at, of, _, what), _| {
                let is_seen = at == provider.as_str()
                    && label.as_ref().is_none_or(|label| of == label.as_str())
                    && kind.is_none_or(|kind| *what == kind);
                !is_seen
            }),
            _ => {}
        }
    }
    wrong
}
