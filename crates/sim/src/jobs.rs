//! A simulated job service: jobs come, are cancelled and are given to runners that wait; it forgets, repeats itself and is
//! away. Everything is a matter of what time it is when somebody asks.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc, time::Duration};

use async_trait::async_trait;
use model::{
    jobs::{JobService, News, Removal, ServiceError},
    name::Label,
};
use parking_lot::{Mutex, MutexGuard};

use crate::{
    clock::{Elapsed, SimClock},
    cloud::Clouds,
    record::{Observation, Record},
};

/// How long a question for news may wait.
const POLL: Duration = Duration::from_secs(50);

/// How often it is looked meanwhile.
const STEP: Duration = Duration::from_secs(2);

/// How long a session stays open that nobody uses.
const SESSION_MAX: Duration = Duration::from_secs(5 * 60);

/// How long the service waits for a runner that has vanished in a job.
const LOST_MAX: Duration = Duration::from_secs(10 * 60);

/// How long a runner takes to end after its job.
const WIND_UP: Duration = Duration::from_secs(3);

/// What goes wrong at the service; how often, in a thousand times.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JobFaults {
    /// From then on, for so long, nothing is answered.
    pub away: (Duration, Duration),
    /// An answer is lost, and what was asked for was done.
    pub unanswered: u64,
    /// A call fails, and did nothing.
    pub refused: u64,
    /// A job is given to two runners.
    pub given_twice: u64,
    /// A runner does not end after its job.
    pub hangs: u64,
    /// A runner ends without a word before it has a job.
    pub quits: u64,
}

impl JobFaults {
    /// Draws which faults a simulation has.
    pub fn draw(clock: &SimClock) -> Self {
        let often = |most: u64| clock.often(most);
        let long = |most: u64| Duration::from_secs(often(most));
        Self {
            away: (long(7200), long(3600)),
            unanswered: often(150),
            refused: often(150),
            given_twice: often(300),
            hangs: often(300),
            quits: often(150),
        }
    }
}

#[derive(Debug, Clone)]
struct Job {
    queued: Elapsed,
    length: Duration,
    cancelled: Option<Elapsed>,
    is_over: bool,
}

#[derive(Debug, Clone)]
struct Registered {
    configuration: String,
    /// Where its program runs.
    at: Option<IpAddr>,
    /// Its job, and when that ends.
    job: Option<(usize, Elapsed)>,
    /// When its program ends.
    ends: Option<Elapsed>,
    /// Since when its box has been dead.
    dead: Option<Elapsed>,
}

#[derive(Default)]
struct Inner {
    jobs: Vec<Job>,
    runners: BTreeMap<String, Registered>,
    /// Programs whose registration is gone, and when they end.
    ending: BTreeMap<IpAddr, Elapsed>,
    made: u64,
    /// Who listens, and since when without a word.
    session: Option<(u32, Elapsed)>,
    /// The capacity that was last reported.
    capacity: usize,
    news: News,
    /// What was last reported of assigned jobs.
    reported: Option<usize>,
}

/// The service. All copies are the same one.
#[derive(Clone)]
pub struct SimJobs {
    clock: SimClock,
    record: Record,
    clouds: Clouds,
    faults: Arc<Mutex<JobFaults>>,
    inner: Arc<Mutex<Inner>>,
}

impl SimJobs {
    /// Makes a service to which so many jobs come within so long.
    pub fn new((clock, record, clouds): (SimClock, Record, Clouds), count: u64, within: Duration) -> Self {
        let minutes = |number: u64| Duration::from_secs(60 * number);
        let job = |_| {
            let queued = clock.length(Duration::ZERO, within);
            Job {
                queued,
                length: clock.length(Duration::from_secs(1), minutes(20)),
                cancelled: clock
                    .happens(200)
                    .then(|| queued + clock.length(Duration::ZERO, minutes(15))),
                is_over: false,
            }
        };
        let inner = Inner {
            jobs: (0..count).map(job).collect(),
            ..Inner::default()
        };
        Self {
            inner: Arc::new(Mutex::new(inner)),
            clock,
            record,
            clouds,
            faults: Arc::default(),
        }
    }

    /// Sets what goes wrong from now on.
    pub fn set_faults(&self, faults: JobFaults) {
        *self.faults.lock() = faults;
    }

    /// Returns how many jobs are not over.
    pub fn open(&self) -> usize {
        self.inner().jobs.iter().filter(|job| !job.is_over).count()
    }

    /// Returns the service as a process has it.
    pub fn of(&self, process: u32) -> JobsOfProcess {
        JobsOfProcess {
            jobs: self.clone(),
            process,
        }
    }

