//! Virtual time, chance from one seed, and the one thread on which a simulation runs. Here it can also end at once:
//! at any call of the world, as a killed process does.

use std::{
    collections::BTreeMap,
    future::Future,
    pin::{Pin, pin},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use async_trait::async_trait;
use jiff::SignedDuration;
use model::{time::Timestamp, world};

/// The moment at which every simulation begins, in Unix seconds.
const BEGIN: i64 = 1_800_000_000;

/// How often a future may be polled before it counts as going round in circles.
const POLLS_MAX: u64 = 200_000;

/// Time since the simulation began.
pub type Elapsed = Duration;

/// How a simulated process ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending<T> {
    /// By itself, with this.
    Returned(T),
    /// It was killed at a call of the world.
    Killed,
    /// It waits for something that never comes, or goes round in circles.
    Stuck,
}

/// Time, chance and crashes of one simulation. All copies are the same clock.
#[derive(Clone)]
pub struct SimClock {
    inner: Arc<Mutex<Inner>>,
}

struct Inner {
    now: Elapsed,
    /// How far the operator's clock is off.
    skew: SignedDuration,
    random: u64,
    timers: BTreeMap<(Elapsed, u64), Waker>,
    timers_made: u64,
    calls: u64,
    kill_at: Option<u64>,
    is_killed: bool,
    /// The call at which something else happens, and when that was.
    mark_at: Option<u64>,
    marked: Option<Elapsed>,
    /// How often the operator's machine goes to sleep at a call, in a million times.
    sleeps: u64,
    /// How long it has slept in all.
    slept: Duration,
    /// How often the operator's clock is set at a call, in a million times.
    steps: u64,
}

/// Longest time for which the operator's machine sleeps.
const SLEEP_MAX: Duration = Duration::from_secs(3600);

/// Furthest that the operator's clock is off, in seconds. With a TTL of two hours, every deadline still lies later than a
/// late box turns up: a clock that is further off than that sets deadlines of which nothing can be said.
const JUMP_MAX: i64 = 90 * 60;

impl SimClock {
    /// Makes a clock whose chance comes from `seed`.
    pub fn new(seed: u64) -> Self {
        let inner = Inner {
            now: Duration::ZERO,
            skew: SignedDuration::ZERO,
            random: seed,
            timers: BTreeMap::new(),
            timers_made: 0,
            calls: 0,
            kill_at: None,
            is_killed: false,
            mark_at: None,
            marked: None,
            sleeps: 0,
            slept: Duration::ZERO,
            steps: 0,
        };
        Self {
            inner: Arc::new(Mutex::new(inner)),
        }
    }

    /// Runs a process to its end, or kills it at its `kill_at`-th call of the world, counted from 1.
    pub fn drive<T>(&self, kill_at: Option<u64>, process: impl Future<Output = T>) -> Ending<T> {
        {
            let mut inner = self.inner();
            inner.calls = 0;
            inner.kill_at = kill_at;
            inner.is_killed = false;
            // Those of a process that was killed.
            inner.timers.clear();
        }
        let mut process = pin!(process);
        let flag = Arc::new(Flag(AtomicBool::new(true)));
        let waker = Waker::from(Arc::clone(&flag));
        for _ in 0..POLLS_MAX {
            if flag.0.swap(false, Ordering::Relaxed)
                && let Poll::Ready(value) = process.as_mut().poll(&mut Context::from_waker(&waker))
            {
                return Ending::Returned(value);
            }
            if self.inner().is_killed {
                return Ending::Killed;
            }
            if !flag.0.load(Ordering::Relaxed) && !self.advance() {
                return Ending::Stuck;
            }
        }
        Ending::Stuck
    }

    /// Goes on to the next timer. Returns false when there is none.
    fn advance(&self) -> bool {
        let mut inner = self.inner();
        let Some(((at, _), waker)) = inner.timers.pop_first() else {
            return false;
        };
        inner.now = inner.now.max(at);
        drop(inner);
        waker.wake();
        true
    }

    /// Marks a call of the world, at which the process may be killed.
    pub async fn call(&self) {
        let (is_killed, sleeps, steps) = {
            let mut inner = self.inner();
            inner.calls += 1;
            inner.is_killed |= inner.kill_at == Some(inner.calls);
            if inner.mark_at == Some(inner.calls) {
                inner.mark_at = None;
                inner.marked = Some(inner.now);
            }
            (inner.is_killed, inner.sleeps, inner.steps)
        };
        if sleeps > 0 && self.below(1_000_000) < sleeps {
            let length = self.length(Duration::ZERO, SLEEP_MAX);
            self.skip(length);
            self.inner().slept += length;
        }
        if steps > 0 && self.below(1_000_000) < steps {
            self.jump_somewhere();
        }
        if is_killed {
            std::future::pending::<()>().await;
        }
    }

    /// Marks the moment of a call to come, counted from 1 within its process.
    pub fn mark_at(&self, call: Option<u64>) {
        self.inner().mark_at = call;
    }

    /// Returns the moment that was marked.
    pub fn marked(&self) -> Option<Elapsed> {
        self.inner().marked
    }

    /// Lets the operator's machine go to sleep, and its clock be set, at a call, each so often in a million times.
    pub fn set_wall_clock(&self, sleeps: u64, steps: u64) {
        let mut inner = self.inner();
        (inner.sleeps, inner.steps) = (sleeps, steps);
    }

    /// Returns how many calls of the world the last process made.
    pub fn calls(&self) -> u64 {
        self.inner().calls
    }

    /// Lets time pass. No call: the world does this, not the process.
    pub fn pass(&self, length: Duration) -> impl Future<Output = ()> + Send + use<> {
        let until = self.elapsed().saturating_add(length);
        Timer {
            clock: self.clone(),
            until,
            key: None,
        }
    }

