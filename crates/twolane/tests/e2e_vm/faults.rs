//! End to end on `local`: the guest's network is unplugged in stage 1, in stage 2 and in a check, and its disk is filled.
//! The run goes on, or ends with everything destroyed. One box for all of it.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::net::UnixStream,
    path::PathBuf,
};

use serde_json::Value;

use crate::support::{Bench, is};

const LANE: &str = r#"
[deploy]
binaries = []
units = []

[lanes.only]
boxes = ["local"]
ttl = "40m"
deploy = true
checks = [
  { name = "fills the disk", run = "echo begun; while fallocate -l 512M filler.$((i++)); do :; done; dd if=/dev/zero of=filler bs=1M; rm filler*; exit 4" },
  { name = "after that", run = "echo good > again && cat again" },
  { name = "speaks", run = "while :; do echo here; sleep 1; done" },
]
"#;

#[test]
fn a_network_that_comes_back_is_waited_for_and_one_that_does_not_keeps_no_box() {
    let bench = Bench::new(LANE);
    let mut run = bench.start(&["run", "--continue"]);
    run.until("stage 1", |event| is(event, "stage1"));
    cut_for_a_while(&bench);
    run.until("stage 2", |event| {
        is(event, "step-began") && event["step"] == "deploy"
    });
    cut_for_a_while(&bench);
    let speaks = |event: &Value| is(event, "check-output") && event["check"] == "speaks";
    run.until("output of the last check", speaks);
    cut_for_a_while(&bench);
    run.until("more of its output", speaks);

    plug(&bench, false);
    bench.cut_connections();
    run.signal("TERM");
    let (status, events) = run.finish();
    assert_eq!(status.code(), Some(130), "{}", why(&events));
    assert!(events.iter().any(|event| is(event, "machine-gone")));
    bench.assert_nothing_left();

    let outcomes: Vec<String> = events
        .iter()
        .filter(|event| is(event, "check-ended"))
        .map(|event| format!("{} {}", event["check"], event["outcome"]["outcome"]).replace('"', ""))
        .collect();
    assert_eq!(
        outcomes[..2],
        ["fills-the-disk failed", "after-that passed"],
        "{}",
        why(&events)
    );
    let output = fs::read_to_string(&bench.files_ending("checks/fills-the-disk.log")[0]).unwrap();
    assert!(output.contains("No space left on device"), "{output}");
}

/// Unplugs the guest, has the client notice at once, and plugs it in again.
fn cut_for_a_while(bench: &Bench) {
    plug(bench, false);
    bench.cut_connections();
    plug(bench, true);
}

/// Plugs the guest's network in or out, over QEMU's control socket.
fn plug(bench: &Bench, is_up: bool) {
    let boxes = fs::read_dir(bench.state().join("boxes")).unwrap();
    let sockets = boxes.map(|entry| entry.unwrap().path().join("vm/qmp.sock"));
    let sockets: Vec<PathBuf> = sockets.filter(|path| path.exists()).collect();
    let mut control = UnixStream::connect(&sockets[0]).unwrap();
    let mut answers = BufReader::new(control.try_clone().unwrap()).lines();
    let mut answer = || {
        let mut lines = answers.by_ref().map(Result::unwrap);
        lines.find(|line| !line.contains("\"event\"")).unwrap()
    };
    assert!(answer().contains("QMP"));
    let commands = [
        r#"{"execute": "qmp_capabilities"}"#.to_owned(),
        format!(r#"{{"execute": "set_link", "arguments": {{"name": "net", "up": {is_up}}}}}"#),
    ];
    for command in commands {
        writeln!(control, "{command}").unwrap();
        let answer = answer();
        assert!(answer.contains("return"), "{command}: {answer}");
    }
}

fn why(events: &[Value]) -> String {
    let reported = events
        .iter()
        .filter(|event| is(event, "lane-failed") || is(event, "notice") || is(event, "check-ended"));
    reported.map(Value::to_string).collect::<Vec<_>>().join("\n")
}
