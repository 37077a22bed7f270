//! Lists of all that is ours in a part of a cloud, each of which serves every destroy that waits for one; and how far apart
//! destroys are sent. Keeps out: what any one destroy does with them.

use std::{
    collections::BTreeMap,
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::lock;
use model::{
    error::{ErrorKind, ProviderError},
    machine::Listed,
    selector::Selector,
    world::Clock,
};

/// How long after a list that serves many the next one begins, at least.
const PAUSE: Duration = Duration::from_secs(5);

/// How far destroys are apart that are sent for many boxes, and how far at most where the provider's limit is reached.
const GAP_MIN: Duration = Duration::from_millis(50);
const GAP_MAX: Duration = Duration::from_secs(5);

/// How many are sent in the time that a provider wants to be left alone: limits that ask for a minute allow about so many in it.
const WITHIN_REST: u32 = 20;

/// What many destroys at the same provider share.
#[derive(Default)]
pub(super) struct Shared {
    regions: Mutex<BTreeMap<String, Arc<SharedList>>>,
    /// When the next destroy may be sent, by the monotonic clock.
    next: lock::Mutex<Duration>,
    gap: Mutex<Duration>,
}

#[derive(Default)]
struct SharedList {
    /// How many lists were begun.
    begun: Mutex<u64>,
    last: lock::Mutex<Option<LastList>>,
}

struct LastList {
    number: u64,
    at: Duration,
    answer: Result<Arc<Vec<Listed>>, ProviderError>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What a poisoned lock holds is still true.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    /// Returns what is meant in one part of the cloud, out of a list of everything, which `ask` gets.
    pub(super) async fn list<F>(
        &self,
        (region, selector): (&str, &Selector),
        look_max: Duration,
        clock: &dyn Clock,
        ask: impl FnOnce() -> F,
    ) -> Result<Vec<Listed>, ProviderError>
    where
        F: Future<Output = Result<Vec<Listed>, ProviderError>>,
    {
        let list = lock(&self.regions).entry(region.to_owned()).or_default().clone();
        // One that began before now may lack what is so by now.
        let before = *lock(&list.begun);
        let mut last = list.last.lock().await;
        if let Some(last) = last.as_ref().filter(|last| last.number > before) {
            return meant(&last.answer, selector);
        }
        let since = last
            .as_ref()
            .map(|last| clock.monotonic().saturating_sub(last.at));
        let pause = PAUSE.max(look_max);
        clock.sleep(pause.saturating_sub(since.unwrap_or(pause))).await;
        let number = {
            let mut begun = lock(&list.begun);
            *begun += 1;
            *begun
        };
        let at = clock.monotonic();
        let answer = ask().await;
        let last = last.insert(LastList {
            number,
            at,
            answer: answer.map(Arc::new),
        });
        meant(&last.answer, selector)
    }

    /// Waits until it is the turn of one destroy out of many.
    pub(super) async fn take_turn(&self, clock: &dyn Clock) {
        let mut next = self.next.lock().await;
        let now = clock.monotonic();
        clock.sleep(next.saturating_sub(now)).await;
        let gap = (*lock(&self.gap)).max(GAP_MIN);
        *next = clock.monotonic().max(*next) + gap;
    }

    /// Takes the answer to one destroy out of many: over the limit the next ones are further apart.
    pub(super) async fn took_turn(&self, answer: &Result<(), ProviderError>, clock: &dyn Clock) {
        let limited = match answer {
            Err(ProviderError {
                kind: ErrorKind::RateLimited { retry_after },
                ..
            }) => Some(retry_after.unwrap_or_default()),
            _ => None,
        };
        {
            let mut gap = lock(&self.gap);
            *gap = match limited {
                Some(rest) => (*gap * 2).max(rest / WITHIN_REST).clamp(2 * GAP_MIN, GAP_MAX),
                None => *gap * 97 / 100,
            };
        }
        if let Some(rest) = limited {
            let mut next = self.next.lock().await;
            *next = (*next).max(clock.monotonic() + rest);
        }
    }
}

fn meant(
    answer: &Result<Arc<Vec<Listed>>, ProviderError>,
    selector: &Selector,
) -> Result<Vec<Listed>, ProviderError> {
    let is_meant = |listed: &&Listed| match (selector, &listed.tags) {
        (Selector::AllOurs, _) => true,
        (Selector::Label(label), Some(tags)) => tags.label == *label,
        (Selector::OfRun(label, run), Some(tags)) => tags.label == *label && tags.run == *run,
        (Selector::Label(_) | Selector::OfRun(..), None) => false,
    };
    let all = answer.as_ref().map_err(Clone::clone)?;
    Ok(all.iter().filter(is_meant).cloned().collect())
}
