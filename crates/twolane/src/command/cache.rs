//! `twolane cache`: what was made once for boxes on this machine, and what of it can go.

use model::limits::show_bytes;
use providers::local::{Cached, Prune, cached, prune};
use serde::Serialize;

use crate::{
    args::{CacheArgs, CacheCommand, PruneArgs},
    context::Context,
    exit::Exit,
    problem::Result,
    show::table::fitted,
};

/// What was deleted, and what is left.
#[derive(Debug, Serialize)]
struct Pruned {
    deleted: Vec<Cached>,
    left: Vec<Cached>,
}

/// Lists it, or deletes some of it.
pub(crate) fn run(context: &Context, args: &CacheArgs) -> Result {
    let cache = context.paths()?.cache;
    match &args.command {
        CacheCommand::Ls => {
            let all = cached(&cache)?;
            if context.style.is_json {
                context.style.document(&all);
            } else if all.is_empty() {
                context.style.result(&format!("nothing is in {cache}"));
            } else {
                context.style.result(&table(&all));
                let total = show_bytes(bytes_of(&all));
                context.style.message(&format!("{total} in {cache}"));
            }
        }
        CacheCommand::Prune(args) => {
            let deleted = prune(&cache, chosen(args))?;
            let left = cached(&cache)?;
            if context.style.is_json {
                context.style.document(&Pruned { deleted, left });
                return Ok(Exit::Passed);
            }
            if !deleted.is_empty() {
                context.style.result(&table(&deleted));
            }
            let [gone, stays] = [&deleted, &left].map(|all| show_bytes(bytes_of(all)));
            context
                .style
                .message(&format!("deleted {gone}, {stays} stay in {cache}"));
        }
    }
    Ok(Exit::Passed)
}

fn chosen(args: &PruneArgs) -> Prune {
    match (args.all, args.max) {
        (true, _) => Prune::All,
        (false, Some(bytes)) => Prune::Over(bytes),
        (false, None) => Prune::Older(args.older),
    }
}

fn bytes_of(all: &[Cached]) -> u64 {
    all.iter().map(|it| it.bytes).sum()
}

fn table(all: &[Cached]) -> String {
    let head = ["kind", "key", "size", "last used", "used by"];
    fitted(&head, all.iter().map(cells))
}

fn cells(entry: &Cached) -> Vec<String> {
    let used_by = match entry.other_user {
        Some(user) => format!("user {user}"),
        None => entry.used_by.join(", "),
    };
    vec![
        entry.kind.to_string(),
        entry.key.clone(),
        show_bytes(entry.bytes),
        ago(entry.unused_seconds),
        used_by,
    ]
}

fn ago(seconds: u64) -> String {
    match seconds {
        0..120 => "just now".to_owned(),
        120..7_200 => format!("{} minutes ago", seconds / 60),
        7_200..172_800 => format!("{} hours ago", seconds / 3_600),
        _ => format!("{} days ago", seconds / 86_400),
    }
}
