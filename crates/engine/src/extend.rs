//! Moves the deadline of a box: in the journal, in its tags, on the box, and in the provider's own switch.

use model::{
    journal::Fact,
    name::Label,
    time::{Deadline, between},
    world::{Target, World},
};

use crate::{link::Link, open::tool, time::within};

/// How long a box that does not answer is called.
const CALL_MAX: std::time::Duration = std::time::Duration::from_secs(20);

/// One place that a deadline is kept in, and why it could not be moved there, if so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moved {
    /// Such as `the journal`.
    pub place: &'static str,
    /// Why the old deadline still stands there.
    pub failure: Option<String>,
}

/// Moves the deadline of a box in every place that keeps it. The journal comes last when it gets later and first when
/// it gets sooner would be one way; here it comes first, since `reap` goes by the tags, which are moved next.
pub async fn extend(label: &Label, deadline: Deadline, world: &World) -> Result<Vec<Moved>, String> {
    let holdings = world.journal.holdings().await;
    let held = holdings.map_err(|error| error.to_string())?.boxes.remove(label);
    let held =
        held.ok_or_else(|| format!("there is no box {label}; `twolane ls` shows those that are there"))?;
    let machine = held
        .machine
        .ok_or_else(|| format!("box {label} has no address yet"))?;

    let fact = Fact::Extended {
        label: label.clone(),
        deadline,
    };
    let mut moved = vec![Moved {
        place: "the journal",
        failure: world
            .journal
            .append(&held.run, fact)
            .await
            .err()
            .map(|error| error.to_string()),
    }];

    let provider = world.providers.get(&machine.provider);
    moved.push(Moved {
        place: "the tags and the provider's own switch",
        failure: match provider.and_then(|provider| provider.own_deadline()) {
            Some(switch) => switch
                .move_deadline(label, deadline)
                .await
                .err()
                .map(|error| error.to_string()),
            None => Some(format!("{} cannot move a deadline", machine.provider)),
        },
    });

    let link = Link::to(Target::root_of(&machine));
    let order = tool(["set-deadline".to_owned(), deadline.unix().to_string()]);
    // The provider may have taken longer than the box has left.
    let left = between(world.clock.now(), deadline.moment());
    let failure = if left.is_zero() {
        Some("the deadline came first".to_owned())
    } else {
        match within(world, CALL_MAX.min(left), link.run(world, &order)).await {
            Some(outcome) => outcome.err().map(|error| error.to_string()),
            None => Some("the box does not answer".to_owned()),
        }
    };
    moved.push(Moved {
        place: "the timer on the box",
        failure,
    });
    Ok(moved)
}
