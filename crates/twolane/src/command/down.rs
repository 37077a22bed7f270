//! `twolane down`: destroys boxes, and confirms that they are gone.

use std::collections::BTreeSet;

use engine::down::{Departure, down};
use model::{config, name::Label, report::Report, world::World};

use super::{Context, boxes};
use crate::{
    args::DownArgs,
    exit::Exit,
    problem::{Problem, Result},
    world::{Watched, block_on},
};

/// Destroys one box, or all.
pub(crate) fn run(context: &Context, args: &DownArgs) -> Result {
    if args.all && args.label.is_some() {
        return Err(Problem::usage("could not tell what to destroy")
            .because("a label was given, by argument or by LABEL in the environment, and --all too")
            .help("leave one of them out"));
    }
    let paths = context.paths()?;
    block_on(async {
        let watched = Watched::open(
            context,
            &paths,
            &config::Local::default(),
            None,
            Report::default(),
        )?;
        let labels = match &args.label {
            Some(label) => BTreeSet::from([label.clone()]),
            None => all(context, &watched.world).await?,
        };
        let mut exit = Exit::Passed;
        let mut last = Vec::new();
        for label in &labels {
            match down(label, None, &watched.world).await {
                Departure::Gone(resources) if resources.is_empty() => {
                    last.push(format!("box {label} was not there"))
                }
                Departure::Gone(_) => last.push(format!("box {label} is gone")),
                Departure::Left { .. } => exit = exit.max(Exit::Left),
            }
        }
        watched.finish();
        if labels.is_empty() {
            last.push("no box".to_owned());
        }
        if !context.style.is_json {
            context.style.result(&last.join("\n"));
        }
        if let Some(left) = watched.standing.left() {
            context.style.tell(&left);
        }
        Ok(exit)
    })
}

/// Returns every box that the journal or a provider of this machine knows.
async fn all(context: &Context, world: &World) -> Result<BTreeSet<Label>> {
    let mut labels: BTreeSet<Label> = boxes::holdings(&*world.journal)
        .await?
        .boxes
        .into_keys()
        .collect();
    for (name, provider) in &world.providers {
        let Some(listing) = provider.listing() else {
            continue;
        };
        match listing.list().await {
            Ok(listed) => labels.extend(listed.into_iter().filter_map(|listed| Some(listed.tags?.label))),
            Err(error) => context
                .style
                .tell(&format!("warning: {name} could not be asked: {error}")),
        }
    }
    Ok(labels)
}
