//! `twolane extend`: moves a box's deadline, everywhere it is kept.

use model::report::Report;
use model::time::{Deadline, Timestamp};
use serde::Serialize;

use super::boxes;
use crate::{
    args::{ExtendArgs, HowFar},
    context::Context,
    exit::Exit,
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
    use std::time::Duration;

    use super::*;

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
