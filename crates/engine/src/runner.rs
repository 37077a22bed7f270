//! Boxes as runners of a job service: `twolane runner`. Each is an ordinary run of one box; here they begin and end, as
//! `pool.rs` decides.

pub mod caps;
mod desk;
pub mod pool;

use std::{
    collections::BTreeMap,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use futures::{
    StreamExt,
    channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded},
    future::{Either, LocalBoxFuture, pending, select},
    stream::FuturesUnordered,
};
use model::{
    candidate::Candidate,
    error::JournalError,
    event::Event,
    jobs::{JobService, project},
    journal::HeldState,
    name::{Label, NameError, RunId},
    plan::{Plan, price_of},
    price::Price,
    retry::pause,
    verdict::Verdict,
    world::{Events, Stop, World},
};
use thiserror::Error;

pub(crate) use self::desk::Desk;
use self::{
    caps::spent_today,
    desk::{Happened, label_of},
    pool::{Action, Pool, Standing, Terms},
};
use crate::{
    down::{DestroyOutcome, down_of_run},
    run::{CannotRun, host},
};

/// Longest time after which it is looked again what there is to do: a day ends, too.
const LOOK_MAX: Duration = Duration::from_secs(5 * 60);

/// A runner: its name, the plan of its boxes, and who gives it jobs.
#[derive(Clone, Copy)]
pub struct Runner<'a> {
    /// Its name at the service.
    pub name: &'a str,
    /// What every box is made by; label and run are each one's own.
    pub plan: &'a Plan,
    /// How many boxes there are, and for how long.
    pub terms: &'a Terms,
    /// Who gives it jobs.
    pub jobs: &'a dyn JobService,
    /// Where the runs of its boxes are recorded.
    pub runs: &'a dyn Runs,
}

/// Where the runs of a runner's boxes are recorded. As with events, none of it takes long.
pub trait Runs {
    /// Returns the plan of a run that an earlier process began.
    fn plan(&self, run: &RunId) -> Option<Plan>;

    /// Records that a run is about to begin, or is resumed, and returns where its events go.
    fn open(&self, plan: &Plan) -> Result<Arc<dyn Events>, String>;

    /// Takes how a run has ended.
    fn ended(&self, plan: &Plan, verdict: Verdict);

    /// Takes how many boxes stand where.
    fn standing(&self, standing: Standing);
}

/// A runner could not begin. Nothing was created.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CannotServe {
    /// The journal is in the way.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// Another process is that runner.
    #[error("another twolane is runner {0} on this machine")]
    Held(String),
    /// The name cannot be one.
    #[error(transparent)]
    Name(#[from] NameError),
}

/// Returns the name of a runner's lock: it is held for as long as a process is that runner.
pub fn lock(name: &str) -> Result<RunId, NameError> {
    RunId::new(format!("runner-{name}"))
}

/// Serves jobs on boxes until it is asked to stop and the last box is gone, or cannot be destroyed. Boxes of an earlier
/// process of that name are resumed, or destroyed.
pub async fn serve(runner: Runner<'_>, world: &World) -> Result<Verdict, CannotServe> {
    if !world.journal.hold(&lock(runner.name)?).await? {
        return Err(CannotServe::Held(runner.name.to_owned()));
    }
    let mut office = Office::new(runner, world);
    office.take_over().await?;
    office.listen();
    office.work().await;
    let left = office.pool.left();
    for label in &left {
        let text = format!("box {label} may still be there; twolane down {label} destroys it");
        office.notice(text);
    }
    Ok(if left.is_empty() {
        Verdict::Passed
    } else {
        Verdict::Left
    })
}

/// The boxes that there are, and all that goes on about them.
struct Office<'a> {
    runner: Runner<'a>,
    world: &'a World,
    pool: Pool,
    /// The boxes that have a lane.
    desks: BTreeMap<Label, Arc<Desk<'a>>>,
    /// The run of each box.
    runs: BTreeMap<Label, RunId>,
    tasks: FuturesUnordered<LocalBoxFuture<'a, ()>>,
    said: UnboundedSender<Happened>,
    happened: UnboundedReceiver<Happened>,
    capacity: Arc<AtomicUsize>,
    is_draining: bool,
}

impl<'a> Office<'a> {
    fn new(runner: Runner<'a>, world: &'a World) -> Self {
        let (said, happened) = unbounded();
        let pool = Pool::new(runner.terms.clone());
        Self {
            capacity: Arc::new(pool.capacity().into()),
            pool,
            runner,
            world,
            desks: BTreeMap::new(),
            runs: BTreeMap::new(),
            tasks: FuturesUnordered::new(),
            said,
            happened,
            is_draining: false,
        }
    }

