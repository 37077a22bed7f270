//! Why something could not be done on a machine that is already there, with what to do.

use model::{
    error::{ErrorKind, ProviderError},
    name::ProviderName,
};

/// The provider's name.
pub const NAME: &str = "host";

pub(crate) fn name() -> ProviderName {
    ProviderName::new(NAME).expect("it keeps to the rule")
}

/// Whether something of ours may be on the machine now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// Surely nothing that was not there before the call.
    Untouched,
    /// It may be.
    Unsure,
}

/// What went wrong, and what to do where we know one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HostError {
    pub(crate) kind: ErrorKind,
    pub(crate) class: Class,
    pub(crate) cause: String,
    pub(crate) help: Option<String>,
}

impl HostError {
    /// Makes one of a call that changed nothing.
    pub(crate) fn new(kind: ErrorKind, cause: impl Into<String>) -> Self {
        Self {
            kind,
            class: Class::Untouched,
            cause: cause.into(),
            help: None,
        }
    }

    /// Makes one that no repetition fixes.
    pub(crate) fn invalid(cause: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, cause)
    }

    /// Makes one of a call whose end is not known.
    pub(crate) fn unanswered(cause: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unanswered, cause).unsure()
    }

    pub(crate) fn unsure(self) -> Self {
        Self {
            class: Class::Unsure,
            ..self
        }
    }

    pub(crate) fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// A machine that cannot be reached may come back, and what is on it is still there.
    pub(crate) fn while_it_may_be_there(self) -> Self {
        let kind = match self.kind {
            ErrorKind::NotFound => ErrorKind::Unavailable,
            kind => kind,
        };
        Self { kind, ..self }
    }

    /// Says what was asked for.
    pub(crate) fn during(self, operation: &str) -> ProviderError {
        ProviderError {
            kind: self.kind,
            provider: name(),
            operation: operation.to_owned(),
            cause: self.cause,
            help: self.help,
        }
    }
}
