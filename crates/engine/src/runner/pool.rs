//! Decides about the boxes of a runner: how many there are, which of them take a job, and which of them go. It takes what
//! happened and the time, and says what to do; it carries nothing out.

use std::{collections::BTreeMap, time::Duration};

use model::{jobs::Removal, money::Money, name::Label};

use super::caps::Caps;

/// How long a runner may take to end after its job has.
pub const DONE_MAX: Duration = Duration::from_secs(30);

/// Pause before the service, or a provider, is asked again for what it did not do.
pub const RETRY: Duration = Duration::from_secs(60);

/// Pause after a box that never took a job; doubled each time.
const FAILED_PAUSE: Duration = Duration::from_secs(30);

/// Longest such pause.
const FAILED_PAUSE_MAX: Duration = Duration::from_secs(15 * 60);

/// What the operator asks for.
#[derive(Debug, Clone)]
pub struct Terms {
    /// How many boxes there are at most.
    pub max: usize,
    /// How many there are at least, with or without jobs.
    pub warm: usize,
    /// How long more boxes than wanted may wait for a job.
    pub idle: Duration,
    /// How long a box lives at most.
    pub ttl: Duration,
    /// How long running jobs are waited for when the runner is asked to stop.
    pub grace: Duration,
    /// What the boxes may cost.
    pub caps: Caps,
}

/// Where a box stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// An earlier process made it, and it is being reached: a job may run there.
    Resuming,
    /// It is being made.
    Starting,
    /// Its gate has passed.
    Ready,
    /// It may ask for its configuration.
    Permitted,
    /// Its runner waits for a job, as far as is known.
    Idle,
    /// It runs a job.
    Busy,
    /// It gets no job any more, and is ended at that moment unless its runner ends before.
    Done(Duration),
    /// The service is asked to give it no job any more.
    Removing,
    /// It is being destroyed.
    Ending,
    /// It could not be destroyed, or its process died; from that moment on it is tried.
    Left(Duration),
    /// It is being destroyed once more.
    Destroying,
}

impl State {
    /// Returns whether its runner may have been given a job.
    fn may_have_job(self) -> bool {
        match self {
            Self::Resuming | Self::Permitted | Self::Idle | Self::Busy | Self::Removing => true,
            Self::Starting
            | Self::Ready
            | Self::Done(_)
            | Self::Ending
            | Self::Left(_)
            | Self::Destroying => false,
        }
    }
}

#[derive(Debug, Clone)]
struct PoolBox {
    state: State,
    /// Its deadline, by the monotonic clock.
    until: Duration,
    /// Until then the service is not asked to take it back: it just did not.
    not_before: Duration,
    /// Whether it ever waited for a job.
    has_waited: bool,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Begin a new box.
    Start,
    /// Let a box whose gate has passed ask for its configuration.
    Permit(Label),
    /// Ask the service to give a box no job any more.
    Remove(Label),
    /// End a box: its lane destroys it.
    End(Label),
    /// Destroy a box that has no lane any more.
    Destroy(Label),
}

/// How many boxes stand where.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Standing {
    /// Jobs that want a runner.
    pub assigned: usize,
    /// Boxes that are being made.
    pub starting: usize,
    /// Boxes that wait for a job.
    pub idle: usize,
    /// Boxes that run one.
    pub busy: usize,
    /// Boxes that are being destroyed.
    pub ending: usize,
    /// Boxes that could not be destroyed so far.
    pub left: usize,
}

/// The boxes of a runner, and what is wanted of them.
#[derive(Debug, Clone)]
pub struct Pool {
    terms: Terms,
    /// None: the service has said nothing yet.
    assigned: Option<usize>,
    boxes: BTreeMap<Label, PoolBox>,
    /// Since when there have been so many boxes more than wanted: one moment for each, oldest first.
    surplus: Vec<Duration>,
    /// How many boxes in a row never took a job.
    failures: u32,
    /// Until then no box is begun.
    not_before: Duration,
    /// Since when it is asked to stop.
    draining: Option<Duration>,
    /// What the boxes that are gone have cost today.
    spent: Vec<Money>,
}