    /// A runner program has been started on a box with that configuration.
    pub(crate) fn started(&self, configuration: &str, at: IpAddr) {
        let now = self.clock.elapsed();
        let quits = self.clock.happens(self.faults.lock().quits);
        let mut inner = self.inner();
        let known = inner
            .runners
            .iter_mut()
            .find(|(_, runner)| runner.configuration == configuration);
        match known {
            Some((_, runner)) if !quits => runner.at = Some(at),
            // It was registered anew since, or dies.
            _ => drop(inner.ending.insert(at, now + WIND_UP)),
        }
    }

    /// Returns when the runner program on a box ends, as far as that is known by now.
    pub(crate) fn ends(&self, at: IpAddr) -> Option<Elapsed> {
        self.advance();
        let inner = self.inner();
        let of_runner = inner
            .runners
            .values()
            .find(|runner| runner.at == Some(at))
            .and_then(|runner| runner.ends);
        of_runner.or_else(|| inner.ending.get(&at).copied())
    }

    /// Lets happen what has become due.
    fn advance(&self) {
        let now = self.clock.elapsed();
        let faults = self.faults.lock().clone();
        let mut inner = self.inner();
        let inner = &mut *inner;
        for number in 0..inner.jobs.len() {
            let runs = inner
                .runners
                .values()
                .any(|runner| runner.job.is_some_and(|(it, _)| it == number));
            let job = &mut inner.jobs[number];
            job.is_over |= !runs && job.cancelled.is_some_and(|at| at <= now);
        }
        self.end_jobs(inner, &faults, now);
        self.give_jobs(inner, &faults, now);
    }

    /// Ends jobs: at their end, when they are cancelled, and when their box is lost.
    fn end_jobs(&self, inner: &mut Inner, faults: &JobFaults, now: Elapsed) {
        let mut gone = Vec::new();
        for (name, runner) in &mut inner.runners {
            let is_alive = runner.at.is_none_or(|at| self.is_alive(at));
            runner.dead = if is_alive { None } else { runner.dead.or(Some(now)) };
            let Some((number, ends)) = runner.job else {
                continue;
            };
            let job = &mut inner.jobs[number];
            let is_lost = runner.dead.is_some_and(|since| now >= since + LOST_MAX);
            let is_cancelled = job.cancelled.is_some_and(|at| at <= now);
            if !is_lost && (!is_alive || now < ends && !is_cancelled) {
                continue;
            }
            job.is_over = true;
            runner.job = None;
            inner.news.ended.push(name.clone());
            self.record.record(Observation::JobOver { runner: name.clone() });
            gone.push(name.clone());
            if let Some(at) = runner.at {
                let hangs = self.clock.happens(faults.hangs);
                let ends = if hangs { Duration::MAX } else { now + WIND_UP };
                inner.ending.insert(at, ends);
            }
        }
        for name in gone {
            inner.runners.remove(&name);
        }
    }

    /// Gives jobs to runners that wait.
    fn give_jobs(&self, inner: &mut Inner, faults: &JobFaults, now: Elapsed) {
        for number in 0..inner.jobs.len() {
            let job = &inner.jobs[number];
            let is_given = inner
                .runners
                .values()
                .any(|runner| runner.job.is_some_and(|(it, _)| it == number));
            if job.is_over || job.queued > now || is_given {
                continue;
            }
            let times = if self.clock.happens(faults.given_twice) {
                2
            } else {
                1
            };
            for _ in 0..times {
                let waits = |runner: &Registered| {
                    runner.job.is_none()
                        && runner.ends.is_none()
                        && runner.at.is_some_and(|at| self.is_alive(at))
                };
                let Some((name, runner)) = inner.runners.iter_mut().find(|(_, runner)| waits(runner)) else {
                    break;
                };
                runner.job = Some((number, now + inner.jobs[number].length));
                inner.news.started.push(name.clone());
                let at = runner.at;
                let has_kvm = self
                    .clouds
                    .values()
                    .find_map(|cloud| cloud.inside(at?, |inside| inside.has_kvm()))
                    .unwrap_or(false);
                self.record.record(Observation::JobGiven {
                    runner: name.clone(),
                    has_kvm,
                });
            }
        }
    }

    fn is_alive(&self, at: IpAddr) -> bool {
        self.clouds
            .values()
            .any(|cloud| cloud.inside(at, |_| ()).is_some())
    }

    /// Returns how many jobs want a runner.
    fn assigned(inner: &Inner, now: Elapsed) -> usize {
        let is_open = |(_, job): &(usize, &Job)| !job.is_over && job.queued <= now;
        let open = inner.jobs.iter().enumerate().filter(is_open).count();
        let running: std::collections::BTreeSet<usize> = inner
            .runners
            .values()
            .filter_map(|runner| runner.job)
            .map(|(number, _)| number)
            .collect();
        open.min(inner.capacity.max(running.len()))
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock()
    }
}

