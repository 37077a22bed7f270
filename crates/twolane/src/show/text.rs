//! Events and reports in words. Keeps out: where they are printed, and how lines are redrawn.

use std::time::Duration;

use anstyle::{AnsiColor, Style};
use camino::Utf8Path;
use model::{
    check::Outcome,
    event::{Event, EventRecord, Step},
    limits::show_bytes,
    machine::Gone,
    price::Price,
    report::{Changes, CheckReport, LaneReport, Report},
    results::{Severity, TestResult},
    source::Synced,
    time::{Timestamp, show_length},
    verdict::Verdict,
};

use super::{
    clean::{clean, plain},
    record::log_path,
    skips,
    table::table,
};

/// Failing tests of a check that are listed.
const TESTS_MAX: usize = 50;
/// Findings of a check that are listed.
const FINDINGS_MAX: usize = 30;

const GOOD: Style = AnsiColor::Green.on_default();
const BAD: Style = AnsiColor::Red.on_default();
const ODD: Style = AnsiColor::Yellow.on_default();
const DIM: Style = Style::new().dimmed();
const BOLD: Style = Style::new().bold();

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
        Event::CheckOutput { .. } | Event::RunEnded { .. } => return None,
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

/// Returns what the boxes of a lane have cost so far; none when there was none, or they are free.
fn cost(lane: &LaneReport, now: Timestamp) -> Option<String> {
    let spent = lane.spent(now);
    (!spent.is_nothing()).then(|| format!("cost {spent}"))
}

/// Returns what the boxes of a lane have cost, beside what was to be expected; none when there was none, or they are
/// free.
pub(crate) fn cost_and_plan(lane: &LaneReport, now: Timestamp) -> Option<String> {
    let spent = lane.spent(now);
    let last = lane.stays.iter().rfind(|stay| stay.has_been)?;
    (!spent.is_nothing()).then(|| match last.planned() {
        Some(planned) => format!(
            "{spent}; planned: {} in the usual time, {} until its deadline",
            planned.estimated, planned.worst
        ),
        None => spent.to_string(),
    })
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
        Event::CheckBegan { check } => {
            let at = lane.checks.iter().position(|report| report.slug == *check);
            format!(
                "check {} ({} of {})",
                check_name(Some(lane), check),
                at.map_or(0, |at| at + 1),
                lane.checks.len()
            )
        }
        _ => return None,
    })
}

/// Returns a report for people. `run_dir` is where its files are.
pub(crate) fn report(report: &Report, run_dir: &Utf8Path) -> String {
    let mut text = head(report);
    for (name, lane_report) in &report.lanes {
        text.push('\n');
        text.push_str(&lane(name, lane_report, report.last, run_dir));
    }
    text + &tail(report).unwrap_or_default()
}

/// Returns what is said of the run as a whole.
pub(crate) fn head(report: &Report) -> String {
    let run = report.run.as_ref().map_or("?", |run| run.as_str());
    let verdict = match report.verdict {
        Some(verdict) => paint(verdict_style(verdict), verdict.words()),
        None => paint(ODD, "not ended"),
    };
    let time = show_length(Duration::try_from_secs_f64(report.seconds()).unwrap_or_default());
    let spent = match report.spent() {
        spent if spent.is_nothing() => String::new(),
        spent => format!(", cost {spent}"),
    };
    let mut text = format!("run {run} of {}: {verdict}, {time}{spent}\n", report.project);
    for notice in &report.notices {
        text.push_str(&format!("note: {}\n", safe(notice)));
    }
    text
}

/// Returns what is said of all lanes together, if anything.
pub(crate) fn tail(report: &Report) -> Option<String> {
    report.split.as_ref().map(skips::text)
}

/// Returns what changed from run to run for people.
pub(crate) fn changes(changes: &Changes) -> String {
    let name = |at: usize| {
        let run = changes.runs[at].as_ref().map_or("?", |run| run.as_str());
        let verdict = changes.verdicts[at].map_or("not ended", |verdict| verdict.words());
        format!("{run}: {verdict}, {}", show_seconds(changes.seconds[at]))
    };
    let mut text = format!("from {}\nto   {}\n", name(0), name(1));
    for (title, is_slower) in [("slower", true), ("faster", false)] {
        let rows: Vec<Vec<String>> = changes
            .times
            .iter()
            .filter(|change| change.is_slower() == is_slower)
            .map(|change| {
                let [before, after] = change.seconds.map(show_seconds);
                vec![change.lane.clone(), plain(&safe(&change.what)), before, after]
            })
            .collect();
        if !rows.is_empty() {
            text.push_str(&format!("\n{BOLD}{title}{BOLD:#}\n"));
            text.push_str(&table(&["lane", "what", "from", "to"], rows));
            text.push('\n');
        }
    }
    if !changes.outcomes.is_empty() {
        let word = |outcome: &Option<String>| outcome.clone().unwrap_or_else(|| "not there".to_owned());
        let rows = changes.outcomes.iter().map(|change| {
            let [before, after] = [&change.outcomes[0], &change.outcomes[1]].map(word);
            vec![change.lane.clone(), plain(&safe(&change.what)), before, after]
        });
        text.push_str(&format!("\n{BOLD}ended otherwise{BOLD:#}\n"));
        text.push_str(&table(&["lane", "what", "from", "to"], rows));
        text.push('\n');
    }
    if changes.times.is_empty() && changes.outcomes.is_empty() {
        text.push_str("\nnothing changed\n");
    }
    text
}

