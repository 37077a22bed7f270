//! `twolane completions`: a script that lets a shell ask twolane itself, so that it completes labels, runs and lanes too.

use std::env;

use clap_complete::env::Shells;

use crate::{
    args::CompletionsArgs,
    context::Context,
    exit::Exit,
    problem::{Problem, Result},
};

/// The variable by which the script asks for completions.
pub(crate) const VARIABLE: &str = "TWOLANE_COMPLETE";

/// Prints the script of a shell.
pub(crate) fn run(context: &Context, args: &CompletionsArgs) -> Result {
    let shell = args.shell.to_string();
    let cannot = || Problem::infrastructure(format!("could not print completions for {shell}"));
    let completer = Shells::builtins();
    let completer = completer.completer(&shell).ok_or_else(cannot)?;
    let mut script = Vec::new();
    completer
        .write_registration(VARIABLE, "twolane", "twolane", &program(), &mut script)
        .map_err(|error| cannot().because(error))?;
    context.style.raw(&script);
    Ok(Exit::Passed)
}

/// Returns the program that the script calls: by name where `PATH` leads to this very file, else by path.
fn program() -> String {
    let own = env::current_exe().ok();
    let path = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&path)
        .map(|dir| dir.join("twolane"))
        .find(|path| path.is_file());
    match (own, found.and_then(|path| path.canonicalize().ok())) {
        (Some(own), Some(found)) if own == found => "twolane".to_owned(),
        (Some(own), _) => own.display().to_string(),
        (None, _) => "twolane".to_owned(),
    }
}
