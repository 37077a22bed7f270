//! `twolane test --watch` on a box that is nothing but fair.

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead, BufReader},
    process::{Child, ChildStdout, Command, Stdio},
};

use serde_json::Value;

use crate::place::Place;

/// A loop whose events are read.
struct Watching {
    child: Child,
    events: BufReader<ChildStdout>,
}

impl Watching {
    fn start(place: &Place) -> Self {
        let up = place.command().args(["up", "fast"]).output().unwrap();
        assert!(up.status.success(), "{}", String::from_utf8_lossy(&up.stderr));
        let mut child = place
            .command()
            .args(["test", "--watch", "--json"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let events = BufReader::new(child.stdout.take().unwrap());
        Self { child, events }
    }

    /// Reads events until one of that kind, and returns how many runs began meanwhile.
    #[track_caller]
    fn until(&mut self, kind: &str) -> usize {
        let mut runs = 0;
        loop {
            let mut line = String::new();
            assert_ne!(
                self.events.read_line(&mut line).unwrap(),
                0,
                "it ended before {kind}"
            );
            let event: Value = serde_json::from_str(&line).unwrap();
            runs += usize::from(event["event"] == "run-began");
            if event["event"] == kind {
                return runs;
            }
        }
    }

    fn signal(&self, name: &str) {
        let kill = Command::new("kill")
            .args([name, &self.child.id().to_string()])
            .status();
        assert!(kill.unwrap().success());
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[track_caller]
fn down_all(place: &Place) {
    let down = place.command().args(["down", "--all"]).status();
    assert!(down.unwrap().success());
}

#[test]
fn edit_runs_again_over_the_same_connection_and_what_stays_here_does_not() {
    let Some(place) = Place::new("[lanes.fast]\n") else {
        return;
    };
    let work = place.path("work");
    let git = Command::new("git")
        .args(["init", "-q"])
        .current_dir(&work)
        .status();
    assert!(git.unwrap().success());
    fs::write(work.join(".gitignore"), "target/\n").unwrap();
    let mut watching = Watching::start(&place);
    let connections = || -> BTreeSet<String> {
        let seen = fs::read_to_string(place.path("box/connections")).unwrap();
        seen.lines().map(str::to_owned).collect()
    };
    watching.until("run-ended");
    let before = connections();

    fs::create_dir(work.join("target")).unwrap();
    fs::write(work.join("target/made"), "").unwrap();
    fs::write(work.join("hello.txt"), "hello again\n").unwrap();
    assert_eq!(watching.until("run-ended"), 1);
    let sent = fs::read_dir(place.path("box/root/home/dev/demo")).unwrap();
    let sent: BTreeSet<String> = sent
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(
        sent,
        [".gitignore", "hello.txt", "twolane.toml"]
            .map(str::to_owned)
            .into()
    );
    let text = fs::read_to_string(place.path("box/root/home/dev/demo/hello.txt")).unwrap();
    assert_eq!(text, "hello again\n");
    assert_eq!(
        connections(),
        before,
        "the first run's connection serves the second"
    );

    watching.signal("-TERM");
    assert_eq!(watching.child.wait().unwrap().code(), Some(130));
    let ls = place.command().args(["ls", "--json"]).output().unwrap();
    let boxes: Value = serde_json::from_slice(&ls.stdout).unwrap();
    assert_eq!(boxes.as_array().map(Vec::len), Some(1), "the box stays: {boxes}");
    down_all(&place);
}

#[test]
fn check_that_is_out_of_date_is_stopped_on_the_box() {
    let Some(place) = Place::new("[lanes.fast]\n") else {
        return;
    };
    let place = place.with_fault("follow", "hangs");
    let mut watching = Watching::start(&place);
    watching.until("check-began");
    fs::remove_file(place.path("box/fault")).unwrap();
    fs::write(place.path("work/hello.txt"), "hello again\n").unwrap();
    watching.until("notice");
    assert_eq!(watching.until("run-ended"), 0, "the first run ends");
    assert_eq!(watching.until("run-ended"), 1);
    let asked = fs::read_to_string(place.path("box/asked")).unwrap();
    let asked: Vec<&str> = asked
        .lines()
        .filter(|asked| ["start", "stop"].contains(asked))
        .collect();
    assert_eq!(asked, ["start", "stop", "start"]);
    drop(watching);
    down_all(&place);
}

#[test]
fn mistake_in_the_file_is_shown_and_a_box_that_is_gone_ends_the_loop() {
    let Some(place) = Place::new("[lanes.fast]\n") else {
        return;
    };
    let config = place.path("work/twolane.toml");
    let mut watching = Watching::start(&place);
    watching.until("run-ended");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, format!("{text}nonsense = 1\n")).unwrap();
    let mut line = String::new();
    watching.events.read_line(&mut line).unwrap();
    assert!(line.contains("nonsense"), "{line}");
    fs::write(&config, text).unwrap();
    assert_eq!(watching.until("run-ended"), 1);

    down_all(&place);
    fs::write(place.path("work/hello.txt"), "").unwrap();
    assert_eq!(watching.child.wait().unwrap().code(), Some(2));
}
