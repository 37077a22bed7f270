//! What git says about a checkout: its tracked files, the ones it would track, the ones it ignores.
//! Reads only, and runs no hook.

use std::{
    ffi::OsStr,
    io::{self, Write},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use model::{error::RemoteError, text::last_words};
use std::os::unix::ffi::OsStrExt;

use crate::failure;

/// Variables that would take git to another repository, or to another index, than that of the directory.
const OF_OTHER_REPOSITORIES: [&str; 14] = [
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_CONFIG",
    "GIT_CONFIG_COUNT",
    "GIT_CONFIG_PARAMETERS",
    "GIT_DIR",
    "GIT_IMPLICIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_LITERAL_PATHSPECS",
    "GIT_NAMESPACE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_PREFIX",
    "GIT_SHALLOW_FILE",
    "GIT_WORK_TREE",
];

/// One entry of git's index.
pub(crate) struct Tracked {
    /// Relative to the directory that was asked about.
    pub(crate) path: PathBuf,
    /// Whether it stands for another repository.
    pub(crate) is_submodule: bool,
}

/// What git would carry of a directory.
pub(crate) struct Listing {
    pub(crate) tracked: Vec<Tracked>,
    /// Neither tracked nor ignored. What ends with a slash is a repository of its own.
    pub(crate) others: Vec<PathBuf>,
}

/// Lists a directory; none when it is in no checkout.
pub(crate) fn list(dir: &Path) -> Result<Option<Listing>, RemoteError> {
    let (tracked, others) = std::thread::scope(|scope| {
        let others = scope.spawn(|| ls_files(dir, &["--others", "--exclude-standard"]));
        let tracked = ls_files(dir, &["--stage"]);
        (tracked, others.join())
    });
    let others = others.map_err(|_| RemoteError::Here("listing files with git broke off".to_owned()))?;
    let (Some(tracked), Some(others)) = (tracked?, others?) else {
        return Ok(None);
    };
    if tracked.is_empty() && others.is_empty() && is_ignored(dir)? {
        return Ok(None);
    }
    Ok(Some(Listing {
        tracked: entries(&tracked).filter_map(index_entry).collect(),
        others: entries(&others).map(path).collect(),
    }))
}

/// Lists what is ignored, a directory for all that is in it; nothing when it is in no checkout.
pub(crate) fn ignored(dir: &Path) -> Result<Vec<PathBuf>, RemoteError> {
    let args = ["--others", "--ignored", "--exclude-standard", "--directory"];
    let listed = ls_files(dir, &args)?.unwrap_or_default();
    Ok(entries(&listed).map(path).collect())
}

/// Returns which of these directories are ignored themselves, and not only all that is in them now. Where git cannot say so, as
/// in a submodule, all are.
pub(crate) fn ignored_themselves(dir: &Path, paths: Vec<PathBuf>) -> Result<Vec<PathBuf>, RemoteError> {
    let mut command = command(dir, &["check-ignore", "-z", "--stdin"].map(OsStr::new));
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let of_start = |error: io::Error| failure::of_start("git", &error);
    let mut child = command.spawn().map_err(of_start)?;
    let pipe = child.stdin.take();
    let output = std::thread::scope(|scope| {
        let asked = paths
            .iter()
            .flat_map(|path| [path.as_os_str().as_bytes(), b"/\0"]);
        let asked: Vec<u8> = asked.flatten().copied().collect();
        scope.spawn(move || pipe.map(|mut pipe| pipe.write_all(&asked)));
        child.wait_with_output()
    });
    let output = output.map_err(of_start)?;
    match output.status.code() {
        Some(0 | 1) => Ok(entries(&output.stdout).map(path).collect()),
        _ => Ok(paths),
    }
}

/// Returns whether the checkout that the directory lies in ignores it as a whole.
fn is_ignored(dir: &Path) -> Result<bool, RemoteError> {
    match (dir.parent(), dir.file_name()) {
        (Some(parent), Some(name)) if !dir.join(".git").exists() => {
            let args = ["check-ignore", "--quiet", "--"].map(OsStr::new);
            Ok(git(parent, &[&args[..], &[name]].concat())?.status.success())
        }
        _ => Ok(false),
    }
}

fn ls_files(dir: &Path, args: &[&str]) -> Result<Option<Vec<u8>>, RemoteError> {
    let args: Vec<&OsStr> = ["ls-files", "-z"].iter().chain(args).map(OsStr::new).collect();
    let output = match git(dir, &args) {
        Err(RemoteError::Here(_)) if !dir.ancestors().any(|dir| dir.join(".git").exists()) => {
            return Ok(None);
        }
        output => output?,
    };
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.success() {
        Ok(Some(output.stdout))
    } else if said.contains("not a git repository") {
        Ok(None)
    } else {
        let said = last_words(&said);
        Err(RemoteError::Here(format!(
            "git could not list the files of {}: {said}",
            dir.display()
        )))
    }
}

fn git(dir: &Path, args: &[&OsStr]) -> Result<Output, RemoteError> {
    let output = command(dir, args).output();
    output.map_err(|error: io::Error| failure::of_start("git", &error))
}

fn command(dir: &Path, args: &[&OsStr]) -> Command {
    let mut command = Command::new("git");
    for name in OF_OTHER_REPOSITORIES {
        command.env_remove(name);
    }
    // A checkout of another user (a CI container's) may be listed: without its hook, listing runs nothing.
    command
        .args(["-c", "safe.directory=*", "-c", "core.fsmonitor=false"])
        .args(args)
        .current_dir(dir)
        .env("LC_ALL", "C")
        .env("GIT_OPTIONAL_LOCKS", "0")
        .stdin(Stdio::null());
    command
}

fn entries(listed: &[u8]) -> impl Iterator<Item = &[u8]> {
    listed.split(|byte| *byte == 0).filter(|entry| !entry.is_empty())
}

fn path(entry: &[u8]) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(entry))
}

/// Reads `MODE OBJECT STAGE<tab>PATH`.
fn index_entry(entry: &[u8]) -> Option<Tracked> {
    let tab = entry.iter().position(|byte| *byte == b'\t')?;
    Some(Tracked {
        path: path(&entry[tab + 1..]),
        is_submodule: entry.starts_with(b"160000 "),
    })
}
