//! One simulation of a runner from begin to end: processes that serve jobs begin, are killed, are asked to stop, and begin
//! again, beside one another too; then all is quiet, and `twolane reap` has to settle what is left.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use engine::runner::{
    CannotServe, Runner, Runs,
    caps::Caps,
    pool::{Standing, Terms},
    serve,
};
use model::{
    jobs::{RunnerProgram, runner_plan},
    name::RunId,
    plan::Plan,
    verdict::Verdict,
    world::Events,
};
use parking_lot::Mutex;

use crate::{
    checkers::{self, Case},
    clock::Ending,
    faults::{Bug, Faults},
    jobs::{JobFaults, SimJobs},
    record::{Observation, Record},
    scenario::{Outcome, plans, quieten},
    world::Sim,
};

/// The runner's name.
const NAME: &str = "kvm";

/// How long after the last job a process that nothing happens to is asked to stop.
const AFTER: Duration = Duration::from_secs(5400);

/// What one simulation of a runner is.
#[derive(Debug, Clone, Default)]
pub struct RunnerScenario {
    /// Where every choice comes from.
    pub seed: u64,
    /// Whether nothing goes wrong but what `kill_at` says.
    pub is_calm: bool,
    /// At which call of the world the first process is killed, where that alone goes wrong.
    pub kill_at: Option<u64>,
    /// A bug that is put in.
    pub bug: Option<Bug>,
}

impl RunnerScenario {
    /// Reports the scenario.
    pub fn outcome(&self) -> Outcome {
        let sim = Sim::new(self.seed, self.bug, None);
        let clock = &sim.clock;
        if !self.is_calm {
            sim.set_faults(Faults::draw(clock));
        }
        let death_noticed_within = sim.faults().death_noticed_within();
        let is_clock_right = sim.faults().is_clock_right();
        let are_calls_quick = sim.faults().times_out == 0 && sim.faults().sleeps == 0;
        let is_journal_readable = sim.faults().journal_fails == 0;
        let within = clock.length(Duration::from_secs(60), Duration::from_secs(2 * 3600));
        let (count, most) = if self.is_calm { (3, 1) } else { (0, 12) };
        let world = (clock.clone(), sim.record.clone(), sim.clouds.clone());
        let jobs = SimJobs::new(world, count + clock.below(most), within);
        if !self.is_calm {
            jobs.set_faults(JobFaults::draw(clock));
        }
        *sim.jobs.borrow_mut() = Some(jobs.clone());
        let house = House::new(&sim, jobs.clone(), self);
        for lane in &house.plan.lanes {
            sim.settle_foreigners(lane.label.as_str());
        }
        let mut wrong = Vec::new();
        let calls = self.live(&house, within + AFTER, &mut wrong);
        if self.is_calm && self.bug.is_none() && jobs.open() > 0 {
            wrong.push(format!("{} jobs are not over", jobs.open()));
        }
        jobs.set_faults(JobFaults::default());
        quieten(&sim, self.is_calm, false, &mut wrong);
        let seen = sim.record.take();
        wrong.extend(checkers::all(&Case {
            seen: &seen,
            sim: &sim,
            is_calm: self.is_calm,
            is_clock_right,
            is_journal_readable,
            death_noticed_within,
            are_calls_quick,
        }));
        Outcome { wrong, calls, seen }
    }

    /// Lets processes live. Returns how many calls the first one made.
    fn live(&self, house: &House<'_>, length: Duration, wrong: &mut Vec<String>) -> u64 {
        let clock = &house.sim.clock;
        if self.is_calm {
            house.one_life(self.kill_at, length, false, wrong);
            let calls = clock.calls();
            if self.kill_at.is_some() {
                house.one_life(None, length, false, wrong);
            }
            return calls;
        }
        let mut calls = 0;
        for number in 0..1 + clock.below(4) {
            house.sim.maybe_jump();
            let kill_at = clock.happens(600).then(|| 1 + clock.below(3000));
            let stop = match clock.happens(300) {
                true => clock.length(Duration::ZERO, length),
                false => length,
            };
            house.one_life(kill_at, stop, clock.happens(200), wrong);
            if number == 0 {
                calls = clock.calls();
            }
            clock.skip(clock.length(Duration::ZERO, Duration::from_secs(1800)));
        }
        calls
    }
}

