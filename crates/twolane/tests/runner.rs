//! `twolane runner github` against an emulator of GitHub's service: the program from its start to its end, with signals. QEMU is
//! a stand-in that never lets anybody in, so that boxes are made and destroyed, and none gets as far as to have a job.

mod stand_ins;

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::{Child, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

use scaleset::{
    ScaleSetId,
    testing::{DEFAULT_PAT, Emulator, Endpoint},
};
use tempfile::TempDir;
use tokio::runtime::Runtime;

const SOON: Duration = Duration::from_secs(120);

/// A project, a state directory, stand-ins for QEMU, and GitHub.
struct Place {
    dir: TempDir,
    runtime: Runtime,
    emulator: Emulator,
}

/// A runner whose events are read.
struct Running {
    child: Child,
    events: BufReader<ChildStdout>,
    log: PathBuf,
}

impl Place {
    fn new() -> Self {
        let dir = stand_ins::place();
        fs::write(dir.path().join("token"), DEFAULT_PAT).unwrap();
        fs::set_permissions(dir.path().join("token"), fs::Permissions::from_mode(0o600)).unwrap();
        let runtime = Runtime::new().unwrap();
        let starting = Emulator::builder().long_poll(Duration::from_millis(100)).start();
        let emulator = runtime.block_on(starting);
        Self {
            dir,
            runtime,
            emulator,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = stand_ins::command(self.dir.path(), env!("CARGO_BIN_EXE_twolane"));
        command
            .args(arguments)
            .env("TWOLANE_GITHUB_TOKEN_FILE", self.path("token"));
        command
    }

    fn runner(&self, options: &[&str]) -> Command {
        let url = self.emulator.config_url();
        let first = [
            "--json", "runner", "github", "--url", &url, "--name", "kvm", "--lane", "fast", "--max", "2",
        ];
        self.command(&[&first, options].concat())
    }

    fn start(&self, options: &[&str]) -> Running {
        let log = self.path("log");
        let mut child = self
            .runner(options)
            .stdout(Stdio::piped())
            .stderr(fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let events = BufReader::new(child.stdout.take().unwrap());
        Running { child, events, log }
    }

    /// Waits until the scale set is registered, and its session is open.
    fn registered(&self) -> ScaleSetId {
        let waiting = self.emulator.wait_until(SOON, |state| !state.sessions.is_empty());
        self.runtime.block_on(waiting).scale_sets[0].id
    }

    /// Returns what `twolane runner status` says of the runner.
    fn status(&self) -> serde_json::Value {
        let status = self.command(&["--json", "runner", "status"]).output().unwrap();
        let document: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
        document["runners"][0].clone()
    }

    fn boxes(&self) -> Vec<String> {
        let boxes = fs::read_dir(self.path("state/boxes")).into_iter().flatten();
        boxes
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    }

    /// Asserts that no box is there, nor a process that names one of this place; and that nothing holds the token.
    #[track_caller]
    fn assert_nothing_left(&self) {
        assert_eq!(self.boxes(), Vec::<String>::new());
        let state = self.path("state");
        let processes = fs::read_dir("/proc").unwrap().filter_map(|entry| {
            let line = fs::read(entry.ok()?.path().join("cmdline")).ok()?;
            let line = String::from_utf8_lossy(&line).into_owned();
            (line.contains("qemu") && line.contains(state.to_str()?)).then_some(line)
        });
        assert_eq!(processes.collect::<Vec<_>>(), Vec::<String>::new());
        let found = Command::new("grep")
            .args(["-rl", DEFAULT_PAT])
            .arg(&state)
            .output()
            .unwrap();
        assert_eq!(String::from_utf8_lossy(&found.stdout), "");
        // No box was let in by its gate.
        assert_eq!(self.emulator.requests_to(Endpoint::GenerateJitConfig), []);
    }
}

impl Running {
    /// Reads events until one has all of these words.
    #[track_caller]
    fn until(&mut self, words: &[&str]) -> String {
        let mut seen = String::new();
        let mut line = String::new();
        while self.events.read_line(&mut line).unwrap() > 0 {
            if words.iter().all(|word| line.contains(word)) {
                return line;
            }
            seen += &std::mem::take(&mut line);
        }
        panic!(
            "no event with {words:?}: {seen}\n{}",
            fs::read_to_string(&self.log).unwrap()
        );
    }

    fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .args([&format!("-{name}"), &self.child.id().to_string()])
            .status();
        assert!(status.unwrap().success());
    }

    /// Returns how it ends, and all else that it says.
    fn end(mut self) -> (Option<i32>, String) {
        let began = Instant::now();
        let mut said = String::new();
        self.events.read_to_string(&mut said).unwrap();
        let status = self.child.wait().unwrap();
        assert!(began.elapsed() < SOON);
        (status.code(), said + &fs::read_to_string(&self.log).unwrap())
    }
}

#[test]
fn boxes_come_with_jobs_and_go_when_it_is_asked_to_stop() {
    let place = Place::new();
    let mut runner = place.start(&[]);
    let set = place.registered();
    assert_eq!(place.boxes(), Vec::<String>::new());
    for _ in 0..5 {
        place.emulator.queue_job(set, ["kvm"]);
    }
    runner.until(&[r#""event":"machine-up""#, "kvm-fast-"]);
    runner.until(&[r#""event":"machine-up""#, "kvm-fast-"]);
    assert_eq!(place.boxes().len(), 2);
    let status = place.status();
    assert_eq!(status["is_running"], true, "{status}");
    assert_eq!(status["said"]["starting"], 2, "{status}");
    assert_eq!(status["boxes"].as_array().unwrap().len(), 2, "{status}");
    runner.signal("TERM");
    let (code, said) = runner.end();
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(said.matches(r#""event":"machine-gone""#).count(), 2, "{said}");
    place.assert_nothing_left();
    let status = place.status();
    assert_eq!(
        (&status["is_running"], &status["boxes"]),
        (&false.into(), &serde_json::json!([])),
        "{status}"
    );
    // The next one need not wait for this one's session; jobs wait for it.
    let state = place.emulator.state();
    assert!(state.sessions.is_empty() && state.scale_sets.len() == 1 && state.jobs.len() == 5);
    let runs = fs::read_dir(place.path("state/runs")).unwrap();
    for run in runs.map(|run| run.unwrap().path()) {
        assert!(run.join("report.html").is_file(), "{run:?}");
        let id = run.file_name().unwrap().to_str().unwrap();
        let receipt = place
            .command(&["report", id, "--format", "receipt"])
            .output()
            .unwrap();
        let receipt = String::from_utf8(receipt.stdout).unwrap();
        assert!(receipt.contains(r#""is_settled": true"#), "{receipt}");
    }
}

#[test]
fn second_process_of_a_name_says_so_and_ends() {
    let place = Place::new();
    let runner = place.start(&[]);
    place.registered();
    let second = place.runner(&[]).output().unwrap();
    assert_eq!(second.status.code(), Some(2));
    let said = String::from_utf8(second.stdout).unwrap();
    assert!(said.contains("another twolane is, on this machine"), "{said}");
    runner.signal("INT");
    assert_eq!(runner.end().0, Some(0));
}

#[test]
fn box_of_a_killed_process_is_found_by_the_next() {
    let place = Place::new();
    let mut killed = place.start(&["--warm", "1"]);
    killed.until(&[r#""event":"machine-up""#]);
    killed.signal("KILL");
    killed.end();
    let boxes = place.boxes();
    assert_eq!(boxes.len(), 1);
    place.emulator.expire_session(place.registered());
    let mut runner = place.start(&["--warm", "1"]);
    runner.until(&[&format!("box {} of an earlier process goes on", boxes[0])]);
    runner.until(&[r#""event":"machine-up""#, &boxes[0]]);
    place.registered();
    assert_eq!(place.boxes(), boxes);
    runner.signal("TERM");
    // It may have a job, as far as anybody knows, until it is reached.
    runner.until(&["stopping"]);
    runner.signal("TERM");
    let (code, said) = runner.end();
    assert_eq!(code, Some(130), "{said}");
    let left = format!("box {} at local may still be there; it must be gone by", boxes[0]);
    assert!(said.contains("leaving at once") && said.contains(&left), "{said}");
    let down = place.command(&["down", &boxes[0]]).output().unwrap();
    assert!(down.status.success(), "{down:?}");
    place.assert_nothing_left();
}

#[test]
fn secret_that_others_may_read_is_refused_and_not_shown() {
    let place = Place::new();
    fs::set_permissions(place.path("token"), fs::Permissions::from_mode(0o644)).unwrap();
    let refused = place.runner(&[]).output().unwrap();
    assert_eq!(refused.status.code(), Some(2));
    let said = String::from_utf8(refused.stdout).unwrap();
    assert!(
        said.contains("others may use it") && !said.contains(DEFAULT_PAT),
        "{said}"
    );
}

#[test]
fn what_cannot_be_is_said_before_anything_is_registered() {
    let place = Place::new();
    for (options, why) in [
        (["--label", "bench"], "every one needs a name of its own"),
        (
            ["--runner-archive", "https://example.com/r.tgz"],
            "not an address with its checksum",
        ),
        (["--max-cost-per-day", "much"], "is not an amount of money"),
        (["--ttl", "soon"], "is not a length of time"),
    ] {
        let refused = place.runner(&options).output().unwrap();
        let said = String::from_utf8(refused.stdout).unwrap();
        assert_eq!(refused.status.code(), Some(2), "{said}");
        assert!(said.contains(why), "{said}");
    }
    assert!(place.emulator.state().scale_sets.is_empty());
}
