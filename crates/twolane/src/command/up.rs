//! `twolane up`: a lane's box with stage 1 behind it and the sources on it, which stays until its deadline.

use model::{machine::Machine, plan::Keep, time::Deadline, verdict::Verdict, world::World};
use serde::Serialize;

use super::{
    boxes,
    run::{carry_out_new, planned},
};
use crate::{
    args::UpArgs,
    context::Context,
    exit::Exit,
    planning,
    problem::{Problem, Result},
    project,
    world::block_on,
};

/// Brings it up.
pub(crate) fn run(context: &Context, args: &UpArgs) -> Result {
    let mut project = project::find(&context.dir)?;
    project.config.local.is_cold |= args.boxes.cold;
    let names: Vec<&str> = project
        .config
        .lanes
        .iter()
        .map(|lane| lane.name.as_str())
        .collect();
    let lane = match (&args.lane, names.as_slice()) {
        (Some(lane), _) => lane.clone(),
        (None, [one]) => (*one).to_owned(),
        (None, names) => {
            return Err(Problem::usage("could not determine which lane's box to bring up")
                .because(format!("the lanes are: {}", names.join(", ")))
                .help(format!("name one: twolane up {}", names[0])));
        }
    };
    let mut asked = planning::asked_of_boxes(&args.boxes)?;
    asked.lanes = vec![lane];
    let mut plan = planned(context, &project, &asked)?;
    plan.keep = Keep::Passed;
    let Some(lane) = plan.lanes.first() else {
        return Err(Problem::usage("could not find the lane"));
    };
    block_on(async {
        let (watched, verdict) = carry_out_new(context, &project, &plan).await?;
        if verdict == Verdict::Passed {
            let held = boxes::held(&*watched.world.journal, &lane.label).await?;
            let deadline = held.tags.deadline;
            show(
                context,
                &lane.name,
                &boxes::machine(held)?,
                deadline,
                &watched.world,
            );
        }
        if let Some(left) = watched.standing.left() {
            context.style.message(&left);
        }
        Ok(Exit::from(verdict))
    })
}

#[derive(Serialize)]
struct Document<'a> {
    machine: &'a Machine,
    lane: &'a str,
    deadline: Deadline,
    dead_mans_switch: Option<String>,
}

fn show(context: &Context, lane: &str, machine: &Machine, deadline: Deadline, world: &World) {
    let document = Document {
        machine,
        lane,
        deadline,
        dead_mans_switch: world
            .providers
            .get(&machine.provider)
            .map(|provider| provider.profile().dead_mans_switch.clone()),
    };
    if context.style.is_json {
        return context.style.line(&document);
    }
    let label = &machine.label;
    let dead_mans_switch = document.dead_mans_switch.unwrap_or_default();
    context.style.result(&format!(
        "box {label} is up at {} port {}, until {}: {dead_mans_switch}\n\
         \x20 twolane test {label}    copies the source and runs the checks\n\
         \x20 twolane ssh {label}     logs in\n\
         \x20 twolane down {label}    destroys it",
        machine.address,
        machine.port,
        deadline.moment()
    ));
}
