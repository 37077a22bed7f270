//! Events → report and verdict.

mod changes;
mod history;
mod shared;
mod spent;

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{
    candidate::Candidate,
    check::{Check, Expect, Outcome},
    event::{Event, EventRecord, Step},
    gate::GateAnswer,
    machine::{Gone, Machine},
    name::{Label, RunId},
    part::TakenFrom,
    results::CheckResults,
    revision::Revision,
    skips::Split,
    source::Synced,
    tags::Owner,
    time::{Deadline, Timestamp, between},
    verdict::Verdict,
};

pub use self::{
    changes::{Changes, OutcomeChange, TimeChange},
    history::{FailedBefore, PastReport, PastRun},
    spent::{Spent, Stay},
};

/// What a run did, as far as its events tell.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Report {
    /// The run's id.
    pub run: Option<RunId>,
    /// The project's name.
    pub project: String,
    /// The version of twolane that ran it.
    pub version: String,
    /// What it was of. Filled in from the run's plan, as is the next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<Revision>,
    /// Who ran it, and of which repository and branch.
    pub owner: Owner,
    /// When it began.
    pub began: Option<Timestamp>,
    /// When the last thing happened.
    pub last: Option<Timestamp>,
    /// How it ended; none while it runs, or when twolane was killed.
    pub verdict: Option<Verdict>,
    /// The lanes, by name.
    pub lanes: BTreeMap<String, LaneReport>,
    /// What people should know.
    pub notices: Vec<String>,
    /// What its tests asked for, where they ran under the tracer. Filled in where the run's files are at hand, see [`Report::take_split`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub split: Option<Split>,
    /// Earlier runs of the project, the latest first. Filled in by [`Report::take_history`], as is the next.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<PastRun>,
    /// How often the tests that failed in this run failed before.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub failed_before: Vec<FailedBefore>,
}

/// What one lane did.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct LaneReport {
    /// Its box's name.
    pub label: Option<Label>,
    /// How it ended.
    pub verdict: Option<Verdict>,
    /// Its steps, in the order in which they began.
    pub steps: Vec<StepReport>,
    /// The steps of stage 1, as the box wrote them down.
    pub stage1: Vec<Stage1Report>,
    /// Its checks, in order.
    pub checks: Vec<CheckReport>,
    /// The box that it had.
    pub machine: Option<Machine>,
    /// How the box ends if nobody destroys it, and when.
    pub dead_mans_switch: Option<(Deadline, String)>,
    /// The boxes that were asked for, with their prices.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stays: Vec<Stay>,
    /// Candidates that was rejected, and why.
    pub rejected: Vec<(Candidate, String)>,
    /// The KVM gate's answer.
    pub gate: Option<GateAnswer>,
    /// What was copied, by source.
    pub synced: BTreeMap<String, Synced>,
    /// What came back, relative to the run's directory.
    pub files: Vec<String>,
    /// What could not be brought back, and why.
    pub missing: Vec<String>,
    /// What was made and is gone, as the provider confirmed; none while that is not so.
    pub gone: Option<Vec<Gone>>,
    /// Why the box is still there, if it is.
    pub left: Option<String>,
    /// Why the lane could not go on, for reasons that are not the project's.
    pub failure: Option<String>,
    /// What to do about it.
    pub help: Option<String>,
}

/// One step of a lane.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StepReport {
    /// Which.
    pub step: Step,
    /// When it began.
    pub began: Timestamp,
    /// How long it took, in seconds; none when its end was not seen.
    pub seconds: Option<f64>,
    /// Why it failed, if it did.
    pub failure: Option<String>,
}

/// One step of stage 1.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Stage1Report {
    /// Its name.
    pub step: String,
    /// When it began, by the box's clock, in seconds.
    pub began: f64,
    /// How long it took, in seconds; none when its end was not seen.
    pub seconds: Option<f64>,
    /// `begin`, `ok`, `failed` or `skipped`.
    pub what: String,
    /// The failure's message or the reason of the skip.
    pub message: Option<String>,
}

