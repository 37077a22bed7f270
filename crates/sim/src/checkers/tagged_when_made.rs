//! The create call itself carries label, run, token and deadline, for the box and for all that is made beside it.

use std::collections::BTreeMap;

use model::{journal::Fact, tags::Tags};

use super::case::Case;
use crate::record::Observation;

pub(super) fn check(case: &Case<'_>) -> Vec<String> {
    let mut intended: BTreeMap<String, Tags> = BTreeMap::new();
    let mut wrong = Vec::new();
    for (_, seen) in case.seen {
        match seen {
            Observation::Wrote {
                fact: Fact::Intent { tags, .. },
                ..
            } => {
                intended.insert(tags.token.to_string(), tags.clone());
            }
            Observation::CreateAsked {
                kind, tags, provider, ..
            } => match Tags::parse(tags) {
                None => wrong.push(format!(
                    "{provider} was asked for a {kind} with the tags {tags:?} only"
                )),
                Some(tags) => {
                    if intended
                        .get(tags.token.as_str())
                        .is_some_and(|intended| *intended != tags)
                    {
                        wrong.push(format!(
                            "{provider} was asked for a {kind} with other tags than intended: {tags:?}"
                        ));
                    }
                }
            },
            _ => {}
        }
    }
    wrong
}
