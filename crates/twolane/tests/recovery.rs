//! What a killed twolane left is finished by the next one, and a newer run takes the older one's place. The boxes are
//! directories of the local provider whose QEMU is long gone; no new box can be made, as there is no QEMU in the path.

use std::{
    fs,
    os::unix::fs::symlink,
    path::PathBuf,
    process::{Command, Output, Stdio},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use camino::Utf8Path;
use journal::Journal;
use model::{
    candidate::Candidate,
    journal::Fact,
    name::{Label, ProviderName, RunId, Token},
    tags::{Owner, Tags},
    time::{Deadline, Timestamp},
    world::{Clock, Journal as _},
};
use tempfile::TempDir;

const OLD_RUN: &str = "20260102-030405-7f3a";

const CONFIG: &str = r#"
[project]
name = "demo"

[lanes.fast]
boxes = ["local"]
supersede = SUPERSEDE
checks = [{ name = "hello", run = "true" }]
"#;

struct Wall;

#[async_trait]
impl Clock for Wall {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    async fn sleep(&self, _: Duration) {}

    fn random(&self) -> u64 {
        4
    }
}

/// A project with a state directory, and a path in which there is git and no QEMU.
struct Place(TempDir);

impl Place {
    fn new(supersede: bool) -> Self {
        let temp = tempfile::tempdir().unwrap();
        for dir in ["work/src", "home", "bin"] {
            fs::create_dir_all(temp.path().join(dir)).unwrap();
        }
        let config = CONFIG.replace("SUPERSEDE", &supersede.to_string());
        fs::write(temp.path().join("work/twolane.toml"), config).unwrap();
        for program in ["git", "ssh", "ssh-keygen", "rsync"] {
            let path = std::env::var_os("PATH").unwrap();
            let found = std::env::split_paths(&path).map(|dir| dir.join(program));
            if let Some(found) = found.into_iter().find(|path| path.exists()) {
                symlink(found, temp.path().join("bin").join(program)).unwrap();
            }
        }
        Self(temp)
    }

    fn state(&self) -> PathBuf {
        self.0.path().join("state")
    }

    fn box_dir(&self, label: &str) -> PathBuf {
        self.state().join("boxes").join(label).join("vm")
    }

    /// Leaves the box of a run that was killed; `is_kept` when its user keeps it.
    fn plant(&self, label: &str, is_kept: bool) {
        let tags = Tags {
            label: Label::new(label).unwrap(),
            run: RunId::new(OLD_RUN).unwrap(),
            token: Token::new(format!("{label}-1")).unwrap(),
            deadline: Deadline::after(Timestamp::now(), Duration::from_secs(3600)),
            owner: Owner {
                repository: Some("acme/demo".to_owned()),
                reference: Some("pr-17".to_owned()),
                ..Owner::default()
            },
        };
        let record = serde_json::json!({
            "version": 1, "tags": tags.pairs(), "instance_type": "2x4g", "port": 2222, "note": "",
        });
        fs::create_dir_all(self.box_dir(label)).unwrap();
        fs::write(self.box_dir(label).join("box.json"), record.to_string()).unwrap();
        let began = Fact::RunBegan {
            project: "demo".to_owned(),
        };
        let intent = Fact::Intent {
            candidate: Candidate {
                provider: ProviderName::new("local").unwrap(),
                region: "local".to_owned(),
                instance_type: "2x4g".to_owned(),
                image: None,
                disk_gb: None,
                options: Box::default(),
            },
            tags: tags.clone(),
        };
        let kept = is_kept.then_some(Fact::Kept { label: tags.label });
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let state = self.state();
        runtime.block_on(async {
            let journal = Journal::open(Utf8Path::from_path(&state).unwrap(), Arc::new(Wall)).unwrap();
            for fact in [began, intent].into_iter().chain(kept) {
                journal.append(&tags.run, fact).await.unwrap();
            }
        });
    }

    /// Runs twolane, as in a job of pull request 17.
    fn twolane(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_twolane"))
            .args(arguments)
            .current_dir(self.0.path().join("work"))
            .env_clear()
            .env("PATH", self.0.path().join("bin"))
            .env("HOME", self.0.path().join("home"))
            .env("TWOLANE_STATE_DIR", self.state())
            .env("GITHUB_REPOSITORY", "acme/demo")
            .env("GITHUB_REF", "refs/pull/17/merge")
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }
}

/// Asserts that a run had no box of its own, and returns what it reported.
#[track_caller]
fn reported(output: &Output) -> String {
    let reported = [output.stdout.clone(), output.stderr.clone()].concat();
    let reported = String::from_utf8(reported).unwrap();
    // Nothing is created where there is no QEMU.
    assert_eq!(output.status.code(), Some(2), "{reported}");
    reported
}

#[test]
fn the_next_run_destroys_what_a_dead_one_left_and_says_so() {
    for arguments in [&["run"][..], &["up"], &["run", "--label", "demo-fast-1"]] {
        let place = Place::new(false);
        place.plant("demo-fast-1", false);
        let reported = reported(&place.twolane(arguments));
        let line = format!("run {OLD_RUN} was left unfinished; destroying demo-fast-1");
        assert!(reported.contains(&line), "{arguments:?}: {reported}");
        assert!(
            !place.box_dir("demo-fast-1").exists(),
            "{arguments:?}: {reported}"
        );
        let listed = place.twolane(&["ls"]);
        assert_eq!(String::from_utf8_lossy(&listed.stdout).trim(), "no box");
    }
}

#[test]
fn a_box_that_is_kept_is_left_alone_and_so_is_its_label() {
    let place = Place::new(true);
    place.plant("demo-fast-1", true);
    reported(&place.twolane(&["run"]));
    assert!(place.box_dir("demo-fast-1").exists());
    let refused = place.twolane(&["run", "--label", "demo-fast-1"]);
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    assert!(place.box_dir("demo-fast-1").exists());
}

#[test]
fn a_look_says_in_one_line_what_was_left_and_leaves_it() {
    let place = Place::new(false);
    place.plant("demo-fast-1", false);
    let listed = place.twolane(&["ls"]);
    let reported = String::from_utf8_lossy(&listed.stderr).into_owned();
    assert!(
        reported.contains(&format!("run {OLD_RUN} was cut off"))
            && reported.contains("twolane down demo-fast-1"),
        "{reported}"
    );
    assert_eq!(reported.lines().count(), 1, "{reported}");
    assert!(place.box_dir("demo-fast-1").exists());
}

#[test]
fn a_run_on_another_machine_is_superseded_by_a_newer_one_of_the_same_pull_request() {
    let elsewhere = |supersede| {
        let place = Place::new(supersede);
        place.plant("demo-fast-1", false);
        // This machine's journal knows nothing of it.
        for file in ["journal.db", "journal.db-wal", "journal.db-shm"] {
            let _ = fs::remove_file(place.state().join(file));
        }
        let reported = reported(&place.twolane(&["run"]));
        (reported, place.box_dir("demo-fast-1").exists())
    };
    let (reported, is_there) = elsewhere(true);
    assert!(!is_there, "{reported}");
    let line = format!("box demo-fast-1 of the older run {OLD_RUN} is gone");
    assert!(reported.contains(&line), "{reported}");
    // Before anything of its own.
    let begin = reported.find("asks for").unwrap_or(reported.len());
    assert!(reported.find(&line) < Some(begin), "{reported}");
    let (reported, is_there) = elsewhere(false);
    assert!(is_there, "{reported}");
}

#[test]
fn extend_keeps_to_the_longest_life_of_a_box() {
    let place = Place::new(false);
    place.plant("demo-fast-1", true);
    let output = place.twolane(&["extend", "demo-fast-1", "--by", "50h"]);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(
        error.contains("a box lives for 48 h 00 m at most") && error.contains("is the latest"),
        "{error}"
    );
}
