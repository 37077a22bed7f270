//! The environment of the programs that are started here: made for them, and without the operator's tokens.

use std::process::Command;

use model::child::{is_for_children, is_for_fetching};

/// Gives a program what all may have.
pub fn clean(command: &mut Command) -> &mut Command {
    keep(command, is_for_children)
}

/// Gives a program that fetches something the way out too.
pub(crate) fn fetching(command: &mut Command) -> &mut Command {
    keep(command, is_for_fetching)
}

fn keep(command: &mut Command, is_kept: fn(&str) -> bool) -> &mut Command {
    let kept = std::env::vars_os().filter(|(name, _)| is_kept(&name.to_string_lossy()));
    command.env_clear().envs(kept)
}
