//! The environment of the programs that are started here.

use std::{ffi::OsString, process::Command};

/// Gives a program an environment that was made for it, without the operator's tokens.
pub(crate) fn clean(command: &mut Command) -> &mut Command {
    command.env_clear().envs(variables())
}

fn variables() -> impl Iterator<Item = (OsString, OsString)> {
    std::env::vars_os().filter(|(name, _)| model::child::is_for_children(&name.to_string_lossy()))
}
