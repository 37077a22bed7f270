//! Destroys boxes that nobody owns any more: found by tag at every provider, and by the journal.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::join_all;
use model::{
    error::{JournalError, ProviderError},
    event::Event,
    journal::Holdings,
    machine::Listed,
    name::{ProviderName, RunId},
    plan::Plan,
    reap::{Doomed, Known, Picked, pick, superseded},
    time::Timestamp,
    world::World,
};

use crate::{
    down::{Departure, down_of_run},
    time::unless_stopped,
};

/// What the providers list as ours, and what could not be asked.
#[derive(Debug, Default)]
pub struct Survey {
    /// What is listed, by provider.
    pub listed: Vec<(ProviderName, Listed)>,
    /// The moment by each provider's own clock, where it tells that.
    pub clocks: BTreeMap<ProviderName, Timestamp>,
    /// Providers that could not be asked.
    pub failures: Vec<ProviderError>,
}

/// Asks every provider, side by side, for what is ours.
pub async fn survey(world: &World) -> Survey {
    let asked = world
        .providers
        .iter()
        .filter_map(|(name, provider)| Some((name, provider.listing()?)));
    let answers =
        join_all(asked.map(|(name, listing)| async move { (name, listing, listing.list().await) })).await;
    let mut survey = Survey::default();
    for (name, listing, answer) in answers {
        survey.clocks.extend(listing.now().map(|now| (name.clone(), now)));
        match answer {
            Ok(listed) => survey
                .listed
                .extend(listed.into_iter().map(|listed| (name.clone(), listed))),
            Err(error) => survey.failures.push(error),
        }
    }
    survey
}

/// Decides what is to be destroyed: what is overdue, and what a run left that is known to have ended.
/// Never a box with a live run, nor one that its user keeps, before its deadline. Returns the providers too that could
/// not be asked.
///
/// Unless it is only a look, this process takes the locks of the runs that it decides about, and so keeps others from
/// taking them up in the meantime.
pub async fn doom(world: &World, is_look: bool) -> Result<(Picked, Vec<ProviderError>), JournalError> {
    let before = Holdings::fold(&world.journal.entries().await?);
    let mut alive = BTreeSet::new();
    let owning: BTreeSet<RunId> = before.boxes.values().map(|held| held.run.clone()).collect();
    note_alive(owning, is_look, &mut alive, world).await?;
    let Survey {
        listed,
        clocks,
        failures,
    } = survey(world).await;
    let tags = listed.iter().filter_map(|(_, listed)| listed.tags.as_ref());
    let listed_runs = tags
        .map(|tags| tags.run.clone())
        .filter(|run| before.runs.contains_key(run));
    note_alive(listed_runs.collect(), is_look, &mut alive, world).await?;
    // Read again now that nobody else takes those runs up.
    let holdings = Holdings::fold(&world.journal.entries().await?);
    let ended = before
        .runs
        .into_keys()
        .filter(|run| !alive.contains(run))
        .collect();
    let known = Known {
        holdings,
        alive,
        ended,
    };
    let here = world.clock.now();
    let now = |provider: &ProviderName| clocks.get(provider).copied().unwrap_or(here);
    Ok((pick(listed, &known, now), failures))
}

/// Adds those of the runs that another live process holds.
async fn note_alive(
    runs: BTreeSet<RunId>,
    is_look: bool,
    alive: &mut BTreeSet<RunId>,
    world: &World,
) -> Result<(), JournalError> {
    for run in runs {
        let is_alive = match is_look {
            true => world.journal.is_held(&run).await?,
            false => !world.journal.hold(&run).await?,
        };
        if is_alive {
            alive.insert(run);
        }
    }
    Ok(())
}

/// Destroys boxes side by side. Returns how each ended.
pub async fn destroy(doomed: Vec<Doomed>, world: &World) -> Vec<(Doomed, Departure)> {
    let departures = doomed.into_iter().map(|doomed| async move {
        let departure = down_of_run(&doomed.label, &doomed.run, None, world).await;
        (doomed, departure)
    });
    join_all(departures).await
}

/// Destroys the boxes of older runs of the same repository and branch or pull request, where a lane asks for that.
pub(crate) async fn supersede(plan: &Plan, world: &World) {
    if !plan.lanes.iter().any(|lane| lane.supersede) {
        return;
    }
    let replace = async {
        let Survey { listed, failures, .. } = survey(world).await;
        for failure in failures {
            let text = format!("boxes of an older run may be left: {failure}");
            world.tell(None, Event::Notice { text });
        }
        for (doomed, departure) in destroy(superseded(listed, &plan.owner, &plan.run), world).await {
            let text = match departure {
                Departure::Gone(_) => format!("box {} of the older run {} is gone", doomed.label, doomed.run),
                Departure::Left { why } => {
                    format!(
                        "box {} of the older run {} may still be there: {why}",
                        doomed.label, doomed.run
                    )
                }
            };
            world.tell(None, Event::Notice { text });
        }
    };
    // What is left of it is overdue one day.
    unless_stopped(world, replace).await;
}
