//! Why something could not be done on this machine; becomes a `ProviderError` once it is known what was asked.

use std::fmt::Display;

use model::{
    error::{ErrorKind, ProviderError},
    name::ProviderName,
};

/// The provider's name.
pub const NAME: &str = "local";

/// What went wrong, and what to do where we know one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LocalError {
    pub(crate) kind: ErrorKind,
    pub(crate) cause: String,
    pub(crate) help: Option<String>,
}

impl LocalError {
    pub(crate) fn new(kind: ErrorKind, cause: impl Into<String>) -> Self {
        Self {
            kind,
            cause: cause.into(),
            help: None,
        }
    }

    /// Makes one that no repetition fixes.
    pub(crate) fn invalid(cause: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, cause)
    }

    /// Makes one out of a failed system call: `what` was to be done, such as `write /x/y`.
    pub(crate) fn system(what: impl Display, error: impl Display) -> Self {
        Self::invalid(format!("cannot {what}: {error}"))
    }

    pub(crate) fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Says what was asked for.
    pub(crate) fn during(self, operation: &str) -> ProviderError {
        ProviderError {
            kind: self.kind,
            provider: ProviderName::new(NAME).expect("it keeps to the rule"),
            operation: operation.to_owned(),
            cause: self.cause,
            help: self.help,
        }
    }
}
