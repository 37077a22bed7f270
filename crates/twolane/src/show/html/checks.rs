//! Every check with what it found and the end of its output, folded.

use std::collections::BTreeMap;

use maud::{Markup, html as markup};
use model::{
    report::{CheckReport, LaneReport, Report},
    results::{CheckResults, Finding, Severity, Tally, TestResult},
};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::{
    budget::{Budget, escaped_length, output},
    words::{line, more, outcome, text},
};
use crate::show::{record::log_path, text::show_seconds};

/// Files that are listed.
const FILES_MAX: usize = 200;

/// Shows all checks.
pub(super) fn checks(report: &Report, budget: &mut Budget) -> Markup {
    markup! {
        section aria-labelledby="checks" {
            h2 id="checks" { "Checks" }
            @for (name, lane) in &report.lanes {
                h3 { (line(name)) }
                @for check in &lane.checks { (one(name, check, budget)) }
                (artifacts(lane))
            }
        }
    }
}

/// Lists what came back beside the logs, as links beside the page.
fn artifacts(lane: &LaneReport) -> Markup {
    markup! {
        @if !lane.files.is_empty() {
            details {
                summary { "Files that it brought back: " (lane.files.len()) }
                ul { @for file in lane.files.iter().take(FILES_MAX) { li { a href=(address(file)) { (line(file)) } } } }
                (more(lane.files.len(), FILES_MAX, "files"))
            }
        }
    }
}

/// Returns the address of a file of the run's directory, from the page there. A path of any name stays a path.
fn address(path: &str) -> String {
    let parts = path.split('/').filter(|part| !matches!(*part, "" | "." | ".."));
    let parts: Vec<String> = parts
        .map(|part| utf8_percent_encode(part, NON_ALPHANUMERIC).to_string())
        .collect();
    format!("./{}", parts.join("/"))
}

fn one(lane: &str, check: &CheckReport, budget: &mut Budget) -> Markup {
    let results = &check.results;
    markup! {
        details {
            summary {
                b { (line(&check.name)) } " " (outcome(&check.outcome))
                @if let Some(seconds) = check.seconds { ", " (show_seconds(seconds)) }
                @if let Some(words) = results.words() { span.dim { "; " (words) } }
            }
            p {
                code { (line(&check.run)) }
                @if check.has_begun {
                    " " a href=(address(log_path("".into(), lane, &check.slug).as_str())) { "whole log" }
                }
            }
            @if !results.notes.is_empty() { ul { @for note in &results.notes { li { (text(note)) } } } }
            (findings(&results.findings, Severity::Warning, budget))
            @if !results.last_lines.is_empty() {
                @if results.earlier_lines > 0 {
                    p.dim { "The last " (results.last_lines.len()) " of " (results.earlier_lines + results.last_lines.len() as u64) " lines:" }
                }
                (output("output of the check", &results.last_lines.join("\n"), budget))
            }
            (suites(results, budget))
        }
    }
}

fn suites(results: &CheckResults, budget: &mut Budget) -> Markup {
    let mut suites: BTreeMap<&str, Vec<&TestResult>> = BTreeMap::new();
    for test in &results.tests {
        suites.entry(&test.suite).or_default().push(test);
    }
    let number = suites.len();
    let shown: Vec<Markup> = suites
        .into_iter()
        .map_while(|(name, tests)| suite(name, &tests, budget))
        .collect();
    markup! {
        @for suite in &shown { (suite) }
        @if number > shown.len() {
            p.dim { (number - shown.len()) " more suites are left out, as the page would be too big; report.json has them all." }
        }
        @if !results.unnamed.is_empty() { p.dim { "Without a name: " (results.unnamed.words()) "." } }
    }
}

fn suite(name: &str, tests: &[&TestResult], budget: &mut Budget) -> Option<Markup> {
    let mut tally = Tally::default();
    tests.iter().for_each(|test| tally.add(test.outcome));
    let mut sorted = tests.to_vec();
    sorted.sort_by_key(|test| test.outcome);
    let lines: Vec<String> = sorted.iter().map(|test| test_line(test)).collect();
    let shown = lines.join("\n");
    let name = line(name);
    let frame = 300 + 2 * escaped_length(&name);
    budget.take(frame).then(|| {
        markup! {
            details {
                summary { @if name.is_empty() { "tests" } @else { (name) } ": " (tally.words()) }
                @if budget.take(escaped_length(&shown)) {
                    pre.tests tabindex="0" role="region" aria-label={ "tests of " (name) } { (shown) }
                } @else {
                    p.dim { "Left out, as the page would be too big; report.json has them all." }
                }
            }
        }
    })
}

fn test_line(test: &TestResult) -> String {
    let time = test
        .seconds
        .map_or(String::new(), |seconds| format!("  {seconds:.3} s"));
    let message = match &test.message {
        Some(message) if !test.outcome.is_bad() => format!("  ({})", line(message)),
        _ => String::new(),
    };
    format!("{:<7} {}{time}{message}", test.outcome.word(), line(&test.name))
}

/// Shows the findings of a severity.
pub(super) fn findings(all: &[Finding], severity: Severity, budget: &mut Budget) -> Markup {
    let class = match severity {
        Severity::Error => "bad",
        Severity::Warning => "odd",
    };
    markup! {
        @for finding in all.iter().filter(|finding| finding.severity == severity) {
            @if budget.take(finding.detail.len() + finding.message.len() + 300) {
                details.one {
                    summary {
                        span class=(class) { (severity.word()) }
                        @if let Some(code) = &finding.code { " " code { (line(code)) } }
                        @if let Some(place) = &finding.place { " at " code { (line(&place.to_string())) } }
                        ": " (line(&finding.message))
                    }
                    (output("the whole finding", &finding.detail, budget))
                }
            }
        }
    }
}
