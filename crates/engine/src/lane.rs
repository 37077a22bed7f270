//! What every step of a lane is handed: the plan, the lane, and the world.

use std::{future::Future, time::Duration};

use camino::Utf8PathBuf;
use model::{
    event::{Event, Step},
    limits::Budget,
    plan::{LanePlan, Plan},
    verdict::Verdict,
    world::{Progress, World},
};
use parking_lot::Mutex;

use crate::shards::Shards;

/// How often the same message is reported again while only its amount grows: a copy says so for each percent.
const PROGRESS_PAUSE: Duration = Duration::from_secs(1);

/// One lane of a plan, in the world.
#[derive(Clone, Copy)]
pub struct Lane<'a> {
    /// The plan that the lane is of.
    pub plan: &'a Plan,
    /// The lane itself.
    pub lane: &'a LanePlan,
    /// What the run may still take from its boxes.
    pub budget: &'a Budget,
    /// What the boxes of a shared lane know of each other.
    pub shards: &'a Shards,
    /// All that is seen.
    pub world: &'a World,
}

/// Why a lane cannot go on, for a reason that is not the project's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// Why.
    pub why: String,
    /// What the user can do.
    pub help: Option<String>,
    /// Whether another candidate may do better.
    pub is_candidates: bool,
    /// Whether the provider says that the box is dead.
    pub is_death: bool,
    /// Whether a provider refused the request as it is, before anything was created for the lane.
    pub is_of_request: bool,
}

impl Refusal {
    /// Makes a refusal that is the same with every candidate.
    pub(crate) fn new(why: impl ToString) -> Self {
        Self {
            why: why.to_string(),
            help: None,
            is_candidates: false,
            is_death: false,
            is_of_request: false,
        }
    }

    /// Makes a refusal that another candidate may do better than.
    pub(crate) fn of_candidate(why: impl ToString) -> Self {
        Self {
            is_candidates: true,
            ..Self::new(why)
        }
    }

    /// Makes a refusal for a box that has died.
    pub(crate) fn of_death(why: impl ToString) -> Self {
        Self {
            is_death: true,
            ..Self::of_candidate(why)
        }
    }

    /// Says what the user can do.
    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

impl Lane<'_> {
    /// Reports that something happened in this lane.
    pub(crate) fn emit(&self, event: Event) {
        self.world.emit(Some(&self.lane.name), event);
    }

    /// Reports that the lane begins, and the checks that it runs, if it does.
    pub(crate) fn begin(&self, has_checks: bool) {
        let checks = if has_checks { &self.lane.checks[..] } else { &[] };
        let (label, need, checks) = (self.lane.label.clone(), self.lane.need, checks.to_vec());
        self.emit(Event::LaneBegan { label, need, checks });
    }

    /// Reports why the lane cannot go on.
    pub(crate) fn fail(&self, refusal: Refusal) -> Verdict {
        let verdict = match refusal.is_of_request {
            true => Verdict::Refused,
            false => Verdict::Infrastructure,
        };
        let Refusal { why, help, .. } = refusal;
        self.emit(Event::LaneFailed { why, help });
        verdict
    }

    /// Reports a sentence that changes nothing.
    pub(crate) fn notice(&self, text: impl Into<String>) {
        self.emit(Event::Notice { text: text.into() });
    }

    /// Emits that a step begins, runs it, and emits how it ended.
    pub(crate) async fn step<T>(
        &self,
        step: Step,
        work: impl Future<Output = Result<T, Refusal>>,
    ) -> Result<T, Refusal> {
        self.emit(Event::StepBegan { step });
        let outcome = work.await;
        let failure = outcome.as_ref().err().map(|refusal| refusal.why.clone());
        self.emit(Event::StepEnded { step, failure });
        outcome
    }

    /// Returns a reporter for what goes on within a step.
    pub(crate) fn progress(&self, step: Step) -> StepProgress<'_> {
        StepProgress {
            lane: self,
            step,
            last: Mutex::default(),
        }
    }

    /// Returns the lane's directory among the run's results.
    pub fn dir(&self) -> Utf8PathBuf {
        self.world.runs.join(self.plan.run.as_str()).join(&self.lane.name)
    }
}

/// Reports what goes on within a step.
pub(crate) struct StepProgress<'a> {
    lane: &'a Lane<'a>,
    step: Step,
    /// What was reported last, and when.
    last: Mutex<Option<(String, Duration)>>,
}

impl Progress for StepProgress<'_> {
    fn report(&self, message: &str, amount: Option<(u64, u64)>) {
        let now = self.lane.world.clock.monotonic();
        let mut last = self.last.lock();
        if !is_news(last.as_ref(), message, now) {
            return;
        }
        *last = Some((message.to_owned(), now));
        self.lane.emit(Event::StepProgress {
            step: self.step,
            message: message.to_owned(),
            amount,
        });
    }
}

/// Returns whether a message is to be reported, `last` being the one before it and when that was.
fn is_news(last: Option<&(String, Duration)>, message: &str, now: Duration) -> bool {
    last.is_none_or(|(said, at)| said != message || now.saturating_sub(*at) >= PROGRESS_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_message_comes_once_a_second() {
        let last = ("copying files".to_owned(), Duration::from_secs(5));
        let is_news =
            |message, milliseconds| is_news(Some(&last), message, Duration::from_millis(milliseconds));
        assert!(!is_news("copying files", 5_999));
        assert!(is_news("copying files", 6_000));
        assert!(is_news("comparing files", 5_001));
        assert!(super::is_news(None, "copying files", Duration::ZERO));
    }
}
