//! A run whose terminal is closed, or that is asked to stop: the box goes at once, and nothing of it is left. QEMU is a
//! stand-in that never lets anybody in, so that the run waits for its box.

mod stand_ins;

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    path::PathBuf,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use tempfile::TempDir;

/// Runs a command on a terminal of its own, closes that as soon as it shows the first argument, and prints how the
/// command ended.
const ON_A_TERMINAL: &str = r#"
import os, pty, sys
word, command = sys.argv[1].encode(), sys.argv[2:]
child, terminal = pty.fork()
if child == 0:
    os.execv(command[0], command)
seen = b""
while word not in seen:
    seen += os.read(terminal, 4096)
os.close(terminal)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"#;

struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(stand_ins::place())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Makes a command that finds the stand-ins first.
    fn command(&self, program: &str) -> Command {
        stand_ins::command(self.0.path(), program)
    }

    /// Asserts that no box is there, nor a process that names one of this place.
    #[track_caller]
    fn assert_nothing_left(&self) {
        let boxes = self.path("state/boxes");
        let left = fs::read_dir(&boxes).into_iter().flatten();
        let left: Vec<PathBuf> = left.map(|entry| entry.unwrap().path()).collect();
        assert_eq!(left, Vec::<PathBuf>::new());
        let processes = fs::read_dir("/proc").unwrap().filter_map(|entry| {
            let line = fs::read(entry.ok()?.path().join("cmdline")).ok()?;
            let line = String::from_utf8_lossy(&line).into_owned();
            (line.contains("qemu") && line.contains(boxes.to_str()?)).then_some(line)
        });
        assert_eq!(processes.collect::<Vec<_>>(), Vec::<String>::new());
    }
}

#[test]
fn each_signal_destroys_the_box_and_says_130() {
    for signal in ["HUP", "INT", "TERM"] {
        let place = Place::new();
        let log = fs::File::create(place.path("log")).unwrap();
        let mut run = place
            .command(env!("CARGO_BIN_EXE_twolane"))
            .args(["run", "--json"])
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let events = BufReader::new(run.stdout.take().unwrap());
        let mut seen = Vec::new();
        for event in events.lines().map(Result::unwrap) {
            if event.contains(r#""event":"machine-up""#) {
                let status = Command::new("kill")
                    .args([&format!("-{signal}"), &run.id().to_string()])
                    .status();
                assert!(status.unwrap().success());
            }
            seen.push(event);
        }
        let status = run.wait().unwrap();
        let log = fs::read_to_string(place.path("log")).unwrap();
        assert_eq!(status.code(), Some(130), "{signal}: {log}\n{seen:#?}");
        let is_gone = |event: &String| event.contains(r#""event":"machine-gone""#);
        assert!(seen.iter().any(is_gone), "{signal}: {log}\n{seen:#?}");
        place.assert_nothing_left();
    }
}

#[test]
fn a_terminal_that_is_closed_destroys_the_box() {
    let place = Place::new();
    let output = place
        .command("python3")
        .args([
            "-c",
            ON_A_TERMINAL,
            "connect",
            env!("CARGO_BIN_EXE_twolane"),
            "run",
        ])
        .output()
        .unwrap();
    let reported = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(
        reported.trim(),
        "130",
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    place.assert_nothing_left();
}

/// Answers every request with 500, for as long as the test lives.
fn broken_api() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(
                b"HTTP/1.1 500 Internal Server Error\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
            );
        }
    });
    format!("http://{address}/v1")
}

#[test]
fn a_run_whose_api_has_never_answered_ends_at_once() {
    let place = Place::new();
    let log = fs::File::create(place.path("log")).unwrap();
    let mut run = place
        .command(env!("CARGO_BIN_EXE_twolane"))
        .args(["run", "--json", "--provider", "hetzner"])
        .env("HCLOUD_TOKEN", "a-token")
        .env("HCLOUD_ENDPOINT", broken_api())
        .env("TWOLANE_ALLOW_CIDR", "203.0.113.7/32")
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .unwrap();
    let events = BufReader::new(run.stdout.take().unwrap());
    let mut asked = None;
    let mut seen = Vec::new();
    for event in events.lines().map(Result::unwrap) {
        if asked.is_none() && event.contains("retrying") {
            let status = Command::new("kill")
                .args(["-TERM", &run.id().to_string()])
                .status();
            assert!(status.unwrap().success());
            asked = Some(Instant::now());
        }
        seen.push(event);
    }
    let status = run.wait().unwrap();
    let log = fs::read_to_string(place.path("log")).unwrap();
    assert_eq!(status.code(), Some(130), "{log}\n{seen:#?}");
    // Without anything to look for it takes no time; looking takes ten minutes.
    assert!(asked.unwrap().elapsed() < Duration::from_secs(30), "{seen:#?}");
}
