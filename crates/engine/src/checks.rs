//! Runs a lane's checks, one after the other. Each has a unit of its own on the box, and is followed by offset:
//! a lost connection loses nothing, and a run whose client died is resumed where it stands.

use std::{collections::BTreeMap, time::Duration};

use model::{
    check::{Check, Outcome},
    error::RemoteError,
    event::{Event, Step},
    follow::{Header, State},
    limits::show_bytes,
    render::post_deploy::{bundle, check_command, trace_file},
    skips::traced_command,
    source::{Source, home_of},
    verdict::Verdict,
    world::Command,
};

use crate::{
    build::Prepared,
    lane::{Lane, Refusal},
    link::Link,
    open::{piece, tool},
    time::Limit,
};

/// How long one question for output may wait on the box, in seconds: under the time after which connections go stale.
const POLL_SECONDS: &str = "20";

/// How long past its time limit a check may still be reported as running: systemd asks it to end first.
const GRACE: Duration = Duration::from_secs(120);

/// Runs the lane's checks in order. Ends with the first failure, unless the plan goes on after failures.
pub(crate) async fn checks(lane: &Lane<'_>, link: &Link, checks: Vec<Prepared>) -> Result<Verdict, Refusal> {
    lane.step(Step::Checks, async {
        if checks.iter().any(|prepared| prepared.check.record().is_some()) {
            bring_tracer(lane, link).await?;
        }
        Ok(in_order(lane, link, &checks).await)
    })
    .await
}

async fn bring_tracer(lane: &Lane<'_>, link: &Link) -> Result<(), Refusal> {
    let write = Command::new(["bash", "-s"]).with_stdin(bundle(&[trace_file()]));
    let written = link.run(lane.world, &write).await;
    written.map(drop).map_err(|error| {
        Refusal::new(format!(
            "could not bring the tracer of the tests to the box: {error}"
        ))
    })
}

async fn in_order(lane: &Lane<'_>, link: &Link, checks: &[Prepared]) -> Verdict {
    let is_continued = lane.plan.is_continued || lane.lane.is_continued;
    let mut verdict = Verdict::Passed;
    let mut ended = BTreeMap::new();
    for prepared in checks {
        let check = &prepared.check;
        if verdict == Verdict::Failed && !is_continued && !check.always {
            ended.insert(check.name.as_str(), Outcome::NotRun);
            continue;
        }
        let (outcome, seconds) = match check.barred(&ended) {
            Some(why) => (Outcome::Skipped { why }, 0.0),
            None if prepared.mistakes.is_some() => (uncompiled(lane, prepared), 0.0),
            None => one(lane, link, check).await.unwrap_or_else(|error| {
                let why = error.to_string();
                (Outcome::Unknown { why }, 0.0)
            }),
        };
        lane.shards.ended(&lane.lane.name, &check.slug, &outcome);
        lane.emit(Event::CheckEnded {
            check: check.slug.clone(),
            outcome: outcome.clone(),
            seconds,
        });
        verdict = verdict.max(verdict_of(&outcome));
        if verdict >= Verdict::Infrastructure {
            break;
        }
        ended.insert(check.name.as_str(), outcome);
    }
    verdict
}

fn verdict_of(outcome: &Outcome) -> Verdict {
    match outcome {
        Outcome::Passed | Outcome::Skipped { .. } | Outcome::NotRun => Verdict::Passed,
        Outcome::Interrupted => Verdict::Interrupted,
        Outcome::Failed { .. } | Outcome::TimedOut => Verdict::Failed,
        Outcome::Unknown { .. } => Verdict::Infrastructure,
    }
}

/// Ends a check whose tests do not compile. What the compiler says of them is its output.
fn uncompiled(lane: &Lane<'_>, Prepared { check, mistakes }: &Prepared) -> Outcome {
    lane.emit(Event::CheckBegan {
        check: check.slug.clone(),
    });
    let output = mistakes.as_deref().unwrap_or_default().as_bytes();
    let room = usize::try_from(lane.plan.limits.log_bytes).unwrap_or(usize::MAX);
    if output.len() > room {
        lane.notice(too_long(lane, check));
    }
    lane.emit(Event::CheckOutput {
        check: check.slug.clone(),
        offset: 0,
        bytes: output[..room.min(output.len())].to_vec(),
    });
    let how = "its tests do not compile".to_owned();
    Outcome::Failed { how }
}

