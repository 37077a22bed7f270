//! Stage 2 end to end on `local`: four daemons in a real VM, a microVM's output back through all of them, and what
//! happens to them when a deploy changes something or goes wrong. One box for all of it, as booting one takes minutes.

use std::{fs, path::Path, process::Command};

use crate::support::{Bench, is};
use serde_json::Value;
use tempfile::TempDir;

const LABEL: &str = "e2e-deploy";
const AGENT: &str = "samples/mvmd/crates/mvmd/src/daemons.rs";

/// Returns a copy of both samples, which tests may change.
fn samples() -> TempDir {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let copy = tempfile::tempdir().unwrap();
    let copied = Command::new("rsync")
        .args(["-a", "--exclude=target", "--delete"])
        .arg(repository.join("samples"))
        .arg(copy.path())
        .status();
    assert!(copied.unwrap().success());
    copy
}

fn edit(path: &Path, old: &str, new: &str) {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.contains(old), "{old} in {}", path.display());
    fs::write(path, text.replace(old, new)).unwrap();
}

/// Returns the process of each unit.
fn processes(bench: &Bench) -> Vec<String> {
    let (code, text) = bench.output(&[
        "ssh",
        LABEL,
        "systemctl show --property=MainPID --value mvm-hostd mvmd-agent mvmd-coordinator mvmd-gateway",
    ]);
    assert_eq!(code, 0, "{text}");
    text.split_whitespace().map(str::to_owned).collect()
}

/// Deploys; returns the exit code, and why the deploy failed.
fn deploy(bench: &Bench) -> (i32, String) {
    let (status, events) = bench.start(&["deploy", LABEL]).finish();
    (status.code().unwrap_or(-1), why(&events))
}

/// Returns why the lane could not go on; nothing where it could.
fn why(events: &[Value]) -> String {
    let failed = events.iter().find(|event| is(event, "lane-failed"));
    failed.map_or(String::new(), |event| event["why"].to_string())
}

#[test]
fn four_daemons_come_up_and_survive_what_deploys_do_to_them() {
    let samples = samples();
    let bench = Bench::at(samples.path().join("samples/mvmd"));
    let (status, events) = bench.start(&["up", "--label", LABEL]).finish();
    assert_eq!(status.code(), Some(0), "{}", why(&events));

    let (code, text) = bench.output(&["smoke", LABEL]);
    assert_eq!(code, 0, "{text}");
    assert!(
        text.contains("the smoke test passed") && !text.contains("BAD"),
        "{text}"
    );
    let verify = "systemd-analyze verify --man=no mvm-hostd.service mvmd-agent.service mvmd-coordinator.service mvmd-gateway.service";
    let (code, text) = bench.output(&["ssh", LABEL, verify]);
    assert!(code == 0 && text.trim().is_empty(), "{text}");
    let (code, text) = bench.output(&["logs", LABEL, "--unit", "mvmd-gateway"]);
    assert!(
        code == 0 && text.contains("refused a request: the request is not signed"),
        "{text}"
    );

    let first = processes(&bench);
    let (code, why_not) = deploy(&bench);
    assert_eq!(code, 0, "{why_not}");
    assert_eq!(processes(&bench), first, "nothing has changed");

    // The build fails: the compiler's message is shown, and the running daemons stay.
    let agent = samples.path().join(AGENT);
    edit(&agent, "agent listens at {}", "agent listens at {} {}");
    let (code, why_not) = deploy(&bench);
    assert_eq!(code, 3);
    assert!(
        why_not.contains("stage 2 failed at build") && why_not.contains("positional argument"),
        "{why_not}"
    );
    assert_eq!(processes(&bench), first);

    // A daemon crash-loops: it is named, with what it wrote.
    edit(&agent, "agent listens at {} {}", "agent listens at {}");
    edit(
        &agent,
        "    let served = listen_socket(socket)",
        "    panic!(\"the agent has had enough\");\n    let served = listen_socket(socket)",
    );
    let (code, why_not) = deploy(&bench);
    assert_eq!(code, 3);
    assert!(
        why_not.contains("mvmd-agent.service") && why_not.contains("the agent has had enough"),
        "{why_not}"
    );

    // The connection is cut in the middle of the build: the deploy goes on by itself, and is followed to its end.
    edit(&agent, "    panic!(\"the agent has had enough\");\n", "");
    let mut running = bench.start(&["deploy", LABEL, "--rotate-secret"]);
    running.until("the build", |event| {
        is(event, "step-progress") && event["message"] == "== build"
    });
    bench.cut_connections();
    let (status, events) = running.finish();
    assert_eq!(status.code(), Some(0), "{}", why(&events));
    assert_eq!(processes(&bench)[0], first[0], "mvm-hostd was never touched");
    let (code, text) = bench.output(&["smoke", LABEL]);
    assert_eq!(code, 0, "{text}");

    let (code, text) = bench.output(&["down", LABEL]);
    assert_eq!(code, 0, "{text}");
    bench.assert_nothing_left();
}
