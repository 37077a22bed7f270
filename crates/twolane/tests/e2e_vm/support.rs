//! What the end-to-end tests share: a project, a state directory of its own, and a twolane whose events are read
//! while it runs. Conditions are waited for, never seconds.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, ExitStatus, Stdio},
};

use serde_json::Value;
use tempfile::TempDir;

/// What all test projects install: the same as the sample, so that one base image serves all.
pub(crate) const SYSTEM: &str = r#"
[system]
packages = ["build-essential"]
rust     = { toolchain = "stable", components = ["clippy", "rustfmt"], from = "operator" }
"#;

/// A project and the state directory of its runs.
pub(crate) struct Bench {
    root: TempDir,
    project: PathBuf,
}

impl Bench {
    /// Makes a project that consists of a `twolane.toml` and one file.
    pub(crate) fn new(lanes: &str) -> Self {
        Self::with_system(SYSTEM, lanes)
    }

    /// Makes a project whose boxes are prepared in another way.
    pub(crate) fn with_system(system: &str, lanes: &str) -> Self {
        let root = short_dir();
        let project = root.path().join("project");
        fs::create_dir(&project).unwrap();
        let text =
            format!("[project]\nname = \"e2e\"\n\n[sources]\ne2e = {{ path = \".\" }}\n{system}\n{lanes}");
        fs::write(project.join("twolane.toml"), text).unwrap();
        fs::write(project.join("hello.txt"), "hello from here\n").unwrap();
        Self { root, project }
    }

    /// Works in a project that is there.
    pub(crate) fn at(project: PathBuf) -> Self {
        Self {
            root: short_dir(),
            project,
        }
    }

    /// Returns the state directory.
    pub(crate) fn state(&self) -> PathBuf {
        self.root.path().join("s")
    }

    /// Makes a twolane command. Its images are kept between tests, everything else is this bench's own.
    pub(crate) fn twolane(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_twolane"));
        command
            .args([
                "--state-dir",
                self.state().to_str().unwrap(),
                "-C",
                self.project.to_str().unwrap(),
            ])
            .args(arguments)
            .env(
                "XDG_CACHE_HOME",
                Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache"),
            )
            .env_remove("PROVIDER")
            .env_remove("LABEL")
            .stdin(Stdio::null());
        command
    }

    /// Runs a command to its end; returns its exit code and what it printed.
    #[track_caller]
    pub(crate) fn output(&self, arguments: &[&str]) -> (i32, String) {
        let output = self.twolane(arguments).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (
            output.status.code().unwrap_or(-1),
            String::from_utf8_lossy(&text).into_owned(),
        )
    }

    /// Returns the directory of the project.
    pub(crate) fn project(&self) -> &Path {
        &self.project
    }

    /// Starts a command whose events are read while it runs.
    pub(crate) fn start(&self, arguments: &[&str]) -> Running {
        self.start_with(arguments, &[])
    }

    /// Starts one with more in its environment.
    pub(crate) fn start_with(&self, arguments: &[&str], variables: &[(&str, PathBuf)]) -> Running {
        let log = fs::File::create(self.root.path().join("stderr.log")).unwrap();
        let mut command = self.twolane(&[&["--json"], arguments].concat());
        command.envs(variables.iter().map(|(name, value)| (name, value)));
        let mut child = command.stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let events = BufReader::new(child.stdout.take().unwrap());
        Running {
            child,
            events,
            seen: Vec::new(),
            log: self.root.path().join("stderr.log"),
        }
    }

