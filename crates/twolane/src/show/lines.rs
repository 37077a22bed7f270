//! Events in lines of progress. Keeps out: where they are printed, and how lines are redrawn.

use model::{
    check::Outcome,
    event::{Event, EventRecord, Step},
    price::Price,
    report::{LaneReport, Report},
    time::Timestamp,
};

use super::{
    clean::plain,
    text::{
        BAD, BOLD, DIM, GOOD, ODD, check_name, copied, in_brackets, outcome_style, safe, show_seconds,
        verdict_style,
    },
};

/// Who sees a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Weight {
    /// Everybody.
    Problem,
    /// Who did not ask for quiet.
    Usual,
    /// Who asked for more.
    Detail,
}

/// One line of progress.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Line {
    /// Who sees it.
    pub(crate) weight: Weight,
    /// The words, with colours; may be more than one line.
    pub(crate) text: String,
}

/// Returns the line for an event; `so_far` includes the event already.
pub(crate) fn line(record: &EventRecord, so_far: &Report) -> Option<Line> {
    let lane = record.lane.as_deref();
    let report = lane.and_then(|lane| so_far.lanes.get(lane));
    let (weight, text) = words(&record.event, report)?;
    let text = match lane {
        Some(lane) => format!("{DIM}[{lane}]{DIM:#} {text}"),
        None => text,
    };
    Some(Line { weight, text })
}

fn words(event: &Event, lane: Option<&LaneReport>) -> Option<(Weight, String)> {
    use Weight::{Detail, Problem, Usual};
    Some(match event {
        Event::RunBegan { run, project, .. } => (Usual, format!("run {run} of {project}")),
        Event::LaneBegan { label, need, checks } => {
            let names: Vec<&str> = checks.iter().map(|check| check.name.as_str()).collect();
            let checks = match names.as_slice() {
                [] => String::new(),
                names => format!("; checks: {}", names.join(", ")),
            };
            (Usual, format!("box {label}, kvm {need}{checks}"))
        }
        Event::StepBegan { step } => (Usual, format!("{step} …")),
        Event::StepProgress { step, message, .. } => (Detail, format!("{step}: {}", safe(message))),
        Event::StepEnded { step, failure: None } => {
            (Usual, format!("{step} done{}", took(step_seconds(lane, *step))))
        }
        Event::StepEnded {
            step,
            failure: Some(why),
        } => {
            // The whole comes with the end of the lane.
            let first = why.lines().next().unwrap_or_default();
            (Usual, format!("{step} {BAD}failed{BAD:#}: {}", safe(first)))
        }
        Event::CandidateTried {
            candidate,
            deadline,
            dead_mans_switch,
            price,
        } => (
            Usual,
            format!(
                "asks for {candidate}, {}; gone by {} at the latest: {}",
                show_price(price, candidate.options.spot),
                deadline.moment(),
                safe(dead_mans_switch)
            ),
        ),
        Event::CandidateRejected { candidate, why } => (
            Usual,
            format!("{candidate} {ODD}was rejected{ODD:#}: {}", safe(why)),
        ),
        Event::MachineUp { machine } => {
            let note = machine
                .note
                .as_ref()
                .map_or(String::new(), |note| format!("; {}", safe(note)));
            (
                Usual,
                format!(
                    "box {} is {} {} at {} port {}{note}",
                    machine.label,
                    machine.provider,
                    safe(&machine.id),
                    machine.address,
                    machine.port
                ),
            )
        }
        Event::Stage1 {
            step, what, message, ..
        } => stage1(step, what, message.as_deref(), lane)?,
        Event::Gate { answer } => {
            let style = if answer.works { GOOD } else { BAD };
            (
                Usual,
                format!("kvm gate: {style}{}{style:#}", safe(&answer.sentence)),
            )
        }
        Event::Synced { source, synced } => (Usual, format!("{source}: {}", copied(synced))),
        Event::CheckBegan { check } => (
            Usual,
            format!("check {BOLD}{}{BOLD:#} …", check_name(lane, check)),
        ),
        Event::CheckTakenOver { check } => (Usual, format!("takes over {BOLD}{}{BOLD:#}", safe(&check.name))),
        Event::CheckOutput { .. } | Event::CheckProgress { .. } | Event::RunEnded { .. } => return None,
        Event::CheckEnded {
            check,
            outcome,
            seconds,
        } => {
            let style = outcome_style(outcome);
            let weight = if outcome.is_failure() || matches!(outcome, Outcome::Unknown { .. }) {
                Problem
            } else {
                Usual
            };
            let why = outcome
                .reason()
                .map_or(String::new(), |why| format!(": {}", safe(why)));
            (
                weight,
                format!(
                    "check {BOLD}{}{BOLD:#} {style}{}{style:#}{why}{}",
                    check_name(lane, check),
                    outcome.word(),
                    took(Some(*seconds))
                ),
            )
        }
        Event::Collected { files, missing } => {
            let missing: String = missing
                .iter()
                .map(|missing| format!("; missing: {}", safe(missing)))
                .collect();
            (Usual, format!("{} files collected{missing}", files.len()))
        }
        Event::MachineGone { label, resources } => {
            (Usual, format!("box {label} is gone{}", in_brackets(resources)))
        }
        Event::MachineKept {
            label,
            deadline,
            dead_mans_switch,
        } => (
            Problem,
            format!(
                "box {label} is {ODD}kept{ODD:#} until {}: {}\n  help: twolane ssh {label}, twolane down {label}",
                deadline.moment(),
                safe(dead_mans_switch)
            ),
        ),
        Event::MachineLeft {
            label,
            provider,
            id,
            why,
        } => (
            Problem,
            left(label.as_str(), provider.as_str(), id.as_deref(), why),
        ),
        Event::Notice { text } => (Usual, safe(text)),
        Event::LaneFailed { why, help } => {
            let help = help
                .as_ref()
                .map_or(String::new(), |help| format!("\n  help: {}", safe(help)));
            (Problem, format!("{BAD}error{BAD:#}: {}{help}", safe(why)))
        }
        Event::LaneEnded { verdict } => {
            let style = verdict_style(*verdict);
            (Usual, format!("{style}{}{style:#}", verdict.words()))
        }
        Event::Interrupted => (
            Problem,
            format!("{ODD}interrupted{ODD:#}; once more leaves at once"),
        ),
    })
}