    /// Lets time pass while no process runs.
    pub fn skip(&self, length: Duration) {
        let mut inner = self.inner();
        inner.now = inner.now.saturating_add(length);
    }

    /// Returns the true time since the simulation began.
    pub fn elapsed(&self) -> Elapsed {
        self.inner().now
    }

    /// Returns the true moment, as the providers' clocks have it.
    pub fn true_now(&self) -> Timestamp {
        true_moment(self.elapsed())
    }

    /// Sets the operator's clock off by that much.
    pub fn jump(&self, skew: SignedDuration) {
        self.inner().skew = skew;
    }

    /// Sets the operator's clock off by some time.
    pub fn jump_somewhere(&self) {
        let jump = self.below(2 * JUMP_MAX as u64) as i64 - JUMP_MAX;
        self.jump(SignedDuration::from_secs(jump));
    }

    /// Returns a number below `bound`, which is not zero.
    pub fn below(&self, bound: u64) -> u64 {
        self.draw() % bound
    }

    /// Returns whether something happens that happens so often in a thousand times.
    pub fn happens(&self, per_thousand: u64) -> bool {
        per_thousand > 0 && self.below(1000) < per_thousand
    }

    /// Draws how often a fault happens, in a thousand times: in every second simulation never, else up to `most` times.
    pub fn often(&self, most: u64) -> u64 {
        match self.happens(500) {
            true => 1 + self.below(most),
            false => 0,
        }
    }

    /// Returns a length between `least` and `most`.
    pub fn length(&self, least: Duration, most: Duration) -> Duration {
        let span = most.saturating_sub(least).as_millis() as u64;
        least + Duration::from_millis(self.below(span + 1))
    }

    /// The next number of SplitMix64.
    fn draw(&self) -> u64 {
        let mut inner = self.inner();
        inner.random = inner.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = inner.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner
            .lock()
            .expect("no code that can panic runs under the lock")
    }
}

/// Returns the true moment, so long after the simulation began.
pub fn true_moment(elapsed: Elapsed) -> Timestamp {
    moment(elapsed, SignedDuration::ZERO)
}

fn moment(elapsed: Elapsed, skew: SignedDuration) -> Timestamp {
    let begin = Timestamp::from_second(BEGIN).expect("it is a year that people live in");
    let shift = SignedDuration::try_from(elapsed)
        .unwrap_or(SignedDuration::MAX)
        .saturating_add(skew);
    begin.checked_add(shift).unwrap_or(Timestamp::MAX)
}

#[async_trait]
impl world::Clock for SimClock {
    fn now(&self) -> Timestamp {
        let inner = self.inner();
        moment(inner.now, inner.skew)
    }

    /// Stands still while the machine sleeps.
    fn monotonic(&self) -> Duration {
        let inner = self.inner();
        inner.now - inner.slept
    }

    /// Not a call: whoever is killed here might as well be killed at the call that comes next.
    async fn sleep(&self, length: Duration) {
        self.pass(length).await;
    }

    fn random(&self) -> u64 {
        self.draw()
    }
}

struct Timer {
    clock: SimClock,
    until: Elapsed,
    key: Option<(Elapsed, u64)>,
}

impl Future for Timer {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let mut inner = this.clock.inner();
        match this.key {
            Some(_) if inner.now >= this.until => return Poll::Ready(()),
            Some(key) => {
                let known = inner.timers.get_mut(&key);
                if let Some(waker) = known.filter(|waker| !waker.will_wake(context.waker())) {
                    waker.clone_from(context.waker());
                }
            }
            // Even one that is due lets others go first.
            None => {
                inner.timers_made += 1;
                let key = (this.until, inner.timers_made);
                inner.timers.insert(key, context.waker().clone());
                this.key = Some(key);
            }
        }
        Poll::Pending
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            self.clock.inner().timers.remove(&key);
        }
    }
}

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use futures::future::join;
    use model::world::Clock as _;

    use super::*;

    #[test]
    fn a_day_passes_at_once() {
        let clock = SimClock::new(1);
        let ending = clock.drive(None, async {
            join(
                clock.sleep(Duration::from_secs(86_400)),
                clock.sleep(Duration::from_secs(5)),
            )
            .await;
            clock.now()
        });
        assert_eq!(
            ending,
            Ending::Returned(Timestamp::from_second(BEGIN + 86_400).unwrap())
        );
    }

    #[test]
    fn a_process_can_be_killed_at_each_call() {
        for kill_at in 1..=3 {
            let clock = SimClock::new(1);
            let mut done = 0;
            let ending = clock.drive(Some(kill_at), async {
                for _ in 0..3 {
                    clock.call().await;
                    done += 1;
                }
            });
            assert_eq!(ending, Ending::Killed);
            assert_eq!(done, kill_at - 1);
        }
        let clock = SimClock::new(1);
        assert_eq!(clock.drive(Some(2), clock.call()), Ending::Returned(()));
    }

    #[test]
    fn what_waits_for_nothing_is_stuck() {
        assert_eq!(
            SimClock::new(1).drive(None, std::future::pending::<()>()),
            Ending::Stuck
        );
    }

    #[test]
    fn a_seed_repeats_itself() {
        let clocks = [SimClock::new(7), SimClock::new(7)];
        let rows = clocks.map(|clock| (0..50).map(|_| clock.below(1000)).collect::<Vec<_>>());
        assert_eq!(rows[0], rows[1]);
        assert_ne!(
            rows[0],
            (0..50).map(|_| SimClock::new(8).below(1000)).collect::<Vec<_>>()
        );
    }
}
