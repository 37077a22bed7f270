//! Completes what only this machine knows: labels of boxes, runs, lanes and checks. Whatever cannot be read completes
//! nothing: a shell that waits for a candidate has no use for an error.

use camino::Utf8PathBuf;
use clap::{Arg, Command};
use clap_complete::{ArgValueCandidates, CompletionCandidate};
use model::{config::Config, journal::Holdings, world::Journal as _};

use crate::{
    paths::Paths,
    project,
    show::record,
    world::{block_on, journal},
};

/// Lets the shell complete values of this machine.
pub(crate) fn with_values(command: Command) -> Command {
    let command = command.mut_args(|arg| match values(&arg) {
        Some(values) => arg.add(values),
        None => arg,
    });
    command.mut_subcommands(with_values)
}

fn values(arg: &Arg) -> Option<ArgValueCandidates> {
    // `--label` of `up` and `run` names a new box.
    let is_old = arg.is_positional();
    match arg.get_id().as_str() {
        "label" if is_old => Some(ArgValueCandidates::new(labels)),
        "run" | "from" | "compare" => Some(ArgValueCandidates::new(runs)),
        "lane" | "lanes" => Some(ArgValueCandidates::new(lanes)),
        "check" | "checks" => Some(ArgValueCandidates::new(checks)),
        _ => None,
    }
}

fn labels() -> Vec<CompletionCandidate> {
    let Some(paths) = paths().filter(|paths| paths.has_journal().unwrap_or(false)) else {
        return Vec::new();
    };
    let entries = block_on(async { Ok(journal(&paths)?.entries().await?) });
    let boxes = entries
        .map(|entries| Holdings::fold(&entries).boxes)
        .unwrap_or_default();
    boxes
        .into_iter()
        .map(|(label, held)| {
            CompletionCandidate::new(label.as_str()).help(Some(held.candidate.to_string().into()))
        })
        .collect()
}

/// Newest first.
fn runs() -> Vec<CompletionCandidate> {
    let runs = paths().map(|paths| record::runs(&paths)).unwrap_or_default();
    let newest = runs.into_iter().rev().enumerate();
    newest
        .map(|(at, run)| CompletionCandidate::new(run.as_str()).display_order(Some(at)))
        .collect()
}

fn lanes() -> Vec<CompletionCandidate> {
    let lanes = config().map(|config| config.lanes).unwrap_or_default();
    lanes
        .into_iter()
        .map(|lane| CompletionCandidate::new(lane.name))
        .collect()
}

fn checks() -> Vec<CompletionCandidate> {
    let lanes = config().map(|config| config.lanes).unwrap_or_default();
    let checks = lanes.into_iter().flat_map(|lane| {
        let help = format!("lane {}", lane.name);
        lane.checks
            .into_iter()
            .map(move |check| CompletionCandidate::new(check.name).help(Some(help.clone().into())))
    });
    checks.collect()
}

fn config() -> Option<Config> {
    Some(project::find(&here()?).ok()?.config)
}

fn here() -> Option<Utf8PathBuf> {
    Utf8PathBuf::from_path_buf(std::env::current_dir().ok()?).ok()
}

fn paths() -> Option<Paths> {
    let given = std::env::var("TWOLANE_STATE_DIR")
        .ok()
        .filter(|dir| !dir.is_empty());
    Paths::find(given.map(Utf8PathBuf::from).as_deref()).ok()
}
