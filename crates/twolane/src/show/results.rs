//! What the checks of a run found, read from the files that they left in the run's directory.

use std::{
    fs::File,
    io::{self, Read},
};

use camino::Utf8Path;
use model::{
    check::Outcome,
    report::{CheckReport, LaneReport, Report},
    results::{CheckResults, Reader, TestResult, read_junit},
};

use super::{
    clean::{Lines, one_line, plain, plain_lines},
    record::{find, log_path, past_reports, read_plan},
    skips,
};

/// A JUnit file that is bigger is refused.
const JUNIT_MAX: u64 = 256 << 20;

/// Fills in what the checks found. What they found can turn a check that passed into one that failed.
pub(crate) fn fill(report: &mut Report, run_dir: &Utf8Path) {
    let plan = read_plan(run_dir).ok();
    let source = plan
        .as_ref()
        .and_then(|plan| plan.sources.first().map(model::source::Source::remote_dir));
    let mut found = Vec::new();
    for (name, lane) in &report.lanes {
        for check in &lane.checks {
            let mut results = of_check(run_dir, name, lane, check);
            if let Some(source) = &source {
                results.make_relative(source);
            }
            found.push((name.clone(), check.slug.clone(), results));
        }
    }
    for (lane, slug, results) in found {
        report.take_results(&lane, &slug, results);
    }
    report.take_taken_over();
    skips::fill(report, run_dir, plan.as_ref());
    report.take_expectations();
    if let Some(plan) = plan {
        (report.revision, report.owner) = (plan.revision, plan.owner);
    }
    report.take_history(&past_reports(run_dir, &report.project));
}

/// Returns what one check found.
pub(crate) fn of_check(
    run_dir: &Utf8Path,
    lane_name: &str,
    lane: &LaneReport,
    check: &CheckReport,
) -> CheckResults {
    let has_passed = check.outcome == Outcome::Passed;
    let log = log_path(run_dir, lane_name, &check.slug);
    let mut results = read_log(&log, has_passed).unwrap_or_else(|error| {
        let mut results = CheckResults::default();
        // A check that wrote nothing has no file.
        if error.kind() != io::ErrorKind::NotFound {
            results.notes.push(format!("could not read {log}: {error}"));
        }
        results
    });
    // Files come back only at the end.
    if let (Some(junit), Some(_)) = (&check.junit, lane.verdict)
        && check.has_begun
    {
        let mut from_file = CheckResults::default();
        match find(run_dir, lane, junit).and_then(|path| read_file(&path, &mut from_file)) {
            Ok(()) => {
                if from_file.tally().is_empty() {
                    results.notes.push(format!("its JUnit file {junit} has no test"));
                }
                from_file.tests.iter_mut().for_each(make_harmless);
                results.take_junit(from_file, has_passed);
            }
            Err(why) => results.problems.push(format!(
                "its JUnit file {junit} can not be used: {}",
                one_line(&why)
            )),
        }
    }
    results
}

fn read_log(path: &Utf8Path, has_passed: bool) -> io::Result<CheckResults> {
    let mut file = File::open(path)?;
    let mut lines = Lines::default();
    let mut reader = Reader::default();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        for line in lines.take(&buffer[..read]) {
            reader.take(&plain_line(line));
        }
    }
    if let Some(line) = lines.finish() {
        reader.take(&plain_line(line));
    }
    Ok(reader.finish(has_passed))
}

/// Returns the line without colours; most lines have none.
fn plain_line(line: String) -> String {
    if line.contains('\x1b') { plain(&line) } else { line }
}

fn read_file(path: &Utf8Path, results: &mut CheckResults) -> Result<(), String> {
    let cannot = |error: io::Error| format!("could not read {path}: {error}");
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(cannot)?;
    file.take(JUNIT_MAX + 1).read_to_end(&mut bytes).map_err(cannot)?;
    if bytes.len() as u64 > JUNIT_MAX {
        return Err(format!("it is bigger than {} MiB", JUNIT_MAX >> 20));
    }
    read_junit(&String::from_utf8_lossy(&bytes), results)
}

/// A JUnit file can hold by reference what a log can not hold.
fn make_harmless(test: &mut TestResult) {
    for text in [&mut test.suite, &mut test.name] {
        *text = one_line(text);
    }
    if let Some(message) = &mut test.message {
        *message = one_line(message);
    }
    if let Some(place) = &mut test.place {
        place.file = one_line(&place.file);
    }
    test.output = plain_lines(&test.output).join("\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_read_without_its_colours_and_its_end_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let dir = Utf8Path::from_path(dir.path()).unwrap();
        let path = dir.join("test.log");
        let mut text = b"\x1b[1mrunning 1 test\x1b[0m\ntest <b>\xff ... \x1b[31mFAILED\x1b[0m\n\ntest result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s\n".to_vec();
        text.extend((0..5_000).flat_map(|number| format!("line {number}\n").into_bytes()));
        std::fs::write(&path, text).unwrap();
        let results = read_log(&path, false).unwrap();
        assert_eq!(results.tests[0].name, "<b>\u{fffd}");
        assert_eq!(results.tally().words(), "1 failed");
        assert_eq!(results.last_lines.last().map(String::as_str), Some("line 4999"));
    }

    #[test]
    fn what_a_junit_file_refers_to_is_made_harmless() {
        let dir = tempfile::tempdir().unwrap();
        let path = Utf8Path::from_path(dir.path()).unwrap().join("junit.xml");
        std::fs::write(
            &path,
            "<testsuite><testcase name='a&#x202e;b&#27;[2Jc'><failure>x&#10;&#27;[31my</failure></testcase></testsuite>",
        )
        .unwrap();
        let mut results = CheckResults::default();
        read_file(&path, &mut results).unwrap();
        results.tests.iter_mut().for_each(make_harmless);
        assert_eq!(
            (results.tests[0].name.as_str(), results.tests[0].output.as_str()),
            ("abc", "x\ny")
        );
    }
}
