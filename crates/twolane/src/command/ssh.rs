//! `twolane ssh`: into a box, or a command on it, over its own keys and pinned host key.

use std::{os::unix::process::CommandExt, process::Command};

use model::{
    render::quote,
    source::{Source, WORK_USER},
    world::Target,
};

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
    let (machine, plan) = block_on(async {
        let journal = journal(&paths)?;
        boxes::notice_unfinished(context, &paths, &*journal).await?;
        let held = boxes::held(&*journal, &args.label).await?;
        let plan = boxes::plan_of(&paths, &held).ok();
        Ok((boxes::machine(held)?, plan))
    })?;
    let usual = plan
        .as_ref()
        .map_or(WORK_USER.to_owned(), |plan| plan.system.user.clone());
    let dir = plan.and_then(|plan| plan.sources.first().map(Source::remote_dir));
    let target = Target {
        user: args.user.clone().unwrap_or(usual),
        ..Target::root_of(&machine)
    };
    let argv = remote::Ssh::new(paths.state.clone())
        .interactive(&target, &command(&args.command, dir.as_deref()))?;
    let Some((program, arguments)) = argv.split_first() else {
        return Err(Problem::infrastructure("could not start ssh").because("no command line was made"));
    };
    // Only returns when the program could not be started.
    let error = providers::child::clean(&mut Command::new(program))
        .args(arguments)
        .exec();
    Err(Problem::infrastructure(format!("could not start {program}"))
        .because(error)
        .help("install it: apt-get install openssh-client"))
}

/// Returns the command as ssh takes it, for a shell on the box, in the project's directory where there is one by now.
/// One argument alone is for that shell; several are what they are; none stands for a login shell.
fn command(typed: &[String], dir: Option<&str>) -> Vec<String> {
    let enter = dir.map(|dir| format!("cd {} 2>/dev/null; ", quote(dir)));
    let words: Vec<String> = match typed {
        [one] => vec![one.clone()],
        several => several.iter().map(|argument| quote(argument)).collect(),
    };
    match (enter, typed) {
        (None, _) => words,
        // With a command, ssh allocates a terminal only on request.
        (Some(enter), []) => vec!["-t".to_owned(), format!("{enter}exec \"${{SHELL:-/bin/sh}}\" -l")],
        (Some(enter), _) => vec![format!("{enter}{}", words.join(" "))],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_stay_apart() {
        let words = |words: &[&str]| {
            command(&words.iter().map(ToString::to_string).collect::<Vec<_>>(), None).join(" ")
        };
        assert_eq!(words(&["ls | wc"]), "ls | wc");
        assert_eq!(
            words(&["sh", "-c", "echo a; exit 7"]),
            "'sh' '-c' 'echo a; exit 7'"
        );
        assert_eq!(words(&[]), "");
    }

    #[test]
    fn ssh_starts_in_the_projects_directory() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("my project");
        std::fs::create_dir(&dir).unwrap();
        let run = |typed: &[&str], dir: &str| {
            let typed: Vec<String> = typed.iter().map(ToString::to_string).collect();
            let words = command(&typed, Some(dir));
            let script = words.last().unwrap();
            let output = Command::new("sh")
                .args(["-c", script])
                .env("SHELL", "pwd")
                .current_dir("/")
                .output()
                .unwrap();
            String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
        };
        let dir = dir.to_str().unwrap();
        assert_eq!(run(&["pwd | cat"], dir), dir);
        assert_eq!(run(&["printf", "%s %s", "a b", "c"], dir), "a b c");
        // Before the first copy there is none.
        assert_eq!(run(&["pwd"], "/nowhere"), "/");
        assert_eq!(command(&[], Some(dir))[0], "-t");
    }
}
