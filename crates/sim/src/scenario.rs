//! One simulation from begin to end. While faults last, processes begin, are killed, and begin again; then all is quiet,
//! and what a later `twolane reap` does has to settle everything.

use std::time::Duration;

use engine::{
    down::down,
    extend::extend,
    reap,
    run::{CannotRun, run},
};
use model::{
    candidate::Candidate,
    check::Check,
    config::{Deploy, System},
    lane::KvmNeed,
    limits::Limits,
    name::{Label, ProviderName, RunId},
    plan::{Keep, LanePlan, Plan},
    source::Source,
    tags::Owner,
    time::Deadline,
    verdict::Verdict,
    world::World,
};

use crate::{
    checkers,
    clock::{Elapsed, Ending},
    faults::{Bug, Faults},
    record::Observation,
    world::Sim,
};

/// How long it is quiet, at least: longer than any deadline that was ever set.
const QUIET_MIN: Duration = Duration::from_secs(5 * 3600 + 1);

/// How often `reap` is called in the quiet, at most.
const REAPS_MAX: usize = 8;

/// What one simulation is.
#[derive(Debug, Clone, Default)]
pub struct Scenario {
    /// Where every choice comes from.
    pub seed: u64,
    /// Whether nothing goes wrong but what `kill_at` says.
    pub is_calm: bool,
    /// What goes wrong where it is not calm; drawn when none is given.
    pub faults: Option<Faults>,
    /// At which call of the world the first process is killed; drawn when none is given and nothing is calm.
    pub kill_at: Option<u64>,
    /// What begins after a first process of which nothing but `kill_at` went wrong.
    pub next: Option<Next>,
    /// A bug that is put in.
    pub bug: Option<Bug>,
}

/// What begins after the first process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// A new run on the same machine, with the same labels.
    SameLabels,
    /// A new run on the same machine, with others.
    OtherLabels,
    /// A new run of the same change on another machine, which is to take the place of older ones.
    Newer,
}

/// How a simulation went.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// What was seen and must never be, if anything.
    pub wrong: Vec<String>,
    /// How many calls of the world the first process made.
    pub calls: u64,
    /// All that was seen.
    pub seen: Vec<(Elapsed, Observation)>,
}

impl Outcome {
    /// Returns all that was seen, a line each, for whoever looks into a seed.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        self.seen
            .iter()
            .map(|(at, seen)| format!("{:>10.3} {}", at.as_secs_f64(), seen.line()))
    }
}

/// What one process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    /// Carries out the plan, or resumes it.
    Run,
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
    const ALL: [Self; 12] = [
        Self::Run,
        Self::Run,
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

    /// Returns the machine on which the second of its two processes lives.
    fn beside(self) -> usize {
        match self {
            Self::Stranger | Self::NewerElsewhere | Self::ReapElsewhere | Self::RunAndReapElsewhere => 1,
            Self::Run
            | Self::Rival
            | Self::Newer
            | Self::Extend
            | Self::Down
            | Self::Reap
            | Self::RunAndReap => 0,
        }
    }
}

impl Scenario {
    /// Reports the scenario.
    pub fn outcome(&self) -> Outcome {
        let sim = Sim::new(self.seed, self.bug);
        if !self.is_calm {
            let faults = self.faults.clone();
            sim.set_faults(faults.unwrap_or_else(|| Faults::draw(&sim.clock)));
        }
        let plan = plan(&sim, "first", self.is_calm);
        for lane in &plan.lanes {
            sim.settle_foreigners(lane.label.as_str());
        }
        let mut wrong = Vec::new();
        let calls = self.live(&sim, &plan, &mut wrong);
        // The first machine burns down: what it left is settled by tags alone.
        let is_burnt = !self.is_calm && sim.clock.happens(200);
        quieten(&sim, is_burnt, &mut wrong);
        let seen = sim.record.take();
        wrong.extend(checkers::all(&sim, &seen, self.is_calm));
        Outcome { wrong, calls, seen }
    }

    /// The first part: lives that are cut short. Returns how many calls the first one made.
    fn live(&self, sim: &Sim, plan: &Plan, wrong: &mut Vec<String>) -> u64 {
        let calls = one_life(
            sim,
            plan,
            Action::Run,
            self.first_kill(sim),
            self.stop(sim),
            wrong,
        );
        if self.is_calm {
            if let Some(next) = self.next {
                sim.clock.skip(Duration::from_secs(600));
                a_next_life(sim, plan, next, wrong);
            }
            return calls;
        }
        for _ in 0..sim.clock.below(4) {
            sim.clock
                .skip(sim.clock.length(Duration::ZERO, Duration::from_secs(1800)));
            sim.maybe_jump();
            let act = Action::ALL[sim.clock.below(Action::ALL.len() as u64) as usize];
            let kill_at = sim.clock.happens(600).then(|| 1 + sim.clock.below(150));
            one_life(sim, plan, act, kill_at, self.stop(sim), wrong);
        }
        calls
    }

