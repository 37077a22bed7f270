use super::*;

#[track_caller]
fn read(output: &str, has_passed: bool) -> CheckResults {
    let mut reader = Reader::default();
    output.lines().for_each(|line| reader.take(line));
    reader.finish(has_passed)
}

/// Writes results down as a list: one line for each test and finding.
fn list(results: &CheckResults) -> String {
    let mut lines = vec![results.words().unwrap_or_else(|| "nothing".to_owned())];
    for test in &results.tests {
        let place = test
            .place
            .as_ref()
            .map_or(String::new(), |place| format!(" @ {place}"));
        let message = test
            .message
            .as_ref()
            .map_or(String::new(), |text| format!(" | {text}"));
        let output = match test.output.lines().count() {
            0 => String::new(),
            number => format!(" [{number} lines]"),
        };
        lines.push(format!(
            "{} | {} | {}{place}{message}{output}",
            test.outcome.word(),
            test.suite,
            test.name
        ));
    }
    for finding in &results.findings {
        let code = finding
            .code
            .as_ref()
            .map_or(String::new(), |code| format!("[{code}]"));
        let place = finding
            .place
            .as_ref()
            .map_or(String::new(), |place| format!(" @ {place}"));
        let output = finding.detail.lines().count();
        lines.push(format!(
            "{}{code}: {}{place} [{output} lines]",
            finding.severity.word(),
            finding.message
        ));
    }
    if !results.unnamed.is_empty() {
        lines.push(format!("without a name: {}", results.unnamed.words()));
    }
    lines.extend(results.problems.iter().map(|text| format!("problem: {text}")));
    lines.extend(results.notes.iter().map(|text| format!("note: {text}")));
    lines.join("\n")
}

/// Reads a recorded output as the program does: without escape sequences.
fn recorded(output: &str) -> String {
    list(&read(
        &output
            .replace("\u{1b}[31m", "")
            .replace("\u{1b}[32m", "")
            .replace("\u{1b}(B\u{1b}[m", ""),
        false,
    ))
}

#[test]
fn every_test_of_cargo_test_is_reported_with_its_outcome() {
    insta::assert_snapshot!(recorded(include_str!("recorded/cargo-test.txt")));
}

#[test]
fn output_between_the_lines_of_the_harness_does_not_hide_a_test() {
    insta::assert_snapshot!(recorded(include_str!("recorded/cargo-test-nocapture.txt")));
    insta::assert_snapshot!(recorded(include_str!("recorded/cargo-test-nocapture-1.txt")));
}

#[test]
fn quiet_output_reports_the_failures_and_the_numbers() {
    insta::assert_snapshot!(recorded(include_str!("recorded/cargo-test-quiet.txt")));
}

#[test]
fn nextest_reports_its_tests_in_words_and_in_junit() {
    insta::assert_snapshot!(recorded(include_str!("recorded/nextest.txt")));
    let mut results = CheckResults::default();
    read_junit(include_str!("recorded/nextest-junit.xml"), &mut results).unwrap();
    insta::assert_snapshot!(list(&results));
    let adds_wrongly = results
        .tests
        .iter()
        .find(|test| test.name == "tests::adds_wrongly")
        .unwrap();
    assert!(
        adds_wrongly.output.contains("about to add <b>1 & 2</b>"),
        "{}",
        adds_wrongly.output
    );
}

#[test]
fn tools_report_what_they_found() {
    for (name, output) in [
        ("fmt", include_str!("recorded/fmt.txt")),
        ("clippy", include_str!("recorded/clippy.txt")),
        ("check-warnings", include_str!("recorded/check-warnings.txt")),
        ("does-not-compile", include_str!("recorded/does-not-compile.txt")),
        ("deny", include_str!("recorded/deny.txt")),
        ("deny-licence", include_str!("recorded/deny-licence.txt")),
        ("audit", include_str!("recorded/audit.txt")),
    ] {
        insta::assert_snapshot!(name, recorded(output));
    }
}

#[test]
fn a_binary_that_leaves_in_the_midst_of_its_tests_has_not_passed() {
    let output = "running 3 tests\ntest a ... ok\n";
    assert_eq!(
        read(output, true).problems,
        ["it returned 0, but 2 tests never came to an end"]
    );
    assert!(read(output, false).problems.is_empty());
    let whole = "running 1 test\ntest a ... ok\n\ntest result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s\n";
    assert!(read(whole, true).problems.is_empty());
}

#[test]
fn threads_that_begin_lines_at_once_are_distinguished() {
    let results = read(
        "running 2 tests\ntest a ... test b ... ok\nok\n\ntest result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s",
        true,
    );
    assert_eq!(list(&results), "2 passed\npassed |  | a\npassed |  | b");
}

#[track_caller]
fn check_junit(text: &str, expected: Result<&str, &str>) {
    let mut results = CheckResults::default();
    let got = read_junit(text, &mut results).map(|()| list(&results));
    match (got, expected) {
        (Ok(got), Ok(expected)) => assert_eq!(got, expected, "{text}"),
        (Err(got), Err(expected)) => assert!(got.contains(expected), "{got:?} for {text}"),
        (got, expected) => panic!("{got:?} in place of {expected:?} for {text}"),
    }
}