    /// Takes in what an earlier process of this name left: a box that is up goes on, everything else goes.
    async fn take_over(&mut self) -> Result<(), JournalError> {
        self.count_money().await?;
        let holdings = self.world.journal.holdings().await?;
        let project = project(self.runner.name);
        let now = self.world.clock.monotonic();
        for (label, held) in holdings.boxes_of_project(&project) {
            let plan = match held.state {
                HeldState::Up => self.runner.runs.plan(&held.run),
                _ => None,
            };
            self.runs.insert(label.clone(), held.run.clone());
            match plan {
                Some(mut plan) => {
                    self.notice(format!("box {label} of an earlier process goes on"));
                    // If it is dead by now, no other one takes its place: how many there are is decided anew.
                    for lane in &mut plan.lanes {
                        lane.candidates = vec![held.candidate.clone()];
                    }
                    self.pool.resume(
                        label.clone(),
                        held.tags.deadline.left(self.world.clock.now()),
                        now,
                    );
                    self.host(label.clone(), plan);
                }
                None => {
                    self.notice(format!("box {label} of an earlier process is destroyed"));
                    self.pool.leave(label.clone(), now);
                }
            }
        }
        Ok(())
    }

    /// Decides and carries out, until nothing is left to be done.
    async fn work(&mut self) {
        let mut is_counted = true;
        loop {
            if !is_counted && let Err(error) = self.count_money().await {
                self.notice(format!("could not count what boxes have cost today: {error}"));
            }
            for action in self.pool.decide(self.world.clock.monotonic()) {
                self.carry_out(action);
            }
            self.capacity.store(self.pool.capacity(), Ordering::Relaxed);
            self.runner.runs.standing(self.pool.standing());
            if self.pool.is_over() {
                return;
            }
            let happened = self.next().await;
            is_counted = !matches!(happened, None | Some(Happened::Ended(..)));
            self.take(happened);
        }
    }

    /// Waits until something happens, or until it is time to decide. None: only time has passed, or it is asked to stop.
    async fn next(&mut self) -> Option<Happened> {
        let clock = &*self.world.clock;
        let now = clock.monotonic();
        let at = self.pool.next_at(now).unwrap_or(now + LOOK_MAX);
        let timer = clock.sleep(at.saturating_sub(now).min(LOOK_MAX));
        let (tasks, is_draining) = (&mut self.tasks, self.is_draining);
        let drive = async {
            while tasks.next().await.is_some() {}
            pending::<()>().await;
        };
        let stop = async {
            match is_draining {
                true => pending().await,
                false => self.world.stop.asked().await,
            }
        };
        let (drive, stop) = (pin!(drive), pin!(stop));
        let others = select(drive, select(timer, stop));
        match select(self.happened.next(), others).await {
            Either::Left((happened, _)) => happened,
            Either::Right(_) => None,
        }
    }

    fn take(&mut self, happened: Option<Happened>) {
        let now = self.world.clock.monotonic();
        match happened {
            None if self.world.stop.is_asked() && !self.is_draining => self.drain(now),
            None => {}
            Some(Happened::News(news)) => {
                let labels =
                    |names: &[String]| names.iter().filter_map(|name| label_of(name)).collect::<Vec<_>>();
                let (started, ended) = (labels(&news.started), labels(&news.ended));
                self.pool.news(news.assigned, &started, &ended, now);
            }
            Some(Happened::Ready(label)) => self.pool.ready(&label),
            Some(Happened::Runs(label)) => self.pool.runs(&label),
            Some(Happened::Removed(label, removal)) => self.pool.removed(&label, removal, now),
            Some(Happened::Ended(label, is_gone)) => {
                self.desks.remove(&label);
                self.pool.ended(&label, is_gone, now);
                if is_gone {
                    self.runs.remove(&label);
                }
            }
        }
    }

    fn drain(&mut self, now: Duration) {
        self.is_draining = true;
        self.pool.drain(now);
        let busy = self.pool.standing().busy;
        self.notice(match busy {
            0 => "stopping: boxes without a job go now".to_owned(),
            jobs => format!(
                "stopping: {jobs} running jobs are waited for, for {} minutes at most; boxes without a job go now",
                self.runner.terms.grace.as_secs() / 60
            ),
        });
    }

    fn carry_out(&mut self, action: Action) {
        match action {
            Action::Start => self.start(),
            Action::Permit(label) => {
                if let Some(desk) = self.desks.get(&label) {
                    desk.permit();
                }
            }
            Action::End(label) => {
                if let Some(desk) = self.desks.get(&label) {
                    desk.end();
                }
            }
            Action::Remove(label) => {
                let Some(desk) = self.desks.get(&label).cloned() else {
                    return;
                };
                let said = self.said.clone();
                self.task(async move {
                    let removal = desk.remove().await.ok();
                    drop(said.unbounded_send(Happened::Removed(label, removal)));
                });
            }
            Action::Destroy(label) => {
                let Some(run) = self.runs.get(&label).cloned() else {
                    return;
                };
                let (said, world) = (self.said.clone(), self.world);
                self.task(async move {
                    let outcome = down_of_run(&label, &run, Some(label.as_str()), world).await;
                    let is_gone = matches!(outcome, DestroyOutcome::Gone(_));
                    drop(said.unbounded_send(Happened::Ended(label, is_gone)));
                });
            }
        }
    }

