//! What can go wrong at a provider or on the way to a box, in kinds that say what the caller can do.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::name::ProviderName;

/// What a provider's refusal means for us.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorKind {
    /// It has no such box free now.
    NoCapacity,
    /// The account may not have another.
    QuotaReached,
    /// No answer came: what was asked may have happened.
    Unanswered,
    /// Too many requests.
    RateLimited {
        /// How long to wait, where the provider says so.
        retry_after: Option<Duration>,
    },
    /// A fault on its side that may pass.
    Unavailable,
    /// What this run made a moment ago is not visible yet to all of the provider.
    NotYet,
    /// Credentials are missing, wrong or expired.
    Unauthorized,
    /// What was named does not exist.
    NotFound,
    /// The request cannot be carried out as it is: wrong values, or something missing on this machine.
    Invalid,
    /// The box has no KVM that the lane could use.
    NoKvm,
    /// Something of that name exists and is not what was asked for.
    Taken,
}

/// A provider could not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, Error, Serialize, Deserialize)]
#[error("{provider} could not {operation}: {cause}")]
pub struct ProviderError {
    /// Decides what happens next.
    pub kind: ErrorKind,
    /// Who could not.
    pub provider: ProviderName,
    /// What it was to do, such as `create a box`.
    pub operation: String,
    /// Why, in the provider's words where it gave any, secrets removed.
    pub cause: String,
    /// What the user can do about it, where we know.
    pub help: Option<String>,
}

impl ProviderName {
    /// Makes an error of this provider, without help.
    pub fn error(&self, kind: ErrorKind, operation: &str, cause: impl Into<String>) -> ProviderError {
        ProviderError {
            kind,
            provider: self.clone(),
            operation: operation.to_owned(),
            cause: cause.into(),
            help: None,
        }
    }
}

impl ErrorKind {
    /// Returns whether the request is refused as it is: to send it again, or elsewhere, changes nothing before it is corrected.
    pub fn is_of_request(&self) -> bool {
        matches!(self, Self::Unauthorized | Self::NotFound | Self::Invalid)
    }
}

impl ProviderError {
    /// Returns the error of a call that names what this run made a moment ago: what is not found is not there yet.
    pub fn not_yet(self) -> Self {
        match self.kind {
            ErrorKind::NotFound => Self {
                kind: ErrorKind::NotYet,
                ..self
            },
            _ => self,
        }
    }

    /// Says what the user can do about it.
    pub fn with_help(self, help: impl Into<String>) -> Self {
        Self {
            help: Some(help.into()),
            ..self
        }
    }
}

/// A box could not be reached, or did not do what it was asked to.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RemoteError {
    /// Nothing answers at the address yet, or any more.
    #[error("no answer from the box: {0}")]
    Unreachable(String),
    /// What answers is not the box: its host key is not the one that we made.
    #[error(
        "somebody else answers at the box's address: the host key is not the one that was made for this box ({0}); \
         nothing was sent to it: destroy the box and make a new one"
    )]
    Impostor(String),
    /// The box answers and refuses our key.
    #[error("the box refused the login key: {0}")]
    Refused(String),
    /// Something answers, and not as an SSH server that we can talk to.
    #[error("what answers at the box's address is no SSH server for us: {0}")]
    NotSsh(String),
    /// Something accepts the connection, and closes it or is silent. A box that boots may do that for a while.
    #[error("what answers at the box's address does not talk to us: {why}")]
    Mute {
        /// Whether it said that it is an SSH server. What did not may be the way to a box, and not the box.
        greeted: bool,
        /// What it did.
        why: String,
    },
    /// The connection was there and was lost.
    #[error("the connection to the box was lost: {0}")]
    Lost(String),
    /// A command on the box ended with a failure.
    #[error("`{command}` failed on the box ({how}): {output}")]
    Command {
        /// What was run.
        command: String,
        /// Such as `exit code 1`.
        how: String,
        /// The end of what it wrote.
        output: String,
    },
    /// Something on this machine is in the way: a missing program, a file that cannot be read.
    #[error("{0}")]
    Here(String),
}

/// The journal could not be read or written. Nothing may be created then.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum JournalError {
    /// Another box of that label is alive.
    #[error("the label `{0}` is taken by a box that is still there")]
    Taken(crate::name::Label),
    /// It cannot be opened, read or written.
    #[error("could not {operation} the journal {path}: {cause}")]
    Broken {
        /// `open`, `read` or `write`.
        operation: &'static str,
        /// The journal's file.
        path: String,
        /// What SQLite or the system said.
        cause: String,
        /// What the user can do.
        help: String,
    },
}
