//! What the journal calls gone for good is not there, and does not turn up later.

use model::journal::Fact;

use super::Case;
use crate::record::Seen;

pub(super) fn check(case: &Case<'_>) -> Vec<String> {
    let mut wrong = Vec::new();
    for (at, seen) in case.seen {
        let Seen::Wrote {
            fact:
                Fact::Gone {
                    label,
                    is_final: true,
                    ..
                },
            remains,
            ..
        } = seen
        else {
            continue;
        };
        if !remains.is_empty() {
            wrong.push(format!(
                "{label} was called gone at {:.3}, and there is {}",
                at.as_secs_f64(),
                remains.join(", ")
            ));
        }
    }
    wrong
}