#[test]
fn a_junit_file_is_read_whole_or_refused() {
    let case = r#"<testcase name="a" classname="c"/>"#;
    check_junit(
        &format!("<testsuite>{case}</testsuite>"),
        Ok("1 passed\npassed | c | a"),
    );
    check_junit(
        &format!(
            r#"<testsuites tests="2"><testsuite tests="2">{case}<testsuite name="in" tests="1"><testcase name="b" time="1,234.5"/></testsuite></testsuite></testsuites>"#
        ),
        Ok("2 passed\npassed | c | a\npassed | in | b"),
    );
    check_junit(
        r#"<testsuite><testcase name="a"><failure message="no"/><skipped/></testcase></testsuite>"#,
        Ok("1 failed\nfailed |  | a | no"),
    );
    check_junit(
        r#"<testsuite><testcase name="&lt;b&gt;"><error>a &amp; &#x41;<![CDATA[<b>]]></error></testcase></testsuite>"#,
        Ok("1 failed\nfailed |  | <b> | a & A<b> [1 lines]"),
    );
    check_junit(
        &format!(r#"<testsuite tests="2">{case}</testsuite>"#),
        Err("says it has 2 tests, but 1 are there"),
    );
    check_junit(
        &format!(r#"<testsuite tests="x">{case}</testsuite>"#),
        Err("is no number"),
    );
    check_junit(&format!("<testsuite>{case}"), Err("cut off"));
    check_junit("<testsuite><testcase name=\"a", Err(""));
    check_junit("", Err("empty"));
    check_junit("<html></html>", Err("begins with <html>"));
    check_junit(&"<testsuite>".repeat(100_000), Err("deep"));
}

#[test]
fn no_entity_is_expanded() {
    let bomb = r#"<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;"><!ENTITY f SYSTEM "file:///etc/passwd">]>"#;
    for name in ["b", "f"] {
        check_junit(
            &format!(
                r#"{bomb}<testsuite><testcase name="a"><failure>&{name};</failure></testcase></testsuite>"#
            ),
            Err("is not expanded"),
        );
        check_junit(
            &format!(r#"{bomb}<testsuite><testcase name="&{name};"/></testsuite>"#),
            Err(""),
        );
    }
}

#[test]
fn what_is_kept_is_bounded() {
    let mut reader = Reader::default();
    reader.take("running 1 test");
    reader.take("test a ... FAILED");
    reader.take("failures:");
    reader.take("---- a stdout ----");
    for number in 0..100_000 {
        reader.take(&format!("line {number}"));
    }
    for number in 0..10_000 {
        reader.take(&format!("error: wrong {number}"));
    }
    let results = reader.finish(false);
    assert!(results.tests[0].output.len() < 17 * 1024);
    assert!(results.tests[0].output.ends_with("error: wrong 9999"));
    assert_eq!(results.last_lines.len(), LAST_LINES);
    assert_eq!(results.earlier_lines, 110_004 - LAST_LINES as u64);
    let mut reader = Reader::default();
    for number in 0..3_000 {
        reader.take(&format!("error: wrong {number}"));
        reader.take(&"x".repeat(100_000));
        reader.take("");
    }
    let results = reader.finish(false);
    assert_eq!(
        (results.findings.len(), results.more_findings),
        (FINDINGS_MAX, 2_000)
    );
    assert!(results.findings[0].detail.len() < 5_000);
}

#[test]
fn of_a_long_line_the_beginning_and_the_end_are_kept() {
    let mut reader = Reader::default();
    reader.take(&format!("begin{}end", "ä".repeat(50_000)));
    let results = reader.finish(false);
    let line = &results.last_lines[0];
    assert!(line.starts_with("begin") && line.ends_with("end"), "{line}");
    assert!(line.len() < 2_100, "{}", line.len());
}

proptest::proptest! {
    #[test]
    fn no_output_makes_the_readers_panic(
        lines in proptest::collection::vec(
            "(test |running |     Running |failures:|---- |error|warning\\[|Diff in |Crate:  |  Summary \\[|   PASS \\[| Starting 1 tests across |test result: ok. )?[ -~äöü:.\\[\\]()]{0,40}( \\.\\.\\. ok| stdout ----|\\)|:)?",
            0..40,
        )
    ) {
        let mut reader = Reader::default();
        lines.iter().for_each(|line| reader.take(line));
        reader.finish(true);
    }

    #[test]
    fn no_junit_makes_the_reader_panic(text in "(<testsuite|<testcase|<failure| name=\"|\"|>|</|/>|&|;|a|<!\\[CDATA\\[){0,60}") {
        let _ = read_junit(&text, &mut CheckResults::default());
    }
}

#[test]
fn harness_that_never_ended_fails_a_check_that_returned_zero() {
    for text in [
        "running 2 tests\ntest a ... ok\ntest b ... ok",
        "    Starting 8 tests across 3 binaries\n        PASS [   0.201s] alpha tests::adds",
    ] {
        let mut results = read(text, true);
        results.take_junit(CheckResults::default(), true);
        assert_eq!(results.problems.len(), 1, "{text}");
        let results = read(text, false);
        assert_eq!((results.problems.len(), results.notes.len()), (0, 1), "{text}");
    }
}

#[test]
fn failed_test_in_junit_fails_a_check_that_returned_zero() {
    let text = "<testsuite><testcase name='a'><failure/></testcase><testcase name='b'/></testsuite>";
    let mut junit = CheckResults::default();
    read_junit(text, &mut junit).unwrap();
    for (has_passed, problems) in [(true, 1), (false, 0)] {
        let mut results = CheckResults::default();
        results.take_junit(junit.clone(), has_passed);
        assert_eq!(results.problems.len(), problems);
    }
}

#[test]
fn numbers_without_bound_do_not_overflow() {
    let most = u64::MAX;
    let text = format!(
        "running {most} tests\ntest result: ok. {most} passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0s\n"
    );
    let results = read(&text.repeat(3), true);
    assert_eq!(results.tally().all(), most);
    read(
        &format!(
            "test result: ok. {most} passed; {most} failed; {most} ignored; {most} measured; 0 filtered out"
        ),
        true,
    );
}
