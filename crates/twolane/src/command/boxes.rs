//! What commands about a box that exists have in common.

use std::{collections::BTreeSet, time::Duration};

use camino::Utf8PathBuf;
use engine::Link;
use model::{
    config,
    journal::{Held, Holdings},
    machine::Machine,
    name::{Label, RunId},
    plan::Plan,
    reap::orphans,
    report::Report,
    time::Timestamp,
    world::{Clock as _, Journal, Target, World},
};

use crate::{
    clock::Clock,
    context::Context,
    paths::Paths,
    problem::{Problem, Result},
    show::{record, skips},
    world::{Shared, Watched, cannot_write, journal},
};

/// How long a box is called.
const REACH_MAX: Duration = Duration::from_secs(60);

/// Returns what we may own.
pub(super) async fn holdings(journal: &dyn Journal) -> Result<Holdings> {
    Ok(Holdings::fold(&journal.entries().await?))
}

/// Returns what the journal says of that box.
pub(super) async fn held(journal: &dyn Journal, label: &Label) -> Result<Held> {
    let mut holdings = holdings(journal).await?;
    holdings
        .boxes
        .remove(label)
        .ok_or_else(|| no_such_box(&holdings, label.as_str()))
}

fn no_such_box(holdings: &Holdings, label: &str) -> Problem {
    let names: Vec<&str> = holdings.boxes.keys().map(Label::as_str).collect();
    let problem = Problem::usage(format!("could not find a box `{label}`"));
    if names.is_empty() {
        return problem.because("there is no box").help("twolane up makes one");
    }
    let problem = problem.because(format!("the boxes are: {}", names.join(", ")));
    match config::nearest(label, names.iter().copied()) {
        Some(name) => problem.help(format!("did you mean `{name}`?")),
        None => problem,
    }
}

/// Returns the label of the box that is meant where one may be left out, and the words that are no label. What the first
/// word does not name is the only box that is up.
pub(super) async fn label_and_rest(
    journal: &dyn Journal,
    first: Option<&str>,
    rest: &[String],
) -> Result<(Label, Vec<String>)> {
    let holdings = holdings(journal).await?;
    if let Some(label) = first.and_then(|first| holdings.boxes.keys().find(|label| label.as_str() == first)) {
        return Ok((label.clone(), rest.to_vec()));
    }
    let up = holdings.boxes.iter().filter(|(_, held)| held.machine.is_some());
    let up: Vec<&Label> = up.map(|(label, _)| label).collect();
    match (&up[..], first) {
        ([label], first) => {
            let words = first.into_iter().map(str::to_owned);
            Ok(((*label).clone(), words.chain(rest.iter().cloned()).collect()))
        }
        (_, Some(first)) => Err(no_such_box(&holdings, first)),
        ([], None) => Err(Problem::usage("could not find a box")
            .because("there is no box that is up")
            .help("twolane up makes one")),
        (several, None) => {
            let names: Vec<&str> = several.iter().map(|label| label.as_str()).collect();
            Err(Problem::usage("could not decide which box is meant")
                .because(format!("the boxes are: {}", names.join(", ")))
                .help(format!("name one: twolane test {}", names[0])))
        }
    }
}

/// Returns the machine of a box that is up.
pub(super) fn machine(held: Held) -> Result<Machine> {
    let label = held.tags.label;
    held.machine.ok_or_else(|| {
        Problem::infrastructure(format!("could not reach box {label}"))
            .because("it has no address yet, or was never made")
            .help(format!(
                "twolane ls shows where it stands; twolane down {label} destroys it"
            ))
    })
}

/// Connects to a box that is up. One that does not answer is given up soon: a person waits.
pub(super) async fn reach(world: &World, machine: &Machine) -> Result<Link> {
    let link = Link::to(Target::root_of(machine));
    link.connect(world, REACH_MAX).await.map_err(|error| {
        Problem::infrastructure(format!("could not reach box {}", machine.label))
            .because(error)
            .help(format!(
                "twolane logs {} --console shows what it does",
                machine.label
            ))
    })?;
    Ok(link)
}