    fn first_kill(&self, sim: &Sim) -> Option<u64> {
        match self.is_calm {
            true => self.kill_at,
            false => sim.clock.happens(700).then(|| 1 + sim.clock.below(300)),
        }
    }

    fn stop(&self, sim: &Sim) -> Option<Duration> {
        (!self.is_calm && sim.clock.happens(250))
            .then(|| sim.clock.length(Duration::ZERO, Duration::from_secs(900)))
    }
}

/// Lets a process live, to its end or until it is killed.
fn one_life(
    sim: &Sim,
    plan: &Plan,
    act: Action,
    kill_at: Option<u64>,
    stop: Option<Duration>,
    wrong: &mut Vec<String>,
) -> u64 {
    let (process, world) = sim.process(0, stop);
    let (second, beside) = sim.process(act.beside(), None);
    let state = async {
        match act {
            Action::Run => record_end(sim, plan, run(plan, &world).await),
            Action::Rival | Action::Stranger => {
                let other = rival(sim, plan);
                let first = async { record_end(sim, plan, run(plan, &world).await) };
                let second = async { record_end(sim, &other, run(&other, &beside).await) };
                futures::join!(first, second);
            }
            Action::Newer | Action::NewerElsewhere => {
                let other = newer(sim, plan);
                let run_of_other = other.run.clone();
                sim.record.record(Observation::Supersedes {
                    process: second,
                    run: run_of_other,
                });
                let first = async {
                    if sim.clock.happens(500) {
                        record_end(sim, plan, run(plan, &world).await);
                    }
                };
                let second = async {
                    let some = sim.clock.length(Duration::ZERO, Duration::from_secs(900));
                    sim.clock.pass(some).await;
                    record_end(sim, &other, run(&other, &beside).await);
                };
                futures::join!(first, second);
            }
            Action::Extend => extend_all(sim, plan, &world).await,
            Action::Down => {
                sim.record.record(Observation::DownAsked { process });
                futures::join!(reap_once(&beside), down_all(plan, &world));
            }
            Action::RunAndReap | Action::RunAndReapElsewhere => {
                // A reap that is at work already when the run begins, or comes later.
                let soon = sim.clock.length(Duration::ZERO, Duration::from_secs(3));
                let late = sim.clock.length(Duration::ZERO, Duration::from_secs(900));
                let (to_run, to_reap) = match sim.clock.happens(300) {
                    true => (soon, Duration::ZERO),
                    false => (Duration::ZERO, late),
                };
                let first = async {
                    sim.clock.pass(to_run).await;
                    record_end(sim, plan, run(plan, &world).await);
                };
                let reaping = async {
                    sim.clock.pass(to_reap).await;
                    reap_once(&beside).await;
                };
                futures::join!(first, reaping);
            }
            Action::Reap | Action::ReapElsewhere => reap_once(&beside).await,
        }
    };
    let ending = sim.clock.drive(kill_at, state);
    if ending == Ending::Stuck {
        wrong.push(format!("{act:?} goes on for ever"));
    }
    for process in [process, second] {
        sim.reap_process(process, ending == Ending::Killed);
    }
    sim.clock.calls()
}

/// Lets a new run live to its end, after one that was cut short.
fn a_next_life(sim: &Sim, plan: &Plan, next: Next, wrong: &mut Vec<String>) {
    let (machine, plan) = match next {
        Next::SameLabels => (0, rival(sim, plan)),
        Next::OtherLabels => (0, with_other_labels(rival(sim, plan))),
        Next::Newer => (1, newer(sim, plan)),
    };
    let (process, world) = sim.process(machine, None);
    let run_of_next = plan.run.clone();
    sim.record.record(Observation::Follows {
        run: run_of_next.clone(),
        takes_over: next != Next::OtherLabels,
    });
    if next == Next::Newer {
        sim.record.record(Observation::Supersedes {
            process,
            run: run_of_next,
        });
    }
    let ending = sim
        .clock
        .drive(None, async { record_end(sim, &plan, run(&plan, &world).await) });
    if ending == Ending::Stuck {
        wrong.push(format!("{next:?} goes on for ever"));
    }
    sim.reap_process(process, false);
}

/// A newer run of the same change. Its id sorts after all that began before.
fn newer(sim: &Sim, plan: &Plan) -> Plan {
    let id = format!("run-{:012}", sim.clock.elapsed().as_millis());
    let mut newer = with_other_labels(Plan {
        run: RunId::new(id).expect("it is an id"),
        ..plan.clone()
    });
    for lane in &mut newer.lanes {
        lane.supersede = true;
    }
    newer
}