/// The machine on which the runner lives.
struct House<'a> {
    sim: &'a Sim,
    jobs: SimJobs,
    plan: Plan,
    terms: Terms,
    /// What the checkers hold it to.
    asked: Terms,
    /// The plans on the disk.
    plans: Mutex<BTreeMap<RunId, Plan>>,
}

impl<'a> House<'a> {
    fn new(sim: &'a Sim, jobs: SimJobs, scenario: &RunnerScenario) -> Self {
        let clock = &sim.clock;
        let plan = plans::plan(sim, "template", scenario.is_calm);
        let plan = runner_plan(plan, NAME, &RunnerProgram::OnBox);
        let ttl = plan.lanes.first().map(|lane| lane.ttl).unwrap_or_default();
        let asked = Terms {
            max: 1 + clock.below(4) as usize,
            warm: clock.below(3) as usize,
            idle: Duration::from_secs(600),
            ttl,
            grace: clock.length(Duration::ZERO, Duration::from_secs(1800)),
            caps: Caps::default(),
        };
        let mut terms = asked.clone();
        match scenario.bug {
            Some(Bug::RaisesMax) => terms.max += 1,
            Some(Bug::NeverIdle) => terms.idle = Duration::from_secs(36_000),
            _ => {}
        }
        Self {
            sim,
            jobs,
            plan,
            terms,
            asked,
            plans: Mutex::default(),
        }
    }

    /// Lets a process serve until it is killed or has stopped, and another one of the same name beside it if so.
    fn one_life(&self, kill_at: Option<u64>, stop: Duration, is_beside: bool, wrong: &mut Vec<String>) {
        let (first, world) = self.sim.process(0, Some(stop));
        let serving = async {
            self.serve(first, &world).await;
            self.sim.reap_process(first, false);
        };
        let second = is_beside.then(|| self.sim.process(0, Some(stop)));
        let beside = async {
            if let Some((process, world)) = &second {
                self.sim.clock.pass(Duration::from_secs(30)).await;
                self.serve(*process, world).await;
                self.sim.reap_process(*process, false);
            }
        };
        let ending = self
            .sim
            .clock
            .drive(kill_at, async { futures::join!(serving, beside) });
        if ending == Ending::Stuck {
            wrong.push("a runner goes on for ever".to_owned());
        }
        for process in std::iter::once(first).chain(second.map(|(process, _)| process)) {
            self.sim.reap_process(process, ending == Ending::Killed);
        }
    }

    async fn serve(&self, process: u32, world: &model::world::World) {
        self.sim.record.record(Observation::Serves {
            process,
            max: self.asked.max,
            warm: self.asked.warm,
            idle: self.asked.idle,
        });
        let jobs = self.jobs.of(process);
        let runs = Disk { house: self };
        let runner = Runner {
            name: NAME,
            plan: &self.plan,
            terms: &self.terms,
            jobs: &jobs,
            runs: &runs,
        };
        match serve(runner, world).await {
            Ok(verdict) => self.record_end(verdict),
            Err(CannotServe::Held(_) | CannotServe::Journal(_) | CannotServe::Name(_)) => {}
        }
    }

    /// A runner that says that all is gone has left nothing.
    fn record_end(&self, verdict: Verdict) {
        let plans = self.plans.lock();
        let remains = plans.values().flat_map(|plan| {
            let labels = plan.lanes.iter().map(|lane| &lane.label);
            let clouds = self.sim.clouds.values();
            labels.flat_map(move |label| {
                clouds
                    .clone()
                    .flat_map(|cloud| cloud.remains(label, Some(&plan.run)))
            })
        });
        self.sim.record.record(Observation::Ended {
            run: RunId::new(format!("runner-{NAME}")).expect("it is an id"),
            verdict,
            remains: remains.collect(),
        });
    }
}

/// The plans, as they lie on the disk.
struct Disk<'a> {
    house: &'a House<'a>,
}

impl Runs for Disk<'_> {
    fn plan(&self, run: &RunId) -> Option<Plan> {
        self.house.plans.lock().get(run).cloned()
    }

    fn open(&self, plan: &Plan) -> Result<Arc<dyn Events>, String> {
        let sim = self.house.sim;
        if sim.faults().is_disk_full(sim.clock.elapsed()) {
            return Err("no space left on device".to_owned());
        }
        self.house.plans.lock().insert(plan.run.clone(), plan.clone());
        let record: Record = sim.record.clone();
        Ok(Arc::new(record))
    }

    fn ended(&self, _: &Plan, _: Verdict) {}

    fn standing(&self, _: Standing) {}
}
