//! `twolane test --watch`: follows the files that are sent to the box, and runs again when one of them has changed.

use std::{
    cell::RefCell,
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
};

use engine::Link;
use model::{
    error::RemoteError,
    event::{Event, EventRecord},
    plan::Plan,
    watch::{Input, What, Why},
    world::{Events, Stop},
};
use parking_lot::Mutex;
use remote::{Followed, Follower};
use tokio::{
    sync::mpsc::{UnboundedSender, unbounded_channel},
    task::spawn_blocking,
};

use super::{
    drive::{Loop, drive},
    once::Wanted,
};
use crate::{
    clock::Clock,
    command::boxes::{RunOnBox, held},
    exit::Exit,
    keys::Keys,
    paths::Paths,
    problem::{Problem, Result},
    project,
    show::problem::show,
    signals::Signals,
    world::{Shared, journal},
};

/// Runs, and runs again, until the user leaves or the box goes. What the last whole run came to is what all comes to.
pub(super) async fn run(wanted: &Wanted<'_>, paths: &Paths) -> Result {
    let style = wanted.context.style;
    let said = RefCell::default();
    let Some(first) = Watching::plan(wanted, What::Asked, &said).await? else {
        style.result("everything passed last time");
        return Ok(Exit::Passed);
    };
    let (tell, mut inputs) = unbounded_channel();
    let shared = Shared::open(wanted.context, paths)?;
    let link = Link::at(&first.machine);
    let follower = follow(wanted, paths, &first.plan, &tell)?;
    if let Some(why) = &follower.polled {
        style.message(&format!("note: {why}"));
    }
    ends(paths, &first.plan, &shared, &tell)?;
    let keys = Keys::read(move |key| {
        if let Some(input) = meaning(key) {
            let _ = tell.send(input);
        }
    });
    let watching = Watching {
        wanted,
        paths,
        shared,
        link,
        follower: Arc::new(Mutex::new(follower)),
        said,
        first: RefCell::new(Some(first)),
        outcome: RefCell::new(Ok(Exit::Passed)),
        has_keys: keys.is_some(),
    };
    let why = drive(&watching, &mut inputs).await;
    drop(keys);
    let outcome = watching.outcome.into_inner();
    match why {
        Why::Quit | Why::Gone => outcome,
        Why::Interrupted => Ok(Exit::Interrupted),
        Why::Deadline => {
            let label = &wanted.label;
            style.message(&format!(
                "the deadline of box {label} has come: twolane watches no longer"
            ));
            outcome
        }
    }
}

/// Has the loop hear of the user's signal and of the box's deadline.
fn ends(paths: &Paths, plan: &Plan, shared: &Shared, tell: &UnboundedSender<Input>) -> Result<()> {
    let (stop, to) = (shared.stop.clone(), tell.clone());
    tokio::spawn(async move {
        stop.asked().await;
        let _ = to.send(Input::Over(Why::Interrupted));
    });
    // One of its own: what runs lock, they let go of at their end.
    let journal = journal(paths)?;
    let (lane, to) = (plan.lanes.first().cloned(), tell.clone());
    tokio::spawn(async move {
        if let Some(lane) = lane {
            engine::deadline(&*journal, &Clock, (&lane.label, lane.ttl)).await;
            let _ = to.send(Input::Over(Why::Deadline));
        }
    });
    Ok(())
}

fn follow(
    wanted: &Wanted<'_>,
    paths: &Paths,
    plan: &Plan,
    tell: &UnboundedSender<Input>,
) -> Result<Follower> {
    let trees = plan
        .sources
        .iter()
        .map(|source| source.path.clone().into_std_path_buf());
    let project = paths.project.as_ref().unwrap_or(&wanted.context.dir);
    let followed = Followed {
        trees: trees.collect(),
        file: project.join(project::FILE).into_std_path_buf(),
        left_out: paths.state.clone().into_std_path_buf(),
    };
    let tell = tell.clone();
    let report = move || {
        let _ = tell.send(Input::Touched);
    };
    Follower::start(followed, report).map_err(cannot_follow)
}

fn cannot_follow(error: RemoteError) -> Problem {
    Problem::infrastructure("could not follow the sources").because(error)
}

fn meaning(key: u8) -> Option<Input> {
    match key {
        b'q' | b'Q' => Some(Input::Over(Why::Quit)),
        b'\r' | b'\n' => Some(Input::Wanted(What::All)),
        b'f' | b'F' => Some(Input::Wanted(What::Failed)),
        _ => None,
    }
}

