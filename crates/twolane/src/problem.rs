//! Errors as the user reads them: what failed, why, and what to do next.

use model::error::{JournalError, ProviderError, RemoteError};
use serde::Serialize;

use crate::exit::Exit;

/// What a command returns.
pub(crate) type Result<T = Exit, E = Problem> = std::result::Result<T, E>;

/// What went wrong.
#[derive(Debug, Serialize)]
pub(crate) struct Problem {
    /// Which exit code it becomes.
    #[serde(skip)]
    pub(crate) exit: Exit,
    /// What could not be done.
    pub(crate) error: String,
    /// Why, a line for each reason.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) because: Vec<String>,
    /// What the user can do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) help: Option<String>,
    /// Drawn in place of the reasons: the mistakes of a file, underlined in it.
    #[serde(skip)]
    pub(crate) drawn: Vec<Box<dyn miette::Diagnostic + Send + Sync>>,
}

impl Problem {
    /// Wrong usage or configuration; nothing was created.
    pub(crate) fn usage(error: impl Into<String>) -> Self {
        Self::new(Exit::Usage, error)
    }

    /// The infrastructure failed, this machine's included.
    pub(crate) fn infrastructure(error: impl Into<String>) -> Self {
        Self::new(Exit::Infrastructure, error)
    }

    /// Makes a problem that ends the program with that exit code.
    pub(crate) fn new(exit: Exit, error: impl Into<String>) -> Self {
        Self {
            exit,
            error: error.into(),
            because: Vec::new(),
            help: None,
            drawn: Vec::new(),
        }
    }

    /// Adds a reason.
    pub(crate) fn because(mut self, reason: impl ToString) -> Self {
        self.because.push(reason.to_string());
        self
    }

    /// Says what the user can do.
    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Returns the first line of the text for people.
    pub(crate) fn headline(&self) -> String {
        format!("error: {}", self.error)
    }

    /// Returns the text for people, without a newline at the end.
    pub(crate) fn text(&self) -> String {
        let mut text = self.headline();
        let mut head = "  because: ";
        for line in self.because.iter().flat_map(|reason| reason.lines()) {
            text.push_str(&format!("\n{head}{line}"));
            head = "           ";
        }
        let mut head = "  help: ";
        for line in self.help.iter().flat_map(|help| help.lines()) {
            text.push_str(&format!("\n{head}{line}"));
            head = "        ";
        }
        text
    }
}

impl From<JournalError> for Problem {
    fn from(error: JournalError) -> Self {
        match error {
            JournalError::Taken(label) => Self::usage(format!("could not take the label `{label}`"))
                .because("a box of that name is still there")
                .help(format!(
                    "choose another label, or destroy that box: twolane down {label}"
                )),
            JournalError::Broken {
                operation,
                path,
                cause,
                help,
            } => Self::usage(format!("could not {operation} the journal {path}"))
                .because(cause)
                .help(help),
        }
    }
}

impl From<ProviderError> for Problem {
    fn from(error: ProviderError) -> Self {
        let problem = Self::infrastructure(format!("{} could not {}", error.provider, error.operation))
            .because(error.cause);
        match error.help {
            Some(help) => problem.help(help),
            None => problem,
        }
    }
}

impl From<RemoteError> for Problem {
    fn from(error: RemoteError) -> Self {
        Self::infrastructure("could not work with the box").because(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_says_what_why_and_what_to_do() {
        let problem = Problem::infrastructure("no box for lane live-kvm")
            .because("gcp has none now\n(ZONE_RESOURCE_POOL_EXHAUSTED)")
            .because("aws would exceed the account's limit")
            .help("add a candidate");
        assert_eq!(
            problem.text(),
            "error: no box for lane live-kvm\n  because: gcp has none now\n           (ZONE_RESOURCE_POOL_EXHAUSTED)\n           \
             aws would exceed the account's limit\n  help: add a candidate"
        );
    }
}