/// Returns what is said of a lane.
pub(crate) fn lane(name: &str, lane: &LaneReport, last: Option<Timestamp>, run_dir: &Utf8Path) -> String {
    let verdict = match lane.verdict {
        Some(verdict) => paint(verdict_style(verdict), verdict.words()),
        None => paint(ODD, "not ended"),
    };
    let mut lines = vec![format!("{BOLD}{name}{BOLD:#}: {verdict}")];
    if let Some(why) = &lane.failure {
        lines.push(format!("  because: {}", safe(why)));
    }
    if let Some(help) = &lane.help {
        lines.push(format!("  help: {}", safe(help)));
    }
    if let Some(machine) = &lane.machine {
        let note = machine
            .note
            .as_ref()
            .map_or(String::new(), |note| format!("; {}", safe(note)));
        lines.push(format!(
            "  box: {}, {} {} in {}{note}",
            machine.label,
            machine.provider,
            safe(&machine.instance_type),
            safe(&machine.region)
        ));
    }
    if let Some(cost) = last.and_then(|last| cost_and_plan(lane, last)) {
        lines.push(format!("  cost: {cost}"));
    }
    for (candidate, why) in &lane.rejected {
        lines.push(format!("  rejected: {candidate}: {}", safe(why)));
    }
    if let Some(gate) = &lane.gate {
        lines.push(format!("  kvm gate: {}", safe(&gate.sentence)));
    }
    for (source, synced) in &lane.synced {
        lines.push(format!("  source {source}: {}", copied(synced)));
    }
    lines.push(String::new());
    lines.extend(indented(&checks(&lane.checks), &check_styles(&lane.checks)));
    for check in &lane.checks {
        lines.extend(found(check));
    }
    for check in lane.checks.iter().filter(|check| check.outcome.is_failure()) {
        lines.push(format!(
            "  output of {}: {}",
            check.name,
            log_path(run_dir, name, &check.slug)
        ));
    }
    lines.push(String::new());
    lines.extend(indented(&steps(lane), &[]));
    for missing in &lane.missing {
        lines.push(format!("  not collected: {}", safe(missing)));
    }
    match (&lane.gone, &lane.left) {
        (_, Some(why)) => lines.push(format!("  {ODD}box is still there{ODD:#}: {}", safe(why))),
        (Some(gone), None) => lines.push(format!("  box is gone, confirmed{}", in_brackets(gone))),
        (None, None) => {}
    }
    lines.join("\n") + "\n"
}

fn checks(checks: &[CheckReport]) -> String {
    let rows = checks.iter().map(|check| {
        vec![
            check.name.clone(),
            check.outcome.word().to_owned(),
            check.seconds.map_or(String::new(), show_seconds),
            check
                .outcome
                .reason()
                .map_or(String::new(), |why| plain(&safe(why))),
        ]
    });
    table(&["check", "outcome", "time", "why"], rows)
}

/// Returns what a check found: failing tests first, then findings.
fn found(check: &CheckReport) -> Vec<String> {
    let results = &check.results;
    let Some(words) = results.words() else {
        return Vec::new();
    };
    let mut lines = vec![format!("  {BOLD}{}{BOLD:#}: {words}", check.name)];
    let bad: Vec<&TestResult> = results.bad_tests().collect();
    for test in bad.iter().take(TESTS_MAX) {
        let place = test
            .place
            .as_ref()
            .map_or(String::new(), |place| format!(" at {place}"));
        lines.push(format!(
            "    {BAD}{}{BAD:#} {} {}{}",
            test.outcome.word(),
            safe(&test.suite),
            safe(&test.name),
            safe(&place)
        ));
        lines.extend(
            test.message
                .as_ref()
                .map(|message| format!("      {}", safe(message))),
        );
    }
    lines.extend(more(bad.len(), TESTS_MAX, "tests"));
    for finding in results.findings.iter().take(FINDINGS_MAX) {
        let style = match finding.severity {
            Severity::Error => BAD,
            Severity::Warning => ODD,
        };
        let code = finding
            .code
            .as_ref()
            .map_or(String::new(), |code| format!(" [{code}]"));
        let place = finding
            .place
            .as_ref()
            .map_or(String::new(), |place| format!("{place}: "));
        lines.push(format!(
            "    {style}{}{style:#}{}: {}{}",
            finding.severity.word(),
            safe(&code),
            safe(&place),
            safe(&finding.message)
        ));
    }
    lines.extend(more(results.findings.len(), FINDINGS_MAX, "findings"));
    lines.extend(
        results
            .notes
            .iter()
            .map(|note| format!("    note: {}", safe(note))),
    );
    lines
}

