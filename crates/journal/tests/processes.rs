//! Several processes on one journal, and processes that are killed. A test runs itself again as its child,
//! reported by an environment variable.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use camino::Utf8Path;
use journal::Journal;
use model::{
    candidate::Candidate,
    error::JournalError,
    journal::Fact,
    name::{Label, ProviderName, RunId, Token},
    tags::{Owner, Tags},
    time::{Deadline, Timestamp},
    world::{Clock, Journal as _},
};

const DIR: &str = "TWOLANE_JOURNAL_CHILD_DIR";
const RUN: &str = "TWOLANE_JOURNAL_CHILD_RUN";

struct FixedClock;

#[async_trait]
impl Clock for FixedClock {
    fn now(&self) -> Timestamp {
        "2026-01-02T03:04:05Z".parse().unwrap()
    }

    async fn sleep(&self, _: Duration) {}

    fn random(&self) -> u64 {
        4
    }
}

fn open(dir: &Utf8Path) -> Journal {
    Journal::open(dir, Arc::new(FixedClock)).unwrap()
}

fn run(id: &str) -> RunId {
    RunId::new(id).unwrap()
}

/// Returns the journal and the run of this process, when it is a child.
fn as_child() -> Option<(Journal, RunId)> {
    let dir = std::env::var(DIR).ok()?;
    Some((open(dir.as_ref()), run(&std::env::var(RUN).ok()?)))
}

/// A child that plays the part of the named test in one run.
struct Player {
    child: Child,
    said: Box<dyn Iterator<Item = String>>,
}

impl Player {
    fn start(test: &str, dir: &Utf8Path, run: &str) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", test, "--nocapture"])
            .env(DIR, dir)
            .env(RUN, run)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // The rest is what the test harness writes.
        let said = lines.filter_map(|line| line.unwrap().strip_prefix("said ").map(str::to_owned));
        Self {
            child,
            said: Box::new(said),
        }
    }

    #[track_caller]
    fn hears(&mut self, expected: &str) {
        assert_eq!(self.said.next().as_deref(), Some(expected));
    }

    fn go_on(&mut self) {
        self.child.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
    }

    /// Ends it with SIGKILL, and returns all that it still had said.
    fn kill(mut self) -> Vec<String> {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.said.collect()
    }

    #[track_caller]
    fn ends_well(mut self) -> Vec<String> {
        let said = self.said.collect();
        assert!(self.child.wait().unwrap().success());
        said
    }
}

fn say(what: &str) {
    let mut out = std::io::stdout();
    // On a line of its own, whatever the harness has written before.
    out.write_all(format!("\nsaid {what}\n").as_bytes()).unwrap();
    out.flush().unwrap();
}

fn wait_to_go_on() {
    std::io::stdin().lock().read_line(&mut String::new()).unwrap();
}

fn numbered(n: usize) -> Fact {
    Fact::RunBegan {
        project: n.to_string(),
    }
}

fn intent(run: &RunId) -> Fact {
    let label = Label::new("same-label").unwrap();
    Fact::Intent {
        candidate: Candidate {
            provider: ProviderName::new("local").unwrap(),
            region: "here".into(),
            instance_type: "2x4g".into(),
            image: None,
            disk_gb: None,
            options: Box::default(),
        },
        tags: Tags {
            token: Token::generate(&label, 1),
            label,
            run: run.clone(),
            deadline: Deadline::at_unix(1_800_000_000),
            owner: Owner::default(),
        },
    }
}

#[tokio::test]
async fn a_killed_process_loses_nothing_that_was_acknowledged() {
    if let Some((journal, run)) = as_child() {
        for n in 0.. {
            journal.append(&run, numbered(n)).await.unwrap();
            say(&n.to_string());
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let dir = Utf8Path::from_path(folder.path()).unwrap();
    let mut acknowledged = Vec::new();
    for state in 0..8 {
        let id = format!("r{state}");
        let mut player = Player::start("a_killed_process_loses_nothing_that_was_acknowledged", dir, &id);
        let mut heard: Vec<String> = player.said.by_ref().take(1 + 7 * state).collect();
        heard.extend(player.kill());
        acknowledged.extend(
            heard
                .into_iter()
                .map(|n| (run(&id), numbered(n.parse().unwrap()))),
        );

        let entries = open(dir).entries().await.unwrap();
        let there: Vec<_> = entries.into_iter().map(|entry| (entry.run, entry.fact)).collect();
        for wanted in &acknowledged {
            assert!(there.contains(wanted), "{wanted:?} is lost");
        }
        // The last append of each state may have been written without being acknowledged.
        assert!(there.len() <= acknowledged.len() + state + 1);
    }
}

#[tokio::test]
async fn two_processes_append_at_once() {
    const EACH: usize = 60;
    if let Some((journal, run)) = as_child() {
        say("ready");
        wait_to_go_on();
        for n in 0..EACH {
            journal.append(&run, numbered(n)).await.unwrap();
        }
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let dir = Utf8Path::from_path(folder.path()).unwrap();
    // They also make the journal at once: it is not there yet.
    let mut players = ["r1", "r2"].map(|run| Player::start("two_processes_append_at_once", dir, run));
    players.iter_mut().for_each(|player| player.hears("ready"));
    players.iter_mut().for_each(Player::go_on);
    let said = players.map(Player::ends_well).concat();
    assert!(said.is_empty(), "{said:?}");
    let entries = open(dir).entries().await.unwrap();
    for id in ["r1", "r2"] {
        let of_run: Vec<&Fact> = entries
            .iter()
            .filter(|entry| entry.run == run(id))
            .map(|entry| &entry.fact)
            .collect();
        let expected: Vec<Fact> = (0..EACH).map(numbered).collect();
        assert_eq!(of_run, expected.iter().collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn of_those_who_claim_a_label_at_once_exactly_one_wins() {
    if let Some((journal, run)) = as_child() {
        say("ready");
        wait_to_go_on();
        match journal.append(&run, intent(&run)).await {
            Ok(()) => say("won"),
            Err(JournalError::Taken(_)) => say("taken"),
            Err(error) => panic!("{error}"),
        }
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let dir = Utf8Path::from_path(folder.path()).unwrap();
    let test = "of_those_who_claim_a_label_at_once_exactly_one_wins";
    let mut players = ["r1", "r2", "r3", "r4"].map(|run| Player::start(test, dir, run));
    players.iter_mut().for_each(|player| player.hears("ready"));
    players.iter_mut().for_each(Player::go_on);
    let mut said = players.map(Player::ends_well).concat();
    said.sort();
    assert_eq!(said, ["taken", "taken", "taken", "won"]);
    assert_eq!(open(dir).entries().await.unwrap().len(), 1);
}

#[tokio::test]
async fn the_lock_of_a_killed_process_is_free() {
    if let Some((journal, run)) = as_child() {
        assert!(journal.hold(&run).await.unwrap());
        say("held");
        wait_to_go_on();
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let dir = Utf8Path::from_path(folder.path()).unwrap();
    let journal = open(dir);
    let mut player = Player::start("the_lock_of_a_killed_process_is_free", dir, "r1");
    player.hears("held");
    assert!(journal.is_held(&run("r1")).await.unwrap());
    assert!(!journal.hold(&run("r1")).await.unwrap());
    player.kill();
    assert!(!journal.is_held(&run("r1")).await.unwrap());
    assert!(journal.hold(&run("r1")).await.unwrap());
}