fn with_other_labels(mut plan: Plan) -> Plan {
    for lane in &mut plan.lanes {
        lane.label = Label::new(format!("{}-b", lane.label)).expect("it is a label");
    }
    plan
}

/// Another run that wants the same labels.
fn rival(sim: &Sim, plan: &Plan) -> Plan {
    let run = RunId::new(format!("rival-{}", sim.clock.below(1 << 40))).expect("it is an id");
    Plan { run, ..plan.clone() }
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
    sim.record.record(Observation::Ended {
        run: plan.run.clone(),
        verdict,
        remains,
    });
}

async fn reap_once(world: &World) {
    if let Ok((picked, _)) = reap::plan_reap(world, false).await {
        reap::destroy(picked.targets, world).await;
    }
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

/// The second part: nothing goes wrong any more, and one `reap` after the other settles what is left.
fn quieten(sim: &Sim, is_burnt: bool, wrong: &mut Vec<String>) {
    sim.set_faults(Faults::default());
    sim.clock.jump(jiff::SignedDuration::ZERO);
    let machines = if is_burnt { 1..2 } else { 0..2 };
    let owned = || {
        machines
            .clone()
            .map(|machine| sim.machines[machine].disk.holdings())
    };
    let begin = sim.clock.elapsed();
    for _ in 0..REAPS_MAX {
        for machine in machines.clone() {
            let (process, world) = sim.process(machine, None);
            let ending = sim.clock.drive(None, reap_once(&world));
            sim.reap_process(process, false);
            if ending == Ending::Stuck {
                wrong.push("the reap in the quiet goes on for ever".to_owned());
                return;
            }
        }
        let is_over = owned().all(|holdings| holdings.boxes.is_empty());
        if is_over && sim.clock.elapsed() > begin + QUIET_MIN {
            return;
        }
        sim.clock.skip(Duration::from_secs(2 * 3600));
    }
    for (label, held) in owned().flat_map(|holdings| holdings.boxes) {
        wrong.push(format!(
            "the journal still holds {label} after all: {:?}",
            held.state
        ));
    }
}

/// Draws a plan of one to three lanes.
fn plan(sim: &Sim, run: &str, is_calm: bool) -> Plan {
    let count = if is_calm { 2 } else { 1 + sim.clock.below(3) };
    Plan {
        run: RunId::new(run).expect("it is an id"),
        project: "mvm".to_owned(),
        sources: vec![Source {
            name: "mvm".to_owned(),
            path: "/src/mvm".into(),
        }],
        system: System::default(),
        toolchain: None,
        ca_certs: Vec::new(),
        deploy: Deploy::default(),
        lanes: (0..count).map(|number| lane(sim, number, is_calm)).collect(),
        owner: Owner {
            repository: Some("acme-mvm".to_owned()),
            reference: Some("pr-17".to_owned()),
            ..Owner::default()
        },
        allow: vec!["203.0.113.7/32".to_owned()],
        operator_key: None,
        keep: match sim.clock.below(if is_calm { 1 } else { 5 }) {
            3 => Keep::Failed(Duration::from_secs(1800)),
            4 => Keep::Passed,
            _ => Keep::Never,
        },
        is_continued: sim.clock.happens(500),
        max_cost: None,
        limits: Limits::default(),
    }
}

fn lane(sim: &Sim, number: u64, is_calm: bool) -> LanePlan {
    let providers = ["alpha", "beta"];
    let count = if is_calm { 1 } else { 1 + sim.clock.below(3) };
    let first = if is_calm { number } else { sim.clock.below(2) };
    let candidate = |index: u64| Candidate {
        provider: ProviderName::new(providers[((first + index) % 2) as usize]).expect("it is a name"),
        region: "here".to_owned(),
        instance_type: format!("{}x4g", index + 1),
        image: None,
        disk_gb: None,
    };
    let check = |index: u64| Check {
        slug: format!("lane{number}-check{index}"),
        timeout: Duration::from_secs(300),
        as_root: index == 1,
        env_from: vec!["SIM_VARIABLE".to_owned()],
        after: (index == 1).then(|| "check 0".to_owned()),
        ..Check::new(format!("check {index}"), "cargo test")
    };
    LanePlan {
        name: format!("lane{number}"),
        label: Label::new(format!("mvm-lane{number}-7f3a")).expect("it is a label"),
        need: if number.is_multiple_of(2) {
            KvmNeed::Required
        } else {
            KvmNeed::None
        },
        candidates: (0..count).map(candidate).collect(),
        ttl: Duration::from_secs(2 * 3600),
        max_cost: None,
        has_deploy: false,
        checks: (0..1 + sim.clock.below(2)).map(check).collect(),
        is_continued: sim.clock.happens(500),
        fail_on_skip: false,
        supersede: false,
    }
}
