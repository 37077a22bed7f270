//! `twolane logs`: the console, what cloud-init wrote, or what a check or a unit wrote.

use std::time::Duration;

use engine::open::{piece, tool};
use model::{
    config,
    error::RemoteError,
    event::Event,
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

/// How much of it is read at once, in bytes.
const JOURNAL_MAX: usize = 16 << 20;
/// What stands before the place in the journal from which to go on.
const CURSOR_MARK: &str = "-- cursor: ";
/// What the box's tool says before the units that there are.
const NO_UNIT: &str = "no such unit; there are:";
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
            .run(
                world,
                &tool(["journal", name, UNIT_LINES, &cursor]).answering(JOURNAL_MAX),
            )
            .await
            .map_err(|error| cannot_show(name, error))?;
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

/// Says why a unit's journal could not be shown; the box names its units where there is none of that name.
fn cannot_show(name: &str, error: RemoteError) -> Problem {
    match &error {
        RemoteError::Command { output, .. } => match output.split_once(NO_UNIT) {
            Some((_, units)) => Problem::usage(format!("could not find the unit `{name}`"))
                .because("the box has none of that name")
                .help(format!("its units are: {}", units.trim())),
            None => error.into(),
        },
        _ => error.into(),
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
        let question = piece(["follow", run.as_str(), &slug, &offset.to_string(), wait]);
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

/// Finds the last run on that box in which a check of that name began; else the last that planned it.
fn find_check(paths: &Paths, held: &Held, name: &str) -> Result<(RunId, String)> {
    let planned_in = |run: &RunId| {
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
    let planned: Vec<(RunId, String)> = runs(paths)
        .into_iter()
        .rev()
        .filter_map(|run| Some((run.clone(), planned_in(&run)?)))
        .collect();
    let found = planned
        .iter()
        .find(|(run, slug)| has_begun(paths, run, slug))
        .or(planned.first())
        .cloned();
    found.ok_or_else(|| {
        Problem::usage(format!(
            "could not find a check `{name}` of box {}",
            held.tags.label
        ))
        .because("no run on that box has one")
    })
}

fn has_begun(paths: &Paths, run: &RunId, slug: &str) -> bool {
    let events = record::read_event_records(&paths.run(run)).unwrap_or_default();
    events
        .iter()
        .any(|record| matches!(&record.event, Event::CheckBegan { check } if check == slug))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_that_is_not_there_is_answered_with_those_that_are() {
        let output = format!("twolane-box: {NO_UNIT} mvmd-agent.service ssh.service");
        let problem = cannot_show(
            "nosuch",
            RemoteError::Command {
                command: "twolane-box journal nosuch".to_owned(),
                how: "exit code 2".to_owned(),
                output,
            },
        );
        assert_eq!(problem.exit, Exit::Usage);
        assert_eq!(
            problem.help.as_deref(),
            Some("its units are: mvmd-agent.service ssh.service")
        );
    }

    #[test]
    fn a_check_began_in_the_run_whose_events_say_so() {
        let temp = tempfile::tempdir().unwrap();
        let paths = Paths::find(camino::Utf8Path::from_path(temp.path())).unwrap();
        let run = RunId::new("20260102-030405-aaaa").unwrap();
        assert!(!has_begun(&paths, &run, "test"));
        std::fs::create_dir_all(paths.run(&run)).unwrap();
        let began =
            r#"{"v":1,"at":"2026-01-02T03:04:05Z","lane":"live","event":"check-began","check":"test"}"#;
        std::fs::write(paths.run(&run).join(record::EVENTS), began).unwrap();
        assert!(has_begun(&paths, &run, "test"));
        assert!(!has_begun(&paths, &run, "lint"));
    }
}
