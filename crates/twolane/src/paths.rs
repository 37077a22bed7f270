//! Where things are kept.

use std::{
    fs,
    io::{self, Read as _},
    os::unix::fs::{DirBuilderExt, MetadataExt},
};

use camino::{Utf8Path, Utf8PathBuf};
use etcetera::{BaseStrategy, base_strategy::Xdg};
use model::name::RunId;

use crate::problem::{Problem, Result};

/// Where things are kept. Nothing is made until it is needed.
#[derive(Debug, Clone)]
pub(crate) struct Paths {
    /// The journal, the keys, the boxes of this machine and the runs.
    pub(crate) state: Utf8PathBuf,
    /// What can be made again: base images.
    pub(crate) cache: Utf8PathBuf,
    /// Where the project is, if there is one: its shell adapters are there.
    pub(crate) project: Option<Utf8PathBuf>,
}

impl Paths {
    /// Finds the directories of this user, the state's being `given` where one is.
    pub(crate) fn find(given: Option<&Utf8Path>) -> Result<Self> {
        let homeless = || {
            Problem::usage("could not find out where to keep state")
                .because("this user has no home directory")
                .help("set HOME, or name a directory: --state-dir DIR")
        };
        let elsewhere = |problem: Problem| problem.help("name another one: --state-dir DIR");
        let xdg = Xdg::new().ok();
        let state = match given {
            Some(given) => absolute(given).map_err(elsewhere)?,
            None => utf8(
                xdg.as_ref()
                    .and_then(|xdg| xdg.state_dir())
                    .ok_or_else(homeless)?,
            )
            .map_err(elsewhere)?
            .join("twolane"),
        };
        let cache = match xdg {
            Some(xdg) => utf8(xdg.cache_dir())?.join("twolane"),
            None => state.join("cache"),
        };
        Ok(Self {
            state,
            cache,
            project: None,
        })
    }

    /// Makes the state's directory for this user alone, and refuses one that somebody else could have put anything into.
    pub(crate) fn secure(&self) -> Result<()> {
        let fail = |why: String| {
            Problem::usage(format!("could not use the state directory {}", self.state))
                .because(why)
                .help("name a directory of your own that nobody else may write to: --state-dir DIR")
        };
        if let Some(parent) = self.state.parent() {
            fs::create_dir_all(parent).map_err(|error| fail(error.to_string()))?;
        }
        match fs::DirBuilder::new().mode(0o700).create(&self.state) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(fail(error.to_string()));
            }
            _ => {}
        }
        let found = fs::metadata(&self.state).map_err(|error| fail(error.to_string()))?;
        let user = rustix::process::geteuid().as_raw();
        if found.uid() != user {
            return Err(fail(format!(
                "it belongs to user {}, and you are user {user}",
                found.uid()
            )));
        }
        if found.mode() & 0o022 != 0 {
            return Err(fail(format!(
                "others may write to it (mode {:o})",
                found.mode() & 0o777
            )));
        }
        Ok(())
    }

    /// Returns the directory of all runs.
    pub(crate) fn runs(&self) -> Utf8PathBuf {
        self.state.join("runs")
    }

    /// Returns the directory of one run.
    pub(crate) fn run(&self, run: &RunId) -> Utf8PathBuf {
        self.runs().join(run.as_str())
    }

    /// Returns whether there is a journal. Without one there are no boxes.
    pub(crate) fn has_journal(&self) -> Result<bool> {
        self.state.join("journal.db").try_exists().map_err(|error| {
            Problem::infrastructure(format!("could not read the state directory {}", self.state))
                .because(error)
                .help("boxes may be there that only it knows: make it readable, or name another one: --state-dir DIR")
        })
    }
}

/// Returns the path as an absolute one.
pub(crate) fn absolute(path: &Utf8Path) -> Result<Utf8PathBuf> {
    let absolute = std::path::absolute(path)
        .map_err(|error| Problem::usage(format!("could not find the directory {path}")).because(error))?;
    utf8(absolute)
}

fn utf8(path: std::path::PathBuf) -> Result<Utf8PathBuf> {
    Utf8PathBuf::from_path_buf(path).map_err(|path| {
        Problem::usage(format!("could not use the directory {}", path.display()))
            .because("its name is not valid UTF-8")
    })
}

/// Reads a file of which nobody needs more than so many bytes: `/dev/zero` has no end.
pub(crate) fn read_some(path: &Utf8Path) -> io::Result<String> {
    const MOST: u64 = 4 << 20;
    let mut text = String::new();
    fs::File::open(path)?.take(MOST + 1).read_to_string(&mut text)?;
    match text.len() as u64 > MOST {
        true => Err(io::Error::other(format!("it is bigger than {} MiB", MOST >> 20))),
        false => Ok(text),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn state_directory_is_for_its_owner_alone() {
        let temp = tempfile::tempdir().unwrap();
        let state = Utf8Path::from_path(temp.path()).unwrap().join("a/state");
        let paths = Paths::find(Some(&state)).unwrap();
        paths.secure().unwrap();
        assert_eq!(fs::metadata(&state).unwrap().mode() & 0o777, 0o700);
        fs::set_permissions(&state, fs::Permissions::from_mode(0o777)).unwrap();
        let refused = paths.secure().unwrap_err();
        assert!(
            format!("{refused:?}").contains("others may write to it"),
            "{refused:?}"
        );
    }
}