impl Pool {
    /// Makes one without a box.
    pub fn new(terms: Terms) -> Self {
        Self {
            terms,
            assigned: None,
            boxes: BTreeMap::new(),
            surplus: Vec::new(),
            failures: 0,
            not_before: Duration::ZERO,
            draining: None,
            spent: Vec::new(),
        }
    }

    /// Takes in a box that begins, with so much of its life left.
    pub fn begin(&mut self, label: Label, left: Duration, now: Duration) {
        self.add(label, State::Starting, left, now);
    }

    /// Takes in a box that an earlier process made, and that is being reached.
    pub fn resume(&mut self, label: Label, left: Duration, now: Duration) {
        self.add(label, State::Resuming, left, now);
    }

    /// Takes in a box of an earlier process that is to be destroyed.
    pub fn leave(&mut self, label: Label, now: Duration) {
        self.add(label, State::Left(now), Duration::ZERO, now);
    }

    fn add(&mut self, label: Label, state: State, left: Duration, now: Duration) {
        let new = PoolBox {
            state,
            until: now + left,
            not_before: Duration::ZERO,
            has_waited: false,
        };
        self.boxes.insert(label, new);
    }

    /// Takes what the service says.
    pub fn news(&mut self, assigned: usize, started: &[Label], ended: &[Label], now: Duration) {
        self.assigned = Some(assigned);
        for label in started {
            if self.state(label).is_some_and(|state| state.may_have_job()) {
                self.wait(label, State::Busy);
                (self.failures, self.not_before) = (0, Duration::ZERO);
            }
        }
        for label in ended {
            if self.state(label).is_some_and(|state| state.may_have_job()) {
                self.wait(label, State::Done(now + DONE_MAX));
            }
        }
    }

    /// The gate of a box has passed.
    pub fn ready(&mut self, label: &Label) {
        // One that is being destroyed may have been through with it just before.
        if !matches!(
            self.state(label),
            Some(State::Ending | State::Left(_) | State::Destroying)
        ) {
            self.set(label, State::Ready);
        }
    }

    /// The runner of a box runs.
    pub fn runs(&mut self, label: &Label) {
        if matches!(
            self.state(label),
            Some(State::Resuming | State::Starting | State::Permitted)
        ) {
            self.wait(label, State::Idle);
        }
    }

    /// The service has answered whether it took a box's runner back; none: it has not answered.
    pub fn removed(&mut self, label: &Label, removal: Option<Removal>, now: Duration) {
        if self.state(label) != Some(State::Removing) {
            return;
        }
        match removal {
            Some(Removal::Removed) => self.set(label, State::Done(now)),
            Some(Removal::Busy) => self.set(label, State::Busy),
            None => {
                self.set(label, State::Idle);
                self.surplus.insert(0, now.saturating_sub(self.terms.idle));
                if let Some(it) = self.boxes.get_mut(label) {
                    it.not_before = now + RETRY;
                }
            }
        }
    }

    /// The lane of a box has ended, and the box is gone or could not be destroyed.
    pub fn ended(&mut self, label: &Label, is_gone: bool, now: Duration) {
        let Some(it) = self.boxes.get(label) else { return };
        match (it.state, it.has_waited) {
            (State::Ending | State::Left(_) | State::Destroying, _) => {}
            (State::Busy | State::Done(_), _) | (State::Removing, true) => self.failures = 0,
            _ => {
                self.failures += 1;
                let pause = FAILED_PAUSE.saturating_mul(1 << (self.failures - 1).min(16));
                self.not_before = now + pause.min(FAILED_PAUSE_MAX);
            }
        }
        match is_gone {
            true => drop(self.boxes.remove(label)),
            false => self.set(label, State::Left(now + RETRY)),
        }
    }

    /// Takes what the boxes that are gone have cost today.
    pub fn spent(&mut self, spent: Vec<Money>) {
        self.spent = spent;
    }

    /// From now on no box is begun, and boxes go as soon as they have no job.
    pub fn drain(&mut self, now: Duration) {
        self.draining.get_or_insert(now);
    }

    /// Returns whether it has been asked to stop, and nothing is left to be done.
    pub fn is_over(&self) -> bool {
        self.draining.is_some() && self.boxes.values().all(|it| matches!(it.state, State::Left(_)))
    }

