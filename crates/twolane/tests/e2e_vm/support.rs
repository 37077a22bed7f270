//! What the end-to-end tests share: a project, a state directory of its own, and a twolane whose events are read
//! while it runs. Conditions are waited for, never seconds.

use std::{
    env, fs,
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
    variables: Vec<(String, String)>,
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
        Self {
            root,
            project,
            variables: Vec::new(),
        }
    }

    /// Works in a project that is there.
    pub(crate) fn at(project: PathBuf) -> Self {
        Self {
            root: short_dir(),
            project,
            variables: Vec::new(),
        }
    }

    /// Gives its commands a variable.
    pub(crate) fn with_env(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Makes a copy of a project, with another `twolane.toml`.
    pub(crate) fn copy_of(sample: &Path, text: &str) -> Self {
        let root = short_dir();
        let project = root.path().join("project");
        copy(sample, &project);
        fs::write(project.join("twolane.toml"), text).unwrap();
        Self {
            root,
            project,
            variables: Vec::new(),
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
            .env("HOME", self.root.path())
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .stdin(Stdio::null());
        for name in env::vars().map(|(name, _)| name).filter(|name| is_testers(name)) {
            command.env_remove(name);
        }
        // Rust's own directories are in the tester's home.
        for (name, dir) in [("RUSTUP_HOME", ".rustup"), ("CARGO_HOME", ".cargo")] {
            if let (None, Some(home)) = (env::var_os(name), env::var_os("HOME")) {
                command.env(name, Path::new(&home).join(dir));
            }
        }
        command.envs(self.variables.clone());
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
        let processes = processes_naming(&self.state()).into_iter();
        processes
            .filter(|(_, text)| !text.contains(env!("CARGO_BIN_EXE_twolane")))
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

    fn box_directories(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.state().join("boxes"));
        let entries = entries.into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect()
    }

    /// Prints how the serial console of each box ends.
    #[expect(clippy::print_stderr, reason = "it is shown beside the failure")]
    fn print_consoles(&self) {
        for path in self.box_directories() {
            let console = fs::read(path.join("vm/console.log")).unwrap_or_default();
            let end = console.len().saturating_sub(4000);
            eprintln!(
                "the end of the console of {}:\n{}",
                path.display(),
                String::from_utf8_lossy(&console[end..])
            );
        }
    }

    /// Asserts that no process, no overlay and no box directory is left. Helpers that end by themselves once their
    /// box is gone are given the time to notice.
    #[track_caller]
    pub(crate) fn assert_nothing_left(&self) {
        wait_until("no process of the box is left", || {
            self.processes().iter().all(|(_, text)| !text.contains("qemu"))
        });
        assert_eq!(
            self.box_directories(),
            Vec::<PathBuf>::new(),
            "something of a box is left"
        );
        let (code, text) = self.output(&["ls"]);
        assert_eq!(code, 0, "{text}");
    }
}

impl Drop for Bench {
    /// A test that fails leaves no VM behind either, and reports what the VM said last.
    fn drop(&mut self) {
        let has_failed = std::thread::panicking();
        if has_failed {
            self.print_consoles();
        }
        // A guest that hangs can only be looked at while it is there.
        if !has_failed || env::var_os("TWOLANE_E2E_KEEP").is_none() {
            let _ = self.twolane(&["down", "--all"]).output();
        }
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

/// Writes a line where a person sees it even when the test passes.
#[expect(clippy::print_stderr, reason = "it is a figure for who runs the test")]
pub(crate) fn say(line: &str) {
    eprintln!("{line}");
}

/// Returns whether an event is of that kind.
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

/// Returns whether a variable changes what is asked for, or leads to clouds of the tester's: no test may touch a box there.
fn is_testers(name: &str) -> bool {
    let clouds = [
        "ARM_",
        "AWS_",
        "AZURE_",
        "CLOUDSDK_",
        "GCE_",
        "GCLOUD_",
        "GOOGLE_",
        "HCLOUD_",
        "LATITUDE",
        "OS_",
        "OVH_",
        "VULTR_",
    ];
    name.starts_with("TWOLANE_") || clouds.iter().any(|cloud| name.starts_with(cloud))
}

/// Returns the processes that have that path in their command line.
pub(crate) fn processes_naming(path: &Path) -> Vec<(u32, String)> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let command = |pid: u32| {
        let text = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        Some((pid, String::from_utf8_lossy(&text).replace('\0', " ")))
    };
    pids.filter_map(command)
        .filter(|(_, text)| text.contains(path.to_str().unwrap()))
        .collect()
}

/// Copies a directory without what cargo made in it.
fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap().flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        if path.is_dir() && name != "target" {
            copy(&path, &to.join(name));
        } else if path.is_file() {
            fs::copy(&path, to.join(name)).unwrap();
        }
    }
}

/// Sockets end at 107 bytes, so that directories have to be short.
pub(crate) fn short_dir() -> TempDir {
    tempfile::Builder::new().prefix("tl").tempdir_in("/tmp").unwrap()
}