/// The service, as one process has it.
pub struct JobsOfProcess {
    jobs: SimJobs,
    process: u32,
}

impl JobsOfProcess {
    /// Carries a call there. Returns whether its answer will be lost.
    async fn call(&self) -> Result<bool, ServiceError> {
        let clock = &self.jobs.clock;
        clock.call().await;
        clock
            .pass(clock.length(Duration::from_millis(50), Duration::from_secs(2)))
            .await;
        let faults = self.jobs.faults.lock().clone();
        let now = clock.elapsed();
        let (begin, length) = faults.away;
        if (begin <= now && now < begin + length) || clock.happens(faults.refused) {
            return Err(self.away());
        }
        Ok(clock.happens(faults.unanswered))
    }

    fn away(&self) -> ServiceError {
        let process = self.process;
        self.jobs.record.record(Observation::ServiceAway { process });
        ServiceError::Away("503".to_owned())
    }

    /// Returns what is new, or how things stand where the question is over. Another process may listen.
    fn news_now(&self, capacity: usize, is_lost: bool, is_over: bool) -> Result<Option<News>, ServiceError> {
        let (now, process) = (self.jobs.clock.elapsed(), self.process);
        let mut inner = self.jobs.inner();
        let is_open = |(_, last): &(u32, Elapsed)| now < *last + SESSION_MAX;
        if inner
            .session
            .filter(is_open)
            .is_some_and(|(other, _)| other != process)
        {
            return Err(self.away());
        }
        inner.session = Some((process, now));
        inner.capacity = capacity;
        let assigned = SimJobs::assigned(&inner, now);
        let has_news = !inner.news.started.is_empty() || !inner.news.ended.is_empty();
        if is_lost || !(has_news || inner.reported != Some(assigned) || is_over) {
            return Ok(None);
        }
        inner.reported = Some(assigned);
        let news = News {
            assigned,
            ..std::mem::take(&mut inner.news)
        };
        self.jobs.record.record(Observation::News { process, assigned });
        Ok(Some(news))
    }

    /// Returns the answer, unless it is lost.
    async fn answer<T>(&self, answer: T, is_lost: bool) -> Result<T, ServiceError> {
        self.jobs.clock.call().await;
        if is_lost { Err(self.away()) } else { Ok(answer) }
    }
}

#[async_trait]
impl JobService for JobsOfProcess {
    async fn news(&self, capacity: usize) -> Result<News, ServiceError> {
        let is_lost = self.call().await?;
        let clock = &self.jobs.clock;
        let end = clock.elapsed() + POLL;
        loop {
            self.jobs.advance();
            let is_over = clock.elapsed() >= end;
            if let Some(news) = self.news_now(capacity, is_lost, is_over)? {
                return self.answer(news, false).await;
            }
            if is_over {
                return Err(self.away());
            }
            clock.pass(STEP).await;
        }
    }

    async fn configure(&self, name: &str) -> Result<String, ServiceError> {
        let is_lost = self.call().await?;
        self.jobs.advance();
        let configuration = {
            let mut inner = self.jobs.inner();
            if inner.runners.get(name).is_some_and(|runner| runner.job.is_some()) {
                return Err(ServiceError::Taken);
            }
            inner.made += 1;
            let configuration = format!("configuration-{}", inner.made);
            let new = Registered {
                configuration: configuration.clone(),
                at: None,
                job: None,
                ends: None,
                dead: None,
            };
            if let Some(at) = inner.runners.insert(name.to_owned(), new).and_then(|old| old.at) {
                let now = self.jobs.clock.elapsed();
                inner.ending.insert(at, now + WIND_UP);
            }
            configuration
        };
        self.answer(configuration, is_lost).await
    }

    async fn remove(&self, name: &str) -> Result<Removal, ServiceError> {
        let is_lost = self.call().await?;
        self.jobs.advance();
        let removal = {
            let mut inner = self.jobs.inner();
            match inner.runners.get(name) {
                Some(runner) if runner.job.is_some() => Removal::Busy,
                _ => {
                    if let Some(at) = inner.runners.remove(name).and_then(|old| old.at) {
                        inner.ending.insert(at, Duration::MAX);
                    }
                    Removal::Removed
                }
            }
        };
        self.answer(removal, is_lost).await
    }
}

/// Returns the label of the box that is registered under a name.
pub(crate) fn label_of(name: &str) -> Option<Label> {
    Label::new(name.split('.').next()?).ok()
}