/// Starts a check, or finds it started, and follows it to its end.
async fn one(lane: &Lane<'_>, link: &Link, check: &Check) -> Result<(Outcome, f64), RemoteError> {
    let environment = match check.environment(|name| lane.world.environment.get(name).cloned()) {
        Ok(environment) => environment,
        // Whoever resumes a run need not have what its checks were started with.
        Err(_) if has_begun(lane, link, check).await? => return watch(lane, link, check).await,
        Err(name) => {
            let how = format!("{name}, which `env-from` names, is not set on this machine");
            return Ok((Outcome::Failed { how }, 0.0));
        }
    };
    let answer = link.run(lane.world, &start(lane, check, &environment)).await?;
    let answer = String::from_utf8_lossy(&answer).trim().to_owned();
    if let Some(why) = answer.strip_prefix("skipped ") {
        return Ok((Outcome::Skipped { why: why.to_owned() }, 0.0));
    }
    watch(lane, link, check).await
}

async fn watch(lane: &Lane<'_>, link: &Link, check: &Check) -> Result<(Outcome, f64), RemoteError> {
    lane.emit(Event::CheckBegan {
        check: check.slug.clone(),
    });
    follow(lane, link, check).await
}

/// Returns whether this run has started a check on the box before.
pub(crate) async fn has_begun(lane: &Lane<'_>, link: &Link, check: &Check) -> Result<bool, RemoteError> {
    let list = link
        .run(lane.world, &tool(["list", lane.plan.run.as_str()]))
        .await?;
    let list = String::from_utf8_lossy(&list);
    let mut begun = list.lines().filter_map(|line| line.split(' ').next());
    Ok(begun.any(|slug| slug == check.slug))
}

/// Returns the order to start a check. What its environment holds goes the way of the command: in no argument list.
fn start(lane: &Lane<'_>, check: &Check, environment: &str) -> Command {
    let dir = lane
        .plan
        .sources
        .first()
        .map_or_else(|| home_of(&lane.plan.system.user), Source::remote_dir);
    let mut command = check_command(check, &lane.plan.deploy, &lane.plan.system.user);
    if let Some(record) = check.record() {
        command = traced_command(&record, &command);
    }
    command.push('\n');
    let how = if check.as_root { "start-as-root" } else { "start" };
    let mut order = vec![
        how.to_owned(),
        lane.plan.run.to_string(),
        check.slug.clone(),
        check.timeout.as_secs().max(1).to_string(),
        format!("{}+{}", command.len(), environment.len()),
        dir,
    ];
    order.extend(check.needs.iter().map(ToString::to_string));
    tool(order).with_stdin(command + environment)
}

async fn follow(lane: &Lane<'_>, link: &Link, check: &Check) -> Result<(Outcome, f64), RemoteError> {
    let end = Limit::after(&*lane.world.clock, check.timeout + GRACE);
    let (mut offset, mut is_cut) = (0, false);
    loop {
        let question = [
            "follow".to_owned(),
            lane.plan.run.to_string(),
            check.slug.clone(),
            offset.to_string(),
            POLL_SECONDS.to_owned(),
        ];
        let answer = link.run(lane.world, &piece(question)).await?;
        let (header, output) =
            Header::split(&answer, offset).map_err(|error| RemoteError::Lost(error.to_string()))?;
        let room = lane.plan.limits.log_bytes.saturating_sub(offset);
        let wanted = room.min(output.len() as u64);
        let granted = lane.budget.take(wanted);
        let kept = &output[..usize::try_from(granted).unwrap_or(usize::MAX)];
        if !kept.is_empty() {
            lane.shards.output(&lane.lane.name, &check.slug, kept);
            lane.emit(Event::CheckOutput {
                check: check.slug.clone(),
                offset,
                bytes: kept.to_vec(),
            });
        }
        if kept.len() < output.len() && !std::mem::replace(&mut is_cut, true) {
            lane.notice(match granted < wanted {
                true => format!(
                    "{}: what else check {} prints is not kept",
                    lane.budget, check.name
                ),
                false => too_long(lane, check),
            });
        }
        offset = header.next_offset();
        if kept.len() < output.len() {
            // Nobody reads what is over the limit: it stays on the box.
            offset = offset.max(header.size);
        }
        if let Some(outcome) = ended(check, &header) {
            return Ok((outcome, header.seconds().unwrap_or_default()));
        }
        if end.is_over(&*lane.world.clock) {
            link.run(lane.world, &tool(["stop", lane.plan.run.as_str(), &check.slug]))
                .await?;
            let why = "it was still running long past its time limit, and was stopped".to_owned();
            return Ok((Outcome::Unknown { why }, 0.0));
        }
    }
}

/// Says that a check's output is cut here.
fn too_long(lane: &Lane<'_>, check: &Check) -> String {
    format!(
        "the output of check {} is longer than {}, the limit of a log: what came after that is not kept",
        check.name,
        show_bytes(lane.plan.limits.log_bytes)
    )
}

/// Decides how a check ended; none while it runs. One that may reboot the box ends well with the reboot.
fn ended(check: &Check, header: &Header) -> Option<Outcome> {
    if check.reboot && header.is_rebooted() && header.state != State::Running {
        return Some(Outcome::Passed);
    }
    header.outcome()
}
