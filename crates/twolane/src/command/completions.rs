//! `twolane completions`: shell completions, from the definition of the command line.

use clap::CommandFactory;

use crate::{
    args::{Cli, CompletionsArgs},
    context::Context,
    exit::Exit,
    problem::Result,
};

/// Prints the completions of a shell.
pub(crate) fn run(context: &Context, args: &CompletionsArgs) -> Result {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "twolane", &mut script);
    context.style.raw(&script);
    Ok(Exit::Passed)
}
