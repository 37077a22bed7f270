//! `twolane logs`: the console, what cloud-init wrote, or what a check or a unit wrote.

use std::time::Duration;

use engine::open::tool;
use model::{
    config,
    follow::{Header, State},
    journal::Held,
    name::RunId,
    report::Report,
    world::{Command, World},
};

use super::boxes;
use crate::{
    args::LogsArgs,
    context::Context,
    exit::Exit,
    paths::Paths,
    problem::{Problem, Result},
    show::{
        clean::Lines,
        record::{self, runs},
        stream,
    },
    world::{Watched, block_on},
};

/// How often a log is looked at that grows.
const PAUSE: Duration = Duration::from_millis(500);
/// How long one question for a check's output may wait on the box, in seconds.
const POLL_SECONDS: &str = "10";
/// How many lines of a unit's journal are shown at first.
const UNIT_LINES: &str = "200";
/// What stands before the place in the journal from which to go on.
const CURSOR_MARK: &str = "-- cursor: ";
/// What cloud-init wrote, all of it.
const CLOUD_INIT: &str = "/var/log/cloud-init-output.log";

/// Shows the log.
pub(crate) fn run(context: &Context, args: &LogsArgs) -> Result {
    let paths = context.paths()?;
    block_on(async {
        let watched = Watched::open(
            context,
            &paths,
            &config::Local::default(),
            None,
            Report::default(),
        )?;
        let world = &watched.world;
        boxes::notice_unfinished(context, &paths, &*world.journal).await?;
        let held = boxes::held(&*world.journal, &args.label).await?;
        let mut out = Out {
            context,
            lines: Lines::default(),
        };
        let showing = async {
            match &args.which {
                which if which.console => console(world, &held, args.follow, &mut out).await,
                which => match (&which.check, &which.unit) {
                    (Some(name), _) => check(world, &paths, held, name, args.follow, &mut out).await,
                    (None, Some(name)) => unit(world, held, name, args.follow, &mut out).await,
                    (None, None) => cloud_init(world, held, args.follow, &mut out).await,
                },
            }
        };
        let outcome = tokio::select! {
            outcome = showing => outcome,
            () = world.stop.asked() => Ok(()),
        };
        watched.finish();
        outcome?;
        out.finish();
        Ok(Exit::Passed)
    })
}

/// Where a log is written to, made harmless.
struct Out<'a> {
    context: &'a Context,
    lines: Lines,
}

impl Out<'_> {
    fn write(&mut self, bytes: &[u8]) {
        let lines = self.lines.take(bytes);
        if !lines.is_empty() {
            self.show(&lines.join("\n"));
        }
    }

    fn finish(&mut self) {
        if let Some(line) = self.lines.finish() {
            self.show(&line);
        }
    }

    fn show(&self, text: &str) {
        if self.context.style.is_json {
            text.lines().for_each(|line| self.context.style.line(&line));
        } else {
            self.context.style.result(text);
        }
    }
}

async fn console(world: &World, held: &Held, is_followed: bool, out: &mut Out<'_>) -> Result<()> {
    let name = &held.candidate.provider;
    let console = world
        .providers
        .get(name)
        .and_then(|provider| provider.console())
        .ok_or_else(|| Problem::usage("could not read the console").because(format!("{name} shows none")))?;
    let mut shown = 0;
    loop {
        let text = console.console(&held.tags.label).await?;
        // A provider that keeps only the last part shows less than before once it has cut it.
        shown = shown.min(text.len());
        out.write(&text[shown..]);
        shown = text.len();
        if !is_followed || stream::is_closed() {
            return Ok(());
        }
        world.clock.sleep(PAUSE).await;
    }
}

async fn cloud_init(world: &World, held: Held, is_followed: bool, out: &mut Out<'_>) -> Result<()> {
    let link = boxes::reach(world, &boxes::machine(held)?).await?;
    let mut shown = 0_usize;
    loop {
        let from = format!("+{}", shown + 1);
        let text = link
            .run(world, &Command::new(["tail", "-c", &from, CLOUD_INIT]))
            .await?;
        out.write(&text);
        shown += text.len();
        if !is_followed || stream::is_closed() {
            return Ok(());
        }
        world.clock.sleep(PAUSE).await;
    }
}

/// Shows the journal of a unit, from its last lines on.
async fn unit(world: &World, held: Held, name: &str, is_followed: bool, out: &mut Out<'_>) -> Result<()> {
    let link = boxes::reach(world, &boxes::machine(held)?).await?;
    let mut cursor = String::new();
    loop {
        let answer = link
            .run(world, &tool(["journal", name, UNIT_LINES, &cursor]))
            .await?;
        let text = String::from_utf8_lossy(&answer);
        let (lines, last) = text.rsplit_once(CURSOR_MARK).unwrap_or((&text, &cursor));
        out.write(lines.as_bytes());
        if !is_followed || stream::is_closed() {
            return Ok(());
        }
        cursor = last.trim().to_owned();
        world.clock.sleep(PAUSE).await;
    }
}

async fn check(
    world: &World,
    paths: &Paths,
    held: Held,
    name: &str,
    is_followed: bool,
    out: &mut Out<'_>,
) -> Result<()> {
    let (run, slug) = find_check(paths, &held, name)?;
    let link = boxes::reach(world, &boxes::machine(held)?).await?;
    let mut offset = 0;
    loop {
        let wait = if is_followed { POLL_SECONDS } else { "0" };
        let question = tool(["follow", run.as_str(), &slug, &offset.to_string(), wait]);
        let answer = link.run(world, &question).await?;
        let (header, bytes) = Header::split(&answer, offset)
            .map_err(|error| Problem::infrastructure("could not follow the check").because(error))?;
        offset = header.next_offset();
        out.write(bytes);
        let is_over = match header.state {
            State::Running => !is_followed && offset >= header.size,
            State::Ended | State::Lost => true,
        };
        if is_over || stream::is_closed() {
            return Ok(());
        }
    }
}

/// Finds the last run on that box with a check of that name.
fn find_check(paths: &Paths, held: &Held, name: &str) -> Result<(RunId, String)> {
    let slug_in = |run: &RunId| {
        let plan = record::read_plan(&paths.run(run)).ok()?;
        let lane = plan
            .lanes
            .into_iter()
            .find(|lane| lane.label == held.tags.label)?;
        let check = lane
            .checks
            .into_iter()
            .find(|check| check.name == name || check.slug == name)?;
        Some(check.slug)
    };
    let found = runs(paths)
        .into_iter()
        .rev()
        .find_map(|run| Some((run.clone(), slug_in(&run)?)));
    found.ok_or_else(|| {
        Problem::usage(format!(
            "could not find a check `{name}` of box {}",
            held.tags.label
        ))
        .because("no run on that box has one")
    })
}
