//! Time from an edit to the beginning of the check, in `twolane test --watch`: `cargo bench -p twolane --bench watch`. The box is a
//! stand-in behind a real sshd on loopback, so that all of it is this machine's: noticing, listing, copying and asking.

#![expect(clippy::print_stdout, reason = "it is a program that prints a table")]

use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{ChildStdout, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

#[expect(dead_code, reason = "tests use the rest of it")]
#[path = "../tests/hostile/place.rs"]
mod place;
#[path = "../tests/stand_ins/mod.rs"]
mod stand_ins;

use place::Place;

const ROUNDS: usize = 9;

/// Long enough that the loop waits for the next edit.
const PAUSE: Duration = Duration::from_millis(500);

fn main() {
    println!("| sources | edit → check began, median of {ROUNDS} | worst |\n| --- | --- | --- |");
    for files in [600, 30_000] {
        let Some(place) = Place::new("[lanes.fast]\n") else {
            return;
        };
        tree(&place.path("work"), files);
        let mut times = measure(&place);
        times.sort_unstable();
        let [median, worst] = [ROUNDS / 2, ROUNDS - 1].map(|at| times[at].as_millis());
        println!("| {files} files | {median} ms | {worst} ms |");
    }
}

/// Makes a checkout of so many files.
fn tree(root: &Path, files: usize) {
    for index in 0..files {
        let below = root.join(format!("d{}", index / 30));
        fs::create_dir_all(&below).expect("a directory");
        fs::write(
            below.join(format!("f{index}.rs")),
            format!("fn f{index}() {{}}\n"),
        )
        .expect("a file");
    }
    for arguments in [&["init", "-q"][..], &["add", "-A"]] {
        let git = Command::new("git").args(arguments).current_dir(root).status();
        assert!(git.is_ok_and(|status| status.success()), "git failed");
    }
}

fn measure(place: &Place) -> Vec<Duration> {
    let up = place.command().args(["up", "fast"]).output().expect("a box");
    assert!(up.status.success(), "{}", String::from_utf8_lossy(&up.stderr));
    let mut child = place
        .command()
        .args(["test", "--watch", "--json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("a loop");
    let mut events = BufReader::new(child.stdout.take().expect("a pipe"));
    until(&mut events, "run-ended");
    let mut times = Vec::new();
    for round in 0..ROUNDS {
        thread::sleep(PAUSE);
        let edited = Instant::now();
        fs::write(place.path("work/d0/f0.rs"), format!("// {round}\n")).expect("an edit");
        until(&mut events, "check-began");
        times.push(edited.elapsed());
        until(&mut events, "run-ended");
    }
    child.kill().expect("its end");
    child.wait().expect("its end");
    let down = place.command().args(["down", "--all"]).output().expect("no box");
    assert!(down.status.success(), "{}", String::from_utf8_lossy(&down.stderr));
    times
}

fn until(events: &mut BufReader<ChildStdout>, kind: &str) {
    let wanted = format!(r#""event":"{kind}""#);
    let mut line = String::new();
    while !line.contains(&wanted) {
        line.clear();
        assert_ne!(
            events.read_line(&mut line).expect("an event"),
            0,
            "it ended before {kind}"
        );
    }
}
