//! Stage 2: brings to the box what builds, installs and starts the project's software there, and follows it to its end.
//! It runs in a unit of its own, like a check: a lost connection loses nothing.

use std::time::Duration;

use model::{
    check::Outcome,
    error::RemoteError,
    event::{Event, Step},
    follow::{Header, State},
    limits::show_bytes,
    render::post_deploy::{File, bundle, check_files, command, deploy_files},
    world::Command,
};

use crate::{
    begun::is_listed,
    lane::{Lane, Refusal},
    link::Link,
    open::{piece, tool},
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

/// How much of its output is kept, in bytes: its end. A build that says everything twice writes 1 MB.
const OUTPUT_MAX: usize = 4 << 20;

/// How many of its lines are reported as they come, and how much of each: a build script may write without end.
const LINES_REPORTED: usize = 20_000;
const LINE_MAX: usize = 500;

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
    if let Err(why) = lane.world.files.write(&path, &progress.log()).await {
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
        let answer = link.run(lane.world, &piece(question)).await?;
        let (header, output) =
            Header::split(&answer, offset).map_err(|error| RemoteError::Lost(error.to_string()))?;
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

/// What the box has written so far.
#[derive(Default)]
struct Progress {
    /// The end of it.
    output: Vec<u8>,
    /// How many bytes of the beginning are left out.
    left_out: u64,
    /// The line that has no end yet.
    line: Vec<u8>,
    lines: usize,
}

impl Progress {
    /// Takes a piece of output, and returns the lines that are whole now: not all of very many.
    fn take(&mut self, piece: &[u8]) -> Vec<String> {
        self.output.extend_from_slice(piece);
        if self.output.len() > 2 * OUTPUT_MAX {
            let surplus = self.output.len() - OUTPUT_MAX;
            self.output.drain(..surplus);
            self.left_out += surplus as u64;
        }
        let mut lines = Vec::new();
        for &byte in piece {
            match byte {
                b'\n' => lines.extend(self.end_line()),
                _ if self.line.len() < LINE_MAX => self.line.push(byte),
                _ => {}
            }
        }
        lines
    }

    fn end_line(&mut self) -> Option<String> {
        let line = std::mem::take(&mut self.line);
        let line = String::from_utf8_lossy(&line).trim().to_owned();
        self.lines += usize::from(!line.is_empty());
        (!line.is_empty() && self.lines <= LINES_REPORTED).then_some(line)
    }

    /// Returns what is kept of the output; where it is cut, it says so.
    fn log(&self) -> Vec<u8> {
        let mut log = match self.left_out {
            0 => Vec::new(),
            bytes => format!("[the beginning, {}, is left out]\n", show_bytes(bytes)).into_bytes(),
        };
        log.extend_from_slice(&self.output);
        log
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
        assert_eq!(progress.log(), b"== build\n   Compiling a\n\n");
    }

    #[test]
    fn output_without_end_is_cut_and_said() {
        let mut progress = Progress::default();
        let piece = b"a line of a build script\n".repeat(40_000);
        let reported: usize = (0..40).map(|_| progress.take(&piece).len()).sum();
        assert_eq!(reported, LINES_REPORTED);
        assert!(progress.output.len() <= 2 * OUTPUT_MAX);
        assert!(progress.log().starts_with(b"[the beginning, "));
        progress.take(&vec![b'x'; 1 << 20]);
        assert_eq!(progress.line.len(), LINE_MAX);
    }
}
