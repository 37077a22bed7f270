//! The command line before and after clap: a value that clap would take for a lane, and clap's own errors.

use std::{collections::BTreeSet, ffi::OsString};

use clap::{
    ArgMatches, CommandFactory as _, FromArgMatches as _,
    error::{ContextKind, ContextValue, ErrorKind},
    parser::ValueSource,
};
use model::{config::nearest, time::parse_length};

use crate::{
    args::Cli,
    help,
    problem::Problem,
    show::{self, stream::Style},
};

/// Reads the command line. Prints help, and what is wrong, itself.
pub(crate) fn parse(typed: impl IntoIterator<Item = OsString>) -> Result<Cli, crate::exit::Exit> {
    let typed = joined(typed);
    let is_json = typed
        .iter()
        .take_while(|argument| *argument != "--")
        .any(|argument| argument == "--json");
    let mut command = help::command();
    command
        .try_get_matches_from_mut(typed)
        .and_then(|matches| {
            let mut cli = Cli::from_arg_matches(&matches)?;
            cli.global.of_environment = of_environment(&matches);
            Ok(cli)
        })
        .map_err(|error| refused(&error, is_json))
}

/// Returns the options of the command that was given whose values are the environment's.
fn of_environment(matches: &ArgMatches) -> BTreeSet<String> {
    let Some((_, matches)) = matches.subcommand() else {
        return BTreeSet::new();
    };
    let ids = matches.ids().map(clap::Id::as_str);
    ids.filter(|id| {
        let source = matches
            .try_contains_id(id)
            .is_ok()
            .then(|| matches.value_source(id));
        source.flatten() == Some(ValueSource::EnvVariable)
    })
    .map(str::to_owned)
    .collect()
}

/// Makes `--keep=5m` of `--keep 5m`. Without its `=` clap could not tell a time from a lane; a lane's name begins with a
/// letter, a time with a digit.
fn joined(typed: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut joined: Vec<OsString> = Vec::new();
    let mut is_over = false;
    for argument in typed {
        is_over |= argument == "--";
        let is_time = argument.to_str().is_some_and(|text| parse_length(text).is_some());
        match joined.last_mut() {
            Some(last) if !is_over && is_time && *last == "--keep" => {
                last.push("=");
                last.push(argument);
            }
            _ => joined.push(argument),
        }
    }
    joined
}

fn refused(error: &clap::Error, is_json: bool) -> crate::exit::Exit {
    use crate::exit::Exit;
    if !error.use_stderr() {
        // A reader that had enough of the help is no failure.
        let _ = error.print();
        return Exit::Passed;
    }
    // clap finds no command that is near enough to `rnu`.
    if is_json || error.kind() == ErrorKind::InvalidSubcommand {
        let style = Style {
            is_json,
            ..Style::default()
        };
        return show::problem::show(style, &problem(error));
    }
    let _ = error.print();
    Exit::Usage
}

/// Returns clap's error in our own form.
fn problem(error: &clap::Error) -> Problem {
    let text = error.render().to_string();
    let first = text.split("\n\n").next().unwrap_or_default().trim();
    let problem = Problem::usage(first.strip_prefix("error: ").unwrap_or(first));
    let tips: Vec<&str> = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("tip: "))
        .collect();
    match near_command(error) {
        Some(name) => problem.help(format!("did you mean `twolane {name}`?")),
        None if tips.is_empty() => problem.help("twolane --help lists commands and options"),
        None => problem.help(tips.join("\n")),
    }
}

fn near_command(error: &clap::Error) -> Option<String> {
    let Some(ContextValue::String(typed)) = error.get(ContextKind::InvalidSubcommand) else {
        return None;
    };
    let root = Cli::command();
    nearest(typed, root.get_subcommands().map(clap::Command::get_name)).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(typed: &str, expected: &str) {
        let joined = joined(typed.split(' ').map(OsString::from));
        let joined: Vec<&str> = joined.iter().filter_map(|word| word.to_str()).collect();
        assert_eq!(joined.join(" "), expected);
    }

    #[test]
    fn time_after_keep_is_its_value_and_lane_is_not() {
        check("twolane run --keep 5m live", "twolane run --keep=5m live");
        check("twolane run --keep live", "twolane run --keep live");
        check("twolane run --keep", "twolane run --keep");
        check("twolane run --keep=1h 5m", "twolane run --keep=1h 5m");
        check("twolane split -- --keep 5m", "twolane split -- --keep 5m");
    }

    #[test]
    fn clap_error_becomes_problem_with_its_tip() {
        let error = help::command()
            .try_get_matches_from(["twolane", "rnu"])
            .unwrap_err();
        let problem = problem(&error);
        assert_eq!(problem.error, "unrecognized subcommand 'rnu'");
        assert_eq!(problem.help.as_deref(), Some("did you mean `twolane run`?"));
    }
}