/// One check of a lane.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CheckReport {
    /// What people call it.
    pub name: String,
    /// The name of its files.
    pub slug: String,
    /// Its command.
    pub run: String,
    /// How it ended; [`Outcome::NotRun`] until it has.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// How long it ran, in seconds.
    pub seconds: Option<f64>,
    /// Whether it began.
    pub has_begun: bool,
    /// When it began.
    pub began: Option<Timestamp>,
    /// The JUnit file that it writes, relative to the source's directory.
    #[serde(skip)]
    pub junit: Option<String>,
    /// Where the tracer wrote down what its tests asked for, relative to the source's directory; none without it.
    #[serde(skip)]
    pub record: Option<String>,
    /// The tests that must really run for it to pass.
    #[serde(skip)]
    pub expect: Option<Expect>,
    /// The lane whose box was lost, where the check was taken over from that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub taken_from: Option<TakenFrom>,
    /// What its tool found. Filled in where the run's files are at hand, see [`Report::take_results`].
    pub results: CheckResults,
}

impl Report {
    /// Reads all events of a run.
    pub fn of<'a>(records: impl IntoIterator<Item = &'a EventRecord>) -> Self {
        let mut report = Self::default();
        for record in records {
            report.take(record);
        }
        report
    }

    /// Takes one more event. Readers that show a run while it goes on keep a report this way.
    pub fn take(&mut self, record: &EventRecord) {
        self.began = self.began.or(Some(record.at));
        self.last = Some(record.at);
        match (&record.event, &record.lane) {
            (
                Event::RunBegan {
                    run,
                    project,
                    version,
                },
                _,
            ) => {
                self.run = Some(run.clone());
                self.project.clone_from(project);
                self.version.clone_from(version);
            }
            (Event::RunEnded { verdict }, _) => self.verdict = Some(*verdict),
            (Event::Notice { text }, _) => self.notices.push(text.clone()),
            (event, Some(lane)) => self.lanes.entry(lane.clone()).or_default().take(record.at, event),
            (_, None) => {}
        }
    }

    /// Takes what a check's tool found. A check that returned 0 and whose results can not be trusted has failed,
    /// and so have its lane and the run.
    pub fn take_results(&mut self, lane: &str, slug: &str, results: CheckResults) {
        let Some(lane) = self.lanes.get_mut(lane) else {
            return;
        };
        let Some(check) = lane.checks.iter_mut().find(|check| check.slug == slug) else {
            return;
        };
        check.results = results;
        if check.outcome != Outcome::Passed || check.results.problems.is_empty() {
            return;
        }
        check.outcome = Outcome::Failed {
            how: check.results.problems.join("; "),
        };
        for verdict in [&mut lane.verdict, &mut self.verdict] {
            *verdict = verdict.map(|verdict| verdict.max(Verdict::Failed));
        }
    }

    /// Takes what the tests of these lanes asked for. Where that fails the run, the lanes that are `strict` have failed.
    pub fn take_split(&mut self, split: Split, strict: &[String]) {
        if !split.why_failed.is_empty() {
            let lanes = self.lanes.iter_mut();
            let verdicts = lanes.filter(|(name, _)| strict.contains(name));
            for verdict in verdicts
                .map(|(_, lane)| &mut lane.verdict)
                .chain([&mut self.verdict])
            {
                *verdict = verdict.map(|verdict| verdict.max(Verdict::Failed));
            }
        }
        self.split = Some(split);
    }

    /// Returns what the boxes of all lanes cost so far.
    pub fn spent(&self) -> Spent {
        let stays = self.lanes.values().flat_map(|lane| &lane.stays);
        self.last.map(|now| spent::sum(stays, now)).unwrap_or_default()
    }

    /// Returns how long the run took so far, in seconds.
    pub fn seconds(&self) -> f64 {
        match (self.began, self.last) {
            (Some(began), Some(last)) => between(began, last).as_secs_f64(),
            _ => 0.0,
        }
    }
}

