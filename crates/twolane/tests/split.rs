//! Which tests ask for what: the script that runs them under strace, tried on this machine with stand-ins for test binaries;
//! and what is made of its records, in every form of the report.

use std::{
    fs,
    io::Write,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use model::skips::{Record, Run};
use serde_json::{Value, json};
use tempfile::TempDir;

const RUN: &str = "20260102-030405-abcd";
const HOSTILE: &str = "<script>alert(1)</script> `c` \u{1b}[31m\"x\"";

// --- the script

/// A test binary in the words of libtest: `kvm` has a child that asks for a device, `fails` fails, `later` is ignored.
const BINARY: &str = r#"#!/bin/bash
args=" $* "
if [[ $args == *' --list '* ]]; then
    [[ $args == *' --ignored '* ]] || printf '%s: test\n' kvm plain 'odd "na\me"' fails
    echo 'later: test'
    exit
fi
while [ "$1" != --exact ]; do shift; done
echo "running 1 test"
case $2 in
kvm) sh -c 'sh -c "exec 3</dev/vhost-vdpa-0"' 2>/dev/null ;;
fails) printf 'test fails ... FAILED\n\nfailures:\n\n---- fails stdout ----\nthread panicked at src/lib.rs:1:2:\nwhy\n\n\nfailures:\n    fails\n' && exit 101 ;;
esac
exit 0
"#;

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../ops/ephemeral/trace-tests.sh")
}

fn has_strace() -> bool {
    let works = Command::new("strace")
        .args(["-qqq", "-o", "/dev/null", "true"])
        .status();
    let works = works.is_ok_and(|status| status.success());
    if !works {
        let line = "NOT TESTED: strace is not installed, or can not trace here\n";
        std::io::stderr().write_all(line.as_bytes()).unwrap();
    }
    works
}

/// A directory with a test binary, and a check that runs in it.
struct Sandbox(TempDir);

impl Sandbox {
    fn new(binary: &str) -> Self {
        let sandbox = Self(tempfile::tempdir().unwrap());
        fs::create_dir(sandbox.0.path().join("deps")).unwrap();
        let path = sandbox.binary();
        fs::write(&path, binary).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(
            path.with_extension("d"),
            format!("{}: tests/live.rs src/lib.rs\n", path.display()),
        )
        .unwrap();
        sandbox
    }

    fn binary(&self) -> PathBuf {
        self.0.path().join("deps/live-0123456789abcdef")
    }

    /// Runs a check whose command is this, `CALL` standing for the call that cargo makes.
    fn check(&self, command: &str, path: Option<&str>) -> (Output, Record) {
        let record = self.0.path().join("out/a.jsonl");
        let call = format!("{} run {}", script().display(), self.binary().display());
        let mut bash = Command::new("bash");
        bash.arg(script())
            .arg("check")
            .arg(&record)
            .arg(command.replace("CALL", &call))
            .current_dir(self.0.path())
            .env("CARGO_PKG_NAME", "alpha")
            .env_remove("NEXTEST")
            .env_remove("NEXTEST_BINARY_ID");
        if let Some(path) = path {
            bash.env("PATH", path);
        }
        let output = bash.output().unwrap();
        (output, Record::read(&fs::read_to_string(record).unwrap()))
    }
}

/// Returns what is known of each test in a line.
fn reported(record: &Record) -> Vec<String> {
    let line = |(id, seen): (&model::skips::TestId, &model::skips::TestRecord)| match &seen.run {
        None => format!("{id}: ignored {}", seen.is_ignored),
        Some(Run::Begun) => format!("{id}: begun"),
        Some(Run::Ended { code, devices, .. }) => {
            let devices = devices.as_ref().map(|devices| {
                let paths: Vec<&str> = devices.iter().map(|device| device.path.as_str()).collect();
                paths.join(" ")
            });
            format!("{id}: {code} {}", devices.unwrap_or("untraced".to_owned()))
        }
    };
    record.tests.iter().map(line).collect()
}

#[test]
fn each_test_runs_by_itself_and_what_its_children_ask_for_is_seen() {
    if !has_strace() {
        return;
    }
    let sandbox = Sandbox::new(BINARY);
    let (output, record) = sandbox.check("CALL", None);
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(101), "{printed}");
    assert_eq!(record.doubts(), Vec::<String>::new());
    let expected = [
        "alpha::live fails: 101 ",
        // Without the device sh itself ends with an error, which the test does not look at.
        "alpha::live kvm: 0 /dev/vhost-vdpa-0",
        "alpha::live later: ignored true",
        "alpha::live odd \"na\\me\": 0 ",
        "alpha::live plain: 0 ",
    ];
    assert_eq!(reported(&record), expected, "{printed}");

    let mut reader = model::results::Reader::default();
    printed.lines().for_each(|line| reader.take(line));
    let results = reader.finish(false);
    assert_eq!(
        results.tally().words(),
        "1 failed, 3 passed, 1 ignored",
        "{printed}"
    );
    let failed = results.bad_tests().next().unwrap();
    assert_eq!(failed.message.as_deref(), Some("why"), "{printed}");
}

