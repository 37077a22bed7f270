//! The ssh process that holds a shared connection, and goes on in the background when it has logged in.

use std::{
    fs::File,
    io::{self, Read as _},
    path::Path,
    process::Stdio,
    time::Duration,
};

use camino::Utf8Path;
use tempfile::TempDir;
use tokio::process::Command;

use crate::{control::PREFIX, environment};

/// How long a shared connection lives on without a command, when nobody closes it.
const IDLE: Duration = Duration::from_secs(300);

/// How much of what ssh says is read: a server may send words without end.
const WORDS_MAX: u64 = 64 << 10;

/// Why there is no shared connection.
pub(crate) enum NoMaster {
    /// There is no place for its socket.
    NoPlace,
    /// ssh does not start.
    NoProgram(io::Error),
    /// ssh says so.
    Failed(String),
}

/// Connects by `ssh`, with all its options and the name of the box; returns the directory of the socket in `control`.
///
/// The crate's own builder starts ssh with all of our environment, and it lives on for minutes.
pub(crate) async fn launch(ssh: &[String], control: &Utf8Path) -> Result<TempDir, NoMaster> {
    let dir = tempfile::Builder::new()
        .prefix(PREFIX)
        .tempdir_in(control)
        .map_err(|_| NoMaster::NoPlace)?;
    let log = dir.path().join("log");
    let mut command = Command::new(&ssh[0]);
    environment::clean(command.as_std_mut());
    let status = command
        .arg("-E")
        .arg(&log)
        .arg("-S")
        .arg(dir.path().join("master"))
        .args(["-M", "-f", "-N", "-o"])
        .arg(format!("ControlPersist={}", IDLE.as_secs()))
        .args(["-o", "BatchMode=yes"])
        .args(&ssh[1..])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .status()
        .await
        .map_err(NoMaster::NoProgram)?;
    match status.success() {
        true => Ok(dir),
        false => Err(NoMaster::Failed(words_in(&log))),
    }
}

fn words_in(log: &Path) -> String {
    let mut words = Vec::new();
    if let Ok(file) = File::open(log) {
        // What cannot be read is not said.
        let _ = file.take(WORDS_MAX).read_to_end(&mut words);
    }
    String::from_utf8_lossy(&words).into_owned()
}