/// The loop, and what it keeps from one run to the next.
struct Watching<'a> {
    wanted: &'a Wanted<'a>,
    paths: &'a Paths,
    shared: Shared,
    link: Link,
    follower: Arc<Mutex<Follower>>,
    /// Notes that need not be repeated.
    said: RefCell<BTreeSet<String>>,
    /// The first run's plan.
    first: RefCell<Option<RunOnBox>>,
    /// What the last whole run came to.
    outcome: RefCell<Result<Exit>>,
    has_keys: bool,
}

impl Watching<'_> {
    /// Plans a run. Where only what did not pass is asked for all along and everything has passed, all of it runs.
    async fn plan(
        wanted: &Wanted<'_>,
        what: What,
        said: &RefCell<BTreeSet<String>>,
    ) -> Result<Option<RunOnBox>> {
        let mut known = said.take();
        let mut planned = wanted.plan(what, &mut known).await;
        if what == What::Asked && matches!(planned, Ok(None)) {
            planned = wanted.plan(What::All, &mut known).await;
        }
        said.replace(known);
        planned
    }

    async fn once(&self, what: What, stop: &Signals) -> Result<()> {
        let first = self.first.take();
        let planned = match first {
            Some(first) => Some(first),
            None => Self::plan(self.wanted, what, &self.said).await?,
        };
        let Some(on) = planned else {
            self.wanted.context.style.message("everything passed last time");
            return Ok(());
        };
        let stop: Arc<dyn Stop> = Arc::new(stop.clone());
        let user = self.shared.stop.clone();
        let shared = self.shared.stopped_by(stop.clone());
        let mut watched = on.open_beside(shared, self.wanted.context)?;
        watched.world.events = Arc::new(OutOfDate {
            events: watched.world.events.clone(),
            user: user.clone(),
        });
        let verdict = self.wanted.carry_out(&on, &watched, &self.link).await?;
        // Of what was stopped there is nothing to show.
        if !stop.is_asked() || user.is_asked() {
            let exit = self.wanted.show(&on, &watched, verdict)?;
            *self.outcome.borrow_mut() = Ok(exit);
        }
        Ok(())
    }

    /// Shows a problem. It ends the loop where the box is the problem; others may be fixed meanwhile.
    async fn survive(&self, problem: Problem) -> Option<Why> {
        let is_there = match journal(self.paths) {
            Ok(journal) => held(&*journal, &self.wanted.label).await.is_ok(),
            Err(_) => true,
        };
        if !is_there {
            *self.outcome.borrow_mut() = Err(problem);
            return Some(Why::Gone);
        }
        let exit = show(self.wanted.context.style, &problem);
        *self.outcome.borrow_mut() = Ok(exit);
        None
    }
}

impl Loop for Watching<'_> {
    async fn run(&self, what: What, stop: Signals) -> Option<Why> {
        match self.once(what, &stop).await {
            Ok(()) => None,
            Err(problem) => self.survive(problem).await,
        }
    }

    async fn look(&self) -> bool {
        let follower = self.follower.clone();
        let looked = spawn_blocking(move || follower.lock().look()).await;
        let style = self.wanted.context.style;
        match looked {
            Ok(Ok(changed)) => {
                if let Some(text) = in_words(&changed, self.wanted.context.dir.as_std_path()) {
                    style.message(&format!("changed: {text}"));
                }
                !changed.is_empty()
            }
            Err(_) => false,
            // A tree that is gone for a moment comes again.
            Ok(Err(error)) => {
                show(style, &cannot_follow(error));
                false
            }
        }
    }

    fn wait(&self) {
        let files = self.follower.lock().count();
        let how = match self.has_keys {
            true => "enter runs all, f what failed, q quits",
            false => "Ctrl-C ends it",
        };
        let text = format!("watching {files} files: {how}");
        self.wanted.context.style.message(&text);
    }
}

/// Names what has changed, as seen from here.
fn in_words(changed: &BTreeSet<PathBuf>, here: &Path) -> Option<String> {
    let first = changed.first()?;
    let first = first.strip_prefix(here).unwrap_or(first).display();
    Some(match changed.len() - 1 {
        0 => first.to_string(),
        more => format!("{first} and {more} more"),
    })
}

/// Passes events on. What stops a run that is out of date is not the user.
struct OutOfDate {
    events: Arc<dyn Events>,
    user: Arc<dyn Stop>,
}

impl Events for OutOfDate {
    fn emit(&self, mut record: EventRecord) {
        if record.event == Event::Interrupted && !self.user.is_asked() {
            let text = "stopped: it is out of date".to_owned();
            record.event = Event::Notice { text };
        }
        self.events.emit(record);
    }
}