#[test]
fn cargo_nextest_is_served_as_it_asks() {
    if !has_strace() {
        return;
    }
    let sandbox = Sandbox::new(BINARY);
    let command = "export NEXTEST=1 NEXTEST_BINARY_ID='my id'
        CALL --list --format terse && CALL --list --format terse --ignored
        CALL --exact kvm --nocapture; CALL --exact fails --nocapture; echo \"code $?\"
        CALL --ignored --exact later --nocapture; exit 7";
    let (output, record) = sandbox.check(command, None);
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(7), "{printed}");
    assert!(
        printed.contains("plain: test\n") && printed.contains("code 101\n"),
        "{printed}"
    );
    assert_eq!(
        reported(&record)[1..4],
        [
            "my id kvm: 0 /dev/vhost-vdpa-0",
            "my id later: 0 ",
            "my id odd \"na\\me\": ignored false"
        ]
    );
}

#[test]
fn lines_of_tests_that_run_side_by_side_stay_whole() {
    if !has_strace() {
        return;
    }
    let sandbox = Sandbox::new(BINARY);
    let command = "export NEXTEST=1
        long=$(printf 'x%.0s' {1..5000})
        for n in {1..10}; do
            CALL --exact short$n &
            CALL --exact $long$n &
        done
        wait";
    let (_, record) = sandbox.check(command, None);
    assert_eq!(record.doubts(), Vec::<String>::new());
    let reported = reported(&record);
    assert_eq!(reported.len(), 20, "{reported:?}");
    assert!(reported.iter().all(|line| line.ends_with(": 0 ")), "{reported:?}");
}

#[test]
fn a_trace_of_many_lines_is_read_to_its_end() {
    if !has_strace() {
        return;
    }
    let looks = "n=3000; while [ $n -gt 0 ]; do [ -e /dev/vhost-net ]; n=$((n - 1)); done";
    let binary = format!("#!/bin/sh\n{looks}\n[ -e /dev/vhost-vdpa-0 ]\nexit 0\n");
    let sandbox = Sandbox::new(&binary);
    let (_, record) = sandbox.check("export NEXTEST=1; CALL --exact looks --nocapture", None);
    assert_eq!(
        reported(&record),
        ["alpha::live looks: 0 /dev/vhost-net /dev/vhost-vdpa-0"]
    );
}

#[test]
fn what_can_not_be_run_test_by_test_runs_as_a_whole() {
    if !has_strace() {
        return;
    }
    let sandbox = Sandbox::new("#!/bin/bash\n[ ! -e /dev/vhost-vdpa-0 ]\nexit 3\n");
    let (output, record) = sandbox.check("CALL --unknown-option", None);
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(reported(&record), ["alpha::live: 3 /dev/vhost-vdpa-0"]);
    // A program that is no test binary is none of its business.
    let (output, record) = sandbox.check("$CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER echo hello", None);
    assert_eq!(
        (output.stdout.as_slice(), record.tests.len()),
        (b"hello\n".as_slice(), 0)
    );
}

#[test]
fn a_test_that_is_killed_with_its_group_has_begun() {
    if !has_strace() {
        return;
    }
    let sandbox = Sandbox::new("#!/bin/bash\nkill -KILL 0\n");
    let command = "export NEXTEST=1; setsid --wait CALL --exact dies --nocapture; true";
    let (_, record) = sandbox.check(command, None);
    assert_eq!(record.doubts(), Vec::<String>::new());
    assert_eq!(reported(&record), ["alpha::live dies: begun"]);
}

#[test]
fn what_a_test_leaves_running_does_not_hold_it_up() {
    if !has_strace() {
        return;
    }
    let sandbox = Sandbox::new("#!/bin/bash\n(exec >/dev/null 2>&1; sleep 1000) &\necho $! >left\nexit 4\n");
    let (output, record) = sandbox.check("export NEXTEST=1; CALL --exact leaves --nocapture", None);
    let left = fs::read_to_string(sandbox.0.path().join("left")).unwrap();
    let ended = Command::new("kill").arg(left.trim()).status().unwrap();
    assert!(ended.success(), "it was still running");
    assert_eq!(output.status.code(), Some(4));
    assert_eq!(reported(&record), ["alpha::live leaves: 4 "]);
}

