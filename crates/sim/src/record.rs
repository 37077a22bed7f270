//! All that was seen in a simulation, in order: what the checkers read.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc, time::Duration};

use model::{
    check::Outcome,
    event::{Event, EventRecord},
    journal::Fact,
    machine::ResourceKind,
    name::{Label, ProviderName, RunId},
    tags::Tags,
    verdict::Verdict,
    world::Events,
};
use parking_lot::Mutex;

use crate::clock::{Elapsed, SimClock};

/// How many things are seen in most simulations.
const SEEN_MANY: usize = 512;

/// Tags as they are at a provider.
pub type TagPairs = BTreeMap<String, String>;

/// One thing that was seen.
#[derive(Debug, Clone, PartialEq)]
pub enum Observation {
    /// A process began.
    Began {
        /// Which; a number for each.
        process: u32,
        /// On which machine.
        machine: usize,
    },
    /// A process is to take the place of older runs of the same change.
    Supersedes {
        /// Which.
        process: u32,
        /// With which run.
        run: RunId,
    },
    /// The user of a process asks it to stop, later.
    StopsAt {
        /// Which.
        process: u32,
        /// When.
        at: Elapsed,
    },
    /// A process was killed.
    Killed {
        /// Which.
        process: u32,
    },
    /// A process ended by itself.
    Over {
        /// Which.
        process: u32,
    },
    /// A process works on a box that exists, which stays whatever comes of it.
    WorksOn {
        /// Which.
        process: u32,
    },
    /// It is through.
    WorkedOn {
        /// Its run.
        run: RunId,
        /// How it ended.
        verdict: Verdict,
        /// Whether it deployed.
        is_deploy: bool,
    },
    /// A run has said that its boxes are up, and stay.
    BroughtUp {
        /// Which run.
        run: RunId,
        /// Their labels.
        labels: Vec<Label>,
    },
    /// On a box something began or changed under what another process runs there, or under itself.
    Disturbed {
        /// What.
        what: String,
    },
    /// A process began to compile tests.
    Compiles {
        /// Which.
        process: u32,
    },
    /// It is through with that, or has stopped it.
    Compiled {
        /// Which.
        process: u32,
        /// What came of it.
        end: Compilation,
    },
    /// On a box tests began that are not those of the sources there.
    RanStale {
        /// What.
        what: String,
    },
    /// A process called a box whose deadline was over, by the provider's clock and by the journal.
    CalledLate {
        /// Which process.
        process: u32,
        /// Whose deadline.
        label: Label,
        /// For how long.
        late: Duration,
    },
    /// A process called a box that is dead, as its provider shows.
    CalledDead {
        /// Which process.
        process: u32,
        /// Which box.
        label: Label,
        /// For how long it has been dead.
        dead: Duration,
    },
    /// A process called a box whose SSH server closes each connection.
    CalledMute {
        /// Which process.
        process: u32,
        /// Where.
        address: IpAddr,
    },
    /// A run returned its verdict.
    Ended {
        /// Which run.
        run: RunId,
        /// How.
        verdict: Verdict,
        /// What of it exists at a provider, or is going to.
        remains: Vec<String>,
    },
    /// A fact is on the disk.
    Wrote {
        /// Which process wrote it.
        process: u32,
        /// The run that it belongs to.
        run: RunId,
        /// The fact.
        fact: Fact,
        /// What of its label and run exists at a provider, or is going to.
        remains: Vec<String>,
    },
    /// A fact could not be written.
    NotWritten {
        /// The fact.
        fact: Fact,
    },
    /// A process has the lock of a run.
    Holds {
        /// Which.
        process: u32,
        /// Of which run.
        run: RunId,
    },
    /// A create call arrived at a provider.
    CreateAsked {
        /// At which.
        provider: ProviderName,
        /// For what.
        kind: ResourceKind,
        /// What it carries.
        tags: Arc<TagPairs>,
        /// Whether the answer will be lost, or late.
        is_unanswered: bool,
    },
    /// A process has looked for what there is under a label.
    Looked {
        /// At which provider.
        provider: ProviderName,
        /// For which label; none for all.
        label: Option<Label>,
        /// For what kind of thing; none for all.
        kind: Option<ResourceKind>,
    },
    /// In a world without faults a later run begins.
    Follows {
        /// Which.
        run: RunId,
        /// Whether it takes the labels or the place of older ones.
        takes_over: bool,
    },
    /// The user asks a process to destroy boxes, whatever they are.
    DownAsked {
        /// Which process.
        process: u32,
    },
    /// A delete call arrived at a provider.
    DestroyAsked {
        /// From which process.
        process: u32,
        /// The thing's id.
        id: String,
        /// What the thing carries.
        tags: Arc<TagPairs>,
        /// What that says, where it can be read.
        parsed: Option<Arc<Tags>>,
    },
    /// A deadline that was over was moved, at a provider.
    Revived {
        /// What the thing carried until then.
        tags: Arc<Tags>,
    },
    /// A process serves jobs.
    Serves {
        /// Which.
        process: u32,
        /// How many boxes it may have.
        max: usize,
        /// How many it keeps without jobs.
        warm: usize,
        /// How long it keeps more.
        idle: Duration,
    },
    /// A process has heard of the job service how many jobs want a runner.
    News {
        /// Which process.
        process: u32,
        /// How many.
        assigned: usize,
    },
    /// The job service did not do what a process asked for, or its answer was lost.
    ServiceAway {
        /// Which process.
        process: u32,
    },
    /// A runner was given a job.
    JobGiven {
        /// Which.
        runner: String,
        /// Whether KVM works on its box.
        has_kvm: bool,
    },
    /// A runner's job is over.
    JobOver {
        /// Which.
        runner: String,
    },
    /// A process reported something.
    Outcome(Box<EventRecord>),
    /// What a process reported of a lane that is shared over several boxes.
    Shared {
        /// Which.
        process: u32,
        /// What.
        record: Box<EventRecord>,
    },
}

