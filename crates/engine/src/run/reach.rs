//! Who works on a box: one process of this machine at a time, since all share its sources and its build directory.

use std::time::Duration;

use model::{
    event::{Event, Step},
    machine::Machine,
    name::{LABEL_MAX, RunId},
};

use crate::{
    lane::{Lane, Refusal},
    link::Link,
    open::take_over,
};

/// How long a box that exists is called.
const REACH_MAX: Duration = Duration::from_secs(60);

/// How often is looked whether another process is through with the box.
const CLAIM_PAUSE: Duration = Duration::from_secs(2);

/// What the name of a box's lock begins with.
const LOCK: &str = "box-";

/// Claims the box that the lane is about to make. One that a resumed run has already may be worked on by another
/// process, which is waited for; a label that another process is about to use is not.
pub(super) async fn claim(lane: &Lane<'_>) -> Result<(), Refusal> {
    if is_claimed(lane).await? {
        return Ok(());
    }
    let holdings = lane.world.journal.holdings().await.map_err(Refusal::new)?;
    let held = holdings.boxes.get(&lane.lane.label);
    if held.is_some_and(|held| held.run == lane.plan.run) {
        return wait_for_claim(lane).await;
    }
    let label = &lane.lane.label;
    Err(Refusal::new(format!("another twolane makes box {label}")).help("choose another name with --label"))
}

/// Connects to a box that exists, when no other process works on it, brings this version's tool there, and ends what
/// processes that died have left running.
pub(super) async fn reach(lane: &Lane<'_>, link: &Link, machine: &Machine) -> Result<(), Refusal> {
    let machine = machine.clone();
    lane.emit(Event::MachineUp { machine });
    lane.step(Step::Connect, async {
        wait_for_claim(lane).await?;
        let label = &lane.lane.label;
        let unreachable = |error| {
            Refusal::new(format!("could not reach box {label}: {error}"))
                .help(format!("twolane logs {label} --console shows what it does"))
        };
        link.connect(lane.world, REACH_MAX).await.map_err(unreachable)?;
        take_over(lane.world, link, &lane.plan.run, &[])
            .await
            .map_err(unreachable)
    })
    .await
}

async fn wait_for_claim(lane: &Lane<'_>) -> Result<(), Refusal> {
    let mut is_said = false;
    while !is_claimed(lane).await? {
        if !is_said {
            lane.notice(format!(
                "waiting for another twolane, which works on box {}",
                lane.lane.label
            ));
        }
        is_said = true;
        lane.world.clock.sleep(CLAIM_PAUSE).await;
    }
    Ok(())
}

/// Takes the box's lock for as long as this process lives. Returns false when another process has it.
async fn is_claimed(lane: &Lane<'_>) -> Result<bool, Refusal> {
    // A lock is named like a run. The end of a label is what tells a project's boxes apart.
    let label = lane.lane.label.as_str();
    let tail = &label[(LOCK.len() + label.len()).saturating_sub(LABEL_MAX)..];
    let lock = RunId::new(format!("{LOCK}{tail}")).map_err(Refusal::new)?;
    lane.world.journal.hold(&lock).await.map_err(Refusal::new)
}
