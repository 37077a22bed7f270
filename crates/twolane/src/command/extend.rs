//! `twolane extend`: moves a box's deadline, everywhere it is kept.

use std::time::Duration;

use model::{
    config::TTL_MAX,
    journal::Held,
    money::Money,
    plan::{price_of, why_dear},
    price::Price,
    report::Report,
    time::{Deadline, Timestamp, between, show_length},
    world::World,
};
use serde::Serialize;

use super::boxes;
use crate::{
    args::{ExtendArgs, HowFar},
    context::Context,
    exit::Exit,
    paths::Paths,
    problem::{Problem, Result},
    world::{Watched, block_on},
};

#[derive(Serialize)]
struct Document {
    label: String,
    deadline: Deadline,
    places: Vec<Place>,
}

#[derive(Serialize)]
struct Place {
    place: String,
    failure: Option<String>,
}

/// Moves it.
pub(crate) fn run(context: &Context, args: &ExtendArgs) -> Result {
    let paths = context.paths()?;
    block_on(async {
        let watched = Watched::open(
            context,
            &paths,
            &model::config::Local::default(),
            None,
            Report::default(),
        )?;
        let world = &watched.world;
        boxes::notice_unfinished(context, &paths, &*world.journal).await?;
        let held = boxes::held(&*world.journal, &args.label).await?;
        let now = Timestamp::now();
        let deadline = moved(held.tags.deadline, &args.how, now);
        if deadline.is_over(now) {
            return Err(
                Problem::usage(format!("could not move the deadline of {}", args.label))
                    .because(format!("{} has passed", deadline.moment()))
                    .help(format!("twolane down {} destroys the box now", args.label)),
            );
        }
        within_limits(&paths, &held, deadline, world)?;
        let places = engine::extend::extend(&args.label, deadline, world)
            .await
            .map_err(|why| {
                Problem::infrastructure(format!("could not move the deadline of {}", args.label)).because(why)
            })?;
        let document = Document {
            label: args.label.to_string(),
            deadline,
            places: places
                .into_iter()
                .map(|moved| Place {
                    place: moved.place.to_owned(),
                    failure: moved.failure,
                })
                .collect(),
        };
        watched.finish();
        Ok(print(context, &document))
    })
}

/// Refuses a deadline past the longest life of a box, or one until which the box could cost more than its plan allows.
fn within_limits(paths: &Paths, held: &Held, deadline: Deadline, world: &World) -> Result<()> {
    let life = between(held.since, deadline.moment());
    let problem = || Problem::usage(format!("could not move the deadline of {}", held.tags.label));
    if life > TTL_MAX {
        let last = Deadline::after(held.since, TTL_MAX);
        return Err(problem()
            .because(format!("a box lives for {} at most", show_length(TTL_MAX)))
            .help(format!("--to {} is the latest", last.moment())));
    }
    let Some(provider) = world.providers.get(&held.candidate.provider) else {
        return Ok(());
    };
    // A run whose directory was deleted has no limit on record.
    let Ok(plan) = boxes::plan_of(paths, held) else {
        return Ok(());
    };
    let price = price_of(&held.candidate, &**provider);
    let limits = plan.lanes.iter().map(|lane| &lane.max_cost);
    match too_dear(&price, life, limits.chain([&plan.max_cost])) {
        Some(why) => Err(problem()
            .because(why)
            .help("raise `max-cost` of its lane for the next run")),
        None => Ok(()),
    }
}

/// Says why a box that lives so long could cost more than one of the limits.
fn too_dear<'a>(
    price: &Price,
    life: Duration,
    mut limits: impl Iterator<Item = &'a Vec<Money>>,
) -> Option<String> {
    limits.find_map(|limit| why_dear(price, life, limit))
}

/// Returns the deadline that is meant. `--by` counts from the present deadline, or from now when that has passed.
fn moved(present: Deadline, how: &HowFar, now: Timestamp) -> Deadline {
    match (how.by, how.to) {
        (_, Some(to)) => Deadline::at_unix(to.as_second()),
        (Some(by), None) => Deadline::after(present.moment().max(now), by),
        (None, None) => present,
    }
}

fn print(context: &Context, document: &Document) -> Exit {
    if context.style.is_json {
        context.style.document(document);
    } else {
        let text = format!(
            "box {} now lives until {}",
            document.label,
            document.deadline.moment()
        );
        context.style.result(&text);
    }
    let mut exit = Exit::Passed;
    for Place { place, failure } in &document.places {
        if let Some(why) = failure {
            exit = Exit::Infrastructure;
            context.style.message(&format!(
                "warning: the old deadline still stands in {place}\n  because: {why}"
            ));
        }
    }
    exit
}

#[cfg(test)]
mod tests {
    use model::price::Billed;

    use super::*;

    #[test]
    fn every_limit_counts_until_the_new_deadline() {
        let money = |text| Money::parse(text).unwrap();
        let price = Price::Hourly {
            amount: money("2 USD"),
            day: "2026-11-23".to_owned(),
            billed: Billed::BY_SECOND,
        };
        let hours = |count: u64| Duration::from_secs(count * 3600);
        let limits = [vec![money("9 USD")], vec![money("5 USD")]];
        assert_eq!(too_dear(&price, hours(2), limits.iter()), None);
        assert!(
            too_dear(&price, hours(3), limits.iter())
                .unwrap()
                .contains(&limits[1][0].to_string())
        );
        assert_eq!(too_dear(&price, hours(40), [].iter()), None);
    }

    #[test]
    fn by_counts_from_the_deadline_that_stands() {
        let now = Timestamp::from_second(1_000).unwrap();
        let by = HowFar {
            by: Some(Duration::from_secs(60)),
            to: None,
        };
        assert_eq!(moved(Deadline::at_unix(2_000), &by, now).unix(), 2_060);
        assert_eq!(moved(Deadline::at_unix(500), &by, now).unix(), 1_060);
        let to = HowFar {
            by: None,
            to: Some(Timestamp::from_second(3_000).unwrap()),
        };
        assert_eq!(moved(Deadline::at_unix(2_000), &to, now).unix(), 3_000);
    }
}
