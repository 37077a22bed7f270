//! A source tree that is copied to the box.

use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};

/// One tree that is copied to the box. Checks run in the first one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// Its name in `[sources]`, and of its directory on the box: `/home/mvm/<name>`.
    pub name: String,
    /// Where it is here; absolute.
    pub path: Utf8PathBuf,
}

impl Source {
    /// Returns its directory on the box.
    pub fn remote_dir(&self) -> String {
        format!("/home/mvm/{}", self.name)
    }
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
