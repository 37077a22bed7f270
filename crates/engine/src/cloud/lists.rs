//! Lists of all that is ours in a part of a cloud, each of which serves every destroy that waits for one; and how far apart
//! destroys are sent. Keeps out: what any one destroy does with them.

use std::{
    collections::BTreeMap,
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures::lock;
use model::{
    error::{ErrorKind, ProviderError},
    machine::Listed,
    selector::Selector,
    world::Clock,
};
use parking_lot::Mutex;

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
    pace: Mutex<Pace>,
}

/// When destroys are sent that many boxes wait for, in the order in which they came. All moments are by the monotonic clock.
#[derive(Default)]
struct Pace {
    /// When the next one that comes may be sent.
    next: Duration,
    gap: Duration,
    /// Until when the provider wants to be left alone.
    rest_until: Duration,
    /// By how much rests have put off what waits.
    put_off: Duration,
}

/// The turn of one destroy: when it was to be, and how much had been put off by then.
struct Turn {
    at: Duration,
    put_off: Duration,
}

impl Pace {
    fn take(&mut self, now: Duration) -> Turn {
        let at = self.next.max(now);
        self.next = at + self.gap.max(GAP_MIN);
        let put_off = self.put_off;
        Turn { at, put_off }
    }

    fn due(&self, turn: &Turn) -> Duration {
        turn.at + (self.put_off - turn.put_off)
    }

    /// Takes that the provider was not over its limit.
    fn allowed(&mut self) {
        self.gap = self.gap * 97 / 100;
    }

    /// Takes that the provider's limit is reached. What was on its way at that moment says the same once more.
    fn limited(&mut self, now: Duration, rest: Duration) {
        if now >= self.rest_until {
            let gap = (self.gap * 2).max(rest / WITHIN_REST);
            self.gap = gap.clamp(2 * GAP_MIN, GAP_MAX);
        }
        let until = now + rest;
        let longer = until.saturating_sub(self.rest_until.max(now));
        self.rest_until = self.rest_until.max(until);
        self.put_off += longer;
        self.next = self.next.max(now) + longer;
    }
}

#[derive(Default)]
struct SharedList {
    /// How many lists were begun.
    begun: AtomicU64,
    last: lock::Mutex<Option<LastList>>,
}

struct LastList {
    number: u64,
    at: Duration,
    answer: Result<Arc<Vec<Listed>>, ProviderError>,
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
        let list = self.regions.lock().entry(region.to_owned()).or_default().clone();
        // One that began before now may lack what is so by now.
        let before = list.begun.load(Ordering::Relaxed);
        let mut last = list.last.lock().await;
        if let Some(last) = last.as_ref().filter(|last| last.number > before) {
            return meant(&last.answer, selector);
        }
        let since = last
            .as_ref()
            .map(|last| clock.monotonic().saturating_sub(last.at));
        let pause = PAUSE.max(look_max);
        clock.sleep(pause.saturating_sub(since.unwrap_or(pause))).await;
        let number = list.begun.fetch_add(1, Ordering::Relaxed) + 1;
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
        let turn = self.pace.lock().take(clock.monotonic());
        loop {
            let due = self.pace.lock().due(&turn);
            let wait = due.saturating_sub(clock.monotonic());
            if wait.is_zero() {
                return;
            }
            clock.sleep(wait).await;
        }
    }

    /// Takes the answer to one destroy out of many: over the limit the next ones are further apart.
    pub(super) fn took_turn(&self, answer: &Result<(), ProviderError>, clock: &dyn Clock) {
        let mut pace = self.pace.lock();
        match answer {
            Err(ProviderError {
                kind: ErrorKind::RateLimited { retry_after },
                ..
            }) => pace.limited(clock.monotonic(), retry_after.unwrap_or_default()),
            Ok(()) | Err(_) => pace.allowed(),
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

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn rest_puts_off_all_that_waits_in_its_order() {
        let mut pace = Pace::default();
        let turns = [pace.take(at(10)), pace.take(at(10)), pace.take(at(10))];
        assert_eq!(pace.due(&turns[0]), at(10));
        pace.limited(at(10), at(60));
        // Another answer of the same moment.
        pace.limited(at(10), at(60));
        assert_eq!(pace.due(&turns[1]), at(70) + GAP_MIN);
        assert_eq!(pace.due(&turns[2]), at(70) + 2 * GAP_MIN);
        let [next, after] = [pace.take(at(11)), pace.take(at(11))];
        assert_eq!(pace.due(&next), at(70) + 3 * GAP_MIN);
        assert_eq!(pace.due(&after) - pace.due(&next), at(3), "twenty a minute");
    }

    #[test]
    fn pace_recovers_where_nothing_is_limited() {
        let mut pace = Pace::default();
        pace.limited(at(0), at(0));
        let gap = pace.gap;
        (0..100).for_each(|_| pace.allowed());
        assert!(pace.gap < GAP_MIN && gap == 2 * GAP_MIN);
    }
}
