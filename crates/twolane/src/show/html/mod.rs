//! A report as one page that needs nothing beside it: no outside resource, and one script, which only filters.
//! Whatever a box wrote stands escaped; how much of it the page holds is bounded.

mod budget;
mod checks;
mod lanes;
mod past;
mod skips;
mod timeline;
pub(super) mod words;

use base64::{Engine, engine::general_purpose::STANDARD};
use maud::{DOCTYPE, Markup, PreEscaped, html as markup};
use model::{
    check::Outcome,
    report::{LaneReport, Report},
    results::{Severity, TestResult},
};

use sha2::{Digest, Sha256};

use self::{
    budget::{Budget, output},
    checks::findings,
    words::{line, more, outcome, text, verdict},
};
use super::text::show_seconds;

/// Filters the tests. No other script runs: the policy names its hash.
const SCRIPT: &str = include_str!("page.js");
/// Nothing is loaded, whatever gets into the page.
pub(super) const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'";
/// Failing tests that are shown with their output.
const TESTS_MAX: usize = 500;
/// Failing tests whose output is open from the start.
const OPEN_MAX: usize = 5;

/// Returns the page.
pub(crate) fn html(report: &Report) -> String {
    let run = report.run.as_ref().map_or("?", |run| run.as_str());
    let verdict = report.verdict.map_or("not ended", |verdict| verdict.words());
    let mut budget = Budget::default();
    markup! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta http-equiv="Content-Security-Policy" content={ (POLICY) "; script-src 'sha256-" (STANDARD.encode(Sha256::digest(SCRIPT))) "'" };
                meta name="color-scheme" content="light dark";
                meta name="referrer" content="no-referrer";
                link rel="icon" href="data:,";
                title { (line(&report.project)) ": " (verdict) " – run " (run) }
                style { (PreEscaped(include_str!("page.css"))) }
            }
            body {
                a.skip href="#main" { "Skip to the report" }
                (head(report, run))
                main id="main" {
                    form id="search" role="search" hidden {
                        label for="filter" { "Show only tests with " }
                        input id="filter" type="search" placeholder="words of its name, suite or outcome";
                        " " output for="filter" {}
                    }
                    (failures(report, &mut budget))
                    (skips::skips(report, &mut budget))
                    (lanes::lanes(report))
                    (timeline::timeline(report))
                    (checks::checks(report, &mut budget))
                    (past::slowest(report))
                    (past::history(report))
                }
                footer { p.dim { "Made by twolane " (line(&report.version)) "." } }
                script { (PreEscaped(SCRIPT)) }
            }
        }
    }
    .into_string()
}

fn head(report: &Report, run: &str) -> Markup {
    markup! {
        header {
            h1 { (line(&report.project)) ": " (verdict(report.verdict)) }
            p.dim {
                "Run " code { (run) }
                @if let Some(began) = report.began {
                    ", began " time datetime=(began) { (format!("{began:.0}")) }
                }
                ", took " (show_seconds(report.seconds()))
                @if !report.spent().is_nothing() { ", cost " (report.spent()) }
                "."
            }
            (past::origin(report))
            @if !report.notices.is_empty() {
                ul { @for notice in &report.notices { li { (line(notice)) } } }
            }
        }
    }
}

/// What failed, with why: the first thing that people look for.
fn failures(report: &Report, budget: &mut Budget) -> Markup {
    let parts: Vec<Markup> = report
        .lanes
        .iter()
        .filter_map(|(name, lane)| lane_failures(report, name, lane, budget))
        .collect();
    markup! {
        @if !parts.is_empty() {
            section aria-labelledby="failed" {
                h2 id="failed" { "What did not pass" }
                @for part in parts { (part) }
            }
        }
    }
}

fn lane_failures(report: &Report, name: &str, lane: &LaneReport, budget: &mut Budget) -> Option<Markup> {
    let failed: Vec<_> = lane
        .checks
        .iter()
        .filter(|check| {
            check.outcome.is_failure()
                || matches!(check.outcome, Outcome::Unknown { .. })
                || check.results.bad_tests().next().is_some()
        })
        .collect();
    if failed.is_empty() && lane.failure.is_none() && lane.left.is_none() {
        return None;
    }
    Some(markup! {
        h3 { (line(name)) }
        @if let Some(why) = &lane.failure {
            p.bad { "The lane could not go on: " (text(why)) }
            @if let Some(help) = &lane.help { p { "What to do: " (text(help)) } }
        }
        @if let Some(left) = &lane.left { p.bad { "The box is still there: " (text(left)) } }
        @for check in failed {
            h4 { (line(&check.name)) " " (outcome(&check.outcome))
                @if let Some(words) = check.results.words() { span.dim { ": " (words) } }
            }
            @for (at, test) in check.results.bad_tests().take(TESTS_MAX).enumerate() {
                @let before = report.failed_before(name, &check.slug, &test.suite, &test.name);
                (failed_test(test, &past::before(before), at < OPEN_MAX, budget))
            }
            (more(check.results.bad_tests().count(), TESTS_MAX, "tests"))
            (findings(&check.results.findings, Severity::Error, budget))
            @if check.results.words().is_none() {
                (output("output of the check", &check.results.last_lines.join("\n"), budget))
            }
        }
    })
}

fn failed_test(test: &TestResult, before: &Markup, is_open: bool, budget: &mut Budget) -> Markup {
    markup! {
        details.one open[is_open] {
            summary {
                span.bad { "✗ " (test.outcome.word()) } " " span.dim { (line(&test.suite)) } " " b { (line(&test.name)) }
                @if let Some(place) = &test.place { " at " code { (line(&place.to_string())) } }
                (before)
                @if let Some(message) = &test.message { br; (line(message)) }
            }
            (output("output of the test", &test.output, budget))
        }
    }
}
