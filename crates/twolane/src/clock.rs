//! Real time and real chance.

use std::{
    sync::LazyLock,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use model::{time::Timestamp, world};

static BEGAN: LazyLock<Instant> = LazyLock::new(Instant::now);

/// This machine's clock.
pub(crate) struct Clock;

#[async_trait]
impl world::Clock for Clock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn monotonic(&self) -> Duration {
        BEGAN.elapsed()
    }

    async fn sleep(&self, length: Duration) {
        tokio::time::sleep(length).await;
    }

    fn random(&self) -> u64 {
        // The system's source cannot fail once the system has booted; names from the time are unique enough until then.
        getrandom::u64().unwrap_or_else(|_| Timestamp::now().as_nanosecond() as u64)
    }
}
