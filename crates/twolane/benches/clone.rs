//! A box that is cloned from a template against one that boots, each from twolane's start to the end of its first check, with the
//! KVM gate in it: `cargo bench -p twolane --bench clone`. Boots two VMs, the template's being one, and clones it.

#![expect(clippy::print_stdout, reason = "it is a program that prints a table")]

use std::{
    fs,
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

const CONFIG: &str = r#"
[project]
name = "bench"
[sources]
bench = { path = "." }
[lanes.only]
kvm    = "required"
boxes  = ["local"]
checks = [{ name = "nothing", run = "true" }]
"#;

/// What a line of `--json` holds both of when a part is over.
const PARTS: [(&str, [&str; 2]); 4] = [
    ("QEMU runs", [r#""event":"machine-up""#, ""]),
    (
        "SSH lets us in",
        [r#""event":"step-ended""#, r#""step":"connect""#],
    ),
    ("the KVM gate has answered", [r#""event":"gate""#, ""]),
    ("the check has ended", [r#""event":"check-ended""#, ""]),
];

/// How often a clone is measured; the median counts.
const CLONES: usize = 5;

fn main() {
    let dir = tempfile::Builder::new()
        .prefix("tl")
        .tempdir_in("/tmp")
        .expect("a directory in /tmp");
    fs::write(dir.path().join("twolane.toml"), CONFIG).expect("a file in it");
    let run = |arguments: &[&str]| -> Vec<Duration> {
        let start = Instant::now();
        let mut child = Command::new(env!("CARGO_BIN_EXE_twolane"))
            .args(["--json", "--state-dir"])
            .arg(dir.path().join("s"))
            .arg("-C")
            .arg(dir.path())
            .arg("run")
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("twolane starts");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe"))
            .lines()
            .map_while(Result::ok);
        let times = PARTS.map(|(part, signs)| {
            assert!(
                lines.any(|line| signs.iter().all(|sign| line.contains(sign))),
                "the run ended before {part}"
            );
            start.elapsed()
        });
        lines.for_each(drop);
        let status = child.wait().expect("twolane ends");
        assert_eq!(status.code(), Some(0), "the run passes");
        times.to_vec()
    };
    // Makes image and template, where they are missing.
    run(&[]);
    let cold = run(&["--cold"]);
    let mut clones: Vec<_> = (0..CLONES).map(|_| run(&[])).collect();
    clones.sort_by_key(|times| times[PARTS.len() - 1]);
    let clone = &clones[CLONES / 2];
    println!("| until | cold | clone, median of {CLONES} | ratio, aim 1/15 |");
    println!("| --- | --- | --- | --- |");
    for (((part, _), cold), clone) in PARTS.iter().zip(cold).zip(clone) {
        println!(
            "| {part} | {cold:.1?} | {clone:.1?} | 1/{:.1} |",
            cold.as_secs_f64() / clone.as_secs_f64()
        );
    }
}
