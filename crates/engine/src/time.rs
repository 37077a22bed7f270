//! Time limits, by the monotonic clock.

use std::{future::Future, pin::pin, time::Duration};

use futures::future::{Either, select};
use model::{
    name::Label,
    time::{Deadline, between},
    world::{Clock, Journal, World},
};

/// Longest pause between two looks at the clock that people set: it shows what the monotonic one slept through.
const LOOK_MAX: Duration = Duration::from_secs(30);

/// Pause before a journal that could not be read is read again.
const RETRY: Duration = Duration::from_secs(1);

/// A moment to come, by the monotonic clock.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limit(Duration);

impl Limit {
    /// Makes one that comes when so much time has passed from now on.
    pub(crate) fn after(clock: &dyn Clock, length: Duration) -> Self {
        Self(clock.monotonic().saturating_add(length))
    }

    /// Returns the time that is left, zero when it has come.
    pub(crate) fn left(self, clock: &dyn Clock) -> Duration {
        self.0.saturating_sub(clock.monotonic())
    }

    /// Returns whether it has come.
    pub(crate) fn is_over(self, clock: &dyn Clock) -> bool {
        self.left(clock).is_zero()
    }
}

/// Returns what `future` gives within `limit`, or none; it is dropped then.
pub(crate) async fn within<T>(world: &World, limit: Duration, future: impl Future<Output = T>) -> Option<T> {
    match select(pin!(future), world.clock.sleep(limit)).await {
        Either::Left((value, _)) => Some(value),
        Either::Right(((), _)) => None,
    }
}

/// Why work was stopped before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stopped {
    /// The user asked for it.
    ByUser,
    /// The deadline of the box came.
    ByDeadline(Deadline),
}

/// Returns what `work` gives, or why it was stopped: the user asked for it, or the deadline of the box came. `work` is
/// dropped then.
pub(crate) async fn while_box_lives<T>(
    world: &World,
    (label, ttl): (&Label, Duration),
    work: impl Future<Output = T>,
) -> Result<T, Stopped> {
    let deadline = pin!(deadline(&*world.journal, &*world.clock, (label, ttl)));
    // The deadline first: nothing is begun with a box that is overdue.
    match select(deadline, pin!(unless_stopped(world, work))).await {
        Either::Left((deadline, _)) => Err(Stopped::ByDeadline(deadline)),
        Either::Right((Some(value), _)) => Ok(value),
        Either::Right((None, _)) => Err(Stopped::ByUser),
    }
}

/// Waits for the deadline of a box: the one in the journal, which `extend` moves, and which is another one when the next
/// candidate's box is made. It has come when either clock says so: the one may be set, and the other may sleep.
pub async fn deadline(
    journal: &dyn Journal,
    clock: &dyn Clock,
    (label, ttl): (&Label, Duration),
) -> Deadline {
    let mut deadline = Deadline::after(clock.now(), ttl);
    let mut end = Limit::after(clock, ttl);
    loop {
        let holdings = journal.holdings().await;
        let pause = if holdings.is_ok() { LOOK_MAX } else { RETRY };
        let held = holdings
            .ok()
            .and_then(|mut holdings| holdings.boxes.remove(label));
        if let Some(held) = held.filter(|held| held.tags.deadline != deadline) {
            deadline = held.tags.deadline;
            end = Limit::after(clock, between(clock.now(), deadline.moment()));
        }
        if end.is_over(clock) || deadline.is_over(clock.now()) {
            return deadline;
        }
        clock.sleep(end.left(clock).min(pause)).await;
    }
}

/// Returns what `future` gives, or none as soon as the user asks to stop; it is dropped then.
pub(crate) async fn unless_stopped<T>(world: &World, future: impl Future<Output = T>) -> Option<T> {
    match select(pin!(future), world.stop.asked()).await {
        Either::Left((value, _)) => Some(value),
        Either::Right(((), _)) => None,
    }
}
