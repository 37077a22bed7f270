//! Destroys boxes that nobody owns any more: found by tag at every provider, and by the journal.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
};

use futures::{
    future::{join, join_all},
    stream::{self, StreamExt},
};
use model::{
    error::{JournalError, ProviderError},
    event::Event,
    journal::Holdings,
    machine::Listed,
    name::{Label, ProviderName, RunId},
    plan::Plan,
    reap::{JournalView, Picked, ReapTarget, pick, superseded},
    scope::{Inventory, Lists},
    time::Timestamp,
    world::World,
};

use crate::{
    down::{DestroyOutcome, Terms, down_of_run, down_target},
    time::unless_stopped,
};

/// How many boxes of one provider are destroyed at once: what a rate limit makes wait for too long is given up, so that side
/// by side without end none would get through.
const AT_ONCE: usize = 100;

/// What the providers list as ours, and what could not be asked.
#[derive(Debug, Default)]
pub struct Survey {
    /// What is listed, by provider.
    pub listed: Vec<(ProviderName, Listed)>,
    /// The moment by each provider's own clock, where it reports that.
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
        join_all(asked.map(|(name, listing)| async move { (name, listing, listing.inventory().await) }))
            .await;
    let mut survey = Survey::default();
    for (name, listing, answer) in answers {
        survey.clocks.extend(listing.now().map(|now| (name.clone(), now)));
        match answer {
            Ok(Inventory { things, gaps }) => {
                let things = things.into_iter().map(|listed| (name.clone(), listed));
                survey.listed.extend(things);
                for gap in gaps {
                    let text = gap.to_string();
                    match gap.is_denied() {
                        true => world.emit(None, Event::Notice { text }),
                        false => survey.failures.push(gap.error),
                    }
                }
            }
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
pub async fn plan_reap(
    world: &World,
    is_dry_run: bool,
) -> Result<(Picked, Vec<ProviderError>), JournalError> {
    let before = world.journal.holdings().await?;
    let mut decided = Decided::default();
    decided.take(owning(&before), is_dry_run, world).await?;
    let Survey {
        listed,
        clocks,
        failures,
    } = survey(world).await;
    let tags = listed.iter().filter_map(|(_, listed)| listed.tags.as_ref());
    let listed_runs = tags
        .map(|tags| tags.run.clone())
        .filter(|run| before.runs.contains_key(run));
    decided.take(listed_runs.collect(), is_dry_run, world).await?;
    // Read again now that nobody else takes those runs up.
    let holdings = world.journal.holdings().await?;
    let alive = decided.alive_in(&holdings);
    let ended = before
        .runs
        .into_keys()
        .filter(|run| !alive.contains(run))
        .collect();
    let known = JournalView {
        holdings,
        alive,
        ended,
    };
    let here = world.clock.now();
    let now = |provider: &ProviderName| clocks.get(provider).copied().unwrap_or(here);
    Ok((pick(listed, &known, now), failures))
}

/// Returns the runs that may have a box.
fn owning(holdings: &Holdings) -> BTreeSet<RunId> {
    holdings.boxes.values().map(|held| held.run.clone()).collect()
}

/// The runs about which it was found out whether another live process holds them.
#[derive(Default)]
struct Decided {
    all: BTreeSet<RunId>,
    alive: BTreeSet<RunId>,
}

impl Decided {
    /// Finds it out of more runs; unless it is only a look, by taking their locks.
    async fn take(
        &mut self,
        runs: BTreeSet<RunId>,
        is_dry_run: bool,
        world: &World,
    ) -> Result<(), JournalError> {
        for run in runs {
            let is_alive = match is_dry_run {
                true => world.journal.is_held(&run).await?,
                false => !world.journal.hold(&run).await?,
            };
            if is_alive {
                self.alive.insert(run.clone());
            }
            self.all.insert(run);
        }
        Ok(())
    }

    /// Returns the runs that are alive as far as is known: one that began meanwhile is.
    fn alive_in(self, holdings: &Holdings) -> BTreeSet<RunId> {
        let new = owning(holdings).into_iter().filter(|run| !self.all.contains(run));
        new.chain(self.alive.iter().cloned()).collect()
    }
}

/// Destroys boxes, as many side by side as get through their provider's limits. Returns how each ended, in order of label
/// and run.
pub async fn destroy(targets: Vec<ReapTarget>, world: &World) -> Vec<(ReapTarget, DestroyOutcome)> {
    destroy_each(targets, true, world).await
}

async fn destroy_each(
    targets: Vec<ReapTarget>,
    is_overdue: bool,
    world: &World,
) -> Vec<(ReapTarget, DestroyOutcome)> {
    let mut groups: BTreeMap<Option<ProviderName>, Vec<ReapTarget>> = BTreeMap::new();
    for target in targets {
        let at = target.things.first().map(|(name, _)| name.clone());
        groups.entry(at).or_default().push(target);
    }
    let outcomes = groups.into_values().map(|group| {
        let lists = if group.len() > 1 {
            Lists::Shared
        } else {
            Lists::Own
        };
        let terms = Terms { is_overdue, lists };
        let outcomes = group.into_iter().map(move |target| async move {
            let outcome = down_target(&target, terms, world).await;
            (target, outcome)
        });
        stream::iter(outcomes)
            .buffer_unordered(AT_ONCE)
            .collect::<Vec<_>>()
    });
    let mut ended: Vec<_> = join_all(outcomes).await.into_iter().flatten().collect();
    ended.sort_by(|(one, _), (other, _)| (&one.label, &one.run).cmp(&(&other.label, &other.run)));
    ended
}

/// Carries out the work of a run, and destroys what other runs of this machine left whose processes died: what has a
/// label that the plan wants before it, the rest beside it. A run that is resumed leaves the others alone: they
/// may be resumed too.
pub async fn beside_leftovers<T>(plan: &Plan, world: &World, work: impl Future<Output = T>) -> T {
    let (wanted, others) = match leftovers(plan, world).await {
        Ok(left) => left
            .into_iter()
            .partition(|(label, _)| plan.lanes.iter().any(|lane| lane.label == *label)),
        Err(error) => {
            let text = format!("could not look for what runs left that were cut off: {error}");
            world.emit(None, Event::Notice { text });
            (Vec::new(), Vec::new())
        }
    };
    finish(wanted, world).await;
    join(work, finish(others, world)).await.0
}

/// Returns what runs left whose processes died, and takes those runs' locks, so that nobody takes them up meanwhile.
/// What its user keeps is not among it: whether that is overdue is for `reap` to say, by the provider's clock.
async fn leftovers(plan: &Plan, world: &World) -> Result<Vec<(Label, RunId)>, JournalError> {
    let before = world.journal.holdings().await?;
    if before.boxes_of(&plan.run).next().is_some() {
        return Ok(Vec::new());
    }
    let mut decided = Decided::default();
    decided.take(owning(&before), false, world).await?;
    // Read again now that nobody else takes those runs up.
    let holdings = world.journal.holdings().await?;
    let alive = decided.alive_in(&holdings);
    let left = holdings.boxes.into_iter();
    Ok(left
        .filter(|(_, held)| !held.is_kept && !alive.contains(&held.run))
        .map(|(label, held)| (label, held.run))
        .collect())
}

/// Destroys boxes that were left, as far as the user does not ask to stop: what remains is there for the next one.
async fn finish(left: Vec<(Label, RunId)>, world: &World) {
    let runs: BTreeSet<&RunId> = left.iter().map(|(_, run)| run).collect();
    for run in runs {
        let labels = left.iter().filter(|(_, of)| of == run);
        let names: Vec<&str> = labels.map(|(label, _)| label.as_str()).collect();
        let text = format!("run {run} was left unfinished; destroying {}", names.join(", "));
        world.emit(None, Event::Notice { text });
    }
    let outcomes = left.iter().map(|(label, run)| async move {
        let outcome = down_of_run(label, run, None, world).await;
        emit_outcome(label, run, &outcome, world);
    });
    unless_stopped(world, join_all(outcomes)).await;
}

/// Says what became of a box of another run.
fn emit_outcome(label: &Label, run: &RunId, outcome: &DestroyOutcome, world: &World) {
    let text = match outcome {
        DestroyOutcome::Gone(_) => format!("box {label} of the older run {run} is gone"),
        DestroyOutcome::Left { why } => {
            format!("box {label} of the older run {run} may still be there: {why}")
        }
    };
    world.emit(None, Event::Notice { text });
}

/// Destroys the boxes of older runs of the same repository and branch or pull request, where a lane asks for that. What
/// its user keeps stays, as far as this machine's journal knows.
pub(crate) async fn supersede(plan: &Plan, world: &World) {
    if !plan.lanes.iter().any(|lane| lane.supersede) {
        return;
    }
    let replace = async {
        let Survey { listed, failures, .. } = survey(world).await;
        for failure in failures {
            let text = format!("boxes of an older run may be left: {failure}");
            world.emit(None, Event::Notice { text });
        }
        let kept = match kept(world).await {
            Ok(kept) => kept,
            Err(error) => {
                let text = format!("boxes of an older run are left to their deadlines: {error}");
                return world.emit(None, Event::Notice { text });
            }
        };
        let mut targets = superseded(listed, &plan.owner, &plan.run);
        targets.retain(|target| !kept.contains(&(target.label.clone(), target.run.clone())));
        for (target, outcome) in destroy_each(targets, false, world).await {
            emit_outcome(&target.label, &target.run, &outcome, world);
        }
    };
    // What is left of it is overdue one day.
    unless_stopped(world, replace).await;
}

/// Returns the boxes that their user keeps.
async fn kept(world: &World) -> Result<BTreeSet<(Label, RunId)>, JournalError> {
    let held = world.journal.holdings().await?.boxes.into_iter();
    let kept = held.filter(|(_, held)| held.is_kept);
    Ok(kept.map(|(label, held)| (label, held.run)).collect())
}