    /// Returns the paths of all files under the runs' directory that end so.
    pub(crate) fn files_ending(&self, end: &str) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut dirs = vec![self.state().join("runs")];
        while let Some(dir) = dirs.pop() {
            for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
                let path = entry.path();
                if path.is_dir() {
                    dirs.push(path);
                } else if path.to_string_lossy().ends_with(end) {
                    found.push(path);
                }
            }
        }
        found
    }

    /// Returns the processes that have the state directory in their command line, but for twolane's own.
    pub(crate) fn processes(&self) -> Vec<(u32, String)> {
        let state = self.state();
        let entries = fs::read_dir("/proc").unwrap().flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let command = |pid: u32| {
            let text = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
            Some((pid, String::from_utf8_lossy(&text).replace('\0', " ")))
        };
        let is_ours = |text: &str| {
            text.contains(state.to_str().unwrap()) && !text.contains(env!("CARGO_BIN_EXE_twolane"))
        };
        pids.filter_map(command)
            .filter(|(_, text)| is_ours(text))
            .collect()
    }

    /// Kills every ssh of this bench that is there.
    #[track_caller]
    pub(crate) fn cut_connections(&self) {
        let connections = self
            .processes()
            .into_iter()
            .filter(|(_, text)| text.starts_with("ssh"));
        // One may end by itself meanwhile.
        let killed = connections.filter(|(pid, _)| {
            let status = Command::new("kill").args(["-KILL", &pid.to_string()]).status();
            status.unwrap().success()
        });
        assert!(killed.count() > 0, "there is no connection to cut");
    }

    /// Asserts that no process, no overlay and no box directory is left. Helpers that end by themselves once their
    /// box is gone are given the time to notice.
    #[track_caller]
    pub(crate) fn assert_nothing_left(&self) {
        wait_until("no process of the box is left", || {
            self.processes().iter().all(|(_, text)| !text.contains("qemu"))
        });
        let boxes = self.state().join("boxes");
        let left: Vec<_> = fs::read_dir(&boxes)
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path())
            .collect();
        assert_eq!(left, Vec::<PathBuf>::new(), "something of a box is left");
        let (code, text) = self.output(&["ls"]);
        assert_eq!(code, 0, "{text}");
    }
}

impl Drop for Bench {
    /// A test that fails leaves no VM behind either.
    fn drop(&mut self) {
        let _ = self.twolane(&["down", "--all"]).output();
    }
}

/// A twolane that runs.
pub(crate) struct Running {
    /// Its process.
    pub(crate) child: Child,
    events: BufReader<ChildStdout>,
    /// All events so far.
    pub(crate) seen: Vec<Value>,
    log: PathBuf,
}

impl Running {
    /// Reads events until one is as wanted, and returns it. Panics when the run ends before.
    #[track_caller]
    pub(crate) fn until(&mut self, what: &str, is_wanted: impl Fn(&Value) -> bool) -> Value {
        loop {
            let Some(event) = self.next() else {
                let log = fs::read_to_string(&self.log).unwrap_or_default();
                let last = self.seen.last();
                panic!("the run ended before {what}; the last event was {last:?}; stderr:\n{log}");
            };
            if is_wanted(&event) {
                return event;
            }
        }
    }

    /// Reads events to the end, and returns how the process ended.
    pub(crate) fn finish(mut self) -> (ExitStatus, Vec<Value>) {
        while self.next().is_some() {}
        (self.child.wait().unwrap(), self.seen)
    }

    /// Sends the process a signal.
    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .args([&format!("-{name}"), &self.child.id().to_string()])
            .status()
            .unwrap();
        assert!(status.success());
    }

    fn next(&mut self) -> Option<Value> {
        let mut line = String::new();
        let read = self.events.read_line(&mut line).unwrap_or(0);
        let event = (read > 0).then(|| serde_json::from_str::<Value>(&line).expect("every line is JSON"))?;
        self.seen.push(event.clone());
        Some(event)
    }
}

/// Tells whether an event is of that kind.
pub(crate) fn is(event: &Value, kind: &str) -> bool {
    event["event"] == kind
}

/// Waits until something holds. The bound only ends a test that would hang.
#[track_caller]
pub(crate) fn wait_until(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..600 {
        if holds() {
            return;
        }
        let _ = Command::new("sleep").arg("0.1").status();
    }
    panic!("never came true: {what}");
}

/// Sockets end at 107 bytes, so that directories have to be short.
fn short_dir() -> TempDir {
    tempfile::Builder::new().prefix("tl").tempdir_in("/tmp").unwrap()
}
