//! Reports of runs that were recorded: every format, hostile names, a great many tests, checks that print without end,
//! and the page in a real browser.

use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::{Value, json};
use tempfile::TempDir;

const FIRST: &str = "20260102-030405-abcd";
const SECOND: &str = "20260103-030405-abcd";
const CARGO_TEST: &str = include_str!("../../model/src/results/recorded/cargo-test.txt");
const CLIPPY: &str = include_str!("../../model/src/results/recorded/clippy.txt");
const HOSTILE: &str = r#"<testsuite tests="2"><testcase name="&lt;script&gt;alert(1)&lt;/script&gt;" classname="x&quot;&gt;&lt;img src=http://127.0.0.1:9/a&gt;">
<failure message="&lt;/pre&gt;&lt;script src='//127.0.0.1:9/b'&gt;">```&#10;&lt;/details&gt;&#27;[31m</failure></testcase><testcase name="fine"/></testsuite>"#;

struct Place {
    temp: TempDir,
}

impl Place {
    fn new() -> Self {
        Self {
            temp: tempfile::tempdir().unwrap(),
        }
    }

    fn run_dir(&self, run: &str) -> PathBuf {
        self.temp.path().join("runs").join(run)
    }

    fn write(&self, path: &Path, bytes: impl AsRef<[u8]>) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    /// Records a run of one lane: `unit` prints `log` and ends with `code`, `junit` passes and has written `junit`.
    fn record(&self, run: &str, log: &str, code: u8, junit: &str) {
        let dir = self.run_dir(run);
        let outcome = match code {
            0 => json!({"outcome": "passed"}),
            _ => json!({"outcome": "failed", "how": format!("exit code {code}")}),
        };
        let verdict = if code == 0 { "passed" } else { "failed" };
        let events = [
            json!({"event": "run-began", "run": run, "project": "demo", "version": "0"}),
            json!({"event": "lane-began", "label": "demo-fast-1", "need": "none", "checks": [
                {"name": "unit", "slug": "unit", "run": "cargo test", "timeout_seconds": 60},
                {"name": "junit", "slug": "junit", "run": "true", "timeout_seconds": 60, "junit": "target/junit.xml"},
            ]}),
            json!({"event": "step-began", "step": "up"}),
            json!({"event": "step-ended", "step": "up", "failure": null}),
            json!({"event": "step-began", "step": "checks"}),
            json!({"event": "check-began", "check": "unit"}),
            json!({"event": "check-ended", "check": "unit", "outcome": outcome, "seconds": 10.0 + f64::from(code)}),
            json!({"event": "check-began", "check": "junit"}),
            json!({"event": "check-ended", "check": "junit", "outcome": {"outcome": "passed"}, "seconds": 1.0}),
            json!({"event": "step-ended", "step": "checks", "failure": null}),
            json!({"event": "collected", "files": ["fast/artifacts//home/dev/demo/target/junit.xml"], "missing": []}),
            json!({"event": "lane-ended", "verdict": verdict}),
            json!({"event": "run-ended", "verdict": verdict}),
        ];
        let lines = events.into_iter().enumerate().map(|(at, mut event)| {
            event["v"] = json!(1);
            event["at"] = json!(format!("2026-01-02T03:04:{:02}Z", at * 2));
            if !event["event"].as_str().unwrap().starts_with("run-") {
                event["lane"] = json!("fast");
            }
            format!("{event}\n")
        });
        self.write(&dir.join("events.jsonl"), lines.collect::<String>());
        self.write(&dir.join("fast/checks/unit.log"), log);
        self.write(&dir.join("fast/artifacts/home/dev/demo/target/junit.xml"), junit);
    }

    /// Has the tests of `unit` run under the tracer, which wrote down this.
    fn trace(&self, run: &str, record: impl AsRef<[u8]>) {
        let events = self.run_dir(run).join("events.jsonl");
        let reported = fs::read_to_string(&events).unwrap();
        let lines = reported.lines().map(|line| {
            let mut event: Value = serde_json::from_str(line).unwrap();
            match event["event"].as_str() {
                Some("lane-began") => event["checks"][0]["trace"] = json!(true),
                Some("collected") => {
                    let files = event["files"].as_array_mut().unwrap();
                    files.push(json!("fast/artifacts//home/dev/demo/target/twolane/unit.jsonl"));
                }
                _ => {}
            }
            format!("{event}\n")
        });
        self.write(&events, lines.collect::<String>());
        let path = "fast/artifacts/home/dev/demo/target/twolane/unit.jsonl";
        self.write(&self.run_dir(run).join(path), record);
    }

    #[track_caller]
    fn report(&self, arguments: &[&str]) -> String {
        self.run(
            Command::new(env!("CARGO_BIN_EXE_twolane")).arg("report"),
            arguments,
        )
    }

    /// Makes a report with so much memory for data, in MiB.
    #[track_caller]
    fn report_within(&self, memory: u32, arguments: &[&str]) -> String {
        let limited = format!("ulimit -d {} && exec \"$0\" report \"$@\"", memory * 1024);
        let mut bash = Command::new("bash");
        self.run(
            bash.args(["-c", &limited, env!("CARGO_BIN_EXE_twolane")]),
            arguments,
        )
    }

    #[track_caller]
    fn run(&self, command: &mut Command, arguments: &[&str]) -> String {
        let output = command
            .args(arguments)
            .env("TWOLANE_STATE_DIR", self.temp.path())
            // Outside of any project `report` means the last run of all.
            .current_dir(self.temp.path())
            .output()
            .unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{errors}");
        String::from_utf8(output.stdout).unwrap()
    }

    #[track_caller]
    fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.report(&[arguments, &["--format", "json"]].concat())).unwrap()
    }
}

#[test]
fn every_format_reports_which_test_failed_and_why() {
    let place = Place::new();
    place.record(FIRST, CARGO_TEST, 101, HOSTILE);
    for format in ["text", "json", "html", "junit", "markdown"] {
        let report = place.report(&["--format", format]);
        for wanted in [
            "adds",
            "sums differ",
            "crates/alpha/src/lib.rs",
            "no such box",
            "alert",
        ] {
            assert!(report.contains(wanted), "no {wanted:?} in {format}:\n{report}");
        }
        assert!(!report.contains('\x1b'), "{format}");
    }
    let mut read = model::results::CheckResults::default();
    model::results::read_junit(&place.report(&["--format", "junit"]), &mut read).unwrap();
    assert_eq!(read.tally().words(), "5 failed, 6 passed, 2 ignored");
    for (format, scripts) in [("html", 1), ("markdown", 0)] {
        let report = place.report(&["--format", format]);
        assert_eq!(report.matches("<script").count(), scripts, "{report}");
        assert!(!report.contains("<img"), "{report}");
    }
}

#[test]
fn a_junit_file_that_can_not_be_trusted_fails_its_check() {
    let passed = "running 1 test\ntest a ... ok\n\ntest result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s\n";
    for (junit, verdict) in [
        (
            r#"<testsuite tests="1"><testcase name="a"/></testsuite>"#,
            "passed",
        ),
        (
            r#"<testsuite tests="2"><testcase name="a"/></testsuite>"#,
            "failed",
        ),
        (r#"<testsuite tests="1"><testcase name="a"/>"#, "failed"),
        ("", "failed"),
    ] {
        let place = Place::new();
        place.record(FIRST, passed, 0, junit);
        let report = place.json(&[]);
        assert_eq!(report["verdict"], verdict, "{junit}");
        assert_eq!(
            report["lanes"]["fast"]["checks"][1]["outcome"], verdict,
            "{junit}"
        );
    }
}

#[test]
fn a_great_many_tests_make_a_page_that_a_browser_can_open() {
    let place = Place::new();
    let mut log = "running 100000 tests\n".to_owned();
    for number in 0..100_000 {
        let outcome = if number % 100 == 0 { "FAILED" } else { "ok" };
        log.push_str(&format!(
            "test some::module::with::a::long::name::<tests>::number_{number:06} ... {outcome}\n"
        ));
    }
    log.push_str("\nfailures:\n\n");
    for number in (0..100_000).step_by(100) {
        log.push_str(&format!(
            "---- some::module::with::a::long::name::<tests>::number_{number:06} stdout ----\n"
        ));
        log.push_str(&"<&\"'>".repeat(4_000));
        log.push('\n');
    }
    log.push_str("\ntest result: FAILED. 99000 passed; 1000 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.00s\n");
    place.record(FIRST, &log, 101, r#"<testsuite/>"#);
    let page = place.report(&["--format", "html"]);
    assert!(page.len() < 20_000_000, "{} bytes", page.len());
    assert!(page.contains("1000 failed, 99000 passed"));
}

/// Returns what the tracer records of tests that passed, each a binary, a name and a line of its trace.
fn traced(tests: impl IntoIterator<Item = (String, String, Option<String>)>) -> String {
    let mut text = format!("{}\n", json!({"what": "begin", "v": 1, "why": "", "kvm": false}));
    for (binary, test, line) in tests {
        let trace: Vec<String> = line.into_iter().collect();
        for line in [
            json!({"what": "listed", "binary": binary, "test": test, "ignored": false}),
            json!({"what": "began", "binary": binary, "test": test}),
            json!({"what": "ended", "binary": binary, "test": test, "code": 0, "micros": 5, "trace": trace}),
        ] {
            text += &format!("{line}\n");
        }
    }
    text + "{\"what\":\"end\",\"code\":0}\n"
}

fn refused(device: &str) -> Option<String> {
    Some(format!(
        r#"openat(AT_FDCWD</>, "{device}", O_RDWR) = -1 ENOENT (No such file or directory)"#
    ))
}

#[test]
fn a_great_many_traced_tests_stand_on_the_page_once_each() {
    const MANY: usize = 100_000;
    let skips_itself = |number: usize| number.is_multiple_of(100);
    let name = |number: usize| format!("some::module::with::a::long::name::tests::number_{number:06}");
    let place = Place::new();
    let mut log = format!("running {MANY} tests\n");
    (0..MANY).for_each(|number| log += &format!("test {} ... ok\n", name(number)));
    log += &format!("\ntest result: ok. {MANY} passed; 0 failed; 0 ignored; 0 measured; 0 filtered out\n");
    place.record(FIRST, &log, 0, "<testsuite/>");
    let tests = (0..MANY).map(|number| {
        let asked = refused("/dev/kvm").filter(|_| skips_itself(number));
        ("demo::it".to_owned(), name(number), asked)
    });
    place.trace(FIRST, traced(tests));
    let page = place.report(&["--format", "html"]);
    assert!(page.len() < 20_000_000, "{} bytes", page.len());
    let mut seen = vec![0; MANY];
    for (at, mark) in page.match_indices("tests::number_") {
        let number = &page[at + mark.len()..][..6];
        seen[number.parse::<usize>().unwrap()] += 1;
    }
    // The last lines of the output are on it too.
    let listed = &seen[..MANY - 1_000];
    for (number, times) in listed.iter().enumerate() {
        let most = if skips_itself(number) { 3 } else { 1 };
        assert!((1..=most).contains(times), "{number}: {times}");
    }
    assert!(page.contains("What asked for a device: 1000"));
}

#[test]
fn what_a_check_prints_is_never_in_memory_as_a_whole_and_its_end_is_kept() {
    /// What the check prints of each kind, and the memory in which the report has to be made, in MiB.
    const PRINTED: usize = 32;
    const MEMORY: u32 = 24;
    let place = Place::new();
    place.record(FIRST, "", 101, "<testsuite/>");
    let path = place.run_dir(FIRST).join("fast/checks/unit.log");
    let mut log = File::create(&path).unwrap();
    let many_lines = "a line of no meaning to anybody\n".repeat(1 << 15);
    let one_line = "x".repeat(1 << 20);
    for text in [&many_lines, &one_line] {
        (0..PRINTED).for_each(|_| log.write_all(text.as_bytes()).unwrap());
    }
    log.write_all(b"and this is its end").unwrap();
    for format in ["html", "json", "junit", "markdown"] {
        let report = place.report_within(MEMORY, &["--format", format]);
        assert!(report.contains("and this is its end"), "{format}");
        assert!(report.len() < 1 << 20, "{format}: {} bytes", report.len());
    }
    let text = place.report_within(MEMORY, &["--format", "text"]);
    assert!(text.contains(path.to_str().unwrap()), "{text}");
}

#[test]
fn two_runs_are_compared() {
    let place = Place::new();
    place.record(FIRST, CARGO_TEST, 101, HOSTILE);
    place.record(SECOND, CLIPPY, 0, HOSTILE);
    let changes = place.json(&["--compare", FIRST, SECOND]);
    let what: Vec<&str> = changes["outcomes"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|change| change["what"].as_str())
        .collect();
    assert!(
        what.contains(&"check unit") && what.contains(&"check unit: alpha tests::adds"),
        "{what:?}"
    );
    assert_eq!(changes["times"][0]["seconds"], json!([111.0, 10.0]));
    let text = place.report(&["--compare", FIRST, SECOND]);
    assert!(text.contains("faster") && text.contains("not there"), "{text}");
}

#[test]
fn a_report_knows_the_runs_before_it() {
    let place = Place::new();
    for run in [FIRST, SECOND] {
        place.record(run, CARGO_TEST, 101, HOSTILE);
    }
    let other = place.json(&[SECOND]);
    assert_eq!(
        other["history"],
        Value::Null,
        "the first run has no report.json yet"
    );
    let first = place.report(&[FIRST, "--format", "json"]);
    place.write(&place.run_dir(FIRST).join("report.json"), first);
    let report = place.json(&[SECOND]);
    assert_eq!(report["history"][0]["run"], FIRST);
    let mut adds = report["failed_before"].as_array().unwrap().iter();
    let adds = adds.find(|it| it["test"] == "tests::adds_wrongly").unwrap();
    assert_eq!((&adds["failed"], &adds["ran"]), (&json!(1), &json!(1)));
    let page = place.report(&[SECOND, "--format", "html"]);
    assert!(page.contains("failed in 1 of 1 earlier run)"), "{page}");
    assert!(page.contains(&format!("../{FIRST}/report.html")), "{page}");
    assert!(page.contains("href=\"./fast/checks/unit%2Elog\""), "{page}");
    assert_eq!(
        place.json(&[FIRST])["history"],
        Value::Null,
        "a later run is none before it"
    );
}

/// Loads the page as a phone would show it, and reports what can be seen of it.
const HARNESS: &str = r#"<!doctype html><meta charset="utf-8">
<iframe id="frame" src="page.html" style="border:0;width:360px;height:640px"></iframe><pre id="out"></pre>
<script>
onload = () => {
  const page = frame.contentDocument;
  page.querySelectorAll("details").forEach(it => it.open = true);
  console.error("control");
  out.textContent = JSON.stringify({
    overflow: page.documentElement.scrollWidth - page.documentElement.clientWidth,
    background: getComputedStyle(page.body).backgroundColor,
    requests: frame.contentWindow.performance.getEntriesByType("resource").length,
    scripts: page.scripts.length,
    unnamed: [...page.querySelectorAll("section, article, [role=region]")]
      .filter(it => !it.getAttribute("aria-label") && !it.getAttribute("aria-labelledby")).length,
    headings: page.querySelectorAll("h1").length,
    skips: [...page.querySelectorAll("[aria-labelledby=skips] ul:first-of-type b")].map(it => it.textContent),
    found: (() => {
      const input = page.getElementById("filter");
      input.value = "tests::ADDS_ failed";
      input.dispatchEvent(new Event("input"));
      const shown = [...page.querySelectorAll("pre.tests")].map(it => it.textContent).filter(Boolean).join("\n");
      const said = page.querySelector("output").textContent;
      input.value = "";
      input.dispatchEvent(new Event("input"));
      return [said, shown.includes("tests::adds_wrongly"), shown.split("\n").length];
    })(),
    asked: page.querySelector("[aria-labelledby=skips] pre").textContent.split("\n").length,
  }).replace(/[<>&]/g, it => "\\u00" + it.charCodeAt(0).toString(16));
};
</script>"#;

fn chromium(profile: &Path, arguments: &[&str]) -> Option<Output> {
    let started = Command::new("chromium")
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--allow-file-access-from-files",
        ])
        .args(["--enable-logging=stderr", "--disable-background-networking"])
        .arg(format!("--user-data-dir={}", profile.display()))
        .args(arguments)
        .output();
    match started {
        Ok(output) => Some(output),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => panic!("could not start chromium: {error}"),
    }
}

#[test]
fn the_page_needs_nothing_fits_a_phone_and_follows_the_scheme() {
    let place = Place::new();
    place.record(FIRST, &format!("{CARGO_TEST}\n{CLIPPY}"), 101, HOSTILE);
    let binary = "demo\"><style>*{display:none}</style>";
    let markup = "<script src=//127.0.0.1:9/c>alert(1)</script>' onload='alert(2)";
    let odd = "</b>&lt;\u{1b}[31m\u{1b}]0;title\u{7}\u{202e}end\nof it";
    let long = "long".repeat(300);
    let names = [markup, odd, &long];
    let mut tests: Vec<(String, String, Option<String>)> = names
        .iter()
        .map(|name| (binary.to_owned(), (*name).to_owned(), refused("/dev/kvm")))
        .collect();
    let opened = r#"openat(AT_FDCWD</>, "/dev/vhost-<img src=x>", O_RDWR) = 3"#.to_owned();
    tests.push((binary.to_owned(), "drives".to_owned(), Some(opened)));
    tests.push((binary.to_owned(), "plain".to_owned(), None));
    place.trace(FIRST, traced(tests));
    let skips = ["</b>&lt;end of it", markup, &long].map(|name| format!("{binary} {name}"));
    let dir = place.temp.path();
    place.write(&dir.join("page.html"), place.report(&["--format", "html"]));
    place.write(&dir.join("harness.html"), HARNESS);
    let url = |name: &str| format!("file://{}", dir.join(name).display());
    for (scheme, background) in [(0, "rgb(15, 18, 22)"), (1, "rgb(255, 255, 255)")] {
        let scheme = format!("--blink-settings=preferredColorScheme={scheme}");
        let Some(output) = chromium(
            &dir.join("profile"),
            &[&scheme, "--dump-dom", &url("harness.html")],
        ) else {
            let text = b"SKIPPED: no chromium is installed, so the page is not looked at in a browser\n";
            std::io::stderr().write_all(text).unwrap();
            return;
        };
        let dom = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        let seen = dom
            .split_once("<pre id=\"out\">")
            .and_then(|(_, rest)| rest.split_once("</pre>"))
            .unwrap_or_else(|| panic!("{dom}\n{errors}"))
            .0;
        let seen: Value =
            serde_json::from_str(seen).unwrap_or_else(|error| panic!("{error}: {seen}\n{errors}"));
        let expected = json!({"overflow": 0, "background": background, "requests": 0, "scripts": 1, "unnamed": 0, "found": ["1 test", true, 1], "headings": 1,
            "skips": skips, "asked": 4});
        assert_eq!(seen, expected);
        let reported: Vec<&str> = errors.lines().filter(|line| line.contains("CONSOLE")).collect();
        assert!(
            reported.len() == 1 && reported[0].contains("\"control\""),
            "{reported:?}"
        );
    }
    let printed = dir.join("page.pdf");
    let print = format!("--print-to-pdf={}", printed.display());
    chromium(&dir.join("profile"), &[&print, &url("page.html")]).unwrap();
    assert!(fs::read(printed).unwrap().starts_with(b"%PDF-"));
}
