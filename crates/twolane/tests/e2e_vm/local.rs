//! End to end on `local`: real VMs, real cloud-init, real sshd, rsync and systemd.
//! `cargo nextest run --profile e2e`; needs QEMU and the rest of what `./test.sh` sets up.

use std::{fs, path::PathBuf, time::Instant};

use crate::support::{Bench, SYSTEM, is, say, wait_until};
use serde_json::Value;

fn outcomes(events: &[Value]) -> Vec<String> {
    let ended = events.iter().filter(|event| is(event, "check-ended"));
    ended
        .map(|event| format!("{} {}", event["check"], event["outcome"]["outcome"]).replace('"', ""))
        .collect()
}

#[test]
fn both_lanes_of_the_sample_pass_and_the_live_test_really_ran() {
    let sample = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../samples/mvm");
    let bench = Bench::at(sample);
    let (status, events) = bench.start(&["run"]).finish();
    assert_eq!(
        status.code(),
        Some(0),
        "{:#?}\n{}",
        outcomes(&events),
        bench.output(&["report"]).1
    );

    // The boxes are emulated: what they run was compiled on this machine.
    for lane in ["live-kvm", "no-kvm"] {
        let is_built =
            |event: &&Value| is(event, "step-ended") && event["step"] == "build" && event["lane"] == lane;
        assert_eq!(events.iter().filter(is_built).count(), 1, "{lane}");
    }
    let notices = events.iter().filter(|event| is(event, "notice"));
    let texts: Vec<String> = notices.map(|event| event["text"].to_string()).collect();
    assert!(!texts.concat().contains("the box compiles"), "{texts:?}");
    let gate = events
        .iter()
        .find(|event| is(event, "gate") && event["lane"] == "live-kvm")
        .expect("a gate's answer");
    assert_eq!(gate["answer"]["works"], true, "{gate}");
    let cheap = events
        .iter()
        .find(|event| is(event, "gate") && event["lane"] == "no-kvm")
        .expect("the cheap lane's answer");
    assert!(
        cheap["answer"]["sentence"]
            .as_str()
            .unwrap()
            .contains("/dev/kvm was taken away"),
        "{cheap}"
    );
    let evidence = bench.files_ending("live-kvm-evidence.txt");
    assert_eq!(
        evidence.len(),
        1,
        "the live test writes its evidence only when a guest really ran"
    );
    for wanted in ["console.log", "cloud-init-output.log", "stage1.log", "test.log"] {
        assert!(
            !bench.files_ending(wanted).is_empty(),
            "{wanted} was not collected"
        );
    }
    let (code, report) = bench.output(&["report"]);
    assert_eq!(code, 0);
    for wanted in [
        "no-kvm",
        "live-kvm",
        "seccomp functional",
        "live kvm",
        "passed",
        "/dev/kvm",
    ] {
        assert!(
            report.contains(wanted),
            "{wanted:?} is not in the report:\n{report}"
        );
    }
    // cargo-deny and cargo-audit come along with the toolchain, or are fetched.
    for lack in ["is not installed on the box", "does not start on the box"] {
        assert!(!report.contains(lack), "{report}");
    }
    bench.assert_nothing_left();
}

/// One box, one check of each ending; and the connection is cut in the middle of one.
#[test]
fn every_ending_of_a_check_is_reported_as_it_was() {
    let bench = Bench::new(
        r#"
[lanes.all]
boxes = ["local"]
ttl = "30m"
checks = [
  { name = "source is there", run = "cat hello.txt" },
  { name = "cut", run = "for i in $(seq 1 60); do echo line $i; sleep 0.2; done", artifacts = ["made.txt"] },
  { name = "fails", run = "echo no >&2; exit 3" },
  { name = "hangs", run = "sleep 1000", timeout = "3s" },
  { name = "killed", run = "kill -SEGV $$" },
  { name = "needs", run = "true", needs = ["program:no-such-program"] },
  { name = "who", run = "id -un > made.txt && cat made.txt" },
  { name = "no kvm", run = "test ! -e /dev/kvm" },
  { name = "no kvm for root", user = "root", run = "test ! -e /dev/kvm && ! modprobe kvm_amd && id -un > roots.txt && cat /setup.txt" },
  { name = "handed back", run = "test -O roots.txt && test $(cat roots.txt) = root && test $A = $PATH_OF_HOME", env = { A = "/tmp/it's" }, env-from = ["PATH_OF_HOME"] },
  { name = "after", run = "true", after = "fails" },
]
setup = "echo prepared >> /setup.txt"
"#,
    );
    let variable = [("PATH_OF_HOME", PathBuf::from("/tmp/it's"))];
    let mut run = bench.start_with(&["run", "--continue"], &variable);
    run.until("output of the check that is cut", |event| {
        is(event, "check-output") && event["check"] == "cut"
    });
    bench.cut_connections();
    let (status, events) = run.finish();
    assert_eq!(
        outcomes(&events),
        [
            "setup passed",
            "source-is-there passed",
            "cut passed",
            "fails failed",
            "hangs timed-out",
            "killed failed",
            "needs skipped",
            "who passed",
            "no-kvm passed",
            "no-kvm-for-root passed",
            "handed-back passed",
            "after skipped"
        ]
    );
    assert_eq!(status.code(), Some(1));
    let output = fs::read_to_string(&bench.files_ending("checks/cut.log")[0]).unwrap();
    let expected: String = (1..=60).map(|i| format!("line {i}\n")).collect();
    assert_eq!(
        output, expected,
        "a cut connection loses nothing and repeats nothing"
    );
    assert_eq!(
        fs::read_to_string(&bench.files_ending("made.txt")[0]).unwrap(),
        "dev\n"
    );
    bench.assert_nothing_left();
}