/// What came of a compilation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compilation {
    /// Programs, or the compiler's complaints in place of some of them.
    Done {
        /// Whether there are complaints.
        has_mistakes: bool,
    },
    /// It can not be done on that machine.
    Refused,
    /// Nobody waits for it any more.
    Stopped,
}

/// The record of one simulation. All copies are the same record.
#[derive(Clone)]
pub struct Record {
    pub(crate) clock: SimClock,
    seen: Arc<Mutex<Vec<(Elapsed, Observation)>>>,
}

impl Record {
    /// Makes an empty record.
    pub fn new(clock: SimClock) -> Self {
        Self {
            clock,
            seen: Arc::new(Mutex::new(Vec::with_capacity(SEEN_MANY))),
        }
    }

    /// Records what was seen.
    pub fn record(&self, seen: Observation) {
        let at = self.clock.elapsed();
        self.seen.lock().push((at, seen));
    }

    /// Returns all that was seen, and begins anew.
    pub fn take(&self) -> Vec<(Elapsed, Observation)> {
        std::mem::take(&mut self.seen.lock())
    }
}

impl Events for Record {
    fn emit(&self, record: EventRecord) {
        // What no checker asks, and there is a lot of it.
        if matches!(
            record.event,
            Event::StepProgress { .. } | Event::CheckOutput { .. } | Event::Stage1 { .. }
        ) {
            return;
        }
        self.record(Observation::Outcome(Box::new(record)));
    }
}

/// What one process reports.
pub struct Reported {
    pub(crate) process: u32,
    pub(crate) record: Record,
}

impl Events for Reported {
    fn emit(&self, record: EventRecord) {
        let is_shared = record.lane.as_deref().is_some_and(|lane| lane.contains('.'));
        let is_of_tests = matches!(
            record.event,
            Event::LaneBegan { .. }
                | Event::CheckOutput { .. }
                | Event::CheckTakenOver { .. }
                | Event::CandidateRejected { .. }
        );
        if is_shared && is_of_tests {
            self.record.record(Observation::Shared {
                process: self.process,
                record: Box::new(record.clone()),
            });
        }
        self.record.emit(record);
    }
}

