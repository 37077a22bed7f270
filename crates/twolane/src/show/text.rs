//! The words and colours that lines of progress and reports share.

use std::time::Duration;

use anstyle::{AnsiColor, Style};
use model::{
    check::Outcome,
    limits::show_bytes,
    machine::Gone,
    report::LaneReport,
    source::Synced,
    time::{Timestamp, show_length},
    verdict::Verdict,
};

use super::clean::clean;

pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
pub(crate) const BAD: Style = AnsiColor::Red.on_default();
pub(crate) const ODD: Style = AnsiColor::Yellow.on_default();
pub(crate) const DIM: Style = Style::new().dimmed();
pub(crate) const BOLD: Style = Style::new().bold();

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

/// Returns the text as one line that is safe to print.
pub(crate) fn safe(text: &str) -> String {
    let lines: Vec<String> = text
        .lines()
        .map(|line| clean(line.as_bytes()))
        .filter(|line| !line.is_empty())
        .collect();
    lines.join("\n    ")
}

pub(crate) fn paint(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}

pub(crate) fn verdict_style(verdict: Verdict) -> Style {
    match verdict {
        Verdict::Passed => GOOD,
        Verdict::Interrupted => ODD,
        Verdict::Failed | Verdict::Refused | Verdict::Infrastructure | Verdict::Left => BAD,
    }
}

pub(crate) fn outcome_style(outcome: &Outcome) -> Style {
    match outcome {
        Outcome::Passed => GOOD,
        Outcome::Failed { .. } | Outcome::TimedOut | Outcome::Unknown { .. } => BAD,
        Outcome::Skipped { .. } | Outcome::NotRun | Outcome::Interrupted => ODD,
    }
}

pub(crate) fn check_name(lane: Option<&LaneReport>, slug: &str) -> String {
    lane.and_then(|lane| lane.checks.iter().find(|check| check.slug == slug))
        .map_or_else(|| slug.to_owned(), |check| check.name.clone())
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

/// Returns the kinds of what is gone, in brackets.
pub(crate) fn in_brackets(resources: &[Gone]) -> String {
    if resources.is_empty() {
        return String::new();
    }
    let kinds: Vec<String> = resources.iter().map(|gone| gone.kind.to_string()).collect();
    format!(" ({})", kinds.join(", "))
}
