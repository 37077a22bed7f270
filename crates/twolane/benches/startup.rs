//! Start-up time of the binary against `/bin/true`, and its size: `cargo bench -p twolane --bench startup`.

#![expect(clippy::print_stdout, reason = "it is a program that prints a table")]

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

const ROUNDS: usize = 40;

/// Returns the median time of a command from start to end.
fn median(program: &Path, arguments: &[&str], dir: &Path) -> Duration {
    let once = || {
        let start = Instant::now();
        let status = Command::new(program)
            .args(arguments)
            .current_dir(dir)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        assert!(
            status.is_ok_and(|status| status.success()),
            "{program:?} {arguments:?} failed"
        );
        start.elapsed()
    };
    let mut times: Vec<_> = (0..ROUNDS).map(|_| once()).collect();
    times.sort();
    times[ROUNDS / 2]
}

fn main() {
    let twolane = Path::new(env!("CARGO_BIN_EXE_twolane"));
    let sample = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../samples/mvm");
    let nothing = median(Path::new("/bin/true"), &[], &sample);
    println!("| command | median of {ROUNDS} | over `/bin/true` |");
    println!("| --- | --- | --- |");
    println!("| `/bin/true` | {nothing:.1?} | |");
    for arguments in [&["--version"][..], &["plan"]] {
        let time = median(twolane, arguments, &sample);
        println!(
            "| `twolane {}` | {time:.1?} | {:.1?} |",
            arguments.join(" "),
            time.saturating_sub(nothing)
        );
    }
    let size = std::fs::metadata(twolane)
        .map(|file| file.len())
        .unwrap_or_default();
    println!("\nbinary: {:.1} MB", size as f64 / 1e6);
}