    /// Returns how many jobs can run at once.
    pub fn capacity(&self) -> usize {
        match self.draining {
            Some(_) => self.count(|state| matches!(state, State::Busy)),
            None => self.terms.max,
        }
    }

    /// Returns whether there is a box of that label.
    pub fn has(&self, label: &Label) -> bool {
        self.boxes.contains_key(label)
    }

    /// Returns how many boxes in a row have failed before they took a job.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// Returns the boxes that could not be destroyed so far.
    pub fn left(&self) -> Vec<&Label> {
        let left = |it: &PoolBox| matches!(it.state, State::Left(_) | State::Destroying);
        let all = self.boxes.iter();
        all.filter(|(_, it)| left(it)).map(|(label, _)| label).collect()
    }

    /// Returns how many boxes stand where.
    pub fn standing(&self) -> Standing {
        let mut standing = Standing {
            assigned: self.assigned.unwrap_or_default(),
            ..Standing::default()
        };
        for it in self.boxes.values() {
            *match it.state {
                State::Resuming | State::Starting | State::Ready | State::Permitted => &mut standing.starting,
                State::Idle => &mut standing.idle,
                State::Busy => &mut standing.busy,
                State::Done(_) | State::Removing | State::Ending => &mut standing.ending,
                State::Left(_) | State::Destroying => &mut standing.left,
            } += 1;
        }
        standing
    }

    /// Decides what to do now. What it says is to be done: it does not say so again.
    pub fn decide(&mut self, now: Duration) -> Vec<Action> {
        let mut actions = Vec::new();
        match self.draining {
            Some(since) => self.empty(since, now, &mut actions),
            None => {
                self.permit(&mut actions);
                self.replace_old(now, &mut actions);
                self.shrink(now, &mut actions);
            }
        }
        for (label, it) in &mut self.boxes {
            match it.state {
                State::Done(at) if now >= at => {
                    it.state = State::Ending;
                    actions.push(Action::End(label.clone()));
                }
                State::Left(at) if now >= at && self.draining.is_none() => {
                    it.state = State::Destroying;
                    actions.push(Action::Destroy(label.clone()));
                }
                _ => {}
            }
        }
        let starts = if self.draining.is_some() {
            0
        } else {
            self.starts(now)
        };
        actions.extend(std::iter::repeat_n(Action::Start, starts));
        actions
    }

    /// Returns when, after `now`, there may be something to decide though nothing happens.
    pub fn next_at(&self, now: Duration) -> Option<Duration> {
        let of_box = |it: &PoolBox| match it.state {
            State::Done(at) | State::Left(at) => at,
            State::Idle if self.draining.is_none() => it.not_before.max(self.old_at(it)),
            _ => it.not_before,
        };
        let surplus = self.surplus.first().map(|since| *since + self.terms.idle);
        let grace = self.draining.map(|since| since + self.terms.grace);
        let retries = self.boxes.values().map(|it| it.not_before);
        let times = self.boxes.values().map(of_box).chain(retries);
        let times = times.chain(surplus).chain(grace).chain([self.not_before]);
        times.filter(|at| *at > now).min()
    }

    /// Lets every box whose gate has passed ask for a job.
    fn permit(&mut self, actions: &mut Vec<Action>) {
        for (label, it) in &mut self.boxes {
            if it.state == State::Ready {
                it.state = State::Permitted;
                actions.push(Action::Permit(label.clone()));
            }
        }
    }

    /// Takes back the boxes that wait for a job and have half of their time behind them: a job needs some of it.
    fn replace_old(&mut self, now: Duration, actions: &mut Vec<Action>) {
        let half = self.terms.ttl / 2;
        for (label, it) in &mut self.boxes {
            if it.state == State::Idle && it.not_before <= now && it.until.saturating_sub(half) <= now {
                it.state = State::Removing;
                actions.push(Action::Remove(label.clone()));
            }
        }
    }

