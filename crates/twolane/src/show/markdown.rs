//! A report as Markdown, as GitHub and others show it. Whatever a box wrote stands escaped or in a code block.

use std::fmt::Write;

use model::{
    check::Outcome,
    report::{CheckReport, LaneReport, Report},
    results::{Finding, TestResult},
    skips::{Skipped, Split},
};

use super::{
    clean::{one_line, plain_lines},
    text::show_seconds,
};

/// Failing tests whose output is shown.
const TESTS_MAX: usize = 30;
/// Findings of a check that are shown.
const FINDINGS_MAX: usize = 30;
/// Tests that no lane really ran that are shown.
const SKIPS_MAX: usize = 100;
/// How much of an output is shown, in bytes: its end.
const OUTPUT_MAX: usize = 6 * 1024;
/// A comment on GitHub has at most 65,536 characters.
const COMMENT_MAX: usize = 64 * 1024;
/// Where outputs stop, so that the lines that name what failed still fit.
const OUTPUTS_MAX: usize = 40 * 1024;

/// Returns the report as Markdown, short enough for a comment.
pub(crate) fn markdown(report: &Report) -> String {
    let mut text = String::new();
    let run = report.run.as_ref().map_or("?", |run| run.as_str());
    let verdict = report.verdict.map_or("not ended", |verdict| verdict.words());
    let spent = match report.spent() {
        spent if spent.is_nothing() => String::new(),
        spent => format!(", cost {spent}"),
    };
    let of = report.revision.as_ref().map_or(String::new(), |revision| {
        format!(", commit {}", escape(&revision.to_string()))
    });
    put(
        &mut text,
        format_args!(
            "## {}: {verdict}\n\nRun `{run}`, {}{spent}{of}.\n",
            escape(&report.project),
            show_seconds(report.seconds())
        ),
    );
    for notice in &report.notices {
        put(&mut text, format_args!("\n> {}\n", escape(notice)));
    }
    put(
        &mut text,
        format_args!("\n| lane | check | outcome | time | found |\n| --- | --- | --- | ---: | --- |\n"),
    );
    for (name, lane) in &report.lanes {
        lane_rows(&mut text, name, lane);
    }
    for (name, lane) in &report.lanes {
        lane_details(&mut text, name, lane);
    }
    if let Some(split) = &report.split {
        skips(&mut text, split);
    }
    fitted(text)
}

/// Cuts what is too long for a comment, between two lines: outputs have stopped long before.
fn fitted(mut text: String) -> String {
    const CUT: &str = "\nThe rest is too long for a comment: see the report page.\n";
    if text.len() > COMMENT_MAX {
        let end = text.floor_char_boundary(COMMENT_MAX - CUT.len());
        text.truncate(text[..end].rfind('\n').unwrap_or(0));
        text.push_str(CUT);
    }
    text
}

fn skips(text: &mut String, split: &Split) {
    let new: Vec<&Skipped> = split.new_skips().collect();
    let notes = super::skips::notes(split);
    if new.is_empty() && notes.is_empty() && split.why_failed.is_empty() {
        return;
    }
    put(text, format_args!("\n### Tests that no lane really ran\n\n"));
    for why in &split.why_failed {
        put(text, format_args!("**{}**\n\n", escape(why)));
    }
    for skipped in new.iter().take(SKIPS_MAX) {
        put(
            text,
            format_args!(
                "- **{}**: {}\n",
                escape(&skipped.id.to_string()),
                escape(&skipped.why)
            ),
        );
    }
    left_out(text, new.len(), SKIPS_MAX, "tests");
    for note in notes {
        put(text, format_args!("\n> {}\n", escape(&note)));
    }
}

fn lane_rows(text: &mut String, name: &str, lane: &LaneReport) {
    for check in &lane.checks {
        let time = check.seconds.map_or(String::new(), show_seconds);
        let found = [check.outcome.reason().map(str::to_owned), check.results.words()];
        let found: Vec<String> = found.into_iter().flatten().map(|part| escape(&part)).collect();
        put(
            text,
            format_args!(
                "| {} | {} | {} {} | {time} | {} |\n",
                escape(name),
                escape(&check.name),
                sign(&check.outcome),
                check.outcome.word(),
                found.join("; ")
            ),
        );
    }
}

fn lane_details(text: &mut String, name: &str, lane: &LaneReport) {
    if let Some(why) = &lane.failure {
        put(
            text,
            format_args!("\n### {} could not go on\n\n{}\n", escape(name), block(why)),
        );
        if let Some(help) = &lane.help {
            put(text, format_args!("\n{}\n", escape(help)));
        }
    }
    if let Some(left) = &lane.left {
        put(
            text,
            format_args!(
                "\n> The box of {} is still there: {}\n",
                escape(name),
                escape(left)
            ),
        );
    }
    for check in &lane.checks {
        check_details(text, name, check);
    }
}

fn check_details(text: &mut String, lane: &str, check: &CheckReport) {
    let bad: Vec<&TestResult> = check.results.bad_tests().collect();
    let findings = &check.results.findings;
    let is_unexplained = check.outcome.is_failure() && bad.is_empty() && findings.is_empty();
    if bad.is_empty() && findings.is_empty() && !is_unexplained {
        return;
    }
    put(
        text,
        format_args!("\n### {}: {}\n\n", escape(lane), escape(&check.name)),
    );
    for test in bad.iter().take(TESTS_MAX) {
        test_details(text, test);
    }
    left_out(text, bad.len(), TESTS_MAX, "tests");
    for finding in findings.iter().take(FINDINGS_MAX) {
        put(text, format_args!("- {}\n", finding_line(finding)));
    }
    left_out(text, findings.len(), FINDINGS_MAX, "findings");
    if is_unexplained {
        let output = output(text, &check.results.last_lines.join("\n"));
        put(text, format_args!("{output}\n"));
    }
}