/// Returns the plan of the run that the box was made for, with the box's lane alone.
pub(super) fn plan_of(paths: &Paths, held: &Held) -> Result<Plan> {
    let dir = paths.run(&held.run);
    let mut plan = record::read_plan(&dir).map_err(|error| {
        Problem::usage(format!("could not read the plan of run {}", held.run))
            .because(format!("{dir}: {error}"))
    })?;
    plan.lanes.retain(|lane| lane.label == held.tags.label);
    if plan.lanes.is_empty() {
        return Err(
            Problem::usage(format!("could not find the lane of box {}", held.tags.label))
                .because(format!("the plan of run {} has none with it", held.run)),
        );
    }
    Ok(plan)
}

/// Says in one line for each run which boxes a dead process left, and which command finishes them.
pub(super) async fn notice_unfinished(context: &Context, paths: &Paths, journal: &dyn Journal) -> Result<()> {
    for (run, labels) in unfinished(journal).await? {
        let names: Vec<&str> = labels.iter().map(Label::as_str).collect();
        let attach = if paths.run(&run).join(record::PLAN).exists() {
            format!("twolane attach {run} resumes it, ")
        } else {
            String::new()
        };
        context.style.message(&format!(
            "note: run {run} was cut off and its boxes may still be there: {}; {attach}twolane down {} destroys, and so \
             do twolane reap and the next twolane run",
            names.join(", "),
            names.first().copied().unwrap_or("--all")
        ));
    }
    Ok(())
}

/// Returns the boxes that a dead process left, by run.
pub(super) async fn unfinished(journal: &dyn Journal) -> Result<Vec<(RunId, Vec<Label>)>> {
    let holdings = holdings(journal).await?;
    let runs: BTreeSet<RunId> = holdings.boxes.values().map(|held| held.run.clone()).collect();
    let mut alive = BTreeSet::new();
    for run in &runs {
        if journal.is_held(run).await? {
            alive.insert(run.clone());
        }
    }
    let orphans = orphans(&holdings, &alive, |_| Timestamp::now());
    let of = |run: &RunId| -> Vec<Label> {
        orphans
            .iter()
            .filter(|(_, held)| held.run == *run)
            .map(|(label, _)| (*label).clone())
            .collect()
    };
    Ok(runs
        .iter()
        .map(|run| (run.clone(), of(run)))
        .filter(|(_, labels)| !labels.is_empty())
        .collect())
}

/// A run of its own on a box that exists: what an earlier run left there stays apart.
pub(super) struct RunOnBox {
    pub(super) paths: Paths,
    /// With the box's lane alone.
    pub(super) plan: Plan,
    pub(super) machine: Machine,
}

impl RunOnBox {
    /// Plans a new run on that box.
    pub(super) async fn plan(context: &Context, label: &Label) -> Result<Self> {
        let paths = context.paths()?;
        let journal = journal(&paths)?;
        notice_unfinished(context, &paths, &*journal).await?;
        let held = held(&*journal, label).await?;
        let mut plan = plan_of(&paths, &held)?;
        plan.run = RunId::generate(Timestamp::now(), Clock.random());
        let dir = paths.run(&plan.run);
        skips::copy_baseline(&paths.run(&held.run), &dir).map_err(|error| cannot_write(&dir, &error))?;
        let machine = machine(held)?;
        Ok(Self { paths, plan, machine })
    }

    /// Returns the directory of its results.
    pub(super) fn dir(&self) -> Utf8PathBuf {
        self.paths.run(&self.plan.run)
    }

    /// Records the plan, and opens the world to carry it out in.
    pub(super) fn open(&self, context: &Context) -> Result<Watched> {
        self.open_beside(Shared::open(context, &self.paths)?, context)
    }

    /// Does the same for one of several runs.
    pub(super) fn open_beside(&self, shared: Shared, context: &Context) -> Result<Watched> {
        let (dir, local) = (self.dir(), config::Local::default());
        let run = (Some(&*dir), Report::default());
        let watched = Watched::beside(shared, context, (&self.paths, &local), run)?;
        record::write_plan(&dir, &self.plan).map_err(|error| cannot_write(&dir, &error))?;
        Ok(watched)
    }
}