fn stage1(
    step: &str,
    what: &str,
    message: Option<&str>,
    lane: Option<&LaneReport>,
) -> Option<(Weight, String)> {
    let step = safe(step);
    let message = message.map_or(String::new(), |message| format!(": {}", safe(message)));
    let seconds = lane
        .and_then(|lane| lane.stage1.iter().rfind(|report| report.step == step))
        .and_then(|report| report.seconds);
    Some(match what {
        "begin" => (Weight::Usual, format!("stage 1: {step} …")),
        "ok" => (
            Weight::Usual,
            format!("stage 1: {step} done{}{message}", took(seconds)),
        ),
        "failed" => (
            Weight::Problem,
            format!("stage 1: {step} {BAD}failed{BAD:#}{message}"),
        ),
        "skipped" => (Weight::Usual, format!("stage 1: {step} skipped{message}")),
        _ => return None,
    })
}

/// Returns what the boxes of a lane have cost so far; none when there was none, or they are free.
fn cost(lane: &LaneReport, now: Timestamp) -> Option<String> {
    let spent = lane.spent(now);
    (!spent.is_nothing()).then(|| format!("cost {spent}"))
}

/// Returns one line for a lane that is at work: its step, how far that is, and what its box costs so far.
pub(crate) fn progress(event: &Event, lane: &LaneReport, now: Timestamp) -> Option<String> {
    let activity = activity(event, lane)?;
    Some(match cost(lane, now) {
        Some(cost) => format!("{activity}; {cost}"),
        None => activity,
    })
}

/// Returns one line for a lane that is at work: its step and how far that is.
fn activity(event: &Event, lane: &LaneReport) -> Option<String> {
    Some(match event {
        Event::StepBegan { step } => step.to_string(),
        Event::StepProgress {
            step,
            message,
            amount,
        } => {
            let far = match amount {
                Some((done, total)) if *total > 0 => {
                    let percent = u128::from(*done) * 100 / u128::from(*total);
                    format!(", {} %", percent.min(100))
                }
                _ => String::new(),
            };
            format!("{step}: {}{far}", plain(&safe(message)))
        }
        Event::CandidateTried { candidate, .. } => format!("up: {candidate}"),
        Event::Stage1 { step, what, .. } if what == "begin" => format!("stage 1: {}", plain(&safe(step))),
        Event::CheckBegan { check } => check_of(lane, check),
        Event::CheckProgress {
            check,
            ended,
            total,
            failed,
            usual_seconds,
        } => {
            let tests = match (total, failed) {
                (0, _) => String::new(),
                (_, 0) => format!(": {ended}/{total}"),
                _ => format!(": {ended}/{total}, {failed} failed"),
            };
            let usual = usual_seconds.map_or(String::new(), |usual| {
                format!("; usually {}", show_seconds(usual))
            });
            format!("{}{tests}{usual}", check_of(lane, check))
        }
        _ => return None,
    })
}

fn check_of(lane: &LaneReport, slug: &str) -> String {
    let at = lane.checks.iter().position(|report| report.slug == *slug);
    format!(
        "check {} ({} of {})",
        check_name(Some(lane), slug),
        at.map_or(0, |at| at + 1),
        lane.checks.len()
    )
}

fn step_seconds(lane: Option<&LaneReport>, step: Step) -> Option<f64> {
    lane?.steps.iter().rfind(|report| report.step == step)?.seconds
}

fn took(seconds: Option<f64>) -> String {
    seconds.map_or(String::new(), |seconds| format!(", {}", show_seconds(seconds)))
}

/// Returns the error for a box that may still run.
pub(crate) fn left(label: &str, provider: &str, id: Option<&str>, why: &str) -> String {
    let id = id.map_or(String::new(), |id| format!(" (id {})", safe(id)));
    format!(
        "{BAD}error{BAD:#}: box {label} at {provider}{id} may still be there\n  because: {}\n  help: twolane down {label}",
        safe(why)
    )
}

/// Returns what is known of a price in words. That of a spot box is not known, and never more than the list price.
fn show_price(price: &Price, is_spot: bool) -> String {
    match price {
        Price::Free => "free".to_owned(),
        Price::Hourly { amount, .. } if is_spot => format!("{amount} an hour at most, as it is spot"),
        Price::Hourly { amount, .. } => format!("{amount} an hour"),
        Price::Unknown => "cost unknown".to_owned(),
    }
}