#[test]
fn without_strace_the_tests_run_and_the_record_says_so() {
    let sandbox = Sandbox::new(BINARY);
    let bin = sandbox.0.path().join("bin");
    fs::create_dir(&bin).unwrap();
    for program in [
        "bash", "sh", "readlink", "dirname", "mkdir", "sed", "grep", "rm", "tail", "awk",
    ] {
        let found = Command::new("sh")
            .args(["-c", &format!("command -v {program}")])
            .output()
            .unwrap();
        let found = String::from_utf8(found.stdout).unwrap();
        std::os::unix::fs::symlink(found.trim(), bin.join(program)).unwrap();
    }
    let (output, record) = sandbox.check("CALL", Some(bin.to_str().unwrap()));
    assert_eq!(
        output.status.code(),
        Some(101),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(record.doubts(), ["strace is not installed on the box"]);
    assert!(
        reported(&record).contains(&"alpha::live plain: 0 untraced".to_owned()),
        "{:?}",
        reported(&record)
    );
}

// --- the report

struct Place(TempDir);

impl Place {
    /// Records a run of two lanes. In `cheap`, which is `strict` if asked, two tests skip themselves; `live` really ran one of them.
    fn new(strict: bool, baseline: Option<&str>) -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        let dir = place.0.path().join("runs").join(RUN);
        let check = json!({"name": "test", "slug": "test", "run": "cargo test", "timeout_seconds": 60, "trace": true});
        let lane = |name: &str, need: &str, strict: bool| {
            json!({"name": name, "label": format!("demo-{name}"), "need": need, "candidates": [], "ttl_seconds": 60, "max_cost": [],
                "has_deploy": false, "checks": [check], "fail_on_skip": strict, "supersede": false})
        };
        let plan = json!({"run": RUN, "project": "demo", "sources": [{"name": "demo", "user": "dev", "path": "/demo"}],
            "system": {"packages": [], "rust": null, "nix": null, "firecracker": null, "cargo_tools": [], "user": "dev", "users": [], "directories": [], "mirror": null, "ca_certs": null},
            "toolchain": null, "ca_certs": [],
            "deploy": {"binaries": [], "configs": [], "units": [], "smoke": null, "config_dir": "/etc/demo", "user": "demo"},
            "lanes": [lane("cheap", "none", strict), lane("live", "required", false)],
            "owner": {"repository": null, "reference": null, "user": null, "host": null},
            "allow": [], "operator_key": null, "keep": "never", "is_continued": false});
        place.write(&dir.join("plan.json"), plan.to_string());
        let mut events = vec![json!({"event": "run-began", "run": RUN, "project": "demo", "version": "0"})];
        for name in ["cheap", "live"] {
            let record = format!("{name}/artifacts//home/dev/demo/target/twolane/test.jsonl");
            let reported = [
                json!({"event": "lane-began", "label": format!("demo-{name}"), "need": "none", "checks": [check]}),
                json!({"event": "check-began", "check": "test"}),
                json!({"event": "check-ended", "check": "test", "outcome": {"outcome": "passed"}, "seconds": 1.0}),
                json!({"event": "collected", "files": [record], "missing": []}),
                json!({"event": "lane-ended", "verdict": "passed"}),
            ];
            events.extend(reported.into_iter().map(|mut event| {
                event["lane"] = json!(name);
                event
            }));
        }
        events.push(json!({"event": "run-ended", "verdict": "passed"}));
        let lines = events.into_iter().map(|mut event| {
            event["v"] = json!(1);
            event["at"] = json!("2026-01-02T03:04:05Z");
            format!("{event}\n")
        });
        place.write(&dir.join("events.jsonl"), lines.collect::<String>());
        let refused = r#"openat(AT_FDCWD</>, "/dev/kvm", O_RDWR) = -1 ENOENT (No such file or directory)"#;
        let driven = "ioctl(3</dev/kvm>, KVM_CREATE_VM, 0) = 4";
        for (name, asked, tests) in [
            ("cheap", refused, &["plain", "live", HOSTILE][..]),
            ("live", driven, &["live"][..]),
        ] {
            let mut text = format!(
                "{}\n",
                json!({"what": "begin", "v": 1, "tracer": "strace", "why": "", "kvm": name == "live"})
            );
            for test in tests {
                let trace = if *test == "plain" { vec![] } else { vec![asked] };
                text += &format!(
                    "{}\n",
                    json!({"what": "ended", "binary": "demo::it", "test": test, "code": 0, "micros": 5, "trace": trace})
                );
            }
            text += &format!("{}\n", json!({"what": "end", "code": 0}));
            place.write(
                &dir.join(name)
                    .join("artifacts/home/dev/demo/target/twolane/test.jsonl"),
                text,
            );
        }
        if let Some(baseline) = baseline {
            place.write(&dir.join("baseline.txt"), baseline);
        }
        place
    }

    fn write(&self, path: &Path, text: impl AsRef<[u8]>) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn twolane(&self, arguments: &[&str]) -> (i32, String) {
        let output = Command::new(env!("CARGO_BIN_EXE_twolane"))
            .args(arguments)
            .env("TWOLANE_STATE_DIR", self.0.path())
            .current_dir(self.0.path())
            .output()
            .unwrap();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        (
            output.status.code().unwrap_or(-1),
            String::from_utf8(output.stdout).unwrap() + &errors,
        )
    }

    fn report(&self, format: &str) -> String {
        self.twolane(&["report", "--format", format]).1
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.report("json")).unwrap()
    }
}

