//! A source tree that is copied to the box.

use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};

/// One tree that is copied to the box. Checks run in the first one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// Its name in `[sources]`, and of its directory on the box.
    pub name: String,
    /// Who owns it on the box.
    pub user: String,
    /// Where it is here; absolute.
    pub path: Utf8PathBuf,
}

impl Source {
    /// Returns its directory on the box: in the home of its user.
    pub fn remote_dir(&self) -> String {
        format!("{}/{}", home_of(&self.user), self.name)
    }
}

/// Who owns the sources and runs the checks, where `[system] user` names nobody else.
pub const WORK_USER: &str = "dev";

/// Returns the home on a box of the user who runs the checks.
pub fn home_of(user: &str) -> String {
    format!("/home/{user}")
}

/// What a copy did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Synced {
    /// Files, links and empty directories of the tree.
    pub files: u64,
    /// Files that were sent, as they were new or had changed.
    pub sent: u64,
    /// Files that were deleted on the box, as they are no longer in the tree.
    pub deleted: u64,
    /// Bytes that went over the connection.
    pub bytes: u64,
}
