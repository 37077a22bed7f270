//! Time limits, by the monotonic clock.

use std::{future::Future, pin::pin, time::Duration};

use futures::future::{Either, select};
use model::world::{Clock, World};

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

/// Returns what `future` gives, or none as soon as the user asks to stop; it is dropped then.
pub(crate) async fn unless_stopped<T>(world: &World, future: impl Future<Output = T>) -> Option<T> {
    match select(pin!(future), world.stop.asked()).await {
        Either::Left((value, _)) => Some(value),
        Either::Right(((), _)) => None,
    }
}
