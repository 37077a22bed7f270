//! The one loop that asks again, on the word of `model::retry`.
//!
//! The whole hierarchy of time limits, from the outside in. Each inner one is shorter than what holds it:
//!
//! | what | limit | on its end |
//! | --- | --- | --- |
//! | a candidate's create, all its attempts (`up.rs`) | 45 min | unanswered: `down` looks for it |
//! | one attempt's way from its create call to its address (`Profile::up_max`) | 10 to 35 min | the next candidate |
//! | one create call with its repetitions (`cloud.rs`, `ASK_MAX`) | 3 min, 4 calls | the next candidate |
//! | the search for a box whose create was not answered (`LOST_MAX`) | lag + 20 s | the call is repeated, or given up |
//! | a destroy, however often it is begun again (`down.rs`) | 10 min | the box is reported as left |
//! | one destroy until nothing is listed (`Profile::gone_max`) | 9 to 20 min | what is left is named |
//! | what a provider refuses to destroy, until that counts (`teardown.rs`, `REFUSED_MIN`) | 20 s | it is named |
//! | one call that changes nothing when it is repeated (`ASK_MAX`) | 3 min | its caller's failure |
//! | what was made a moment ago and is not found (`NotYet`) | about 1 min | its caller's failure |
//! | one request (`providers::http`) | 1 min | unanswered, or not available |

use std::{collections::BTreeMap, future::Future, time::Duration};

use model::{
    error::{ErrorKind, ProviderError},
    retry::{Next, after, pause},
    world::{Clock, Progress},
};

use crate::time::Limit;

/// How long a call is repeated.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// For how long from the first call on.
    pub(crate) max: Duration,
    /// Whether a call that was not answered is simply made again.
    pub(crate) repeats_unanswered: bool,
}

/// Makes a call until there is an answer, or a failure that will not pass. The call is given its number, from 1.
pub(crate) async fn retry<T, F>(
    clock: &dyn Clock,
    patience: Patience,
    progress: &dyn Progress,
    mut call: impl FnMut(u32) -> F,
) -> Result<T, ProviderError>
where
    F: Future<Output = Result<T, ProviderError>>,
{
    let end = Limit::after(clock, patience.max);
    let mut calls = 0;
    // A call of several requests gets further: what fails later has not been waited for yet.
    let mut attempts = BTreeMap::new();
    loop {
        calls += 1;
        let error = match call(calls).await {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        let left = end.left(clock);
        let attempt = attempts
            .entry(error.operation.clone())
            .and_modify(|attempt| *attempt += 1)
            .or_insert(1);
        let attempt = *attempt;
        let is_limited = matches!(error.kind, ErrorKind::RateLimited { .. });
        let wait = match after(&error.kind, attempt, left) {
            // A call of several requests needs more than the one that a rate limit allows next.
            Next::Wait(wait) if is_limited => wait.max(pause(calls)),
            Next::Wait(wait) => wait,
            Next::FindByLabel if patience.repeats_unanswered && pause(attempt) < left => pause(attempt),
            Next::FindByLabel | Next::OtherCandidate | Next::GiveUp => return Err(error),
        };
        progress.report(&format!("{error}; retrying"), None);
        sleep(clock, wait).await;
    }
}

/// Waits a little longer than asked, by chance, so that lanes side by side do not ask in step.
pub(crate) async fn sleep(clock: &dyn Clock, wait: Duration) {
    let share = u32::try_from(clock.random() % 100).unwrap_or_default();
    clock.sleep(wait + wait * share / 400).await;
}