impl LaneReport {
    /// Returns what its boxes cost until a moment.
    pub fn spent(&self, now: Timestamp) -> Spent {
        spent::sum(&self.stays, now)
    }

    fn take(&mut self, at: Timestamp, event: &Event) {
        spent::take(&mut self.stays, at, event);
        match event {
            Event::LaneBegan { label, checks, .. } => {
                self.label = Some(label.clone());
                self.checks = checks.iter().map(CheckReport::not_run).collect();
            }
            Event::StepBegan { step } => {
                self.steps.push(StepReport {
                    step: *step,
                    began: at,
                    seconds: None,
                    failure: None,
                });
            }
            Event::StepEnded { step, failure } => {
                if let Some(report) = self.steps.iter_mut().rfind(|report| report.step == *step) {
                    report.seconds = Some(between(report.began, at).as_secs_f64());
                    report.failure.clone_from(failure);
                }
            }
            Event::Stage1 {
                step,
                box_time,
                what,
                message,
            } => self.take_stage1(step, *box_time, what, message),
            Event::CheckTakenOver { check } => self.checks.push(CheckReport::not_run(check)),
            Event::CheckBegan { check } => {
                if let Some(report) = self.check(check) {
                    report.has_begun = true;
                    report.began = report.began.or(Some(at));
                }
            }
            Event::CheckEnded {
                check,
                outcome,
                seconds,
            } => {
                if let Some(report) = self.check(check) {
                    report.outcome = outcome.clone();
                    report.seconds = Some(*seconds);
                }
            }
            Event::CandidateRejected { candidate, why } => {
                self.rejected.push((candidate.clone(), why.clone()));
                // Whatever ran on its box begins anew on another.
                for check in &mut self.checks {
                    check.begin_anew();
                }
            }
            Event::MachineUp { machine } => self.machine = Some(machine.clone()),
            Event::Gate { answer } => self.gate = Some(answer.clone()),
            Event::Synced { source, synced } => {
                self.synced.insert(source.clone(), *synced);
            }
            Event::Collected { files, missing } => {
                let new = files.iter().filter(|file| !self.files.contains(file));
                let new: Vec<String> = new.cloned().collect();
                self.files.extend(new);
                self.missing.extend(missing.iter().cloned());
            }
            Event::MachineGone { resources, .. } => {
                self.gone = Some(resources.clone());
                self.left = None;
            }
            Event::MachineKept { deadline, .. } => {
                self.left = Some(format!("kept until {}", deadline.moment()))
            }
            Event::MachineLeft { why, .. } => self.left = Some(why.clone()),
            Event::LaneFailed { why, help } => {
                self.failure = Some(why.clone());
                self.help.clone_from(help);
            }
            Event::LaneEnded { verdict } => {
                self.verdict = Some(*verdict);
                self.interrupt(at);
            }
            Event::CandidateTried {
                deadline,
                dead_mans_switch,
                ..
            } => self.dead_mans_switch = Some((*deadline, dead_mans_switch.clone())),
            Event::StepProgress { .. }
            | Event::CheckOutput { .. }
            | Event::CheckProgress { .. }
            | Event::Interrupted
            | Event::RunBegan { .. }
            | Event::RunEnded { .. }
            | Event::Notice { .. } => {}
        }
    }

    /// Records of the check that still runs when its lane ends how long it ran.
    fn interrupt(&mut self, at: Timestamp) {
        let is_running =
            |check: &&mut CheckReport| check.outcome == Outcome::NotRun && check.seconds.is_none();
        for check in self.checks.iter_mut().filter(is_running) {
            if let Some(began) = check.began {
                check.outcome = Outcome::Interrupted;
                check.seconds = Some(between(began, at).as_secs_f64());
            }
        }
    }

    fn check(&mut self, slug: &str) -> Option<&mut CheckReport> {
        self.checks.iter_mut().find(|check| check.slug == slug)
    }

