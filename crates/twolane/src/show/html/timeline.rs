//! When each step began and how long it took, all lanes on one scale: down to the steps of stage 1 and the single checks.

use maud::{Markup, html as markup};
use model::{
    check::Outcome,
    event::Step,
    report::{CheckReport, LaneReport, Report, Stage1Report, StepReport},
    time::{Timestamp, between},
};

use super::words::line;
use crate::show::text::show_seconds;

/// One line of the timeline, in seconds since the run began.
#[derive(Debug, PartialEq)]
struct Row {
    name: String,
    is_part: bool,
    began: f64,
    /// None when the end was not seen.
    seconds: Option<f64>,
    class: &'static str,
    note: Option<String>,
}

/// Shows the timeline.
pub(super) fn timeline(report: &Report) -> Markup {
    let (Some(began), total) = (report.began, report.seconds().max(0.001)) else {
        return markup! {};
    };
    markup! {
        section aria-labelledby="timeline" {
            h2 id="timeline" { "Timeline" }
            @for (name, lane) in &report.lanes {
                h3 { (line(name)) }
                ol.timeline { @for row in rows(lane, began) { (show(&row, total)) } }
            }
        }
    }
}

fn show(row: &Row, total: f64) -> Markup {
    let left = (row.began / total * 100.0).clamp(0.0, 100.0);
    let width = row
        .seconds
        .map_or(100.0, |seconds| seconds / total * 100.0)
        .clamp(0.0, 100.0 - left);
    markup! {
        li.part[row.is_part] {
            span.name {
                (line(&row.name))
                @if let Some(note) = &row.note { " " span class=(row.class) { (line(note)) } }
            }
            span.track aria-hidden="true" { i class=(row.class) style=(format!("left:{left:.3}%;width:{width:.3}%")) {} }
            span.time {
                @match row.seconds { Some(seconds) => (show_seconds(seconds)), None => "not ended" }
            }
        }
    }
}

fn rows(lane: &LaneReport, began: Timestamp) -> Vec<Row> {
    let mut rows = Vec::new();
    for step in &lane.steps {
        let at = between(began, step.began).as_secs_f64();
        rows.push(of_step(step, at));
        match step.step {
            Step::Stage1 => rows.extend(of_stage1(&lane.stage1, step, began)),
            Step::Checks => rows.extend(lane.checks.iter().filter_map(|check| of_check(check, began))),
            _ => {}
        }
    }
    rows
}

fn of_step(step: &StepReport, at: f64) -> Row {
    Row {
        name: step.step.to_string(),
        is_part: false,
        began: at,
        seconds: step.seconds,
        class: if step.failure.is_some() { "bad" } else { "" },
        note: step.failure.as_ref().map(|_| "failed".to_owned()),
    }
}

/// The steps of stage 1 carry the box's clock. Where that is not ours, the first of them is put where stage 1 begins.
fn of_stage1(parts: &[Stage1Report], step: &StepReport, began: Timestamp) -> Vec<Row> {
    let Some(first) = parts.first() else {
        return Vec::new();
    };
    let start = step.began.as_millisecond() as f64 / 1e3;
    let length = step.seconds.unwrap_or(f64::MAX);
    // It may begin before we could look: the box boots while we try to connect.
    let is_ours = (start - 300.0..=start + length).contains(&first.began);
    let shift = if is_ours { 0.0 } else { start - first.began };
    let began = began.as_millisecond() as f64 / 1e3;
    let row = |part: &Stage1Report| Row {
        name: part.step.clone(),
        is_part: true,
        began: part.began + shift - began,
        seconds: part.seconds.or((part.what != "begin").then_some(0.0)),
        class: match part.what.as_str() {
            "failed" => "bad",
            "skipped" => "odd",
            _ => "",
        },
        note: matches!(part.what.as_str(), "failed" | "skipped").then(|| part.what.clone()),
    };
    parts.iter().map(row).collect()
}

fn of_check(check: &CheckReport, began: Timestamp) -> Option<Row> {
    let at = between(began, check.began?).as_secs_f64();
    Some(Row {
        name: check.name.clone(),
        is_part: true,
        began: at,
        seconds: check.seconds,
        class: match check.outcome {
            Outcome::Passed => "",
            Outcome::Failed { .. } | Outcome::TimedOut | Outcome::Unknown { .. } => "bad",
            Outcome::Skipped { .. } | Outcome::NotRun | Outcome::Interrupted => "odd",
        },
        note: (check.outcome != Outcome::Passed).then(|| check.outcome.word().to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(box_time: f64, expected: f64) {
        let began: Timestamp = "2026-01-02T03:04:00Z".parse().unwrap();
        let step = StepReport {
            step: Step::Stage1,
            began: "2026-01-02T03:04:30Z".parse().unwrap(),
            seconds: Some(60.0),
            failure: None,
        };
        let part = Stage1Report {
            step: "packages".to_owned(),
            began: box_time,
            seconds: Some(2.0),
            what: "ok".to_owned(),
            message: None,
        };
        assert_eq!(of_stage1(&[part], &step, began)[0].began, expected);
    }

    #[test]
    fn a_box_whose_clock_is_wrong_begins_with_stage_1() {
        check(1_767_323_075.0, 35.0);
        check(1_767_323_065.0, 25.0);
        check(1_000.0, 30.0);
        check(1_967_323_075.0, 30.0);
    }
}
