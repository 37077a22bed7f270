//! The processes of a box, found by their command line: a pid in a file may belong to somebody else by now.

use std::{
    fs,
    time::{Duration, Instant},
};

use camino::Utf8Path;
use model::error::ErrorKind;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::error::LocalError;

/// The file that QEMU writes its pid to. Its full path in a command line marks a process as the box's.
pub(crate) const PIDFILE: &str = "qemu.pid";

/// How often it is looked whether a process is gone.
const PAUSE: Duration = Duration::from_millis(5);

/// How long a killed process may take to be gone.
const PATIENCE: Duration = Duration::from_secs(20);

/// Returns the box's processes: QEMU, and the watchdog that has started it.
pub(crate) fn find(directory: &Utf8Path) -> Vec<Pid> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(Pid::from_raw)
        .filter(|pid| is_of(*pid, directory))
        .collect()
}

/// Returns once the box has no process, or `patience` is over.
pub(crate) async fn wait_until_gone(directory: &Utf8Path, patience: Duration) -> bool {
    let start = Instant::now();
    while !find(directory).is_empty() {
        if start.elapsed() >= patience {
            return false;
        }
        tokio::time::sleep(PAUSE).await;
    }
    true
}

/// Kills the box's processes, those too that appear meanwhile, and returns once there is none.
pub(crate) async fn kill(directory: &Utf8Path) -> Result<(), LocalError> {
    let start = Instant::now();
    loop {
        let alive = find(directory);
        if alive.is_empty() {
            return Ok(());
        }
        if start.elapsed() >= PATIENCE {
            let pids: Vec<_> = alive.iter().map(|pid| pid.as_raw_nonzero().to_string()).collect();
            return Err(LocalError::new(
                ErrorKind::Unavailable,
                format!("the processes of {directory} do not end: {}", pids.join(", ")),
            ));
        }
        for pid in alive {
            kill_one(pid, directory);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Kills the process of that pid if it is the box's. Between the look and the signal the pid cannot pass to another.
fn kill_one(pid: Pid, directory: &Utf8Path) {
    if let Ok(handle) = pidfd_open(pid, PidfdFlags::empty())
        && is_of(pid, directory)
    {
        // It may have ended by itself: the next look shows that.
        let _ = pidfd_send_signal(handle, Signal::KILL);
    }
}

fn is_of(pid: Pid, directory: &Utf8Path) -> bool {
    fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero())).is_ok_and(|line| names(&line, directory))
}

/// Returns whether a command line says `-pidfile DIRECTORY/qemu.pid`.
fn names(command_line: &[u8], directory: &Utf8Path) -> bool {
    let pidfile = directory.join(PIDFILE);
    let arguments: Vec<_> = command_line.split(|byte| *byte == 0).collect();
    arguments
        .windows(2)
        .any(|pair| pair[0] == b"-pidfile" && pair[1] == pidfile.as_str().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(command_line: &str, is_named: bool) {
        let line = command_line.replace(' ', "\0");
        assert_eq!(
            names(line.as_bytes(), Utf8Path::new("/s/boxes/b1/vm")),
            is_named,
            "{command_line}"
        );
    }

    #[test]
    fn a_process_is_known_by_its_pidfile() {
        check("qemu -m 4G -pidfile /s/boxes/b1/vm/qemu.pid", true);
        check(
            "python3 watchdog.py /s/boxes/b1/vm qemu -pidfile /s/boxes/b1/vm/qemu.pid -smp 2",
            true,
        );
        check("qemu -pidfile /s/boxes/b11/vm/qemu.pid", false);
        check("tail -f /s/boxes/b1/vm/qemu.log", false);
        check("cat /s/boxes/b1/vm/qemu.pid", false);
        check("", false);
    }

    #[tokio::test]
    async fn what_is_killed_is_gone_and_others_live() {
        let start = |directory: &str| {
            tokio::process::Command::new("/bin/sh")
                .args(["-c", "read line", "-pidfile", &format!("{directory}/{PIDFILE}")])
                .stdin(std::process::Stdio::piped())
                .kill_on_drop(true)
                .spawn()
                .unwrap()
        };
        let state = tempfile::tempdir().unwrap();
        let state = Utf8Path::from_path(state.path()).unwrap();
        let (ours, other) = (state.join("b1"), state.join("b2"));
        let mut children = [start(ours.as_str()), start(other.as_str())];
        // A process that has just been started has no command line for a moment.
        while find(&ours).is_empty() || find(&other).is_empty() {
            tokio::time::sleep(PAUSE).await;
        }
        kill(&ours).await.unwrap();
        assert_eq!(find(&ours), []);
        assert!(children[0].wait().await.is_ok_and(|status| !status.success()));
        assert_eq!(find(&other).len(), 1);
    }
}
