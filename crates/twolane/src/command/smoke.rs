//! `twolane smoke`: runs the smoke script on a box that is deployed, as it is there, and shows what it says.

use std::{os::unix::process::CommandExt, process::Command};

use model::{render::post_deploy::smoke_command, world::Target};

use super::{Context, boxes};
use crate::{
    args::LabelArgs,
    problem::{Problem, Result},
    world::{block_on, journal},
};

/// Becomes ssh. Its exit code is the script's own.
pub(crate) fn run(context: &Context, args: &LabelArgs) -> Result {
    let paths = context.paths()?;
    let (plan, machine) = block_on(async {
        let journal = journal(&paths)?;
        boxes::notice_unfinished(context, &paths, &*journal).await?;
        let held = boxes::held(&*journal, &args.label).await?;
        Ok((boxes::plan_of(&paths, &held)?, boxes::machine(held)?))
    })?;
    let script = smoke_command(&plan.deploy).ok_or_else(|| {
        Problem::usage(format!("could not smoke-test box {}", args.label))
            .because("[deploy] of the twolane.toml that it was made with names no `smoke` script")
    })?;
    let target = Target {
        user: "mvm".to_owned(),
        ..Target::root_of(&machine)
    };
    let argv = remote::Ssh::new(paths.state.clone()).interactive(&target, &[script])?;
    let Some((program, arguments)) = argv.split_first() else {
        return Err(Problem::infrastructure("could not start ssh").because("no command line was made"));
    };
    // Only returns when the program could not be started.
    let error = Command::new(program).args(arguments).exec();
    Err(Problem::infrastructure(format!("could not start {program}"))
        .because(error)
        .help("install it: apt-get install openssh-client"))
}
