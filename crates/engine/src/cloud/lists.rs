//! Lists of all that is ours in a part of a cloud, each of which serves every destroy that waits for one; and how far apart
//! destroys are sent. Keeps out: what any one destroy does with them.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::lock;
use model::{
    cloud::CloudApi,
    error::{ErrorKind, ProviderError},
    machine::Listed,
    selector::Selector,
    world::Progress,
};

use super::Cloud;

/// How long after a list that serves many the next one begins, at least.
const PAUSE: Duration = Duration::from_secs(5);

/// How far destroys are apart that are sent for many boxes, and how far at most where the provider's limit is reached.
const GAP_MIN: Duration = Duration::from_millis(50);
const GAP_MAX: Duration = Duration::from_secs(5);

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

impl<A: CloudApi + ?Sized> Cloud<A> {
    /// Lists what is meant in one part of the cloud, out of a list of everything.
    pub(super) async fn shared_list(
        &self,
        region: &str,
        selector: &Selector,
        progress: &dyn Progress,
    ) -> Result<Vec<Listed>, ProviderError> {
        let list = lock(&self.shared.regions)
            .entry(region.to_owned())
            .or_default()
            .clone();
        // One that began before now may lack what is so by now.
        let before = *lock(&list.begun);
        let mut last = list.last.lock().await;
        if let Some(last) = last.as_ref().filter(|last| last.number > before) {
            return meant(&last.answer, selector);
        }
        let since = last
            .as_ref()
            .map(|last| self.clock.monotonic().saturating_sub(last.at));
        let pause = PAUSE.max(self.api.profile().look_max);
        self.clock
            .sleep(pause.saturating_sub(since.unwrap_or(pause)))
            .await;
        let number = {
            let mut begun = lock(&list.begun);
            *begun += 1;
            *begun
        };
        let at = self.clock.monotonic();
        let answer = self
            .ask(progress, || self.api.list(region, &Selector::AllOurs))
            .await;
        let last = last.insert(LastList {
            number,
            at,
            answer: answer.map(Arc::new),
        });
        meant(&last.answer, selector)
    }

    /// Waits until it is the turn of one destroy out of many.
    pub(super) async fn take_turn(&self) {
        let mut next = self.shared.next.lock().await;
        let now = self.clock.monotonic();
        self.clock.sleep(next.saturating_sub(now)).await;
        let gap = (*lock(&self.shared.gap)).max(GAP_MIN);
        *next = self.clock.monotonic().max(*next) + gap;
    }

    /// Takes the answer to one destroy out of many: over the limit the next ones are further apart.
    pub(super) async fn took_turn(&self, answer: &Result<(), ProviderError>) {
        let limited = match answer {
            Err(ProviderError {
                kind: ErrorKind::RateLimited { retry_after },
                ..
            }) => Some(retry_after.unwrap_or_default()),
            _ => None,
        };
        {
            let mut gap = lock(&self.shared.gap);
            *gap = match limited {
                Some(_) => (*gap * 2).clamp(2 * GAP_MIN, GAP_MAX),
                None => *gap * 9 / 10,
            };
        }
        if let Some(rest) = limited {
            let mut next = self.shared.next.lock().await;
            *next = (*next).max(self.clock.monotonic() + rest);
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
