//! The exit codes.

use std::process::ExitCode;

use model::verdict::Verdict;

/// How the program ends, best first: of two endings the worse one counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Exit {
    /// All passed, or what was asked for was done.
    Passed,
    /// A check failed.
    Failed,
    /// Wrong usage or configuration; nothing was created.
    Usage,
    /// The infrastructure failed; everything that was created was destroyed.
    Infrastructure,
    /// Interrupted; everything that was created was destroyed.
    Interrupted,
    /// Something could not be destroyed.
    Left,
}

impl Exit {
    /// Returns the number that the caller sees.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Passed => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Infrastructure => 3,
            Self::Left => 4,
            Self::Interrupted => 130,
        }
    }
}

impl From<Verdict> for Exit {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Passed => Self::Passed,
            Verdict::Failed => Self::Failed,
            Verdict::Refused => Self::Usage,
            Verdict::Infrastructure => Self::Infrastructure,
            Verdict::Interrupted => Self::Interrupted,
            Verdict::Left => Self::Left,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_box_that_is_left_beats_all_others() {
        let endings = [
            Exit::Left,
            Exit::Passed,
            Exit::Interrupted,
            Exit::Infrastructure,
            Exit::Failed,
        ];
        assert_eq!(endings.iter().max().map(|exit| exit.code()), Some(4));
    }
}