/// Returns an output as a block, or where to find it when too much stands before it.
fn output(before: &str, output: &str) -> String {
    match before.len() < OUTPUTS_MAX {
        true => block(output),
        false => "Its output is on the report page.".to_owned(),
    }
}

fn test_details(text: &mut String, test: &TestResult) {
    let place = test
        .place
        .as_ref()
        .map_or(String::new(), |place| format!(" at {place}"));
    let message = test
        .message
        .as_ref()
        .map_or(String::new(), |message| format!("<br>{}", html(message)));
    let output = output(text, &test.output);
    // Without a block it is one line, which a cut leaves whole.
    let gap = if output.contains('\n') { "\n\n" } else { "" };
    put(
        text,
        format_args!(
            "<details><summary>{} {} <b>{}</b>{}{message}</summary>{gap}{output}{gap}</details>\n",
            html(test.outcome.word()),
            html(&test.suite),
            html(&test.name),
            html(&place),
        ),
    );
}

fn finding_line(finding: &Finding) -> String {
    let code = finding
        .code
        .as_ref()
        .map_or(String::new(), |code| format!(" {}", escape(code)));
    let place = finding
        .place
        .as_ref()
        .map_or(String::new(), |place| format!(" {}", escape(&place.to_string())));
    format!(
        "**{}**{code}{place}: {}",
        finding.severity.word(),
        escape(&finding.message)
    )
}

fn left_out(text: &mut String, number: usize, shown: usize, what: &str) {
    if number > shown {
        put(text, format_args!("\nand {} more {what}\n", number - shown));
    }
}

fn sign(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Passed => "✅",
        Outcome::Failed { .. } | Outcome::TimedOut | Outcome::Unknown { .. } => "❌",
        Outcome::Skipped { .. } | Outcome::NotRun | Outcome::Interrupted => "⚪",
    }
}

/// Returns text as one line in which nothing is markup.
pub(super) fn escape(text: &str) -> String {
    let line = one_line(text);
    let mut escaped = String::with_capacity(line.len());
    for c in line.chars() {
        match c {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '\\' | '`' | '*' | '_' | '{' | '}' | '[' | ']' | '(' | ')' | '#' | '|' | '!' | '~' | '@' => {
                escaped.push('\\');
                escaped.push(c);
            }
            c => escaped.push(c),
        }
    }
    escaped
}

/// Returns text as one line for an HTML element.
fn html(text: &str) -> String {
    maud::Render::render(&one_line(text)).into_string()
}

/// Returns text in a code block whose fence is longer than any in the text.
fn block(text: &str) -> String {
    let cut = text.len().saturating_sub(OUTPUT_MAX);
    let text = &text[text.ceil_char_boundary(cut)..];
    let lines = plain_lines(text);
    let mut fence = 3;
    for line in &lines {
        let run = line.split(|c| c != '`').map(str::len).max().unwrap_or(0);
        fence = fence.max(run + 1);
    }
    let fence = "`".repeat(fence);
    format!("{fence}text\n{}\n{fence}", lines.join("\n"))
}

fn put(text: &mut String, arguments: std::fmt::Arguments) {
    // Writing into a `String` can not fail.
    let _ = text.write_fmt(arguments);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_report_fits_a_comment_and_names_its_failures() {
        let mut report = Report::default();
        for lane in 0..4 {
            let test = |number: usize| TestResult {
                suite: "suite".to_owned(),
                name: format!("test_{lane}_{number}"),
                outcome: model::results::TestOutcome::Failed,
                seconds: None,
                message: None,
                output: "ä <output>\n".repeat(2_000),
                place: None,
            };
            let check = CheckReport {
                name: "unit".to_owned(),
                slug: "unit".to_owned(),
                run: "cargo test".to_owned(),
                outcome: Outcome::TimedOut,
                seconds: None,
                has_begun: true,
                began: None,
                junit: None,
                record: None,
                expect: None,
                taken_from: None,
                results: model::results::CheckResults {
                    tests: (0..TESTS_MAX).map(test).collect(),
                    ..Default::default()
                },
            };
            let of_lane = report.lanes.entry(format!("lane-{lane}")).or_default();
            of_lane.checks.push(check);
        }
        let text = markdown(&report);
        assert!(text.len() <= COMMENT_MAX, "{}", text.len());
        assert!(
            text.contains("test\\_3\\_29") || text.contains("test_3_29"),
            "{}",
            &text[text.len() - 2_000..]
        );
        assert_eq!(
            text.matches("<details>").count(),
            text.matches("</details>").count()
        );
    }

    #[test]
    fn nothing_that_a_box_wrote_is_markup() {
        assert_eq!(
            escape("a|b <img> `c` [d](e)\nf"),
            "a\\|b &lt;img&gt; \\`c\\` \\[d\\]\\(e\\) f"
        );
        assert_eq!(html("<b>\"&"), "&lt;b&gt;&quot;&amp;");
        assert_eq!(
            block("a ```` b\n</details>"),
            "`````text\na ```` b\n</details>\n`````"
        );
    }
}
