//! Reports in words for people.

use std::time::Duration;

use anstyle::Style;
use camino::Utf8Path;
use model::{
    event::Step,
    report::{Changes, CheckReport, LaneReport, Report},
    results::{Severity, TestResult},
    time::{Timestamp, show_length},
};

use super::{
    clean::plain,
    record::log_path,
    skips,
    table::table,
    text::{
        BAD, BOLD, DIM, ODD, copied, cost_and_plan, in_brackets, outcome_style, paint, safe, show_seconds,
        verdict_style,
    },
};

/// Failing tests of a check that are listed.
const TESTS_MAX: usize = 50;
/// Findings of a check that are listed.
const FINDINGS_MAX: usize = 30;

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