    /// Takes back what has been too much for too long: what is not ready yet first, then what lives longest.
    fn shrink(&mut self, now: Duration, actions: &mut Vec<Action>) {
        // Nothing is too much as long as nobody knows what is wanted.
        let surplus = match self.assigned {
            Some(_) => self.present().saturating_sub(self.wanted()),
            None => 0,
        };
        self.surplus.resize(surplus, now);
        while self
            .surplus
            .first()
            .is_some_and(|since| now >= *since + self.terms.idle)
        {
            let Some(label) = self.victim(now) else { return };
            self.surplus.remove(0);
            actions.extend(self.take_back(&label));
        }
    }

    /// Ends everything but running jobs, and those too when the grace is over.
    fn empty(&mut self, since: Duration, now: Duration, actions: &mut Vec<Action>) {
        let is_late = now >= since + self.terms.grace;
        for (label, it) in self.boxes.clone() {
            let goes = match it.state {
                State::Starting | State::Ready | State::Permitted => true,
                State::Idle => is_late || it.not_before <= now,
                State::Resuming | State::Busy | State::Removing => is_late,
                State::Done(_) | State::Ending | State::Left(_) | State::Destroying => false,
            };
            match goes && is_late {
                true => {
                    self.set(&label, State::Ending);
                    actions.push(Action::End(label));
                }
                false if goes => actions.extend(self.take_back(&label)),
                false => {}
            }
        }
    }

    /// Returns how many boxes to begin.
    fn starts(&self, now: Duration) -> usize {
        if self.assigned.is_none() || now < self.not_before {
            return 0;
        }
        let room = self.terms.max.saturating_sub(self.boxes.len());
        let missing = self.wanted().saturating_sub(self.present()).min(room);
        // After a failure one box shows whether it goes on.
        let is_tried =
            self.count(|state| matches!(state, State::Starting | State::Ready | State::Permitted)) > 0;
        let missing = match self.failures {
            0 => missing,
            _ => missing.min(usize::from(!is_tried)),
        };
        let is_affordable = |more: &usize| {
            let caps = &self.terms.caps;
            caps.allow(self.boxes.len() + more, self.terms.ttl, &self.spent)
        };
        (1..=missing).take_while(is_affordable).count()
    }

    /// Returns how many boxes are wanted.
    fn wanted(&self) -> usize {
        self.assigned
            .unwrap_or_default()
            .max(self.terms.warm)
            .min(self.terms.max)
    }

    /// Returns how many boxes have a job, or are there for one.
    fn present(&self) -> usize {
        self.count(|state| {
            matches!(
                state,
                State::Resuming
                    | State::Starting
                    | State::Ready
                    | State::Permitted
                    | State::Idle
                    | State::Busy
            )
        })
    }

    /// Returns the box without a job that is missed least.
    fn victim(&self, now: Duration) -> Option<Label> {
        let rank = |it: &PoolBox| match it.state {
            State::Starting => Some(0),
            State::Ready | State::Permitted => Some(1),
            State::Idle if it.not_before <= now => Some(2),
            _ => None,
        };
        let ranked = self
            .boxes
            .iter()
            .filter_map(|(label, it)| Some((rank(it)?, it.until, label)));
        ranked.min().map(|(_, _, label)| label.clone())
    }

    /// Begins to end a box without a job.
    fn take_back(&mut self, label: &Label) -> Option<Action> {
        match self.state(label)? {
            State::Idle => {
                self.set(label, State::Removing);
                Some(Action::Remove(label.clone()))
            }
            _ => {
                self.set(label, State::Ending);
                Some(Action::End(label.clone()))
            }
        }
    }

    fn old_at(&self, it: &PoolBox) -> Duration {
        it.until.saturating_sub(self.terms.ttl / 2)
    }

    fn count(&self, is_one: impl Fn(State) -> bool) -> usize {
        self.boxes.values().filter(|it| is_one(it.state)).count()
    }

    fn state(&self, label: &Label) -> Option<State> {
        self.boxes.get(label).map(|it| it.state)
    }

    fn wait(&mut self, label: &Label, state: State) {
        self.set(label, state);
        if let Some(it) = self.boxes.get_mut(label) {
            it.has_waited = true;
        }
    }

    fn set(&mut self, label: &Label, state: State) {
        if let Some(it) = self.boxes.get_mut(label) {
            it.state = state;
        }
    }
}

#[cfg(test)]
mod tests;