impl Observation {
    /// Writes it in a line, for whoever looks into a seed that failed.
    pub fn line(&self) -> String {
        match self {
            Self::Began { process, machine } => format!("process {process} began on machine {machine}"),
            Self::Supersedes { process, run } => {
                format!("process {process} takes the place of what is older than {run}")
            }
            Self::StopsAt { process, at } => {
                format!(
                    "process {process} is going to be asked to stop at {:.3}",
                    at.as_secs_f64()
                )
            }
            Self::Killed { process } => format!("process {process} was KILLED"),
            Self::Over { process } => format!("process {process} is over"),
            Self::WorksOn { process } => format!("process {process} works on a box that stays"),
            Self::WorkedOn { run, verdict, .. } => format!("run {run} on a box ended: {verdict:?}"),
            Self::BroughtUp { run, labels } => format!("run {run} says that {labels:?} stay"),
            Self::CalledLate { process, label, late } => {
                format!("process {process} called {label} {} s late", late.as_secs())
            }
            Self::CalledDead { process, label, dead } => {
                format!("process {process} called {label}, dead for {} s", dead.as_secs())
            }
            Self::CalledMute { process, address } => {
                format!("process {process} called {address}, which closes")
            }
            Self::Disturbed { what } => format!("DISTURBED: {what}"),
            Self::Compiles { process } => format!("process {process} compiles"),
            Self::Compiled { process, end } => format!("process {process} is through with that: {end:?}"),
            Self::RanStale { what } => format!("STALE: {what}"),
            Self::Ended {
                run,
                verdict,
                remains,
            } => format!("run {run} ended: {verdict:?} {remains:?}"),
            Self::Wrote {
                run, fact, remains, ..
            } => format!("journal {run}: {} {remains:?}", fact_line(fact)),
            Self::NotWritten { fact } => format!("journal FAILED for {}", fact_line(fact)),
            Self::Holds { process, run } => format!("process {process} holds {run}"),
            Self::CreateAsked {
                provider,
                kind,
                tags,
                is_unanswered,
            } => {
                let silent = if *is_unanswered { ", not answered" } else { "" };
                format!("{provider}: create {kind} {}{silent}", name_of(tags))
            }
            Self::Looked { provider, .. } => format!("{provider}: list"),
            Self::Follows { run, .. } => format!("run {run} is going to follow"),
            Self::DownAsked { process } => format!("process {process} is asked for a down"),
            Self::DestroyAsked {
                process, id, tags, ..
            } => {
                format!("process {process}: delete {id} {}", name_of(tags))
            }
            Self::Revived { tags } => format!("{} of {} has a new deadline", tags.label, tags.run),
            Self::Serves {
                process, max, warm, ..
            } => {
                format!("process {process} serves jobs on {max} boxes, {warm} warm")
            }
            Self::News { process, assigned } => format!("process {process} hears of {assigned} jobs"),
            Self::ServiceAway { process } => format!("process {process} gets no answer of the job service"),
            Self::JobGiven { runner, has_kvm } => format!("{runner} is given a job, KVM {has_kvm}"),
            Self::JobOver { runner } => format!("{runner} has done its job"),
            Self::Shared { process, record } => {
                let lane = record.lane.as_deref().unwrap_or("-");
                format!("process {process} reported {lane}: {:?}", record.event)
            }
            Self::Outcome(record) => {
                let lane = record.lane.as_deref().unwrap_or("-");
                format!("reported {lane}: {:?}", record.event)
            }
        }
    }
}

fn name_of(tags: &TagPairs) -> String {
    let value = |key: &str| tags.get(key).map_or("-", String::as_str);
    format!(
        "{} of {} ({})",
        value("mvm-label"),
        value("mvm-run"),
        value("mvm-token")
    )
}

fn fact_line(fact: &Fact) -> String {
    match fact {
        Fact::Intent { tags, candidate } => format!("intent {} at {candidate} ({})", tags.label, tags.token),
        Fact::Up { machine } => format!("up {} at {} ({})", machine.label, machine.provider, machine.id),
        other => format!("{other:?}"),
    }
}

/// Returns the label that tags name, as it is written there.
pub fn label_in(tags: &TagPairs) -> Option<Label> {
    Label::new(tags.get("mvm-label")?.as_str()).ok()
}

/// Returns the outcomes that were reported, with the checks' slugs.
pub fn outcomes(seen: &[(Elapsed, Observation)]) -> impl Iterator<Item = (&str, &Outcome)> {
    seen.iter().filter_map(|(_, seen)| match seen {
        Observation::Outcome(record) => match &record.event {
            Event::CheckEnded { check, outcome, .. } => Some((check.as_str(), outcome)),
            _ => None,
        },
        _ => None,
    })
}
