//! Time that passes only when somebody waits for it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use model::{
    time::{Timestamp, after},
    world::Clock,
};
use parking_lot::Mutex;

/// A clock that client and fake share.
#[derive(Clone)]
pub(crate) struct TestClock(Arc<Inner>);

struct Inner {
    /// None: it goes with this machine's clock.
    now: Option<Mutex<Timestamp>>,
    random: AtomicU64,
}

impl TestClock {
    pub(crate) fn new() -> Self {
        let now = Mutex::new(Timestamp::from_second(1_800_000_000).unwrap());
        Self::at(Some(now))
    }

    /// Returns the moment as an answer's `Date` header has it.
    pub(crate) fn date(&self) -> String {
        jiff::fmt::rfc2822::DateTimePrinter::new()
            .timestamp_to_rfc9110_string(&self.now())
            .expect("it is a date of our time")
    }

    fn at(now: Option<Mutex<Timestamp>>) -> Self {
        Self(Arc::new(Inner {
            now,
            random: AtomicU64::new(1),
        }))
    }
}

/// For a fake whose client is a program of its own.
impl Default for TestClock {
    fn default() -> Self {
        Self::at(None)
    }
}

#[async_trait]
impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        match &self.0.now {
            Some(now) => *now.lock(),
            None => Timestamp::now(),
        }
    }

    async fn sleep(&self, length: Duration) {
        if let Some(now) = &self.0.now {
            let mut now = now.lock();
            *now = after(*now, length);
        }
        tokio::task::yield_now().await;
    }

    fn random(&self) -> u64 {
        self.0.random.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed)
    }
}
