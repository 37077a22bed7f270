//! Time that passes only when somebody waits for it.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use model::{
    time::{Timestamp, after},
    world::Clock,
};

/// A clock that client and fake share.
#[derive(Clone)]
pub(crate) struct TestClock(Arc<Inner>);

struct Inner {
    now: Mutex<Timestamp>,
    random: AtomicU64,
}

impl TestClock {
    pub(crate) fn new() -> Self {
        let now = Mutex::new(Timestamp::from_second(1_800_000_000).unwrap());
        Self(Arc::new(Inner {
            now,
            random: AtomicU64::new(1),
        }))
    }
}

#[async_trait]
impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        *self.0.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn sleep(&self, length: Duration) {
        {
            let mut now = self.0.now.lock().unwrap_or_else(PoisonError::into_inner);
            *now = after(*now, length);
        }
        tokio::task::yield_now().await;
    }

    fn random(&self) -> u64 {
        self.0.random.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed)
    }
}
