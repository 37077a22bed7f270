//! Stage 2: brings to the box what builds, installs and starts the project's software there, and follows it to its end.
//! It runs in a unit of its own, like a check: a lost connection loses nothing.

use std::time::Duration;

use model::{
    check::Outcome,
    error::RemoteError,
    event::{Event, Step},
    follow::{Header, State},
    render::post_deploy::{File, bundle, check_files, command, deploy_files},
    world::Command,
};

use crate::{
    checks::is_listed,
    lane::{Lane, Refusal},
    link::Link,
    open::tool,
    time::Limit,
};

/// How long stage 2 may take: an emulated box that builds everything needs a good part of it.
const DEPLOY_MAX: Duration = Duration::from_secs(90 * 60);

/// How long past its time limit it may still be reported as running.
const GRACE: Duration = Duration::from_secs(120);

/// How long one question for output may wait on the box, in seconds.
const POLL_SECONDS: &str = "20";

/// Its name among what runs on the box.
const NAME: &str = "deploy";

/// The lines of a failed step that are progress.
const LINES_MAX: usize = 60;

/// Begins the line with which the box names a step.
const STEP_MARK: &str = "== ";

/// Brings what a person on the box needs to repeat the lane's checks.
pub(crate) async fn hand_over(lane: &Lane<'_>, link: &Link) -> Result<(), Refusal> {
    send(lane, link, &check_files(lane.plan, lane.lane)).await
}

/// Builds, installs and starts the project's software on a box that has the sources; or finds that being done.
pub(crate) async fn deploy(lane: &Lane<'_>, link: &Link, has_new_secret: bool) -> Result<(), Refusal> {
    lane.step(Step::Deploy, carried_out(lane, link, has_new_secret))
        .await
}

/// Ends a deploy that nobody follows any more. It can be repeated at any time.
pub(crate) async fn stop(lane: &Lane<'_>, link: &Link) -> Result<(), RemoteError> {
    link.run(lane.world, &tool(["stop", &id(lane), NAME]))
        .await
        .map(drop)
}

/// Returns whether this run has begun stage 2 on the box before: the sources that it builds must stay as they are then.
pub(crate) async fn has_begun(lane: &Lane<'_>, link: &Link) -> bool {
    lane.lane.has_deploy && is_listed(lane, link, &id(lane)).await
}

/// What is followed of one run, apart from its checks: a check may be called the same.
fn id(lane: &Lane<'_>) -> String {
    format!("{}-stage2", lane.plan.run)
}

async fn carried_out(lane: &Lane<'_>, link: &Link, has_new_secret: bool) -> Result<(), Refusal> {
    let mut files = deploy_files(lane.plan);
    files.extend(check_files(lane.plan, lane.lane));
    send(lane, link, &files).await?;
    let limit = DEPLOY_MAX.as_secs().to_string();
    let command = format!("{}\n", command(has_new_secret));
    let bytes = command.len().to_string();
    let start = tool(["start-as-root", &id(lane), NAME, &limit, &bytes, "/"]).with_stdin(command);
    link.run(lane.world, &start).await.map_err(of_remote)?;
    let mut progress = Progress::default();
    let outcome = follow(lane, link, &mut progress).await.map_err(of_remote)?;
    let path = lane.dir().join("deploy.log");
    if let Err(why) = lane.world.files.write(&path, &progress.output).await {
        lane.notice(why);
    }
    match outcome {
        Outcome::Passed => Ok(()),
        outcome => Err(progress.refusal(&outcome, lane)),
    }
}

async fn send(lane: &Lane<'_>, link: &Link, files: &[File]) -> Result<(), Refusal> {
    let write = Command::new(["bash", "-s"]).with_stdin(bundle(files));
    link.run(lane.world, &write).await.map(drop).map_err(of_remote)
}

/// Says that stage 2 could not even be carried out.
fn of_remote(error: RemoteError) -> Refusal {
    Refusal::new(format!("stage 2 could not be carried out: {error}"))
}

async fn follow(lane: &Lane<'_>, link: &Link, progress: &mut Progress) -> Result<Outcome, RemoteError> {
    let end = Limit::after(&*lane.world.clock, DEPLOY_MAX + GRACE);
    let mut offset = 0;
    loop {
        let question = ["follow", &id(lane), NAME, &offset.to_string(), POLL_SECONDS].map(str::to_owned);
        let answer = link.run(lane.world, &tool(question)).await?;
        let (header, output) =
            Header::split(&answer).map_err(|error| RemoteError::Lost(error.to_string()))?;
        for message in progress.take(output) {
            lane.emit(Event::StepProgress {
                step: Step::Deploy,
                message,
                amount: None,
            });
        }
        offset = header.next_offset();
        if header.state != State::Running
            && let Some(outcome) = header.outcome()
        {
            return Ok(outcome);
        }
        if end.is_over(&*lane.world.clock) {
            stop(lane, link).await?;
            return Ok(Outcome::TimedOut);
        }
    }
}

/// What the box has progress so far.
#[derive(Default)]
struct Progress {
    output: Vec<u8>,
    /// How much of it was progress in whole lines.
    lines_end: usize,
}

impl Progress {
    /// Takes a piece of output, and returns the lines that are whole now.
    fn take(&mut self, piece: &[u8]) -> Vec<String> {
        self.output.extend_from_slice(piece);
        let fresh = &self.output[self.lines_end..];
        let length = fresh
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |at| at + 1);
        self.lines_end += length;
        String::from_utf8_lossy(&fresh[..length])
            .lines()
            .map(|line| line.trim().to_owned())
            .filter(|line| !line.is_empty())
            .collect()
    }

    /// Says what went wrong, in the words of the step that failed.
    fn refusal(&self, outcome: &Outcome, lane: &Lane<'_>) -> Refusal {
        let text = String::from_utf8_lossy(&self.output);
        let lines: Vec<&str> = text.lines().collect();
        let at = lines.iter().rposition(|line| line.starts_with(STEP_MARK));
        let step = at.map_or("begin", |at| lines[at].trim_start_matches(STEP_MARK));
        let own = &lines[at.map_or(0, |at| at + 1)..];
        let own: Vec<&str> = own
            .iter()
            .copied()
            .filter(|line| !line.starts_with("failed: "))
            .collect();
        let end = own[own.len().saturating_sub(LINES_MAX)..].join("\n");
        let how = match outcome.reason() {
            None if *outcome == Outcome::TimedOut => {
                format!(" after {} minutes", DEPLOY_MAX.as_secs() / 60)
            }
            None => String::new(),
            Some(_) if outcome.is_failure() => String::new(),
            Some(why) => format!(": {why}"),
        };
        Refusal::new(format!("stage 2 failed at {step}{how}\n{end}")).help(format!(
            "fix it, and `twolane deploy {}` goes on from there while the box lives",
            lane.lane.label
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_lines_are_reported_and_nothing_is_lost() {
        let mut progress = Progress::default();
        assert_eq!(progress.take(b"== build\n   Comp"), ["== build"]);
        assert_eq!(progress.take(b"iling a\n\n"), ["Compiling a"]);
        assert_eq!(progress.output, b"== build\n   Compiling a\n\n");
    }
}
