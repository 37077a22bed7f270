//! Where things are kept.

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
        let xdg = Xdg::new().ok();
        let state = match given {
            Some(given) => absolute(given)?,
            None => utf8(
                xdg.as_ref()
                    .and_then(|xdg| xdg.state_dir())
                    .ok_or_else(homeless)?,
            )?
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

    /// Returns the directory of all runs.
    pub(crate) fn runs(&self) -> Utf8PathBuf {
        self.state.join("runs")
    }

    /// Returns the directory of one run.
    pub(crate) fn run(&self, run: &RunId) -> Utf8PathBuf {
        self.runs().join(run.as_str())
    }

    /// Returns whether there is a journal. Without one there are no boxes.
    pub(crate) fn has_journal(&self) -> bool {
        self.state.join("journal.db").exists()
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
            .help("name another one: --state-dir DIR")
    })
}
