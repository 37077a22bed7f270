//! How a lane or a run ended.

use serde::{Deserialize, Serialize};

/// How a lane or a run ended, best first: the worst one of its parts counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Every check passed or had a reason to be skipped.
    Passed,
    /// A check failed or timed out.
    Failed,
    /// The infrastructure failed, and everything that was created was destroyed.
    Infrastructure,
    /// The user stopped it, and everything that was created was destroyed.
    Interrupted,
    /// Something could not be destroyed.
    Left,
}

impl Verdict {
    /// Returns the verdict in words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Infrastructure => "infrastructure failed",
            Self::Interrupted => "interrupted",
            Self::Left => "something could not be destroyed",
        }
    }
}
