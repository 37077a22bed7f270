//! No process destroys the box of a run that another live process carries out.

use std::collections::BTreeMap;

use super::Case;
use crate::record::Seen;

pub(super) fn check(case: &Case<'_>) -> Vec<String> {
    let mut holders: BTreeMap<String, u32> = BTreeMap::new();
    let mut wrong = Vec::new();
    for (_, seen) in case.seen {
        match seen {
            Seen::Holds { process, run } => {
                holders.insert(run.to_string(), *process);
            }
            Seen::Killed { process } | Seen::Over { process } => {
                holders.retain(|_, holder| holder != process)
            }
            Seen::Ended { run, .. } => {
                holders.remove(run.as_str());
            }
            Seen::DestroyAsked { process, id, tags } => {
                let holder = tags.get("mvm-run").and_then(|run| holders.get(run));
                if let Some(holder) = holder.filter(|holder| *holder != process) {
                    wrong.push(format!(
                        "process {process} destroyed {id}, a box of the live process {holder}"
                    ));
                }
            }
            _ => {}
        }
    }
    wrong
}
