//! Time from SIGTERM to the destroy request, at several moments of a run on `local`:
//! `cargo bench -p twolane --bench interrupt`. Boots a VM for each moment.

#![expect(clippy::print_stdout, reason = "it is a program that prints a table")]

use std::{
    fs,
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    time::Instant,
};

const CONFIG: &str = r#"
[project]
name = "bench"
[sources]
bench = { path = "." }
[system]
packages = ["build-essential"]
rust     = { toolchain = "stable", components = ["clippy", "rustfmt"], from = "operator" }
[lanes.only]
boxes  = ["local"]
checks = [{ name = "long", run = "echo up; sleep 1000" }]
"#;

/// What a line of `--json` holds when the moment has come.
const MOMENTS: [(&str, &str); 4] = [
    ("QEMU has started", r#""event":"machine-up""#),
    ("the first step of stage 1", r#""event":"stage1""#),
    ("the KVM gate has answered", r#""event":"gate""#),
    ("a check runs", r#""event":"check-output""#),
];

fn main() {
    println!("| SIGTERM when | to the destroy request | to the end |");
    println!("| --- | --- | --- |");
    for (name, sign) in MOMENTS {
        let dir = tempfile::Builder::new()
            .prefix("tl")
            .tempdir_in("/tmp")
            .expect("a directory in /tmp");
        fs::write(dir.path().join("twolane.toml"), CONFIG).expect("a file in it");
        let mut child = Command::new(env!("CARGO_BIN_EXE_twolane"))
            .args(["--json", "--state-dir"])
            .arg(dir.path().join("s"))
            .arg("-C")
            .arg(dir.path())
            .arg("run")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("twolane starts");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe"))
            .lines()
            .map_while(Result::ok);
        assert!(
            lines.any(|line| line.contains(sign)),
            "the run ended before {name}"
        );
        let start = Instant::now();
        let pid = child.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &pid]).status();
        assert!(
            sent.is_ok_and(|status| status.success()),
            "could not signal {pid}"
        );
        let is_down =
            |line: &String| line.contains(r#""event":"step-began""#) && line.contains(r#""step":"down""#);
        assert!(lines.any(|line| is_down(&line)), "no destroy request at {name}");
        let asked = start.elapsed();
        lines.for_each(drop);
        let status = child.wait().expect("twolane ends");
        assert_eq!(status.code(), Some(130), "at {name}");
        println!("| {name} | {asked:.0?} | {:.1?} |", start.elapsed());
    }
}
