//! What one process does in a simulation.

use std::{sync::Arc, time::Duration};

use engine::{
    FirstOf, Link,
    down::down,
    extend::extend,
    reap,
    run::{CannotRun, deploy, run, smoke, test},
};
use model::{
    journal::Held,
    machine::Machine,
    name::Label,
    plan::{Keep, Plan},
    time::Deadline,
    verdict::Verdict,
    world::World,
};

use super::plans;
use crate::{
    clock::{Ending, SimClock},
    record::Observation,
    world::Sim,
};

/// What one process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Carries out the plan, or resumes it: `twolane run`, or `twolane up` where its boxes are to stay.
    Run,
    /// `twolane up` under a label of its own, or that resumed.
    Up,
    /// `twolane test` of a box.
    Test,
    /// `twolane test --watch` of a box.
    Watch,
    /// `twolane smoke` of a box.
    Smoke,
    /// `twolane deploy` to a box.
    Deploy,
    /// `twolane test` of a box, and beside it another, or `twolane deploy`.
    TestTwice,
    /// A run, and `twolane test` of one of its boxes while it goes on.
    RunAndTest,
    /// Another run with the same labels, beside the first.
    Rival,
    /// Another run with the same labels, beside the first, on another machine.
    Stranger,
    /// A newer run of the same change, which takes the place of the first while that goes on.
    Newer,
    /// The same, on another machine.
    NewerElsewhere,
    /// `twolane extend`, for each box.
    Extend,
    /// `twolane down`, for each box.
    Down,
    /// `twolane reap`.
    Reap,
    /// A run, and `twolane reap` while it goes on.
    RunAndReap,
    /// A run, and `twolane reap` on another machine while it goes on.
    RunAndReapElsewhere,
    /// `twolane reap` on another machine.
    ReapElsewhere,
}

impl Action {
    pub(super) const ALL: [Self; 20] = [
        Self::Run,
        Self::Run,
        Self::Up,
        Self::Test,
        Self::Watch,
        Self::Smoke,
        Self::Deploy,
        Self::TestTwice,
        Self::TestTwice,
        Self::RunAndTest,
        Self::Rival,
        Self::Stranger,
        Self::Newer,
        Self::NewerElsewhere,
        Self::Extend,
        Self::Down,
        Self::Reap,
        Self::ReapElsewhere,
        Self::RunAndReap,
        Self::RunAndReapElsewhere,
    ];

    /// Returns how often it works on its box.
    fn rounds(self) -> u32 {
        if self == Self::Watch { 4 } else { 1 }
    }

    /// Returns the machine on which the second of its two processes lives.
    fn beside(self) -> usize {
        match self {
            Self::Stranger | Self::NewerElsewhere | Self::ReapElsewhere | Self::RunAndReapElsewhere => 1,
            Self::Run
            | Self::Up
            | Self::Test
            | Self::Watch
            | Self::Smoke
            | Self::Deploy
            | Self::TestTwice
            | Self::RunAndTest
            | Self::Rival
            | Self::Newer
            | Self::Extend
            | Self::Down
            | Self::Reap
            | Self::RunAndReap => 0,
        }
    }
}

/// Lets a process live, to its end or until it is killed.
pub(super) fn one_life(
    sim: &Sim,
    plan: &Plan,
    act: Action,
    kill_at: Option<u64>,
    stop: Option<Duration>,
    wrong: &mut Vec<String>,
) -> u64 {
    let first = Life::begin(sim, 0, stop);
    let second = Life::begin(sim, act.beside(), None);
    let ending = sim.clock.drive(kill_at, both(act, plan, &first, &second));
    if ending == Ending::Stuck {
        wrong.push(format!("{act:?} goes on for ever"));
    }
    for life in [first, second] {
        sim.reap_process(life.process, ending == Ending::Killed);
    }
    sim.clock.calls()
}

/// What the two processes of an action do. Most have nothing to do for the second.
async fn both(act: Action, plan: &Plan, first: &Life<'_>, second: &Life<'_>) {
    let clock = &first.sim.clock;
    match act {
        Action::Run => first.run(plan).await,
        Action::Up => first.run(&plans::up(plan)).await,
        Action::Test | Action::Watch | Action::Smoke | Action::Deploy => {
            if let Some(on) = a_box(first.sim) {
                first.work_on(&on, act).await;
            }
        }
        Action::TestTwice => {
            let Some(on) = a_box(first.sim) else { return };
            let other = if clock.happens(300) {
                Action::Deploy
            } else {
                Action::Test
            };
            let late = some_time(clock, 400);
            let later = async {
                clock.pass(late).await;
                second.work_on(&on, other).await;
            };
            futures::join!(first.work_on(&on, Action::Test), later);
        }
        Action::RunAndTest => {
            let late = some_time(clock, 900);
            let later = async {
                clock.pass(late).await;
                if let Some(on) = a_box(first.sim) {
                    second.work_on(&on, Action::Test).await;
                }
            };
            futures::join!(first.run(plan), later);
        }
        Action::Rival | Action::Stranger => {
            let other = plans::rival(first.sim, plan);
            // The first may have been cut off, or keep its boxes.
            let older = async {
                if clock.happens(700) {
                    first.run(plan).await;
                }
            };
            futures::join!(older, second.run(&other));
        }
        Action::Newer | Action::NewerElsewhere => {
            let other = plans::newer(first.sim, plan);
            first.sim.record.record(Observation::Supersedes {
                process: second.process,
                run: other.run.clone(),
            });
            let older = async {
                if clock.happens(500) {
                    first.run(plan).await;
                }
            };
            let newer = async {
                clock.pass(some_time(clock, 900)).await;
                second.run(&other).await;
            };
            futures::join!(older, newer);
        }
        Action::Extend => extend_all(first.sim, plan, &first.world).await,
        Action::Down => {
            let process = first.process;
            first.sim.record.record(Observation::DownAsked { process });
            futures::join!(second.reap(), down_all(plan, &first.world));
        }
        Action::RunAndReap | Action::RunAndReapElsewhere => {
            // A reap that is at work already when the run begins, or comes later.
            let (soon, late) = (some_time(clock, 3), some_time(clock, 900));
            let (to_run, to_reap) = match clock.happens(300) {
                true => (soon, Duration::ZERO),
                false => (Duration::ZERO, late),
            };
            let running = async {
                clock.pass(to_run).await;
                first.run(plan).await;
            };
            let reaping = async {
                clock.pass(to_reap).await;
                second.reap().await;
            };
            futures::join!(running, reaping);
        }
        Action::Reap | Action::ReapElsewhere => second.reap().await,
    }
}

