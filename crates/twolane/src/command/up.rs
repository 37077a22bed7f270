//! `twolane up`: a lane's box with stage 1 behind it and the sources on it, which stays until its deadline.

use engine::{
    Lane, Link,
    down::{DestroyOutcome, down_own},
    reap::beside_leftovers,
    run::{begin, end, refused},
};
use futures::future::{Either, select};
use model::{
    event::Event,
    journal::Fact,
    machine::Machine,
    plan::{LanePlan, Plan},
    report::Report,
    time::Deadline,
    verdict::Verdict,
    world::World,
};
use serde::Serialize;

use super::{
    Context, boxes,
    run::{cannot_run, keep_baseline, refuse_taken},
};
use crate::{
    args::UpArgs,
    exit::Exit,
    planning,
    problem::{Problem, Result},
    project, reach,
    show::record,
    world::{Watched, block_on, cannot_write, journal, providers},
};

/// Brings it up.
pub(crate) fn run(context: &Context, args: &UpArgs) -> Result {
    let paths = context.paths()?;
    let project = project::find(&context.dir)?;
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
    let providers = providers(&paths, &project.config.local)?;
    let mut plan = planning::plan(&project, &asked, &providers, &paths, planning::Look::Whole)?
        .able()?
        .plan;
    reach::settle(&mut plan, &providers)?;
    let Some(lane) = plan.lanes.first() else {
        return Err(Problem::usage("could not find the lane"));
    };
    block_on(async {
        let journal = journal(&paths)?;
        refuse_taken(&plan, &*journal).await?;
        drop(journal);
        let dir = paths.run(&plan.run);
        let watched = Watched::open(
            context,
            &paths,
            &project.config.local,
            Some(&dir),
            Report::default(),
        )?;
        record::write_plan(&dir, &plan).map_err(|error| cannot_write(&dir, &error))?;
        keep_baseline(&project, &dir)?;
        begin(&plan, &watched.world).await.map_err(cannot_run)?;
        let upping = bring_up(&plan, lane, &watched.world);
        let (verdict, machine) = beside_leftovers(&plan, &watched.world, upping).await;
        end(&plan, &watched.world, verdict).await;
        watched.finish();
        if let (Verdict::Passed, Some(machine)) = (verdict, machine) {
            let held = boxes::held(&*watched.world.journal, &lane.label).await?;
            show(context, &lane.name, &machine, held.tags.deadline, &watched.world);
        }
        if let Some(left) = watched.standing.left() {
            context.style.message(&left);
        }
        Ok(Exit::from(verdict))
    })
}

/// Brings the box up and keeps it, or destroys whatever was made of it.
async fn bring_up(plan: &Plan, lane: &LanePlan, world: &World) -> (Verdict, Option<Machine>) {
    let emit = |event| world.emit(Some(&lane.name), event);
    emit(Event::LaneBegan {
        label: lane.label.clone(),
        need: lane.need,
        checks: Vec::new(),
    });
    let on = Lane { plan, lane, world };
    let link = Link::default();
    let upping = Box::pin(async {
        let machine = engine::up::up(&on, &link).await?;
        match lane.has_deploy {
            true => engine::deploy::deploy(&on, &link, false).await?,
            false => engine::deploy::hand_over(&on, &link).await?,
        }
        Ok(machine)
    });
    let upped = match select(upping, world.stop.asked()).await {
        Either::Left((upped, _)) => upped.map_err(|refusal| refused(&on, refusal)),
        Either::Right(((), _)) => {
            emit(Event::Interrupted);
            Err(Verdict::Interrupted)
        }
    };
    let (verdict, machine) = match upped {
        Ok(machine) => {
            let kept = Fact::Kept {
                label: lane.label.clone(),
            };
            match world.journal.append(&plan.run, kept).await {
                Ok(()) => (Verdict::Passed, Some(machine)),
                // What cannot be recorded as kept would be taken for left over.
                Err(error) => {
                    emit(Event::LaneFailed {
                        why: error.to_string(),
                        help: None,
                    });
                    (Verdict::Infrastructure, None)
                }
            }
        }
        Err(verdict) => (verdict, None),
    };
    let verdict = match verdict {
        Verdict::Passed => verdict,
        _ => match down_own(&on).await {
            DestroyOutcome::Gone(_) => verdict,
            DestroyOutcome::Left { .. } => Verdict::Left,
        },
    };
    emit(Event::LaneEnded { verdict });
    (verdict, machine)
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
            .map(|provider| provider.dead_mans_switch()),
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
