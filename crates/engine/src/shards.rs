//! What the boxes of a shared lane know of each other: which is through, and what a lost one has left to run.

use std::collections::{BTreeMap, BTreeSet};

use model::{
    build::{BuildOrder, Built, Suite},
    check::{Check, Outcome},
    event::Event,
    part::TakenFrom,
    plan::Plan,
    results::Reader,
    shards::{BoxState, Next, next},
    verdict::Verdict,
    world::World,
};
use parking_lot::Mutex;

/// The lanes of a run that are parts of shared ones, by name.
#[derive(Default)]
pub struct Shards {
    members: Mutex<BTreeMap<String, Member>>,
}

/// One box of a shared lane.
struct Member {
    of: String,
    number: u32,
    state: BoxState,
    /// Checks that have ended, whichever way.
    ended: BTreeSet<String>,
    /// What its checks printed so far.
    outputs: BTreeMap<String, Output>,
    /// Of a box that is lost: what nobody has taken over.
    left: Vec<Left>,
    /// Whether the box is lost, and all that it left has been taken over.
    is_made_good: bool,
    /// Whether a check failed, or a test before the box was lost.
    has_failed: bool,
    /// What it has taken over.
    taken: Vec<Check>,
    /// What was compiled for it.
    compiled: Option<Compiled>,
}

impl Member {
    /// Returns whether nothing is left of it that nobody has run. What it took over itself is taken over once.
    fn is_settled(&self) -> bool {
        self.left.is_empty() && self.taken.iter().all(|check| self.ended.contains(&check.slug))
    }
}

/// A check that a lost box left.
struct Left {
    check: Check,
    slug: String,
    /// Tests that failed before the box was lost.
    failed: usize,
}

/// What was compiled for a box, and is there.
#[derive(Clone)]
pub(crate) struct Compiled {
    pub(crate) built: Built,
    pub(crate) order: BuildOrder,
}

impl Compiled {
    /// Returns a check as the box runs it, from what is there; none where that does not have its tests.
    pub(crate) fn check(&self, check: &Check) -> Option<Check> {
        let suite = Suite::of(check)?.ok()?;
        let BuildOrder {
            archives,
            source,
            facts,
            ..
        } = &self.order;
        let number = archives.iter().position(|archive| *archive == suite.archive)?;
        Some(suite.check(check, number, source, &self.built, facts))
    }
}

/// What a check printed: read as far as whole lines go.
#[derive(Default)]
struct Output {
    reader: Reader,
    line: Vec<u8>,
}

impl Output {
    fn take(&mut self, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(piece);
            if self.line.ends_with(b"\n") {
                let line = std::mem::take(&mut self.line);
                self.reader.take(String::from_utf8_lossy(&line).trim_end());
            }
        }
    }

    /// Returns the tests that have ended, and how many of them failed.
    fn ended(self) -> (BTreeSet<String>, usize) {
        let results = self.reader.finish(false);
        let failed = results.bad_tests().filter(|test| test.outcome.has_run()).count();
        // A name that several programs have may have more to run.
        let unended = results.tests.iter().filter(|test| !test.outcome.has_run());
        let unended: BTreeSet<String> = unended.map(|test| test.name.clone()).collect();
        let ended = results.tests.iter().filter(|test| test.outcome.has_run());
        let ended = ended.map(|test| test.name.clone());
        (ended.filter(|name| !unended.contains(name)).collect(), failed)
    }
}

impl Shards {
    pub(crate) fn new(plan: &Plan) -> Self {
        let of = |lane: &model::plan::LanePlan| {
            let share = lane.share.as_ref()?;
            let member = Member {
                of: share.of.clone(),
                number: share.number,
                state: BoxState::Working,
                ended: BTreeSet::new(),
                outputs: BTreeMap::new(),
                left: Vec::new(),
                is_made_good: false,
                has_failed: false,
                taken: Vec::new(),
                compiled: None,
            };
            Some((lane.name.clone(), member))
        };
        Self {
            members: Mutex::new(plan.lanes.iter().filter_map(of).collect()),
        }
    }

    fn with(&self, lane: &str, change: impl FnOnce(&mut Member)) {
        if let Some(member) = self.members.lock().get_mut(lane) {
            change(member);
        }
    }

    /// The lane's box was rejected: what ran there counts no more, whether another one comes or not.
    pub(crate) fn rejected(&self, lane: &str) {
        self.with(lane, |member| {
            member.ended.clear();
            member.has_failed = false;
            member.outputs.clear();
            member.compiled = None;
        });
    }

    /// Programs were compiled for a lane's box, and are there.
    pub(crate) fn compiled_for(&self, lane: &str, compiled: Compiled) {
        self.with(lane, |member| member.compiled = Some(compiled));
    }

