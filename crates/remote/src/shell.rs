//! What a copy needs of a connection. Tests stand in for it without a server.

use async_trait::async_trait;
use model::{
    error::RemoteError,
    world::{Command, Output},
};

/// Runs commands in a place, and says how rsync reaches it.
#[async_trait]
pub(crate) trait Shell: Send + Sync {
    /// Runs a command to its end.
    async fn run(&self, command: &Command) -> Result<Output, RemoteError>;

    /// Returns the program for rsync's `-e`, with its arguments.
    fn rsh(&self) -> &[String];

    /// Returns what stands before the colon in rsync's arguments.
    fn host(&self) -> &str;
}

/// A script for the place's `sh`, with its arguments.
pub(crate) fn script(text: &str, args: &[&str]) -> Vec<String> {
    ["sh", "-c", text, "sh"]
        .iter()
        .chain(args)
        .map(ToString::to_string)
        .collect()
}