    fn take_stage1(&mut self, step: &str, box_time: f64, what: &str, message: &Option<String>) {
        if let Some(report) = self
            .stage1
            .iter_mut()
            .rfind(|report| report.step == step && report.what == "begin")
        {
            report.seconds = Some((box_time - report.began).max(0.0));
            what.clone_into(&mut report.what);
            report.message.clone_from(message);
            return;
        }
        self.stage1.push(Stage1Report {
            step: step.to_owned(),
            began: box_time,
            seconds: None,
            what: what.to_owned(),
            message: message.clone(),
        });
    }
}

impl CheckReport {
    fn begin_anew(&mut self) {
        self.outcome = Outcome::NotRun;
        (self.seconds, self.began) = (None, None);
        self.has_begun = false;
    }

    pub(crate) fn not_run(check: &Check) -> Self {
        Self {
            name: check.name.clone(),
            slug: check.slug.clone(),
            run: check.run.clone(),
            outcome: Outcome::NotRun,
            seconds: None,
            has_begun: false,
            began: None,
            junit: check.junit.clone(),
            record: check.record(),
            expect: check.expect.clone(),
            taken_from: check.taken_from.clone(),
            results: CheckResults::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::lane::KvmNeed;

    #[test]
    fn a_check_whose_results_can_not_be_trusted_has_failed() {
        let check = Check {
            timeout: Duration::from_secs(1),
            junit: Some("junit.xml".to_owned()),
            ..Check::new("unit tests", "true")
        };
        let events = [
            Event::LaneBegan {
                label: Label::new("a-live-1").unwrap(),
                need: KvmNeed::None,
                checks: vec![check],
            },
            Event::CheckEnded {
                check: "unit-tests".to_owned(),
                outcome: Outcome::Passed,
                seconds: 1.0,
            },
            Event::LaneEnded {
                verdict: Verdict::Passed,
            },
        ];
        let at = "2026-01-02T03:04:05Z".parse().unwrap();
        let reported: Vec<EventRecord> = events
            .into_iter()
            .map(|event| EventRecord::new(at, Some("live"), event))
            .collect();
        let mut report = Report::of(&reported);
        report.verdict = Some(Verdict::Passed);
        report.take_results("live", "unit-tests", CheckResults::default());
        assert_eq!(report.verdict, Some(Verdict::Passed));
        let problems = vec!["its JUnit file is cut off".to_owned()];
        let results = CheckResults {
            problems: problems.clone(),
            ..CheckResults::default()
        };
        report.take_results("live", "unit-tests", results);
        let lane = &report.lanes["live"];
        assert_eq!(lane.checks[0].outcome.reason(), Some(problems[0].as_str()));
        assert_eq!(
            (lane.verdict, report.verdict),
            (Some(Verdict::Failed), Some(Verdict::Failed))
        );
    }

    #[test]
    fn a_check_that_ran_when_its_lane_ended_was_interrupted_after_a_while() {
        let began = |slug: &str| Event::CheckBegan {
            check: slug.to_owned(),
        };
        let events = [
            (
                "2026-01-02T03:00:00Z",
                Event::LaneBegan {
                    label: Label::new("a-live-1").unwrap(),
                    need: KvmNeed::None,
                    checks: vec![Check::new("long", "true"), Check::new("next", "true")],
                },
            ),
            ("2026-01-02T03:01:00Z", began("long")),
            (
                "2026-01-02T03:13:00Z",
                Event::LaneEnded {
                    verdict: Verdict::Interrupted,
                },
            ),
        ];
        let records = events.map(|(at, event)| EventRecord::new(at.parse().unwrap(), Some("live"), event));
        let report = Report::of(&records);
        let checks = &report.lanes["live"].checks;
        assert_eq!(
            (&checks[0].outcome, checks[0].seconds),
            (&Outcome::Interrupted, Some(720.0))
        );
        assert_eq!((&checks[1].outcome, checks[1].seconds), (&Outcome::NotRun, None));
    }
}
