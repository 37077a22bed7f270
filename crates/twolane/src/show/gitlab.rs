//! What a job of GitLab CI folds: a section for each lane. Open is what did not pass.

use camino::Utf8Path;
use model::{
    report::{LaneReport, Report},
    verdict::Verdict,
};

use super::{stream::Style, summary};

/// Prints a report; in a job of GitLab CI with a section for each lane.
pub(crate) fn report(style: Style, report: &Report, run_dir: &Utf8Path) {
    if std::env::var("GITLAB_CI").as_deref() != Ok("true") {
        style.result(&summary::report(report, run_dir));
        return;
    }
    style.result(&summary::head(report));
    for (name, lane) in &report.lanes {
        let is_folded = lane.verdict == Some(Verdict::Passed);
        // The marks are no colours: they stay where those are taken out.
        style.raw(begin(name, lane, is_folded).as_bytes());
        style.result(&summary::lane(name, lane, report.last, run_dir));
        style.raw(end(name, lane).as_bytes());
    }
    if let Some(tail) = summary::tail(report) {
        style.result(&tail);
    }
}

fn begin(name: &str, lane: &LaneReport, is_folded: bool) -> String {
    let began = lane.steps.first().map_or(0, |step| step.began.as_second());
    let how = if is_folded { "[collapsed=true]" } else { "" };
    format!("\x1b[0Ksection_start:{began}:lane-{name}{how}\r\x1b[0Klane {name}\n")
}

fn end(name: &str, lane: &LaneReport) -> String {
    let ended = lane.steps.last().map_or(0, |step| {
        step.began.as_second() + step.seconds.unwrap_or_default() as i64
    });
    format!("\x1b[0Ksection_end:{ended}:lane-{name}\r\x1b[0K\n")
}
