//! `twolane ssh`: into a box, or a command on it, over its own keys and pinned host key.

use std::{os::unix::process::CommandExt, process::Command};

use model::{render::quote, world::Target};

use super::boxes;
use crate::{
    args::SshArgs,
    context::Context,
    problem::{Problem, Result},
    world::{block_on, journal},
};

/// Becomes ssh. Its exit code is the command's own.
pub(crate) fn run(context: &Context, args: &SshArgs) -> Result {
    let paths = context.paths()?;
    let machine = block_on(async {
        let journal = journal(&paths)?;
        boxes::notice_unfinished(context, &paths, &*journal).await?;
        boxes::machine(boxes::held(&*journal, &args.label).await?)
    })?;
    let target = Target {
        user: args.user.clone(),
        ..Target::root_of(&machine)
    };
    let argv = remote::Ssh::new(paths.state.clone()).interactive(&target, &command(&args.command))?;
    let Some((program, arguments)) = argv.split_first() else {
        return Err(Problem::infrastructure("could not start ssh").because("no command line was made"));
    };
    // Only returns when the program could not be started.
    let error = Command::new(program).args(arguments).exec();
    Err(Problem::infrastructure(format!("could not start {program}"))
        .because(error)
        .help("install it: apt-get install openssh-client"))
}

/// Returns the command as ssh takes it, which joins its arguments for a shell on the box. One argument alone is for that
/// shell; several are what they are.
fn command(typed: &[String]) -> Vec<String> {
    match typed {
        [_] => typed.to_vec(),
        several => several.iter().map(|argument| quote(argument)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_stay_apart() {
        let words =
            |words: &[&str]| command(&words.iter().map(ToString::to_string).collect::<Vec<_>>()).join(" ");
        assert_eq!(words(&["ls | wc"]), "ls | wc");
        assert_eq!(
            words(&["sh", "-c", "echo a; exit 7"]),
            "'sh' '-c' 'echo a; exit 7'"
        );
        assert_eq!(words(&[]), "");
    }
}
