//! `twolane runner status`: the runners of this machine, their boxes, and what those have cost today.

use std::io;

use engine::runner::{caps::spent_today, lock, pool::Standing};
use model::{
    candidate::Candidate,
    config,
    jobs::project,
    journal::Holdings,
    money::Money,
    name::{Label, RunId},
    time::{Deadline, Timestamp},
    world::Journal as _,
};
use serde::{Deserialize, Serialize};

use crate::{
    context::Context,
    exit::Exit,
    paths::Paths,
    planning,
    problem::{Problem, Result},
    show::record::write_whole,
    world::{block_on, journal, providers},
};

/// What the name of a runner's file begins with.
const FILE: &str = "runner-";

/// What a runner last said of itself.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Said {
    at: Timestamp,
    jobs: usize,
    starting: usize,
    waiting: usize,
    busy: usize,
    ending: usize,
    left: usize,
}

/// Writes how a runner stands, for whoever asks.
pub(super) fn write(paths: &Paths, name: &str, standing: Standing) -> io::Result<()> {
    let said = Said {
        at: Timestamp::now(),
        jobs: standing.assigned,
        starting: standing.starting,
        waiting: standing.idle,
        busy: standing.busy,
        ending: standing.ending,
        left: standing.left,
    };
    let path = paths.state.join(format!("{FILE}{name}.json"));
    write_whole(&path, &serde_json::to_vec(&said)?)
}

#[derive(Serialize)]
struct Document {
    runners: Vec<Status>,
}

/// One runner.
#[derive(Serialize)]
struct Status {
    name: String,
    is_running: bool,
    /// What it last said of itself, while it runs.
    said: Option<Said>,
    boxes: Vec<BoxStatus>,
    /// What the boxes that are gone have cost since midnight UTC.
    spent_today: Vec<String>,
}

#[derive(Serialize)]
struct BoxStatus {
    label: Label,
    run: RunId,
    deadline: Deadline,
}

/// Shows them.
pub(super) fn run(context: &Context) -> Result {
    let paths = context.paths()?;
    let names = names(&paths)?;
    let runners = match names.is_empty() {
        true => Vec::new(),
        false => block_on(async { all(&paths, names).await })?,
    };
    if context.style.is_json {
        context.style.document(&Document { runners });
        return Ok(Exit::Passed);
    }
    if runners.is_empty() {
        context
            .style
            .result("no runner has been started with this state directory");
    }
    for runner in &runners {
        context.style.result(&text(runner));
    }
    Ok(Exit::Passed)
}

/// Returns the runners that have ever been started here.
fn names(paths: &Paths) -> Result<Vec<String>> {
    let entries = match paths.state.read_dir_utf8() {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => {
            return Err(Problem::infrastructure(format!("could not read {}", paths.state)).because(error));
        }
    };
    let names = entries.filter_map(|entry| {
        let entry = entry.ok()?;
        let name = entry.file_name().strip_prefix(FILE)?.strip_suffix(".json")?;
        Some(name.to_owned())
    });
    let mut names: Vec<String> = names.collect();
    names.sort();
    Ok(names)
}

async fn all(paths: &Paths, names: Vec<String>) -> Result<Vec<Status>> {
    let journal = journal(paths)?;
    let entries = journal.entries().await?;
    let holdings = Holdings::fold(&entries);
    let providers = providers(paths, &config::Local::default())?;
    let price = |candidate: &Candidate| planning::price(candidate, &providers);
    let mut runners = Vec::new();
    for name in names {
        let is_running = match lock(&name) {
            Ok(lock) => journal.is_held(&lock).await?,
            Err(_) => continue,
        };
        let of = project(&name);
        let boxes = holdings.boxes_of_project(&of).map(|(label, held)| BoxStatus {
            label: label.clone(),
            run: held.run.clone(),
            deadline: held.tags.deadline,
        });
        let spent = spent_today(&entries, &of, Timestamp::now(), price);
        runners.push(Status {
            is_running,
            said: read(paths, &name).filter(|_| is_running),
            boxes: boxes.collect(),
            spent_today: spent.iter().map(Money::to_string).collect(),
            name,
        });
    }
    Ok(runners)
}

fn read(paths: &Paths, name: &str) -> Option<Said> {
    let text = std::fs::read(paths.state.join(format!("{FILE}{name}.json"))).ok()?;
    serde_json::from_slice(&text).ok()
}

fn text(runner: &Status) -> String {
    let mut text = match (&runner.said, runner.is_running) {
        (Some(said), _) => format!(
            "runner {}: {} jobs; boxes: {} with a job, {} waiting, {} starting, {} ending; since {}",
            runner.name, said.jobs, said.busy, said.waiting, said.starting, said.ending, said.at
        ),
        (None, true) => format!("runner {} has just begun", runner.name),
        (None, false) => format!("runner {} is not running", runner.name),
    };
    for BoxStatus { label, run, deadline } in &runner.boxes {
        text += &format!(
            "\n  box {label}, until {} (twolane report {run})",
            deadline.moment()
        );
    }
    if !runner.spent_today.is_empty() {
        text += &format!(
            "\n  boxes that are gone have cost today: {}",
            runner.spent_today.join(", ")
        );
    }
    text
}
