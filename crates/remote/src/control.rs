//! Where the sockets of shared connections live: a private directory with a path short enough for a socket.

use std::{
    fs, io,
    os::unix::{
        fs::{DirBuilderExt, MetadataExt},
        net::UnixStream,
    },
    path::Path,
    time::Duration,
};

use camino::{Utf8Path, Utf8PathBuf};
use model::error::RemoteError;

/// Longest path of a socket, as the system has it.
const SOCKET_PATH_MAX: usize = 107;

/// What comes after the directory: the connection's own directory, the socket, and the name that ssh gives the
/// socket while it makes it.
const TAIL: usize = "/.ssh-connectionXXXXXX/master.0123456789abcdef".len();

/// How the names of the sockets' directories begin.
pub(crate) const PREFIX: &str = ".ssh-connection";

/// Returns the first directory that will do, made if need be.
pub(crate) fn directory(state_dir: &Utf8Path) -> Result<Utf8PathBuf, RemoteError> {
    let user = rustix::process::geteuid().as_raw();
    let runtime = std::env::var("XDG_RUNTIME_DIR")
        .ok()
        .filter(|dir| dir.starts_with('/'));
    let candidates = [
        Some(state_dir.join("c")),
        runtime.map(|dir| Utf8Path::new(&dir).join("twolane")),
        Some(Utf8PathBuf::from(format!("/tmp/twolane-{user}"))),
    ];
    let mut refused = Vec::new();
    for dir in candidates.into_iter().flatten() {
        if dir.as_str().len() + TAIL > SOCKET_PATH_MAX {
            refused.push(format!("{dir} is too long for a socket"));
        } else if let Err(error) = make_private(&dir, user) {
            refused.push(format!("{dir}: {error}"));
        } else {
            return Ok(dir);
        }
    }
    Err(RemoteError::Here(format!(
        "there is no place for the connection's socket ({}); choose a shorter --state-dir",
        refused.join("; ")
    )))
}

fn make_private(dir: &Utf8Path, user: u32) -> io::Result<()> {
    if let Some(parent) = dir.parent() {
        fs::create_dir_all(parent)?;
    }
    match fs::DirBuilder::new().mode(0o700).create(dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let found = fs::symlink_metadata(dir)?;
    if !found.is_dir() || found.uid() != user || found.mode() & 0o077 != 0 {
        return Err(io::Error::other(
            "it is not a directory that only this user can enter",
        ));
    }
    Ok(())
}

/// Deletes what killed processes left: directories older than `age` where no master listens.
pub(crate) fn sweep(dir: &Utf8Path, age: Duration) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        let is_ours = entry.file_name().to_string_lossy().starts_with(PREFIX);
        if is_ours && is_older(&entry.path(), age) && !is_listening(&entry.path().join("master")) {
            // Another process may have swept it first.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

fn is_older(path: &Path, age: Duration) -> bool {
    fs::symlink_metadata(path)
        .and_then(|found| found.modified())
        .is_ok_and(|modified| modified.elapsed().is_ok_and(|elapsed| elapsed >= age))
}

fn is_listening(socket: &Path) -> bool {
    UnixStream::connect(socket).is_ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn long_state_dir_gets_a_short_socket() {
        let long = Utf8PathBuf::from(format!("/tmp/{}", "x".repeat(90)));
        let dir = directory(&long).unwrap();
        assert!(dir.as_str().len() + TAIL <= SOCKET_PATH_MAX, "{dir}");
    }

    #[test]
    fn sweep_leaves_what_lives_and_what_is_young() {
        let temp = tempfile::tempdir().unwrap();
        let dir = Utf8Path::from_path(temp.path()).unwrap();
        let (dead, alive, other) = (
            dir.join(".ssh-connectiona"),
            dir.join(".ssh-connectionb"),
            dir.join("other"),
        );
        for made in [&dead, &alive, &other] {
            fs::create_dir(made).unwrap();
        }
        drop(UnixListener::bind(dead.join("master")).unwrap());
        let _listener = UnixListener::bind(alive.join("master")).unwrap();
        sweep(dir, Duration::from_secs(3600));
        assert!(dead.exists());
        sweep(dir, Duration::ZERO);
        assert!(!dead.exists() && alive.exists() && other.exists());
    }

    #[test]
    fn directory_that_others_can_enter_is_refused() {
        let temp = tempfile::tempdir().unwrap();
        let dir = Utf8Path::from_path(temp.path()).unwrap().join("c");
        fs::create_dir(&dir).unwrap();
        fs::set_permissions(&dir, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        assert!(make_private(&dir, rustix::process::geteuid().as_raw()).is_err());
    }
}
