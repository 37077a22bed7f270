//! What of a repository a run was of.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A state of the repository in which `twolane.toml` is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revision {
    /// The commit that is checked out, in full.
    pub commit: String,
    /// Whether files that git tracks differ from it.
    pub is_dirty: bool,
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let short = self.commit.get(..12).unwrap_or(&self.commit);
        let changed = if self.is_dirty {
            " with uncommitted changes"
        } else {
            ""
        };
        write!(f, "{short}{changed}")
    }
}