fn more(number: usize, shown: usize, what: &str) -> Option<String> {
    (number > shown).then(|| format!("    and {} more {what}", number - shown))
}

fn check_styles(checks: &[CheckReport]) -> Vec<Style> {
    // The first line is the table's head.
    std::iter::once(DIM)
        .chain(checks.iter().map(|check| outcome_style(&check.outcome)))
        .collect()
}

fn steps(lane: &LaneReport) -> String {
    let mut rows = Vec::new();
    for step in &lane.steps {
        rows.push(vec![
            step.step.to_string(),
            step.seconds.map_or("?".to_owned(), show_seconds),
            step.failure
                .as_ref()
                .map_or(String::new(), |why| plain(&safe(why))),
        ]);
        if step.step == Step::Stage1 {
            rows.extend(lane.stage1.iter().map(|part| {
                let why = match (part.what.as_str(), &part.message) {
                    ("ok" | "begin", None) => String::new(),
                    ("ok" | "begin", Some(message)) => safe(message),
                    (what, None) => safe(what),
                    (what, Some(message)) => format!("{}: {}", safe(what), safe(message)),
                };
                vec![
                    format!("  {}", plain(&safe(&part.step))),
                    part.seconds.map_or(String::new(), show_seconds),
                    plain(&why),
                ]
            }));
        }
    }
    table(&["step", "time", ""], rows)
}

fn indented(table: &str, styles: &[Style]) -> Vec<String> {
    table
        .lines()
        .enumerate()
        .map(|(row, line)| match styles.get(row) {
            Some(style) => format!("  {}", paint(*style, line)),
            None => format!("  {line}"),
        })
        .collect()
}

/// Returns the text as one line that is safe to print.
fn safe(text: &str) -> String {
    let lines: Vec<String> = text
        .lines()
        .map(|line| clean(line.as_bytes()))
        .filter(|line| !line.is_empty())
        .collect();
    lines.join("\n    ")
}

fn paint(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}

fn verdict_style(verdict: Verdict) -> Style {
    match verdict {
        Verdict::Passed => GOOD,
        Verdict::Interrupted => ODD,
        Verdict::Failed | Verdict::Infrastructure | Verdict::Left => BAD,
    }
}

fn outcome_style(outcome: &Outcome) -> Style {
    match outcome {
        Outcome::Passed => GOOD,
        Outcome::Failed { .. } | Outcome::TimedOut | Outcome::Unknown { .. } => BAD,
        Outcome::Skipped { .. } | Outcome::NotRun | Outcome::Interrupted => ODD,
    }
}

fn check_name(lane: Option<&LaneReport>, slug: &str) -> String {
    lane.and_then(|lane| lane.checks.iter().find(|check| check.slug == slug))
        .map_or_else(|| slug.to_owned(), |check| check.name.clone())
}

fn step_seconds(lane: Option<&LaneReport>, step: Step) -> Option<f64> {
    lane?.steps.iter().rfind(|report| report.step == step)?.seconds
}

fn took(seconds: Option<f64>) -> String {
    seconds.map_or(String::new(), |seconds| format!(", {}", show_seconds(seconds)))
}

/// Writes a length of time for people.
pub(crate) fn show_seconds(seconds: f64) -> String {
    show_length(Duration::try_from_secs_f64(seconds).unwrap_or_default())
}

/// Reports what a copy did.
pub(crate) fn copied(synced: &Synced) -> String {
    format!(
        "{} files, {} sent, {} deleted, {}",
        synced.files,
        synced.sent,
        synced.deleted,
        show_bytes(synced.bytes)
    )
}

fn in_brackets(resources: &[Gone]) -> String {
    if resources.is_empty() {
        return String::new();
    }
    let kinds: Vec<String> = resources.iter().map(|gone| gone.kind.to_string()).collect();
    format!(" ({})", kinds.join(", "))
}
