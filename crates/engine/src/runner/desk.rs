//! One box's end of a runner: says when its gate has passed, gets it a configuration once it may have one, and has the
//! runner program run its job there, as a check is run.

use std::{
    future::poll_fn,
    pin::pin,
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
    task::Poll,
    time::Duration,
};

use futures::{
    channel::mpsc::UnboundedSender,
    future::{Either, select},
    task::AtomicWaker,
};
use model::{
    jobs::{CONFIG_VARIABLE, JobService, Removal, ServiceError},
    name::Label,
    retry::pause,
    verdict::Verdict,
    world::World,
};

use crate::{
    build::in_box,
    checks::{checks, has_begun},
    lane::{Lane, Refusal},
    link::Link,
    time::within,
};

/// How long the service may take to take the registration of a box back that is gone.
const GIVE_BACK_MAX: Duration = Duration::from_secs(30);

/// What happened to a box, or at the service.
pub(crate) enum Happened {
    /// The service has news.
    News(model::jobs::News),
    /// The gate of a box has passed.
    Ready(Label),
    /// The runner of a box runs, or is about to.
    Runs(Label),
    /// The service was asked to take a runner back; none: it did not answer.
    Removed(Label, Option<Removal>),
    /// A box has come to its end; whether it is gone.
    Ended(Label, bool),
}

/// Something that is waited for, and may come before anybody waits.
#[derive(Default)]
struct Latch {
    is_set: AtomicBool,
    waker: AtomicWaker,
}

impl Latch {
    fn set(&self) {
        self.is_set.store(true, Ordering::Release);
        self.waker.wake();
    }

    /// Waits for it, and takes it.
    async fn taken(&self) {
        poll_fn(|context| {
            self.waker.register(context.waker());
            match self.is_set.swap(false, Ordering::AcqRel) {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        })
        .await;
    }
}

/// What the box of one label hears and says.
pub(crate) struct Desk<'a> {
    label: Label,
    jobs: &'a dyn JobService,
    said: UnboundedSender<Happened>,
    permit: Latch,
    end: Latch,
    /// How many names of this box have been registered, as far as this process knows.
    names: AtomicU32,
}

impl<'a> Desk<'a> {
    /// Makes the desk of a box.
    pub(crate) fn new(label: Label, jobs: &'a dyn JobService, said: UnboundedSender<Happened>) -> Self {
        Self {
            label,
            jobs,
            said,
            permit: Latch::default(),
            end: Latch::default(),
            names: AtomicU32::new(1),
        }
    }

    /// Lets the box ask for its configuration.
    pub(crate) fn permit(&self) {
        self.permit.set();
    }

    /// Has the box come to its end.
    pub(crate) fn end(&self) {
        self.end.set();
    }

    /// Returns what `work` gives; or, as soon as the box is to end, that all is well. `work` is dropped then.
    pub(crate) async fn unless_ended(
        &self,
        work: impl Future<Output = Result<Verdict, Refusal>>,
    ) -> Result<Verdict, Refusal> {
        match select(pin!(self.end.taken()), pin!(work)).await {
            Either::Left(((), _)) => Ok(Verdict::Passed),
            Either::Right((outcome, _)) => outcome,
        }
    }

    /// Has a box whose gate has passed run one job; or follows the runner that an earlier process started there.
    pub(crate) async fn serve(&self, lane: &Lane<'_>, link: &Link) -> Result<Verdict, Refusal> {
        let mut before = in_box(lane);
        let Some(runner) = before.pop() else {
            return Err(Refusal::new("the plan of a runner's box has no runner program"));
        };
        if has_begun(lane, link, &runner.check).await.map_err(Refusal::new)? {
            self.tell(Happened::Runs(self.label.clone()));
            return Box::pin(checks(lane, link, vec![runner])).await;
        }
        let verdict = Box::pin(checks(lane, link, before)).await?;
        if verdict != Verdict::Passed {
            return Ok(verdict);
        }
        self.tell(Happened::Ready(self.label.clone()));
        self.permit.taken().await;
        let configuration = self.configuration(lane).await;
        self.tell(Happened::Runs(self.label.clone()));
        // Nothing of the operator's but this goes to the runner.
        let world = World {
            environment: [(CONFIG_VARIABLE.to_owned(), configuration)].into(),
            ..lane.world.clone()
        };
        let lane = Lane {
            world: &world,
            ..*lane
        };
        Box::pin(checks(&lane, link, vec![runner])).await
    }

    /// Asks the service until it has one. A name that has a job was given to a box before, which has died.
    async fn configuration(&self, lane: &Lane<'_>) -> String {
        let mut attempt = 0;
        loop {
            match self.jobs.configure(&self.name()).await {
                Ok(configuration) => return configuration,
                Err(ServiceError::Taken) => drop(self.names.fetch_add(1, Ordering::Relaxed)),
                Err(ServiceError::Away(why)) if attempt == 0 => {
                    lane.notice(format!("box {} waits for its configuration: {why}", self.label));
                }
                Err(ServiceError::Away(_)) => {}
            }
            attempt += 1;
            lane.world.clock.sleep(pause(attempt)).await;
        }
    }

    /// Asks the service to give the runner no job any more.
    pub(crate) async fn remove(&self) -> Result<Removal, ServiceError> {
        self.jobs.remove(&self.name()).await
    }

    /// Takes the registration of a box back that is gone. The service drops it by itself, later, where that fails.
    pub(crate) async fn give_back(&self, world: &World) {
        drop(within(world, GIVE_BACK_MAX, self.remove()).await);
    }

    /// Returns the name under which the box is registered: its label, and a number where that is not the first.
    fn name(&self) -> String {
        match self.names.load(Ordering::Relaxed) {
            1 => self.label.to_string(),
            number => format!("{}.{number}", self.label),
        }
    }

    fn tell(&self, happened: Happened) {
        // Nobody listens any more when all is over.
        drop(self.said.unbounded_send(happened));
    }
}

/// Returns the label of the box that is registered under a name.
pub(crate) fn label_of(name: &str) -> Option<Label> {
    Label::new(name.split('.').next()?).ok()
}
