//! End to end on `local`: twolane is killed, as by `kill -9`, at one moment of a run after the other, and what it leaves
//! is gone after `twolane reap`. `cargo nextest run --profile e2e`.

use std::{
    fs,
    net::{Ipv4Addr, TcpListener},
    os::unix::process::ExitStatusExt,
    path::PathBuf,
    thread,
    time::Duration,
};

use crate::support::{Bench, Running, is, wait_until};

const LANE: &str = r#"
[lanes.only]
boxes = ["local"]
ttl = "30m"
checks = [{ name = "check", run = "true" }]
"#;

/// When twolane is killed.
enum Moment {
    /// As soon as it reports that.
    Reported(&'static str),
    /// As soon as a file or directory of its box is there.
    There(&'static str),
    /// As soon as QEMU has been started: the journal does not know yet.
    Qemu,
}

const MOMENTS: [Moment; 12] = [
    Moment::Reported("run-began"),
    Moment::Reported("lane-began"),
    Moment::Reported("step-began"),
    Moment::Reported("candidate-tried"),
    Moment::There(""),
    Moment::There("vm"),
    Moment::There("vm/box.json"),
    Moment::There("vm/overlay.qcow2"),
    Moment::Qemu,
    Moment::Reported("machine-up"),
    Moment::Reported("step-ended"),
    Moment::Reported("stage1"),
];

#[test]
fn a_killed_twolane_leaves_nothing_that_reap_does_not_find() {
    for (number, moment) in MOMENTS.iter().enumerate() {
        let bench = Bench::new(LANE);
        let mut run = bench.start(&[if number % 2 == 0 { "run" } else { "up" }]);
        reach(moment, &bench, &mut run);
        run.child.kill().unwrap();
        let status = run.child.wait().unwrap();
        assert_eq!(
            status.signal(),
            Some(9),
            "moment {number}: the run was over before"
        );
        assert_reaped(&bench, &format!("moment {number}"));
    }
}

/// Moments in the state of one box, in order: an event, and the step that it belongs to.
const LATER: [(&str, &str); 8] = [
    ("step-ended", "connect"),
    ("step-ended", "stage1"),
    ("check-began", ""),
    ("check-output", ""),
    ("check-ended", ""),
    ("step-began", "collect"),
    ("step-began", "down"),
    ("machine-gone", ""),
];

#[test]
fn a_twolane_that_is_killed_again_and_again_leaves_nothing() {
    let bench = Bench::new(&LANE.replace("run = \"true\"", "run = \"echo begun; sleep 5; echo ended\""));
    let mut run = bench.start(&["run"]);
    let begun = run.until("the run's id", |event| is(event, "run-began"));
    let id = begun["run"].as_str().unwrap().to_owned();
    for (number, (kind, step)) in LATER.iter().enumerate() {
        if number > 0 {
            run = bench.start(&["attach", &id]);
        }
        run.until(&format!("{kind} {step}"), |event| {
            is(event, kind) && (step.is_empty() || event["step"] == *step)
        });
        run.child.kill().unwrap();
        let status = run.child.wait().unwrap();
        assert_eq!(status.signal(), Some(9), "{kind} {step}: the run was over before");
    }
    assert_reaped(&bench, "after all of them");
}

const STAYS: &str = r#"
[deploy]
units = ["idle.service"]
[lanes.only]
boxes = ["local"]
ttl = "30m"
deploy = true
checks = [{ name = "check", run = "sleep 5" }]
"#;

const UNIT: &str = "[Service]\nExecStart=/bin/sleep infinity\n[Install]\nWantedBy=multi-user.target\n";

/// Kills a command as soon as it reports that.
#[track_caller]
fn kill_at(mut running: Running, kind: &str, step: &str) {
    running.until(&format!("{kind} {step}"), |event| {
        is(event, kind) && (step.is_empty() || event["step"] == *step)
    });
    running.child.kill().unwrap();
    let status = running.child.wait().unwrap();
    assert_eq!(status.signal(), Some(9), "{kind} {step}: it was over before");
}

#[test]
fn killed_up_test_and_deploy_can_each_be_repeated() {
    let bench = Bench::new(STAYS);
    let units = bench.project().join("ops/ephemeral/units");
    fs::create_dir_all(&units).unwrap();
    fs::write(units.join("idle.service"), UNIT).unwrap();

    let mut up = bench.start(&["up", "--label", "e2e-killed"]);
    let begun = up.until("the run's id", |event| is(event, "run-began"));
    kill_at(up, "step-ended", "connect");
    let (status, events) = bench.start(&["attach", begun["run"].as_str().unwrap()]).finish();
    assert_eq!(status.code(), Some(0), "{:?}", events.last());

    kill_at(bench.start(&["test", "e2e-killed"]), "check-began", "");
    let (code, text) = bench.output(&["test", "e2e-killed"]);
    assert_eq!(code, 0, "{text}");
    let (_, units) = bench.output(&[
        "ssh",
        "e2e-killed",
        "systemctl",
        "list-units",
        "--plain",
        "twolane-*-check.service",
    ]);
    assert!(
        !units.contains("-check.service"),
        "the killed one's check runs:\n{units}"
    );

    kill_at(bench.start(&["deploy", "e2e-killed"]), "step-progress", "deploy");
    let (code, text) = bench.output(&["deploy", "e2e-killed"]);
    assert_eq!(code, 0, "{text}");
    let (code, text) = bench.output(&["ssh", "e2e-killed", "systemctl", "is-active", "idle.service"]);
    assert_eq!((code, text.trim()), (0, "active"));

    let (code, text) = bench.output(&["down", "e2e-killed"]);
    assert_eq!(code, 0, "{text}");
    bench.assert_nothing_left();
}

/// Asserts that `twolane reap` leaves nothing of the box, and finds nothing the next time.
#[track_caller]
fn assert_reaped(bench: &Bench, moment: &str) {
    let ports = ports(bench);
    let (code, output) = bench.output(&["reap"]);
    assert_eq!(code, 0, "{moment}: {output}");
    assert!(
        output.contains(" failed=0 ") && output.contains(" unreachable=0"),
        "{moment}: {output}"
    );
    wait_until("no process of the box is left", || bench.processes().is_empty());
    bench.assert_nothing_left();
    for port in ports {
        TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("its port is free");
    }
    let (code, output) = bench.output(&["reap", "--dry-run"]);
    assert_eq!(code, 0, "{output}");
    assert!(output.contains("expired=0 "), "{moment}: {output}");
    assert_eq!(temporary(bench), Vec::<PathBuf>::new(), "{moment}");
}

/// Waits for the moment, as closely as can be.
fn reach(moment: &Moment, bench: &Bench, run: &mut Running) {
    match moment {
        Moment::Reported(kind) => {
            run.until(kind, |event| is(event, kind));
        }
        Moment::There(path) => at_once(|| box_dirs(bench).iter().any(|dir| dir.join(path).exists())),
        Moment::Qemu => at_once(|| {
            let processes = bench.processes();
            processes.iter().any(|(_, text)| text.starts_with("qemu-system"))
        }),
    }
}

/// Waits until something holds, looking as often as it can.
fn at_once(holds: impl Fn() -> bool) {
    let began = std::time::Instant::now();
    while !holds() {
        assert!(
            began.elapsed() < Duration::from_secs(600),
            "the moment never came"
        );
        thread::yield_now();
    }
}

fn box_dirs(bench: &Bench) -> Vec<PathBuf> {
    let entries = fs::read_dir(bench.state().join("boxes"))
        .into_iter()
        .flatten()
        .flatten();
    entries.map(|entry| entry.path()).collect()
}

/// Returns the ports at which the boxes' SSH servers answer.
fn ports(bench: &Bench) -> Vec<u16> {
    let read = |dir: PathBuf| {
        let record: serde_json::Value =
            serde_json::from_slice(&fs::read(dir.join("vm/box.json")).ok()?).ok()?;
        u16::try_from(record["port"].as_u64()?).ok()
    };
    box_dirs(bench).into_iter().filter_map(read).collect()
}

/// Returns what lies in the state directory and belongs to nothing that is kept. `c` holds the sockets of shared
/// connections: what a killed process left there is swept by a later connection.
fn temporary(bench: &Bench) -> Vec<PathBuf> {
    let is_kept = |name: &str| {
        name.starts_with("journal.") || ["boxes", "c", "runs", "lock", "runs-locks"].contains(&name)
    };
    let entries = fs::read_dir(bench.state()).unwrap().flatten();
    let names = entries.filter(|entry| !is_kept(&entry.file_name().to_string_lossy()));
    names.map(|entry| entry.path()).collect()
}
