//! What the run was of, the tests that took longest, and the runs before it.

use maud::{Markup, html as markup};
use model::{
    report::{FailedBefore, PastRun, Report},
    results::TestResult,
};

use super::words::{line, verdict};
use crate::show::text::show_seconds;

/// Tests that are listed as the slowest.
const SLOWEST_MAX: usize = 10;

/// Shows commit, branch and who ran it, as far as they are known.
pub(super) fn origin(report: &Report) -> Markup {
    let owner = &report.owner;
    let parts: Vec<Markup> = [
        report.revision.as_ref().map(|revision| {
            markup! { "commit " code title=(line(&revision.commit)) { (line(&revision.to_string())) } }
        }),
        owner
            .reference
            .as_ref()
            .map(|it| markup! { "branch " code { (line(it)) } }),
        owner.repository.as_ref().map(|it| markup! { "of " (line(it)) }),
        owner.user.as_ref().map(|it| markup! { "by " (line(it)) }),
        owner.host.as_ref().map(|it| markup! { "on " (line(it)) }),
    ]
    .into_iter()
    .flatten()
    .collect();
    markup! {
        @if !parts.is_empty() {
            p.dim { @for (at, part) in parts.iter().enumerate() { @if at > 0 { " " } (part) } }
        }
    }
}

/// Shows how often a test failed before.
pub(super) fn before(before: Option<&FailedBefore>) -> Markup {
    markup! { @if let Some(before) = before { span.dim { " (" (before.words()) ")" } } }
}

/// Shows the tests that took longest, over all lanes.
pub(super) fn slowest(report: &Report) -> Markup {
    let mut timed: Vec<(f64, &str, &TestResult)> = report
        .lanes
        .iter()
        .flat_map(|(name, lane)| lane.checks.iter().map(move |check| (name, check)))
        .flat_map(|(lane, check)| check.results.tests.iter().map(move |test| (lane, test)))
        .filter_map(|(lane, test)| Some((test.seconds?, lane.as_str(), test)))
        .collect();
    timed.sort_by(|one, other| other.0.total_cmp(&one.0));
    timed.truncate(SLOWEST_MAX);
    markup! {
        @if !timed.is_empty() {
            section aria-labelledby="slowest" {
                h2 id="slowest" { "Slowest tests" }
                ol {
                    @for (seconds, lane, test) in timed {
                        li { (show_seconds(seconds)) " " span.dim { (line(lane)) ", " (line(&test.suite)) } " " (line(&test.name)) }
                    }
                }
            }
        }
    }
}

/// Shows the runs before this one.
pub(super) fn history(report: &Report) -> Markup {
    markup! {
        @if !report.history.is_empty() {
            section aria-labelledby="history" {
                h2 id="history" { "Runs before this one" }
                ul { @for past in &report.history { li { (past_run(past)) } } }
            }
        }
    }
}

fn past_run(past: &PastRun) -> Markup {
    markup! {
        a href={ "../" (past.run) "/report.html" } { (past.run) } ": " (verdict(past.verdict))
        ", " (show_seconds(past.seconds))
        @if let Some(revision) = &past.revision { ", " code { (line(&revision.to_string())) } }
    }
}