#[test]
fn a_run_whose_client_was_killed_is_taken_up_again() {
    let bench = Bench::new(
        r#"
[lanes.only]
boxes = ["local"]
ttl = "30m"
checks = [
  { name = "first", run = "for i in $(seq 1 40); do echo line $i; sleep 0.2; done" },
  { name = "second", run = "test ! -e ran-once && touch ran-once" },
]
"#,
    );
    let mut run = bench.start(&["run"]);
    let began = run.until("the run's id", |event| is(event, "run-began"));
    let id = began["run"].as_str().unwrap().to_owned();
    run.until("output of the first check", |event| is(event, "check-output"));
    run.signal("KILL");
    run.finish();

    let (code, text) = bench.output(&["ls"]);
    assert_eq!(code, 0);
    assert!(
        text.contains(&id),
        "the next command says that the run is unfinished:\n{text}"
    );

    let (status, events) = bench.start(&["attach", &id]).finish();
    assert_eq!(outcomes(&events), ["first passed", "second passed"]);
    assert_eq!(status.code(), Some(0));
    let output = fs::read_to_string(&bench.files_ending("checks/first.log")[0]).unwrap();
    assert_eq!(
        output,
        (1..=40).map(|i| format!("line {i}\n")).collect::<String>()
    );
    bench.assert_nothing_left();
}

#[test]
fn after_sigkill_down_all_leaves_nothing() {
    let bench =
        Bench::new("[lanes.only]\nboxes = [\"local\"]\nchecks = [{ name = \"a\", run = \"true\" }]\n");
    // Between QEMU's start and the journal's next line, and once the box is being connected to.
    for moment in ["candidate-tried", "machine-up"] {
        let mut run = bench.start(&["run"]);
        run.until(moment, |event| is(event, moment));
        if moment == "candidate-tried" {
            wait_until("QEMU runs", || {
                bench
                    .processes()
                    .iter()
                    .any(|(_, text)| text.starts_with("qemu-system"))
            });
        }
        run.signal("KILL");
        run.finish();
        let (code, text) = bench.output(&["down", "--all"]);
        assert_eq!(code, 0, "{text}");
        bench.assert_nothing_left();
    }
}

#[test]
fn sigterm_destroys_at_once_and_says_130() {
    let bench = Bench::new(
        "[lanes.only]\nboxes = [\"local\"]\nchecks = [{ name = \"long\", run = \"echo up; sleep 1000\" }]\n",
    );
    for moment in ["machine-up", "check-output"] {
        let mut run = bench.start(&["run"]);
        run.until(moment, |event| is(event, moment));
        run.signal("TERM");
        let (status, events) = run.finish();
        assert_eq!(status.code(), Some(130), "at {moment}");
        let position = |kind: &str| events.iter().rposition(|event| is(event, kind));
        assert!(
            position("machine-gone") > position("interrupted"),
            "{:?}",
            events.last()
        );
        let missing = events
            .iter()
            .filter_map(|event| event["missing"].as_array())
            .flatten();
        let missing: Vec<_> = missing.collect();
        assert!(
            missing
                .iter()
                .all(|why| *why == "files from the box: it was destroyed first"),
            "{missing:?}"
        );
        bench.assert_nothing_left();
    }
}

