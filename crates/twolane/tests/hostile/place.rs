//! A run of the program on a box whose root is somebody else.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::stand_ins;

/// How often is looked how much memory the program has had.
const LOOK: Duration = Duration::from_millis(20);

const BOX: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/hostile/box.py");

/// A project, and a box that lets twolane in.
pub(crate) struct Place(pub(crate) TempDir);

/// How a run ended.
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) took: Duration,
    /// How much memory the program has had at most, in MiB.
    pub(crate) peak: u64,
    /// What it printed: its events.
    pub(crate) events: String,
    /// What the box was asked for.
    pub(crate) asked: Vec<String>,
}

impl Ended {
    /// Returns whether the box is known to be gone.
    pub(crate) fn is_gone(&self) -> bool {
        self.events.contains(r#""event":"machine-gone""#)
    }

    /// Returns what a person wants to see of a run that ended otherwise: the end of each event, and what the box was asked.
    pub(crate) fn story(&self) -> String {
        let lines = self
            .events
            .lines()
            .map(|line| line.chars().take(400).collect::<String>());
        let last: Vec<String> = lines.rev().take(40).collect();
        let (took, peak) = (self.took, self.peak);
        let events = last.into_iter().rev().collect::<Vec<_>>().join("\n");
        format!(
            "{events}\n{} after {took:?}, {peak} MiB; asked: {:?}",
            self.status, self.asked
        )
    }
}

impl Place {
    /// Makes one whose lane has these settings; none where sshd cannot serve root, which is said aloud.
    pub(crate) fn new(settings: &str) -> Option<Self> {
        if !rustix::process::geteuid().is_root() || !Path::new("/usr/sbin/sshd").exists() {
            let said = "SKIPPED: only root's sshd (package openssh-server) can stand in for a box, so a hostile one was NOT tried\n";
            std::io::stderr().write_all(said.as_bytes()).unwrap();
            return None;
        }
        // sshd wants it when root starts it, and only its package's service makes it.
        fs::create_dir_all("/run/sshd").unwrap();
        let place = Self(stand_ins::place());
        let there = place.path("box");
        fs::create_dir(&there).unwrap();
        let sshd = format!(
            "SetEnv HOME={there}\nForceCommand exec /usr/bin/env python3 -I {BOX} {there} $(dirname {there})/state/boxes/*/ssh\n\
             StrictModes no\nUsePAM no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nPidFile none\n\
             PermitRootLogin prohibit-password\nUseDNS no\n",
            there = there.display()
        );
        fs::write(place.path("sshd_config"), sshd).unwrap();
        let fake = serde_json::json!({ "sshd": place.path("sshd_config") });
        fs::write(place.path("bin/fake.json"), fake.to_string()).unwrap();
        let config = place.path("work/twolane.toml");
        let text = fs::read_to_string(&config).unwrap();
        fs::write(place.path("work/hello.txt"), "hello\n").unwrap();
        let text = text
            .replace(
                "[lanes.fast]",
                &format!("[sources]\ndemo = {{ path = \".\" }}\n{settings}"),
            )
            .replace("run = \"true\" }", "run = \"true\", artifacts = [\"out\"] }");
        fs::write(config, text).unwrap();
        Some(place)
    }

    /// Has the box be hostile when it is asked for something.
    pub(crate) fn with_fault(self, at: &str, how: &str) -> Self {
        fs::write(self.path("box/fault"), format!("{at} {how}")).unwrap();
        self
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Makes a command that finds the stand-ins first.
    pub(crate) fn command(&self) -> Command {
        stand_ins::command(self.0.path(), env!("CARGO_BIN_EXE_twolane"))
    }

    /// Returns the directory of the one run's results.
    pub(crate) fn results(&self) -> PathBuf {
        let mut runs = fs::read_dir(self.path("state/runs")).unwrap();
        runs.next().unwrap().unwrap().path()
    }

    /// Returns how many bytes all the results have.
    pub(crate) fn results_size(&self) -> u64 {
        let size = Command::new("du")
            .arg("-sb")
            .arg(self.path("state/runs"))
            .output()
            .unwrap();
        let text = String::from_utf8(size.stdout).unwrap();
        text.split_whitespace().next().unwrap().parse().unwrap()
    }

    /// Returns whether the box did what it was to do.
    pub(crate) fn was_hostile(&self) -> bool {
        self.path("box/done").exists()
    }

    /// Runs the lane's checks on the box.
    pub(crate) fn run(&self) -> Ended {
        self.run_by(self.command())
    }

    /// Runs the lane's checks by a command of its own.
    pub(crate) fn run_by(&self, mut command: Command) -> Ended {
        let printed = self.path("printed");
        let began = Instant::now();
        let mut child = command
            .args(["run", "--json"])
            .stdout(fs::File::create(&printed).unwrap())
            .stderr(fs::File::create(self.path("log")).unwrap())
            .spawn()
            .unwrap();
        let mut peak = 0;
        let status = loop {
            peak = peak_of(child.id()).max(peak);
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
            thread::sleep(LOOK);
        };
        let asked = fs::read_to_string(self.path("box/asked")).unwrap_or_default();
        Ended {
            status,
            took: began.elapsed(),
            peak,
            events: fs::read_to_string(&printed).unwrap(),
            asked: asked.lines().map(str::to_owned).collect(),
        }
    }
}

/// Returns how much memory a process has had at most, in MiB; 0 when it has ended.
fn peak_of(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib: u64 = line.map_or(0, |line| line.trim().trim_end_matches(" kB").parse().unwrap());
    kib / 1024
}
