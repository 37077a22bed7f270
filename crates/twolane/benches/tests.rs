//! What it costs to know what each test did: `cargo bench -p twolane --bench tests`. The tracer against the same tests without it,
//! records and reports of 100,000 tests, and a check that printed 1 GB. Needs strace, rustc and python3.

#![expect(clippy::print_stdout, reason = "it is a program that prints a table")]

use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use model::{
    follow::{Header, State},
    skips::{Baseline, LaneRecords, Record, judge},
};
use serde_json::json;

const TRACED: usize = 500;
const MANY: usize = 100_000;
const RUN: &str = "20260102-030405-abcd";

fn main() {
    let dir = tempfile::tempdir().expect("a directory");
    println!("| what | time | CPU | |\n| --- | --- | --- | --- |");
    tracer(dir.path());
    records();
    report_of_many(&dir.path().join("many"));
    report_of_a_gigabyte(&dir.path().join("gigabyte"));
}

fn row(what: &str, took: Took, note: &str) {
    println!("| {what} | {:.2?} | {:.2?} | {note} |", took.time, took.cpu);
}

/// How long something took. On a busy machine the second is the one to rely on.
#[derive(Clone, Copy)]
struct Took {
    time: Duration,
    /// CPU time of this process and of its children that have ended.
    cpu: Duration,
}

fn measure<T>(work: impl FnOnce() -> T) -> (T, Took) {
    let (start, before) = (Instant::now(), cpu());
    let result = work();
    let (time, cpu) = (start.elapsed(), cpu() - before);
    (result, Took { time, cpu })
}

fn cpu() -> Duration {
    let stat = fs::read_to_string("/proc/self/stat").expect("Linux");
    let (_, fields) = stat.rsplit_once(") ").expect("a name in brackets");
    // utime, stime, cutime and cstime, in hundredths of a second.
    let ticks = fields.split(' ').skip(11).take(4);
    let ticks: u64 = ticks.filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
    Duration::from_millis(10 * ticks)
}

/// Runs the same 500 tests, one process each: by a plain loop, and under the tracer.
fn tracer(dir: &Path) {
    let source = (0..TRACED).fold(String::new(), |text, number| {
        text + &format!("#[test] fn t{number}() {{ assert!(std::fs::read(\"/proc/self/stat\").is_ok()); }}\n")
    });
    let deps = dir.join("deps");
    fs::create_dir_all(&deps).expect("a directory");
    let (file, binary) = (dir.join("many.rs"), deps.join("many-0123456789abcdef"));
    fs::write(&file, source).expect("a file");
    let built = Command::new("rustc")
        .args(["--test", "-o"])
        .arg(&binary)
        .arg(&file)
        .status();
    assert!(built.is_ok_and(|status| status.success()), "rustc failed");
    let bash = |script: String| {
        let mut bash = Command::new("bash");
        bash.args(["-c", &script]).stdout(Stdio::null());
        let (status, took) = measure(|| bash.status());
        assert!(status.is_ok_and(|status| status.success()), "{script}");
        took
    };
    let program = binary.display();
    let one = bash(format!("{program} --test-threads=1"));
    row("500 tests, one process", one, "");
    let plain = bash(format!(
        "for n in $(seq 0 {}); do {program} --exact t$n; done",
        TRACED - 1
    ));
    row(
        "500 tests, a process each",
        plain,
        &format!("{:.1} times", ratio(plain, one)),
    );
    let script = script("trace-tests.sh");
    let (script, record) = (script.display(), dir.join("record.jsonl"));
    let traced = bash(format!(
        "bash {script} check {} '{script} run {program}'",
        record.display()
    ));
    let seen = Record::read(&fs::read_to_string(record).expect("a record"));
    assert_eq!((seen.tests.len(), seen.doubts()), (TRACED, vec![]));
    let each = |traced: Duration, plain: Duration| traced.saturating_sub(plain) / TRACED as u32;
    row(
        "500 tests, a process each, traced",
        traced,
        &format!(
            "{:.2} times a process each; {:.1?} a test more, CPU {:.1?}",
            ratio(traced, plain),
            each(traced.time, plain.time),
            each(traced.cpu, plain.cpu)
        ),
    );
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../ops/ephemeral")
        .join(name)
}

fn ratio(a: Took, b: Took) -> f64 {
    a.time.as_secs_f64() / b.time.as_secs_f64().max(1e-9)
}

/// Returns a record of many tests, of which each hundredth asks for a device in vain.
fn record_of_many() -> String {
    let mut text = format!("{}\n", json!({"what": "begin", "v": 1, "why": "", "kvm": false}));
    let refused = r#"openat(AT_FDCWD</>, "/dev/kvm", O_RDWR) = -1 ENOENT (No such file or directory)"#;
    for number in 0..MANY {
        let test = format!("some::module::with::a::long::name::tests::number_{number:06}");
        let trace: Vec<&str> = (number % 100 == 0).then_some(refused).into_iter().collect();
        for line in [
            json!({"what": "listed", "binary": "demo::it", "test": test, "ignored": false}),
            json!({"what": "ended", "binary": "demo::it", "test": test, "code": 0, "micros": 5, "trace": trace}),
        ] {
            text += &format!("{line}\n");
        }
    }
    text + "{\"what\":\"end\",\"code\":0}\n"
}

fn records() {
    let text = record_of_many();
    let (record, read) = measure(|| Record::read(&text));
    let lane = LaneRecords {
        name: "cheap".to_owned(),
        records: vec![record],
        ..LaneRecords::default()
    };
    let (split, judged) = measure(|| judge(&[lane], &Baseline::default()));
    assert_eq!(split.skipped.len(), MANY / 100);
    row(
        "record of 100,000 tests, read",
        read,
        &format!("{:.1} MB", text.len() as f64 / 1e6),
    );
    row("and judged", judged, "");
}

