//! Destroys boxes that nobody owns any more: found by tag at every provider, and by the journal.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::join_all;
use model::{
    error::{JournalError, ProviderError},
    journal::{Holdings, RunRecord},
    machine::Listed,
    name::{Label, ProviderName, RunId},
    reap::{orphans, why_doomed},
    world::World,
};

use crate::down::{Departure, down};

/// What the providers list as ours, and what could not be asked.
#[derive(Debug, Default)]
pub struct Survey {
    /// What is listed, by provider.
    pub listed: Vec<(ProviderName, Listed)>,
    /// Providers that could not be asked.
    pub failures: Vec<ProviderError>,
}

/// Asks every provider, side by side, for what is ours.
pub async fn survey(world: &World) -> Survey {
    let asked = world
        .providers
        .iter()
        .filter_map(|(name, provider)| Some((name, provider.listing()?)));
    let answers = join_all(asked.map(|(name, listing)| async move { (name, listing.list().await) })).await;
    let mut survey = Survey::default();
    for (name, answer) in answers {
        match answer {
            Ok(listed) => survey
                .listed
                .extend(listed.into_iter().map(|listed| (name.clone(), listed))),
            Err(error) => survey.failures.push(error),
        }
    }
    survey
}

/// What is to be destroyed, and what has to be left to a person.
#[derive(Debug, Default)]
pub struct Doom {
    /// Why, by label.
    pub doomed: BTreeMap<Label, String>,
    /// Ours by its tag, but nothing else of it can be read.
    pub unreadable: Vec<(ProviderName, Listed)>,
    /// Providers that could not be asked.
    pub failures: Vec<ProviderError>,
}

/// Decides what is to be destroyed: what is overdue, and what a run left that is known to have ended.
/// Never a box with a live run, nor one that its user keeps, before its deadline.
pub async fn doom(world: &World) -> Result<Doom, JournalError> {
    let holdings = Holdings::fold(&world.journal.entries().await?);
    let (alive, ended) = runs(&holdings, world).await?;
    let now = world.clock.now();
    let kept = |label: &Label| holdings.boxes.get(label).is_some_and(|held| held.is_kept);
    let Survey { listed, failures } = survey(world).await;
    let mut doom = Doom {
        failures,
        ..Doom::default()
    };
    for (provider, listed) in listed {
        let Some(tags) = &listed.tags else {
            doom.unreadable.push((provider, listed));
            continue;
        };
        let ended = if kept(&tags.label) {
            &BTreeSet::new()
        } else {
            &ended
        };
        if let Some(why) = why_doomed(&listed, now, &alive, ended) {
            doom.doomed.entry(tags.label.clone()).or_insert(why);
        }
    }
    for (label, held) in orphans(&holdings, &alive, now) {
        let why = format!("its run {} was left unfinished", held.run);
        doom.doomed.entry(label.clone()).or_insert(why);
    }
    Ok(doom)
}

/// Returns the runs that a live process holds, and those that are known to have ended.
pub async fn runs(
    holdings: &Holdings,
    world: &World,
) -> Result<(BTreeSet<RunId>, BTreeSet<RunId>), JournalError> {
    let mut alive = BTreeSet::new();
    let mut ended = BTreeSet::new();
    for (run, RunRecord { verdict, .. }) in &holdings.runs {
        if verdict.is_none() && world.journal.is_held(run).await? {
            alive.insert(run.clone());
        } else {
            ended.insert(run.clone());
        }
    }
    Ok((alive, ended))
}

/// Destroys boxes side by side. Returns how each ended.
pub async fn destroy(labels: impl IntoIterator<Item = Label>, world: &World) -> BTreeMap<Label, Departure> {
    let departures = labels.into_iter().map(|label| async move {
        let departure = down(&label, None, world).await;
        (label, departure)
    });
    join_all(departures).await.into_iter().collect()
}