fn some_time(clock: &SimClock, seconds: u64) -> Duration {
    clock.length(Duration::ZERO, Duration::from_secs(seconds))
}

/// One process.
pub(super) struct Life<'a> {
    sim: &'a Sim,
    pub(super) process: u32,
    world: World,
}

impl<'a> Life<'a> {
    /// Begins a process. `stop` is when its user asks it to stop, from now on.
    pub(super) fn begin(sim: &'a Sim, machine: usize, stop: Option<Duration>) -> Self {
        let (process, world) = sim.process(machine, stop);
        Self { sim, process, world }
    }

    /// Carries out a plan on boxes of its own, to the end of the process.
    pub(super) async fn run(&self, plan: &Plan) {
        record_end(self.sim, plan, run(plan, &self.world).await);
        self.sim.reap_process(self.process, false);
    }

    /// Works on a box that exists, to the end of the process.
    async fn work_on(&self, (held, machine): &(Held, Machine), act: Action) {
        let process = self.process;
        self.sim.record.record(Observation::WorksOn { process });
        let link = Link::at(machine);
        for _ in 0..act.rounds() {
            let plan = plans::on_box(self.sim, held);
            let outcome = match act {
                Action::Deploy => deploy(&plan, machine, false, &self.world).await,
                Action::Smoke => smoke(&plan, machine, &self.world).await,
                Action::Watch => test(&plan, machine, &link, &self.until_out_of_date()).await,
                _ => test(&plan, machine, &link, &self.world).await,
            };
            if let Ok(verdict) = outcome {
                let is_deploy = act == Action::Deploy;
                let run = plan.run;
                self.sim.record.record(Observation::WorkedOn {
                    run,
                    verdict,
                    is_deploy,
                });
            }
            if self.world.stop.is_asked() {
                break;
            }
        }
        self.sim.reap_process(self.process, false);
    }

    /// Returns the world in which a run may be out of date before its end, and is stopped then.
    fn until_out_of_date(&self) -> World {
        let clock = &self.sim.clock;
        let change = clock.happens(600).then(|| some_time(clock, 200));
        let stop = FirstOf(self.world.stop.clone(), Arc::new(self.sim.stop(change)));
        World {
            stop: Arc::new(stop),
            ..self.world.clone()
        }
    }

    /// Calls `twolane reap`.
    pub(super) async fn reap(&self) {
        if let Ok((picked, _)) = reap::plan_reap(&self.world, false).await {
            reap::destroy(picked.targets, &self.world).await;
        }
    }
}

/// Returns one of the boxes that the first machine knows to be up.
fn a_box(sim: &Sim) -> Option<(Held, Machine)> {
    let boxes = sim.machines[0].disk.holdings().boxes.into_values();
    let mut up: Vec<_> = boxes
        .filter_map(|held| Some((held.clone(), held.machine?)))
        .collect();
    let index = sim.clock.below(up.len().max(1) as u64) as usize;
    (index < up.len()).then(|| up.swap_remove(index))
}

fn record_end(sim: &Sim, plan: &Plan, ending: Result<Verdict, CannotRun>) {
    // A run that could not begin made nothing; that is for `nothing_left` to see.
    let Ok(verdict) = ending else { return };
    let kept = sim.machines.each_ref().map(|machine| machine.disk.holdings());
    let is_kept = |label: &Label| {
        let boxes = kept.iter().filter_map(|holdings| holdings.boxes.get(label));
        boxes.into_iter().any(|held| held.run == plan.run && held.is_kept)
    };
    let labels = plan.lanes.iter().map(|lane| &lane.label);
    let labels = labels.filter(|label| !is_kept(label));
    let remains = labels.flat_map(|label| {
        sim.clouds
            .values()
            .flat_map(|cloud| cloud.remains(label, Some(&plan.run)))
    });
    let remains = remains.collect();
    if plan.keep == Keep::Passed && verdict == Verdict::Passed {
        sim.record.record(Observation::BroughtUp {
            run: plan.run.clone(),
            labels: plan.lanes.iter().map(|lane| lane.label.clone()).collect(),
        });
    }
    sim.record.record(Observation::Ended {
        run: plan.run.clone(),
        verdict,
        remains,
    });
}

async fn extend_all(sim: &Sim, plan: &Plan, world: &World) {
    for lane in &plan.lanes {
        let length = sim
            .clock
            .length(Duration::from_secs(60), Duration::from_secs(3 * 3600));
        let deadline = Deadline::after(world.clock.now(), length);
        // What could not be moved is said, and stands.
        let _ = extend(&lane.label, deadline, world).await;
    }
}

async fn down_all(plan: &Plan, world: &World) {
    for lane in &plan.lanes {
        down(&lane.label, None, world).await;
    }
}
