//! `twolane down`: destroys boxes, and confirms that they are gone.

use std::{collections::BTreeSet, sync::Arc};

use engine::{
    down::{DestroyOutcome, down, down_of_run},
    reap::{Survey, survey},
};
use futures::future::join_all;
use model::{
    config::{self, nearest},
    journal::Holdings,
    name::{Label, ProviderName, RunId},
    report::Report,
    tags::{OwnerIs, Tags},
    world::{Provider, World},
};

use super::boxes;
use crate::{
    args::DownArgs,
    context::Context,
    exit::Exit,
    owner,
    problem::{Problem, Result},
    world::{Watched, block_on},
};

/// Destroys one box, or all.
pub(crate) fn run(context: &Context, args: &DownArgs) -> Result {
    if args.all && args.label.is_some() {
        return Err(Problem::usage("could not determine what to destroy")
            .because("a label was given, and --all too")
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
        let found = match &args.label {
            Some(label) => {
                refuse_unknown(label, &watched.world).await?;
                Found {
                    boxes: BTreeSet::from([(label.clone(), None)]),
                    ..Found::default()
                }
            }
            None => all(context, &watched.world).await?,
        };
        let world = &watched.world;
        let outcomes = found.boxes.iter().map(|(label, run)| async move {
            let outcome = match run {
                Some(run) => down_of_run(label, run, None, world).await,
                None => down(label, None, world).await,
            };
            (label, outcome)
        });
        let mut exit = found.exit();
        let mut last = Vec::new();
        for (label, outcome) in join_all(outcomes).await {
            match outcome {
                DestroyOutcome::Gone(resources) if resources.is_empty() => {
                    last.push(format!("box {label} was not there"))
                }
                DestroyOutcome::Gone(_) => last.push(format!("box {label} is gone")),
                DestroyOutcome::Left { .. } => exit = exit.max(Exit::Left),
            }
        }
        watched.finish();
        if found.boxes.is_empty() {
            last.push("no box".to_owned());
        }
        if found.others > 0 {
            last.push(format!(
                "{} of other machines stay: `twolane ls` lists them, `twolane down LABEL` destroys one",
                found.others
            ));
        }
        if !context.style.is_json {
            context.style.result(&last.join("\n"));
        }
        for provider in &found.unreachable {
            context.style.message(&format!(
                "error: boxes at {provider} may be left, as it could not be asked; when it can: twolane reap --provider {provider}"
            ));
        }
        if let Some(left) = watched.standing.left() {
            context.style.message(&left);
        }
        Ok(exit)
    })
}

/// Refuses a label that no box has and no box of this journal had. One that some provider could not say is not refused.
async fn refuse_unknown(label: &Label, world: &World) -> Result<()> {
    let entries = world.journal.entries().await?;
    if entries.iter().any(|entry| entry.fact.label() == Some(label)) {
        return Ok(());
    }
    let Survey { listed, failures, .. } = survey(world).await;
    let says_nothing = |provider: &Arc<dyn Provider>| provider.listing().is_none();
    if !failures.is_empty() || world.providers.values().any(says_nothing) {
        return Ok(());
    }
    let held = Holdings::fold(&entries).boxes.into_keys();
    let labels: BTreeSet<Label> = listed
        .into_iter()
        .filter_map(|(_, listed)| Some(listed.tags?.label))
        .chain(held)
        .collect();
    if labels.contains(label) {
        return Ok(());
    }
    let names: Vec<&str> = labels.iter().map(Label::as_str).collect();
    let problem = Problem::usage(format!("could not find a box `{label}`"));
    let problem = match names.is_empty() {
        true => problem.because("there is no box"),
        false => problem.because(format!("the boxes are: {}", names.join(", "))),
    };
    Err(match nearest(label.as_str(), names) {
        Some(name) => problem.help(format!("did you mean `{name}`? twolane down {name}")),
        None => problem,
    })
}

/// What `--all` means.
#[derive(Default)]
struct Found {
    /// The boxes; with their run where the journal does not know them.
    boxes: BTreeSet<(Label, Option<RunId>)>,
    /// How many boxes were made from other machines.
    others: usize,
    /// Providers that could not be asked.
    unreachable: Vec<ProviderName>,
}

impl Found {
    fn exit(&self) -> Exit {
        match self.unreachable.is_empty() {
            true => Exit::Passed,
            false => Exit::Left,
        }
    }
}

/// Finds every box that was made from this machine: what its journal knows, and what carries its name at a provider.
async fn all(context: &Context, world: &World) -> Result<Found> {
    let known: BTreeSet<Label> = boxes::holdings(&*world.journal)
        .await?
        .boxes
        .into_keys()
        .collect();
    let Survey { listed, failures, .. } = survey(world).await;
    let mut found = Found::default();
    for error in failures {
        context.style.message(&format!("warning: {error}"));
        found.unreachable.push(error.provider);
    }
    let here = owner::this_host().and_then(|host| format!("host={host}").parse::<OwnerIs>().ok());
    let is_here = |at: &ProviderName, tags: &Tags| {
        let is_local = world
            .providers
            .get(at)
            .is_some_and(|provider| !provider.profile().has_own_network);
        is_local || here.as_ref().is_some_and(|here| here.is_of(&tags.owner))
    };
    let mut others = BTreeSet::new();
    for (at, listed) in listed {
        let Some(tags) = listed.tags else { continue };
        if known.contains(&tags.label) {
            continue;
        }
        match is_here(&at, &tags) {
            true => found.boxes.insert((tags.label, Some(tags.run))),
            false => others.insert((tags.label, tags.run)),
        };
    }
    found.others = others.len();
    found.boxes.extend(known.into_iter().map(|label| (label, None)));
    Ok(found)
}
