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
    /// Every provider refused what was asked for as it is, and nothing was created.
    Refused,
    /// The infrastructure failed, and everything that was created was destroyed.
    Infrastructure,
    /// The user stopped it, and everything that was created was destroyed.
    Interrupted,
    /// Something could not be destroyed.
    Left,
}

impl Verdict {
    /// Returns how a run ended of whose lanes each ended so: the worst counts, and where a lane had a box, something was created.
    pub fn of_run(lanes: &[Self]) -> Self {
        let worst = lanes.iter().copied().max().unwrap_or(Self::Passed);
        match worst {
            Self::Refused if lanes.iter().any(|lane| *lane != Self::Refused) => Self::Infrastructure,
            worst => worst,
        }
    }

    /// Returns the verdict in words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Refused => "refused, nothing was created",
            Self::Infrastructure => "infrastructure failed",
            Self::Interrupted => "interrupted",
            Self::Left => "something could not be destroyed",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_was_created_only_where_no_lane_had_a_box() {
        use Verdict::*;
        assert_eq!(Verdict::of_run(&[]), Passed);
        assert_eq!(Verdict::of_run(&[Refused, Refused]), Refused);
        assert_eq!(Verdict::of_run(&[Refused, Passed]), Infrastructure);
        assert_eq!(Verdict::of_run(&[Refused, Left]), Left);
        assert_eq!(Verdict::of_run(&[Failed, Passed]), Failed);
    }
}