#[test]
fn a_step_of_stage_1_that_fails_is_named_and_leaves_nothing() {
    let firecracker = r#"
mirror = "http://10.0.2.2:9"
firecracker = { version = "v1.14.1", sha256 = { x86_64 = "0000000000000000000000000000000000000000000000000000000000000000" } }
"#;
    let bench = Bench::with_system(
        &format!("{}{firecracker}", crate::support::SYSTEM),
        "[lanes.only]\nboxes = [\"local\"]\nchecks = [{ name = \"a\", run = \"true\" }]\n",
    );
    let (code, text) = bench.output(&["run"]);
    assert_eq!(code, 3, "{text}");
    assert!(text.contains("stage 1 failed at firecracker"), "{text}");
    assert!(
        !bench.files_ending("stage1.log").is_empty(),
        "the log comes back on failure too"
    );
    bench.assert_nothing_left();
}

/// A lane whose tests are worth a loop.
const LOOP: &str = r#"[lanes.only]
boxes = ["local"]
ttl = "20m"
checks = [
  { name = "read", run = "cat hello.txt" },
  { name = "slow", run = "test ! -e slow.txt || { echo it is slow; sleep 1000; }" },
  { name = "test", run = "cargo test -p mvm-core --lib" },
]
"#;

/// Follows what is edited: one line to its result, a check that is out of date, and the end.
fn watch(bench: &Bench) {
    let file = bench.project().join("crates/mvm-core/src/lib.rs");
    let mut run = bench.start(&["test", "--watch"]);
    let result = |event: &Value| is(event, "check-ended") && event["check"] == "test";
    run.until("the first result", result);
    run.until("its end", |event| is(event, "run-ended"));

    let edited = Instant::now();
    fs::write(&file, fs::read_to_string(&file).unwrap() + "// one line more\n").unwrap();
    run.until("the check of the edit", |event| is(event, "check-began"));
    let begun = edited.elapsed();
    let ended = run.until("the result of the edit", result);
    assert_eq!(ended["outcome"]["outcome"], "passed", "{ended}");
    say(&format!(
        "edit of one line: first check after {begun:.1?}, result after {:.1?}",
        edited.elapsed()
    ));
    run.until("its end", |event| is(event, "run-ended"));

    fs::write(bench.project().join("slow.txt"), "").unwrap();
    run.until("a check that hangs", |event| {
        is(event, "check-output") && event["check"] == "slow"
    });
    fs::remove_file(bench.project().join("slow.txt")).unwrap();
    run.until("its end", |event| {
        is(event, "notice") && event["text"].to_string().contains("out of date")
    });
    let next = run.until("the result without it", result);
    assert_eq!(next["outcome"]["outcome"], "passed", "{next}");
    run.until("its end", |event| is(event, "run-ended"));
    run.signal("TERM");
    let (status, events) = run.finish();
    assert_eq!(status.code(), Some(130));
    let runs = events.iter().filter(|event| is(event, "run-began")).count();
    assert_eq!(runs, 4, "one edit makes one run");
}

#[test]
fn a_box_stays_for_who_wants_it_and_is_tested_again_and_again() {
    let sample = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../samples/mvm");
    let bench = Bench::copy_of(
        &sample,
        &format!("[project]\nname = \"e2e\"\n[sources]\ne2e = {{ path = \".\" }}\n{SYSTEM}\n{LOOP}"),
    );
    fs::write(bench.project().join("hello.txt"), "hello from here\n").unwrap();
    let (status, events) = bench.start(&["up", "--label", "e2e-stays"]).finish();
    assert_eq!(status.code(), Some(0), "{:?}", events.last());
    let (code, text) = bench.output(&["up", "--label", "e2e-stays"]);
    assert_eq!(code, 2, "a label that is taken:\n{text}");

    let (code, text) = bench.output(&["test", "--failed"]);
    assert_eq!(code, 2, "no earlier run:\n{text}");
    let (code, text) = bench.output(&["test"]);
    assert_eq!(code, 0, "the only box is meant:\n{text}");
    let (code, text) = bench.output(&["test", "--failed"]);
    assert!(
        code == 0 && text.contains("everything passed last time"),
        "{text}"
    );
    watch(&bench);
    let (code, text) = bench.output(&["ssh", "e2e-stays", "cat", "/home/dev/e2e/hello.txt"]);
    assert_eq!((code, text.as_str()), (0, "hello from here\n"));
    let (code, text) = bench.output(&["extend", "e2e-stays", "--by", "10m"]);
    assert_eq!(code, 0, "{text}");
    let (code, text) = bench.output(&["ls"]);
    assert!(code == 0 && text.contains("e2e-stays"), "{text}");
    let (code, text) = bench.output(&["logs", "e2e-stays", "--console"]);
    assert!(code == 0 && !text.is_empty(), "{text}");
    let (code, text) = bench.output(&["down", "e2e-stays"]);
    assert_eq!(code, 0, "{text}");
    let (code, text) = bench.output(&["down", "e2e-stays"]);
    assert_eq!(code, 0, "destroying what is gone succeeds:\n{text}");
    bench.assert_nothing_left();
}