#[test]
fn every_format_names_the_test_that_no_lane_really_ran() {
    let place = Place::new(false, None);
    for format in ["text", "json", "html", "junit", "markdown"] {
        let report = place.report(format);
        for wanted in ["demo::it", "alert", "ENOENT"] {
            assert!(report.contains(wanted), "no {wanted:?} in {format}:\n{report}");
        }
        assert!(!report.contains('\x1b'), "{format}:\n{report}");
        // The page's filter is the only script.
        let scripts = if format == "html" { 1 } else { 0 };
        if matches!(format, "html" | "markdown") {
            assert_eq!(report.matches("<script").count(), scripts, "{format}:\n{report}");
        }
    }
    let report = place.json();
    assert_eq!(report["verdict"], "passed");
    assert_eq!(report["split"]["skipped"].as_array().unwrap().len(), 1);
    assert_eq!(report["split"]["skipped"][0]["test"], HOSTILE);
    assert_eq!(report["split"]["need_nothing"], json!(["demo::it plain"]));
    let mut read = model::results::CheckResults::default();
    model::results::read_junit(&place.report("junit"), &mut read).unwrap();
    assert_eq!(read.tally().ignored, 1, "a silent skip is no success in JUnit");
}

#[test]
fn fail_on_skip_fails_the_run_and_says_why_unless_the_baseline_has_it() {
    let report = Place::new(true, None);
    let reported = report.json();
    assert_eq!(
        (
            &reported["verdict"],
            &reported["lanes"]["cheap"]["verdict"],
            &reported["lanes"]["live"]["verdict"]
        ),
        (&json!("failed"), &json!("failed"), &json!("passed"))
    );
    for format in ["text", "html", "markdown"] {
        let text = report.report(format);
        assert!(
            text.contains("fail-on-skip: 1 test that no lane really ran"),
            "{format}:\n{text}"
        );
    }
    assert!(report.report("junit").contains("<failure"));

    let place = Place::new(
        true,
        Some(&format!(
            "demo::it {}\ndemo::it gone\n",
            HOSTILE.replace('\x1b', "\u{fffd}")
        )),
    );
    let reported = place.json();
    assert_eq!(reported["verdict"], "passed");
    assert_eq!(reported["split"]["gone"], json!(["demo::it gone"]));
    assert!(
        place
            .report("text")
            .contains("take out of the baseline what is no skip any more: demo::it gone")
    );
}

#[test]
fn a_record_that_did_not_come_back_is_no_answer() {
    let place = Place::new(true, None);
    fs::remove_dir_all(place.0.path().join("runs").join(RUN).join("cheap/artifacts")).unwrap();
    let reported = place.json();
    assert_eq!(reported["verdict"], "failed");
    let why = reported["split"]["why_failed"][0].as_str().unwrap();
    assert!(why.contains("the record of test"), "{why}");
    assert_eq!(place.twolane(&["split", "--from", RUN]).0, 3);
}

#[test]
fn split_reports_both_halves_proposes_filters_and_writes_the_baseline() {
    let place = Place::new(true, None);
    let (code, text) = place.twolane(&["split", "--from", RUN]);
    assert_eq!(code, 1, "{text}");
    for wanted in [
        "tests that need a box for virtual machines: 2",
        "cheap: silent skip: /dev/kvm: open: ENOENT; live: used it: /dev/kvm: KVM_CREATE_VM",
        "need nothing: 1",
        "[lanes.cheap]",
        "test(=live)",
    ] {
        assert!(text.contains(wanted), "no {wanted:?} in\n{text}");
    }
    let (_, text) = place.twolane(&["--json", "split", "--from", RUN]);
    let split: Value = serde_json::from_str(&text[..=text.rfind('}').unwrap()]).unwrap();
    assert!(
        split["proposal"]["any"].as_str().unwrap().starts_with("not ("),
        "{text}"
    );

    place.write(
        &place.0.path().join("twolane.toml"),
        "[project]\nbaseline = \"skips.txt\"\n[lanes.a]\nchecks = \"rust\"\n",
    );
    let (_, text) = place.twolane(&["split", "--from", RUN, "--write-baseline"]);
    let baseline = fs::read_to_string(place.0.path().join("skips.txt")).expect(&text);
    assert_eq!(baseline.lines().count(), 2, "{baseline}");
    assert_eq!(Place::new(true, Some(&baseline)).json()["verdict"], "passed");
}
