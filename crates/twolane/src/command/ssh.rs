//! `twolane ssh`: into a box, or a command on it, over its own keys and pinned host key.

use std::{os::unix::process::CommandExt, process::Command};

use model::world::Target;

use super::{Context, boxes};
use crate::{
    args::SshArgs,
    problem::{Problem, Result},
    world::{block_on, journal},
};

/// Becomes ssh. Its exit code is the command's own.
pub(crate) fn run(context: &Context, args: &SshArgs) -> Result {
    let paths = context.paths()?;
    let machine = block_on(async {
        let journal = journal(&paths)?;
        boxes::machine(boxes::held(&*journal, &args.label).await?)
    })?;
    let target = Target {
        user: args.user.clone(),
        ..Target::root_of(&machine)
    };
    let argv = remote::Ssh::new(paths.state.clone()).interactive(&target, &args.command)?;
    let Some((program, arguments)) = argv.split_first() else {
        return Err(Problem::infrastructure("could not start ssh").because("no command line was made"));
    };
    // Only returns when the program could not be started.
    let error = Command::new(program).args(arguments).exec();
    Err(Problem::infrastructure(format!("could not start {program}"))
        .because(error)
        .help("install it: apt-get install openssh-client"))
}
