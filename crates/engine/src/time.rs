//! Time limits on futures, by the world's clock.

use std::{future::Future, pin::pin, time::Duration};

use futures::future::{Either, select};
use model::world::World;

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
