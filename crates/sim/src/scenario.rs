//! One simulation from begin to end. While faults last, processes begin, are killed, and begin again; then all is quiet,
//! and what a later `twolane reap` does has to settle everything.

mod action;
pub(crate) mod plans;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use model::plan::{Keep, Plan};

pub use self::action::Action;
use self::{
    action::{Life, one_life},
    plans::plan,
};
use crate::{
    checkers::{self, Case},
    clock::{Elapsed, Ending},
    cloud::Thing,
    faults::{BoxEnd, Bug, Faults},
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
    /// Whether nothing goes wrong but what `kill_at` and `faults` say.
    pub is_calm: bool,
    /// What goes wrong; drawn when none is given and nothing is calm.
    pub faults: Option<Faults>,
    /// At which call of the world a process is killed; drawn when none is given and nothing is calm.
    pub kill_at: Option<u64>,
    /// At which call of the first process all boxes end, and how.
    pub box_end: Option<(u64, BoxEnd)>,
    /// What the process does that is killed at `kill_at`, where that alone goes wrong; a run when nothing is said.
    pub action: Option<Action>,
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

impl Scenario {
    /// Reports the scenario.
    pub fn outcome(&self) -> Outcome {
        let sim = Sim::new(self.seed, self.bug, self.box_end.map(|(_, how)| how));
        match (&self.faults, self.is_calm) {
            (Some(faults), _) => sim.set_faults(faults.clone()),
            (None, true) => {}
            (None, false) => sim.set_faults(Faults::draw(&sim.clock)),
        }
        let are_calls_quick = sim.faults().times_out == 0 && sim.faults().sleeps == 0;
        let death_noticed_within = sim.faults().death_noticed_within();
        let is_clock_right = sim.faults().is_clock_right();
        let is_journal_readable = sim.faults().journal_fails == 0;
        let mut plan = plan(&sim, "first", self.is_calm);
        if self.is_calm && !matches!(self.action, None | Some(Action::Run)) {
            plan.keep = Keep::Passed;
        }
        for lane in &plan.lanes {
            sim.settle_foreigners(lane.label.as_str());
        }
        let mut wrong = Vec::new();
        let calls = self.live(&sim, &plan, &mut wrong);
        // The first machine is lost with its journal: the other destroys what it left by tags alone.
        let is_lost = !self.is_calm && sim.clock.happens(200);
        quieten(&sim, self.is_calm, is_lost, &mut wrong);
        let seen = sim.record.take();
        wrong.extend(checkers::all(&Case {
            seen: &seen,
            sim: &sim,
            is_calm: self.is_calm && self.box_end.is_none(),
            is_clock_right,
            is_journal_readable,
            are_calls_quick,
            death_noticed_within,
        }));
        Outcome { wrong, calls, seen }
    }

    /// The first part: lives that are cut short. Returns how many calls the first one made.
    fn live(&self, sim: &Sim, plan: &Plan, wrong: &mut Vec<String>) -> u64 {
        if let Some(act @ (Action::Test | Action::Smoke | Action::Deploy)) = self.action {
            return self.on_a_box(sim, plan, act, wrong);
        }
        let (kill_at, stop) = (self.first_kill(sim), self.stop(sim));
        sim.clock.mark_at(self.box_end.map(|(call, _)| call));
        let calls = one_life(sim, plan, Action::Run, kill_at, stop, wrong);
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

    /// Brings boxes up, and lets a process work on one of them that is killed, or whose box ends; then another one, which
    /// finds the box as if there had been none. Returns how many calls the first of both makes.
    fn on_a_box(&self, sim: &Sim, plan: &Plan, act: Action, wrong: &mut Vec<String>) -> u64 {
        one_life(sim, plan, Action::Run, None, None, wrong);
        sim.clock.mark_at(self.box_end.map(|(call, _)| call));
        let calls = one_life(sim, plan, act, self.kill_at, None, wrong);
        one_life(sim, plan, act, None, None, wrong);
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

/// Lets a new run live to its end, after one that was cut short.
fn a_next_life(sim: &Sim, plan: &Plan, next: Next, wrong: &mut Vec<String>) {
    let (machine, plan) = match next {
        Next::SameLabels => (0, plans::rival(sim, plan)),
        Next::OtherLabels => (0, plans::with_other_labels(plans::rival(sim, plan))),
        Next::Newer => (1, plans::newer(sim, plan)),
    };
    let life = Life::begin(sim, machine, None);
    let run_of_next = plan.run.clone();
    sim.record.record(Observation::Follows {
        run: run_of_next.clone(),
        takes_over: next != Next::OtherLabels,
    });
    if next == Next::Newer {
        sim.record.record(Observation::Supersedes {
            process: life.process,
            run: run_of_next,
        });
    }
    if sim.clock.drive(None, life.run(&plan)) == Ending::Stuck {
        wrong.push(format!("{next:?} goes on for ever"));
    }
    sim.reap_process(life.process, false);
}

/// The second part: nothing goes wrong any more, and one `reap` after the other settles what is left.
pub(crate) fn quieten(sim: &Sim, is_calm: bool, is_lost: bool, wrong: &mut Vec<String>) {
    sim.set_faults(Faults::default());
    sim.clock.jump(jiff::SignedDuration::ZERO);
    let machines = if is_lost { 1..2 } else { 0..2 };
    let owned = || {
        machines
            .clone()
            .map(|machine| sim.machines[machine].disk.holdings())
    };
    let begin = sim.clock.elapsed();
    for _ in 0..REAPS_MAX {
        for machine in machines.clone() {
            let expired = expired(sim, machine, is_calm);
            let life = Life::begin(sim, machine, None);
            let ending = sim.clock.drive(None, life.reap());
            sim.reap_process(life.process, false);
            if ending == Ending::Stuck {
                wrong.push("the reap in the quiet goes on for ever".to_owned());
                return;
            }
            let now = sim.clock.elapsed();
            let things = sim.clouds.values().flat_map(|cloud| cloud.everything());
            let left = things.filter(|thing| thing.remains(now) && expired.contains(&thing.id));
            wrong.extend(left.map(|thing| format!("a reap in the quiet left {}", thing.id)));
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

/// Returns what a `reap` on that machine must destroy: what is overdue with all of its label and run; and where nothing
/// went wrong, whatever its user does not keep, as no process lives any more.
fn expired(sim: &Sim, machine: usize, is_calm: bool) -> BTreeSet<Arc<str>> {
    let (now, elapsed) = (sim.clock.true_now(), sim.clock.elapsed());
    let holdings = sim.machines[machine].disk.holdings();
    let everything = sim.clouds.values().flat_map(|cloud| cloud.everything());
    let things: Vec<Thing> = everything
        .filter(|thing| thing.is_listed(elapsed) && !thing.is_foreign)
        .collect();
    let is_expired = |thing: &&Thing| {
        let Some(tags) = &thing.parsed else { return false };
        let held = holdings
            .boxes
            .get(&tags.label)
            .filter(|held| held.run == tags.run);
        let is_left = is_calm && machine == 0 && held.is_none_or(|held| !held.is_kept);
        let beside = things.iter().filter_map(|other| other.parsed.as_ref());
        let mut deadlines = beside
            .filter(|other| other.label == tags.label && other.run == tags.run)
            .map(|other| other.deadline)
            .chain(held.map(|held| held.tags.deadline));
        is_left || deadlines.all(|deadline| deadline.is_over(now))
    };
    things
        .iter()
        .filter(is_expired)
        .map(|thing| thing.id.clone())
        .collect()
}