    /// A check printed something.
    pub(crate) fn output(&self, lane: &str, check: &str, bytes: &[u8]) {
        self.with(lane, |member| {
            member.outputs.entry(check.to_owned()).or_default().take(bytes);
        });
    }

    /// A check ended.
    pub(crate) fn ended(&self, lane: &str, check: &str, outcome: &Outcome) {
        if !matches!(outcome, Outcome::Unknown { .. } | Outcome::Interrupted) {
            self.with(lane, |member| {
                member.ended.insert(check.to_owned());
                member.has_failed |= outcome.is_failure();
            });
        }
    }

    /// The lane has done what it does on its box. Of one whose box is lost, what has not ended is left to the others.
    pub(crate) fn over(&self, lane: &str, checks: &[Check], verdict: Verdict) {
        self.with(lane, |member| {
            member.state = BoxState::Over;
            if !is_lost(verdict) {
                return;
            }
            let unended = checks.iter().filter(|check| !check.is_setup);
            let unended = unended.filter(|check| !member.ended.contains(&check.slug));
            for check in unended.cloned().collect::<Vec<_>>() {
                let (ended, failed) = member.outputs.remove(&check.slug).unwrap_or_default().ended();
                member.has_failed |= failed > 0;
                let slug = check.slug.clone();
                let check = check.left(&ended).unwrap_or_else(|| Check {
                    // All of its tests have ended, and nobody knows how the check did.
                    run: "true".to_owned(),
                    part: None,
                    ..check.clone()
                });
                member.left.push(Left { check, slug, failed });
            }
            member.is_made_good = member.is_settled();
        });
    }

    /// Decides what a lane does that is through with its own part; and takes over for it what a lost box left.
    pub(crate) fn next(&self, lane: &str, world: &World) -> (Next, Option<Check>) {
        let mut members = self.members.lock();
        let Some((of, number)) = members.get(lane).map(|member| (member.of.clone(), member.number)) else {
            return (Next::Leave, None);
        };
        let others = members
            .iter()
            .filter(|(name, other)| *name != lane && other.of == of);
        let is_left = others.clone().any(|(_, other)| !other.left.is_empty());
        let next = next(is_left, others.map(|(_, other)| other.state));
        let taken = (next == Next::TakeOver)
            .then(|| take(&mut members, &of, (lane, number), world))
            .flatten();
        if let Some(member) = members.get_mut(lane) {
            member.state = match next {
                Next::TakeOver => BoxState::Working,
                Next::Wait => BoxState::Waiting,
                Next::Leave => BoxState::Over,
            };
            member.taken.extend(taken.clone());
        }
        (next, taken)
    }

    /// Returns what was compiled for a lane's box.
    pub(crate) fn compiled(&self, lane: &str) -> Option<Compiled> {
        self.members.lock().get(lane)?.compiled.clone()
    }

    /// Returns what a lane's verdict says of its run: a box whose part the others ran is no more than a notice.
    pub(crate) fn of_run(&self, lane: &str, verdict: Verdict) -> Verdict {
        match self.members.lock().get(lane) {
            Some(member) if is_lost(verdict) && member.is_made_good => match member.has_failed {
                true => Verdict::Failed,
                false => Verdict::Passed,
            },
            _ => verdict,
        }
    }
}

/// Returns whether a lane ended without its box.
fn is_lost(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Refused | Verdict::Infrastructure)
}

/// Takes what a lost box left, for a lane and its number, and says so in both lanes.
fn take(
    members: &mut BTreeMap<String, Member>,
    of: &str,
    (lane, number): (&str, u32),
    world: &World,
) -> Option<Check> {
    let (lost, member) = members
        .iter_mut()
        .find(|(_, member)| member.of == of && !member.left.is_empty())?;
    let Left { check, slug, failed } = member.left.remove(0);
    member.is_made_good = member.is_settled();
    let outcome = match failed {
        0 => Outcome::Skipped {
            why: format!("its box was lost, and {of}.{number} took over"),
        },
        failed => Outcome::Failed {
            how: format!("{failed} of its tests failed before its box was lost; {of}.{number} took over"),
        },
    };
    let check = Check {
        name: format!("{} of {lost}", check.name),
        slug: format!("{slug}-of-{}", member.number),
        taken_from: Some(TakenFrom {
            lane: lost.clone(),
            slug: slug.clone(),
        }),
        // It is the file of the lane's own check.
        junit: None,
        after: None,
        ..check
    };
    let ended = Event::CheckEnded {
        check: slug,
        outcome,
        seconds: 0.0,
    };
    world.emit(Some(lost), ended);
    let taken = check.clone();
    world.emit(Some(lane), Event::CheckTakenOver { check: taken });
    Some(check)
}