    /// Begins a new box.
    fn start(&mut self) {
        let plan = self.new_plan();
        let Some(lane) = plan.lanes.first() else { return };
        let (label, ttl) = (lane.label.clone(), lane.ttl);
        self.pool.begin(label.clone(), ttl, self.world.clock.monotonic());
        self.runs.insert(label.clone(), plan.run.clone());
        self.host(label, plan);
    }

    /// Makes the plan of a new box, with a label and a run that are nobody's.
    fn new_plan(&self) -> Plan {
        let clock = &*self.world.clock;
        let mut plan = self.runner.plan.clone();
        loop {
            plan.run = RunId::generate(clock.now(), clock.random());
            for lane in &mut plan.lanes {
                lane.label = Label::generate(self.runner.name, &lane.name, clock.random());
            }
            let is_taken = plan.lanes.iter().any(|lane| self.pool.has(&lane.label));
            let is_known = self.runs.values().any(|run| *run == plan.run);
            if !is_taken && !is_known && self.runner.runs.plan(&plan.run).is_none() {
                return plan;
            }
        }
    }

    /// Carries out the run of a box, beside everything else.
    fn host(&mut self, label: Label, plan: Plan) {
        let desk = Arc::new(Desk::new(label.clone(), self.runner.jobs, self.said.clone()));
        self.desks.insert(label.clone(), desk.clone());
        let (said, world, runs) = (self.said.clone(), self.world, self.runner.runs);
        self.task(async move {
            let is_gone = match runs.open(&plan) {
                Ok(events) => {
                    let own = World {
                        events,
                        stop: Arc::new(Never),
                        ..world.clone()
                    };
                    // On the heap: a run is big, and there are many.
                    Box::pin(hosted(&plan, &desk, runs, &own)).await
                }
                Err(why) => {
                    emit(world, format!("box {label} cannot begin: {why}"));
                    // Of one that an earlier process made there is something.
                    !is_held(&label, &plan.run, world).await
                }
            };
            drop(said.unbounded_send(Happened::Ended(label, is_gone)));
        });
    }

    /// Listens to the service for as long as the process lives.
    fn listen(&mut self) {
        let (jobs, world, said) = (self.runner.jobs, self.world, self.said.clone());
        let capacity = self.capacity.clone();
        self.task(async move {
            let mut attempt = 0;
            loop {
                match jobs.news(capacity.load(Ordering::Relaxed)).await {
                    Ok(news) => {
                        if std::mem::take(&mut attempt) > 0 {
                            emit(world, "the job service answers again".to_owned());
                        }
                        drop(said.unbounded_send(Happened::News(news)));
                    }
                    Err(error) => {
                        attempt += 1;
                        if attempt == 1 {
                            emit(
                                world,
                                format!("no word from the job service; running jobs go on: {error}"),
                            );
                        }
                        world.clock.sleep(pause(attempt)).await;
                    }
                }
            }
        });
    }

    /// Counts what the boxes that are gone have cost today, where that is limited.
    async fn count_money(&mut self) -> Result<(), JournalError> {
        if self.runner.terms.caps.per_day.is_empty() {
            return Ok(());
        }
        let price = |candidate: &Candidate| {
            let provider = self.world.providers.get(&candidate.provider);
            provider.map_or(Price::Unknown, |provider| price_of(candidate, &**provider))
        };
        let entries = self.world.journal.entries().await?;
        let (project, now) = (project(self.runner.name), self.world.clock.now());
        self.pool.spent(spent_today(&entries, &project, now, price));
        Ok(())
    }

    fn task(&mut self, task: impl Future<Output = ()> + 'a) {
        self.tasks.push(Box::pin(task));
    }

    fn notice(&self, text: String) {
        emit(self.world, text);
    }
}

/// Carries out the run of a box, and returns whether the box is gone.
async fn hosted(plan: &Plan, desk: &Desk<'_>, runs: &dyn Runs, world: &World) -> bool {
    let outcome = host(plan, world, desk).await;
    desk.give_back(world).await;
    match outcome {
        Ok(verdict) => {
            runs.ended(plan, verdict);
            verdict != Verdict::Left
        }
        // Whoever carries it out destroys it, too.
        Err(CannotRun::Held(_)) => true,
        Err(error @ CannotRun::Journal(_)) => {
            emit(world, error.to_string());
            match plan.lanes.first() {
                Some(lane) => !is_held(&lane.label, &plan.run, world).await,
                None => true,
            }
        }
    }
}

/// Returns whether the journal knows of a box of that run, or cannot be read.
async fn is_held(label: &Label, run: &RunId, world: &World) -> bool {
    match world.journal.holdings().await {
        Ok(holdings) => holdings.boxes.get(label).is_some_and(|held| held.run == *run),
        Err(_) => true,
    }
}

fn emit(world: &World, text: String) {
    world.emit(None, Event::Notice { text });
}

/// A box of a runner is not asked to stop: its desk ends it.
struct Never;

#[async_trait]
impl Stop for Never {
    async fn asked(&self) {
        pending().await
    }

    fn is_asked(&self) -> bool {
        false
    }
}
