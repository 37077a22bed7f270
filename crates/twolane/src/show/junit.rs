//! A report as JUnit, for CI systems: one suite for each lane and check.

use std::time::Duration;

use model::{
    check::Outcome,
    report::{CheckReport, LaneReport, Report},
    results::{Finding, TestOutcome, TestResult},
    skips::Split,
    verdict::Verdict,
};
use quick_junit::{NonSuccessKind, SerializeError, TestCase, TestCaseStatus, TestSuite};

/// Returns the report as a JUnit file.
pub(crate) fn junit(report: &Report) -> Result<String, SerializeError> {
    let run = report.run.as_ref().map_or("?", |run| run.as_str());
    let mut file = quick_junit::Report::new(format!("{} {run}", report.project));
    file.set_time(seconds(report.seconds()));
    for (name, lane) in &report.lanes {
        if let Some(suite) = failed_lane(name, lane) {
            file.add_test_suite(suite);
        }
        for check in &lane.checks {
            file.add_test_suite(suite(name, check));
        }
    }
    // Without the tracer the harness's own list is all that is known, and stands in the suites above.
    if let Some(split) = report.split.as_ref().filter(|split| !split.lanes.is_empty()) {
        file.add_test_suite(skips(split));
    }
    file.add_test_suites(unfinished(report));
    file.to_string()
}

/// Returns a suite with an error for a run that was interrupted, or has not ended: what did run may all have passed.
fn unfinished(report: &Report) -> Option<TestSuite> {
    let message = match report.verdict {
        Some(Verdict::Interrupted) => "the run was interrupted",
        None => "the run has not ended",
        Some(_) => return None,
    };
    let mut suite = TestSuite::new("run");
    let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
    status.set_message(message).set_type("unfinished");
    suite.add_test_case(TestCase::new("run", status));
    Some(suite)
}

/// Returns the suite of a lane that could not go on: without it, a file without failures would look well.
fn failed_lane(name: &str, lane: &LaneReport) -> Option<TestSuite> {
    let why = lane.failure.as_ref()?;
    let mut suite = TestSuite::new(name);
    let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
    status.set_message(first_line(why)).set_type("infrastructure");
    status.set_description(why.as_str());
    let mut case = TestCase::new("lane", status);
    case.set_classname(name);
    suite.add_test_case(case);
    Some(suite)
}

/// Returns the suite of the tests that no lane really ran: skipped, or failed where that fails the run.
fn skips(split: &Split) -> TestSuite {
    let mut suite = TestSuite::new("no lane really ran");
    let is_strict = !split.why_failed.is_empty();
    suite.add_test_cases(split.skipped.iter().map(|skipped| {
        let mut status = if is_strict && !skipped.is_known {
            TestCaseStatus::non_success(NonSuccessKind::Failure)
        } else {
            TestCaseStatus::skipped()
        };
        status.set_message(skipped.why.as_str()).set_type("silent-skip");
        let name = skipped.id.test.as_deref().unwrap_or(&skipped.id.binary);
        let mut case = TestCase::new(name, status);
        case.set_classname(skipped.id.binary.as_str());
        case
    }));
    let doubts = split
        .why_failed
        .iter()
        .filter(|why| !why.starts_with("fail-on-skip"));
    suite.add_test_cases(doubts.map(|why| {
        let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
        status.set_message(why.as_str()).set_type("unknown");
        TestCase::new("which tests really ran", status)
    }));
    suite
}

fn suite(lane: &str, check: &CheckReport) -> TestSuite {
    let mut suite = TestSuite::new(format!("{lane}/{}", check.name));
    suite.set_time(seconds(check.seconds.unwrap_or_default()));
    suite.add_test_cases(check.results.tests.iter().map(|test| {
        let mut case = TestCase::new(test.name.as_str(), status(test));
        case.set_classname(test.suite.as_str());
        if let Some(time) = test.seconds {
            case.set_time(seconds(time));
        }
        case
    }));
    // The check itself counts where its tests do not show how it ended.
    let is_shown = !check.results.tests.is_empty()
        && (check.outcome == Outcome::Passed || check.results.bad_tests().next().is_some());
    if !is_shown {
        let mut case = TestCase::new(check.name.as_str(), check_status(check));
        case.set_classname(lane);
        case.set_time(seconds(check.seconds.unwrap_or_default()));
        suite.add_test_case(case);
    }
    suite
}

fn status(test: &TestResult) -> TestCaseStatus {
    let mut status = match test.outcome {
        TestOutcome::Passed => return TestCaseStatus::success(),
        TestOutcome::Ignored => TestCaseStatus::skipped(),
        TestOutcome::Failed => TestCaseStatus::non_success(NonSuccessKind::Failure),
        TestOutcome::Unfinished => TestCaseStatus::non_success(NonSuccessKind::Error),
    };
    let message = test.message.as_deref().unwrap_or(test.outcome.word());
    match &test.place {
        Some(place) => status.set_message(format!("{place}: {message}")),
        None => status.set_message(message),
    };
    if !test.output.is_empty() {
        status.set_description(test.output.as_str());
    }
    status
}

fn check_status(check: &CheckReport) -> TestCaseStatus {
    let kind = match &check.outcome {
        Outcome::Passed => return TestCaseStatus::success(),
        Outcome::Skipped { .. } | Outcome::NotRun => {
            let mut status = TestCaseStatus::skipped();
            status.set_message(check.outcome.reason().unwrap_or(check.outcome.word()));
            return status;
        }
        Outcome::Failed { .. } | Outcome::TimedOut => NonSuccessKind::Failure,
        Outcome::Unknown { .. } | Outcome::Interrupted => NonSuccessKind::Error,
    };
    let mut status = TestCaseStatus::non_success(kind);
    let found = check.results.words();
    let message = match (check.outcome.reason(), found) {
        (Some(reason), Some(found)) => format!("{reason}; {found}"),
        (Some(reason), None) => reason.to_owned(),
        (None, Some(found)) => format!("{}; {found}", check.outcome.word()),
        (None, None) => check.outcome.word().to_owned(),
    };
    status.set_message(message).set_type(check.outcome.word());
    status.set_description(description(check));
    status
}

fn description(check: &CheckReport) -> String {
    let findings: Vec<String> = check.results.findings.iter().map(finding).collect();
    if findings.is_empty() {
        check.results.last_lines.join("\n")
    } else {
        findings.join("\n\n")
    }
}

fn finding(finding: &Finding) -> String {
    let place = finding
        .place
        .as_ref()
        .map_or(String::new(), |place| format!("{place}: "));
    format!(
        "{place}{}: {}\n{}",
        finding.severity.word(),
        finding.message,
        finding.detail
    )
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}