/// Records a run of one check; returns the file for what it printed.
fn run_of_one_check(state: &Path) -> File {
    let dir = state.join("runs").join(RUN);
    let record = "only/artifacts//home/dev/demo/target/twolane/test.jsonl";
    let events = [
        json!({"event": "run-began", "run": RUN, "project": "demo", "version": "0"}),
        json!({"event": "lane-began", "label": "demo-only", "need": "none", "checks": [
            {"name": "test", "slug": "test", "run": "cargo test", "timeout_seconds": 60, "trace": true}]}),
        json!({"event": "check-began", "check": "test"}),
        json!({"event": "check-ended", "check": "test", "outcome": {"outcome": "passed"}, "seconds": 1.0}),
        json!({"event": "collected", "files": [record], "missing": []}),
        json!({"event": "lane-ended", "verdict": "passed"}),
        json!({"event": "run-ended", "verdict": "passed"}),
    ];
    let text = events.into_iter().fold(String::new(), |text, mut event| {
        event["v"] = json!(1);
        event["at"] = json!("2026-01-02T03:04:05Z");
        if !event["event"].as_str().unwrap_or_default().starts_with("run-") {
            event["lane"] = json!("only");
        }
        text + &format!("{event}\n")
    });
    fs::create_dir_all(dir.join("only/checks")).expect("a directory");
    fs::create_dir_all(dir.join("only/artifacts/home/dev/demo/target/twolane")).expect("a directory");
    fs::write(dir.join("events.jsonl"), text).expect("a file");
    File::create(dir.join("only/checks/test.log")).expect("a file")
}

/// Makes a report in each format, and prints its length, the time and twolane's peak memory.
fn reports(state: &Path, of_what: &str, formats: &[&str]) {
    let path: PathBuf = state.join("report");
    let watch = "import resource, subprocess, sys\n\
                   subprocess.run(sys.argv[1:], check=True, stdout=open(sys.argv[3] + '/report', 'wb'))\n\
                   print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)";
    for format in formats {
        let mut python = Command::new("python3");
        python
            .args(["-c", watch, env!("CARGO_BIN_EXE_twolane"), "--state-dir"])
            .arg(state)
            .args(["report", "--format", format]);
        let (output, took) = measure(|| python.output().expect("python3"));
        let memory = String::from_utf8_lossy(&output.stdout);
        let memory: u64 = memory.trim().parse().expect("a number");
        let bytes = fs::metadata(&path).expect("a report").len();
        row(
            &format!("{format} of {of_what}"),
            took,
            &format!("{:.2} MB, {} MB of memory", bytes as f64 / 1e6, memory / 1024),
        );
    }
}

fn report_of_many(state: &Path) {
    let mut log = run_of_one_check(state);
    let record = record_of_many();
    let path = "only/artifacts/home/dev/demo/target/twolane/test.jsonl";
    fs::write(state.join("runs").join(RUN).join(path), record).expect("a file");
    let mut text = format!("running {MANY} tests\n");
    for number in 0..MANY {
        text += &format!("test some::module::with::a::long::name::tests::number_{number:06} ... ok\n");
    }
    text += &format!(
        "\ntest result: ok. {MANY} passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.00s\n"
    );
    log.write_all(text.as_bytes()).expect("a log");
    let (results, took) = measure(|| {
        let mut reader = model::results::Reader::default();
        text.lines().for_each(|line| reader.take(line));
        reader.finish(true)
    });
    assert_eq!(results.tests.len(), MANY);
    row("output of 100,000 tests, read", took, "");
    let formats = ["html", "json", "junit", "markdown", "text"];
    reports(state, "100,000 traced tests", &formats);
}

fn report_of_a_gigabyte(state: &Path) {
    let mut log = run_of_one_check(state);
    let piece = "a line that a check printed, of no meaning to anybody\n".repeat(20_000);
    let mut written = 0;
    while written < 1 << 30 {
        log.write_all(piece.as_bytes()).expect("room for 1 GB");
        written += piece.len();
    }
    let (pieces, took) = measure(|| follow(state, written as u64));
    row("1 GB as the box hands it out", took, &format!("{pieces} pieces"));
    reports(state, "a check that printed 1 GB", &["html", "json"]);
}

/// Asks the box's own script for what the check printed, as a run does over SSH; returns in how many pieces it came.
fn follow(state: &Path, size: u64) -> usize {
    let log = state.join("runs").join(RUN).join("only/checks/test.log");
    let check = state.join("box/checks/r1/test");
    fs::create_dir_all(&check).expect("a directory");
    fs::hard_link(log, check.join("output")).expect("the same file");
    for (name, text) in [
        ("begun", "10.000"),
        ("boot_id", "boot\n"),
        (
            "result",
            "result=success\ncode=exited\nstatus=0\nbegun=10.000\nended=12.000\n",
        ),
    ] {
        fs::write(check.join(name), text).expect("a file");
    }
    let (mut offset, mut pieces) = (0, 0);
    loop {
        let answer = Command::new("bash")
            .arg(script("twolane-box.sh"))
            .args(["follow", "r1", "test", &offset.to_string(), "20"])
            .env("TWOLANE_STATE", state.join("box"))
            .output()
            .expect("bash");
        let (header, output) = Header::split(&answer.stdout, offset).expect("an answer");
        assert!(output.len() <= 1 << 20);
        offset = header.next_offset();
        pieces += 1;
        if header.state == State::Ended {
            assert_eq!(offset, size);
            return pieces;
        }
    }
}
